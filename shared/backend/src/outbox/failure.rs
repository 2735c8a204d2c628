//! A send that failed: what is written down about its entry, its person, its thread and its Page.

use crate::graph::{Fault, GraphError, Scope};
use crate::send::SendError;
use crate::store::{
    Change, ClosedWindow, ConversationItem, ConversationUpdate, NextState, PendingEntry, Reason,
    Status, StepChange, StepState,
};
use crate::telemetry::Metric;
use crate::thread::CONTROL_LASTS;
use messenger::clock::Timestamp;
use messenger::event::TimeSource;
use messenger::window::{Label, Purpose, Tag};

use super::after_error::{Counts, Failure, Tries, after_error, counts};
use super::attempt::Attempt;
use super::next::Halt;
use super::{Outbox, OutboxError, Outcome};

impl Outbox {
    /// Writes down that a step was not, or perhaps not, sent, and what follows from the error.
    pub(super) async fn not_sent(
        &self,
        attempt: &mut Attempt<'_>,
        index: usize,
        label: Label,
        error: SendError,
        began: Timestamp,
    ) -> Result<Outcome, OutboxError> {
        tracing::warn!(entry = attempt.key.id, step = index, %error, "a message was not sent");
        let (now, grace) = (self.clock.now(), self.settings.echo_grace);
        let refusals = self.count_refusal(attempt, &error).await?;
        let tries = self.tries(attempt, index, &error, refusals, now).await;
        let Failure { is_unclear, halt } = after_error(&error, &tries, now, grace);
        let next_state = self.next_state(with_time_source(halt, attempt.conversation));
        let sends = attempt.entry.steps[index].sends.saturating_sub(u64::from(!is_unclear));
        // What was unclear before stays so, although this attempt came to nothing.
        let state = if sends > 0 { StepState::Unconfirmed } else { StepState::Planned };
        let step = StepChange {
            step: index,
            only_from: Some(StepState::Sending),
            state,
            sends: Some(sends),
            mid: None,
            attachment_id: None,
        };
        self.list_unsent(attempt, &next_state).await?;
        let to = Change::to(next_state.clone());
        let change = Change { steps: vec![step], refusals, applied: true, ..to };
        let changed = self.store.change_entry(attempt.key, attempt.ours(), change).await?;
        if let SendError::Graph(graph) = &error {
            self.note(attempt, label, graph, began).await?;
        }
        if let Some(entry) = changed {
            attempt.entry = entry;
            return Ok(self.outcome_of(attempt, next_state).unwrap_or(Outcome::Lost));
        }
        let outcome = self.go_on_after_echo(attempt).await?;
        if matches!(outcome, Outcome::Ended(..)) {
            let forget = vec![attempt.entry.waiting()];
            let update = ConversationUpdate { forget, ..ConversationUpdate::default() };
            self.store.settle(&attempt.key.conversation_key, &update).await?;
        }
        Ok(outcome)
    }

    /// How many refusals of an entry count with this error, and when the last one came; nothing if
    /// that does not change.
    async fn count_refusal(
        &self,
        attempt: &Attempt<'_>,
        error: &SendError,
    ) -> Result<Option<(u64, Timestamp)>, OutboxError> {
        let (entry, now) = (&attempt.entry, self.clock.now());
        let next = Some((entry.refusals.unwrap_or_default() + 1, now));
        let SendError::Graph(error) = error else { return Ok(None) };
        Ok(match counts(error, entry.purpose, attempt.conversation.platform) {
            Counts::Never => None,
            Counts::Always => next,
            Counts::IfOthersAreTaken => {
                let taken_at = self.pauses.heard_refusal(attempt.page_id()).await?;
                let is_first = entry.refused_at.is_none();
                if is_first || taken_at > entry.refused_at { next } else { None }
            }
        })
    }

    async fn tries(
        &self,
        attempt: &Attempt<'_>,
        index: usize,
        error: &SendError,
        refusals: Option<(u64, Timestamp)>,
        now: Timestamp,
    ) -> Tries {
        let entry = &attempt.entry;
        let platform = attempt.conversation.platform;
        // As it is before this step was begun.
        let mut before = entry.clone();
        before.steps[index].state = StepState::Planned;
        before.steps[index].sends = before.steps[index].sends.saturating_sub(1);
        Tries {
            purpose: entry.purpose,
            platform,
            attempts: entry.attempts,
            refusals: refusals.map_or(entry.refusals, |(count, _)| Some(count)).unwrap_or_default(),
            has_fallback: before.fallback().is_some(),
            is_well: self.pauses.is_well(attempt.page_id(), now).await,
            regain_after: match error {
                SendError::Graph(error) => error.usage.regain_after(attempt.page_id(), platform),
                SendError::Secret(_) => None,
            },
        }
    }

