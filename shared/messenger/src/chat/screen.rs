//! What is on a person's screen.

use serde_json::{Map, Value, json};

use super::shown::{Choice, LeadsTo, choices};
use crate::event::Platform;

/// What a person sees of the conversation, as far as it can be pressed or reacted to.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// The quick replies under the newest message.
    replies: Vec<Choice>,
    /// The buttons, the newest message's first.
    buttons: Vec<Choice>,
    newest_of_page: Option<String>,
    newest_of_person: Option<String>,
}

impl Screen {
    /// A message of the Page appears.
    pub fn show(&mut self, mid: String, message: &Value) {
        let is_reply = |choice: &Choice| matches!(choice.leads_to, LeadsTo::QuickReply(_));
        let (replies, buttons) = choices(message).into_iter().partition(is_reply);
        self.replies = replies;
        self.buttons.splice(0..0, buttons);
        self.newest_of_page = Some(mid);
    }

    /// A message of the person appears; their quick replies go.
    pub fn write(&mut self, mid: &str) {
        self.replies.clear();
        self.newest_of_person = Some(mid.to_owned());
    }

    /// The mid of the message that a reaction is about.
    pub fn newest_of_page(&self) -> Option<&str> {
        self.newest_of_page.as_deref()
    }

    /// The mid of the message that is taken back.
    pub fn newest_of_person(&self) -> Option<&str> {
        self.newest_of_person.as_deref()
    }

    /// The fields of the messaging item that pressing something with this title causes.
    ///
    /// # Errors
    /// What is wrong with pressing it, as a sentence.
    pub fn tap(
        &self,
        title: &str,
        mid: &str,
        platform: Platform,
    ) -> Result<Map<String, Value>, String> {
        let mut choices = self.replies.iter().chain(&self.buttons);
        let leads_to = choices.find(|choice| choice.title == title).map(|choice| &choice.leads_to);
        let is_new = self.newest_of_page.is_none() && self.newest_of_person.is_none();
        let (field, value) = match leads_to {
            Some(LeadsTo::QuickReply(payload)) => {
                ("message", json!({"mid": mid, "text": title, "quick_reply": {"payload": payload}}))
            }
            Some(LeadsTo::Postback(payload)) => {
                ("postback", json!({"mid": mid, "title": title, "payload": payload}))
            }
            Some(LeadsTo::Elsewhere) => {
                return Err(format!("[{title}] leads elsewhere: nothing of it reaches the bot"));
            }
            None if is_new && platform == Platform::Messenger && title == GET_STARTED => {
                ("postback", json!({"mid": mid, "title": title, "payload": "GET_STARTED"}))
            }
            None => return Err(format!("[{title}] is not on the screen, which has {self}")),
        };
        Ok(Map::from_iter([(field.to_owned(), value)]))
    }
}

/// The button that a new conversation of Messenger has, with the payload of `functions/setup/profile.json`.
const GET_STARTED: &str = "Get Started";

impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles = self.replies.iter().chain(&self.buttons).map(|choice| choice.title.as_str());
        match titles.collect::<Vec<_>>()[..] {
            [] => f.write_str("nothing to press"),
            ref titles => write!(f, "[{}]", titles.join("], [")),
        }
    }
}
