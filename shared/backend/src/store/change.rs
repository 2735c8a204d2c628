//! Changes of an entry, as one conditional update each.

use super::update::IntoValue;
use super::{Entry, ExpiresAt, Lease, Reason, Status, StepState, Update};
use messenger::clock::Timestamp;
use messenger::window::Purpose;

/// What must hold for a change to be made.
#[derive(Clone, Copy, Debug)]
pub enum Guard<'a> {
    /// Nobody has the entry, and it is as it was when it was read.
    Free {
        /// Its due time when it was read.
        due_at: Option<Timestamp>,
        /// The present instant.
        now: Timestamp,
    },
    /// This holder has it.
    HeldBy(&'a str),
}

/// What becomes of an entry.
#[derive(Clone, Debug)]
pub enum NextState {
    /// Somebody has it, for one step.
    Held(Lease),
    /// It waits.
    Waits {
        /// Until when.
        due_at: Timestamp,
        /// Why.
        reason: Option<Reason>,
        /// Whether this is a new first due time, so that it no longer goes before younger entries.
        rescheduled: bool,
    },
    /// It has ended; [`super::Store::unlist_entry`] takes it out of the index once its conversation has
    /// forgotten it.
    Ended {
        /// How.
        status: Status,
        /// Why.
        reason: Option<Reason>,
        /// When.
        at: Timestamp,
        /// When the table drops it.
        expires_at: ExpiresAt,
    },
}

/// A change of one step.
#[derive(Clone, Debug)]
pub struct StepChange {
    /// The step's place.
    pub step: usize,
    /// How it must have stood, or nothing of the change is made.
    pub only_from: Option<StepState>,
    /// How it stands now.
    pub state: StepState,
    /// How often it was given to Meta, if that changes.
    pub sends: Option<u64>,
    /// Its message's id, if that is known now.
    pub mid: Option<String>,
    /// The id of its media, if Meta saved them now.
    pub attachment_id: Option<String>,
}

/// A change of an entry, made in one write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The steps that change.
    pub steps: Vec<StepChange>,
    /// What becomes of the entry.
    pub next_state: NextState,
    /// The number of attempts, if it changes.
    pub attempts: Option<u64>,
    /// How often Meta has answered it with an error that is not tried again for ever, and when last,
    /// if that changes.
    pub refusals: Option<(u64, Timestamp)>,
    /// Whether what its decision had to change is changed.
    pub applied: bool,
    /// Why the fallback goes instead of the rest from now on, if that is decided.
    pub fallback_reason: Option<Reason>,
}

impl Change {
    /// A change of the entry's fate alone.
    pub fn to(next_state: NextState) -> Self {
        Self {
            steps: Vec::new(),
            next_state,
            attempts: None,
            refusals: None,
            applied: false,
            fallback_reason: None,
        }
    }

    /// The change as an update of the entry's item.
    pub(super) fn update(&self, guard: Guard<'_>) -> Update {
        let mut update =
            Update::default().when("#status = :open").value("open", Status::Open.name());
        update = match guard {
            Guard::HeldBy(holder) => update.when("#lease_by = :holder").value("holder", holder),
            Guard::Free { due_at, now } => {
                let update = update
                    .when("attribute_not_exists(#lease_until) OR #lease_until < :now")
                    .value("now", now);
                match due_at {
                    Some(due_at) => update.when("#due_at = :seen").value("seen", due_at),
                    None => update.when("attribute_not_exists(#due_at)"),
                }
            }
        };
        for StepChange { step, only_from, state, sends, mid, attachment_id } in &self.steps {
            if let Some(before) = *only_from {
                update = update
                    .when(format!("#steps[{step}].#state = :before{step}"))
                    .value(&format!("before{step}"), before.name());
            }
            update = update
                .set(format!("#steps[{step}].#state = :state{step}"))
                .value(&format!("state{step}"), state.name());
            update = set_optional(
                update,
                &format!("#steps[{step}].#sends"),
                &format!("sends{step}"),
                *sends,
            );
            update = set_optional(
                update,
                &format!("#steps[{step}].#mid"),
                &format!("mid{step}"),
                mid.as_ref(),
            );
            update = set_optional(
                update,
                &format!("#steps[{step}].#attachment_id"),
                &format!("attachment{step}"),
                attachment_id.as_ref(),
            );
        }
        update = set_optional(update, "#attempts", "attempts", self.attempts);
        let (refusals, refused_at) = self.refusals.unzip();
        update = set_optional(update, "#refusals", "refusals", refusals);
        update = set_optional(update, "#refused_at", "refused", refused_at);
        update = match &self.next_state {
            NextState::Held(lease) => update
                .set("#lease_until = :until, #lease_by = :by")
                .value("until", lease.until)
                .value("by", &lease.by),
            NextState::Waits { due_at, reason, rescheduled } => {
                let update = update
                    .set("#due_at = :due")
                    .value("due", *due_at)
                    .remove("#lease_until, #lease_by");
                let update = if *rescheduled { update.set("#first_due = :due") } else { update };
                set_optional(update, "#reason", "reason", reason.as_ref())
            }
            NextState::Ended { status, reason, at, expires_at } => {
                let update = update
                    .set("#status = :status, #ended_at = :at, #expires_at = :expires")
                    .value("status", status.name())
                    .value("at", *at)
                    .value("expires", *expires_at)
                    .remove("#lease_until, #lease_by");
                match reason {
                    Some(reason) => update.set("#reason = :reason").value("reason", reason),
                    None => update.remove("#reason"),
                }
            }
        };
        if self.applied {
            update = update.remove("#unapplied");
        }
        match &self.fallback_reason {
            None => update,
            Some(reason) => update
                .set("#purpose = :utility, #fallback_reason = :fallback_reason")
                .value("utility", Purpose::Utility.name())
                .value("fallback_reason", reason),
        }
    }

    /// Whether an entry is as this change leaves it.
    pub(super) fn is_made(&self, entry: &Entry) -> bool {
        let steps_are = self.steps.iter().all(|change| {
            entry.steps.get(change.step).is_some_and(|step| {
                step.state == change.state
                    && change.sends.is_none_or(|sends| step.sends == sends)
                    && (change.mid.is_none() || step.mid == change.mid)
                    && (change.attachment_id.is_none()
                        || step.attachment_id == change.attachment_id)
            })
        });
        let state_is = match &self.next_state {
            NextState::Held(lease) => entry.lease_by.as_ref() == Some(&lease.by),
            NextState::Waits { due_at, .. } => entry.is_open() && entry.due_at == Some(*due_at),
            NextState::Ended { status, at, .. } => {
                entry.status == *status && entry.ended_at == Some(*at)
            }
        };
        steps_are && state_is
    }
}

pub(super) fn set_optional(
    update: Update,
    path: &str,
    name: &str,
    value: Option<impl IntoValue>,
) -> Update {
    match value {
        Some(value) => update.set(format!("{path} = :{name}")).value(name, value),
        None => update,
    }
}
