//! Messages that people and back-office systems ask for.

use crate::secrets::SecretError;
use crate::store::{
    AddedWaiting, ConversationItem, ConversationKey, Created, Entry, EntryKey, Heard, LastMessage,
    PRIVATE_REPLY, PendingEntry, Status, Step, StoreError,
};
use messenger::clock::Timestamp;
use messenger::decision::{check_fallback, check_messages, check_size};
use messenger::event::TimeSource;
use messenger::limits::MOST_WAITING;
use messenger::message::{Invalid, Outgoing, UtilityTemplate};
use messenger::person::Person;
use messenger::window::{Allowed, Purpose, Refusal, SEVEN_DAYS, Standing, decide_with_fallback};

use super::plan::{after_all_waiting, steps};
use super::{Outbox, OutboxError};

/// A message to be stored for later.
#[derive(Clone, Debug, PartialEq)]
pub struct ToSchedule {
    /// Names it: the same id twice is one message.
    pub id: String,
    /// To whom.
    pub conversation_key: ConversationKey,
    /// What to say, in order.
    pub messages: Vec<Outgoing>,
    /// Why.
    pub purpose: Purpose,
    /// The person of the business who wrote it.
    pub author: Option<String>,
    /// When it is due; at once if absent.
    pub due_at: Option<Timestamp>,
    /// When the comment or post was written that it answers.
    pub commented_at: Option<Timestamp>,
    /// What goes instead if the windows refuse it.
    pub fallback: Option<UtilityTemplate>,
}

impl ToSchedule {
    /// Whether an entry is what was asked for: the same messages of the same author.
    pub fn is_of(&self, entry: &Entry) -> bool {
        let wanted = steps(&self.messages, self.fallback.clone());
        self.author == entry.author && wanted.is_ok_and(|wanted| is_same(&entry.steps, &wanted))
    }
}

