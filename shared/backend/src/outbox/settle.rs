//! What a decision and its deliveries change in the conversation, and how ends are counted.

use std::time::Duration;

use crate::correlation::{CORRELATION_ID, about};
use crate::store::{
    CancelOutcome, Cancellation, Cause, ConversationItem, ConversationKey, ConversationUpdate,
    Created, Entry, EntryKey, ExpiresAt, NextState, PendingEntry, Reason, Status, StoreError,
};
use crate::telemetry::Metric;
use messenger::clock::Timestamp;
use messenger::window::Purpose;

use super::next::Halt;
use super::unapplied::Unapplied;
use super::{Outbox, OutboxError};

/// The longest pause of a Page, whose entries must still be there when it ends, to end with a reason.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(24 * 366);

impl Outbox {
    /// Stores the follow-ups that an entry's decision holds: what the conversation has to change.
    ///
    /// Doing it again changes nothing: a follow-up that is there stays as it is, and a state is
    /// bound to its revision.
    pub(super) async fn apply(
        &self,
        key: &EntryKey,
        entry: &Entry,
        conversation: &ConversationItem,
    ) -> Result<ConversationUpdate, OutboxError> {
        let Some(unapplied) = Unapplied::of(entry)? else {
            return Ok(ConversationUpdate::default());
        };
        let follow_ups = unapplied.follow_ups(key, entry, self.settings.give_up_after)?;
        if let Some((until, caused_at)) = unapplied.quiet {
            self.store.silence(&key.conversation_key, until, Cause::Event(caused_at)).await?;
        }
        if let Some(reason) = &entry.handed_over
            && !self.publisher.is_off()
        {
            self.publisher.publish_hand_over(key, entry, reason, conversation.platform).await?;
        }
        let timers = unapplied.timers(key, entry, self.settings.give_up_after);
        let cancelled = &unapplied.cancel_timers;
        let set = async {
            if timers.is_empty() && cancelled.is_empty() {
                return Ok(ConversationUpdate::default());
            }
            let whose = &key.conversation_key;
            self.set_timers(whose, conversation, timers, cancelled, entry.decided_at).await
        };
        let of_timers = Box::pin(set).await?;
        let mut left = conversation.clone();
        left.forget(&of_timers.forget);
        left.waiting.extend(of_timers.add.iter().cloned());
        let mut room = left.room();
        if room < follow_ups.len() {
            room = self.free_places(&key.conversation_key, &left).await?.room();
        }
        let mut changes = unapplied.into_update();
        changes.add = of_timers.add;
        changes.forget = of_timers.forget;
        for (key, mut later) in follow_ups {
            if room == 0 {
                let now = self.clock.now();
                let reason = Some(Reason::TooManyWaiting);
                later.ended_from_start(Status::Failed, reason, now, self.expires_at(now));
            }
            match self.create(&mut later).await? {
                Created::New if later.is_open() => {
                    room -= 1;
                    changes.add.push(later.waiting());
                }
                Created::New => {
                    self.count_end(&key, later.purpose, later.status, later.reason.as_ref());
                }
                Created::Existing(there) if there.is_open() => changes.add.push(there.waiting()),
                Created::Existing(_) => {}
            }
        }
        Ok(changes)
    }

    /// Forgets what has ended of the entries that were just listed again: whoever ended one may have
    /// forgotten it before.
    pub(super) async fn forget_ended(
        &self,
        conversation_key: &ConversationKey,
        listed: &[PendingEntry],
    ) -> Result<(), OutboxError> {
        let mut forget = Vec::new();
        for waiting in listed {
            let id = waiting.id.clone();
            let key = EntryKey { conversation_key: conversation_key.clone(), id };
            match self.store.entry(&key).await {
                Ok(Some(entry)) if entry.has_place() => {}
                // The sweep ends what cannot be read.
                Err(error) if error.is_permanent() => {}
                ended => {
                    ended?;
                    forget.push(waiting.clone());
                }
            }
        }
        if forget.is_empty() {
            return Ok(());
        }
        let changes = ConversationUpdate { forget, ..ConversationUpdate::default() };
        Ok(self.store.settle(conversation_key, &changes).await?)
    }

    /// Puts a new entry into the table. It expires from the start, far away, in case that nobody is
    /// left to end it.
    pub(super) async fn create(&self, entry: &mut Entry) -> Result<Created, StoreError> {
        self.expire_from_start(entry);
        self.store.create_entry(entry).await
    }

