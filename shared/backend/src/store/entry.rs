//! Outbox entries: what is to be said to one person, and how far that has come.

use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::update::IntoValue;
use super::{Hold, Store, StoreError, Update, Waiting, Who, parse, unavailable};
use messenger::clock::Timestamp;
use messenger::event::METADATA_MARK;
use messenger::message::{Say, UtilityTemplate};
use messenger::window::Purpose;

/// What the names of entries begin with, so that another form can be told from this one.
const ID_MARK: &str = "m1.";

/// Where an entry is in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// To whom it goes.
    pub who: Who,
    /// Its id among the person's entries.
    pub id: String,
}

impl EntryKey {
    pub(super) fn sk(&self) -> String {
        format!("outbox#{}", self.id)
    }

    pub(super) fn from_table(pk: &str, sk: &str) -> Option<Self> {
        let id = sk.strip_prefix("outbox#")?.to_owned();
        Some(Self { who: Who::from_pk(pk)?, id })
    }
}

/// Where a step is: what a message carries as `metadata`, so that its echo finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepKey {
    /// The entry.
    pub entry: EntryKey,
    /// The step's place in it.
    pub step: usize,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry: EntryKey { who, id }, step } = self;
        let plain = format!("{} {step} {id} {}", who.page_id, who.person);
        write!(f, "{METADATA_MARK}{}", URL_SAFE_NO_PAD.encode(plain))
    }
}

impl FromStr for StepKey {
    type Err = ();

    fn from_str(metadata: &str) -> Result<Self, ()> {
        let encoded = metadata.strip_prefix(METADATA_MARK).ok_or(())?;
        let plain =
            String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).map_err(drop)?).map_err(drop)?;
        let mut parts = plain.splitn(4, ' ');
        let mut next = || parts.next().map(str::to_owned).ok_or(());
        let page_id = next()?;
        let step = next()?.parse().map_err(drop)?;
        let id = next()?;
        Ok(Self { entry: EntryKey { who: Who { page_id, person: next()? }, id }, step })
    }
}

/// How a message is named outside: opaque, but no secret. It encodes where the entry is.
impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who: Who { page_id, person }, id } = self;
        write!(f, "{ID_MARK}{}", URL_SAFE_NO_PAD.encode(format!("{page_id} {id} {person}")))
    }
}

impl FromStr for EntryKey {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let encoded = name.strip_prefix(ID_MARK).ok_or(())?;
        let plain =
            String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).map_err(drop)?).map_err(drop)?;
        let mut parts = plain.splitn(3, ' ').filter(|part| !part.is_empty()).map(str::to_owned);
        let (page_id, id, person) =
            (parts.next().ok_or(())?, parts.next().ok_or(())?, parts.next().ok_or(())?);
        Ok(Self { who: Who { page_id, person }, id })
    }
}

/// How an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    Spare,
}

impl StepState {
    /// The state as the table holds it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sending => "sending",
            Self::Unconfirmed => "unconfirmed",
            Self::Sent => "sent",
            Self::PassedOver => "passed_over",
            Self::Spare => "spare",
        }
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
}

