//! What people write in a search: each text encodes the bot's decision.

use std::panic::resume_unwind;
use std::time::Duration;

use messenger::bot::{Bot, BotError, Trouble, Turn};
use messenger::decision::{Conversation, Decision, FollowUp};
use messenger::event::{Event, Kind};
use messenger::message::{Invalid, Message};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::driver::{gets_stuck, takes};

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

/// How the bot fares with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// It decides at once.
    Well,
    /// It takes a while, or more than it has.
    Slow(Duration),
    /// What it needs is down, so many times.
    Fails(u64),
    /// It panics at first.
    Panics,
    /// It never pauses at first.
    GetsStuck,
}

impl Script {
    /// Follows from the number, so that a text says everything.
    fn mood(&self) -> Mood {
        match self.number % 19 {
            3 => Mood::Fails(1 + self.number % 4),
            5 | 8 => Mood::Slow(Duration::from_secs(self.number % 18)),
            11 => Mood::Panics,
            14 => Mood::GetsStuck,
            _ => Mood::Well,
        }
    }

    fn decision(&self, conversation: &Conversation) -> Result<Decision, Invalid> {
        let mut decision = Decision::nothing();
        for index in 0..self.say {
            decision = decision.say(Message::text(format!("{} says {index}", self.number))?);
        }
        for (index, later) in self.later.iter().enumerate() {
            let message = Message::text(format!("{} later {index}", self.number))?;
            let follow_up = FollowUp::after(Duration::from_secs(later.seconds), message);
            let follow_up =
                if later.unless_answered { follow_up.unless_answered() } else { follow_up };
            decision = decision.later(follow_up);
        }
        if self.remember {
            decision = decision.remember(&(conversation.state.as_u64().unwrap_or(0) + 1))?;
        }
        Ok(decision)
    }
}

/// The bot that decides what the text encodes, at first or after it failed; if it gives up, it decides the same.
#[derive(Debug)]
pub(super) struct Obedient;

impl Bot for Obedient {
    type State = Value;

    async fn decide(&self, turn: &Turn<Value>) -> Result<Decision, BotError> {
        let Some(script) = Script::of(turn.event()) else { return Ok(Decision::nothing()) };
        match script.mood() {
            Mood::Fails(times) if turn.attempt() <= times => {
                return Err(BotError::temporary("service"));
            }
            // Without the hook, which would print each of thousands.
            Mood::Panics if turn.attempt() == 1 => resume_unwind(Box::new("a fault of the bot")),
            Mood::GetsStuck if turn.attempt() == 1 => gets_stuck(),
            Mood::Slow(span) => takes(span),
            _ => {}
        }
        Ok(script.decision(turn.conversation())?)
    }

    fn give_up(&self, turn: &Turn<Value>, _: &Trouble) -> Option<Decision> {
        Script::of(turn.event())?.decision(turn.conversation()).ok()
    }
}
