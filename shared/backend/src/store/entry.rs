//! Outbox entries: what is to be said to one person, and how far that has come.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::{DueClass, EntryKey, ExpiresAt, Lease, PendingEntry, Reason, StoreError};
use messenger::clock::Timestamp;
use messenger::message::{Outgoing, UtilityTemplate};
use messenger::window::Purpose;

/// How an entry stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Not ended: it waits, or somebody is sending it.
    Open,
    /// Every step was sent.
    Sent,
    /// The windows did not allow it.
    Refused,
    /// It could not be sent.
    Failed,
    /// It was no longer wanted.
    Cancelled,
}

impl Status {
    /// The status as the table holds it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How a step stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StepState {
    /// Not sent.
    Planned,
    /// Somebody is sending it, or died while sending it.
    Sending,
    /// It may have been delivered.
    Unconfirmed,
    /// It was delivered.
    Sent,
    /// It is not sent, and what comes after it does not wait for it: a sender action that Meta did
    /// not take, or what the fallback went instead of.
    PassedOver,
    /// The fallback: it is sent only if the windows refuse the other steps.
    Fallback,
}

impl StepState {
    /// The state as the table holds it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One message, or sender action, of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The body of the Send API's request as JSON, without recipient and label.
    pub body: String,
    /// How it stands.
    pub state: StepState,
    /// How often it was, or may have been, given to Meta.
    #[serde(default)]
    pub sends: u64,
    /// The message's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// The id of its media, if Meta saved them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_id: Option<String>,
}

impl Step {
    /// Something that is not sent yet.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn planned(say: &Outgoing) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_string(say)?;
        Ok(Self { body, state: StepState::Planned, sends: 0, mid: None, attachment_id: None })
    }

    /// A template that goes instead of the steps before it, if the windows refuse them.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn fallback(template: UtilityTemplate) -> Result<Self, serde_json::Error> {
        let step = Self::planned(&template.into())?;
        Ok(Self { state: StepState::Fallback, ..step })
    }

    /// What is said.
    pub fn say(&self) -> Outgoing {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Whether it is a sender action.
    pub fn is_action(&self) -> bool {
        self.say().message().is_none()
    }

    /// Whether there is nothing to do about it, as things stand.
    const fn is_idle(&self) -> bool {
        matches!(self.state, StepState::Sent | StepState::PassedOver | StepState::Fallback)
    }
}

/// What a timer is set with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTimer {
    /// Its key.
    pub key: String,
    /// Its payload, as JSON.
    pub payload: String,
}

/// An entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pk: String,
    sk: String,
    /// Why it is sent.
    pub purpose: Purpose,
    /// The person of the business who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Its messages, in order; the last may be a fallback for the others.
    pub steps: Vec<Step>,
    /// Why the fallback goes instead, if it does; the purpose is then `utility`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_reason: Option<Reason>,
    /// How it stands.
    pub status: Status,
    /// Why it ended, or why it still waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When it was first due, ms since the epoch.
    pub first_due: Timestamp,
    /// When it was decided, ms since the epoch.
    pub decided_at: Timestamp,
    /// When trying ends, ms since the epoch.
    pub give_up_at: Timestamp,
    /// The index's partition, in which it is while it has a due time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_page: Option<String>,
    /// When it is due, while it waits, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The person's PSID, once an echo names it, of an entry that goes to something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psid: Option<String>,
    /// How often sending was begun.
    #[serde(default)]
    pub attempts: u64,
    /// How often Meta answered it with an error that is not tried again for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusals: Option<u64>,
    /// When it did that last, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<Timestamp>,
    /// Until when somebody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Timestamp>,
    /// The holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_by: Option<String>,
    /// When the event happened that it answers, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caused_at: Option<Timestamp>,
    /// An answer of the person later than this cancels it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by_answer_after: Option<Timestamp>,
    /// Whether it goes out although the bot is quiet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub despite_quiet: bool,
    /// The timer that it is, if it is one: it has no steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<StoredTimer>,
    /// Why people answer from now on, if its decision hands over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<String>,
    /// The entries of other events that its decision answers as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    /// What its decision still has to change, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unapplied: Option<String>,
    /// Whether it only marks that the lease of the event processor that would write it was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_placeholder: bool,
    /// The latest erasure of the person that was known when it was decided, ms since the epoch; a
    /// later one deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_erasure: Option<Timestamp>,
    /// When it ended, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the table drops it: far away as long as it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<ExpiresAt>,
}

