//! One attempt at one entry: claimed, sent step by step, and written down after each.

use std::time::Duration;

use crate::graph::Fault;
use crate::send::{SendCall, SendError, Sent};
use crate::store::{
    Cause, Change, ConversationItem, ConversationKey, Entry, EntryKey, Guard, NextState, Reason,
    Status, Step, StepChange, StepKey, StepState,
};
use crate::telemetry::Metric;
use crate::thread::CONTROL_LASTS;
use messenger::clock::Timestamp;
use messenger::person::Person;
use messenger::window::{Label, Purpose, Refusal};

use super::next::{Halt, Next, Position, may_try_early, next, position};
use super::plan::unclear;
use super::{Outbox, OutboxError, SendContext};

/// How long an unclear step waits for Graph to answer clearly before the next look.
const RETRY_UNCLEAR: Duration = Duration::from_mins(1);

/// How an attempt at an entry came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has ended, for this reason if there is one.
    Ended(Status, Option<Reason>),
    /// It waits until then, and goes before everything later.
    Waits(Timestamp),
    /// It waits until then, and goes before nothing.
    Rescheduled(Timestamp),
    /// It is a timer that was fired, and keeps its place until the bot has been asked about it.
    Fired,
    /// Somebody else has it.
    Lost,
}

/// An entry in its sender's hands, with what sending depends on.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    /// Where the entry is.
    pub(super) key: &'a EntryKey,
    /// The entry as it was last read or written.
    pub(super) entry: Entry,
    /// The conversation as it was when its lease was taken.
    pub(super) conversation: &'a ConversationItem,
    /// The sender's run.
    pub(super) context: &'a SendContext,
    /// Whether Meta says that no other app controls the thread, whatever the conversation knows.
    pub(super) thread_is_back: bool,
}

impl Attempt<'_> {
    pub(super) fn page_id(&self) -> &str {
        &self.key.conversation_key.page_id
    }

    /// What is done for the entry at this instant.
    pub(super) fn cause(&self, at: Timestamp) -> Cause {
        Cause::Own { at, erased_at: self.entry.after_erasure }
    }

    /// What holds while the entry is ours.
    pub(super) fn ours(&self) -> Guard<'_> {
        Guard::HeldBy(&self.context.by)
    }
}

impl Outbox {
    /// Tries an entry that may be due. `blocked_until` is until when something older goes first.
    pub(super) async fn attempt(
        &self,
        attempt: &mut Attempt<'_>,
        blocked_until: Option<Timestamp>,
    ) -> Result<Outcome, OutboxError> {
        let now = self.clock.now();
        if attempt.entry.is_leased(now) {
            return Ok(Outcome::Lost);
        }
        let due_at = attempt.entry.due_at;
        let guard = Guard::Free { due_at, now };
        // Its sender died: while sending, or after a step that an echo has confirmed since.
        let Some(due_at) = due_at.filter(|_| position(&attempt.entry) != Position::Abandoned)
        else {
            return self.find_unclear(attempt, guard).await;
        };
        if due_at > now && !may_try_early(&attempt.entry, now) {
            // The entry says whether it keeps its place: who rescheduled it may have died before the
            // conversation knew.
            return Ok(if attempt.entry.waiting().goes_first(now) {
                Outcome::Waits(due_at)
            } else {
                Outcome::Rescheduled(attempt.entry.first_due)
            });
        }
        if let Some(timer) = &attempt.entry.timer {
            return Box::pin(self.fire(attempt, guard, timer)).await;
        }
        self.apply_rest(attempt).await?;
        match blocked_until {
            Some(until) if until > now => {
                let halt = Halt::Wait(until, Reason::EarlierMessagesWait);
                return self.halt(attempt, guard, halt).await;
            }
            Some(_) => return Ok(Outcome::Waits(due_at)),
            None => {}
        }
        let index = match position(&attempt.entry) {
            Position::At(index) => index,
            Position::Unknown => {
                let halt = Halt::End(Status::Failed, Some(Reason::OutcomeUnknown));
                return self.halt(attempt, guard, halt).await;
            }
            Position::Done | Position::Abandoned => {
                return self.halt(attempt, guard, Halt::End(Status::Sent, None)).await;
            }
        };
        let at = self.slot(attempt, index).await;
        let mut next = self.next(attempt, at).await?;
        if next.is_of_thread() && self.thread_is_back(attempt).await? {
            attempt.thread_is_back = true;
            next = self.next(attempt, at).await?;
        }
        if let (Next::Send(_), Err(later)) = (&next, self.may_reply_in_private(attempt).await) {
            return self.halt(attempt, guard, Halt::Wait(later, Fault::Throttled.into())).await;
        }
        let (label, refusal) = match next {
            Next::Send(label) => (label, None),
            Next::Fallback(refusal) => (Label::Utility, Some(refusal)),
            Next::Halt(halt) => return self.halt(attempt, guard, halt).await,
        };
        if attempt.entry.steps[index].state == StepState::Unconfirmed {
            if !self.may_resend(attempt).await? {
                let halt = Halt::Wait(now + RETRY_UNCLEAR, Reason::AwaitsGraph);
                return self.halt(attempt, guard, halt).await;
            }
            self.telemetry.count(Metric::SentAgain, attempt.page_id(), &[]);
        }
        if attempt.entry.purpose == Purpose::Human && attempt.entry.attempts == 0 {
            // Before it is sent: who reads it answers a person.
            let (key, until) = (&attempt.key.conversation_key, now + self.settings.quiet_for);
            if !self.store.silence(key, until, attempt.cause(now)).await? {
                return self.halt(attempt, guard, Halt::ERASED).await;
            }
        }
        let claim = Change {
            steps: match refusal {
                None => vec![begin(&attempt.entry, index)],
                Some(_) => fall_back(&attempt.entry),
            },
            attempts: Some(attempt.entry.attempts + 1),
            applied: true,
            fallback_reason: refusal.map(Reason::from),
            ..Change::to(NextState::Held(attempt.context.lease(at)))
        };
        let Some(entry) = self.store.change_entry(attempt.key, guard, claim).await? else {
            return Ok(Outcome::Lost);
        };
        attempt.entry = entry;
        if let Some(refusal) = refusal {
            let details = [("reason", refusal.name())];
            self.telemetry.count(Metric::FallbackUsed, attempt.page_id(), &details);
        }
        self.send_from(attempt, label, at).await
    }

