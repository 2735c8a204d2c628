//! From the bot's decision about an event to an entry, written once and then applied.

use crate::store::{
    ConversationItem, ConversationKey, ConversationUpdate, Created, Entry, EntryKey, Guard,
    PendingEntry, Reason, Status, StepState,
};
use messenger::clock::Timestamp;
use messenger::decision::Decision;
use messenger::event::Event;
use messenger::message::Invalid;
use messenger::window::Label;

use super::attempt::Attempt;
use super::next::{Halt, Next};
use super::plan::{entry_id, plan, unclear};
use super::{Outbox, OutboxError, SendContext};

/// An event that was recorded, with its conversation.
#[derive(Clone, Debug)]
pub struct IncomingTurn<'a> {
    /// The event.
    pub event: &'a Event,
    /// Whose conversation it is.
    pub conversation_key: ConversationKey,
    /// The conversation as it was when the event was recorded.
    pub conversation: ConversationItem,
    /// Whether the busy mark is ours, so that something may be sent now.
    pub exclusive: bool,
    /// Entries that the event has ended, to be forgotten by the conversation.
    pub forget: Vec<PendingEntry>,
}

impl Outbox {
    /// Writes what was decided about an event, unless that happened before, and applies it: the
    /// follow-ups, the state, and the messages that can be sent now.
    ///
    /// Calling it again for the same event applies what was decided the first time.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn commit(
        &self,
        incoming: IncomingTurn<'_>,
        decision: Result<Decision, Invalid>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        let mut incoming = incoming;
        let max_state_bytes = self.settings.max_state_bytes;
        let decision = decision.and_then(|decision| {
            decision.check(incoming.event.platform, max_state_bytes)?;
            Ok(decision)
        });
        if decision.as_ref().is_ok_and(Decision::is_nothing) {
            let changes =
                ConversationUpdate { forget: incoming.forget, ..ConversationUpdate::default() };
            return Ok(self.store.settle(&incoming.conversation_key, &changes).await?);
        }
        let key = EntryKey {
            conversation_key: incoming.conversation_key.clone(),
            id: entry_id(incoming.event),
        };
        let (blocked_until, ended) = self.clear_the_way(&mut incoming, context).await?;
        let (mut entry, label) =
            self.prepare(&key, &incoming, decision, blocked_until, context).await?;
        match self.create(&mut entry).await? {
            Created::Existing(there) if !is_held_by(&there, context) => {
                self.resume(&key, *there, &incoming).await
            }
            // Ours if a lost answer made the SDK ask twice.
            Created::New | Created::Existing(_) => {
                if !matches!(entry.status, Status::Open | Status::Sent) {
                    self.count_end(&key, entry.purpose, entry.status, entry.reason.as_ref());
                }
                self.settle_decision(&key, &entry, &incoming).await?;
                self.unlist(&ended).await?;
                if let Some(label) = label {
                    let waiting = entry.waiting();
                    let conversation = &incoming.conversation;
                    let mut attempt = Attempt { key: &key, entry, conversation, context };
                    let outcome = self.send_from(&mut attempt, label).await?;
                    self.settle_outcome(&incoming.conversation_key, waiting, &outcome).await?;
                }
                Ok(())
            }
        }
    }

    /// Completes what an earlier delivery of the event decided: whether there was such a decision.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn resume_decided(&self, incoming: &IncomingTurn<'_>) -> Result<bool, OutboxError> {
        let key = EntryKey {
            conversation_key: incoming.conversation_key.clone(),
            id: entry_id(incoming.event),
        };
        match self.store.entry(&key).await? {
            Some(entry) => self.resume(&key, entry, incoming).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Deletes what an event's decision left, because its person was erased after it.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn forget_decision(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
    ) -> Result<(), OutboxError> {
        Ok(self.store.delete_decision(conversation_key, &entry_id(event)).await?)
    }

    /// Sends what is due before anything new, in order: until when something still goes before, and
    /// what has ended.
    async fn clear_the_way(
        &self,
        incoming: &mut IncomingTurn<'_>,
        context: &SendContext,
    ) -> Result<(Option<Timestamp>, Vec<EntryKey>), OutboxError> {
        let now = self.clock.now();
        let own = entry_id(incoming.event);
        // An event that comes a second time may have left its entry among those that wait.
        let earlier = incoming.conversation.waiting.iter().take_while(|waiting| waiting.id != own);
        let before: Vec<_> =
            earlier.filter(|waiting| waiting.goes_first(now)).map(|w| w.id.clone()).collect();
        if before.is_empty() {
            return Ok((None, Vec::new()));
        }
        if !incoming.exclusive {
            return Ok((Some(now), Vec::new()));
        }
        let delivered = self
            .deliver_due(&incoming.conversation_key, &incoming.conversation, &before, context)
            .await?;
        incoming.conversation.waiting.retain(|waiting| !delivered.forget.contains(waiting));
        incoming.forget.extend(delivered.forget);
        Ok((delivered.blocked_until, delivered.ended))
    }

    /// Builds the entry as it goes into the table, and says under which label to send at once.
    async fn prepare(
        &self,
        key: &EntryKey,
        incoming: &IncomingTurn<'_>,
        decision: Result<Decision, Invalid>,
        blocked_until: Option<Timestamp>,
        context: &SendContext,
    ) -> Result<(Entry, Option<Label>), OutboxError> {
        let now = self.clock.now();
        if let Err(invalid) = &decision {
            tracing::error!(event = incoming.event.id, %invalid, "the decision breaks a limit");
        }
        let conversation = &incoming.conversation;
        let caused_at = incoming.event.at.unwrap_or(incoming.event.received_at);
        let entry = plan(key, caused_at, conversation, decision, now, &self.settings)?;
        if !entry.is_open() {
            return Ok((entry, None));
        }
        let attempt = Attempt { key, entry, conversation, context };
        let next = match blocked_until {
            Some(until) => Next::Halt(Halt::Wait(until.max(now), Reason::EarlierMessagesWait)),
            None if !incoming.exclusive => Next::Halt(Halt::Wait(now, Reason::Busy)),
            None => self.next(&attempt).await?,
        };
        let mut entry = attempt.entry;
        match next {
            Next::Send(label) => {
                entry.held_from_start(&context.lease);
                entry.attempts = 1;
                entry.steps[0].state = StepState::Sending;
                entry.steps[0].sends = 1;
                return Ok((entry, Some(label)));
            }
            Next::Halt(Halt::End(status, reason)) => {
                entry.ended_from_start(status, reason, now, self.expires_at(now));
            }
            Next::Halt(Halt::Wait(due_at, reason)) => {
                entry.due_at = Some(due_at);
                entry.reason = Some(reason);
            }
            // A reply has no fallback; if it had, the schedule would send it.
            Next::Fallback(refusal) => entry.reason = Some(refusal.into()),
            Next::Halt(Halt::Reschedule(due_at, reason)) => {
                entry.first_due = due_at;
                entry.due_at = Some(due_at);
                entry.reason = Some(reason);
            }
        }
        Ok((entry, None))
    }

    /// Stores the follow-ups, and changes the conversation in one write.
    async fn settle_decision(
        &self,
        key: &EntryKey,
        entry: &Entry,
        incoming: &IncomingTurn<'_>,
    ) -> Result<(), OutboxError> {
        let mut changes = self.apply(key, entry, &incoming.conversation).await?;
        if entry.is_open() && entry.due_at.is_some() {
            changes.add.push(entry.waiting());
        }
        changes.forget.clone_from(&incoming.forget);
        if self.store.settle_unless_erased(&key.conversation_key, &changes).await? {
            Ok(())
        } else {
            Err(OutboxError::PersonErased)
        }
    }

    /// Completes what an earlier delivery of the event began.
    async fn resume(
        &self,
        key: &EntryKey,
        entry: Entry,
        incoming: &IncomingTurn<'_>,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let abandoned = entry.is_open() && entry.due_at.is_none();
        if abandoned && entry.is_leased(now) {
            return Err(OutboxError::HeldElsewhere);
        }
        self.settle_decision(key, &entry, incoming).await?;
        if !abandoned {
            return Ok(());
        }
        let change = unclear(&entry, self.clock.now(), self.settings.echo_grace);
        match self.store.change_entry(key, Guard::Free { due_at: None, now }, change).await? {
            Some(entry) => self.settle_waiting(&key.conversation_key, entry.waiting()).await,
            // An echo came in between; the next delivery sees its effect.
            None => Err(OutboxError::HeldElsewhere),
        }
    }
}

fn is_held_by(entry: &Entry, context: &SendContext) -> bool {
    entry.is_open() && entry.lease_by.as_deref() == Some(context.lease.by.as_str())
}
