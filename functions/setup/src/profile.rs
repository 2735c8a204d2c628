//! The Messenger profile: the properties in `profile.json`, and how Meta's differ from them.
//!
//! Source of the limits: Meta's Messenger Profile API reference.

use std::collections::BTreeSet;
use std::fmt;

use messenger::event::Platform;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::{Setup, SetupError};

const FILE: &str = include_str!("../profile.json");

/// The supported properties.
const PROPERTIES: [&str; 7] = [
    "get_started",
    "greeting",
    "ice_breakers",
    "persistent_menu",
    "whitelisted_domains",
    "account_linking_url",
    "commands",
];

/// Those of them that Instagram has.
const ON_INSTAGRAM: [&str; 2] = ["ice_breakers", "persistent_menu"];

/// The edge of the profile.
const PATH: [&str; 2] = ["me", "messenger_profile"];

/// The most characters of a greeting.
const LONGEST_GREETING: usize = 160;
/// The most ice breakers in one language.
const ICE_BREAKERS: usize = 4;
/// The most characters of an ice breaker's question.
const LONGEST_QUESTION: usize = 80;
/// The most items of the persistent menu in one language.
const MENU_ITEMS: usize = 20;
/// The most characters of a menu item's title.
const LONGEST_TITLE: usize = 30;
/// The most domains whose pages may use Messenger Extensions.
const DOMAINS: usize = 50;
/// The most characters of a payload.
const LONGEST_PAYLOAD: usize = 1000;

/// A fault in `profile.json`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("profile.json: {place}: {problem}")]
pub(crate) struct ProfileError {
    place: String,
    problem: String,
}

impl ProfileError {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

/// The profile that every Page should have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile(Map<String, Value>);

impl Profile {
    /// The profile of `profile.json`.
    pub(crate) fn of_file() -> Result<Self, ProfileError> {
        Self::parse(FILE)
    }

    fn parse(text: &str) -> Result<Self, ProfileError> {
        let properties: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| ProfileError::new("the file", error.to_string()))?;
        if let Some(unknown) = properties.keys().find(|name| !PROPERTIES.contains(&name.as_str())) {
            let known = PROPERTIES.join(", ");
            return Err(ProfileError::new(unknown, format!("must be one of {known}")));
        }
        let has_start = properties.contains_key("get_started");
        for (name, value) in &properties {
            match name.as_str() {
                "get_started" => at_most(name, &value["payload"], LONGEST_PAYLOAD)?,
                "greeting" => each_language(value, name, |place, greeting| {
                    at_most(place, &greeting["text"], LONGEST_GREETING)
                })?,
                "ice_breakers" => each_language(value, name, |place, language| {
                    each_item(language, place, ICE_BREAKERS, |place, item| {
                        at_most(place, &item["question"], LONGEST_QUESTION)?;
                        at_most(place, &item["payload"], LONGEST_PAYLOAD)
                    })
                })?,
                "whitelisted_domains" => each(value, name, DOMAINS, https)?,
                "account_linking_url" => https(name, value)?,
                "commands" => each_language(value, name, |place, language| {
                    each(&language["commands"], place, usize::MAX, |place, command| {
                        at_most(place, &command["name"], LONGEST_PAYLOAD)?;
                        at_most(place, &command["description"], LONGEST_PAYLOAD)
                    })
                })?,
                _ if !has_start => {
                    return Err(ProfileError::new(name, "also needs get_started"));
                }
                _ => each_language(value, name, |place, language| {
                    each_item(language, place, MENU_ITEMS, check_menu_item)
                })?,
            }
        }
        Ok(Self(properties))
    }

    /// How the properties at Meta differ, among those that the platform has.
    pub(crate) fn difference(&self, theirs: &Value, platform: Platform) -> Difference {
        let has = |name: &str| properties_of(platform).contains(&name);
        let differing = self.0.iter().filter(|(name, ours)| match name.as_str() {
            name if !has(name) => false,
            "whitelisted_domains" => domains(&theirs["whitelisted_domains"]) != domains(ours),
            name => !covers(&theirs[name], ours),
        });
        let is_set = |name: &&str| !is_empty(&theirs[*name]) && !self.0.contains_key(*name);
        Difference {
            lacking: differing.map(|(name, ours)| (name.clone(), ours.clone())).collect(),
            surplus: properties_of(platform).iter().copied().filter(is_set).collect(),
        }
    }
}

