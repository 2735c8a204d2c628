//! Messages that people and back-office systems ask for.

use crate::clock::Timestamp;
use crate::decision::{check_fallback, check_messages};
use crate::message::{Invalid, Say, UtilityTemplate};
use crate::secrets::SecretError;
use crate::store::{Change, Created, Entry, EntryKey, Guard, MAX_WAITING, Status, StoreError, Who};
use crate::window::{Allowed, Purpose, Refusal, decide_with_fallback};

use super::commit::{after_all_waiting, steps};
use super::{Outbox, OutboxError};

/// A message to be stored for later.
#[derive(Clone, Debug, PartialEq)]
pub struct ToSchedule {
    /// Names it: the same id twice is one message.
    pub id: String,
    /// To whom.
    pub who: Who,
    /// What to say, in order.
    pub messages: Vec<Say>,
    /// Why.
    pub purpose: Purpose,
    /// The person of the business who wrote it.
    pub author: Option<String>,
    /// When it is due; at once if absent.
    pub due_at: Option<Timestamp>,
    /// What goes instead if the windows refuse it.
    pub fallback: Option<UtilityTemplate>,
}

/// A message that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// The entry.
    pub key: EntryKey,
    /// How it stands.
    pub status: Status,
    /// When it is due, ms since the epoch.
    pub due_at: Timestamp,
    /// Whether it was stored now, rather than by an earlier call.
    pub is_new: bool,
    /// What the windows will say when it is due, if the person does not write until then.
    pub outlook: Result<Allowed, Refusal>,
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The secret does not name the Page.
    #[error("page_id: the secret names no such Page")]
    UnknownPage,
    /// Too many wait for this person.
    #[error("psid: {MAX_WAITING} messages wait for this person already, which is the most")]
    TooManyWaiting,
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

impl From<StoreError> for ScheduleError {
    fn from(error: StoreError) -> Self {
        Self::Outbox(error.into())
    }
}

impl From<SecretError> for ScheduleError {
    fn from(error: SecretError) -> Self {
        Self::Outbox(error.into())
    }
}

impl From<serde_json::Error> for ScheduleError {
    fn from(error: serde_json::Error) -> Self {
        Self::Outbox(error.into())
    }
}

impl Outbox {
    /// Stores a message of a person or a system, once per id.
    ///
    /// # Errors
    /// [`ScheduleError`] names what is wrong with it.
    pub async fn schedule(&self, wanted: ToSchedule) -> Result<Scheduled, ScheduleError> {
        if !self.secrets.current().await?.has_page(&wanted.who.page_id) {
            return Err(ScheduleError::UnknownPage);
        }
        let now = self.clock.now();
        let conversation = self.store.conversation(&wanted.who).await?.unwrap_or_default();
        let standing = conversation.standing();
        check_messages(&wanted.messages, wanted.purpose, standing.platform)?;
        check_fallback(wanted.fallback.as_ref())?;
        let decided_at = after_all_waiting(&conversation, now);
        let later = wanted.due_at.filter(|due_at| *due_at > now);
        let due_at = later.unwrap_or(now);
        let steps = steps(&wanted.messages, wanted.fallback)?;
        let key = EntryKey { who: wanted.who, id: wanted.id };
        let give_up_at = due_at + self.settings.give_up_after;
        let first_due = later.unwrap_or(decided_at);
        let mut entry = Entry::new(&key, wanted.purpose, steps, first_due, decided_at, give_up_at);
        entry.due_at = Some(due_at);
        entry.author.clone_from(&wanted.author);
        let (entry, is_new) = match self.store.create_entry(&entry).await? {
            Created::New => (entry, true),
            Created::Existing(there) => (*there, false),
        };
        if entry.is_open() && !self.store.add_waiting(&key.who, &entry.waiting()).await? {
            let reason = Some(format!("too_many_waiting: {MAX_WAITING} is the most"));
            let guard = Guard::Free { due_at: entry.due_at, now };
            let change = Change::to(self.ended(Status::Failed, reason.clone()));
            self.store.change_entry(&key, guard, change).await?;
            self.store.unlist_entry(&key).await?;
            self.count_end(&key, &entry, Status::Failed, reason.as_deref());
            return Err(ScheduleError::TooManyWaiting);
        }
        let due_at = entry.due_at.unwrap_or(entry.first_due);
        let author = entry.author.as_deref();
        let outlook = decide_with_fallback(
            entry.purpose,
            author,
            entry.fallback().is_some(),
            &standing,
            due_at.max(now),
            &self.settings.policy,
        );
        Ok(Scheduled { key, status: entry.status, due_at, is_new, outlook })
    }
}