    /// Lets the conversation know of an entry that was sent from the start and is to wait now.
    ///
    /// First this and then the entry: an echo that ends the entry meanwhile takes it off the list.
    pub(super) async fn list_unsent(
        &self,
        attempt: &Attempt<'_>,
        next_state: &NextState,
    ) -> Result<(), OutboxError> {
        let waiting = attempt.entry.waiting();
        let NextState::Waits { due_at, rescheduled, .. } = next_state else { return Ok(()) };
        if attempt.conversation.waiting.iter().any(|listed| listed.id == waiting.id) {
            return Ok(());
        }
        let first_due = if *rescheduled { *due_at } else { waiting.first_due };
        let waiting = PendingEntry { first_due, ..waiting };
        let changes = ConversationUpdate { add: vec![waiting], ..ConversationUpdate::default() };
        Ok(self.store.settle(&attempt.key.conversation_key, &changes).await?)
    }

    /// Notes what an error says beyond its message: about the person's window, the thread, a permission,
    /// and pauses the Page if it is about all of its messages.
    async fn note(
        &self,
        attempt: &Attempt<'_>,
        label: Label,
        error: &GraphError,
        began: Timestamp,
    ) -> Result<(), OutboxError> {
        let page_id = attempt.page_id();
        let count = |metric| self.telemetry.count(metric, page_id, &[]);
        match error.fault {
            Fault::Unclear => {
                count(Metric::Unclear);
                self.pauses.heard_unclearly(page_id).await?;
            }
            Fault::NotConnected => {}
            _ => self.pauses.heard_clearly(page_id, began).await?,
        }
        match error.fault {
            Fault::OutsideWindow => {
                let standing = attempt.conversation.standing();
                let is_of_ad = label.is_standard() && standing.is_by_ad(began);
                count(if is_of_ad { Metric::AdWindowClosed } else { Metric::WindowRecordWrong });
                self.close_window(attempt, label, began).await?;
            }
            Fault::PermissionMissing => {
                count(Metric::PermissionMissing);
                self.note_lacking(page_id).await?;
            }
            Fault::AbuseWarning => count(Metric::AbuseWarning),
            Fault::ThreadTaken => {
                count(Metric::ThreadTaken);
                let (key, until) = (&attempt.key.conversation_key, began + CONTROL_LASTS);
                self.store.lose_thread(key, None, until, attempt.cause(began)).await?;
            }
            // Private replies have a limit of their own.
            Fault::Throttled if attempt.entry.purpose == Purpose::PrivateReply => return Ok(()),
            _ => {}
        }
        if error.fault.needs_people() && error.fault.scope() != Scope::Page {
            self.telemetry.call_for_attention(page_id, error.fault.name());
        }
        let regain_after = error.usage.regain_after(page_id, attempt.conversation.platform);
        self.pauses.pause_for(page_id, error, regain_after).await
    }

    /// Closes the window in the record that Meta holds closed, so that what comes next agrees.
    async fn close_window(
        &self,
        attempt: &Attempt<'_>,
        label: Label,
        began: Timestamp,
    ) -> Result<(), OutboxError> {
        let window = match label {
            // That of a private reply is the comment's.
            _ if attempt.entry.purpose == Purpose::PrivateReply => return Ok(()),
            Label::Response | Label::Update => ClosedWindow::Standard,
            Label::Tagged(Tag::HumanAgent) => ClosedWindow::HumanAgent,
            Label::Tagged(_) | Label::Utility => return Ok(()),
        };
        let key = &attempt.key.conversation_key;
        Ok(self.store.close_window(key, attempt.conversation, window, began).await?)
    }

    /// While we took a step for unsent, its echo confirmed that it was delivered: the rest goes on in
    /// the next turn.
    async fn go_on_after_echo(&self, attempt: &mut Attempt<'_>) -> Result<Outcome, OutboxError> {
        let Some(entry) = self.store.entry(attempt.key).await? else { return Ok(Outcome::Lost) };
        attempt.entry = entry;
        let halt = match attempt.entry.next_step() {
            None => Halt::End(Status::Sent, None),
            Some(_) => Halt::Wait(self.clock.now(), Reason::ConfirmedByEcho),
        };
        self.halt(attempt, attempt.ours(), halt).await
    }
}

/// Adds to Meta's refusal of an open window which time of the person's last message was counted with, if
/// Meta gave it none of its own that can be true.
fn with_time_source(halt: Halt, conversation: &ConversationItem) -> Halt {
    let stands_in = match conversation.last_message_source {
        TimeSource::Event => return halt,
        TimeSource::Entry => "the time of its entry",
        TimeSource::Receipt => "that of its receipt",
    };
    match halt {
        Halt::End(status, Some(Reason::Graph(Fault::OutsideWindow, detail))) => {
            let detail = detail.unwrap_or_default();
            let detail = format!(
                "{detail}; Meta gave the last message no usable time, {stands_in} was taken"
            );
            Halt::End(status, Some(Reason::Graph(Fault::OutsideWindow, Some(detail))))
        }
        halt => halt,
    }
}
