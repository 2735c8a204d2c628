//! From a notification's bytes to the records that go through the queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Event;
use super::json::{mend_surrogates, number, text, tolerant};
use crate::clock::Timestamp;

/// The largest record in bytes that a queue takes.
///
/// Source: the SQS quota for a message's size, 1 MiB. What the queue adds of its own is little; the
/// margin is for that.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024 - 8 * 1024;

/// The longest name in bytes of an object, a Page or a container; what is longer is cut.
///
/// Each event carries them, so without a limit a body would multiply by the number of its events.
/// Meta's are much shorter.
const LONGEST_NAME: usize = 200;

/// One event on its way through the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The event's id.
    pub id: String,
    /// The notification's `object`: `page` or `instagram`.
    pub object: String,
    /// The Page's id; empty where Meta names none.
    pub page_id: String,
    /// The array that the event came in.
    pub container: String,
    /// When the webhook received it.
    pub received_at: Timestamp,
    /// The entry's own time, as Meta gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_time: Option<i64>,
    /// Whether the event was too large and only its envelope is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The event as Meta sent it.
    pub event: Box<RawValue>,
}

/// Why a record cannot be written or read as JSON.
pub type WriteError = serde_json::Error;

/// Why a correctly signed body is no notification.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON.
    #[error("not_json")]
    NotJson,
    /// It is JSON, but not an object with a list of entries.
    #[error("no_notification")]
    NoNotification,
    /// It holds more events than [`MAX_EVENTS`].
    #[error("too_many_events")]
    TooManyEvents,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    entry: Vec<&'a RawValue>,
}

/// The most events that a notification is split into; a larger one is kept whole.
///
/// Meta sends at most 1,000. Without a bound, a body of six megabytes could become three million
/// records of some hundred bytes each.
pub const MAX_EVENTS: usize = 10_000;

/// Splits a notification into one record per event, in the order in which they stand in it.
///
/// Every item of every array in every entry becomes a record, whatever the array is called. An
/// entry without an array is a record as a whole, in the container `entry`.
///
/// # Errors
/// [`Unreadable`] if the bytes are not JSON, no notification, or too large a one.
pub fn split(body: &[u8], received_at: Timestamp) -> Result<Vec<Record>, Unreadable> {
    let body = std::str::from_utf8(body).map_err(|_| Unreadable::NotJson)?;
    let body = mend_surrogates(body);
    let notification: Notification<'_> = serde_json::from_str(&body).map_err(|error| {
        if error.is_data() { Unreadable::NoNotification } else { Unreadable::NotJson }
    })?;
    let object = notification.object.and_then(|raw| text(&tolerant(raw.get()))).unwrap_or_default();
    let object = cut(object);
    let mut records = Vec::new();
    for entry in notification.entry {
        split_entry(&object, entry, received_at, &mut records)?;
    }
    Ok(records)
}

fn split_entry(
    object: &str,
    entry: &RawValue,
    received_at: Timestamp,
    records: &mut Vec<Record>,
) -> Result<(), Unreadable> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(entry.get()).unwrap_or_default();
    let field = |name: &str| fields.get(name).map_or(Value::Null, |raw| tolerant(raw.get()));
    let page_id = cut(text(&field("id")).unwrap_or_default());
    let entry_time = number(&field("time"));
    let mut push = |container: &str, item: &RawValue| {
        if records.len() == MAX_EVENTS {
            return Err(Unreadable::TooManyEvents);
        }
        let mut record = Record {
            id: String::new(),
            object: object.to_owned(),
            page_id: page_id.clone(),
            container: container.to_owned(),
            received_at,
            entry_time,
            truncated: false,
            event: item.to_owned(),
        };
        record.id = Event::from(&record).id;
        records.push(record);
        Ok(())
    };
    let mut found = false;
    for (container, items) in fields {
        if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(items.get()) {
            found = true;
            let container = cut(container);
            for item in items {
                push(&container, item)?;
            }
        }
    }
    if !found {
        push("entry", entry)?;
    }
    Ok(())
}

fn cut(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(LONGEST_NAME));
    name
}

impl Record {
    /// The text that goes into the queue, at most [`MAX_RECORD_BYTES`] long, and whether the event
    /// was cut for that.
    ///
    /// An event that is too large is cut down to its envelope: ids, kind and time. Two characters
    /// that JSON may hold and SQS refuses are escaped.
    ///
    /// # Errors
    /// [`WriteError`] if a field cannot be written as JSON.
    pub fn into_queue_text(mut self) -> Result<(String, bool), WriteError> {
        let mut text = escape_for_sqs(serde_json::to_string(&self)?);
        let mut depths = (0..=3).rev();
        while text.len() > MAX_RECORD_BYTES
            && let Some(depth) = depths.next()
        {
            self.truncated = true;
            let envelope = cut_to_envelope(&tolerant(self.event.get()), depth);
            self.event = serde_json::value::to_raw_value(&envelope)?;
            text = escape_for_sqs(serde_json::to_string(&self)?);
        }
        Ok((text, self.truncated))
    }