impl Step {
    /// Something that is not sent yet.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn planned(say: &Say) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_string(say)?;
        Ok(Self { body, state: StepState::Planned, sends: 0, mid: None })
    }

    /// A template that goes instead of the steps before it, if the windows refuse them.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn spare(template: UtilityTemplate) -> Result<Self, serde_json::Error> {
        let step = Self::planned(&template.into())?;
        Ok(Self { state: StepState::Spare, ..step })
    }

    /// What is said.
    pub fn say(&self) -> Say {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Whether it is a sender action.
    pub fn is_action(&self) -> bool {
        self.say().message().is_none()
    }

    /// Whether there is nothing to do about it, as things stand.
    const fn is_idle(&self) -> bool {
        matches!(self.state, StepState::Sent | StepState::PassedOver | StepState::Spare)
    }
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
    pub fallback_reason: Option<String>,
    /// How it stands.
    pub status: Status,
    /// Why it ended, or why it still waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was first due, ms since the epoch.
    pub first_due: Timestamp,
    /// When it was decided, ms since the epoch.
    pub decided_at: Timestamp,
    /// When trying ends, ms since the epoch.
    pub give_up_at: Timestamp,
    /// The index's partition, while it waits.
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
    /// Until when somebody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Timestamp>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_by: Option<String>,
    /// An answer of the person later than this cancels it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by_answer_after: Option<Timestamp>,
    /// Whether it goes out although the bot is quiet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub despite_quiet: bool,
    /// What its decision still has to change, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unapplied: Option<String>,
    /// When it ended, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the table drops it, in **seconds** since the epoch, as `DynamoDB`'s TTL wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
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
            pk: key.who.pk(),
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
            due_page: Some(key.who.page_id.clone()),
            due_at: Some(first_due),
            psid: None,
            attempts: 0,
            lease_until: None,
            lease_by: None,
            cancelled_by_answer_after: None,
            despite_quiet: false,
            unapplied: None,
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

    /// The first step that is still to be sent, or may have to be.
    pub fn next_step(&self) -> Option<usize> {
        self.steps.iter().position(|step| !step.is_idle())
    }

    /// Where its fallback is, if that may still go: no message was sent, or may have been.
    pub fn fallback(&self) -> Option<usize> {
        let spare = self.steps.iter().position(|step| step.state == StepState::Spare)?;
        let unsaid = |step: &Step| step.state == StepState::Planned && step.sends == 0;
        self.steps[..spare].iter().all(|step| step.is_action() || unsaid(step)).then_some(spare)
    }

    /// Whether somebody has it.
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until >= now)
    }

    /// Gives it, from the start, to the function that puts it into the table.
    pub fn held_from_start(&mut self, hold: &Hold) {
        self.due_page = None;
        self.due_at = None;
        self.lease_until = Some(hold.until);
        self.lease_by = Some(hold.by.clone());
    }

    /// Ends it before it is put into the table.
    pub fn ended_from_start(
        &mut self,
        status: Status,
        reason: String,
        now: Timestamp,
        expires_at: i64,
    ) {
        self.due_page = None;
        self.due_at = None;
        self.status = status;
        self.reason = Some(reason);
        self.ended_at = Some(now);
        self.expires_at = Some(expires_at);
    }

    /// What the conversation item holds of it while it waits.
    pub fn waiting(&self) -> Waiting {
        Waiting {
            first_due: self.first_due,
            decided_at: self.decided_at,
            cancelled_by_answer: self.cancelled_by_answer_after.is_some(),
            id: self.sk.trim_start_matches("outbox#").to_owned(),
        }
    }
}

/// What came of putting an entry into the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now.
    New,
    /// An entry of this key was there before.
    Existing(Box<Entry>),
}

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
pub enum Fate {
    /// Somebody has it and goes on.
    Held {
        /// Who; unchanged if absent.
        taken: Option<Hold>,
    },
    /// It waits.
    Waits {
        /// Until when.
        due_at: Timestamp,
        /// Why.
        reason: Option<String>,
        /// Whether this is a new first due time, so that it no longer goes before younger entries.
        rescheduled: bool,
    },
    /// It has ended; [`Store::unlist_entry`] takes it out of the index once its conversation has
    /// forgotten it.
    Ended {
        /// How.
        status: Status,
        /// Why.
        reason: Option<String>,
        /// When.
        at: Timestamp,
        /// When the table drops it, in seconds since the epoch.
        expires_at: i64,
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
}

/// A change of an entry, made in one write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The steps that change.
    pub steps: Vec<StepChange>,
    /// What becomes of the entry.
    pub fate: Fate,
    /// The number of attempts, if it changes.
    pub attempts: Option<u64>,
    /// Whether what its decision had to change is changed.
    pub applied: bool,
    /// Why the fallback goes instead of the rest from now on, if that is decided.
    pub fallback_reason: Option<String>,
}

impl Change {
    /// A change of the entry's fate alone.
    pub fn to(fate: Fate) -> Self {
        Self { steps: Vec::new(), fate, attempts: None, applied: false, fallback_reason: None }
    }

