//! Places among those that wait which nobody needs: their holder died before the entry was written, or
//! before the conversation had forgotten it.

use std::time::Duration;

use crate::store::{ConversationItem, ConversationKey, ConversationUpdate, Entry, EntryKey};
use messenger::clock::Timestamp;

use super::{Outbox, OutboxError};

/// For how long a place is kept for an entry that is being written: no function of Lambda's runs longer.
const RESERVED_FOR: Duration = Duration::from_mins(15);

impl Outbox {
    /// Frees the places that nobody needs: the conversation without them.
    ///
    /// It reads each entry that is counted, so it is for when no place is free.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub(super) async fn free_places(
        &self,
        conversation_key: &ConversationKey,
        seen: &ConversationItem,
    ) -> Result<ConversationItem, OutboxError> {
        let now = self.clock.now();
        let mut forget = Vec::new();
        for waiting in seen.waiting.iter().filter(|waiting| waiting.is_counted) {
            let id = waiting.id.clone();
            let key = EntryKey { conversation_key: conversation_key.clone(), id };
            let is_needed = match self.store.entry(&key).await {
                // One that cannot be read ends when it is due.
                Err(error) if error.is_permanent() => true,
                entry => is_needed(entry?.as_ref(), waiting.decided_at, now),
            };
            if !is_needed {
                forget.push(waiting.clone());
            }
        }
        let mut left = seen.clone();
        left.forget(&forget);
        let changes = ConversationUpdate { forget, ..ConversationUpdate::default() };
        self.store.settle(conversation_key, &changes).await?;
        Ok(left)
    }
}

/// Whether a place is needed that was reserved then, for this entry if it is there.
pub(super) fn is_needed(entry: Option<&Entry>, reserved_at: Timestamp, now: Timestamp) -> bool {
    entry.map_or_else(|| now.since(reserved_at) < RESERVED_FOR, Entry::has_place)
}
