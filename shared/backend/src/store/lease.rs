//! The lease on a conversation: who may send to the person now.
//!
//! An event processor takes it in the write that records the event, names the entry that its
//! decision will become, and writes nothing to give it back. Whoever meets the lease looks that
//! entry up: while it is being sent the lease holds; once it has ended or is listed as waiting, the
//! lease is free. One that waits and is not listed is what its sender left when it died.
//! An entry that is not written yet is replaced by a placeholder first, so that the event processor
//! learns that its lease is gone when it writes its decision.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conversation::{SORT_KEY, adding, forgetting};
use super::erasure::UNLESS_MARK;
use super::{
    ConversationItem, ConversationKey, Created, Entry, EntryKey, ExpiresAt, PendingEntry, Reason,
    Status, Store, StoreError, Update,
};
use messenger::clock::Timestamp;
use messenger::window::Purpose;

/// What the names of event processors' runs begin with.
///
/// The queue delivers a person's events to one event processor at a time, so a later run may take
/// over from an earlier one.
pub const EVENT_PROCESSOR: &str = "event-processor/";

/// How long a placeholder is kept that nobody deletes or replaces.
const PLACEHOLDER_KEPT_FOR: Duration = Duration::from_hours(24);

/// An exclusive claim: who holds it, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Names the run that holds it, and no other run.
    pub by: String,
    /// Until when nobody else may take it without looking closer, ms since the epoch.
    pub until: Timestamp,
    /// The entry that an event processor's decision will become.
    pub for_entry: Option<String>,
}

/// What a conversation's lease means to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Nobody is sending.
    Free,
    /// An event processor has not decided: the entry of this id may be written at any moment.
    Undecided(String),
    /// A sender died before it listed its entry, which goes first.
    Abandoned(PendingEntry),
    /// Somebody is sending.
    Held,
}

/// What a conversation's lease means to the run `me`; `named` is the entry that it names, if it is
/// in the table.
pub fn lease_state(
    conversation: &ConversationItem,
    named: Option<&Entry>,
    me: &str,
    now: Timestamp,
) -> LeaseState {
    let is_mine = conversation.busy_by.as_deref() == Some(me);
    let is_valid = !is_mine && conversation.busy_until.is_some_and(|until| until >= now);
    match (&conversation.busy_for, named) {
        (None, _) if is_valid => LeaseState::Held,
        (Some(id), None) if is_valid => LeaseState::Undecided(id.clone()),
        (Some(_), Some(entry)) if entry.is_open() && entry.is_leased(now) => LeaseState::Held,
        (Some(id), Some(entry)) if entry.is_open() => {
            let is_listed = conversation.waiting.iter().any(|listed| listed.id == *id);
            if entry.due_at.is_some() && is_listed {
                LeaseState::Free
            } else {
                LeaseState::Abandoned(entry.waiting())
            }
        }
        _ => LeaseState::Free,
    }
}

impl ConversationItem {
    /// Whether a sender other than an event processor has the lease.
    pub(super) fn is_busy(&self, now: Timestamp) -> bool {
        self.busy_until.is_some_and(|until| until >= now)
            && !self.busy_by.as_deref().is_some_and(|by| by.starts_with(EVENT_PROCESSOR))
    }
}