/// How the profile at Meta differs from the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Difference {
    /// What is missing or different there.
    pub(crate) lacking: Map<String, Value>,
    /// What is there and no longer in the file.
    pub(crate) surplus: Vec<&'static str>,
}

impl Difference {
    pub(crate) fn is_nothing(&self) -> bool {
        self.lacking.is_empty() && self.surplus.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacking = self.lacking.keys().cloned();
        let surplus = self.surplus.iter().map(|name| format!("{name} (not in the file)"));
        f.write_str(&lacking.chain(surplus).collect::<Vec<_>>().join(", "))
    }
}

/// The properties in Meta's answer.
///
/// Two forms of it are documented: one object with all of them, and ice breakers as an object for each
/// language, beside that of the others. Older ice breakers have no language.
fn properties(data: &Value) -> Value {
    let mut properties = Map::new();
    let mut by_language = Vec::new();
    for item in data.as_array().into_iter().flatten() {
        match item {
            Value::Object(fields) if fields.contains_key("call_to_actions") => {
                by_language.push(item.clone());
            }
            Value::Object(fields) => properties.extend(fields.clone()),
            _ => {}
        }
    }
    if !by_language.is_empty() {
        properties.insert("ice_breakers".to_owned(), by_language.into());
    }
    if let Some(breakers) = properties.get_mut("ice_breakers")
        && breakers[0].get("question").is_some()
    {
        *breakers = json!([{"locale": "default", "call_to_actions": breakers.take()}]);
    }
    properties.into()
}

/// Domains as Meta compares them: in any order, in lower case, without a slash at the end.
fn domains(list: &Value) -> BTreeSet<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(|text| text.trim_end_matches('/').to_lowercase()).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn each_language(
    value: &Value,
    name: &str,
    check: impl Fn(&str, &Value) -> Result<(), ProfileError>,
) -> Result<(), ProfileError> {
    let languages = value.as_array().map_or(&[][..], Vec::as_slice);
    if !languages.iter().any(|language| language["locale"] == "default") {
        return Err(ProfileError::new(name, "must be a list that includes the locale \"default\""));
    }
    languages
        .iter()
        .enumerate()
        .try_for_each(|(n, language)| check(&format!("{name}[{n}]"), language))
}

fn each_item(
    language: &Value,
    place: &str,
    most: usize,
    check: impl Fn(&str, &Value) -> Result<(), ProfileError>,
) -> Result<(), ProfileError> {
    each(&language["call_to_actions"], &format!("{place}.call_to_actions"), most, check)
}

fn each(
    list: &Value,
    place: &str,
    most: usize,
    check: impl Fn(&str, &Value) -> Result<(), ProfileError>,
) -> Result<(), ProfileError> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() || items.len() > most {
        return Err(ProfileError::new(place, format!("must have 1 to {most} items")));
    }
    items.iter().enumerate().try_for_each(|(n, item)| check(&format!("{place}[{n}]"), item))
}

fn check_menu_item(place: &str, item: &Value) -> Result<(), ProfileError> {
    at_most(place, &item["title"], LONGEST_TITLE)?;
    match item["type"].as_str() {
        Some("postback") => at_most(place, &item["payload"], LONGEST_PAYLOAD),
        Some("web_url") if item["url"].as_str().is_some_and(|url| url.starts_with("https://")) => {
            Ok(())
        }
        Some("web_url") => Err(ProfileError::new(place, "needs a url that starts with https://")),
        _ => Err(ProfileError::new(place, "type must be postback or web_url")),
    }
}

fn https(place: &str, url: &Value) -> Result<(), ProfileError> {
    if url.as_str().is_some_and(|url| url.starts_with("https://")) {
        return Ok(());
    }
    Err(ProfileError::new(place, "must be a URL that starts with https://"))
}

fn at_most(place: &str, text: &Value, most: usize) -> Result<(), ProfileError> {
    match text.as_str().map_or(0, |text| text.chars().count()) {
        length if (1..=most).contains(&length) => Ok(()),
        _ => Err(ProfileError::new(place, format!("texts must have 1 to {most} characters"))),
    }
}

/// Whether `theirs` contains all of `ours`; Meta adds fields of its own.
fn covers(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => ours.iter().all(|(name, ours)| {
            // Meta omits what is false.
            *ours == Value::Bool(false) && !theirs.contains_key(name)
                || theirs.get(name).is_some_and(|theirs| covers(theirs, ours))
        }),
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len()
                && theirs.iter().zip(ours).all(|(theirs, ours)| covers(theirs, ours))
        }
        _ => theirs == ours,
    }
}