    /// Takes note that an entry's sender died, so that it waits for its next turn.
    async fn find_unclear(
        &self,
        attempt: &mut Attempt<'_>,
        guard: Guard<'_>,
    ) -> Result<Outcome, OutboxError> {
        self.apply_rest(attempt).await?;
        let now = self.clock.now();
        let change = unclear(&attempt.entry, now, self.settings.echo_grace);
        Ok(match self.store.change_entry(attempt.key, guard, change).await? {
            Some(entry) => {
                let due_at = entry.due_at.unwrap_or(now);
                // A reply that was sent at once is not among those that wait.
                self.list(&attempt.key.conversation_key, vec![entry.waiting()]).await?;
                attempt.entry = entry;
                Outcome::Waits(due_at)
            }
            None => Outcome::Lost,
        })
    }

    /// Applies what an entry still holds of its decision.
    async fn apply_rest(&self, attempt: &Attempt<'_>) -> Result<(), OutboxError> {
        if attempt.entry.unapplied.is_none() {
            return Ok(());
        }
        let changes = self.apply(attempt.key, &attempt.entry, attempt.conversation).await?;
        self.store.settle(&attempt.key.conversation_key, &changes).await?;
        self.forget_ended(&attempt.key.conversation_key, &changes.add).await
    }

    /// When a step may leave by the run's pace.
    async fn slot(&self, attempt: &Attempt<'_>, index: usize) -> Timestamp {
        let now = self.clock.now();
        match &attempt.context.pace {
            Some(pace) => pace.reserve(attempt.entry.steps[index].say().rate_class(), now).await,
            None => now,
        }
    }

    /// Whether a private reply may leave by the run's pace; other messages may.
    async fn may_reply_in_private(&self, attempt: &Attempt<'_>) -> Result<(), Timestamp> {
        match &attempt.context.pace {
            Some(pace) if attempt.entry.purpose == Purpose::PrivateReply => {
                pace.may_reply_in_private(self.clock.now()).await
            }
            _ => Ok(()),
        }
    }

    /// Decides about the next step of an entry, which would be sent at `now`.
    pub(super) async fn next(
        &self,
        attempt: &Attempt<'_>,
        now: Timestamp,
    ) -> Result<Next, OutboxError> {
        let conversation = attempt.conversation;
        let thread = conversation.thread_taken_until(now).filter(|_| !attempt.thread_is_back);
        let next = next(&attempt.entry, conversation, thread, now, &self.settings.policy);
        if matches!(next, Next::Halt(_)) {
            return Ok(next);
        }
        let is_paused = self.pauses.until(attempt.page_id()).await?.is_some();
        Ok(next.unless(is_paused, attempt.context.has_time(now), now))
    }