impl Entry {
    /// An entry that waits from `first_due` on.
    pub fn new(
        key: &EntryKey,
        purpose: Purpose,
        steps: Vec<Step>,
        first_due: Timestamp,
        decided_at: Timestamp,
        give_up_at: Timestamp,
    ) -> Self {
        Self {
            pk: key.conversation_key.pk(),
            sk: key.sk(),
            purpose,
            author: None,
            steps,
            fallback_reason: None,
            status: Status::Open,
            reason: None,
            first_due,
            decided_at,
            give_up_at,
            due_page: Some(DueClass::of(purpose).partition(&key.conversation_key.page_id)),
            due_at: Some(first_due),
            psid: None,
            attempts: 0,
            refusals: None,
            refused_at: None,
            lease_until: None,
            lease_by: None,
            caused_at: None,
            cancelled_by_answer_after: None,
            despite_quiet: false,
            timer: None,
            handed_over: None,
            covers: Vec::new(),
            unapplied: None,
            is_placeholder: false,
            after_erasure: None,
            ended_at: None,
            expires_at: None,
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] if its key is not one that this version writes.
    pub fn key(&self) -> Result<EntryKey, StoreError> {
        EntryKey::from_table(&self.pk, &self.sk)
            .ok_or_else(|| StoreError::Malformed("an outbox entry with another key".to_owned()))
    }

    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        self.status == Status::Open
    }

    /// Whether it keeps its place among those that wait: it has not ended, or is a timer that was fired and that the
    /// bot has not been asked about yet, as far as this shows it.
    pub fn has_place(&self) -> bool {
        self.is_open() || self.is_fired()
    }

    /// Whether it is a timer that was fired.
    pub fn is_fired(&self) -> bool {
        self.timer.is_some() && self.reason == Some(Reason::Fired)
    }

    /// The first step that is still to be sent, or may have to be.
    pub fn next_step(&self) -> Option<usize> {
        self.steps.iter().position(|step| !step.is_idle())
    }

    /// Where its fallback is, whether or not it goes.
    pub fn fallback_step(&self) -> Option<usize> {
        let last = self.steps.len().checked_sub(1)?;
        let is_fallback =
            self.steps[last].state == StepState::Fallback || self.fallback_reason.is_some();
        is_fallback.then_some(last)
    }

    /// Where its fallback is, if that may still go: no message was sent, or may have been.
    pub fn fallback(&self) -> Option<usize> {
        let fallback = self.steps.iter().position(|step| step.state == StepState::Fallback)?;
        let unsaid = |step: &Step| step.state == StepState::Planned && step.sends == 0;
        self.steps[..fallback]
            .iter()
            .all(|step| step.is_action() || unsaid(step))
            .then_some(fallback)
    }

    /// Whether somebody has it.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until >= now)
    }

    /// Gives it, from the start, to the function that puts it into the table.
    pub fn held_from_start(&mut self, lease: &Lease) {
        self.due_at = None;
        self.lease_until = Some(lease.until);
        self.lease_by = Some(lease.by.clone());
    }

    /// Ends it before it is put into the table.
    pub fn ended_from_start(
        &mut self,
        status: Status,
        reason: Option<Reason>,
        now: Timestamp,
        expires_at: ExpiresAt,
    ) {
        self.due_page = None;
        self.due_at = None;
        self.status = status;
        self.reason = reason;
        self.ended_at = Some(now);
        self.expires_at = Some(expires_at);
    }

    /// What the conversation item holds of it while it waits.
    pub fn waiting(&self) -> PendingEntry {
        PendingEntry {
            first_due: self.first_due,
            decided_at: self.decided_at,
            cancelled_by_answer: self.cancelled_by_answer_after.is_some(),
            is_counted: DueClass::of(self.purpose) == DueClass::Bot
                || self.first_due > self.decided_at,
            timer: self.timer.as_ref().map(|timer| timer.key.clone()),
            id: self.sk.trim_start_matches("outbox#").to_owned(),
        }
    }
}
