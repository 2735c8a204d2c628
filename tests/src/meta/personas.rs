//! The personas of a Page.
//!
//! Source: Meta's reference of the Personas API: a name of at most 50 characters, a picture by URL.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::{Meta, Platform, State};

/// The most characters of a persona's name.
const LONGEST_NAME: usize = 50;

/// The default number of personas in one answer.
const AT_ONCE: usize = 25;

/// A persona of a Page.
pub(super) struct Persona {
    page_id: String,
    id: String,
    name: String,
    picture: String,
}

impl State {
    pub(super) fn personas(&mut self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "pages_messaging")?;
        if call.method == "GET" {
            let own = self.personas.iter().filter(|persona| persona.page_id == page_id);
            return Ok(listed(&own.collect::<Vec<_>>(), call));
        }
        let (name, picture) = (call.text("name"), call.text("profile_picture_url"));
        let Some(name) = name.filter(|name| name.chars().count() <= LONGEST_NAME) else {
            return Err(Refusal::invalid("Param name must be a string of 1 to 50 characters"));
        };
        let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
        let Some(picture) = picture.filter(is_web) else {
            return Err(Refusal::invalid("Param profile_picture_url must be a valid URI"));
        };
        let id = (260_000_000_000_000 + self.personas_made).to_string();
        self.personas_made += 1;
        let (name, picture) = (name.to_owned(), picture.to_owned());
        self.personas.push(Persona { page_id, id: id.clone(), name, picture });
        Ok(json!({"id": id}))
    }

    /// Whether a node is a persona.
    pub(super) fn has_persona(&self, id: &str) -> bool {
        self.personas.iter().any(|persona| persona.id == id)
    }

    pub(super) fn persona(&mut self, id: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page("me", call, now)?;
        let is_this = |persona: &Persona| persona.page_id == page_id && persona.id == id;
        let Some(place) = self.personas.iter().position(is_this) else {
            let message = "Unsupported request. Object does not exist";
            return Err(Refusal::new(400, 100, Some(33), message));
        };
        if call.method == "DELETE" {
            self.personas.remove(place);
            return Ok(json!({"success": true}));
        }
        Ok(self.personas[place].to_value())
    }

    /// A message names a persona of its Page by the id; Instagram has none.
    pub(super) fn check_persona(&self, page_id: &str, body: &Value) -> Result<(), Refusal> {
        let id = match &body["persona_id"] {
            Value::Null => return Ok(()),
            Value::String(id) => id.clone(),
            other => other.to_string(),
        };
        let is_this = |persona: &Persona| persona.page_id == page_id && persona.id == id;
        if self.platform(page_id) == Platform::Messenger && self.personas.iter().any(is_this) {
            return Ok(());
        }
        Err(Refusal::invalid("Param persona_id must be a persona of this Page"))
    }
}

/// A part of a list, and cursors to the next one. `next` is there if there is more, and an empty part has no
/// `paging` at all; a client knows the end by either. Source: Meta's Graph API, paged results.
fn listed(personas: &[&Persona], call: &NodeCall) -> Value {
    let number = |name: &str| call.text(name).and_then(|text| text.parse::<usize>().ok());
    let start = number("after").unwrap_or(0).min(personas.len());
    let end = (start + number("limit").unwrap_or(AT_ONCE)).min(personas.len());
    let shown: Vec<_> = personas[start..end].iter().map(|persona| persona.to_value()).collect();
    if shown.is_empty() {
        return json!({"data": []});
    }
    let cursors = json!({"before": start.to_string(), "after": end.to_string()});
    let mut paging = json!({"cursors": cursors});
    if end < personas.len() {
        let page_id = &personas[0].page_id;
        let next = format!("https://graph.facebook.com/v25.0/{page_id}/personas?after={end}");
        paging["next"] = next.into();
    }
    json!({"data": shown, "paging": paging})
}

impl Persona {
    fn to_value(&self) -> Value {
        json!({"id": self.id, "name": self.name, "profile_picture_url": self.picture})
    }
}

impl Meta {
    /// A persona that a Page already has.
    pub fn add_persona(&self, page_id: &str, id: &str) {
        let persona = Persona {
            page_id: page_id.to_owned(),
            id: id.to_owned(),
            name: "Front desk".to_owned(),
            picture: "https://example.com/desk.png".to_owned(),
        };
        self.state().personas.push(persona);
    }
}
