//! From a notification's bytes to its events.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::Event;
use super::json::{Fields, number, replace_lone_surrogates, text, tolerant};
use super::parse::Place;
use crate::clock::Timestamp;

/// The longest name in bytes of an object, a Page or a container; a longer one is no such name, and is
/// kept as a value.
///
/// Each event carries them, so without a limit a body would multiply by the number of its events.
/// Meta's are much shorter.
const LONGEST_NAME: usize = 200;

/// The most events that the webhook splits a notification into; a larger one is kept whole.
///
/// Meta sends at most 1,000. It is what a function of 256 MB can queue within the time that Meta
/// waits for the answer: `tests/measure/README.md` shows the measurement.
pub const MAX_EVENTS: usize = 2_000;

/// The most events of one message group that the webhook takes from a notification.
///
/// They are queued one after the other, at some 10 ms each, within the same time.
pub const MAX_EVENTS_IN_ORDER: usize = 200;

/// Why a correctly signed body is no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Unreadable {
    /// It is not JSON.
    #[error("not_json")]
    NotJson,
    /// It is JSON, but not an object with a name and a list of entries.
    #[error("no_notification")]
    NoNotification,
    /// It holds more events than the [`Limits`] allow.
    #[error("too_many_events")]
    TooManyEvents,
}

/// How many events a notification may be split into.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events in all.
    pub events: usize,
    /// Events of one message group.
    pub in_order: usize,
}

impl Limits {
    /// What can be queued before Meta gives up waiting.
    pub const OF_A_REQUEST: Self = Self { events: MAX_EVENTS, in_order: MAX_EVENTS_IN_ORDER };
}

/// Splits a notification into its events, in the order in which they stand in it, within
/// [`Limits::OF_A_REQUEST`].
///
/// # Errors
/// As [`split_within`].
pub fn split(body: &[u8], received_at: Timestamp) -> Result<Vec<Event>, Unreadable> {
    split_within(body, received_at, Limits::OF_A_REQUEST)
}

/// Splits a notification into its events, in the order in which they stand in it.
///
/// Every item of every array in every entry is an event, whatever the array is called. What else an
/// entry holds is one event more, in the container `entry`; so is an entry without items as a whole.
/// What the notification holds apart from its entries is an event of the container `notification`,
/// about the Page of the first entry. So every value of the body is in an event, whatever its form.
///
/// # Errors
/// [`Unreadable`] if the bytes are not JSON, not a notification, or hold too many events.
pub fn split_within(
    body: &[u8],
    received_at: Timestamp,
    limits: Limits,
) -> Result<Vec<Event>, Unreadable> {
    let body = std::str::from_utf8(body).map_err(|_| Unreadable::NotJson)?;
    let body = replace_lone_surrogates(body);
    let notification: Fields<'_> = serde_json::from_str(&body).map_err(|error| {
        if error.is_data() { Unreadable::NoNotification } else { Unreadable::NotJson }
    })?;
    let Envelope { name: object, items: entries, rest } =
        Envelope::read(&notification, "object", |container| container == "entry");
    let mut events = Events { found: Vec::new(), received_at, object: &object, limits };
    for (_, entry) in entries {
        events.add_entry(entry)?;
    }
    let page_id = events.found.first().ok_or(Unreadable::NoNotification)?.page_id.clone();
    if let Some(rest) = rest {
        events.add(&page_id, None, "notification", &rest)?;
    }
    events.check_groups()?;
    Ok(events.found)
}

/// An object with a name of its own and lists of items.
struct Envelope<'a> {
    /// The value of the field that names it, empty if that is no text.
    name: String,
    /// The items of its lists, each with the list's name.
    items: Vec<(&'a str, &'a RawValue)>,
    /// The object without its lists, if it holds more than its name and its time.
    rest: Option<String>,
}

