//! Events that the outbox makes itself, for the queue of events: a timer of the bot that is due.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::tolerant;
use super::parse::Place;
use super::{Event, Kind, Platform, TimeSource, TimerDue, digest};
use crate::clock::Timestamp;
use crate::person::Person;

/// The array that own events are said to stand in; Meta has none of this name.
pub(super) const OWN: &str = "own";

/// The key of the timer that ends a hand-over; no bot can set it.
pub const RESUMED: &str = "_resumed";

/// An own event, as it stands in the queue.
#[derive(Serialize, Deserialize)]
struct Written {
    person: Person,
    fired_at: Timestamp,
    key: String,
    #[serde(default)]
    payload: Value,
    set_at: Timestamp,
    due_at: Timestamp,
    entry: String,
}

/// The timer that an own event was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its entry of the outbox.
    pub entry: String,
    /// When it was set: an erasure of the person after that takes it along.
    pub set_at: Timestamp,
    /// When it was due as it was fired: one that waits a second time is due later.
    pub due_at: Timestamp,
}

impl Event {
    /// A timer that is due, as an event of its person.
    ///
    /// Its id is that of the timer and its time: one that waits a second time comes a second time.
    ///
    /// # Errors
    /// If the payload cannot be written as JSON.
    pub fn of_timer(
        page_id: &str,
        platform: Platform,
        person: Person,
        timer: TimerDue,
        fired_at: Timestamp,
    ) -> Result<Self, serde_json::Error> {
        let id = digest(&[page_id, OWN, &timer.entry, &timer.due_at.millis().to_string()]);
        let TimerDue { key, payload, set_at, due_at, entry } = timer;
        let written = Written { person, fired_at, key, payload, set_at, due_at, entry };
        let raw = serde_json::to_string(&written)?;
        let object = if platform == Platform::Instagram { "instagram" } else { "page" };
        let place =
            Place { object, page_id, container: OWN, received_at: fired_at, entry_time: None };
        Ok(Self::read_own(&place, &raw, id))
    }

    /// The timer that an own event was.
    pub fn own(&self) -> Option<Own> {
        let written = || serde_json::from_str::<Written>(&self.raw).ok();
        let written = self.is_own().then(written).flatten()?;
        let Written { entry, set_at, due_at, .. } = written;
        Some(Own { entry, set_at, due_at })
    }

    /// Reads an own event; what is of another form is of an unknown kind, and of nobody.
    pub(super) fn read_own(place: &Place<'_>, raw: &str, id: String) -> Self {
        let written = serde_json::from_value::<Written>(tolerant(raw)).ok();
        let at = written.as_ref().map(|written| written.fired_at);
        let person = written.as_ref().map(|written| written.person.clone());
        let kind = match written {
            Some(written) if written.key == RESUMED => Kind::Resumed,
            Some(Written { key, payload, set_at, due_at, entry, .. }) => {
                Kind::Timer(TimerDue { key, payload, set_at, due_at, entry })
            }
            None => Kind::Unknown { name: OWN.to_owned() },
        };
        Self {
            id,
            platform: Platform::of_object(place.object),
            page_id: place.page_id.to_owned(),
            object: place.object.to_owned(),
            container: OWN.to_owned(),
            person,
            by_page: false,
            at,
            time_source: TimeSource::Event,
            received_at: place.received_at,
            entry_time: None,
            truncated: false,
            kind,
            raw: raw.to_owned(),
        }
    }
}
