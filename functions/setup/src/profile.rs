//! The Messenger profile: the properties in `profile.json`, and which of them differ at Meta.
//!
//! Source of the limits: Meta's Messenger Profile API reference.

use messenger::event::Platform;
use serde_json::{Map, Value};

use crate::app::App;
use crate::{Setup, SetupError};

const FILE: &str = include_str!("../profile.json");

/// The supported properties.
const PROPERTIES: [&str; 4] = ["get_started", "greeting", "ice_breakers", "persistent_menu"];

/// Those of them that Instagram has.
const ON_INSTAGRAM: [&str; 2] = ["ice_breakers", "persistent_menu"];

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

    /// The properties that a platform has.
    pub(crate) fn on(&self, platform: Platform) -> Self {
        let has = |name: &str| platform == Platform::Messenger || ON_INSTAGRAM.contains(&name);
        let kept = self.0.iter().filter(|(name, _)| has(name));
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The names of the properties that it sets.
    pub(crate) fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// The properties that are missing or different at Meta.
    pub(crate) fn lacking(&self, theirs: &Value) -> Map<String, Value> {
        let differing = self.0.iter().filter(|(name, ours)| !covers(&theirs[name.as_str()], ours));
        differing.map(|(name, ours)| (name.clone(), ours.clone())).collect()
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
    let place = format!("{place}.call_to_actions");
    let items = language["call_to_actions"].as_array().map_or(&[][..], Vec::as_slice);
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
    /// The properties that an account's profile lacks or has differently.
    pub(crate) async fn profile_lacks(
        &self,
        app: &App<'_>,
        page_id: &str,
        ours: &Profile,
    ) -> Result<Map<String, Value>, SetupError> {
        let sender = app.application.sender(page_id)?;
        let access = app.access_of(page_id)?;
        let ours = ours.on(sender.platform);
        let fields = ours.names();
        let mut parameters = vec![("fields", fields.as_str())];
        parameters.extend(platform_parameter(sender.platform));
        let graph = self.outbox.graph().of(sender.login);
        let answer = graph.get(&["me", "messenger_profile"], access, &parameters).await?;
        Ok(ours.lacking(&answer.body["data"][0]))
    }

    pub(crate) async fn write_profile(
        &self,
        app: &App<'_>,
        page_id: &str,
        properties: &Map<String, Value>,
    ) -> Result<(), SetupError> {
        let sender = app.application.sender(page_id)?;
        let access = app.access_of(page_id)?;
        let mut body = properties.clone();
        let platform = platform_parameter(sender.platform);
        body.extend(platform.map(|(name, value)| (name.to_owned(), value.into())));
        let graph = self.outbox.graph().of(sender.login);
        graph.post(&["me", "messenger_profile"], access, &body).await?;
        Ok(())
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
    use serde_json::json;

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
        assert!(ours.lacking(&theirs).is_empty());
        theirs["persistent_menu"][0]["disabled_surfaces"] = json!([]);
        drop(
            theirs["persistent_menu"][0].as_object_mut().unwrap().remove("composer_input_disabled"),
        );
        theirs["whitelisted_domains"] = json!(["https://example.com"]);
        assert!(ours.lacking(&theirs).is_empty());
        theirs["greeting"][0]["text"] = "Another".into();
        assert_eq!(ours.lacking(&theirs).keys().collect::<Vec<_>>(), ["greeting"]);
        assert_eq!(ours.lacking(&Value::Null).len(), 4);
    }
}
