//! The conversation item: when the person last wrote, whose turn it is, what waits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use super::erasure::{UNLESS_MARK, unless_erased};
use super::lease::take_for_event;
use super::{
    ConversationKey, EVENT_PROCESSOR, ExpiresAt, Lease, Store, StoreError, Update, Updated,
};
use messenger::clock::Timestamp;
use messenger::event::Platform;
use messenger::person::Person;
use messenger::window::Standing;

/// The most messages that may wait for one person, except for replies and what people wrote that is
/// due at once.
pub const MAX_WAITING: usize = 20;

/// How often a place among those that wait is asked for while others change them.
const RESERVE_TRIES: usize = 8;

pub(super) const SORT_KEY: &str = "conversation";

/// What the table holds about a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ConversationItem {
    /// The platform.
    #[serde(default)]
    pub platform: Platform,
    /// The person's last window-opening action, ms since the epoch; never goes back.
    #[serde(default)]
    pub last_message_at: Option<Timestamp>,
    /// The end of the standard window, ms since the epoch.
    #[serde(default)]
    pub free_until: Option<Timestamp>,
    /// The author's state as JSON.
    #[serde(default)]
    pub state: Option<String>,
    /// How often the state has changed.
    #[serde(default)]
    pub state_revision: u64,
    /// Until when somebody has the lease, ms since the epoch.
    #[serde(default)]
    pub busy_until: Option<Timestamp>,
    /// The holder.
    #[serde(default)]
    pub busy_by: Option<String>,
    /// The entry that the decision of the event processor which has the lease will become.
    #[serde(default)]
    pub busy_for: Option<String>,
    /// The entries that wait, in the order in which they go.
    #[serde(default, deserialize_with = "read_waiting")]
    pub waiting: Vec<PendingEntry>,
    /// Until when the bot says nothing, because people took over.
    #[serde(default)]
    pub quiet_until: Option<Timestamp>,
    /// Under what else the person was written to: `user_ref:…`, `comment:…`, `post:…`.
    #[serde(default)]
    pub known_as: BTreeSet<Person>,
    /// When everything about the person was erased; what happened until then changes nothing.
    #[serde(default)]
    pub erased_at: Option<Timestamp>,
    /// When the table drops it: only the mark of an erased person expires.
    #[serde(default)]
    pub expires_at: Option<ExpiresAt>,
}

impl ConversationItem {
    /// Whether it is only the mark of an erased person, who has done nothing since.
    pub fn is_erased(&self) -> bool {
        self.erased_at.is_some() && self.expires_at.is_some()
    }

    /// Whether the person was erased after this instant, at which an event happened.
    pub fn was_erased_after(&self, happened_at: Timestamp) -> bool {
        self.erased_at.is_some_and(|erased_at| happened_at <= erased_at)
    }

    /// How many more entries that are counted may wait.
    pub fn room(&self) -> usize {
        let counted = self.waiting.iter().filter(|waiting| waiting.is_counted).count();
        MAX_WAITING.saturating_sub(counted)
    }

    /// What the windows depend on.
    pub fn standing(&self) -> Standing {
        Standing {
            platform: self.platform,
            last_message_at: self.last_message_at,
            free_until: self.free_until,
        }
    }

    /// Whether a sender other than an event processor has the lease.
    fn is_busy(&self, now: Timestamp) -> bool {
        self.busy_until.is_some_and(|until| until >= now)
            && !self.busy_by.as_deref().is_some_and(|by| by.starts_with(EVENT_PROCESSOR))
    }

    /// Whether people have taken over.
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }
}

/// What the conversation item knows about an entry that waits.
///
/// It shows without a read whether the entry goes before another one, and whether the person's
/// answer cancels it. In the table it is one member of a map, by the entry's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEntry {
    /// When it was first due.
    pub first_due: Timestamp,
    /// When it was decided; later than that of any entry which waited then.
    pub decided_at: Timestamp,
    /// Whether the person's answer cancels it.
    pub cancelled_by_answer: bool,
    /// Whether it counts towards [`MAX_WAITING`].
    pub is_counted: bool,
    /// The entry's id.
    pub id: String,
}

impl PendingEntry {
    /// Whether it goes before whatever is decided now.
    ///
    /// What was due when it was decided is due for good: the clock that says so now may be behind
    /// the one that said so then.
    pub fn goes_first(&self, now: Timestamp) -> bool {
        self.first_due <= now || self.first_due <= self.decided_at
    }

    fn member(&self) -> String {
        let flag = u8::from(self.cancelled_by_answer) | u8::from(self.is_counted) << 1;
        format!("{}.{}.{flag}", self.first_due.millis(), self.decided_at.millis())
    }

    /// Reads a member. One that cannot be read counts as due, so that its entry is looked at.
    fn from_member(id: String, member: &str) -> Self {
        let mut numbers = member.split('.').map(|part| part.parse::<i64>().unwrap_or_default());
        let mut number = || numbers.next().unwrap_or_default();
        let (first_due, decided_at, flags) = (number(), number(), number());
        Self {
            first_due: Timestamp::from_millis(first_due),
            decided_at: Timestamp::from_millis(decided_at),
            cancelled_by_answer: flags & 1 != 0,
            is_counted: flags & 2 != 0,
            id,
        }
    }
}