    /// Reads what [`Self::into_queue_text`] wrote.
    ///
    /// # Errors
    /// If the text is no record.
    pub fn from_queue_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
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
    use super::super::{Kind, Platform};
    use super::*;

    const RECEIVED: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn events(body: &str) -> Vec<Event> {
        split(body.as_bytes(), RECEIVED).unwrap().iter().map(Event::from).collect()
    }

    fn one(item: &str) -> Event {
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","time":1794999999000,"messaging":[{item}]}}]}}"#
        );
        events(&body).remove(0)
    }

    #[test]
    fn every_item_of_every_array_is_an_event() {
        let found = events(
            r#"{"object":"instagram","entry":[
                {"id":10,"messaging":[{"sender":{"id":"1"},"message":{"mid":"a"}},{"sender":{"id":"2"},"read":{"mid":"x"}}],
                 "standby":[{"sender":{"id":"3"},"message":{"mid":"b"}}],"novelty":[1]},
                {"id":"11","calls":[{"id":"c","from":"4","to":"11","event":"connect","timestamp":1671644824}]},
                {"id":"12","time":5}, "odd"]}"#,
        );
        let seen: Vec<_> = found
            .iter()
            .map(|e| (e.page_id.as_str(), e.container.as_str(), e.person.as_deref(), e.kind_name()))
            .collect();
        assert_eq!(
            seen,
            [
                ("10", "messaging", Some("1"), "message"),
                ("10", "messaging", Some("2"), "read"),
                ("10", "novelty", None, "unknown"),
                ("10", "standby", Some("3"), "message"),
                ("11", "calls", Some("4"), "unknown"),
                ("12", "entry", None, "unknown"),
                ("", "entry", None, "unknown"),
            ]
        );
        assert!(found.iter().all(|event| event.platform == Platform::Instagram));
        assert_eq!(found[4].at, Some(Timestamp::from_millis(1_671_644_824_000)));
    }

    #[test]
    fn numbers_and_lone_surrogates_lose_nothing() {
        let event = one(
            r#"{"sender":{"id":42},"recipient":{"id":10},"timestamp":"1794999999000","message":{"mid":7,"text":"a\ud83d","attachments":[{"type":"sticker","payload":{"sticker_id":369239263222822}}]}}"#,
        );
        let Kind::Message(message) = &event.kind else { panic!("{event:?}") };
        assert_eq!(event.person.as_deref(), Some("42"));
        assert_eq!(message.text.as_deref(), Some("a\u{FFFD}"));
        assert_eq!(message.attachments[0].sticker_id.as_deref(), Some("369239263222822"));
        assert_eq!(event.at, Some(Timestamp::from_millis(1_794_999_999_000)));
    }

    #[test]
    fn a_time_from_the_future_is_taken_for_the_receipt_s() {
        let event = one(r#"{"sender":{"id":"1"},"timestamp":9999999999999,"message":{"mid":"m"}}"#);
        assert_eq!(event.at, Some(event.received_at));
    }

    #[test]
    fn without_a_time_of_its_own_the_entry_tells() {
        let event = one(r#"{"sender":{"id":"1"},"delivery":{"watermark":1}}"#);
        assert_eq!(event.at, Some(Timestamp::from_millis(1_794_999_999_000)));
    }

    #[test]
    fn an_event_without_any_time_opens_no_window() {
        let timeless = r#"{"object":"page","entry":[{"id":"10","messaging":[{"sender":{"id":"1"},"message":{"mid":"m"}}]}]}"#;
        assert!(!events(timeless)[0].opens_window());
        assert!(one(r#"{"sender":{"id":"1"},"message":{"mid":"m"}}"#).opens_window());
    }

    #[test]
    fn a_notification_of_more_events_than_meta_ever_sends_is_kept_whole() {
        let body = |count: usize| {
            let items = vec!["1"; count].join(",");
            format!(r#"{{"object":"page","entry":[{{"id":"10","messaging":[{items}]}}]}}"#)
        };
        let split = |count| {
            super::split(body(count).as_bytes(), Timestamp::from_millis(0))
                .map(|records| records.len())
        };
        assert_eq!(split(MAX_EVENTS), Ok(MAX_EVENTS));
        assert_eq!(split(MAX_EVENTS + 1), Err(Unreadable::TooManyEvents));
    }

    #[test]
    fn an_edit_and_a_reaction_do_not_take_the_messages_id() {
        let message = one(r#"{"sender":{"id":"1"},"message":{"mid":"m","text":"a"}}"#);
        let again = one(r#"{"sender":{"id":"1"},"timestamp":5,"message":{"mid":"m","text":"a"}}"#);
        let edit =
            one(r#"{"sender":{"id":"1"},"message_edit":{"mid":"m","text":"b","num_edit":"1"}}"#);
        let react = one(r#"{"sender":{"id":"1"},"reaction":{"mid":"m","action":"react"}}"#);
        let unreact = one(r#"{"sender":{"id":"1"},"reaction":{"mid":"m","action":"unreact"}}"#);
        assert_eq!(message.id, again.id);
        let ids = std::collections::BTreeSet::from([&message.id, &edit.id, &react.id, &unreact.id]);
        assert_eq!(ids.len(), 4);
        assert!(react.opens_window() && !unreact.opens_window() && !edit.opens_window());
    }

    #[test]
    fn receipts_have_a_group_of_their_own() {
        let message = one(r#"{"sender":{"id":"1"},"recipient":{"id":"10"},"message":{"mid":"m"}}"#);
        let own = one(
            r#"{"sender":{"id":"10"},"recipient":{"id":"1"},"message":{"mid":"e","is_echo":true,"metadata":"mb1.x"}}"#,
        );
        let foreign = one(
            r#"{"sender":{"id":"10"},"recipient":{"id":"1"},"message":{"mid":"f","is_echo":true,"app_id":26390203743090}}"#,
        );
        assert_eq!(own.person.as_deref(), Some("1"));
        assert_eq!(own.group(), format!("{}.receipts.{}", message.group(), &own.id[..16]));
        assert_eq!(foreign.group(), message.group());
        assert!(!own.opens_window());
    }

    #[test]
    fn an_event_too_large_keeps_its_envelope() {
        let text = "x".repeat(2 * MAX_RECORD_BYTES);
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","messaging":[{{"sender":{{"id":"1"}},"timestamp":1794999999000,"message":{{"mid":"m","text":"{text}"}}}}]}}]}}"#
        );
        let record = split(body.as_bytes(), RECEIVED).unwrap().remove(0);
        let whole = Event::from(&record);
        let (text, truncated) = record.into_queue_text().unwrap();
        let cut = Event::from(&Record::from_queue_text(&text).unwrap());
        assert!(truncated && cut.truncated && text.len() < 2000);
        assert_eq!((cut.id, cut.person, cut.at), (whole.id, whole.person, whole.at));
        assert!(matches!(cut.kind, Kind::Message(message) if message.mid.as_deref() == Some("m")));
    }

    #[test]
    fn whatever_is_too_large_fits_into_the_queue_when_it_is_cut() {
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
            let record = split(body.as_bytes(), RECEIVED).unwrap().remove(0);
            let whole = Event::from(&record);
            let (text, truncated) = record.into_queue_text().unwrap();
            let cut = Event::from(&Record::from_queue_text(&text).unwrap());
            assert!(truncated && cut.truncated && text.len() <= MAX_RECORD_BYTES);
            assert_eq!((&cut.id, cut.person.as_deref()), (&whole.id, Some("1")));
        }
    }

    #[test]
    fn names_of_any_length_do_not_multiply_with_the_events() {
        let long = "x".repeat(100_000);
        let items = vec!["1"; 1000].join(",");
        let body =
            format!(r#"{{"object":"{long}","entry":[{{"id":"{long}","{long}":[{items}]}}]}}"#);
        let records = split(body.as_bytes(), RECEIVED).unwrap();
        let bytes = records.into_iter().map(|record| record.into_queue_text().unwrap().0.len());
        assert!(bytes.sum::<usize>() < 1_000_000);
    }

    #[test]
    fn what_is_no_notification_says_why() {
        for (body, why) in [
            (&b"\xff"[..], Unreadable::NotJson),
            (b"hello", Unreadable::NotJson),
            (b"[]", Unreadable::NoNotification),
            (b"{\"object\":\"page\"}", Unreadable::NoNotification),
            (b"{\"object\":\"page\",\"entry\":{}}", Unreadable::NoNotification),
        ] {
            assert_eq!(split(body, RECEIVED).unwrap_err(), why);
        }
    }
}
