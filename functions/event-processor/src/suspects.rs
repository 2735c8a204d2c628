//! Events whose processing may have killed the process: each is processed alone.
//!
//! A loop until the time-out, an overflow of the stack or a lack of memory ends the process with all
//! events of its batch, and leaves no word about whose fault it was. So an event that was begun and
//! not decided, and comes again, is processed by itself: a death then has one owner, and everybody
//! else's events go on at once.

use aws_lambda_events::sqs::SqsMessage;
use backend::outbox::{OutboxError, entry_id};
use backend::runtime::receive_count;
use backend::store::{ConversationKey, EntryKey};
use messenger::event::Event;

use crate::event::Processed;
use crate::{Processor, RecordError};

impl Processor {
    /// The place of the first message of a batch whose event was begun before and not decided.
    ///
    /// An event that failed together with AWS looks the same; to process it alone does no harm.
    pub(crate) async fn first_suspect(
        &self,
        messages: &[SqsMessage],
    ) -> Result<Option<usize>, OutboxError> {
        for (place, message) in messages.iter().enumerate() {
            if receive_count(message) > 1 && self.is_suspect(message).await? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    async fn is_suspect(&self, message: &SqsMessage) -> Result<bool, OutboxError> {
        let event = Event::from_queue_text(message.body.as_deref().unwrap_or_default());
        let Ok(event) = event else { return Ok(false) };
        Ok(self.undecided(&event).await?.is_some())
    }

    /// The entry that an event would be decided in, if it was begun and not decided.
    async fn undecided(
        &self,
        event: &Event,
    ) -> Result<Option<(ConversationKey, String)>, OutboxError> {
        let Some((conversation_key, id)) = key_of(event) else { return Ok(None) };
        let store = self.outbox.store();
        let conversation = store.conversation(&conversation_key).await?.unwrap_or_default();
        let was_begun = conversation.busy_for.as_deref() == Some(&id)
            || conversation.trial_for.as_deref() == Some(&id);
        if !was_begun {
            return Ok(None);
        }
        let key = EntryKey { conversation_key: conversation_key.clone(), id: id.clone() };
        let entry = store.entry(&key).await?;
        Ok(entry.is_none_or(|entry| entry.is_placeholder).then_some((conversation_key, id)))
    }

    /// Notes that a suspect is tried: how often by now, 0 for an event that is not suspect.
    pub(crate) async fn trials(&self, event: &Event) -> Result<u64, OutboxError> {
        let Some((key, id)) = self.undecided(event).await? else { return Ok(0) };
        Ok(self.outbox.store().begin_trial(&key, &id).await?)
    }

    /// What an event's processing came to: a failure of its own is counted, unless its trial counts it
    /// already, and a trial that AWS made fail does not count.
    pub(crate) async fn judge(
        &self,
        event: &Event,
        trials: u64,
        outcome: std::thread::Result<Result<Processed, RecordError>>,
    ) -> Result<Result<Processed, RecordError>, OutboxError> {
        let reason = match outcome {
            Err(_) => "panic",
            Ok(Err(RecordError::Outbox(error))) if error.is_permanent() => {
                tracing::error!(event = event.id, %error, "the table cannot hold what was decided");
                "rejected_by_table"
            }
            Ok(outcome) => {
                if trials > 0
                    && let Some((key, id)) = key_of(event)
                {
                    self.outbox.store().end_trial(&key, &id).await?;
                }
                return Ok(outcome);
            }
        };
        let failures = match key_of(event) {
            Some((key, id)) if trials == 0 => self.outbox.store().begin_trial(&key, &id).await?,
            _ => trials,
        };
        Ok(Err(RecordError::Poisonous(reason, failures)))
    }
}

fn key_of(event: &Event) -> Option<(ConversationKey, String)> {
    let person = event.person.clone()?;
    Some((ConversationKey { page_id: event.page_id.clone(), person }, entry_id(event)))
}