impl Setup {
    /// How an account's profile differs from the file.
    pub(crate) async fn profile_difference(
        &self,
        app: &App<'_>,
        page_id: &str,
        ours: &Profile,
    ) -> Result<Difference, SetupError> {
        let sender = app.application.sender(page_id)?;
        let access = app.access_of(page_id)?;
        let fields = properties_of(sender.platform).join(",");
        let mut parameters = vec![("fields", fields.as_str())];
        parameters.extend(platform_parameter(sender.platform));
        let graph = self.outbox.graph().of(sender.login);
        let answer = graph.get(&PATH, access, &parameters).await?;
        Ok(ours.difference(&properties(&answer.body["data"]), sender.platform))
    }

    /// Makes a Page's profile that of the file, with at most one call for each direction: Meta allows ten
    /// calls in ten minutes.
    pub(crate) async fn write_profile(
        &self,
        app: &App<'_>,
        page_id: &str,
        difference: &Difference,
    ) -> Result<(), SetupError> {
        let sender = app.application.sender(page_id)?;
        let access = app.access_of(page_id)?;
        let graph = self.outbox.graph().of(sender.login);
        let platform = platform_parameter(sender.platform);
        if !difference.lacking.is_empty() {
            let mut body = difference.lacking.clone();
            body.extend(platform.map(|(name, value)| (name.to_owned(), value.into())));
            graph.post(&PATH, access, &body).await?;
        }
        if !difference.surplus.is_empty() {
            let fields = json!(difference.surplus).to_string();
            let mut parameters = vec![("fields", fields.as_str())];
            parameters.extend(platform);
            graph.delete(&PATH, access, &parameters).await?;
        }
        Ok(())
    }
}

/// The properties that a platform has.
fn properties_of(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Messenger => &PROPERTIES,
        Platform::Instagram => &ON_INSTAGRAM,
    }
}

