//! A turn: what a bot is asked with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::around::{MAX_HISTORY, MAX_MEMO, Said};
use super::{Around, BotError, OrBotError, Outside};
use crate::clock::{SharedClock, Timestamp};
use crate::decision::Conversation;
use crate::event::{Event, Kind, Platform, digest};
use crate::person::Person;
use crate::profile::Profile;
use crate::window::{AllowedPurpose, Policy, allowed_purposes};

/// How many characters of a digest an idempotency key has.
const KEY_LENGTH: usize = 32;

/// A turn without the type of its bot's state.
#[derive(Clone)]
pub struct TurnData {
    /// What happened, oldest first; never empty.
    pub events: Vec<Event>,
    /// The conversation, with the state as it is stored.
    pub conversation: Conversation,
    /// The instant of the turn.
    pub now: Timestamp,
    /// When the bot's time is over, by `clock`.
    pub ends_at: Timestamp,
    /// The clock of the function.
    pub clock: SharedClock,
    /// How often the bot was asked about this before, as far as that is known, and once more.
    pub attempt: u64,
    /// How far the windows' edges are kept away from, and whether those of ads are tried.
    pub policy: Policy,
    /// What is outside of the platform.
    pub outside: Arc<dyn Outside>,
    /// What is around the turn.
    pub around: Arc<dyn Around>,
}

impl fmt::Debug for TurnData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.events.iter().map(|event| &event.id).collect();
        f.debug_struct("TurnData").field("events", &ids).finish_non_exhaustive()
    }
}

/// What a bot is asked with: what happened, the conversation, and how long it has.
#[derive(Debug)]
pub struct Turn<S> {
    data: TurnData,
    state: S,
    /// How often each service was asked to change something, by its method and path.
    changes: RefCell<BTreeMap<String, u64>>,
}

impl<S> Turn<S> {
    pub(super) fn new(data: TurnData, state: S) -> Self {
        Self { data, state, changes: RefCell::default() }
    }

    /// What happened; with several messages the newest.
    ///
    /// # Panics
    /// Never: a turn has at least one event.
    pub fn event(&self) -> &Event {
        #[expect(clippy::expect_used, reason = "whoever makes a turn makes it of an event")]
        self.data.events.last().expect("a turn has an event")
    }

    /// Everything that happened, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.data.events
    }

    /// What the person said: the texts of their messages, joined by line breaks. The payload of a choice or a button
    /// stands for its text. Empty if nothing was said.
    pub fn text(&self) -> String {
        let said = |event: &Event| match &event.kind {
            Kind::Postback(postback) => postback.payload.clone(),
            Kind::Message(message) => message.quick_reply.clone().or_else(|| message.text.clone()),
            _ => None,
        };
        let texts: Vec<_> = self.data.events.iter().filter_map(said).collect();
        texts.join("\n")
    }

    /// Whether the person neither sent a message nor pressed a button: what happened is a reaction, an edit, a
    /// referral or the like, which most bots leave alone.
    pub fn is_silent(&self) -> bool {
        !self.data.events.iter().any(|event| match &event.kind {
            Kind::Postback(_) => true,
            Kind::Message(message) => !message.is_empty(),
            _ => false,
        })
    }

    /// What the bot remembers of the person; the default at first.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The conversation: what the windows depend on, and the state as it is stored.
    pub fn conversation(&self) -> &Conversation {
        &self.data.conversation
    }

    /// Where the person writes.
    pub fn platform(&self) -> Platform {
        self.event().platform
    }

    /// For what the windows allow something now, and until when. Empty for a comment or a post, which gets its one
    /// private reply all the same.
    pub fn allowed(&self) -> Vec<AllowedPurpose> {
        allowed_purposes(&self.data.conversation.standing, self.data.now, &self.data.policy)
    }

    /// The timers that wait: when each is due, by its key.
    pub fn timers(&self) -> &BTreeMap<String, Timestamp> {
        &self.data.conversation.timers
    }

    /// By which comments, posts and check boxes the person came.
    pub fn came_from(&self) -> impl Iterator<Item = &Person> {
        self.data.conversation.known_as.iter()
    }

    /// What Meta shows of the person; nothing unless `USER_PROFILES` is on and Meta shows it.
    ///
    /// Each field may be absent. It is up to a day old.
    pub fn profile(&self) -> Option<&Profile> {
        self.data.conversation.profile.as_ref()
    }

    /// The instant of the turn.
    pub fn now(&self) -> Timestamp {
        self.data.now
    }

    /// How long the bot still has; its future is dropped after that.
    pub fn time_left(&self) -> Duration {
        self.data.ends_at.since(self.data.clock.now())
    }

    /// How often the bot has been asked about this, this time included: 1 at first. It may have been asked more often,
    /// if the function died.
    pub fn attempt(&self) -> u64 {
        self.data.attempt
    }

    /// An idempotency key: the same for the same event and name, however often the bot is asked, and different for
    /// any other.
    ///
    /// Give it to a service that changes something. [`Call::send`](super::Call::send) does so by itself.
    pub fn key(&self, name: &str) -> String {
        let mut key = digest(&["bot", &self.data.events[0].id, name]);
        key.truncate(KEY_LENGTH);
        key
    }

    /// Does something once for the turn's event: a later try gets the first one's result, as JSON of at most 8 KB.
    ///
    /// For what must not happen twice at a service that takes no idempotency key. Only the instant between its answer
    /// and the memo is left in which a death repeats it. The names of a turn must differ. It costs a read, and a write
    /// for each KB.
    ///
    /// # Errors
    /// Those of `work`; [`BotError::Temporary`] if the memo can be neither read nor written;
    /// [`BotError::Failed`] if the result has more than 8 KB, or the memo another form.
    pub async fn once<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, BotError>>,
    ) -> Result<T, BotError> {
        const LABEL: &str = "the memo of what was done";
        if let Some(done) = self.data.around.recall(name).await.or_temporary(LABEL)? {
            return serde_json::from_value(done).or_failed(LABEL);
        }
        let done = work.await?;
        let memo = serde_json::to_value(&done).or_failed(LABEL)?;
        if memo.to_string().len() > MAX_MEMO {
            return Err(BotError::Failed(LABEL));
        }
        self.data.around.keep(name, &memo).await.or_temporary(LABEL)?;
        Ok(done)
    }

    /// The newest messages of the conversation, oldest first, the person's own newest ones included: `count` of them, and at
    /// most 20, which is all that Meta shows.
    ///
    /// It is one call of Meta's; nothing is stored.
    ///
    /// # Errors
    /// [`BotError::Temporary`] if Meta does not show them now.
    pub async fn history(&self, count: usize) -> Result<Vec<Said>, BotError> {
        self.data.around.history(count.min(MAX_HISTORY)).await.or_temporary("the history")
    }

    /// The key of the next call that changes something at this place: the first, the second and so on of the turn
    /// differ, and each is the same when the bot is asked again.
    pub(super) fn key_of_call(&self, place: &str) -> String {
        let mut changes = self.changes.borrow_mut();
        let count = changes.entry(place.to_owned()).or_default();
        *count += 1;
        self.key(&format!("{place} {count}"))
    }

    /// The id under which other services can log what they do about the turn: that of the event, as its log lines
    /// have it.
    /// Source: W3C Trace Context.
    pub(super) fn trace_parent(&self) -> String {
        let id = &self.data.events[0].id;
        let trace = id.get(..32).unwrap_or("00000000000000000000000000000001");
        format!("00-{trace}-{}-01", &self.key("trace")[..16])
    }

    pub(super) fn outside(&self) -> &dyn Outside {
        &*self.data.outside
    }
}
