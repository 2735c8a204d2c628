//! Parses a notification's item into an [`Event`].

use std::borrow::Cow;

use serde_json::Value;

use super::json::{Fields, number, text, tolerant};
use super::kind::{is_by_page, kind_of_change, kind_of_messaging, unknown};
use super::{Event, Kind, Platform, TimeSource, digest, named_by};
use crate::clock::{CLOCK_SKEW, Timestamp};
use crate::person::Person;

/// Where an event was found: what surrounds its JSON.
pub(super) struct Place<'a> {
    pub(super) object: &'a str,
    pub(super) page_id: &'a str,
    pub(super) container: &'a str,
    pub(super) received_at: Timestamp,
    pub(super) entry_time: Option<i64>,
}

/// What an item says, apart from what it is wrapped in.
struct Content<'a> {
    kind: Kind,
    /// Where it belongs: `messaging` or `standby` for a messaging item, wherever it stands.
    container: &'a str,
    /// The part of the item that says it.
    body: &'a Value,
}

impl Event {
    /// Reads an event from its JSON; its id is derived from that unless it is known.
    ///
    /// A messaging item that stands elsewhere as `{field, value}` is the same event as in `messaging`:
    /// its JSON is the value, unless there is more beside it.
    pub(super) fn read(place: &Place<'_>, raw: &str, id: Option<String>) -> Self {
        let item = tolerant(raw);
        let by_page = is_by_page(&item, place.page_id) || is_by_page(&item["value"], place.page_id);
        let Content { kind, container, body } = content(&item, place);
        let raw = if std::ptr::eq(body, &raw const item) { raw } else { value_alone(raw, place) };
        let derive_id = || match kind.own_mid() {
            Some(mid) => named_by(place.page_id, container, kind.name(), mid),
            None => digest(&[place.page_id, container, "", raw]),
        };
        let (at, time_source) = time(body, &item, place);
        Self {
            id: id.unwrap_or_else(derive_id),
            object: place.object.to_owned(),
            page_id: place.page_id.to_owned(),
            platform: Platform::of_object(place.object),
            container: container.to_owned(),
            person: person(&kind, body, place.page_id),
            by_page,
            at,
            time_source,
            received_at: place.received_at,
            entry_time: place.entry_time,
            truncated: false,
            kind,
            raw: raw.to_owned(),
        }
    }
}

fn content<'a>(item: &'a Value, place: &Place<'a>) -> Content<'a> {
    let container = match place.container {
        "changes" | "entry" if item["field"] == "standby" => "standby",
        "changes" | "entry" | "messaging" => "messaging",
        "standby" => "standby",
        other => return Content { kind: unknown(item, other), container: other, body: item },
    };
    let is_change = matches!(place.container, "changes" | "entry");
    let value = Some(&item["value"]).filter(|_| item["field"].is_string());
    for body in value.into_iter().chain((!is_change).then_some(item)) {
        if let Some(kind) = kind_of_messaging(body, place.page_id) {
            return Content { kind, container, body };
        }
    }
    let kind = if is_change { kind_of_change(item) } else { None };
    let kind = kind.unwrap_or_else(|| unknown(item, place.container));
    Content { kind, container: place.container, body: item }
}

/// The `value` of an item's JSON if nothing is lost without the rest, else the whole.
fn value_alone<'a>(raw: &'a str, place: &Place<'_>) -> &'a str {
    let Ok(fields) = serde_json::from_str::<Fields<'a>>(raw) else { return raw };
    let is_flat = place.container == "entry";
    let (mut value, mut field) = (None, None);
    for (name, given) in fields.0 {
        let is_known = match name.as_str() {
            "value" => value.replace(given.get()).is_none(),
            "field" => field.replace(tolerant(given.get())).is_none(),
            "id" => is_flat && text(&tolerant(given.get())).as_deref() == Some(place.page_id),
            "time" => {
                is_flat
                    && place.entry_time.is_some()
                    && number(&tolerant(given.get())) == place.entry_time
            }
            _ => false,
        };
        if !is_known {
            return raw;
        }
    }
    let field = field.as_ref().and_then(Value::as_str).unwrap_or_default();
    let is_of_messages = ["standby", "message", "messaging"].iter().any(|it| field.starts_with(it));
    value.filter(|_| is_of_messages).unwrap_or(raw)
}

/// When it happened by its own time, else by that of what it came in, and where that time is from.
///
/// A time long after the receipt is not true, and would keep a window open for too long: the margin at a
/// window's edge allows for differing clocks only. What came in late came long after it happened, so the
/// time of its receipt is the last resort. It also differs each time that Meta sends an event again, so that
/// whatever clocks explain is believed.
fn time(body: &Value, item: &Value, place: &Place<'_>) -> (Option<Timestamp>, TimeSource) {
    let own = [&body["timestamp"], &body["value"]["created_time"], &item["timestamp"]];
    let stated = own.into_iter().find_map(instant);
    let entry = place.entry_time.filter(|time| *time > 0).map(Timestamp::from_seconds_or_millis);
    let is_past = |at: &Timestamp| *at <= place.received_at + CLOCK_SKEW;
    match (stated.filter(is_past), entry.filter(is_past)) {
        (Some(at), _) => (Some(at), TimeSource::Event),
        (None, Some(at)) => (Some(at), TimeSource::Entry),
        (None, None) => (stated.or(entry).map(|_| place.received_at), TimeSource::Receipt),
    }
}

/// An instant in seconds or milliseconds, as a number or a string, or in RFC 3339; none that is not after
/// the epoch, because an event without a time may have 0 in its place.
fn instant(value: &Value) -> Option<Timestamp> {
    if let Some(number) = number(value) {
        return Some(Timestamp::from_seconds_or_millis(number)).filter(|_| number > 0);
    }
    // Graph writes the offset without a colon.
    let text = Cow::from(value.as_str()?).replace("+0000", "Z");
    Timestamp::from_rfc3339(&text)
}

fn person(kind: &Kind, item: &Value, page_id: &str) -> Option<Person> {
    let psid = |id: &Value| {
        let id = text(id).filter(|id| id != page_id)?;
        Person::psid(id).ok()
    };
    let user_ref = |of: &Value| Person::user_ref(text(&of["user_ref"])?).ok();
    let other = |end: &Value| psid(&end["id"]).or_else(|| user_ref(end));
    let value = &item["value"];
    match kind {
        Kind::Comment(comment) => return Person::comment(comment.comment_id.as_deref()?).ok(),
        Kind::Post(post) => return Person::post(post.post_id.as_deref()?).ok(),
        _ => {}
    }
    other(&item["sender"])
        .or_else(|| other(&item["recipient"]))
        .or_else(|| user_ref(&item["optin"]))
        .or_else(|| psid(&item["from"]))
        .or_else(|| psid(&item["to"]))
        .or_else(|| Person::comment(text(&value["comment_id"])?).ok())
        .or_else(|| Person::post(text(&value["post_id"])?).ok())
        .or_else(|| other(&value["sender"]))
        .or_else(|| other(&value["user"]))
}
