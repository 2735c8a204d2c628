//! The Messenger profile of a Page.
//!
//! Source: Meta's Messenger Profile API: ten calls in ten minutes for a Page, a persistent menu with Get
//! Started only, and the limits of each property. Ice breakers come for each language or, as
//! `messaging-api-messenger` sends them, as a list.

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::{Meta, Page, Platform, State};

/// The rate limit: calls for a Page within a time.
const CALLS: usize = 10;
const WITHIN_MS: i64 = 600_000;

const MOST_ICE_BREAKERS: usize = 4;

const PROPERTIES: [&str; 7] = [
    "get_started",
    "greeting",
    "ice_breakers",
    "persistent_menu",
    "whitelisted_domains",
    "account_linking_url",
    "commands",
];

/// Source: the reference's "Instagram": `platform=instagram`, with ice breakers and the menu only.
const ON_INSTAGRAM: [&str; 2] = ["ice_breakers", "persistent_menu"];

impl Meta {
    /// Sets a property of an account's profile, as somebody would by another tool.
    pub fn set_profile(&self, account: &str, name: &str, value: Value) {
        if let Some(page) = self.state().pages.get_mut(account) {
            page.profile.insert(name.to_owned(), value);
        }
    }

    /// The names of the properties of an account's profile.
    pub fn profile_names(&self, account: &str) -> Vec<String> {
        let state = self.state();
        let profile = state.pages.get(account).map(|page| page.profile.keys().cloned().collect());
        profile.unwrap_or_default()
    }
}

impl State {
    pub(super) fn messenger_profile(&mut self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "pages_messaging")?;
        let page_id = self.account_asked_for(page_id, call)?;
        let Some(page) = self.pages.get_mut(&page_id) else {
            return Err(Refusal::invalid("Object does not exist"));
        };
        page.profile_calls.retain(|at| now - at < WITHIN_MS);
        if page.profile_calls.len() >= CALLS {
            let message = "(#613) Calls to this api have exceeded the rate limit.";
            return Err(Refusal::new(400, 613, None, message));
        }
        page.profile_calls.push(now);
        match call.method.as_str() {
            "GET" => {
                let wanted = names(call);
                let shown = page.profile.iter().filter(|(name, _)| wanted.contains(name));
                let shown: Map<_, _> =
                    shown.map(|(name, value)| (name.clone(), value.clone())).collect();
                return Ok(json!({"data": data(shown, page.has_flat_ice_breakers)}));
            }
            "POST" => write(page, call)?,
            _ => remove(page, &names(call))?,
        }
        Ok(json!({"result": "success"}))
    }
}

/// The properties that a call names.
fn names(call: &NodeCall) -> Vec<String> {
    call.list("fields").iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// The properties in the form of an answer: one object, beside which the ice breakers may stand, one
/// object for each language.
fn data(mut shown: Map<String, Value>, flat: bool) -> Vec<Value> {
    let breakers = if flat { shown.remove("ice_breakers") } else { None };
    let breakers = breakers.and_then(|value| value.as_array().cloned()).unwrap_or_default();
    let rest = (!shown.is_empty()).then_some(Value::Object(shown));
    rest.into_iter().chain(breakers).collect()
}

fn write(page: &mut Page, call: &NodeCall) -> Result<(), Refusal> {
    let given: Vec<_> = PROPERTIES.iter().filter(|name| !call.value(name).is_null()).collect();
    if given.is_empty() {
        return Err(Refusal::invalid("At least one profile property is required"));
    }
    let is_on_instagram = page.platform == Platform::Instagram;
    if is_on_instagram && !given.iter().all(|name| ON_INSTAGRAM.contains(name)) {
        return Err(Refusal::invalid("Param is not available on Instagram"));
    }
    let mut next = page.profile.clone();
    for name in given {
        next.insert((*name).to_owned(), call.value(name).clone());
    }
    let needs_start = !is_on_instagram && next.contains_key("persistent_menu");
    if needs_start && !next.contains_key("get_started") {
        return Err(Refusal::invalid(
            "You must set a Get Started button if you also wish to use persistent menu",
        ));
    }
    let texts = |list: &str, text: &str, most: usize| {
        let fits = |text: &str| (1..=most).contains(&text.chars().count());
        let each = next.get(list).and_then(Value::as_array).into_iter().flatten();
        each.flat_map(|language| match language["call_to_actions"].as_array() {
            Some(items) => items.clone(),
            None => vec![language.clone()],
        })
        .all(|item| item[text].as_str().is_some_and(fits))
    };
    let counts = |list: &str, most: usize| {
        let each = next.get(list).and_then(Value::as_array).into_iter().flatten();
        each.map(|language| language["call_to_actions"].as_array().map_or(0, Vec::len))
            .all(|count| (1..=most).contains(&count))
    };
    if !texts("greeting", "text", 160) {
        return Err(Refusal::invalid("Length of param greeting[0][text] must be at most 160"));
    }
    if !texts("persistent_menu", "title", 30) || !counts("persistent_menu", 20) {
        return Err(Refusal::invalid(
            "Param persistent_menu has too many items or too long titles",
        ));
    }
    if !texts("ice_breakers", "question", 80) || !are_few_ice_breakers(next.get("ice_breakers")) {
        return Err(Refusal::invalid("Param ice_breakers has too many or too long questions"));
    }
    let addresses = |name: &str| match next.get(name) {
        None => Vec::new(),
        Some(Value::Array(several)) => several.clone(),
        Some(one) => vec![one.clone()],
    };
    let is_https = |url: &Value| url.as_str().is_some_and(|url| url.starts_with("https://"));
    for (name, most) in [("whitelisted_domains", 50), ("account_linking_url", 1)] {
        let addresses = addresses(name);
        if addresses.len() > most || !addresses.iter().all(is_https) {
            return Err(Refusal::invalid(&format!("Param {name} must have https addresses only")));
        }
    }
    page.profile = next;
    Ok(())
}

/// Whether there are at most four questions, for each language or, in the older form, in the list itself.
fn are_few_ice_breakers(breakers: Option<&Value>) -> bool {
    let few = |list: &Vec<Value>| (1..=MOST_ICE_BREAKERS).contains(&list.len());
    let Some(list) = breakers.and_then(Value::as_array) else { return breakers.is_none() };
    let is_flat = list.iter().all(|item| item["call_to_actions"].is_null());
    if is_flat {
        return few(list);
    }
    list.iter().all(|language| language["call_to_actions"].as_array().is_some_and(few))
}

fn remove(page: &mut Page, names: &[String]) -> Result<(), Refusal> {
    let mut next = page.profile.clone();
    next.retain(|name, _| !names.contains(name));
    let needs_start = page.platform == Platform::Messenger && next.contains_key("persistent_menu");
    if needs_start && !next.contains_key("get_started") {
        return Err(Refusal::invalid(
            "You must remove the persistent menu before the Get Started button",
        ));
    }
    page.profile = next;
    Ok(())
}

impl Meta {
    /// Whether the ice breakers of a Page's profile stand beside its other properties in an answer, one object
    /// for each language; both forms are documented.
    pub fn set_flat_ice_breakers(&self, page_id: &str, on: bool) {
        if let Some(page) = self.state().pages.get_mut(page_id) {
            page.has_flat_ice_breakers = on;
        }
    }

    /// A Page's profile.
    pub fn profile(&self, page_id: &str) -> Value {
        self.state().pages.get(page_id).map(|page| page.profile.clone()).unwrap_or_default().into()
    }
}