fn read_waiting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PendingEntry>, D::Error> {
    let members = BTreeMap::<String, String>::deserialize(deserializer)?;
    let waiting = members.into_iter().map(|(id, member)| PendingEntry::from_member(id, &member));
    let mut waiting = waiting.collect::<Vec<_>>();
    waiting.sort();
    Ok(waiting)
}

/// A person's latest window-opening action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// The platform.
    pub platform: Platform,
    /// When it happened.
    pub at: Timestamp,
    /// The end of the standard window that it opens.
    pub free_until: Timestamp,
}

/// A conversation after its event has been recorded.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The conversation as it is now.
    pub conversation: ConversationItem,
    /// Whether the lease is ours; if not, nothing may be sent now.
    pub exclusive: bool,
}

/// Changes to a conversation that follow from a decision or from deliveries.
#[derive(Clone, Debug, Default)]
pub struct ConversationUpdate {
    /// The author's new state, and the revision of the one that it replaces.
    pub state: Option<(String, u64)>,
    /// Until when the bot is quiet.
    pub quiet_until: Option<Timestamp>,
    /// Entries that now wait.
    pub add: Vec<PendingEntry>,
    /// Entries that no longer wait.
    pub forget: Vec<PendingEntry>,
}

/// What came of adding an entry to those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedWaiting {
    /// It waits.
    Yes,
    /// [`MAX_WAITING`] wait already.
    Full,
    /// Only the mark of an erased person is there.
    Erased,
}

impl ConversationUpdate {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.quiet_until.is_none()
            && self.add.is_empty()
            && self.forget.is_empty()
    }
}