/// What the windows will say about a message when it is due, if the person does not write until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What they will say.
    pub allowed: Result<Allowed, Refusal>,
    /// What that depends on.
    pub standing: Standing,
    /// When it is due, ms since the epoch.
    pub due_at: Timestamp,
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
    pub forecast: Result<Allowed, Refusal>,
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The secret does not name the Page.
    #[error("page_id: the secret does not contain this Page")]
    UnknownPage,
    /// Too many wait for this person.
    #[error("psid: too many pending messages for this person; the limit is {MOST_WAITING}")]
    TooManyWaiting,
    /// A comment or a visitor's post takes one private reply.
    #[error("comment_id: a comment or post gets one private reply, and another one was requested")]
    AlreadyReplied,
    /// A token for one notification takes one message.
    #[error("one_time_notif_token: it allows one message, and another one was requested")]
    TokenUsed,
    /// The person was erased, and has not written since.
    #[error("psid: the person was erased and has not written since")]
    PersonErased,
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
        let (conversation, Forecast { standing, due_at, .. }) = self.foresee(&wanted).await?;
        let now = self.clock.now();
        let decided_at = after_all_waiting(&conversation, now);
        let later = wanted.due_at.filter(|due_at| *due_at > now);
        let steps = steps(&wanted.messages, wanted.fallback)?;
        let is_private_reply = wanted.purpose == Purpose::PrivateReply;
        let takes_one = wanted.conversation_key.person.takes_one_message();
        let id = if takes_one {
            self.name_only_message(&wanted.conversation_key, &steps).await?
        } else {
            wanted.id
        };
        let key = EntryKey { conversation_key: wanted.conversation_key, id };
        let mut give_up_at = due_at + self.settings.give_up_after;
        if is_private_reply {
            give_up_at = give_up_at.min(wanted.commented_at.unwrap_or(now) + SEVEN_DAYS);
        }
        if let Some(at) = wanted.commented_at {
            // It opens no standard window: nothing but its one reply may be sent.
            let platform = standing.platform;
            let source = TimeSource::Event;
            let comment = LastMessage { platform, at, source, free_until: at, ad_window: None };
            let heard = Heard::Opening(comment);
            self.store.record_activity(&key.conversation_key, &heard, at).await?;
        }
        let first_due = later.unwrap_or(decided_at);
        let mut entry = Entry::new(&key, wanted.purpose, steps, first_due, decided_at, give_up_at);
        entry.due_at = Some(due_at);
        entry.author.clone_from(&wanted.author);
        entry.after_erasure = conversation.erased_at;
        // Before it is created: a refused request leaves nothing behind.
        let waiting = entry.waiting();
        match self.reserve(&key.conversation_key, &conversation, &waiting).await? {
            AddedWaiting::Yes => {}
            AddedWaiting::Erased => return Err(ScheduleError::PersonErased),
            AddedWaiting::Full => return Err(ScheduleError::TooManyWaiting),
        }
        let (entry, is_new) = match self.create(&mut entry).await? {
            Created::New => (entry, true),
            Created::Existing(there) => {
                self.list(&key.conversation_key, vec![there.waiting()]).await?;
                if takes_one && !is_same(&there.steps, &entry.steps) {
                    return Err(used_up(&key.conversation_key.person));
                }
                (*there, false)
            }
        };
        let due_at = entry.due_at.unwrap_or(entry.first_due);
        let author = entry.author.as_deref();
        let standing = standing.of_recipient(&key.conversation_key.person, due_at.max(now));
        let forecast = decide_with_fallback(
            entry.purpose,
            author,
            entry.fallback().is_some(),
            &standing,
            due_at.max(now),
            &self.settings.policy,
        );
        Ok(Scheduled { key, status: entry.status, due_at, is_new, forecast })
    }

    /// Foresees what the windows will say, and stores nothing.
    ///
    /// # Errors
    /// [`ScheduleError`] names what is wrong with the message.
    pub async fn forecast(&self, wanted: &ToSchedule) -> Result<Forecast, ScheduleError> {
        Ok(self.foresee(wanted).await?.1)
    }

    async fn foresee(
        &self,
        wanted: &ToSchedule,
    ) -> Result<(ConversationItem, Forecast), ScheduleError> {
        if !self.secrets.current().await?.has_page(&wanted.conversation_key.page_id) {
            return Err(ScheduleError::UnknownPage);
        }
        let conversation =
            self.store.conversation(&wanted.conversation_key).await?.unwrap_or_default();
        let now = self.clock.now();
        let due_at = wanted.due_at.unwrap_or(now).max(now);
        let person = &wanted.conversation_key.person;
        let mut standing = conversation.standing().of_recipient(person, due_at);
        standing.last_message_at = wanted.commented_at.or(standing.last_message_at);
        check_messages(&wanted.messages, wanted.purpose, standing.platform)?;
        check_fallback(wanted.fallback.as_ref())?;
        check_size(&wanted.messages, wanted.fallback.as_ref())?;
        check_recipient(wanted)?;
        let allowed = decide_with_fallback(
            wanted.purpose,
            wanted.author.as_deref(),
            wanted.fallback.is_some(),
            &standing,
            due_at,
            &self.settings.policy,
        );
        Ok((conversation, Forecast { allowed, standing, due_at }))
    }

    /// Reserves a place among those that wait, and looks closer if none is free.
    async fn reserve(
        &self,
        conversation_key: &ConversationKey,
        seen: &ConversationItem,
        waiting: &PendingEntry,
    ) -> Result<AddedWaiting, OutboxError> {
        let place = self.store.reserve(conversation_key, seen, waiting).await?;
        if place != AddedWaiting::Full {
            return Ok(place);
        }
        let freed = self.free_places(conversation_key, seen).await?;
        Ok(self.store.reserve(conversation_key, &freed, waiting).await?)
    }

    /// The id of the one message to a comment, a post or a one-time token.
    ///
    /// It is the same for the same message, and free again once a message has ended unsent.
    async fn name_only_message(
        &self,
        conversation_key: &ConversationKey,
        steps: &[Step],
    ) -> Result<String, ScheduleError> {
        for number in 1..=MOST_WAITING {
            let id = format!("{PRIVATE_REPLY}{number}");
            let key = EntryKey { conversation_key: conversation_key.clone(), id };
            match self.store.entry(&key).await? {
                None => return Ok(key.id),
                Some(there) if !there.is_open() && there.steps.iter().all(|s| s.sends == 0) => {}
                Some(there) if is_same(&there.steps, steps) => return Ok(key.id),
                Some(_) => return Err(used_up(&conversation_key.person)),
            }
        }
        Err(ScheduleError::TooManyWaiting)
    }
}

/// Checks that a private reply, and nothing else, goes to a comment or post, and that what takes one
/// message gets one.
fn check_recipient(wanted: &ToSchedule) -> Result<(), Invalid> {
    let person = &wanted.conversation_key.person;
    match (wanted.purpose == Purpose::PrivateReply, person.is_of_public_post()) {
        (true, false) => {
            return Err(Invalid::new("purpose", "private_reply requires comment_id or post_id"));
        }
        (false, true) => {
            return Err(Invalid::new("purpose", "must be private_reply for a comment or a post"));
        }
        _ => {}
    }
    if !person.takes_one_message() {
        return Ok(());
    }
    if wanted.fallback.is_some() {
        let problem = "cannot be combined with comment_id, post_id or one_time_notif_token";
        return Err(Invalid::new("fallback_template", problem));
    }
    match &wanted.messages[..] {
        [say] if say.message().is_some() => Ok(()),
        _ => {
            let problem = "must be one message for a comment, a post or a one-time token";
            Err(Invalid::new("messages", problem))
        }
    }
}

/// What a recipient allows was used up by another message.
fn used_up(person: &Person) -> ScheduleError {
    if person.is_of_public_post() {
        ScheduleError::AlreadyReplied
    } else {
        ScheduleError::TokenUsed
    }
}

fn is_same(steps: &[Step], others: &[Step]) -> bool {
    steps.iter().map(|step| &step.body).eq(others.iter().map(|step| &step.body))
}
