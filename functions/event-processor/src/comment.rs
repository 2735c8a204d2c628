//! Comments and visitors' posts: the bot's answer is the one private reply.

use backend::outbox::{OutboxError, SendContext};
use backend::store::ConversationKey;
use messenger::event::Event;
use messenger::window::SEVEN_DAYS;

use crate::batch::Lanes;
use crate::event::Processed;
use crate::suspects::Delivery;
use crate::thinking::Question;
use crate::{Processor, RecordError};

impl Processor {
    /// Lets the bot decide about a comment, once; a comment without a reply costs no write.
    pub(crate) async fn answer_comment(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        delivery: &Delivery,
        lanes: &Lanes,
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
        let conversation = &conversation;
        let question = Question {
            event,
            conversation_key,
            conversation,
            profile: None,
            delivery,
            leased_until: None,
            now,
        };
        let answer = match self.ask_bot(&question, lanes, context).await {
            Err(RecordError::Outbox(OutboxError::PersonErased)) => {
                return Ok(Processed::PersonErased);
            }
            answer => answer?,
        };
        self.outbox.reply_privately(conversation_key, event, answer.decision, context).await?;
        Ok(Processed::Done)
    }
}