impl Store {
    /// Reads a conversation.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn conversation(
        &self,
        conversation_key: &ConversationKey,
    ) -> Result<Option<ConversationItem>, StoreError> {
        self.get(&conversation_key.pk(), SORT_KEY).await
    }

    /// Whether a person was erased after this instant, at which an event happened.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn was_erased_after(
        &self,
        conversation_key: &ConversationKey,
        happened_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let there = self.conversation(conversation_key).await?;
        Ok(there.is_some_and(|there| there.was_erased_after(happened_at)))
    }

    /// Records what the person did and takes the lease for the event, in one write.
    ///
    /// `heard` is what the event says if it opens the window. The last message time never goes
    /// back. A second write is needed only if the event is not the newest, or somebody else is
    /// sending to the person. `None` if the person was erased after the event had happened.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn open_conversation(
        &self,
        conversation_key: &ConversationKey,
        heard: Option<&LastMessage>,
        happened_at: Timestamp,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<Option<Acquired>, StoreError> {
        let arrived = || unless_erased(Update::default(), happened_at);
        let recorded = heard.map_or_else(arrived, |heard| record(arrived(), heard));
        let both = take_for_event(recorded, lease, now);
        let old = match self.update_conversation(conversation_key, both).await? {
            Updated::Now(conversation) => {
                return Ok(Some(Acquired { conversation, exclusive: true }));
            }
            Updated::Unmet(old) => old.unwrap_or_default(),
        };
        if old.was_erased_after(happened_at) {
            return Ok(None);
        }
        let is_busy = old.is_busy(now);
        let rest = match (is_busy, heard) {
            (false, _) => take_for_event(arrived(), lease, now),
            (true, Some(heard)) => record(arrived(), heard),
            (true, None) => {
                return Ok(Some(Acquired { conversation: old, exclusive: false }));
            }
        };
        Ok(Some(match self.update_conversation(conversation_key, rest).await? {
            Updated::Now(conversation) => Acquired { conversation, exclusive: !is_busy },
            Updated::Unmet(now_old) => {
                let conversation = now_old.unwrap_or(old);
                if conversation.was_erased_after(happened_at) {
                    return Ok(None);
                }
                Acquired { conversation, exclusive: false }
            }
        }))
    }

    /// Records what the person did, and nothing else: whether they were not erased after it.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn record_activity(
        &self,
        conversation_key: &ConversationKey,
        heard: &LastMessage,
        happened_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = record(unless_erased(Update::default(), happened_at), heard);
        let there = self.update_conversation(conversation_key, update).await?.item();
        Ok(!there.is_some_and(|there| there.was_erased_after(happened_at)))
    }

    /// Sets until when the bot is quiet, because of an event: whether the person was not erased
    /// after it.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn set_quiet(
        &self,
        conversation_key: &ConversationKey,
        until: Timestamp,
        happened_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = unless_erased(Update::default(), happened_at)
            .set("#quiet_until = :quiet")
            .value("quiet", until);
        let there = self.update_conversation(conversation_key, update).await?.item();
        Ok(!there.is_some_and(|there| there.was_erased_after(happened_at)))
    }

    /// Notes under what else a person was written to at this instant, unless they were erased since, or
    /// only their mark is there: when they were erased, if so.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn add_known_as(
        &self,
        conversation_key: &ConversationKey,
        person: &Person,
        written_at: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let update = Update::default()
            .add("#known_as :known")
            .when(UNLESS_MARK)
            .when("attribute_not_exists(#erased_at) OR #erased_at < :written")
            .value("known", BTreeSet::from([person.to_string()]))
            .value("written", written_at);
        Ok(match self.update_conversation(conversation_key, update).await? {
            Updated::Now(_) => None,
            Updated::Unmet(mark) => mark.and_then(|mark| mark.erased_at),
        })
    }

    /// Applies what a decision changes, unless the person is erased. A state that was decided on
    /// another revision is not written.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn settle(
        &self,
        conversation_key: &ConversationKey,
        changes: &ConversationUpdate,
    ) -> Result<(), StoreError> {
        self.settle_unless_erased(conversation_key, changes).await.map(drop)
    }

    /// Does what [`Self::settle`] does: whether the person is not erased, as far as this shows it.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn settle_unless_erased(
        &self,
        conversation_key: &ConversationKey,
        changes: &ConversationUpdate,
    ) -> Result<bool, StoreError> {
        if changes.is_empty() {
            return Ok(true);
        }
        let mut update = forgetting(Update::default().when(UNLESS_MARK), &changes.forget);
        update = adding(update, &changes.add);
        if let Some(until) = changes.quiet_until {
            update = update.set("#quiet_until = :quiet").value("quiet", until);
        }
        if let Some((state, revision)) = &changes.state {
            update = update
                .set("#state = :state, #state_revision = :next")
                .when(if *revision == 0 {
                    "attribute_not_exists(#state_revision) OR #state_revision = :read"
                } else {
                    "#state_revision = :read"
                })
                .value("state", state)
                .value("next", revision + 1)
                .value("read", *revision);
        }
        match self.update_conversation(conversation_key, update).await? {
            Updated::Now(_) => Ok(true),
            Updated::Unmet(Some(there)) if there.is_erased() => Ok(false),
            Updated::Unmet(_) => {
                let rest = ConversationUpdate { state: None, ..changes.clone() };
                Box::pin(self.settle_unless_erased(conversation_key, &rest)).await
            }
        }
    }

    /// Adds an entry to those that wait, unless it is counted and [`MAX_WAITING`] such entries do
    /// already, or the person is erased. `seen` is the conversation as it was read last.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn reserve(
        &self,
        conversation_key: &ConversationKey,
        seen: &ConversationItem,
        waiting: &PendingEntry,
    ) -> Result<AddedWaiting, StoreError> {
        let mut seen = seen.clone();
        for _ in 0..RESERVE_TRIES {
            if seen.is_erased() {
                return Ok(AddedWaiting::Erased);
            }
            if waiting.is_counted && seen.room() == 0 {
                return Ok(AddedWaiting::Full);
            }
            let mut add = adding(Update::default(), std::slice::from_ref(waiting))
                .when(UNLESS_MARK)
                .when("attribute_exists(#waiting)");
            if waiting.is_counted {
                add = add.when("size(#waiting) = :seen").value("seen", seen.waiting.len() as u64);
            }
            if self.update_conversation(conversation_key, add).await?.is_made() {
                return Ok(AddedWaiting::Yes);
            }
            let with_map = Update::default()
                .set("#waiting = if_not_exists(#waiting, :none)")
                .when(UNLESS_MARK)
                .value("none", BTreeMap::new());
            let there = self.update_conversation(conversation_key, with_map).await?;
            seen = there.item().unwrap_or_default();
            if seen.waiting.contains(waiting) {
                return Ok(AddedWaiting::Yes);
            }
        }
        Err(StoreError::Unavailable("a conversation changes too fast".to_owned()))
    }

    async fn update_conversation(
        &self,
        conversation_key: &ConversationKey,
        update: Update,
    ) -> Result<Updated<ConversationItem>, StoreError> {
        self.update(&conversation_key.pk(), SORT_KEY, update).await
    }
}

fn record(update: Update, heard: &LastMessage) -> Update {
    update
        .set("#last_message_at = :at, #free_until = :free_until, #platform = :platform")
        .when("attribute_not_exists(#last_message_at) OR #last_message_at < :at")
        .value("at", heard.at)
        .value("free_until", heard.free_until)
        .value("platform", heard.platform.name())
}

pub(super) fn forgetting(update: Update, forget: &[PendingEntry]) -> Update {
    forget.iter().enumerate().fold(update, |update, (index, waiting)| {
        let name = format!("forgotten{index}");
        update.remove(format!("#waiting.#{name}")).name(&name, &waiting.id)
    })
}

fn adding(update: Update, add: &[PendingEntry]) -> Update {
    add.iter().enumerate().fold(update, |update, (index, waiting)| {
        let name = format!("added{index}");
        update
            .set(format!("#waiting.#{name} = :{name}"))
            .name(&name, &waiting.id)
            .value(&name, &waiting.member())
    })
}
