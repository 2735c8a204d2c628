//! A person's turn: taken exclusively, served in order, given back.

use crate::store::Who;

use super::{Outbox, OutboxError, Outcome, Turn};

impl Outbox {
    /// Sends what is due for a person, with everything of theirs that goes before it: the outcomes,
    /// `None` if somebody else is sending to them.
    ///
    /// # Errors
    /// [`OutboxError`]; what was not sent stays due.
    pub async fn serve(
        &self,
        who: &Who,
        ids: &[String],
        turn: &Turn,
    ) -> Result<Option<Vec<Outcome>>, OutboxError> {
        let now = self.clock.now();
        let Some(conversation) = self.store.take_conversation(who, &turn.hold, now).await? else {
            return Ok(None);
        };
        if self.is_unsettled(who, &conversation).await? {
            self.store.release_conversation(who, &turn.hold, &[]).await?;
            return Ok(None);
        }
        let earlier = conversation.waiting.iter().filter(|waiting| waiting.goes_first(now));
        let mut all: Vec<String> = earlier.map(|waiting| waiting.id.clone()).collect();
        all.extend(ids.iter().filter(|id| !all.contains(id)).cloned().collect::<Vec<_>>());
        let delivered = self.deliver_due(who, &conversation, &all, turn).await;
        let forget = delivered.as_ref().map_or(&[][..], |delivered| &delivered.forget);
        self.store.release_conversation(who, &turn.hold, forget).await?;
        let delivered = delivered?;
        self.unlist(&delivered.ended).await?;
        Ok(Some(delivered.outcomes.into_iter().map(|(_, outcome)| outcome).collect()))
    }
}
