//! Notifications, byte for byte as Meta sends them.
//!
//! Source: Meta's webhooks ("an escaped unicode version of the payload" is signed), and its references of
//! `message_echoes`, `message_deliveries`, `message_reads` and `standby`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::people::Person;
use super::{Platform, State};

/// A notification of one messaging item.
pub(super) fn of(platform: Platform, page_id: &str, at: i64, item: &Value) -> Value {
    within("messaging", platform, page_id, at, item)
}

/// A notification of one item in a container. Meta: under `standby` postbacks have no payload.
pub(super) fn within(
    container: &str,
    platform: Platform,
    page_id: &str,
    at: i64,
    item: &Value,
) -> Value {
    let mut item = item.clone();
    if container == "standby"
        && let Some(postback) = item["postback"].as_object_mut()
    {
        postback.remove("payload");
    }
    let object = match platform {
        Platform::Messenger => "page",
        Platform::Instagram => "instagram",
    };
    json!({
        "object": object,
        "entry": [{"id": page_id, "time": at, container: [item]}],
    })
}

/// The bytes that Meta sends and signs: slashes and non-ASCII characters are escaped.
pub(super) fn bytes(notification: &Value) -> Vec<u8> {
    let plain = notification.to_string();
    let mut escaped = String::with_capacity(plain.len());
    // Outside of strings JSON has neither slashes nor other scripts, so no parsing is needed.
    for character in plain.chars() {
        match character {
            '/' => escaped.push_str("\\/"),
            ascii if ascii.is_ascii() => escaped.push(ascii),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    escaped.into_bytes()
}

/// A message id, unique by its number.
///
/// Instagram's are longer than many fields that hold an id, so these are too.
pub(super) fn mid(platform: Platform, direction: &str, number: u64) -> String {
    match platform {
        Platform::Messenger => format!("m_{direction}{number:06}"),
        Platform::Instagram => format!("m_{direction}{number:0160}"),
    }
}

impl State {
    /// Queues the echo and the receipts of a message that was just delivered.
    pub(super) fn notify(
        &mut self,
        page_id: &str,
        person: &Person,
        mid: &str,
        message: &Value,
        now: i64,
    ) {
        let platform = self.platform(page_id);
        let mut items = Vec::new();
        if self.echoes {
            items.push(json!({
                "sender": {"id": page_id},
                "recipient": person.to_value(),
                "timestamp": now,
                "message": self.echo(page_id, mid, message),
            }));
        }
        if self.receipts {
            let receipt = |kind: &str, what: Value| {
                json!({
                    "sender": person.to_value(),
                    "recipient": {"id": page_id},
                    "timestamp": now,
                    kind: what,
                })
            };
            match platform {
                Platform::Messenger => {
                    let delivery = json!({"mids": [mid], "watermark": now});
                    items.push(receipt("delivery", delivery));
                    items.push(receipt("read", json!({"watermark": now})));
                }
                Platform::Instagram => items.push(receipt("read", json!({"mid": mid}))),
            }
        }
        items.retain(|item| self.is_wanted(page_id, item));
        for item in items {
            self.webhooks.push(bytes(&of(platform, page_id, now, &item)));
        }
    }

    fn echo(&self, page_id: &str, mid: &str, message: &Value) -> Value {
        let app_id = &self.app_of(page_id).app_id;
        let app_id = app_id.parse::<u64>().map_or_else(|_| json!(app_id), |number| json!(number));
        let mut echo = json!({"mid": mid, "is_echo": true, "app_id": app_id});
        for copied in ["text", "metadata", "attachments"] {
            if !message[copied].is_null() {
                echo[copied] = message[copied].clone();
            }
        }
        let (attachment, sticker, template) =
            (&message["attachment"], &message["sticker_id"], &message["template"]);
        if !attachment.is_null() {
            echo["attachments"] = json!([attachment]);
        } else if !sticker.is_null() {
            let payload = json!({"sticker_id": sticker});
            echo["attachments"] = json!([{"type": "sticker", "payload": payload}]);
        } else if !template.is_null() {
            echo["attachments"] = json!([{"type": "template", "payload": template}]);
        }
        echo
    }
}