impl Store {
    /// Takes the lease on a conversation, if it is still as in `seen`: the conversation then.
    ///
    /// An `abandoned` entry, which only the lease in `seen` names, is listed by the same write, unless
    /// the person was erased meanwhile: if this sender dies too, the next one still sends it first.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn take_lease(
        &self,
        conversation_key: &ConversationKey,
        seen: &ConversationItem,
        lease: &Lease,
        abandoned: Option<&PendingEntry>,
    ) -> Result<Option<ConversationItem>, StoreError> {
        let mut update = match abandoned {
            // A lease that names an entry was taken with the map in place.
            Some(abandoned) => {
                let update = claim(Update::default(), lease).when(UNLESS_MARK);
                adding(update, std::slice::from_ref(abandoned))
            }
            None => take(Update::default(), lease),
        };
        let mut unchanged = Vec::new();
        for (name, is_there) in [
            ("busy_until", seen.busy_until.is_some()),
            ("busy_by", seen.busy_by.is_some()),
            ("busy_for", seen.busy_for.is_some()),
        ] {
            unchanged.push(if is_there {
                format!("#{name} = :seen_{name}")
            } else {
                format!("attribute_not_exists(#{name})")
            });
        }
        if let Some(until) = seen.busy_until {
            update = update.value("seen_busy_until", until);
        }
        if let Some(by) = &seen.busy_by {
            update = update.value("seen_busy_by", by);
        }
        if let Some(entry) = &seen.busy_for {
            update = update.value("seen_busy_for", entry);
        }
        // The SDK asks again when an answer was lost.
        let update = update.when(format!("({}) OR #busy_by = :by", unchanged.join(" AND ")));
        Ok(self.update::<ConversationItem>(&conversation_key.pk(), SORT_KEY, update).await?.now())
    }

    /// Gives the lease back and forgets entries that have ended: the conversation then, `None` if
    /// the lease is somebody else's by now.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn release_lease(
        &self,
        conversation_key: &ConversationKey,
        by: &str,
        forget: &[PendingEntry],
    ) -> Result<Option<ConversationItem>, StoreError> {
        let update = forgetting(Update::default(), forget)
            .remove("#busy_until, #busy_by, #busy_for")
            .when("#busy_by = :by")
            .value("by", by);
        Ok(self.update::<ConversationItem>(&conversation_key.pk(), SORT_KEY, update).await?.now())
    }

    /// Puts a placeholder where an event processor would write its decision, so that it learns that
    /// its lease was taken: whether nothing was there.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn put_placeholder(
        &self,
        key: &EntryKey,
        now: Timestamp,
        expires_at: ExpiresAt,
    ) -> Result<bool, StoreError> {
        let created = self.create_entry(&placeholder(key, now, expires_at)).await?;
        Ok(matches!(created, Created::New))
    }
}

impl Store {
    /// Keeps an event processor from writing a decision that it began before its person was erased:
    /// puts a placeholder in its place. Returns the entry's id if it was just written instead: then one
    /// step of it may have begun, and the mark stops the next. A decision that knew of the erasure is
    /// left alone.
    ///
    /// The second pass of the erasure deletes the placeholder.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn forestall_decision(
        &self,
        conversation_key: &ConversationKey,
        erased_at: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let mark = self.conversation(conversation_key).await?.unwrap_or_default();
        let is_leased = mark.busy_until.is_some_and(|until| until >= erased_at);
        let Some(id) = mark.busy_for.filter(|_| is_leased) else { return Ok(None) };
        let key = EntryKey { conversation_key: conversation_key.clone(), id };
        let expires_at = ExpiresAt::after(erased_at, PLACEHOLDER_KEPT_FOR);
        let created = self.create_entry(&placeholder(&key, erased_at, expires_at)).await?;
        Ok(match created {
            Created::Existing(there)
                if !there.is_placeholder && there.after_erasure < Some(erased_at) =>
            {
                Some(key.id)
            }
            Created::Existing(_) | Created::New => None,
        })
    }
}

fn placeholder(key: &EntryKey, now: Timestamp, expires_at: ExpiresAt) -> Entry {
    let mut entry = Entry::new(key, Purpose::Reply, Vec::new(), now, now, now);
    entry.ended_from_start(Status::Cancelled, Some(Reason::Placeholder), now, expires_at);
    entry.is_placeholder = true;
    entry
}

/// Takes the lease within an update; `waiting` is there afterwards, so that it can be changed.
pub(super) fn take(update: Update, lease: &Lease) -> Update {
    claim(update, lease)
        .set("#waiting = if_not_exists(#waiting, :none)")
        .value("none", BTreeMap::new())
}

