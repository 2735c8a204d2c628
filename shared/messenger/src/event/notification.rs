//! From a notification's bytes to its events.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Event;
use super::json::{number, replace_lone_surrogates, text, tolerant};
use super::parse::Place;
use crate::clock::Timestamp;

/// The longest name in bytes of an object, a Page or a container; what is longer is cut.
///
/// Each event carries them, so without a limit a body would multiply by the number of its events.
/// Meta's are much shorter.
const LONGEST_NAME: usize = 200;

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
/// events of some hundred bytes each.
pub const MAX_EVENTS: usize = 10_000;

/// Splits a notification into its events, in the order in which they stand in it.
///
/// Every item of every array in every entry is an event, whatever the array is called. An entry without an array is
/// an event as a whole, in the container `entry`.
///
/// # Errors
/// [`Unreadable`] if the bytes are not JSON, not a notification, or hold too many events.
pub fn split(body: &[u8], received_at: Timestamp) -> Result<Vec<Event>, Unreadable> {
    let body = std::str::from_utf8(body).map_err(|_| Unreadable::NotJson)?;
    let body = replace_lone_surrogates(body);
    let notification: Notification<'_> = serde_json::from_str(&body).map_err(|error| {
        if error.is_data() { Unreadable::NoNotification } else { Unreadable::NotJson }
    })?;
    let object = notification.object.and_then(|raw| text(&tolerant(raw.get()))).unwrap_or_default();
    let object = cut(object);
    let mut events = Vec::new();
    for entry in notification.entry {
        split_entry(&object, entry, received_at, &mut events)?;
    }
    Ok(events)
}

fn split_entry(
    object: &str,
    entry: &RawValue,
    received_at: Timestamp,
    events: &mut Vec<Event>,
) -> Result<(), Unreadable> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(entry.get()).unwrap_or_default();
    let field = |name: &str| fields.get(name).map_or(Value::Null, |raw| tolerant(raw.get()));
    let page_id = cut(text(&field("id")).unwrap_or_default());
    let entry_time = number(&field("time"));
    let mut push = |container: &str, item: &RawValue| {
        if events.len() == MAX_EVENTS {
            return Err(Unreadable::TooManyEvents);
        }
        let place = Place { object, page_id: &page_id, container, received_at, entry_time };
        events.push(Event::read(&place, item.get(), None));
        Ok(())
    };
    let mut found = false;
    for (container, items) in &fields {
        if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(items.get()) {
            found = true;
            let container = cut(container.clone());
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

#[cfg(test)]
mod tests {
    use super::super::{Kind, Platform};
    use super::*;
    use crate::person::Person;

    const RECEIVED: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn events(body: &str) -> Vec<Event> {
        split(body.as_bytes(), RECEIVED).unwrap()
    }

    fn one(item: &str) -> Event {
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","time":1794999999000,"messaging":[{item}]}}]}}"#
        );
        events(&body).remove(0)
    }

    fn psid(id: &str) -> Option<Person> {
        Person::psid(id).ok()
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
            .map(|e| (e.page_id.as_str(), e.container.as_str(), e.person.clone(), e.kind_name()))
            .collect();
        assert_eq!(
            seen,
            [
                ("10", "messaging", psid("1"), "message"),
                ("10", "messaging", psid("2"), "read"),
                ("10", "novelty", None, "unknown"),
                ("10", "standby", psid("3"), "message"),
                ("11", "calls", psid("4"), "unknown"),
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
        assert_eq!(event.person, psid("42"));
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
                .map(|events| events.len())
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
            r#"{"sender":{"id":"10"},"recipient":{"id":"1"},"message":{"mid":"e","is_echo":true,"metadata":"mb2.x"}}"#,
        );
        let foreign = one(
            r#"{"sender":{"id":"10"},"recipient":{"id":"1"},"message":{"mid":"f","is_echo":true,"app_id":26390203743090}}"#,
        );
        assert_eq!(own.person, psid("1"));
        assert_eq!(own.group(), format!("{}.receipts.{}", message.group(), &own.id[..16]));
        assert_eq!(foreign.group(), message.group());
        assert!(!own.opens_window());
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
