//! Sender actions: what the person sees beside messages.
//!
//! Source: Meta's Send API reference and its guides of sender actions, for Messenger and Instagram.

use serde::Serialize;

use super::Invalid;
use super::part::Part;

/// Something that the person sees beside messages: typing, seen, a reaction.
///
/// It is never tried twice, and nothing waits for it: one that Meta refuses is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "sender_action", content = "payload", rename_all = "snake_case")]
pub enum Action {
    /// Shows that an answer is being written, until it arrives or for 20 s.
    TypingOn,
    /// Ends it.
    TypingOff,
    /// Shows that the person's messages were seen.
    MarkSeen,
    /// Reacts to a message of the person.
    React {
        /// The message's mid.
        message_id: String,
        /// An emoji; on Instagram `love`.
        reaction: String,
    },
    /// Takes a reaction back.
    Unreact {
        /// The message's mid.
        message_id: String,
    },
}

/// Checks `sender_action` and its `payload`.
pub(super) fn check(body: &Part) -> Result<(), Invalid> {
    let kinds = ["typing_on", "typing_off", "mark_seen", "react", "unreact"];
    let payload = body.at("payload");
    match body.at("sender_action").one_of(&kinds)? {
        "react" => {
            body.fields(&["sender_action", "payload"])?;
            payload.fields(&["message_id", "reaction"])?;
            payload.at("message_id").text(1..=1000)?;
            payload.at("reaction").text(1..=50).map(drop)
        }
        "unreact" => {
            body.fields(&["sender_action", "payload"])?;
            payload.fields(&["message_id"])?;
            payload.at("message_id").text(1..=1000).map(drop)
        }
        "mark_seen" => body.fields(&["sender_action"]),
        _ => body.fields(&["sender_action", "persona_id"]),
    }
}
