//! The bot's answer to a comment or a visitor's post: the one private reply.

use std::time::Duration;

use crate::store::{ConversationKey, Created, EntryKey, Status};
use messenger::decision::Decision;
use messenger::event::Event;
use messenger::message::Invalid;
use messenger::window::Purpose;

use super::plan::{entry_id, plan};
use super::{Outbox, OutboxError, ScheduleError, SendContext, ToSchedule};

impl Outbox {
    /// Whether there is a private reply to a comment or post; what is left of it is sent.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn resume_private_reply(
        &self,
        conversation_key: &ConversationKey,
        context: &SendContext,
    ) -> Result<bool, OutboxError> {
        if self.store.entries(conversation_key).await?.is_empty() {
            return Ok(false);
        }
        self.serve(conversation_key, &[], context, Duration::ZERO).await?;
        Ok(true)
    }

    /// Sends what was decided about a comment or a visitor's post as its private reply, unless somebody
    /// has replied before.
    ///
    /// Nothing is written if nothing was decided: most comments are not answered. The decision has passed
    /// [`Self::check`], or is what it failed with.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn reply_privately(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        decision: Result<Decision, Invalid>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        let messages = match decision {
            Ok(decision) if decision.is_nothing() => return Ok(()),
            Ok(decision) => decision.say,
            Err(invalid) => return self.fail_private_reply(conversation_key, event, invalid).await,
        };
        let wanted = ToSchedule {
            id: entry_id(event),
            conversation_key: conversation_key.clone(),
            messages,
            purpose: Purpose::PrivateReply,
            author: None,
            due_at: None,
            commented_at: event.at,
            fallback: None,
        };
        match self.schedule(wanted).await {
            Ok(stored) if stored.status == Status::Open => {
                let ids = std::slice::from_ref(&stored.key.id);
                self.serve(conversation_key, ids, context, Duration::ZERO).await?;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(ScheduleError::Outbox(error)) => Err(error),
            Err(ScheduleError::Invalid(invalid)) => {
                self.fail_private_reply(conversation_key, event, invalid).await
            }
            Err(error) => {
                tracing::info!(%error, "a comment gets no reply of the bot");
                Ok(())
            }
        }
    }

    /// Writes down that the decision about a comment breaks a limit.
    async fn fail_private_reply(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        invalid: Invalid,
    ) -> Result<(), OutboxError> {
        tracing::error!(%invalid, "the decision breaks a limit");
        let key = EntryKey { conversation_key: conversation_key.clone(), id: entry_id(event) };
        let conversation = self.store.conversation(conversation_key).await?.unwrap_or_default();
        let now = self.clock.now();
        let mut entry = plan(&key, event, &conversation, Err(invalid), now, &self.settings)?;
        if self.create(&mut entry).await? == Created::New {
            self.count_end(&key, entry.purpose, entry.status, entry.reason.as_ref());
        }
        Ok(())
    }
}