    /// Does what [`Self::create`] does, in the place of a placeholder too.
    pub(super) async fn replace_placeholder(
        &self,
        entry: &mut Entry,
    ) -> Result<Created, StoreError> {
        self.expire_from_start(entry);
        self.store.replace_placeholder(entry).await
    }

    fn expire_from_start(&self, entry: &mut Entry) {
        let unended = self.settings.retention + LONGEST_PAUSE;
        entry.expires_at.get_or_insert(ExpiresAt::after(entry.give_up_at, unended));
    }

    /// Writes to the conversation that entries wait, which may end before that is written.
    pub(super) async fn list(
        &self,
        conversation_key: &ConversationKey,
        waiting: Vec<PendingEntry>,
    ) -> Result<(), OutboxError> {
        let changes = ConversationUpdate { add: waiting, ..ConversationUpdate::default() };
        self.store.settle(conversation_key, &changes).await?;
        self.forget_ended(conversation_key, &changes.add).await
    }

    /// Takes entries out of the index that have ended and that the conversation has forgotten; how those
    /// ended that were requested is published before.
    ///
    /// The index leads to an entry until then, so its end is published by the next sweep if this fails.
    pub(super) async fn unlist(&self, ended: &[EntryKey]) -> Result<(), OutboxError> {
        for key in ended {
            if key.is_of_request() && !self.publisher.is_off() {
                match about(&key.correlation_id(), Box::pin(self.publish_end(key))).await {
                    Err(error) if error.is_permanent() => {
                        let correlation_id = key.correlation_id();
                        tracing::error!(correlation_id, %error, "a message's end is not published");
                    }
                    published => published?,
                }
            }
            self.store.unlist_entry(key).await?;
        }
        Ok(())
    }

    async fn publish_end(&self, key: &EntryKey) -> Result<(), OutboxError> {
        let entry = match self.store.entry(key).await {
            Err(error) if error.is_permanent() => None,
            entry => match entry? {
                Some(entry) if !entry.is_open() => Some(entry),
                // Erased, or listed anew.
                _ => return Ok(()),
            },
        };
        let conversation = self.store.conversation(&key.conversation_key).await?;
        let platform = conversation.unwrap_or_default().platform;
        Ok(self.publisher.publish_end(key, entry, platform, self.clock.now()).await?)
    }

    /// Cancels an entry that nobody is sending.
    ///
    /// After [`Cancellation::Withdrawn`] the conversation has forgotten it; after an answer, the
    /// event's own settlement does that.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer; calling it again completes the work.
    pub async fn cancel(
        &self,
        key: &EntryKey,
        why: Cancellation,
    ) -> Result<CancelOutcome, OutboxError> {
        let now = self.clock.now();
        let outcome = self.store.cancel_entry(key, why, now, self.expires_at(now)).await?;
        if let CancelOutcome::Cancelled(entry) = &outcome
            && entry.timer.is_none()
        {
            self.count_end(key, entry.purpose, Status::Cancelled, Some(&why.reason()));
        }
        if let CancelOutcome::Cancelled(entry) | CancelOutcome::Unforgotten(entry) = &outcome
            && why == Cancellation::Withdrawn
        {
            let forget = vec![entry.waiting()];
            let changes = ConversationUpdate { forget, ..ConversationUpdate::default() };
            self.store.settle(&key.conversation_key, &changes).await?;
            self.unlist(std::slice::from_ref(key)).await?;
        }
        Ok(outcome)
    }

    /// When an entry that ends at `at` is dropped.
    pub(super) fn expires_at(&self, at: Timestamp) -> ExpiresAt {
        ExpiresAt::after(at, self.settings.retention)
    }

    pub(super) fn next_state(&self, halt: Halt) -> NextState {
        halt.next_state(self.clock.now(), self.settings.retention)
    }

    /// Counts an entry's end.
    pub(super) fn count_end(
        &self,
        key: &EntryKey,
        purpose: Purpose,
        status: Status,
        reason: Option<&Reason>,
    ) {
        let metric = match status {
            Status::Sent => Metric::Sent,
            Status::Refused => Metric::Refused,
            Status::Failed => Metric::Failed,
            Status::Cancelled => Metric::Cancelled,
            Status::Open => return,
        };
        let reason = reason.map_or("done", Reason::code);
        let correlation_id = key.correlation_id();
        // An event may end an entry that follows from another one.
        let details =
            [("purpose", purpose.name()), ("reason", reason), (CORRELATION_ID, &correlation_id)];
        self.telemetry.count(metric, key.conversation_key.page_id.as_str(), &details);
    }
}