impl<'a> Envelope<'a> {
    /// Reads the fields of an object; those that `is_list` accepts and that hold an array are lists.
    fn read(fields: &'a Fields<'a>, name_field: &str, is_list: impl Fn(&str) -> bool) -> Self {
        let mut envelope = Self { name: String::new(), items: Vec::new(), rest: None };
        let (mut names, mut times, mut others) = (0, 0, 0);
        let mut rest = Vec::new();
        for (field, value) in &fields.0 {
            if is_list(field)
                && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get())
            {
                envelope.items.extend(items.into_iter().map(|item| (field.as_str(), item)));
                continue;
            }
            rest.push((field, value));
            if field == name_field
                && names == 0
                && let Some(mut name) = text(&tolerant(value.get()))
            {
                names += 1;
                others += usize::from(name.len() > LONGEST_NAME);
                name.truncate(name.floor_char_boundary(LONGEST_NAME));
                envelope.name = name;
            } else if field == "time" && times == 0 && number(&tolerant(value.get())).is_some() {
                times += 1;
            } else {
                others += usize::from(value.get() != "null");
            }
        }
        if others > 0 {
            let field = |(name, value): (&String, &&RawValue)| format!("{}:{value}", quoted(name));
            let fields: Vec<_> = rest.into_iter().map(field).collect();
            envelope.rest = Some(format!("{{{}}}", fields.join(",")));
        }
        envelope
    }
}

/// The events of a notification that were found so far.
struct Events<'a> {
    found: Vec<Event>,
    received_at: Timestamp,
    object: &'a str,
    limits: Limits,
}