    /// The change as an update of the entry's item.
    fn update(&self, key: &EntryKey, guard: Guard<'_>) -> Update {
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
        for StepChange { step, only_from, state, sends, mid } in &self.steps {
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
        }
        update = set_optional(update, "#attempts", "attempts", self.attempts);
        update = match &self.fate {
            Fate::Held { taken: None } => update,
            Fate::Held { taken: Some(hold) } => update
                .set("#lease_until = :until, #lease_by = :by")
                .value("until", hold.until)
                .value("by", &hold.by),
            Fate::Waits { due_at, reason, rescheduled } => {
                let update = update
                    .set("#due_page = :page, #due_at = :due")
                    .value("page", &key.who.page_id)
                    .value("due", *due_at)
                    .remove("#lease_until, #lease_by");
                let update = if *rescheduled { update.set("#first_due = :due") } else { update };
                set_optional(update, "#reason", "reason", reason.as_ref())
            }
            Fate::Ended { status, reason, at, expires_at } => {
                let update = update
                    .set("#status = :status, #ended_at = :at, #expires_at = :expires")
                    .value("status", status.name())
                    .value("at", *at)
                    .value("expires", Timestamp::from_millis(*expires_at))
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
    fn is_made(&self, entry: &Entry, guard: Guard<'_>) -> bool {
        let steps_are = self.steps.iter().all(|change| {
            entry.steps.get(change.step).is_some_and(|step| {
                step.state == change.state
                    && change.sends.is_none_or(|sends| step.sends == sends)
                    && (change.mid.is_none() || step.mid == change.mid)
            })
        });
        let fate_is = match (&self.fate, guard) {
            (Fate::Held { taken: Some(hold) }, _) => entry.lease_by.as_ref() == Some(&hold.by),
            (Fate::Held { taken: None }, Guard::HeldBy(by)) => {
                entry.lease_by.as_deref() == Some(by)
            }
            (Fate::Held { taken: None }, Guard::Free { .. }) => false,
            (Fate::Waits { due_at, .. }, _) => entry.is_open() && entry.due_at == Some(*due_at),
            (Fate::Ended { status, at, .. }, _) => {
                entry.status == *status && entry.ended_at == Some(*at)
            }
        };
        steps_are && fate_is
    }
}

impl Store {
    /// Puts a new entry into the table; one that is there stays as it is and is returned.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn create_entry(&self, entry: &Entry) -> Result<Created, StoreError> {
        let item: super::Item = serde_dynamo::to_item(entry)
            .map_err(|error| StoreError::Malformed(error.to_string()))?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Created::New),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let item = failed.item.clone().ok_or_else(|| {
                        StoreError::Malformed("a failed condition without its item".to_owned())
                    })?;
                    Ok(Created::Existing(Box::new(parse(item)?)))
                }
                _ => Err(unavailable(&error)),
            },
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn entry(&self, key: &EntryKey) -> Result<Option<Entry>, StoreError> {
        self.get(&key.who.pk(), &key.sk()).await
    }

