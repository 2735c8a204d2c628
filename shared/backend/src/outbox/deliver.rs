//! A person's due entries, in order.

use std::collections::BTreeSet;

use crate::correlation::about;
use crate::store::{
    ConversationItem, ConversationKey, Entry, EntryKey, PendingEntry, Reason, Status,
};
use messenger::clock::Timestamp;
use messenger::window::Purpose;

use super::attempt::{Attempt, Outcome};
use super::places::is_needed;
use super::{Outbox, OutboxError, SendContext};

/// What came of a person's due entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivered {
    /// How each entry came out.
    pub(super) outcomes: Vec<(String, Outcome)>,
    /// Entries that no longer wait, to be forgotten by the conversation.
    pub(super) forget: Vec<PendingEntry>,
    /// Entries that are to leave the index once the conversation has forgotten them: until then a
    /// sweep finds them, if this one dies.
    pub(super) ended: Vec<EntryKey>,
    /// Entries that have a place and are not in the table yet.
    pub(super) unwritten: Vec<String>,
    /// Until when something that is due still goes before everything later.
    pub(super) blocked_until: Option<Timestamp>,
}

/// The entries that a sender has looked at while the lease was its own.
#[derive(Debug, Default)]
pub(super) struct Tried {
    done: BTreeSet<String>,
    unwritten: BTreeSet<String>,
}

impl Tried {
    /// Whether there is no need to look at an entry again.
    pub(super) fn has(&self, id: &str) -> bool {
        self.done.contains(id)
    }

    /// Notes that entries were looked at. One that was not written is looked at once more: whoever writes
    /// it relies on the sender.
    pub(super) fn add(&mut self, ids: &[String], unwritten: &[String]) {
        for id in ids {
            if !unwritten.contains(id) || !self.unwritten.insert(id.clone()) {
                self.done.insert(id.clone());
            }
        }
    }
}

impl Outbox {
    /// Sends what is due for a person, in the order of first due time and decision.
    ///
    /// The caller holds the lease. `ids` are the entries to look at; those that are not due, or
    /// wait behind others, stay.
    pub(super) async fn deliver_due(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
        ids: &[String],
        context: &SendContext,
    ) -> Result<Delivered, OutboxError> {
        let mut delivered = Delivered::default();
        let mut entries = Vec::new();
        let known =
            |id: &str| conversation.waiting.iter().find(|waiting| waiting.id == id).cloned();
        for id in ids {
            let key = EntryKey { conversation_key: conversation_key.clone(), id: id.clone() };
            match self.store.entry(&key).await {
                Ok(Some(entry)) if entry.is_open() => entries.push((key, entry)),
                Err(error) if error.is_permanent() => {
                    delivered.forget.extend(known(id));
                    let failed =
                        about(&key.correlation_id(), Box::pin(self.fail(&key, &error))).await?;
                    delivered.outcomes.push((id.clone(), failed));
                    delivered.ended.push(key);
                }
                // Whoever fired it died before it left the index.
                Ok(Some(fired)) if fired.is_fired() => {
                    delivered.ended.extend(fired.due_at.map(|_| key));
                }
                gone => {
                    let gone = gone?;
                    let now = self.clock.now();
                    let place = known(id);
                    if place.is_some_and(|it| is_needed(gone.as_ref(), it.decided_at, now)) {
                        delivered.unwritten.push(id.clone());
                        continue;
                    }
                    delivered.forget.extend(gone.as_ref().map(Entry::waiting).or(known(id)));
                    delivered.ended.extend(gone.and_then(|entry| entry.due_at).map(|_| key));
                }
            }
        }
        entries.sort_by_key(|(_, entry)| (entry.first_due, entry.decided_at));
        for (key, entry) in entries {
            let id = key.id.clone();
            let waiting = entry.waiting();
            let mut attempt =
                Attempt { key: &key, entry, conversation, context, thread_is_back: false };
            let tried = Box::pin(async {
                match self.attempt(&mut attempt, delivered.blocked_until).await {
                    Err(error) if error.is_permanent() => self.fail(&key, &error).await,
                    outcome => outcome,
                }
            });
            let outcome = about(&key.correlation_id(), tried).await?;
            match &outcome {
                // Also if it was not listed: another run may list it before the lease is given back.
                Outcome::Ended(..) => {
                    delivered.forget.push(waiting);
                    delivered.ended.push(key);
                }
                Outcome::Fired => delivered.ended.push(key),
                Outcome::Waits(due_at) => {
                    delivered.blocked_until = delivered.blocked_until.max(Some(*due_at));
                }
                Outcome::Rescheduled(first_due) => {
                    let waiting = PendingEntry { first_due: *first_due, ..waiting };
                    if known(&id).as_ref() != Some(&waiting) {
                        self.list(conversation_key, vec![waiting]).await?;
                    }
                }
                Outcome::Lost => {
                    delivered.blocked_until = delivered.blocked_until.max(Some(self.clock.now()));
                }
            }
            delivered.outcomes.push((id, outcome));
        }
        Ok(delivered)
    }

    /// Ends an entry that cannot be read or applied, so that it holds up nothing else.
    async fn fail(
        &self,
        key: &EntryKey,
        error: &(dyn std::error::Error + Sync),
    ) -> Result<Outcome, OutboxError> {
        tracing::error!(entry = key.id, %error, "an entry cannot be sent");
        let now = self.clock.now();
        if self.store.fail_malformed(key, now, self.expires_at(now)).await? {
            self.count_end(key, Purpose::Reply, Status::Failed, Some(&Reason::Malformed));
        }
        Ok(Outcome::Ended(Status::Failed, Some(Reason::Malformed)))
    }
}