    /// Sends an entry's steps from the first unsent one on, which is marked as being sent, at `at`.
    pub(super) async fn send_from(
        &self,
        attempt: &mut Attempt<'_>,
        mut label: Label,
        mut at: Timestamp,
    ) -> Result<Outcome, OutboxError> {
        while let Some(index) = attempt.entry.next_step() {
            let say = attempt.entry.steps[index].say();
            let now = self.clock.now();
            if at > now {
                self.clock.sleep(at.since(now)).await;
                // Erased meanwhile.
                if matches!(self.store.entry(attempt.key).await, Ok(None)) {
                    return Ok(Outcome::Lost);
                }
            }
            let began = self.clock.now();
            let step_key = StepKey { entry: attempt.key.clone(), step: index };
            let outgoing = SendCall {
                page_id: attempt.page_id(),
                platform: attempt.conversation.platform,
                person: &attempt.key.conversation_key.person,
                say: &say,
                label,
                step: &step_key,
            };
            if !say.unknown().is_empty() {
                self.telemetry.count(Metric::UnknownContents, attempt.page_id(), &[]);
            }
            let (state, sent) = if attempt.entry.steps[index].is_action() {
                self.act(outgoing).await?
            } else {
                match self.send.send(outgoing).await {
                    Ok(sent) => (StepState::Sent, sent),
                    Err(error) => {
                        return Box::pin(self.not_sent(attempt, index, label, error, began)).await;
                    }
                }
            };
            if !attempt.entry.steps[index].is_action() {
                self.count_sent(attempt, index, label);
            }
            if let Some(owner) = say.passes_thread() {
                let (key, until) = (&attempt.key.conversation_key, began + CONTROL_LASTS);
                self.store.lose_thread(key, owner, until, attempt.cause(began)).await?;
            }
            attempt.entry.steps[index].state = state;
            let mut steps = vec![StepChange {
                step: index,
                only_from: None,
                state,
                sends: None,
                mid: sent.mid.clone(),
                attachment_id: sent.attachment_id.clone(),
            }];
            let next_state = match attempt.entry.next_step() {
                None => self.next_state(Halt::End(Status::Sent, None)),
                Some(following) => match self.next_after_send(attempt, following, &mut at).await {
                    Next::Send(next_label) if sent.regain_after.is_none() => {
                        label = next_label;
                        steps.push(begin(&attempt.entry, following));
                        NextState::Held(attempt.context.lease(at))
                    }
                    Next::Send(_) => self.waits(Fault::Throttled),
                    // Only an action was sent: the next attempt changes over, in one write.
                    Next::Fallback(refusal) => self.waits(refusal),
                    Next::Halt(halt) => self.next_state(halt),
                },
            };
            self.list_unsent(attempt, &next_state).await?;
            let change = Change { steps, applied: true, ..Change::to(next_state.clone()) };
            let changed = self.store.change_entry(attempt.key, attempt.ours(), change).await?;
            self.pauses.heard_clearly(attempt.page_id(), began).await?;
            self.pauses.heard_well(attempt.page_id(), began).await?;
            if sent.regain_after.is_some() && attempt.entry.purpose != Purpose::PrivateReply {
                let full = Fault::Throttled.into();
                self.pauses.pause_for(attempt.page_id(), &full, sent.regain_after).await?;
            }
            self.note_recipient(attempt, &sent).await;
            match changed {
                Some(changed) => attempt.entry = changed,
                None => return self.confirm_late(&step_key, &sent).await,
            }
            if let Some(outcome) = self.outcome_of(attempt, next_state) {
                return Ok(outcome);
            }
        }
        self.halt(attempt, attempt.ours(), Halt::End(Status::Sent, None)).await
    }

    /// Notes the PSID that Meta names as the recipient of what went to a comment, a post or a token, so
    /// that an echo without metadata is known as its own.
    ///
    /// What cannot be noted is left to the echo: the message was sent all the same.
    async fn note_recipient(&self, attempt: &Attempt<'_>, sent: &Sent) {
        let Some(psid) = &sent.recipient_id else { return };
        let (page_id, person) = (attempt.page_id().to_owned(), Person::Psid(psid.clone()));
        let named = ConversationKey { page_id, person };
        if let Err(error) = self.name_person(&attempt.entry, attempt.key, &named).await {
            tracing::warn!(page = attempt.page_id(), %error, "who was written to is not noted");
        }
    }

    /// Counts a message that Graph took; the first of a reply also tells how long the person waited.
    fn count_sent(&self, attempt: &Attempt<'_>, index: usize, label: Label) {
        let mut values = vec![(Metric::MessagesSent, 1)];
        let is_first = attempt.entry.steps[..index].iter().all(Step::is_action);
        if let Some(caused_at) = attempt.entry.caused_at.filter(|_| is_first) {
            let waited = self.clock.now().since(caused_at).as_millis();
            values.push((Metric::ReplyTime, u64::try_from(waited).unwrap_or(u64::MAX)));
        }
        self.telemetry.record(&values, attempt.page_id(), &[("type", label.messaging_type())]);
    }

