//! Conversations in the table: opened, recorded, settled.

use std::collections::{BTreeMap, BTreeSet};

use super::conversation::{SORT_KEY, adding, forgetting};
use super::erasure::{UNLESS_MARK, unless_erased};
use super::lease::take_for_event;
use super::{
    Acquired, AdWindow, AddedWaiting, Cause, ConversationItem, ConversationKey, ConversationUpdate,
    Heard, LastMessage, Lease, NewState, PendingEntry, Receipt, Store, StoreError, Update, Updated,
};
use messenger::clock::Timestamp;
use messenger::person::Person;
use messenger::window::AD_WINDOW;

/// How often a place among those that wait is asked for while others change them.
const RESERVE_TRIES: usize = 8;

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
    /// `heard` is what the event says about the windows. The last message time never goes back. A second
    /// write is needed only if the event is not the newest, or somebody else is sending to the person.
    /// `None` if the person was erased after the event had happened.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn open_conversation(
        &self,
        conversation_key: &ConversationKey,
        heard: Option<&Heard>,
        happened_at: Timestamp,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<Option<Acquired>, StoreError> {
        let arrived = || unless_erased(Update::default(), Cause::Event(happened_at));
        let recorded = heard.map_or_else(arrived, |heard| record(arrived(), heard));
        let both = take_for_event(recorded, lease, now);
        let old = match self.update_conversation(conversation_key, both).await? {
            Updated::Now(conversation) => {
                return Ok(Some(Acquired { conversation, exclusive: true, is_old: false }));
            }
            Updated::Unmet(old) => old.unwrap_or_default(),
        };
        if old.was_erased_after(happened_at) {
            return Ok(None);
        }
        let is_busy = old.is_busy(now);
        let is_old = heard.is_some() && old.last_message_at >= Some(happened_at);
        let rest = match (is_busy, heard) {
            (false, _) => take_for_event(arrived(), lease, now),
            (true, Some(heard)) => record(arrived(), heard),
            (true, None) => {
                return Ok(Some(Acquired { conversation: old, exclusive: false, is_old }));
            }
        };
        Ok(Some(match self.update_conversation(conversation_key, rest).await? {
            Updated::Now(conversation) => Acquired { conversation, exclusive: !is_busy, is_old },
            Updated::Unmet(now_old) => {
                let conversation = now_old.unwrap_or(old);
                if conversation.was_erased_after(happened_at) {
                    return Ok(None);
                }
                Acquired { conversation, exclusive: false, is_old }
            }
        }))
    }

    /// Records what the person did, and takes no lease: whether they were not erased after it.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn record_activity(
        &self,
        conversation_key: &ConversationKey,
        heard: &Heard,
        happened_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = record(unless_erased(Update::default(), Cause::Event(happened_at)), heard);
        let there = self.update_conversation(conversation_key, update).await?.item();
        Ok(!there.is_some_and(|there| there.was_erased_after(happened_at)))
    }

    /// Notes until when the person has received or read the Page's messages; it never goes back. Nothing is
    /// written about a person whom the table does not know.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn record_receipt(
        &self,
        conversation_key: &ConversationKey,
        receipt: Receipt,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let name = match receipt {
            Receipt::Delivered => "delivered_until",
            Receipt::Read => "read_until",
        };
        let update = Update::default()
            .set(format!("#{name} = :until"))
            .when("attribute_exists(pk)")
            .when(UNLESS_MARK)
            .when("attribute_not_exists(#erased_at) OR #erased_at < :until")
            .when(format!("attribute_not_exists(#{name}) OR #{name} < :until"))
            .value("until", until);
        self.update_conversation(conversation_key, update).await.map(drop)
    }

    /// Lets the bot be quiet until an instant: whether the person was not erased since the cause.
    ///
    /// Nothing changes if something later began or ended the silence, and no silence gets shorter.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn silence(
        &self,
        conversation_key: &ConversationKey,
        until: Timestamp,
        cause: Cause,
    ) -> Result<bool, StoreError> {
        let longer = latest(cause)
            .set("#quiet_until = :quiet")
            .when("attribute_not_exists(#quiet_until) OR #quiet_until < :quiet")
            .value("quiet", until);
        let there = match self.update_conversation(conversation_key, longer).await? {
            Updated::Now(_) => return Ok(true),
            Updated::Unmet(there) => there.unwrap_or_default(),
        };
        if there.was_erased_since(cause) {
            return Ok(false);
        }
        if there.quiet_until >= Some(until) && there.control_at < Some(cause.at()) {
            // Longer already; what gives control back must be later than this all the same.
            self.update_conversation(conversation_key, latest(cause)).await?;
        }
        Ok(true)
    }

    /// Sets until when the bot is quiet, or ends its silence, unless something later did either: the
    /// conversation then.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn set_silence(
        &self,
        conversation_key: &ConversationKey,
        until: Option<Timestamp>,
        cause: Cause,
    ) -> Result<ConversationItem, StoreError> {
        let update = match until {
            Some(until) => latest(cause).set("#quiet_until = :quiet").value("quiet", until),
            None => latest(cause).remove("#quiet_until"),
        };
        let there = self.update_conversation(conversation_key, update).await?.item();
        Ok(there.unwrap_or_default())
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
        if changes.trouble_is_over {
            update = update.remove("#trouble_for, #trouble_tries, #trouble_since");
        }
        if let Some(NewState { json, version, replaces }) = &changes.state {
            update = update
                .set("#state = :state, #state_revision = :next")
                .when(if *replaces == 0 {
                    "attribute_not_exists(#state_revision) OR #state_revision = :read"
                } else {
                    "#state_revision = :read"
                })
                .value("state", json)
                .value("next", replaces + 1)
                .value("read", *replaces);
            update = match u64::from(*version) {
                0 => update.remove("#state_version"),
                version => update.set("#state_version = :version").value("version", version),
            };
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

    /// Adds an entry to those that wait, unless it is counted and [`MOST_WAITING`](messenger::limits::MOST_WAITING) such entries do
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
            let has_place = seen.waiting.iter().any(|other| other.id == waiting.id);
            if waiting.is_counted && seen.room() == 0 && !has_place {
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

/// Notes that something which began or ended the bot's silence happened, unless something later did.
fn latest(cause: Cause) -> Update {
    unless_erased(Update::default(), cause)
        .set("#control_at = :happened")
        .when("attribute_not_exists(#control_at) OR #control_at < :happened")
}

fn record(update: Update, heard: &Heard) -> Update {
    match heard {
        Heard::Opening(message) => record_message(update, message),
        // While the window of an earlier ad is open, it stays the one that counts.
        Heard::AdClick(at) => update
            .set("#ad_clicked_at = :clicked")
            .remove("#ad_until")
            .when(
                "attribute_not_exists(#ad_clicked_at) OR #ad_clicked_at < :clicked AND \
                 (attribute_not_exists(#ad_until) OR #ad_until < :clicked)",
            )
            .value("clicked", *at),
    }
}

/// A single write cannot ask whether the person came by an ad, so the end of a window that a first message
/// may begin is noted for everybody.
fn record_message(update: Update, heard: &LastMessage) -> Update {
    let ad_until = heard.at + AD_WINDOW;
    let update = match heard.ad_window {
        None => update,
        Some(AdWindow::Begins) => {
            update.set("#ad_clicked_at = :at, #ad_until = :ad_until").value("ad_until", ad_until)
        }
        Some(AdWindow::MayBegin) => update
            .set("#ad_until = if_not_exists(#ad_until, :ad_until)")
            .value("ad_until", ad_until),
    };
    let update = if heard.source.is_own() {
        update.remove("#last_message_source")
    } else {
        update.set("#last_message_source = :source").value("source", heard.source.name())
    };
    update
        .set("#last_message_at = :at, #free_until = :free_until, #platform = :platform")
        .when("attribute_not_exists(#last_message_at) OR #last_message_at < :at")
        .value("at", heard.at)
        .value("free_until", heard.free_until)
        .value("platform", heard.platform.name())
}