    /// Changes an open entry if the guard holds: the entry afterwards, `None` if it did not hold.
    ///
    /// A change that is there already counts as made: the SDK asks again when an answer was lost.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn change_entry(
        &self,
        key: &EntryKey,
        guard: Guard<'_>,
        change: Change,
    ) -> Result<Option<Entry>, StoreError> {
        let update = change.update(key, guard);
        Ok(match self.update::<Entry>(&key.who.pk(), &key.sk(), update).await? {
            Ok(entry) => Some(entry),
            Err(entry) => entry.filter(|entry| change.is_made(entry, guard)),
        })
    }

    /// Marks a step as delivered because its echo, or a late answer, says so: the entry afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn confirm_step(
        &self,
        key: &StepKey,
        mid: Option<&str>,
    ) -> Result<Option<Entry>, StoreError> {
        let step = format!("#steps[{}]", key.step);
        let update = Update::default()
            .set(format!("{step}.#state = :sent"))
            .when(format!("{step}.#state IN (:sending, :unconfirmed)"))
            .value("sent", StepState::Sent.name())
            .value("sending", StepState::Sending.name())
            .value("unconfirmed", StepState::Unconfirmed.name());
        let update = set_optional(update, &format!("{step}.#mid"), "mid", mid);
        Ok(self.update(&key.entry.who.pk(), &key.entry.sk(), update).await?.ok())
    }

    /// Notes the PSID of whom an entry went to.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn set_psid(&self, key: &EntryKey, psid: &str) -> Result<(), StoreError> {
        let update = Update::default()
            .set("#psid = :psid")
            .when("attribute_exists(#status)")
            .value("psid", psid);
        self.update::<Entry>(&key.who.pk(), &key.sk(), update).await.map(drop)
    }

    /// Takes an entry that has ended out of the index.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn unlist_entry(&self, key: &EntryKey) -> Result<(), StoreError> {
        let update = Update::default()
            .remove("#due_page, #due_at")
            .when("attribute_exists(#status) AND #status <> :open")
            .value("open", Status::Open.name());
        self.update::<Entry>(&key.who.pk(), &key.sk(), update).await.map(drop)
    }

    /// Cancels an entry that nobody has: whether it has ended now.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn cancel_entry(
        &self,
        key: &EntryKey,
        cancellation: Cancellation,
        now: Timestamp,
        expires_at: i64,
    ) -> Result<CancelOutcome, StoreError> {
        let update = Update::default()
            .set(
                "#status = :cancelled, #reason = :reason, #ended_at = :now, #expires_at = :expires",
            )
            .remove("#due_page, #due_at, #lease_until, #lease_by")
            .when("#status = :open")
            .when("attribute_not_exists(#lease_until) OR #lease_until < :now")
            .value("cancelled", Status::Cancelled.name())
            .value("reason", cancellation.reason())
            .value("now", now)
            .value("expires", Timestamp::from_millis(expires_at))
            .value("open", Status::Open.name());
        let update = match cancellation {
            Cancellation::Answered(at) => {
                update.when("#cancelled_by_answer_after < :answer").value("answer", at)
            }
            // What its decision had to change must not be lost with it.
            Cancellation::Withdrawn => {
                update.when("attribute_exists(#due_at) AND attribute_not_exists(#unapplied)")
            }
        };
        Ok(match self.update::<Entry>(&key.who.pk(), &key.sk(), update).await? {
            Ok(_) => CancelOutcome::Cancelled,
            Err(Some(entry)) if entry.is_open() => CancelOutcome::Kept,
            Err(_) => CancelOutcome::EndedBefore,
        })
    }
}

/// Why an entry is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The person answered at this instant; an entry that is younger stays.
    Answered(Timestamp),
    /// Whoever asked for it does not want it any more.
    Withdrawn,
}

impl Cancellation {
    /// What the entry and the counts hold as the reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What came of cancelling an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is cancelled now.
    Cancelled,
    /// It stays: it is younger than the answer, or somebody is sending it.
    Kept,
    /// It had ended, or is gone.
    EndedBefore,
}

fn set_optional(update: Update, path: &str, name: &str, value: Option<impl IntoValue>) -> Update {
    match value {
        Some(value) => update.set(format!("{path} = :{name}")).value(name, value),
        None => update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_entry_and_is_opaque() {
        let who = Who { page_id: "10".into(), person: "user_ref:a b".into() };
        let key = EntryKey { who, id: "e1".into() };
        let name = key.to_string();
        assert_eq!(name.parse(), Ok(key));
        assert!(!name.contains("user_ref"));
        let of = |plain: &str| format!("m1.{}", URL_SAFE_NO_PAD.encode(plain));
        for other in
            ["", "m1.", "m1.%", "mb1.x", &of("10"), &of("10 e1"), &of("10  a"), &of("10 e1 ")]
        {
            assert_eq!(other.parse::<EntryKey>(), Err(()), "{other}");
        }
    }

    #[test]
    fn metadata_finds_its_step_and_is_opaque() {
        let who = Who { page_id: "10".into(), person: "user_ref:a b".into() };
        let key = StepKey { entry: EntryKey { who, id: "e.1".into() }, step: 2 };
        let metadata = key.to_string();
        assert_eq!(metadata.parse(), Ok(key));
        assert!(!metadata.contains("user_ref"));
        assert_eq!("mb1.%".parse::<StepKey>(), Err(()));
        assert_eq!("other".parse::<StepKey>(), Err(()));
    }
}
