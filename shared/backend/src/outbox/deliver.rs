//! Sending what is due for one person, in order, step by step.

use std::time::Duration;

use crate::graph::{Fault, GraphError};
use crate::send::{Outgoing, SendError, Sent};
use crate::store::{
    Change, ConversationItem, Entry, EntryKey, Fate, Guard, Reason, Status, StepChange, StepKey,
    StepState, Waiting, Who,
};
use messenger::clock::Timestamp;
use messenger::window::{Label, Refusal};

use super::check::Go;
use super::{Outbox, OutboxError, Turn};

/// The longest time between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

/// How an attempt at an entry came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has ended, for this reason if there is one.
    Ended(Status, Option<Reason>),
    /// It waits until then, and goes before everything later.
    Waits(Timestamp),
    /// It waits until then, and goes before nothing.
    Rescheduled(Timestamp),
    /// Somebody else has it.
    Lost,
}

/// What came of a person's due entries.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// How each entry came out.
    pub outcomes: Vec<(String, Outcome)>,
    /// Entries that no longer wait, to be forgotten by the conversation.
    pub forget: Vec<Waiting>,
    /// Entries that are to leave the index once the conversation has forgotten them: until then a
    /// sweep finds them, if this one dies.
    pub ended: Vec<EntryKey>,
    /// Until when something that is due still goes before everything later.
    pub blocked_until: Option<Timestamp>,
}

impl Outbox {
    /// Sends what is due for a person, in the order of first due time and decision.
    ///
    /// The caller holds the busy mark. `ids` are the entries to look at; those that are not due, or
    /// wait behind others, stay.
    ///
    /// # Errors
    /// [`OutboxError`]; what was not sent stays due.
    pub async fn deliver_due(
        &self,
        who: &Who,
        conversation: &ConversationItem,
        ids: &[String],
        turn: &Turn,
    ) -> Result<Delivered, OutboxError> {
        let mut delivered = Delivered::default();
        let mut entries = Vec::new();
        let known =
            |id: &str| conversation.waiting.iter().find(|waiting| waiting.id == id).cloned();
        for id in ids {
            let key = EntryKey { who: who.clone(), id: id.clone() };
            match self.store.entry(&key).await? {
                Some(entry) if entry.is_open() => entries.push((key, entry)),
                gone => {
                    delivered.forget.extend(known(id));
                    delivered.ended.extend(gone.and_then(|entry| entry.due_at).map(|_| key));
                }
            }
        }
        entries.sort_by_key(|(_, entry)| (entry.first_due, entry.decided_at));
        for (key, entry) in entries {
            let id = key.id.clone();
            let waiting = entry.waiting();
            let outcome =
                self.attempt(&key, entry, conversation, delivered.blocked_until, turn).await?;
            match &outcome {
                Outcome::Ended(..) => {
                    delivered.forget.extend(known(&id));
                    delivered.ended.push(key);
                }
                Outcome::Waits(due_at) => {
                    delivered.blocked_until = delivered.blocked_until.max(Some(*due_at));
                }
                Outcome::Rescheduled(_) => {
                    self.settle_outcome(who, waiting, &outcome).await?;
                }
                Outcome::Lost => {
                    delivered.blocked_until = delivered.blocked_until.max(Some(self.clock.now()));
                }
            }
            delivered.outcomes.push((id, outcome));
        }
        Ok(delivered)
    }