impl Events<'_> {
    fn add_entry(&mut self, entry: &RawValue) -> Result<(), Unreadable> {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(entry.get()) else {
            return self.add("", None, "entry", entry.get());
        };
        let is_container = |name: &str| name.len() <= LONGEST_NAME;
        let Envelope { name: page_id, items, rest } = Envelope::read(&fields, "id", is_container);
        let time = fields.0.iter().find(|(name, _)| name == "time");
        let time = time.and_then(|(_, value)| number(&tolerant(value.get())));
        if items.is_empty() {
            return self.add(&page_id, time, "entry", entry.get());
        }
        for (container, item) in items {
            self.add(&page_id, time, container, item.get())?;
        }
        match rest {
            Some(rest) => self.add(&page_id, time, "entry", &rest),
            None => Ok(()),
        }
    }

    fn add(
        &mut self,
        page_id: &str,
        entry_time: Option<i64>,
        container: &str,
        item: &str,
    ) -> Result<(), Unreadable> {
        if self.found.len() == self.limits.events {
            return Err(Unreadable::TooManyEvents);
        }
        let Self { received_at, object, .. } = *self;
        let place = Place { object, page_id, container, received_at, entry_time };
        self.found.push(Event::read(&place, item, None));
        Ok(())
    }

    fn check_groups(&self) -> Result<(), Unreadable> {
        let mut counts = HashMap::<String, usize>::new();
        for event in &self.found {
            let count = counts.entry(event.group()).or_default();
            *count += 1;
            if *count > self.limits.in_order {
                return Err(Unreadable::TooManyEvents);
            }
        }
        Ok(())
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Platform, TimeSource};
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
                ("10", "standby", psid("3"), "message"),
                ("10", "novelty", None, "unknown"),
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
    fn a_time_from_the_future_is_not_believed() {
        let told = |stated: i64, entry: i64| {
            let body = format!(
                r#"{{"object":"page","entry":[{{"id":"10","time":{entry},"messaging":[{{"sender":{{"id":"1"}},"timestamp":{stated},"message":{{"mid":"m"}}}}]}}]}}"#
            );
            let event = &events(&body)[0];
            (event.at, event.time_source)
        };
        let received = RECEIVED.millis();
        let at = |millis| Some(Timestamp::from_millis(millis));
        let (before, ahead) = (received - 2_000_000, received + 10_000);
        let after = ahead + 1;
        assert_eq!(told(ahead, before), (at(ahead), TimeSource::Event), "clocks differ");
        assert_eq!(told(after, before), (at(before), TimeSource::Entry));
        assert_eq!(told(after, received), (at(received), TimeSource::Entry));
        assert_eq!(told(after, after), (at(received), TimeSource::Receipt));
        assert_eq!(told(0, after), (at(received), TimeSource::Receipt));
    }

    #[test]
    fn without_a_time_of_its_own_the_entry_tells() {
        let event = one(r#"{"sender":{"id":"1"},"delivery":{"watermark":1}}"#);
        assert_eq!(event.at, Some(Timestamp::from_millis(1_794_999_999_000)));
    }

    #[test]
    fn an_event_without_any_time_happened_at_its_receipt() {
        let timeless = r#"{"object":"page","entry":[{"id":"10","messaging":[{"sender":{"id":"1"},"message":{"mid":"m"}}]}]}"#;
        let event = &events(timeless)[0];
        assert_eq!((event.at, event.happened_at()), (None, RECEIVED));
        assert!(event.opens_window());
    }

    #[test]
    fn a_notification_of_more_events_than_meta_ever_sends_is_kept_whole() {
        let body = |count: usize| {
            let item = |n: usize| format!(r#"{{"sender":{{"id":"{n}"}}}}"#);
            let items = (0..count).map(item).collect::<Vec<_>>().join(",");
            format!(r#"{{"object":"page","entry":[{{"id":"10","messaging":[{items}]}}]}}"#)
        };
        let split = |count| split(body(count).as_bytes(), RECEIVED).map(|events| events.len());
        assert_eq!(split(MAX_EVENTS), Ok(MAX_EVENTS));
        assert_eq!(split(MAX_EVENTS + 1), Err(Unreadable::TooManyEvents));
    }

    #[test]
    fn a_notification_of_more_events_of_a_person_than_can_be_queued_in_time_is_kept_whole() {
        let body = |count: usize| {
            let item = |n| format!(r#"{{"sender":{{"id":"1"}},"message":{{"mid":"{n}"}}}}"#);
            let items = (0..count).map(item).collect::<Vec<_>>().join(",");
            format!(
                r#"{{"object":"page","entry":[{{"id":"10","messaging":[{items}],"new":[{}]}}]}}"#,
                (0..2 * MAX_EVENTS_IN_ORDER).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
            )
        };
        let most = split(body(MAX_EVENTS_IN_ORDER).as_bytes(), RECEIVED).unwrap();
        assert_eq!(most.len(), 3 * MAX_EVENTS_IN_ORDER, "nobody's events need no order");
        let more = body(MAX_EVENTS_IN_ORDER + 1);
        assert_eq!(split(more.as_bytes(), RECEIVED), Err(Unreadable::TooManyEvents));
        let limits = Limits { events: 1000, in_order: 1000 };
        assert_eq!(split_within(more.as_bytes(), RECEIVED, limits).map(|it| it.len()), Ok(601));
    }

    #[test]
    fn what_has_another_form_than_meta_s_is_kept_beside_the_events() {
        let seen = |body: &str| {
            let found = events(body).into_iter();
            found.map(|e| format!("{} {} {}", e.page_id, e.container, e.raw)).collect::<Vec<_>>()
        };
        let cases: [(&str, &[&str]); 9] = [
            (r#"{"entry":[{"id":"10","m":[1],"m":[2]}]}"#, &["10 m 1", "10 m 2"]),
            (
                r#"{"entry":[{"id":"10","time":5,"m":[1],"standby":{"a":1},"x":"y","n":null}]}"#,
                &["10 m 1", r#"10 entry {"id":"10","time":5,"standby":{"a":1},"x":"y","n":null}"#],
            ),
            (
                r#"{"entry":[{"id":"10","id":"11","m":[1]}]}"#,
                &["10 m 1", r#"10 entry {"id":"10","id":"11"}"#],
            ),
            (
                r#"{"entry":[{"id":{"a":1},"time":"b","m":[1]}]}"#,
                &[" m 1", r#" entry {"id":{"a":1},"time":"b"}"#],
            ),
            (r#"{"entry":[{"id":"10","m":[]}]}"#, &[r#"10 entry {"id":"10","m":[]}"#]),
            (r#"{"entry":[{"id":"10","m":[1],"n":null}]}"#, &["10 m 1"]),
            (r#"{"entry":[[1],{"id":"10","m":[1]}]}"#, &[" entry [1]", "10 m 1"]),
            (
                r#"{"object":"page","entry":[{"id":"10","m":[1]}],"a":{"b":1},"entry":[7],"entry":8}"#,
                &[
                    "10 m 1",
                    " entry 7",
                    r#"10 notification {"object":"page","a":{"b":1},"entry":8}"#,
                ],
            ),
            (
                r#"{"object":["page"],"entry":[{"id":"10","m":[1]}]}"#,
                &["10 m 1", r#"10 notification {"object":["page"]}"#],
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(seen(body), expected, "{body}");
        }
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
            (b"{\"object\":\"page\",\"entry\":[]}", Unreadable::NoNotification),
        ] {
            assert_eq!(split(body, RECEIVED).unwrap_err(), why);
        }
    }
}
