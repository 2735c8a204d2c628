//! The end of the bot's silence: what was due meanwhile is sent then, also if it comes sooner than was set.

use std::time::Duration;

use crate::store::{
    Cause, Change, ConversationItem, ConversationKey, Entry, EntryKey, Guard, NextState,
    PendingEntry, Reason,
};
use messenger::clock::Timestamp;

use super::{Outbox, OutboxError, SendContext};

impl Outbox {
    /// Sets until when the bot is silent, or ends its silence, unless something later did either: whether
    /// the person was not erased since the cause.
    ///
    /// What waits for an end that would come later waits for this one. If it has come, that is sent, or
    /// left to whoever is still sending to the person after `patience`.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn set_silence(
        &self,
        conversation_key: &ConversationKey,
        until: Option<Timestamp>,
        cause: Cause,
        context: &SendContext,
        patience: Duration,
    ) -> Result<bool, OutboxError> {
        let there = self.store.set_silence(conversation_key, until, cause).await?;
        if there.was_erased_since(cause) {
            return Ok(false);
        }
        let now = self.clock.now();
        let due_at = there.quiet_until.map_or(now, |until| until.max(now));
        let waiting = self.waiting_for_silence(conversation_key, &there, due_at).await?;
        if waiting.is_empty() {
            return Ok(true);
        }
        // The list first: an entry that is listed as due too early is put right when it is looked at, and
        // one that is due and listed for later would lose its place.
        let add =
            waiting.iter().map(|(_, entry)| PendingEntry { first_due: due_at, ..entry.waiting() });
        self.list(conversation_key, add.collect()).await?;
        for (key, entry) in &waiting {
            let reason = Some(Reason::Quiet);
            let next_state = NextState::Waits { due_at, reason, rescheduled: true };
            let guard = Guard::Free { due_at: entry.due_at, now };
            self.store.change_entry(key, guard, Change::to(next_state)).await?;
        }
        if due_at > now {
            return Ok(true);
        }
        let ids: Vec<_> = waiting.into_iter().map(|(key, _)| key.id).collect();
        self.serve(conversation_key, &ids, context, patience).await?;
        Ok(true)
    }

    /// What was due while the bot was quiet, and waits for longer than until `due_at`.
    async fn waiting_for_silence(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
        due_at: Timestamp,
    ) -> Result<Vec<(EntryKey, Entry)>, OutboxError> {
        let mut found = Vec::new();
        for waiting in &conversation.waiting {
            let id = waiting.id.clone();
            let key = EntryKey { conversation_key: conversation_key.clone(), id };
            let entry = match self.store.entry(&key).await {
                // The sweep ends what cannot be read.
                Err(error) if error.is_permanent() => continue,
                entry => entry?,
            };
            let waits = |entry: &Entry| {
                entry.is_open()
                    && entry.reason == Some(Reason::Quiet)
                    && entry.due_at > Some(due_at)
            };
            found.extend(entry.filter(waits).map(|entry| (key, entry)));
        }
        Ok(found)
    }
}
