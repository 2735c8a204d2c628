//! From the bot's decision about an event to an entry, written once and then applied.

use serde::{Deserialize, Serialize};

use crate::graph::Fault;
use crate::store::{
    Change, ConversationItem, Created, Entry, EntryKey, Fate, Guard, MAX_WAITING, Reason,
    Settlement, Status, Step, StepChange, StepState, Waiting, Who,
};
use messenger::clock::Timestamp;
use messenger::decision::{Decision, When};
use messenger::event::Event;
use messenger::message::{Invalid, Say, UtilityTemplate};
use messenger::window::{Label, Purpose};

use super::check::Go;
use super::{Outbox, OutboxError, Outcome, Turn};

/// How many hexadecimal digits of an event's id name its entry: 128 bits.
const ID_LENGTH: usize = 32;

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

/// What a decision changes beside what it says now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Unapplied {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    follow_ups: Vec<PlannedFollowUp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default)]
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet_until: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlannedFollowUp {
    messages: Vec<Say>,
    due_at: Timestamp,
    purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelled_by_answer_after: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<UtilityTemplate>,
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
                    self.count_end(&key, &entry, entry.status, entry.reason.as_ref());
                }
                self.settle_decision(&key, &entry, &heard).await?;
                self.unlist(&ended).await?;
                if let Some(label) = label {
                    let outcome = self
                        .send_from(&key, entry.clone(), label, &heard.conversation, turn)
                        .await?;
                    self.settle_outcome(&heard.who, entry.waiting(), &outcome).await?;
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
        let decided_at = after_all_waiting(&heard.conversation, now);
        let give_up_at = now + self.settings.give_up_after;
        let entry =
            |steps| Entry::new(key, Purpose::Reply, steps, decided_at, decided_at, give_up_at);
        let decision = match decision {
            Ok(decision) => decision,
            Err(invalid) => {
                let mut entry = entry(Vec::new());
                entry.ended_from_start(
                    Status::Failed,
                    Reason::Invalid(invalid.to_string()),
                    now,
                    self.expires_at(now),
                );
                tracing::error!(event = heard.event.id, %invalid, "the decision breaks a limit");
                return Ok((entry, None));
            }
        };
        let steps = steps(&decision.say, None)?;
        let mut entry = entry(steps);
        entry.despite_quiet = decision.quiet_for.is_some();
        entry.unapplied = Self::unapplied(heard, decision, now)?;
        if entry.steps.is_empty() {
            entry.ended_from_start(Status::Sent, Reason::NothingToSay, now, self.expires_at(now));
            return Ok((entry, None));
        }
        let go = match blocked_until {
            Some(until) => Go::Wait(until.max(now), Reason::EarlierMessagesWait),
            None if !heard.exclusive => Go::Wait(now, Reason::Busy),
            None => self.check(&key.who.page_id, &entry, &heard.conversation, turn).await?,
        };
        match go {
            Go::Send(label) => {
                entry.held_from_start(&turn.hold);
                entry.attempts = 1;
                entry.steps[0].state = StepState::Sending;
                entry.steps[0].sends = 1;
                return Ok((entry, Some(label)));
            }
            Go::End(status, reason) => {
                entry.ended_from_start(status, reason, now, self.expires_at(now));
            }
            Go::Wait(due_at, reason) => {
                entry.due_at = Some(due_at);
                entry.reason = Some(reason);
            }
            // A reply has no fallback; if it had, the schedule would send it.
            Go::Fallback(refusal) => entry.reason = Some(refusal.into()),
            Go::Reschedule(due_at, reason) => {
                entry.first_due = due_at;
                entry.due_at = Some(due_at);
                entry.reason = Some(reason);
            }
        }
        Ok((entry, None))
    }

    fn unapplied(
        heard: &Heard<'_>,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Option<String>, OutboxError> {
        let caused_at = heard.event.at.unwrap_or(heard.event.received_at);
        let follow_ups = decision.follow_ups.into_iter().map(|follow_up| PlannedFollowUp {
            messages: follow_up.messages,
            due_at: match follow_up.when {
                When::AfterMillis(millis) => now + std::time::Duration::from_millis(millis),
                When::At(instant) => instant,
            },
            purpose: follow_up.purpose,
            cancelled_by_answer_after: follow_up.cancelled_by_answer.then_some(caused_at),
            fallback: follow_up.fallback,
        });
        let unapplied = Unapplied {
            follow_ups: follow_ups.collect(),
            state: decision.state.map(|state| state.to_string()),
            revision: heard.conversation.state_revision,
            quiet_until: decision.quiet_for.map(|span| now + span),
        };
        let is_empty = unapplied.follow_ups.is_empty()
            && unapplied.state.is_none()
            && unapplied.quiet_until.is_none();
        Ok(if is_empty { None } else { Some(serde_json::to_string(&unapplied)?) })
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

    /// Stores the follow-ups that an entry's decision holds: what the conversation has to change.
    ///
    /// Doing it again changes nothing: a follow-up that is there stays as it is, and a state is
    /// bound to its revision.
    pub(super) async fn apply(
        &self,
        key: &EntryKey,
        entry: &Entry,
        conversation: &ConversationItem,
    ) -> Result<Settlement, OutboxError> {
        let Some(text) = &entry.unapplied else {
            return Ok(Settlement::default());
        };
        let unapplied: Unapplied = serde_json::from_str(text)?;
        let mut settlement = Settlement {
            state: unapplied.state.map(|state| (state, unapplied.revision)),
            quiet_until: unapplied.quiet_until,
            ..Settlement::default()
        };
        let mut room = MAX_WAITING.saturating_sub(conversation.waiting.len());
        let mut decided_at = entry.decided_at;
        for (index, follow_up) in unapplied.follow_ups.into_iter().enumerate() {
            decided_at = decided_at + std::time::Duration::from_millis(1);
            let id = format!("{}.{}", key.id, index + 1);
            let key = EntryKey { who: key.who.clone(), id };
            let steps = steps(&follow_up.messages, follow_up.fallback)?;
            let give_up_at = follow_up.due_at + self.settings.give_up_after;
            let mut later = Entry::new(
                &key,
                follow_up.purpose,
                steps,
                follow_up.due_at,
                decided_at,
                give_up_at,
            );
            later.cancelled_by_answer_after = follow_up.cancelled_by_answer_after;
            if room == 0 {
                let now = self.clock.now();
                let reason = Reason::TooManyWaiting;
                later.ended_from_start(Status::Failed, reason, now, self.expires_at(now));
            }
            match self.store.create_entry(&later).await? {
                Created::New if later.is_open() => {
                    room -= 1;
                    settlement.add.push(later.waiting());
                }
                Created::New => self.count_end(&key, &later, later.status, later.reason.as_ref()),
                Created::Existing(there) if there.is_open() => settlement.add.push(there.waiting()),
                Created::Existing(_) => {}
            }
        }
        Ok(settlement)
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
        let change = self.put_off_as_unclear(&entry);
        match self.store.change_entry(key, Guard::Free { due_at: None, now }, change).await? {
            Some(entry) => self.settle_waiting(&key.who, entry.waiting()).await,
            // An echo came in between; the next delivery finds what it told.
            None => Err(OutboxError::HeldElsewhere),
        }
    }

    /// What a dead sender leaves: a message that may have been delivered waits for its echo, a
    /// sender action is passed over.
    pub(super) fn put_off_as_unclear(&self, entry: &Entry) -> Change {
        let left = entry.steps.iter().enumerate();
        let steps: Vec<_> = left
            .filter(|(_, step)| step.state == StepState::Sending)
            .map(|(index, step)| StepChange {
                step: index,
                only_from: Some(StepState::Sending),
                state: if step.is_action() {
                    StepState::PassedOver
                } else {
                    StepState::Unconfirmed
                },
                sends: None,
                mid: None,
            })
            .collect();
        let is_unclear = steps.iter().any(|change| change.state == StepState::Unconfirmed);
        let grace = if is_unclear { self.settings.echo_grace } else { std::time::Duration::ZERO };
        let due_at = self.clock.now() + grace;
        let fate = Fate::Waits { due_at, reason: Some(Fault::Unclear.into()), rescheduled: false };
        Change { steps, applied: true, ..Change::to(fate) }
    }

    /// Tells the conversation that an entry which was tried waits now.
    pub(super) async fn settle_outcome(
        &self,
        who: &Who,
        waiting: Waiting,
        outcome: &Outcome,
    ) -> Result<(), OutboxError> {
        match outcome {
            Outcome::Waits(_) => self.settle_waiting(who, waiting).await,
            Outcome::Rescheduled(first_due) => {
                self.settle_waiting(who, Waiting { first_due: *first_due, ..waiting }).await
            }
            Outcome::Ended(..) | Outcome::Lost => Ok(()),
        }
    }

    async fn settle_waiting(&self, who: &Who, waiting: Waiting) -> Result<(), OutboxError> {
        let settlement = Settlement { add: vec![waiting], ..Settlement::default() };
        Ok(self.store.settle(who, &settlement).await?)
    }
}

/// The steps of an entry: what is said, and what goes instead if the windows refuse it.
pub(super) fn steps(
    messages: &[Say],
    fallback: Option<UtilityTemplate>,
) -> Result<Vec<Step>, serde_json::Error> {
    messages.iter().map(Step::planned).chain(fallback.map(Step::spare)).collect()
}

fn is_held_by(entry: &Entry, turn: &Turn) -> bool {
    entry.is_open() && entry.lease_by.as_deref() == Some(turn.hold.by.as_str())
}

/// The id of the entry in which an event's decision is written down.
pub fn entry_id(event: &Event) -> String {
    event.id.chars().take(ID_LENGTH).collect()
}

/// A decision's time: now, or just after the latest decision that still waits.
///
/// Entries that are due at once go in the order of their decisions, and two decisions can fall
/// into one millisecond.
pub(super) fn after_all_waiting(conversation: &ConversationItem, now: Timestamp) -> Timestamp {
    let latest = conversation.waiting.iter().map(|waiting| waiting.decided_at).max();
    latest.map_or(now, |latest| now.max(latest + std::time::Duration::from_millis(1)))
}