/// Without it, a linked account's call would be about its Page's profile.
///
/// Source: Meta's Instagram Messaging documentation, ice breakers and persistent menu.
fn platform_parameter(platform: Platform) -> Option<(&'static str, &'static str)> {
    (platform == Platform::Instagram).then_some(("platform", platform.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Value)) -> String {
        let mut profile: Value = serde_json::from_str(FILE).unwrap();
        change(&mut profile);
        Profile::parse(&profile.to_string()).unwrap_err().to_string()
    }

    fn menu_of(count: usize) -> Value {
        let item = json!({"type": "postback", "title": "t", "payload": "p"});
        json!([{"locale": "default", "call_to_actions": vec![item; count]}])
    }

    #[test]
    fn the_file_keeps_the_limits() {
        Profile::of_file().unwrap();
    }

    #[test]
    fn what_breaks_a_limit_is_named() {
        assert!(problem(|p| p["persistent_menu"] = menu_of(21)).contains("1 to 20 items"));
        assert!(problem(|p| p["persistent_menu"] = menu_of(0)).contains("1 to 20 items"));
        let title = "/persistent_menu/0/call_to_actions/0/title";
        let long = problem(|p| *p.pointer_mut(title).unwrap() = "x".repeat(31).into());
        assert!(long.contains("persistent_menu[0].call_to_actions[0]"), "{long}");
        assert!(long.contains("30 characters"), "{long}");
        assert!(
            problem(|p| drop(p.as_object_mut().unwrap().remove("get_started")))
                .contains("needs get_started")
        );
        assert!(problem(|p| p["greeting"][0]["text"] = "x".repeat(161).into()).contains("160"));
        assert!(problem(|p| p["greeting"][0]["locale"] = "en_US".into()).contains("default"));
        let breaker = json!({"question": "q", "payload": "p"});
        assert!(
            problem(|p| p["ice_breakers"][0]["call_to_actions"] = json!(vec![breaker; 5]))
                .contains("1 to 4 items")
        );
        assert!(problem(|p| p["whitelisted"] = json!([])).contains("whitelisted: must be one of"));
    }

    #[test]
    fn the_largest_profile_is_taken() {
        let mut profile: Value = serde_json::from_str(FILE).unwrap();
        profile["persistent_menu"] = menu_of(20);
        profile["greeting"][0]["text"] = "ä".repeat(160).into();
        Profile::parse(&profile.to_string()).unwrap();
    }

    #[test]
    fn what_meta_adds_is_no_difference() {
        let ours = Profile::of_file().unwrap();
        let mut theirs: Value = serde_json::from_str(FILE).unwrap();
        assert!(ours.difference(&theirs, Platform::Messenger).is_nothing());
        theirs["persistent_menu"][0]["disabled_surfaces"] = json!([]);
        drop(
            theirs["persistent_menu"][0].as_object_mut().unwrap().remove("composer_input_disabled"),
        );
        theirs["payment_settings"] = json!({"testers": ["1"]});
        theirs["commands"] = json!([]);
        assert!(ours.difference(&theirs, Platform::Messenger).is_nothing());
        theirs["greeting"][0]["text"] = "Another".into();
        let lacking = ours.difference(&theirs, Platform::Messenger).lacking;
        assert_eq!(lacking.keys().collect::<Vec<_>>(), ["greeting"]);
        assert_eq!(ours.difference(&Value::Null, Platform::Messenger).lacking.len(), 4);
    }

    #[test]
    fn domains_are_compared_as_a_set() {
        let ours = json!({"whitelisted_domains": ["https://a.example", "https://b.example/"]});
        let ours = Profile::parse(&ours.to_string()).unwrap();
        let differs = |theirs: Value| {
            !ours
                .difference(&json!({"whitelisted_domains": theirs}), Platform::Messenger)
                .is_nothing()
        };
        assert!(!differs(json!(["https://B.example", "https://a.example/"])));
        assert!(differs(json!(["https://a.example"])));
        assert!(differs(json!(["https://a.example", "https://b.example", "https://c.example"])));
    }

    #[test]
    fn what_is_not_in_the_file_is_surplus() {
        let ours = Profile::parse(r#"{"get_started": {"payload": "GS"}}"#).unwrap();
        let theirs = json!({"get_started": {"payload": "GS"}, "commands": [{"locale": "default"}],
            "account_linking_url": "https://example.com", "whitelisted_domains": []});
        let difference = ours.difference(&theirs, Platform::Messenger);
        assert_eq!(difference.surplus, ["account_linking_url", "commands"]);
        assert!(difference.lacking.is_empty());
    }

    #[test]
    fn instagram_has_two_of_the_properties() {
        let ours = Profile::parse(
            r#"{"get_started": {"payload": "GS"},
            "ice_breakers": [{"locale": "default",
                "call_to_actions": [{"question": "q", "payload": "p"}]}]}"#,
        );
        let ours = ours.unwrap();
        let theirs = json!({"persistent_menu": menu_of(1), "greeting": [{"locale": "default"}]});
        let names = |difference: Difference| {
            (difference.lacking.keys().cloned().collect::<Vec<_>>().join(","), difference.surplus)
        };
        for (platform, lacking, surplus) in [
            (Platform::Instagram, "ice_breakers", vec!["persistent_menu"]),
            (Platform::Messenger, "get_started,ice_breakers", vec!["greeting", "persistent_menu"]),
        ] {
            let expected = (lacking.to_owned(), surplus);
            assert_eq!(names(ours.difference(&theirs, platform)), expected, "{platform:?}");
        }
    }

    #[test]
    fn the_other_properties_are_checked() {
        let url = "https://example.com/";
        let commands = json!([{"locale": "default", "commands": [
            {"name": "book", "description": "Books a table"}]}]);
        for (name, good, bad) in [
            ("whitelisted_domains", json!([url]), json!(["http://example.com/"])),
            ("whitelisted_domains", json!(vec![url; 50]), json!(vec![url; 51])),
            ("account_linking_url", json!(url), json!("example.com")),
            ("commands", commands, json!([{"locale": "default", "commands": []}])),
        ] {
            let parse = |value: &Value| Profile::parse(&json!({name: value}).to_string());
            parse(&good).unwrap();
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("profile.json: {name}")), "{error}");
        }
    }

    #[test]
    fn each_documented_form_of_an_answer_is_read() {
        let actions = json!([{"question": "q", "payload": "p"}]);
        let breakers = json!([{"locale": "default", "call_to_actions": actions}]);
        let start = json!({"get_started": {"payload": "GS"}});
        let both = json!({"get_started": {"payload": "GS"}, "ice_breakers": breakers});
        for (data, expected) in [
            (json!([both]), &both),
            (json!([start, breakers[0]]), &both),
            (json!([breakers[0], start]), &both),
            (json!([{"get_started": {"payload": "GS"}, "ice_breakers": actions}]), &both),
            (json!([start]), &start),
            (json!([]), &json!({})),
            (Value::Null, &json!({})),
        ] {
            assert_eq!(properties(&data), *expected, "{data}");
        }
    }
}