    /// Takes entries out of the index that have ended and that the conversation has forgotten.
    ///
    /// # Errors
    /// [`OutboxError`]; the next sweep does what is left.
    pub async fn unlist(&self, ended: &[EntryKey]) -> Result<(), OutboxError> {
        for key in ended {
            self.store.unlist_entry(key).await?;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        key: &EntryKey,
        entry: Entry,
        conversation: &ConversationItem,
        blocked_until: Option<Timestamp>,
        turn: &Turn,
    ) -> Result<Outcome, OutboxError> {
        let now = self.clock.now();
        let due_at = match entry.due_at {
            Some(due_at) if !entry.is_leased(now) => due_at,
            _ => return Ok(Outcome::Lost),
        };
        if due_at > now {
            return Ok(Outcome::Waits(due_at));
        }
        let guard = Guard::Free { due_at: Some(due_at), now };
        match blocked_until {
            Some(until) if until > now => {
                return self.put_off(key, guard, until, Reason::EarlierMessagesWait, false).await;
            }
            Some(_) => return Ok(Outcome::Waits(due_at)),
            None => {}
        }
        if entry.unapplied.is_some() {
            let settlement = self.apply(key, &entry, conversation).await?;
            self.store.settle(&key.who, &settlement).await?;
        }
        let Some(index) = entry.next_step() else {
            return self.end(key, guard, &entry, Status::Sent, None).await;
        };
        let step = &entry.steps[index];
        if step.state == StepState::Sending {
            let change = self.put_off_as_unclear(&entry);
            return Ok(match self.store.change_entry(key, guard, change).await? {
                Some(entry) => Outcome::Waits(entry.due_at.unwrap_or(now)),
                None => Outcome::Lost,
            });
        }
        if step.state == StepState::Unconfirmed && step.sends >= 2 {
            let reason = Some(Reason::OutcomeUnknown);
            return self.end(key, guard, &entry, Status::Failed, reason).await;
        }
        let (label, refusal) = match self
            .check(&key.who.page_id, &entry, conversation, turn)
            .await?
        {
            Go::Send(label) => (label, None),
            Go::Fallback(refusal) => (Label::Utility, Some(refusal)),
            Go::End(status, reason) => {
                return self.end(key, guard, &entry, status, Some(reason)).await;
            }
            Go::Wait(until, reason) => return self.put_off(key, guard, until, reason, false).await,
            Go::Reschedule(until, reason) => {
                return self.put_off(key, guard, until, reason, true).await;
            }
        };
        if step.state == StepState::Unconfirmed {
            self.telemetry.count("SentAgain", &key.who.page_id, &[]);
        }
        let claim = Change {
            steps: match refusal {
                None => vec![begin(&entry, index)],
                Some(_) => fall_back(&entry),
            },
            attempts: Some(entry.attempts + 1),
            applied: true,
            fallback_reason: refusal.map(Reason::from),
            ..Change::to(Fate::Held { taken: Some(turn.hold.clone()) })
        };
        let Some(entry) = self.store.change_entry(key, guard, claim).await? else {
            return Ok(Outcome::Lost);
        };
        if let Some(refusal) = refusal {
            let details = [("reason", refusal.name())];
            self.telemetry.count("FallbackUsed", &key.who.page_id, &details);
        }
        self.send_from(key, entry, label, conversation, turn).await
    }

    /// Sends an entry's steps from the first unsent one on, which is marked as being sent.
    pub(super) async fn send_from(
        &self,
        key: &EntryKey,
        mut entry: Entry,
        mut label: Label,
        conversation: &ConversationItem,
        turn: &Turn,
    ) -> Result<Outcome, OutboxError> {
        while let Some(index) = entry.next_step() {
            let say = entry.steps[index].say();
            if let Some(pace) = &turn.pace {
                pace.wait(say.rate_class(), &self.clock).await;
            }
            let step_key = StepKey { entry: key.clone(), step: index };
            let outgoing = Outgoing {
                page_id: &key.who.page_id,
                person: &key.who.person,
                say: &say,
                label,
                metadata: &step_key.to_string(),
            };
            let (state, sent) = if entry.steps[index].is_action() {
                self.act(outgoing).await?
            } else {
                match self.send.send(outgoing).await {
                    Ok(sent) => (StepState::Sent, sent),
                    Err(error) => return self.not_sent(key, &entry, index, error, turn).await,
                }
            };
            if !entry.steps[index].is_action() {
                let details = [("type", label.messaging_type())];
                self.telemetry.count("MessagesSent", &key.who.page_id, &details);
            }
            entry.steps[index].state = state;
            let mut steps = vec![StepChange {
                step: index,
                only_from: None,
                state,
                sends: None,
                mid: sent.mid.clone(),
            }];
            let fate = match entry.next_step() {
                None => self.ended(Status::Sent, None),
                Some(next) => match self.check_after_send(key, &entry, conversation, turn).await {
                    Go::Send(next_label) if sent.regain_after.is_none() => {
                        label = next_label;
                        steps.push(begin(&entry, next));
                        Fate::Held { taken: None }
                    }
                    Go::Send(_) => waits(self.clock.now(), Fault::Throttled, false),
                    // Only an action was sent: the next attempt changes over, in one write.
                    Go::Fallback(refusal) => waits(self.clock.now(), refusal, false),
                    Go::End(status, reason) => self.ended(status, Some(reason)),
                    Go::Wait(due_at, reason) => waits(due_at, reason, false),
                    Go::Reschedule(due_at, reason) => waits(due_at, reason, true),
                },
            };
            let change = Change { steps, applied: true, ..Change::to(fate.clone()) };
            let changed =
                self.store.change_entry(key, Guard::HeldBy(&turn.hold.by), change).await?;
            if let Some(after) = sent.regain_after {
                let full = GraphError { regain_after: Some(after), ..Fault::Throttled.into() };
                self.pause_for(&key.who.page_id, &full).await?;
            }
            match changed {
                Some(changed) => entry = changed,
                None => return self.confirm_late(key, &step_key, &sent).await,
            }
            if let Some(outcome) = self.outcome_of(key, &entry, fate) {
                return Ok(outcome);
            }
        }
        self.end(key, Guard::HeldBy(&turn.hold.by), &entry, Status::Sent, None).await
    }

    /// Shows a sender action to the person: how its step stands then.
    ///
    /// Whatever comes of it, the entry goes on: a message must not be lost because Meta refused the
    /// typing indicator before it. An action has no label, so it goes in the standard window only.
    async fn act(&self, outgoing: Outgoing<'_>) -> Result<(StepState, Sent), OutboxError> {
        let reason = if outgoing.label.is_standard() {
            match self.send.send(outgoing).await {
                Ok(sent) => return Ok((StepState::Sent, sent)),
                Err(error) => {
                    tracing::warn!(%error, "a sender action was passed over");
                    match error {
                        SendError::Graph(error) => {
                            self.pause_for(outgoing.page_id, &error).await?;
                            error.fault.name()
                        }
                        SendError::Secret(_) => "no_secret",
                    }
                }
            }
        } else {
            Refusal::WindowClosed.name()
        };
        self.telemetry.count("ActionsPassedOver", outgoing.page_id, &[("reason", reason)]);
        Ok((StepState::PassedOver, Sent::default()))
    }

    /// Decides about the step after one that was sent: what was sent must be written down, so a
    /// table or a secret that does not answer only puts the next step off.
    async fn check_after_send(
        &self,
        key: &EntryKey,
        entry: &Entry,
        conversation: &ConversationItem,
        turn: &Turn,
    ) -> Go {
        match self.check(&key.who.page_id, entry, conversation, turn).await {
            Ok(go) => go,
            Err(error) => {
                tracing::warn!(entry = key.id, %error, "the next message waits");
                Go::Wait(self.clock.now(), Reason::NotChecked)
            }
        }
    }

    /// What a change made of an entry; nothing if it is still held.
    fn outcome_of(&self, key: &EntryKey, entry: &Entry, fate: Fate) -> Option<Outcome> {
        match fate {
            Fate::Held { .. } => None,
            Fate::Waits { due_at, rescheduled: false, .. } => Some(Outcome::Waits(due_at)),
            Fate::Waits { due_at, .. } => Some(Outcome::Rescheduled(due_at)),
            Fate::Ended { status, reason, .. } => {
                self.count_end(key, entry, status, reason.as_ref());
                Some(Outcome::Ended(status, reason))
            }
        }
    }

    /// Our lease was taken over while we sent; what is known is still written.
    async fn confirm_late(
        &self,
        key: &EntryKey,
        step: &StepKey,
        sent: &Sent,
    ) -> Result<Outcome, OutboxError> {
        tracing::warn!(entry = key.id, "an entry was taken over while it was sent");
        self.confirm(step, sent.mid.as_deref(), None).await?;
        Ok(Outcome::Lost)
    }

    /// Writes down that a step was not, or perhaps not, sent, and what follows from the error.
    async fn not_sent(
        &self,
        key: &EntryKey,
        entry: &Entry,
        index: usize,
        error: SendError,
        turn: &Turn,
    ) -> Result<Outcome, OutboxError> {
        tracing::warn!(entry = key.id, step = index, %error, "a message was not sent");
        let (is_unclear, fate) = self.fate_after(entry, &error);
        let sends = entry.steps[index].sends.saturating_sub(u64::from(!is_unclear));
        // What was unclear before stays so, although this attempt came to nothing.
        let state = if sends > 0 { StepState::Unconfirmed } else { StepState::Planned };
        let step = StepChange {
            step: index,
            only_from: Some(StepState::Sending),
            state,
            sends: Some(sends),
            mid: None,
        };
        let change = Change { steps: vec![step], applied: true, ..Change::to(fate.clone()) };
        let changed = self.store.change_entry(key, Guard::HeldBy(&turn.hold.by), change).await?;
        if let SendError::Graph(graph) = &error {
            self.note(key, graph).await?;
        }
        match changed {
            Some(entry) => Ok(self.outcome_of(key, &entry, fate).unwrap_or(Outcome::Lost)),
            None => self.go_on_after_echo(key, turn).await,
        }
    }

    /// Whether the outcome is unclear, and what becomes of the entry.
    fn fate_after(&self, entry: &Entry, error: &SendError) -> (bool, Fate) {
        let now = self.clock.now();
        let again = |reason| waits(now + backoff(entry.attempts), reason, false);
        let SendError::Graph(error) = error else { return (false, again(Reason::NoSecret)) };
        let reason = Reason::from(error.fault);
        match error.fault {
            Fault::Unclear => (true, waits(now + self.settings.echo_grace, reason, false)),
            Fault::NotConnected | Fault::Temporary => (false, again(reason)),
            Fault::MediaUnavailable if entry.attempts < 2 => (false, again(reason)),
            Fault::Throttled | Fault::PageRestricted | Fault::PolicyBlock | Fault::TokenDead => {
                (false, waits(now, reason, false))
            }
            Fault::OutsideWindow
            | Fault::PermissionMissing
            | Fault::PersonUnreachable
            | Fault::MediaUnavailable
            | Fault::Invalid => (false, self.ended(Status::Failed, Some(error.into()))),
        }
    }

    /// Counts what an error says beyond its message, and pauses the Page if it is about all of them.
    async fn note(&self, key: &EntryKey, error: &GraphError) -> Result<(), OutboxError> {
        let page_id = &key.who.page_id;
        match error.fault {
            Fault::Unclear => self.telemetry.count("Unclear", page_id, &[]),
            Fault::OutsideWindow => self.telemetry.count("WindowRecordWrong", page_id, &[]),
            Fault::PermissionMissing => self.telemetry.count("PermissionMissing", page_id, &[]),
            _ => {}
        }
        self.pause_for(page_id, error).await.map(drop)
    }

    /// While we took a step for unsent, its echo told that it was delivered: the rest goes on in the
    /// next turn.
    async fn go_on_after_echo(&self, key: &EntryKey, turn: &Turn) -> Result<Outcome, OutboxError> {
        let Some(entry) = self.store.entry(key).await? else { return Ok(Outcome::Lost) };
        let guard = Guard::HeldBy(&turn.hold.by);
        if entry.next_step().is_none() {
            return self.end(key, guard, &entry, Status::Sent, None).await;
        }
        let fate = waits(self.clock.now(), Reason::ConfirmedByEcho, false);
        let change = Change { applied: true, ..Change::to(fate.clone()) };
        Ok(match self.store.change_entry(key, guard, change).await? {
            Some(entry) => self.outcome_of(key, &entry, fate).unwrap_or(Outcome::Lost),
            None => Outcome::Lost,
        })
    }

    async fn put_off(
        &self,
        key: &EntryKey,
        guard: Guard<'_>,
        due_at: Timestamp,
        reason: Reason,
        rescheduled: bool,
    ) -> Result<Outcome, OutboxError> {
        let change = Change { applied: true, ..Change::to(waits(due_at, reason, rescheduled)) };
        if self.store.change_entry(key, guard, change).await?.is_none() {
            return Ok(Outcome::Lost);
        }
        Ok(if rescheduled { Outcome::Rescheduled(due_at) } else { Outcome::Waits(due_at) })
    }

    async fn end(
        &self,
        key: &EntryKey,
        guard: Guard<'_>,
        entry: &Entry,
        status: Status,
        reason: Option<Reason>,
    ) -> Result<Outcome, OutboxError> {
        let change = Change { applied: true, ..Change::to(self.ended(status, reason.clone())) };
        if self.store.change_entry(key, guard, change).await?.is_none() {
            return Ok(Outcome::Lost);
        }
        self.count_end(key, entry, status, reason.as_ref());
        Ok(Outcome::Ended(status, reason))
    }
}

/// Marks a step as being sent.
fn begin(entry: &Entry, index: usize) -> StepChange {
    let step = &entry.steps[index];
    StepChange {
        step: index,
        only_from: Some(step.state),
        state: StepState::Sending,
        sends: Some(step.sends + 1),
        mid: None,
    }
}

/// Marks the fallback as being sent, and what it goes instead of as passed over.
fn fall_back(entry: &Entry) -> Vec<StepChange> {
    let pass_over = |(step, _)| StepChange {
        step,
        only_from: Some(StepState::Planned),
        state: StepState::PassedOver,
        sends: None,
        mid: None,
    };
    let steps = entry.steps.iter().enumerate();
    let planned = steps.filter(|(_, step)| step.state == StepState::Planned).map(pass_over);
    planned.chain(entry.fallback().map(|spare| begin(entry, spare))).collect()
}

fn waits(due_at: Timestamp, reason: impl Into<Reason>, rescheduled: bool) -> Fate {
    Fate::Waits { due_at, reason: Some(reason.into()), rescheduled }
}

/// One minute, doubled with each attempt, an hour at most.
fn backoff(attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    Duration::from_secs(60 << doublings).min(LONGEST_BACKOFF)
}
