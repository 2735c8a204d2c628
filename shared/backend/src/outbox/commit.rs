//! From the bot's decision about an event to an entry, written once and then applied.

use crate::store::{
    ConversationItem, Created, Entry, EntryKey, Guard, Reason, Settlement, Status, StepState,
    Waiting, Who,
};
use messenger::clock::Timestamp;
use messenger::decision::Decision;
use messenger::event::Event;
use messenger::message::Invalid;
use messenger::window::Label;

use super::attempt::Attempt;
use super::next::{Halt, Next};
use super::plan::{entry_id, plan, unclear};
use super::{Outbox, OutboxError, Turn};

/// An event that was recorded, with its conversation.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// The event.
    pub event: &'a Event,
    /// Whose conversation it is.
    pub who: Who,
    /// The conversation as it was when the event was recorded.
    pub conversation: ConversationItem,
    /// Whether the busy mark is ours, so that something may be sent now.
    pub exclusive: bool,
    /// Entries that the event has ended, to be forgotten by the conversation.
    pub forget: Vec<Waiting>,
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
        heard: Heard<'_>,
        decision: Result<Decision, Invalid>,
        turn: &Turn,
    ) -> Result<(), OutboxError> {
        let mut heard = heard;
        let max_state_bytes = self.settings.max_state_bytes;
        let decision = decision.and_then(|decision| {
            decision.check(heard.event.platform, max_state_bytes)?;
            Ok(decision)
        });
        if decision.as_ref().is_ok_and(Decision::is_nothing) {
            let settlement = Settlement { forget: heard.forget, ..Settlement::default() };
            return Ok(self.store.settle(&heard.who, &settlement).await?);
        }
        let key = EntryKey { who: heard.who.clone(), id: entry_id(heard.event) };
        let (blocked_until, ended) = self.clear_the_way(&mut heard, turn).await?;
        let (entry, label) = self.prepare(&key, &heard, decision, blocked_until, turn).await?;
        match self.store.create_entry(&entry).await? {
            Created::Existing(there) if !is_held_by(&there, turn) => {
                self.resume(&key, *there, &heard).await
            }
            // Ours if a lost answer made the SDK ask twice.
            Created::New | Created::Existing(_) => {
                if !matches!(entry.status, Status::Open | Status::Sent) {
                    self.count_end(&key, entry.purpose, entry.status, entry.reason.as_ref());
                }
                self.settle_decision(&key, &entry, &heard).await?;
                self.unlist(&ended).await?;
                if let Some(label) = label {
                    let waiting = entry.waiting();
                    let conversation = &heard.conversation;
                    let mut attempt = Attempt { key: &key, entry, conversation, turn };
                    let outcome = self.send_from(&mut attempt, label).await?;
                    self.settle_outcome(&heard.who, waiting, &outcome).await?;
                }
                Ok(())
            }
        }
    }

    /// Completes what an earlier delivery of the event decided: whether there was such a decision.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn resume_decided(&self, heard: &Heard<'_>) -> Result<bool, OutboxError> {
        let key = EntryKey { who: heard.who.clone(), id: entry_id(heard.event) };
        match self.store.entry(&key).await? {
            Some(entry) => self.resume(&key, entry, heard).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Whether a dead event processor may have left the latest event's entry: it goes first, once
    /// the event is delivered again.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn is_unsettled(
        &self,
        who: &Who,
        conversation: &ConversationItem,
    ) -> Result<bool, OutboxError> {
        let Some(id) = conversation.busy_for.clone() else {
            return Ok(false);
        };
        let entry = self.store.entry(&EntryKey { who: who.clone(), id }).await?;
        Ok(entry.is_some_and(|entry| entry.is_open() && entry.due_at.is_none()))
    }

    /// Sends what is due before anything new, in order: until when something still goes before, and
    /// what has ended.
    async fn clear_the_way(
        &self,
        heard: &mut Heard<'_>,
        turn: &Turn,
    ) -> Result<(Option<Timestamp>, Vec<EntryKey>), OutboxError> {
        let now = self.clock.now();
        let own = entry_id(heard.event);
        // An event that comes a second time may have left its entry among those that wait.
        let earlier = heard.conversation.waiting.iter().take_while(|waiting| waiting.id != own);
        let before: Vec<_> =
            earlier.filter(|waiting| waiting.goes_first(now)).map(|w| w.id.clone()).collect();
        if before.is_empty() {
            return Ok((None, Vec::new()));
        }
        if !heard.exclusive {
            return Ok((Some(now), Vec::new()));
        }
        let delivered = self.deliver_due(&heard.who, &heard.conversation, &before, turn).await?;
        heard.conversation.waiting.retain(|waiting| !delivered.forget.contains(waiting));
        heard.forget.extend(delivered.forget);
        Ok((delivered.blocked_until, delivered.ended))
    }

    /// Builds the entry as it goes into the table, and says under which label to send at once.
    async fn prepare(
        &self,
        key: &EntryKey,
        heard: &Heard<'_>,
        decision: Result<Decision, Invalid>,
        blocked_until: Option<Timestamp>,
        turn: &Turn,
    ) -> Result<(Entry, Option<Label>), OutboxError> {
        let now = self.clock.now();
        if let Err(invalid) = &decision {
            tracing::error!(event = heard.event.id, %invalid, "the decision breaks a limit");
        }
        let conversation = &heard.conversation;
        let caused_at = heard.event.at.unwrap_or(heard.event.received_at);
        let entry = plan(key, caused_at, conversation, decision, now, &self.settings)?;
        if !entry.is_open() {
            return Ok((entry, None));
        }
        let attempt = Attempt { key, entry, conversation, turn };
        let next = match blocked_until {
            Some(until) => Next::Halt(Halt::Wait(until.max(now), Reason::EarlierMessagesWait)),
            None if !heard.exclusive => Next::Halt(Halt::Wait(now, Reason::Busy)),
            None => self.next(&attempt).await?,
        };
        let mut entry = attempt.entry;
        match next {
            Next::Send(label) => {
                entry.held_from_start(&turn.hold);
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
        heard: &Heard<'_>,
    ) -> Result<(), OutboxError> {
        let mut settlement = self.apply(key, entry, &heard.conversation).await?;
        if entry.is_open() && entry.due_at.is_some() {
            settlement.add.push(entry.waiting());
        }
        settlement.forget.clone_from(&heard.forget);
        Ok(self.store.settle(&key.who, &settlement).await?)
    }

    /// Completes what an earlier delivery of the event began.
    async fn resume(
        &self,
        key: &EntryKey,
        entry: Entry,
        heard: &Heard<'_>,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let abandoned = entry.is_open() && entry.due_at.is_none();
        if abandoned && entry.is_leased(now) {
            return Err(OutboxError::HeldElsewhere);
        }
        self.settle_decision(key, &entry, heard).await?;
        if !abandoned {
            return Ok(());
        }
        let change = unclear(&entry, self.clock.now(), self.settings.echo_grace);
        match self.store.change_entry(key, Guard::Free { due_at: None, now }, change).await? {
            Some(entry) => self.settle_waiting(&key.who, entry.waiting()).await,
            // An echo came in between; the next delivery finds what it told.
            None => Err(OutboxError::HeldElsewhere),
        }
    }
}

fn is_held_by(entry: &Entry, turn: &Turn) -> bool {
    entry.is_open() && entry.lease_by.as_deref() == Some(turn.hold.by.as_str())
}
