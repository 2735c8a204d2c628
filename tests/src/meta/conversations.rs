//! The conversations of a Page's inbox.
//!
//! Source: Meta's Conversations API: details of the 20 newest messages only.

use messenger::clock::Timestamp;
use serde_json::{Value, json};

use super::State;
use super::node::{Answered, NodeCall};
use super::people::Person;

/// One message of a conversation.
pub(super) struct Line {
    pub(super) page_id: String,
    pub(super) person: Person,
    pub(super) mid: String,
    pub(super) text: String,
    pub(super) side: Side,
    /// When, ms since the epoch.
    pub(super) at: i64,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Person,
    Page,
}

impl Line {
    /// What Meta shows of it, as far as it is asked for.
    fn shown(&self, psid: &str, fields: &str) -> Value {
        let mut shown = json!({"id": self.mid});
        let from = match self.side {
            Side::Person => {
                json!({"name": "A person", "email": format!("{psid}@facebook.com"), "id": psid})
            }
            Side::Page => {
                json!({"name": "A Page", "email": format!("{}@facebook.com", self.page_id), "id": self.page_id})
            }
        };
        let created = Timestamp::from_millis(self.at).to_string();
        let created =
            created.split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned();
        for (field, value) in [
            ("message", json!(self.text)),
            ("from", from),
            ("created_time", json!(created + "+0000")),
        ] {
            if fields.contains(field) {
                shown[field] = value;
            }
        }
        shown
    }
}

/// The `limit` that is asked for, within what Meta shows.
fn limit(fields: &str) -> usize {
    let limit = fields.split("messages.limit(").nth(1).and_then(|rest| rest.split(')').next());
    limit.and_then(|limit| limit.parse().ok()).unwrap_or(NEWEST).min(NEWEST)
}

/// Meta shows the newest messages of a conversation only.
const NEWEST: usize = 20;

impl State {
    /// Records the text of a message of either side.
    pub(super) fn write_line(
        &mut self,
        page_id: &str,
        person: &Person,
        mid: &str,
        message: &Value,
        side: Side,
        at: i64,
    ) {
        if let Some(text) = message["text"].as_str() {
            self.lines.push(Line {
                page_id: page_id.to_owned(),
                person: person.clone(),
                mid: mid.to_owned(),
                text: text.to_owned(),
                side,
                at,
            });
        }
    }

    pub(super) fn conversations(&self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "pages_messaging")?;
        let page_id = self.account_asked_for(page_id, call)?;
        let platform = json!(self.platform(&page_id));
        let is_asked = call.choice("platform").is_none_or(|asked| platform == asked);
        let mut people: Vec<&str> = Vec::new();
        for line in self.lines.iter().rev().filter(|line| line.page_id == page_id && is_asked) {
            if let Person::Psid(psid) = &line.person
                && !people.contains(&psid.as_str())
                && call.text("user_id").is_none_or(|wanted| wanted == psid)
            {
                people.push(psid);
            }
        }
        let fields = call.text("fields").unwrap_or_default();
        let data = people.into_iter().map(|psid| self.conversation(&page_id, psid, fields));
        Ok(json!({"data": data.collect::<Vec<_>>()}))
    }

    fn conversation(&self, page_id: &str, psid: &str, fields: &str) -> Value {
        let mut conversation = json!({"id": format!("t_{page_id}{psid}")});
        if fields.contains("participants") {
            let participant = |name: &str, id: &str| json!({"name": name, "email": format!("{id}@facebook.com"), "id": id});
            let both = [participant("A person", psid), participant("A Page", page_id)];
            conversation["participants"] = json!({"data": both});
        }
        if fields.contains("is_owner") {
            let page = &self.pages[page_id];
            let owner = page.routed_to.as_ref().unwrap_or(&page.app_id);
            conversation["is_owner"] = json!(*owner == page.app_id);
        }
        if fields.contains("messages") {
            let theirs = self.lines.iter().rev().filter(|line| {
                line.page_id == page_id && line.person == Person::Psid(psid.to_owned())
            });
            let asked = fields.split_once("messages").map_or("", |(_, asked)| asked);
            let messages = theirs.take(limit(fields)).map(|line| line.shown(psid, asked));
            conversation["messages"] = json!({"data": messages.collect::<Vec<_>>()});
        }
        conversation
    }
}
