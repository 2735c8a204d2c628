//! Timers: the bot wakes itself later, and decides then.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::When;
use crate::clock::Timestamp;
use crate::message::Invalid;

/// The most timers that may be set for one person.
pub const MAX_TIMERS: usize = 8;

/// The most characters of a timer's key.
const MAX_KEY: usize = 40;

/// The most bytes of a timer's payload, as JSON.
const MAX_PAYLOAD: usize = 256;

/// A timer: when it is due the bot is asked again, with [`Kind::Timer`](crate::event::Kind::Timer).
///
/// It comes within the minute after its time, in the order of the person's own events, and waits while people answer.
/// Each person has at most [`MAX_TIMERS`], which count among the 20 messages that may wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// Its name: setting another one of the same name replaces it.
    pub key: String,
    /// When it is due.
    pub when: When,
    /// What the bot gets with it.
    pub payload: Value,
    /// Whether a new message from the person cancels it.
    pub cancelled_by_answer: bool,
}

impl Timer {
    /// A timer after a while, with a key of 1 to 40 characters of a–z, 0–9 and `-`, and a payload of at most 256 bytes
    /// as JSON.
    ///
    /// # Errors
    /// [`Invalid`] if the key has another form, or the payload is too large or cannot be serialized.
    pub fn after(
        delay: Duration,
        key: impl Into<String>,
        payload: &impl Serialize,
    ) -> Result<Self, Invalid> {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self::new(When::AfterMillis(millis), key, payload)
    }

    /// A timer at an instant; otherwise as [`Self::after`].
    ///
    /// # Errors
    /// As [`Self::after`].
    pub fn at(
        instant: Timestamp,
        key: impl Into<String>,
        payload: &impl Serialize,
    ) -> Result<Self, Invalid> {
        Self::new(When::At(instant), key, payload)
    }

    /// Cancels it as soon as the person answers: any event that opens the window counts.
    #[must_use]
    pub fn unless_answered(mut self) -> Self {
        self.cancelled_by_answer = true;
        self
    }

    pub(crate) fn new(
        when: When,
        key: impl Into<String>,
        payload: &impl Serialize,
    ) -> Result<Self, Invalid> {
        let payload = serde_json::to_value(payload)
            .map_err(|error| Invalid::new("payload", format!("cannot be serialized: {error}")))?;
        let timer = Self { key: key.into(), when, payload, cancelled_by_answer: false };
        timer.check()?;
        Ok(timer)
    }

    fn check(&self) -> Result<(), Invalid> {
        check_key(&self.key)?;
        let bytes = self.payload.to_string().len();
        if bytes > MAX_PAYLOAD {
            let problem = format!("has {bytes} bytes as JSON; at most {MAX_PAYLOAD} are allowed");
            return Err(Invalid::new("payload", problem));
        }
        Ok(())
    }
}

/// Checks the timers that a decision sets and cancels.
pub(super) fn check(timers: &[Timer], cancelled: &[String]) -> Result<(), Invalid> {
    if timers.len() > MAX_TIMERS {
        let problem = format!("has {} timers; at most {MAX_TIMERS} are allowed", timers.len());
        return Err(Invalid::new("timers", problem));
    }
    for (index, timer) in timers.iter().enumerate() {
        timer.check().map_err(|invalid| invalid.within(&format!("timers[{index}]")))?;
        if timers[..index].iter().any(|earlier| earlier.key == timer.key) {
            let problem = format!("sets \"{}\" twice", timer.key);
            return Err(Invalid::new("timers", problem));
        }
    }
    for (index, key) in cancelled.iter().enumerate() {
        check_key(key).map_err(|invalid| invalid.within(&format!("cancel_timers[{index}]")))?;
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Invalid> {
    let is_of_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(is_of_key) {
        return Ok(());
    }
    Err(Invalid::new("key", format!("must be 1 to {MAX_KEY} characters of a to z, 0 to 9 and -")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_timer_has_a_short_key_and_a_small_payload() {
        let long = "k".repeat(MAX_KEY + 1);
        let (largest, larger) = ("x".repeat(MAX_PAYLOAD - 2), "x".repeat(MAX_PAYLOAD - 1));
        for (key, payload, is_valid) in [
            ("remind", json!(null), true),
            ("remind-2", json!({"n": 1}), true),
            (&long[1..], json!(largest), true),
            ("remind", json!(larger), false),
            (&long, json!(null), false),
            ("", json!(null), false),
            ("Remind", json!(null), false),
            ("re.mind", json!(null), false),
        ] {
            assert_eq!(Timer::after(HOUR, key, &payload).is_ok(), is_valid, "{key} {payload}");
        }
    }

    #[test]
    fn a_decision_sets_each_of_a_few_timers_once() {
        let timer = |key: String| Timer::after(HOUR, key, &()).unwrap();
        let many = |count: usize| (0..count).map(|n| timer(format!("t{n}"))).collect::<Vec<_>>();
        assert!(check(&many(MAX_TIMERS), &["other".to_owned()]).is_ok());
        for (timers, cancelled, field) in [
            (many(MAX_TIMERS + 1), vec![], "timers"),
            (vec![timer("a".to_owned()), timer("a".to_owned())], vec![], "timers"),
            (vec![], vec!["A".to_owned()], "cancel_timers[0].key"),
        ] {
            let invalid = check(&timers, &cancelled).unwrap_err();
            assert!(invalid.to_string().starts_with(field), "{invalid}");
        }
    }
}
