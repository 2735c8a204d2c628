//! Who controls the thread with a person: what is heard of it, and what Meta says when asked.

use std::time::Duration;

use super::attempt::Attempt;
use super::{IncomingTurn, Outbox, OutboxError, SendContext};
use crate::send::SendError;
use crate::store::{Cause, ConversationItem, ConversationKey};
use crate::thread::{CONTROL_LASTS, Thread, ThreadAction, ThreadOwner};
use messenger::clock::Timestamp;
use messenger::event::{Event, Handover, Kind};
use messenger::person::Person;

/// How long what waited for a thread waits for whoever is sending to the person.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the control of a thread was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A comment, a post or a checkbox is not a thread.
    #[error("only a conversation with a PSID is a thread")]
    NotAThread,
    /// Meta refused it.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The table or the secret failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// What an event says about the control of the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Control {
    /// This app has it, or nobody.
    Ours,
    /// Another app has it, this one if it is known.
    Others(Option<String>),
}

impl Control {
    /// What an event says to the app `own`; nothing if it does not say who controls the thread.
    ///
    /// A request is not control, and without an app id nobody knows who is meant.
    fn of(event: &Event, own: Option<&str>) -> Option<Self> {
        match &event.kind {
            Kind::Handover(Handover::Pass { to: Some(to) } | Handover::Take { to: Some(to) }) => {
                Some(if own? == to { Self::Ours } else { Self::Others(Some(to.clone())) })
            }
            Kind::Handover(_) | Kind::Delivery(_) | Kind::Read(_) => None,
            _ if event.is_standby() => Some(Self::Others(None)),
            _ => None,
        }
    }
}

impl Outbox {
    /// Records what an event says about the control of the thread; if it has come back, what waits
    /// for it is sent.
    ///
    /// # Errors
    /// [`OutboxError`]; what was not sent stays due.
    pub async fn hear_control(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        let own = self.app_id(&conversation_key.page_id).await?;
        let cause = Cause::Event(event.happened_at());
        match Control::of(event, own.as_deref()) {
            Some(Control::Others(owner)) => {
                let until = cause.at() + CONTROL_LASTS;
                let owner = owner.as_deref();
                self.store.lose_thread(conversation_key, owner, until, cause).await?;
            }
            Some(Control::Ours) if self.store.regain_thread(conversation_key, cause).await? => {
                self.serve(conversation_key, &[], context, Duration::ZERO).await?;
            }
            Some(Control::Ours) | None => {}
        }
        Ok(())
    }

    /// Changes, or asks for, the control of a thread, and records it; what waited is sent once it is
    /// this app's.
    ///
    /// # Errors
    /// [`ControlError`] if Meta refuses it, or the table fails.
    pub async fn control_thread(
        &self,
        conversation_key: &ConversationKey,
        action: &ThreadAction,
        metadata: Option<&str>,
        context: &SendContext,
    ) -> Result<(), ControlError> {
        let Person::Psid(psid) = &conversation_key.person else {
            return Err(ControlError::NotAThread);
        };
        let page_id = &conversation_key.page_id;
        let seen = self.store.conversation(conversation_key).await.map_err(OutboxError::from)?;
        let seen = seen.unwrap_or_default();
        let thread = Thread { page_id, psid, platform: seen.platform };
        let began = self.clock.now();
        let cause = Cause::Own { at: began, erased_at: seen.erased_at };
        self.send.control_thread(thread, action, metadata).await?;
        let recorded = match action {
            ThreadAction::Pass { app_id } => {
                let until = began + CONTROL_LASTS;
                self.store.lose_thread(conversation_key, Some(app_id), until, cause).await
            }
            ThreadAction::Take | ThreadAction::Release | ThreadAction::Extend { .. } => {
                self.store.regain_thread(conversation_key, cause).await
            }
            // To ask for it is not to have it.
            ThreadAction::Request => return Ok(()),
        };
        recorded.map_err(OutboxError::from)?;
        if *action == ThreadAction::Take {
            self.serve(conversation_key, &[], context, PATIENCE).await?;
        }
        Ok(())
    }

    /// Asks Meta about a thread that another app controls as far as the record knows, because the
    /// person's event came to this app all the same.
    pub(super) async fn doubt_thread(
        &self,
        incoming: &mut IncomingTurn<'_>,
    ) -> Result<(), OutboxError> {
        let is_taken = incoming.conversation.thread_taken_until(self.clock.now()).is_some();
        let key = &incoming.conversation_key;
        if is_taken && self.look_at_thread(key, &incoming.conversation).await? {
            incoming.conversation.thread_until = None;
        }
        Ok(())
    }

    /// Whether no other app controls an entry's thread any more.
    pub(super) async fn thread_is_back(&self, attempt: &Attempt<'_>) -> Result<bool, OutboxError> {
        Box::pin(self.look_at_thread(&attempt.key.conversation_key, attempt.conversation)).await
    }

    /// Asks Meta once who controls a thread, and records it: whether a message may be tried.
    ///
    /// If Meta does not let this app know, trying is the only way to find out.
    async fn look_at_thread(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
    ) -> Result<bool, OutboxError> {
        let Person::Psid(psid) = &conversation_key.person else { return Ok(true) };
        let (page_id, now) = (&conversation_key.page_id, self.clock.now());
        let cause = Cause::Own { at: now, erased_at: conversation.erased_at };
        let thread = Thread { page_id, psid, platform: conversation.platform };
        let owner = match self.send.thread_owner(thread).await {
            Ok(owner) => owner,
            Err(SendError::Graph(error)) => {
                tracing::warn!(page = page_id, %error, "it is not known who controls a thread");
                return Ok(!error.fault.may_pass());
            }
            Err(SendError::Secret(error)) => return Err(error.into()),
        };
        let own = self.app_id(page_id).await?;
        let other = owner.app_id.as_ref().filter(|owner| own.as_ref().is_some_and(|o| o != *owner));
        let Some(other) = other else {
            self.store.regain_thread(conversation_key, cause).await?;
            return Ok(true);
        };
        if let Some(until) = news(conversation, other, &owner) {
            self.store.lose_thread(conversation_key, Some(other), until, cause).await?;
        }
        Ok(false)
    }
}

/// Until when another app has the thread, if Meta says something that is not in the record.
fn news(conversation: &ConversationItem, other: &str, owner: &ThreadOwner) -> Option<Timestamp> {
    let until = owner.until.or(conversation.thread_until);
    let is_known =
        conversation.thread_owner.as_deref() == Some(other) && until == conversation.thread_until;
    until.filter(|_| !is_known)
}
