//! Sender actions: typing indicators, seen marks and reactions.
//!
//! Source: Meta's Send API reference and its guides of sender actions, for Messenger and Instagram.

use serde::Serialize;
use strum::{EnumDiscriminants, EnumString, VariantNames};

use super::Invalid;
use super::part::Part;

/// A sender action: a typing indicator, a seen mark, a reaction.
///
/// It is never retried, and nothing waits for it: one that Meta refuses is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, EnumDiscriminants)]
#[strum_discriminants(name(ActionKind), vis(), derive(EnumString, VariantNames))]
#[strum_discriminants(strum(serialize_all = "snake_case"))]
#[serde(tag = "sender_action", content = "payload", rename_all = "snake_case")]
pub enum Action {
    /// Shows a typing indicator, until a message arrives or for 20 s.
    TypingOn,
    /// Ends the typing indicator.
    TypingOff,
    /// Shows that the person's messages were seen.
    MarkSeen,
    /// Adds a reaction to a message of the person.
    React {
        /// The message's mid.
        message_id: String,
        /// An emoji; on Instagram `love`.
        reaction: String,
    },
    /// Removes a reaction.
    Unreact {
        /// The message's mid.
        message_id: String,
    },
}

/// Checks `sender_action` and its `payload`.
pub(super) fn check(body: &Part) -> Result<(), Invalid> {
    let payload = body.at("payload");
    match body.at("sender_action").variant()? {
        ActionKind::React => {
            body.only(&["sender_action", "payload"])?;
            payload.only(&["message_id", "reaction"])?;
            payload.at("message_id").text(1..=1000)?;
            payload.at("reaction").text(1..=50).map(drop)
        }
        ActionKind::Unreact => {
            body.only(&["sender_action", "payload"])?;
            payload.only(&["message_id"])?;
            payload.at("message_id").text(1..=1000).map(drop)
        }
        ActionKind::MarkSeen => body.only(&["sender_action"]),
        ActionKind::TypingOn | ActionKind::TypingOff => body.only(&["sender_action", "persona_id"]),
    }
}
