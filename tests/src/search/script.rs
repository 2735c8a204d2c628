//! What people write in a search: each text encodes the bot's decision.

use std::panic::resume_unwind;
use std::time::Duration;

use messenger::bot::{Bot, BotError, Gather, Trouble, Turn};
use messenger::decision::{Decision, FollowUp, Timer};
use messenger::event::{Event, Kind};
use messenger::message::{Invalid, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::habits::Habits;
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
    /// When it wakes itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wake: Option<Later>,
}

/// Something that is said later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Later {
    /// After so many seconds.
    pub(super) seconds: u64,
    /// Whether an answer cancels it.
    pub(super) unless_answered: bool,
}

impl Later {
    const fn after(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl Script {
    /// The text that carries the script.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether it decides anything.
    pub(super) fn says_nothing(&self) -> bool {
        self.say == 0 && self.later.is_empty() && !self.remember && self.wake.is_none()
    }

    fn of(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The key of its timer: some replace each other.
    pub(super) fn timer_key(&self) -> String {
        if self.number.is_multiple_of(5) {
            "again".to_owned()
        } else {
            format!("t-{}", self.number)
        }
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
}

/// What is decided about the events of a turn.
#[derive(Debug, Default)]
struct Wanted {
    say: Vec<String>,
    later: Vec<(String, Later)>,
    wake: Vec<(String, u64, Later)>,
    /// How many events are counted in the state.
    remembered: u64,
}

impl Wanted {
    fn by(scripts: &[Script]) -> Self {
        let mut wanted = Self::default();
        for script in scripts {
            let number = script.number;
            wanted.say.extend((0..script.say).map(|index| format!("{number} says {index}")));
            let later = script.later.iter().enumerate();
            let later =
                later.map(|(index, later)| (format!("{number} later {index}"), later.clone()));
            wanted.later.extend(later);
            let wake = script.wake.iter().map(|wake| (script.timer_key(), number, wake.clone()));
            wanted.wake.extend(wake);
            wanted.remembered += u64::from(script.remember);
        }
        // One timer of a key is set by a turn: the last.
        let keys: Vec<_> = wanted.wake.iter().map(|(key, ..)| key.clone()).collect();
        let mut place = 0;
        wanted.wake.retain(|(key, ..)| {
            place += 1;
            !keys[place..].contains(key)
        });
        wanted
    }

    /// What is said when a timer wakes the bot.
    fn woken(payload: &Value) -> Self {
        Self { say: vec![format!("{payload} woke")], ..Self::default() }
    }

    fn decision(self, state: &Value) -> Result<Decision, Invalid> {
        let mut decision = Decision::nothing();
        for text in self.say {
            decision = decision.say(Message::text(text)?);
        }
        for (text, later) in self.later {
            let follow_up = FollowUp::after(later.after(), Message::text(text)?);
            decision = decision.later(if later.unless_answered {
                follow_up.unless_answered()
            } else {
                follow_up
            });
        }
        for (key, number, wake) in self.wake {
            let timer = Timer::after(wake.after(), key, &number)?;
            decision = decision.wake_me(if wake.unless_answered {
                timer.unless_answered()
            } else {
                timer
            });
        }
        if self.remembered > 0 {
            decision = decision.remember(&(state.as_u64().unwrap_or(0) + self.remembered))?;
        }
        Ok(decision)
    }

    /// The decision of a bot behind a URL.
    fn to_json(&self, state: &Value) -> Value {
        let later = self.later.iter().map(|(text, later)| {
            json!({
                "after_seconds": later.seconds,
                "messages": [text],
                "unless_answered": later.unless_answered,
            })
        });
        let timers = self.wake.iter().map(|(key, number, wake)| {
            json!({
                "key": key,
                "after_seconds": wake.seconds,
                "payload": number,
                "unless_answered": wake.unless_answered,
            })
        });
        let mut decision = json!({
            "say": self.say,
            "later": later.collect::<Vec<_>>(),
            "timers": timers.collect::<Vec<_>>(),
        });
        if self.remembered > 0 {
            decision["state"] = (state.as_u64().unwrap_or(0) + self.remembered).into();
        }
        decision
    }
}

/// The bot that decides what the texts encode, at first or after it failed; if it gives up, it decides the same.
#[derive(Debug)]
pub(super) struct Obedient {
    pub(super) habits: Habits,
}

impl Obedient {
    fn scripts(turn: &Turn<Value>) -> Vec<Script> {
        let text = |event: &Event| match &event.kind {
            Kind::Message(message) => message.text.clone(),
            Kind::Postback(postback) => postback.payload.clone(),
            _ => None,
        };
        turn.events().iter().filter_map(|event| Script::of(&text(event)?)).collect()
    }

    fn wanted(turn: &Turn<Value>) -> Wanted {
        match &turn.event().kind {
            Kind::Timer(timer) => Wanted::woken(&timer.payload),
            _ => Wanted::by(&Self::scripts(turn)),
        }
    }
}

impl Bot for Obedient {
    type State = Value;

    fn gather(&self) -> Gather {
        self.habits.gathers
    }

    async fn decide(&self, turn: &Turn<Value>) -> Result<Decision, BotError> {
        let mood = Self::scripts(turn).first().map_or(Mood::Well, Script::mood);
        if self.habits.keeps_memos {
            turn.once("done", async { Ok(turn.attempt()) }).await?;
        }
        match mood {
            Mood::Fails(times) if turn.attempt() <= times => {
                return Err(BotError::temporary("service"));
            }
            // Without the hook, which would print each of thousands.
            Mood::Panics if turn.attempt() == 1 => resume_unwind(Box::new("a fault of the bot")),
            Mood::GetsStuck if turn.attempt() == 1 => gets_stuck(),
            Mood::Slow(span) => takes(span),
            _ => {}
        }
        Ok(Self::wanted(turn).decision(turn.state())?)
    }

    fn give_up(&self, turn: &Turn<Value>, _: &Trouble) -> Option<Decision> {
        Self::wanted(turn).decision(turn.state()).ok()
    }
}

/// What a bot behind a URL answers to a turn: nothing if it is down.
pub(super) fn answer(turn: &Value) -> Option<Value> {
    let events = turn["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |event: &Value| event["text"].as_str().and_then(Script::of);
    let scripts: Vec<_> = events.iter().filter_map(text).collect();
    let mood = scripts.first().map_or(Mood::Well, Script::mood);
    // It is down once only: after two minutes the event would be given up, and there is nobody to decide then.
    if matches!(mood, Mood::Fails(_) | Mood::Panics) && turn["attempt"] == 1 {
        return None;
    }
    let woken = events.first().filter(|event| event["kind"] == "timer");
    let wanted = match woken {
        Some(event) => Wanted::woken(&event["event"]["payload"]),
        None => Wanted::by(&scripts),
    };
    Some(wanted.to_json(&turn["conversation"]["state"]))
}
