//! An event on its way through the queue.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::Event;
use super::json::tolerant;
use super::own::OWN;
use super::parse::Place;
use crate::clock::Timestamp;

/// The largest record in bytes that a queue takes.
///
/// Source: the SQS quota for a message's size, 1 MiB. What the queue adds of its own is little; the
/// margin is for that.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024 - 8 * 1024;

/// Why an event cannot be written as JSON.
pub type WriteError = serde_json::Error;

/// The form that an event has in the queue.
#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    object: &'a str,
    page_id: &'a str,
    container: &'a str,
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_time: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    event: &'a RawValue,
}

/// The same form, as it comes out of the queue.
#[derive(Deserialize)]
struct Stored {
    id: String,
    object: String,
    page_id: String,
    container: String,
    received_at: Timestamp,
    #[serde(default)]
    entry_time: Option<i64>,
    #[serde(default)]
    truncated: bool,
    event: Box<RawValue>,
}

impl Event {
    /// The text that goes into the queue, at most [`MAX_RECORD_BYTES`] long, and whether the event
    /// was cut for that.
    ///
    /// An event that is too large is cut down to its envelope: ids, kind and time. Two characters
    /// that JSON may hold and SQS refuses are escaped.
    ///
    /// # Errors
    /// [`WriteError`] if a field cannot be written as JSON.
    pub fn to_queue_text(&self) -> Result<(String, bool), WriteError> {
        let raw: &RawValue = serde_json::from_str(&self.raw)?;
        let mut text = self.write(raw, self.truncated)?;
        let mut depths = (0..=3).rev();
        let mut truncated = self.truncated;
        while text.len() > MAX_RECORD_BYTES
            && let Some(depth) = depths.next()
        {
            truncated = true;
            let envelope = to_raw_value(&cut_to_envelope(&tolerant(&self.raw), depth))?;
            text = self.write(&envelope, truncated)?;
        }
        Ok((text, truncated))
    }

    fn write(&self, event: &RawValue, truncated: bool) -> Result<String, WriteError> {
        let text = serde_json::to_string(&Written {
            id: &self.id,
            object: &self.object,
            page_id: &self.page_id,
            container: &self.container,
            received_at: self.received_at,
            entry_time: self.entry_time,
            truncated,
            event,
        })?;
        Ok(escape_for_sqs(text))
    }

    /// Reads what [`Self::to_queue_text`] wrote.
    ///
    /// # Errors
    /// If the text is not of that form.
    pub fn from_queue_text(text: &str) -> Result<Self, serde_json::Error> {
        let stored: Stored = serde_json::from_str(text)?;
        let place = Place {
            object: &stored.object,
            page_id: &stored.page_id,
            container: &stored.container,
            received_at: stored.received_at,
            entry_time: stored.entry_time,
        };
        if stored.container == OWN {
            return Ok(Self::read_own(&place, stored.event.get(), stored.id));
        }
        let event = Self::read(&place, stored.event.get(), Some(stored.id));
        Ok(Self { truncated: stored.truncated, ..event })
    }
}

pub(super) fn escape_for_sqs(text: String) -> String {
    if text.contains(['\u{FFFE}', '\u{FFFF}']) {
        text.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
    } else {
        text
    }
}

/// The small values of an event, down to a depth.
pub(super) fn cut_to_envelope(value: &Value, depth: usize) -> Value {
    const LONGEST: usize = 1000;
    const WIDEST: usize = 30;
    match value {
        Value::Object(fields) if depth > 0 => Value::Object(
            fields
                .iter()
                .filter(|(key, _)| key.len() <= LONGEST)
                .take(WIDEST)
                .map(|(key, value)| (key.clone(), cut_to_envelope(value, depth - 1)))
                .filter(|(_, value)| !value.is_null())
                .collect(),
        ),
        Value::Object(_) | Value::Array(_) => Value::Null,
        Value::String(text) if text.len() > LONGEST => Value::Null,
        small => small.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, split};
    use super::*;
    use crate::person::Person;

    const RECEIVED: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn an_event_too_large_keeps_its_envelope() {
        let text = "x".repeat(2 * MAX_RECORD_BYTES);
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","messaging":[{{"sender":{{"id":"1"}},"timestamp":1794999999000,"message":{{"mid":"m","text":"{text}"}}}}]}}]}}"#
        );
        let whole = split(body.as_bytes(), RECEIVED).unwrap().remove(0);
        let (text, truncated) = whole.to_queue_text().unwrap();
        let cut = Event::from_queue_text(&text).unwrap();
        assert!(truncated && cut.truncated && text.len() < 2000);
        assert_eq!((cut.id, cut.person, cut.at), (whole.id, whole.person, whole.at));
        assert!(matches!(cut.kind, Kind::Message(message) if message.mid.as_deref() == Some("m")));
    }

    #[test]
    fn every_event_that_is_too_large_fits_into_the_queue_once_cut() {
        let fields = |count: usize, value: &str| {
            let fields: Vec<_> = (0..count).map(|n| format!(r#""{n}":{value}"#)).collect();
            format!("{{{}}}", fields.join(","))
        };
        let text = format!("\"{}\"", "x".repeat(1000));
        let control = format!("\"{}\"", "\\u0001".repeat(1000));
        for large in [
            fields(30, &fields(30, &text)),
            fields(100, &control),
            fields(1500, &text),
            format!("[{}]", vec![text; 1500].join(",")),
            format!("\"{}\"", "\u{FFFF}".repeat(MAX_RECORD_BYTES / 8)),
        ] {
            let ends = r#""sender":{"id":"1"},"recipient":{"id":"10"}"#;
            let body = format!(
                r#"{{"object":"page","entry":[{{"id":"10","messaging":[{{{ends},"a":{large},"message":{{"mid":"m","b":{large}}}}}]}}]}}"#
            );
            let whole = split(body.as_bytes(), RECEIVED).unwrap().remove(0);
            let (text, truncated) = whole.to_queue_text().unwrap();
            let cut = Event::from_queue_text(&text).unwrap();
            assert!(truncated && cut.truncated && text.len() <= MAX_RECORD_BYTES);
            assert_eq!((&cut.id, cut.person), (&whole.id, Some(Person::Psid("1".into()))));
        }
    }

    #[test]
    fn names_of_any_length_do_not_multiply_with_the_events() {
        let long = "x".repeat(100_000);
        let items = vec!["1"; 1000].join(",");
        let body =
            format!(r#"{{"object":"{long}","entry":[{{"id":"{long}","{long}":[{items}]}}]}}"#);
        let events = split(body.as_bytes(), RECEIVED).unwrap();
        let bytes = events.iter().map(|event| event.to_queue_text().unwrap().0.len());
        assert!(bytes.sum::<usize>() < 1_000_000);
    }
}
