//! The end of the bot's silence: what was due meanwhile is sent.

use std::time::Duration;

use crate::store::{
    Cause, Change, ConversationItem, ConversationKey, ConversationUpdate, Entry, EntryKey, Guard,
    NextState, PendingEntry, Reason,
};

use super::{Outbox, OutboxError, SendContext};

impl Outbox {
    /// Ends the bot's silence, unless something later began it, and sends what waits for its end, or
    /// leaves it to whoever is still sending to the person after `patience`: whether the person was not
    /// erased since the cause.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn end_silence(
        &self,
        conversation_key: &ConversationKey,
        cause: Cause,
        context: &SendContext,
        patience: Duration,
    ) -> Result<bool, OutboxError> {
        let there = self.store.set_silence(conversation_key, None, cause).await?;
        if there.was_erased_since(cause) {
            return Ok(false);
        }
        if there.is_quiet(self.clock.now()) {
            return Ok(true);
        }
        let waiting = self.waiting_for_silence(conversation_key, &there).await?;
        if waiting.is_empty() {
            return Ok(true);
        }
        let now = self.clock.now();
        // The list first: an entry that is listed as due too early is put right when it is looked at, and
        // one that is due and listed for later would lose its place.
        let add =
            waiting.iter().map(|(_, entry)| PendingEntry { first_due: now, ..entry.waiting() });
        let changes = ConversationUpdate { add: add.collect(), ..ConversationUpdate::default() };
        self.store.settle(conversation_key, &changes).await?;
        for (key, entry) in &waiting {
            let reason = Some(Reason::Quiet);
            let next_state = NextState::Waits { due_at: now, reason, rescheduled: true };
            let guard = Guard::Free { due_at: entry.due_at, now };
            self.store.change_entry(key, guard, Change::to(next_state)).await?;
        }
        let ids: Vec<_> = waiting.into_iter().map(|(key, _)| key.id).collect();
        self.serve(conversation_key, &ids, context, patience).await?;
        Ok(true)
    }

    /// What was due while the bot was quiet.
    async fn waiting_for_silence(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
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
            let waits = |entry: &Entry| entry.is_open() && entry.reason == Some(Reason::Quiet);
            found.extend(entry.filter(waits).map(|entry| (key, entry)));
        }
        Ok(found)
    }
}