fn claim(update: Update, lease: &Lease) -> Update {
    let update = match &lease.for_entry {
        Some(entry) => update.set("#busy_for = :for").value("for", entry),
        None => update.remove("#busy_for"),
    };
    update
        .set("#busy_until = :until, #busy_by = :by")
        .value("until", lease.until)
        .value("by", &lease.by)
}

/// Takes the lease within an event processor's update, unless somebody else is sending.
pub(super) fn take_for_event(update: Update, lease: &Lease, now: Timestamp) -> Update {
    take(update, lease)
        .when(
            "attribute_not_exists(#busy_until) OR #busy_until < :now \
             OR begins_with(#busy_by, :processor)",
        )
        .value("now", now)
        .value("processor", EVENT_PROCESSOR)
}

#[cfg(test)]
mod tests {
    use messenger::person::Person;

    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn entry(change: fn(&mut Entry)) -> Entry {
        let conversation_key =
            ConversationKey { page_id: "1".into(), person: Person::Psid("2".into()) };
        let key = EntryKey { conversation_key, id: "e".into() };
        let mut entry = Entry::new(&key, Purpose::Reply, Vec::new(), NOW, NOW, NOW);
        change(&mut entry);
        entry
    }

    #[test]
    fn a_lease_means_what_its_entry_says() {
        let leased = |entry: &mut Entry| {
            entry.held_from_start(&Lease { by: "p".into(), until: NOW, for_entry: None });
        };
        let dead = |entry: &mut Entry| {
            let until = NOW - SECOND;
            entry.held_from_start(&Lease { by: "p".into(), until, for_entry: None });
        };
        let ended = |entry: &mut Entry| entry.status = Status::Sent;
        let held = LeaseState::Held;
        let undecided = LeaseState::Undecided("e".into());
        let abandoned = LeaseState::Abandoned(entry(dead).waiting());
        let names = Some("e");
        for (what, by, until, names, named, expected) in [
            ("nobody", None, None, None, None, LeaseState::Free),
            ("a sweep", Some("s"), Some(NOW), None, None, held.clone()),
            ("a dead sweep", Some("s"), Some(NOW - SECOND), None, None, LeaseState::Free),
            ("my own", Some("me"), Some(NOW), None, None, LeaseState::Free),
            ("a thinking bot", Some("p"), Some(NOW), names, None, undecided),
            ("a bot that died", Some("p"), Some(NOW - SECOND), names, None, LeaseState::Free),
            ("a reply on its way", Some("p"), Some(NOW), names, Some(entry(leased)), held.clone()),
            ("a long reply", Some("p"), Some(NOW - SECOND), names, Some(entry(leased)), held),
            ("a reply sent", Some("p"), Some(NOW), names, Some(entry(ended)), LeaseState::Free),
            ("a dead sender", Some("p"), Some(NOW), names, Some(entry(dead)), abandoned),
        ] {
            let conversation = ConversationItem {
                busy_by: by.map(str::to_owned),
                busy_until: until,
                busy_for: names.map(str::to_owned),
                ..ConversationItem::default()
            };
            assert_eq!(lease_state(&conversation, named.as_ref(), "me", NOW), expected, "{what}");
        }
    }

    #[test]
    fn a_reply_that_waits_leaves_the_lease_free_once_it_is_listed() {
        let waits = entry(|_| ());
        for (waiting, expected) in [
            (vec![waits.waiting()], LeaseState::Free),
            (Vec::new(), LeaseState::Abandoned(waits.waiting())),
        ] {
            let conversation = ConversationItem {
                busy_by: Some("p".into()),
                busy_until: Some(NOW),
                busy_for: Some("e".into()),
                waiting,
                ..ConversationItem::default()
            };
            assert_eq!(lease_state(&conversation, Some(&waits), "me", NOW), expected);
        }
    }
}
