//! The conversation item: when the person last wrote, whose turn it is, what waits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use super::erasure::{UNLESS_MARK, unless_erased};
use super::{ConversationKey, ExpiresAt, Lease, Store, StoreError, Update, Updated};
use messenger::clock::Timestamp;
use messenger::event::Platform;
use messenger::person::Person;
use messenger::window::Standing;

/// The most follow-ups that may wait for one person.
pub const MAX_WAITING: usize = 20;

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
    /// Until when somebody is sending to the person.
    #[serde(default)]
    pub busy_until: Option<Timestamp>,
    /// The holder.
    #[serde(default)]
    pub busy_by: Option<String>,
    /// The entry of the latest event that an event processor was busy with.
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

    /// What the windows depend on.
    pub fn standing(&self) -> Standing {
        Standing {
            platform: self.platform,
            last_message_at: self.last_message_at,
            free_until: self.free_until,
        }
    }

    /// Whether somebody other than `me` is sending to the person.
    pub fn is_busy(&self, me: &str, now: Timestamp) -> bool {
        self.busy_until.is_some_and(|until| until >= now) && self.busy_by.as_deref() != Some(me)
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
        let flag = u8::from(self.cancelled_by_answer);
        format!("{}.{}.{flag}", self.first_due.millis(), self.decided_at.millis())
    }

    fn from_member(id: String, member: &str) -> Option<Self> {
        let mut parts = member.split('.');
        let mut instant = || parts.next()?.parse().ok().map(Timestamp::from_millis);
        let (first_due, decided_at) = (instant()?, instant()?);
        Some(Self { first_due, decided_at, cancelled_by_answer: parts.next()? == "1", id })
    }
}

fn read_waiting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PendingEntry>, D::Error> {
    let members = BTreeMap::<String, String>::deserialize(deserializer)?;
    let mut waiting = members
        .into_iter()
        .map(|(id, member)| PendingEntry::from_member(id, &member))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| serde::de::Error::custom("a waiting entry of another form"))?;
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
    /// Whether the busy mark is ours; if not, nothing may be sent now.
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

    /// Records what the person did and marks the conversation busy, in one write.
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
        let both = mark_busy(recorded, lease, now);
        let old = match self.update_conversation(conversation_key, both).await? {
            Updated::Now(conversation) => {
                return Ok(Some(Acquired { conversation, exclusive: true }));
            }
            Updated::Unmet(old) => old.unwrap_or_default(),
        };
        if old.was_erased_after(happened_at) {
            return Ok(None);
        }
        let is_busy = old.is_busy(&lease.by, now);
        let rest = match (is_busy, heard) {
            (false, _) => mark_busy(arrived(), lease, now),
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

    /// Takes the busy mark, unless somebody else has it: the conversation, the freshest record.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn take_conversation(
        &self,
        conversation_key: &ConversationKey,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<Option<ConversationItem>, StoreError> {
        let update = mark_busy(Update::default(), lease, now);
        Ok(self.update_conversation(conversation_key, update).await?.now())
    }

    /// Gives the busy mark back and forgets entries that have ended.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn release_conversation(
        &self,
        conversation_key: &ConversationKey,
        lease: &Lease,
        forget: &[PendingEntry],
    ) -> Result<(), StoreError> {
        let update = forgetting(Update::default(), forget)
            .remove("#busy_until, #busy_by")
            .when("#busy_by = :by")
            .value("by", &lease.by);
        self.update_conversation(conversation_key, update).await.map(drop)
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

    /// Adds an entry to those that wait, unless [`MAX_WAITING`] do already or the person is erased.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn add_waiting(
        &self,
        conversation_key: &ConversationKey,
        waiting: &PendingEntry,
    ) -> Result<AddedWaiting, StoreError> {
        let add = || {
            adding(Update::default(), std::slice::from_ref(waiting))
                .when(UNLESS_MARK)
                .when("attribute_exists(#waiting)")
                .when("size(#waiting) < :most OR attribute_exists(#waiting.#added0)")
                .value("most", MAX_WAITING as u64)
        };
        match self.update_conversation(conversation_key, add()).await? {
            Updated::Now(_) => Ok(AddedWaiting::Yes),
            Updated::Unmet(Some(old)) if old.is_erased() => Ok(AddedWaiting::Erased),
            Updated::Unmet(Some(old)) if old.waiting.len() >= MAX_WAITING => Ok(AddedWaiting::Full),
            Updated::Unmet(_) => {
                let with_map = Update::default()
                    .set("#waiting = if_not_exists(#waiting, :none)")
                    .when(UNLESS_MARK)
                    .value("none", BTreeMap::new());
                self.update_conversation(conversation_key, with_map).await?;
                Ok(match self.update_conversation(conversation_key, add()).await? {
                    Updated::Now(_) => AddedWaiting::Yes,
                    Updated::Unmet(Some(old)) if old.is_erased() => AddedWaiting::Erased,
                    Updated::Unmet(_) => AddedWaiting::Full,
                })
            }
        }
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

fn mark_busy(update: Update, lease: &Lease, now: Timestamp) -> Update {
    let update = match &lease.for_entry {
        Some(entry) => update.set("#busy_for = :for").value("for", entry),
        None => update,
    };
    update
        .set("#busy_until = :until, #busy_by = :by, #waiting = if_not_exists(#waiting, :none)")
        .value("none", BTreeMap::new())
        .when("attribute_not_exists(#busy_until) OR #busy_until < :now OR #busy_by = :by")
        .value("until", lease.until)
        .value("by", &lease.by)
        .value("now", now)
}

fn forgetting(update: Update, forget: &[PendingEntry]) -> Update {
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
