//! A person's turn: taken exclusively, served in order, given back.

use crate::store::{ConversationItem, ConversationKey, EntryKey};

use super::{Outbox, OutboxError, Outcome, SendContext};

impl Outbox {
    /// Sends what is due for a person, with everything of theirs that goes before it: the outcomes,
    /// `None` if somebody else is sending to them.
    ///
    /// # Errors
    /// [`OutboxError`]; what was not sent stays due.
    pub async fn serve(
        &self,
        conversation_key: &ConversationKey,
        ids: &[String],
        context: &SendContext,
    ) -> Result<Option<Vec<Outcome>>, OutboxError> {
        let now = self.clock.now();
        let Some(conversation) =
            self.store.take_conversation(conversation_key, &context.lease, now).await?
        else {
            return Ok(None);
        };
        if self.is_unsettled(conversation_key, &conversation).await? {
            self.store.release_conversation(conversation_key, &context.lease, &[]).await?;
            return Ok(None);
        }
        let earlier = conversation.waiting.iter().filter(|waiting| waiting.goes_first(now));
        let mut all: Vec<String> = earlier.map(|waiting| waiting.id.clone()).collect();
        all.extend(ids.iter().filter(|id| !all.contains(id)).cloned().collect::<Vec<_>>());
        let delivered = self.deliver_due(conversation_key, &conversation, &all, context).await;
        let forget = delivered.as_ref().map_or(&[][..], |delivered| &delivered.forget);
        self.store.release_conversation(conversation_key, &context.lease, forget).await?;
        let delivered = delivered?;
        self.unlist(&delivered.ended).await?;
        Ok(Some(delivered.outcomes.into_iter().map(|(_, outcome)| outcome).collect()))
    }

    /// Whether a dead event processor may have left the latest event's entry: it goes first, once
    /// the event is delivered again.
    async fn is_unsettled(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
    ) -> Result<bool, OutboxError> {
        let Some(id) = conversation.busy_for.clone() else {
            return Ok(false);
        };
        let entry =
            self.store.entry(&EntryKey { conversation_key: conversation_key.clone(), id }).await?;
        Ok(entry.is_some_and(|entry| entry.is_open() && entry.due_at.is_none()))
    }
}
