//! Sending what is due for one person, in order, step by step.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::graph::Fault;
use crate::send::{Outgoing, SendError, Sent};
use crate::store::{
    Change, ConversationItem, Entry, EntryKey, Fate, Guard, Status, StepChange, StepKey, StepState,
    Waiting, Who,
};
use crate::window::Label;

use super::check::Go;
use super::{Outbox, OutboxError, Turn};

/// The longest time between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_hours(1);

/// How an attempt at an entry came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has ended, for this reason if there is one.
    Ended(Status, Option<String>),
    /// It waits until then.
    Waits(Timestamp),
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
                _ => delivered.forget.extend(known(id)),
            }
        }
        entries.sort_by_key(|(_, entry)| (entry.first_due, entry.decided_at));
        for (key, entry) in entries {
            let id = key.id.clone();
            let outcome =
                self.attempt(&key, entry, conversation, delivered.blocked_until, turn).await?;
            match &outcome {
                Outcome::Ended(..) => delivered.forget.extend(known(&id)),
                Outcome::Waits(due_at) => {
                    let blocked =
                        delivered.blocked_until.map_or(*due_at, |until| until.max(*due_at));
                    delivered.blocked_until = Some(blocked);
                }
                Outcome::Lost => {
                    delivered.blocked_until =
                        Some(delivered.blocked_until.unwrap_or(self.clock.now()));
                }
            }
            delivered.outcomes.push((id, outcome));
        }
        Ok(delivered)
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
        if let Some(until) = blocked_until {
            return self.put_off(key, guard, until.max(now), "earlier_messages_wait", false).await;
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
            let reason = "outcome_unknown: sent twice, and never confirmed".to_owned();
            return self.end(key, guard, &entry, Status::Failed, Some(reason)).await;
        }
        let label = match self.check(&key.who.page_id, &entry, conversation, turn).await? {
            Go::Send(label) => label,
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
            steps: vec![StepChange {
                step: index,
                state: StepState::Sending,
                sends: Some(step.sends + 1),
                mid: None,
            }],
            fate: Fate::Held { taken: Some(turn.hold.clone()) },
            attempts: Some(entry.attempts + 1),
            applied: true,
        };
        match self.store.change_entry(key, guard, claim).await? {
            Some(entry) => self.send_from(key, entry, label, conversation, turn).await,
            None => Ok(Outcome::Lost),
        }
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
            if let Some(pace) = &turn.pace {
                pace.wait(&self.clock).await;
            }
            let step_key = StepKey { entry: key.clone(), step: index };
            let outgoing = Outgoing {
                page_id: &key.who.page_id,
                person: &key.who.person,
                label,
                message: &entry.steps[index].message(),
                metadata: &step_key.to_string(),
            };
            let sent = match self.send.send(outgoing).await {
                Ok(sent) => sent,
                Err(error) => return self.not_sent(key, &entry, index, error, turn).await,
            };
            self.telemetry.count(
                "MessagesSent",
                &key.who.page_id,
                &[("type", label.messaging_type())],
            );
            entry.steps[index].state = StepState::Sent;
            let mut steps = vec![StepChange {
                step: index,
                state: StepState::Sent,
                sends: None,
                mid: sent.mid.clone(),
            }];
            if let Some(after) = sent.regain_after {
                let error = crate::graph::GraphError {
                    regain_after: Some(after),
                    ..Fault::Throttled.into()
                };
                self.pause_for(&key.who.page_id, &error).await?;
            }
            let fate = match entry.next_step() {
                None => self.ended(Status::Sent, None),
                Some(next) => match self.check(&key.who.page_id, &entry, conversation, turn).await?
                {
                    Go::Send(next_label) => {
                        label = next_label;
                        let sends = entry.steps[next].sends + 1;
                        steps.push(StepChange {
                            step: next,
                            state: StepState::Sending,
                            sends: Some(sends),
                            mid: None,
                        });
                        Fate::Held { taken: None }
                    }
                    Go::End(status, reason) => self.ended(status, Some(reason)),
                    Go::Wait(due_at, reason) => waits(due_at, reason, false),
                    Go::Reschedule(due_at, reason) => waits(due_at, reason, true),
                },
            };
            let change = Change { steps, fate: fate.clone(), attempts: None, applied: true };
            match self.store.change_entry(key, Guard::HeldBy(&turn.hold.by), change).await? {
                Some(changed) => entry = changed,
                None => return self.confirm_late(key, &step_key, &sent).await,
            }
            match fate {
                Fate::Held { .. } => {}
                Fate::Waits { due_at, .. } => return Ok(Outcome::Waits(due_at)),
                Fate::Ended { status, reason, .. } => {
                    self.count_end(key, &entry, status, reason.as_deref());
                    return Ok(Outcome::Ended(status, reason));
                }
            }
        }
        self.end(key, Guard::HeldBy(&turn.hold.by), &entry, Status::Sent, None).await
    }

    /// Our lease was taken over while we sent; what is known is still written.
    async fn confirm_late(
        &self,
        key: &EntryKey,
        step: &StepKey,
        sent: &Sent,
    ) -> Result<Outcome, OutboxError> {
        tracing::warn!(entry = key.id, "an entry was taken over while it was sent");
        self.confirm(step, sent.mid.as_deref()).await?;
        Ok(Outcome::Lost)
    }

    async fn not_sent(
        &self,
        key: &EntryKey,
        entry: &Entry,
        index: usize,
        error: SendError,
        turn: &Turn,
    ) -> Result<Outcome, OutboxError> {
        let now = self.clock.now();
        let backoff = now + backoff(entry.attempts);
        let last = index + 1 == entry.steps.len();
        tracing::warn!(entry = key.id, step = index, last, %error, "a message was not sent");
        let (state, fate) = match &error {
            SendError::Secret(_) => (StepState::Planned, waits(backoff, "no_secret", false)),
            SendError::Graph(graph) => match graph.fault {
                Fault::NotConnected | Fault::Temporary => {
                    (StepState::Planned, waits(backoff, graph.fault.name(), false))
                }
                Fault::Unclear => {
                    self.telemetry.count("Unclear", &key.who.page_id, &[]);
                    let due_at = now + self.settings.echo_grace;
                    (StepState::Unconfirmed, waits(due_at, graph.fault.name(), false))
                }
                Fault::Throttled
                | Fault::PageRestricted
                | Fault::PolicyBlock
                | Fault::TokenDead => {
                    self.pause_for(&key.who.page_id, graph).await?;
                    (StepState::Planned, waits(now, graph.fault.name(), false))
                }
                Fault::MediaUnavailable if entry.attempts < 2 => {
                    (StepState::Planned, waits(backoff, graph.fault.name(), false))
                }
                Fault::OutsideWindow => {
                    self.telemetry.count("WindowRecordWrong", &key.who.page_id, &[]);
                    (StepState::Planned, self.ended(Status::Failed, Some(graph.to_string())))
                }
                Fault::PermissionMissing
                | Fault::PersonUnreachable
                | Fault::MediaUnavailable
                | Fault::Invalid => {
                    (StepState::Planned, self.ended(Status::Failed, Some(graph.to_string())))
                }
            },
        };
        let sends = match state {
            StepState::Planned => Some(entry.steps[index].sends.saturating_sub(1)),
            _ => None,
        };
        let state = if state == StepState::Planned && sends > Some(0) {
            StepState::Unconfirmed
        } else {
            state
        };
        let change = Change {
            steps: vec![StepChange { step: index, state, sends, mid: None }],
            fate: fate.clone(),
            attempts: None,
            applied: true,
        };
        if self.store.change_entry(key, Guard::HeldBy(&turn.hold.by), change).await?.is_none() {
            return Ok(Outcome::Lost);
        }
        Ok(match fate {
            Fate::Ended { status, reason, .. } => {
                self.count_end(key, entry, status, reason.as_deref());
                Outcome::Ended(status, reason)
            }
            Fate::Waits { due_at, .. } => Outcome::Waits(due_at),
            Fate::Held { .. } => Outcome::Lost,
        })
    }

    async fn put_off(
        &self,
        key: &EntryKey,
        guard: Guard<'_>,
        due_at: Timestamp,
        reason: &'static str,
        rescheduled: bool,
    ) -> Result<Outcome, OutboxError> {
        let change = Change { applied: true, ..Change::to(waits(due_at, reason, rescheduled)) };
        let Some(entry) = self.store.change_entry(key, guard, change).await? else {
            return Ok(Outcome::Lost);
        };
        if rescheduled {
            self.settle_waiting(&key.who, entry.waiting()).await?;
        }
        Ok(Outcome::Waits(due_at))
    }

    async fn end(
        &self,
        key: &EntryKey,
        guard: Guard<'_>,
        entry: &Entry,
        status: Status,
        reason: Option<String>,
    ) -> Result<Outcome, OutboxError> {
        let change = Change { applied: true, ..Change::to(self.ended(status, reason.clone())) };
        if self.store.change_entry(key, guard, change).await?.is_none() {
            return Ok(Outcome::Lost);
        }
        self.count_end(key, entry, status, reason.as_deref());
        Ok(Outcome::Ended(status, reason))
    }
}

fn waits(due_at: Timestamp, reason: &str, rescheduled: bool) -> Fate {
    Fate::Waits { due_at, reason: Some(reason.to_owned()), rescheduled }
}

/// One minute, doubled with each attempt, an hour at most.
fn backoff(attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    Duration::from_secs(60 << doublings).min(LONGEST_BACKOFF)
}
