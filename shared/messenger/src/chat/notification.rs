//! What Meta would send about what people do: the JSON of notifications.

use serde_json::{Map, Value, json};

use super::transcript::Account;
use crate::clock::Timestamp;
use crate::event::Platform;

/// The app that the conversations' Pages belong to.
const OWN_APP: &str = "200000000000001";

/// Whether it is the bot's app.
pub(super) fn is_bot(app_id: Option<&str>) -> bool {
    app_id == Some(OWN_APP)
}

/// Something between a Page and a person at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice<'a> {
    pub(super) account: Account,
    pub(super) psid: &'a str,
    pub(super) at: Timestamp,
}

impl Notice<'_> {
    /// The person did what these fields of a messaging item say.
    pub(super) fn by_person(&self, fields: Map<String, Value>) -> Vec<u8> {
        self.messaging(self.psid, &self.account.page_id(), fields)
    }

    /// The Page's inbox wrote a text.
    pub(super) fn echo(&self, mid: &str, text: &str) -> Vec<u8> {
        let echo = json!({"is_echo": true, "mid": mid, "text": text});
        let fields = Map::from_iter([("message".to_owned(), echo)]);
        self.messaging(&self.account.page_id(), self.psid, fields)
    }

    /// The Page's inbox gave the control of the conversation to the bot.
    pub(super) fn control_returned(&self) -> Vec<u8> {
        let pass = json!({"new_owner_app_id": OWN_APP});
        self.by_person(Map::from_iter([("pass_thread_control".to_owned(), pass)]))
    }

    /// The person commented on a post.
    pub(super) fn comment(&self, id: &str, text: &str) -> Vec<u8> {
        let seconds = self.at.millis() / 1000;
        let (field, value) = match self.account.platform {
            Platform::Messenger => (
                "feed",
                json!({
                    "item": "comment", "verb": "add", "comment_id": id, "post_id": "p_1", "parent_id": "p_1",
                    "from": {"id": self.psid, "name": "Somebody"}, "message": text, "created_time": seconds,
                }),
            ),
            Platform::Instagram => (
                "comments",
                json!({
                    "id": id, "text": text, "from": {"id": self.psid, "username": "somebody"},
                    "media": {"id": "p_1", "media_product_type": "FEED"},
                }),
            ),
        };
        self.notification("changes", &json!({"field": field, "value": value}), seconds)
    }

    fn messaging(&self, sender: &str, recipient: &str, fields: Map<String, Value>) -> Vec<u8> {
        let mut item = json!({
            "sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": self.at.millis(),
        });
        for (name, value) in fields {
            item[name] = value;
        }
        self.notification("messaging", &item, self.at.millis())
    }

    fn notification(&self, container: &str, item: &Value, time: i64) -> Vec<u8> {
        let object = match self.account.platform {
            Platform::Messenger => "page",
            Platform::Instagram => "instagram",
        };
        let entry = json!({"id": self.account.page_id(), "time": time, container: [item]});
        json!({"object": object, "entry": [entry]}).to_string().into_bytes()
    }
}

impl Account {
    /// The id of the Page or the account.
    pub(super) fn page_id(self) -> String {
        let first: u64 = match self.platform {
            Platform::Messenger => 100_000_000_000_000,
            Platform::Instagram => 17_800_000_000_000_000,
        };
        (first + u64::from(self.page)).to_string()
    }
}
