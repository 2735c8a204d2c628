//! What people write in a search: each text encodes the bot's decision.

use std::time::Duration;

use messenger::clock::Timestamp;
use messenger::decision::{Conversation, Decision, FollowUp};
use messenger::event::{Event, Kind};
use messenger::message::{Invalid, Message};
use serde::{Deserialize, Serialize};

/// What the bot is to decide about one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Script {
    /// The event's number in the run.
    pub(super) number: u64,
    /// How many messages it says at once.
    pub(super) say: u64,
    /// What it says later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) later: Vec<Later>,
    /// Whether it counts the event in its state.
    pub(super) remember: bool,
}

/// Something that is said later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Later {
    /// After so many seconds.
    pub(super) seconds: u64,
    /// Whether an answer cancels it.
    pub(super) unless_answered: bool,
}

impl Script {
    /// The text that carries the script.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn of(event: &Event) -> Option<Self> {
        let text = match &event.kind {
            Kind::Message(message) => message.text.as_deref(),
            Kind::Postback(postback) => postback.payload.as_deref(),
            _ => None,
        };
        serde_json::from_str(text?).ok()
    }
}

/// The bot that decides what the text encodes.
///
/// # Errors
/// None: every script keeps to the platform's limits.
pub(super) fn obey(
    event: &Event,
    conversation: &Conversation,
    _now: Timestamp,
) -> Result<Decision, Invalid> {
    let Some(script) = Script::of(event) else {
        return Ok(Decision::nothing());
    };
    let mut decision = Decision::nothing();
    for index in 0..script.say {
        decision = decision.say(Message::text(format!("{} says {index}", script.number))?);
    }
    for (index, later) in script.later.iter().enumerate() {
        let message = Message::text(format!("{} later {index}", script.number))?;
        let follow_up = FollowUp::after(Duration::from_secs(later.seconds), message);
        let follow_up = if later.unless_answered { follow_up.unless_answered() } else { follow_up };
        decision = decision.later(follow_up);
    }
    if script.remember {
        decision = decision.remember(&(conversation.state.as_u64().unwrap_or(0) + 1))?;
    }
    Ok(decision)
}
