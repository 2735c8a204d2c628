//! One event: what it means for the conversation, and what is said to it.

use backend::outbox::{Heard, OutboxError, Turn, entry_id};
use backend::store::{
    CancelOutcome, Cancellation, ConversationItem, EntryKey, Hold, LastMessage, StepKey, Waiting,
    Who,
};
use messenger::clock::Timestamp;
use messenger::decision::{Conversation, Decision};
use messenger::event::{Echo, Event, Handover, Kind};
use messenger::window::{STANDARD_WINDOW, Standing};
use serde_json::Value;

use crate::{Processor, RecordError};

/// The busy mark of every event processor is the same: the queue sees to it that only one of them
/// has a person's events.
const BUSY_BY: &str = "event-processor";

/// The end of the bot's silence, in the past by any clock.
const NO_LONGER: Timestamp = Timestamp::from_millis(0);

/// How the processing of an event came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processed {
    /// It is over, and the event counts.
    Done,
    /// The event came before its person was erased: nothing is kept or passed on of it.
    PersonErased,
}

impl Processor {
    /// Processes an event; doing it again completes what was left.
    pub(crate) async fn process(
        &self,
        event: &Event,
        is_redelivered: bool,
        turn: &Turn,
    ) -> Result<Processed, RecordError> {
        let Some(person) = event.person.clone() else {
            tracing::info!(event = event.id, kind = event.kind_name(), "an event without a person");
            return Ok(Processed::Done);
        };
        let who = Who { page_id: event.page_id.clone(), person };
        match &event.kind {
            Kind::Delivery(_) | Kind::Read(_) => {}
            Kind::Echo(echo) if echo.is_own() => self.confirm(&who, echo).await?,
            Kind::Echo(echo) => self.hear_echo(&who, event, echo).await?,
            Kind::Handover(handover) => self.change_control(&who, event, handover).await?,
            _ if event.is_standby() => self.record(&who, event).await?,
            _ if event.container != "messaging" => {}
            _ => return self.answer(who, event, is_redelivered, turn).await,
        }
        Ok(Processed::Done)
    }

    async fn answer(
        &self,
        who: Who,
        event: &Event,
        is_redelivered: bool,
        turn: &Turn,
    ) -> Result<Processed, RecordError> {
        let for_entry = Some(entry_id(event));
        let hold = Hold { by: BUSY_BY.to_owned(), until: turn.hold.until, for_entry };
        let now = self.clock.now();
        let store = self.outbox.store();
        let heard = last_message(event);
        let opened =
            store.open_conversation(&who, heard.as_ref(), event.received_at, &hold, now).await;
        let Some(opened) = opened.map_err(OutboxError::from)? else {
            tracing::info!(event = event.id, "an event of a person who was erased after it");
            return Ok(Processed::PersonErased);
        };
        let mut conversation = opened.conversation;
        let forget = self.cancel_answered(&who, event, &mut conversation).await?;
        let exclusive = opened.exclusive;
        let heard = Heard { event, who, conversation, exclusive, forget };
        if is_redelivered && self.outbox.resume_decided(&heard).await? {
            return Ok(Processed::Done);
        }
        let decision = if heard.conversation.is_quiet(now) {
            Ok(Decision::nothing())
        } else {
            (self.replies)(event, &seen_by_author(event, &heard.conversation), now)
        };
        self.outbox.commit(heard, decision, turn).await?;
        Ok(Processed::Done)
    }

    /// Cancels what the person's answer makes needless: what no longer waits.
    async fn cancel_answered(
        &self,
        who: &Who,
        event: &Event,
        conversation: &mut ConversationItem,
    ) -> Result<Vec<Waiting>, RecordError> {
        let mut forget = Vec::new();
        let Some(answered_at) = event.at.filter(|_| event.opens_window()) else {
            return Ok(forget);
        };
        for waiting in conversation.waiting.iter().filter(|waiting| waiting.cancelled_by_answer) {
            let key = EntryKey { who: who.clone(), id: waiting.id.clone() };
            let outcome = self.outbox.cancel(&key, Cancellation::Answered(answered_at)).await?;
            if outcome != CancelOutcome::Kept {
                forget.push(waiting.clone());
            }
        }
        conversation.waiting.retain(|waiting| !forget.contains(waiting));
        Ok(forget)
    }

    async fn record(&self, who: &Who, event: &Event) -> Result<(), RecordError> {
        if let Some(heard) = last_message(event) {
            let recorded = self.outbox.store().record_heard(who, &heard, event.received_at).await;
            recorded.map_err(OutboxError::from)?;
        }
        Ok(())
    }

    async fn confirm(&self, who: &Who, echo: &Echo) -> Result<(), RecordError> {
        let step = echo.metadata.as_deref().and_then(|metadata| metadata.parse::<StepKey>().ok());
        match step {
            Some(step) => Ok(self.outbox.confirm(&step, echo.mid.as_deref(), Some(who)).await?),
            None => Ok(()),
        }
    }

    /// A message that left the Page by other hands: people, or another app, have taken over.
    async fn hear_echo(&self, who: &Who, event: &Event, echo: &Echo) -> Result<(), RecordError> {
        let own = self.outbox.app_id(&who.page_id).await?;
        if echo.app_id.is_some() && echo.app_id != own {
            self.set_quiet(who, event, self.quiet_from(event)).await?;
        }
        Ok(())
    }

    async fn change_control(
        &self,
        who: &Who,
        event: &Event,
        handover: &Handover,
    ) -> Result<(), RecordError> {
        let own = self.outbox.app_id(&who.page_id).await?;
        let is_own = |app: &Option<String>| own.is_none() || *app == own;
        let until = match handover {
            Handover::Pass { to } if is_own(to) => NO_LONGER,
            Handover::Request { by } if is_own(by) => NO_LONGER,
            Handover::Take { to } if own.is_some() && *to == own => NO_LONGER,
            Handover::Pass { .. } | Handover::Take { .. } => self.quiet_from(event),
            // Another app's wish for the conversation changes nothing until it has it.
            Handover::Request { .. } | Handover::Roles => return Ok(()),
        };
        Ok(self.set_quiet(who, event, until).await?)
    }

    fn quiet_from(&self, event: &Event) -> Timestamp {
        event.at.unwrap_or(event.received_at) + self.settings.quiet_for
    }

    async fn set_quiet(
        &self,
        who: &Who,
        event: &Event,
        until: Timestamp,
    ) -> Result<(), OutboxError> {
        Ok(self.outbox.store().set_quiet(who, until, event.received_at).await?)
    }
}

/// What the event says of the windows, if it opens them.
fn last_message(event: &Event) -> Option<LastMessage> {
    let at = event.at.filter(|_| event.opens_window())?;
    Some(LastMessage { platform: event.platform, at, free_until: at + STANDARD_WINDOW })
}

fn seen_by_author(event: &Event, conversation: &ConversationItem) -> Conversation {
    let state = conversation.state.as_deref().map(serde_json::from_str::<Value>);
    Conversation {
        state: state.and_then(Result::ok).unwrap_or_default(),
        standing: Standing { platform: event.platform, ..conversation.standing() },
    }
}