    /// Shows a sender action to the person: how its step stands then.
    ///
    /// Whatever comes of it, the entry goes on: a message must not be lost because Meta refused the
    /// typing indicator before it. An action has no label, so it goes in the standard window only.
    pub(super) async fn act(
        &self,
        outgoing: SendCall<'_>,
    ) -> Result<(StepState, Sent), OutboxError> {
        let reason = if outgoing.label.is_standard() {
            match self.send.send(outgoing).await {
                Ok(sent) => return Ok((StepState::Sent, sent)),
                Err(error) => {
                    tracing::warn!(%error, "a sender action was passed over");
                    match error {
                        SendError::Graph(error) => {
                            let page_id = outgoing.page_id;
                            let after = error.usage.regain_after(page_id, outgoing.platform);
                            self.pauses.pause_for(page_id, &error, after).await?;
                            error.fault.into()
                        }
                        SendError::Secret(_) => Reason::NoSecret,
                    }
                }
            }
        } else {
            Refusal::WindowClosed.into()
        };
        let details = [("reason", reason.code())];
        self.telemetry.count(Metric::ActionsPassedOver, outgoing.page_id, &details);
        Ok((StepState::PassedOver, Sent::default()))
    }

    /// Decides about the step after one that was sent: what was sent must be written down, so a
    /// table or a secret that does not answer only delays the next step.
    async fn next_after_send(
        &self,
        attempt: &Attempt<'_>,
        following: usize,
        at: &mut Timestamp,
    ) -> Next {
        *at = self.slot(attempt, following).await;
        match self.next_unless_erased(attempt, *at).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(entry = attempt.key.id, %error, "the next message waits");
                Next::Halt(Halt::Wait(self.clock.now(), Reason::NotChecked))
            }
        }
    }

    /// Decides about a further step: the person may have been erased since their conversation was read.
    async fn next_unless_erased(
        &self,
        attempt: &Attempt<'_>,
        at: Timestamp,
    ) -> Result<Next, OutboxError> {
        let there = self.store.conversation(&attempt.key.conversation_key).await?;
        if there.is_some_and(|there| there.erased_at > attempt.entry.after_erasure) {
            return Ok(Next::Halt(Halt::ERASED));
        }
        self.next(attempt, at).await
    }

    /// What a change made of an entry; nothing if it is still held.
    pub(super) fn outcome_of(
        &self,
        attempt: &Attempt<'_>,
        next_state: NextState,
    ) -> Option<Outcome> {
        match next_state {
            NextState::Held(_) => None,
            NextState::Waits { due_at, rescheduled: false, .. } => Some(Outcome::Waits(due_at)),
            NextState::Waits { due_at, .. } => Some(Outcome::Rescheduled(due_at)),
            NextState::Ended { status, reason, .. } if attempt.entry.timer.is_some() => {
                Some(Outcome::Ended(status, reason))
            }
            NextState::Ended { status, reason, .. } => {
                self.count_end(attempt.key, attempt.entry.purpose, status, reason.as_ref());
                Some(Outcome::Ended(status, reason))
            }
        }
    }

    /// Our lease was taken over while we sent; what is known is still written.
    async fn confirm_late(&self, step: &StepKey, sent: &Sent) -> Result<Outcome, OutboxError> {
        tracing::warn!(entry = step.entry.id, "an entry was taken over while it was sent");
        self.confirm(step, sent.mid.as_deref(), None).await?;
        Ok(Outcome::Lost)
    }

    /// Writes down why nothing of an entry is sent now.
    pub(super) async fn halt(
        &self,
        attempt: &Attempt<'_>,
        guard: Guard<'_>,
        halt: Halt,
    ) -> Result<Outcome, OutboxError> {
        let next_state = self.next_state(halt);
        let change = Change { applied: true, ..Change::to(next_state.clone()) };
        if self.store.change_entry(attempt.key, guard, change).await?.is_none() {
            return Ok(Outcome::Lost);
        }
        Ok(self.outcome_of(attempt, next_state).unwrap_or(Outcome::Lost))
    }

    fn waits(&self, reason: impl Into<Reason>) -> NextState {
        self.next_state(Halt::Wait(self.clock.now(), reason.into()))
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
        attachment_id: None,
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
        attachment_id: None,
    };
    let steps = entry.steps.iter().enumerate();
    let planned = steps.filter(|(_, step)| step.state == StepState::Planned).map(pass_over);
    planned.chain(entry.fallback().map(|fallback| begin(entry, fallback))).collect()
}
