//! Comments and visitors' posts: the bot's answer is the one private reply.

use backend::outbox::{OutboxError, SendContext};
use backend::store::ConversationKey;
use messenger::event::Event;
use messenger::window::SEVEN_DAYS;

use crate::event::{Processed, seen_by_author};
use crate::suspects::Delivery;
use crate::{Processor, RecordError};

impl Processor {
    /// Lets the bot decide about a comment, once; a comment without a reply costs no write.
    pub(crate) async fn answer_comment(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        delivery: &Delivery,
        context: &SendContext,
    ) -> Result<Processed, RecordError> {
        let now = self.clock.now();
        if now.since(event.happened_at()) > SEVEN_DAYS {
            tracing::warn!("a comment is too old to be answered");
            return Ok(Processed::Done);
        }
        let store = self.outbox.store();
        let conversation = store.conversation(conversation_key).await.map_err(OutboxError::from)?;
        let conversation = conversation.unwrap_or_default();
        if conversation.was_erased_after(event.happened_at()) {
            return Ok(Processed::PersonErased);
        }
        if delivery.is_again && self.outbox.resume_private_reply(conversation_key, context).await? {
            return Ok(Processed::Done);
        }
        let seen = seen_by_author(event, &conversation, None);
        let decision = match self.ask_bot(event, &conversation, &seen, now, delivery).await {
            Err(RecordError::Outbox(OutboxError::PersonErased)) => {
                return Ok(Processed::PersonErased);
            }
            decision => decision?,
        };
        self.outbox.reply_privately(conversation_key, event, decision, context).await?;
        Ok(Processed::Done)
    }
}
