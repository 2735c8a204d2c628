//! Echoes: Meta's word that a message was delivered.

use std::collections::BTreeSet;

use crate::store::{
    Change, ConversationKey, ConversationUpdate, Entry, EntryKey, Guard, NextState, PersonErasure,
    Status, StepKey, StepState,
};
use crate::telemetry::Metric;
use messenger::clock::Timestamp;

use super::next::Halt;
use super::{Outbox, OutboxError};

impl Outbox {
    /// Lets an entry be erased of whose person this is the first word, if they were erased after it.
    async fn erase_unnamed(
        &self,
        entry: &Entry,
        key: &EntryKey,
        erased_at: Timestamp,
    ) -> Result<(), OutboxError> {
        if erased_at < entry.decided_at {
            return Ok(());
        }
        let conversation_key = key.conversation_key.clone();
        let erasure = PersonErasure { conversation_key, known_as: BTreeSet::new(), erased_at };
        Ok(self.store.queue_erasure(&erasure, self.clock.now()).await?)
    }

    /// Learns from an echo, or from a late answer, that a step was delivered.
    ///
    /// Most echoes tell what is known: they cost a read. An entry that waited for this echo ends,
    /// or goes on with its next step.
    ///
    /// `to` is the person whom the echo names: of an entry that went to a `user_ref`, a comment or a
    /// post, it names the PSID.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn confirm(
        &self,
        step: &StepKey,
        mid: Option<&str>,
        to: Option<&ConversationKey>,
    ) -> Result<(), OutboxError> {
        let key = &step.entry;
        let Some(entry) = self.store.entry(key).await? else {
            return Ok(());
        };
        if let Some(to) =
            to.filter(|to| to.page_id == key.conversation_key.page_id && to.person.is_psid())
            && !key.conversation_key.person.is_psid()
            && entry.psid.is_none()
        {
            let person = &key.conversation_key.person;
            if let Some(erased_at) = self.store.add_known_as(to, person, entry.decided_at).await? {
                return self.erase_unnamed(&entry, key, erased_at).await;
            }
            self.store.set_psid(key, &to.person.to_string()).await?;
        }
        let state = entry.steps.get(step.step).map(|step| step.state);
        if !matches!(state, Some(StepState::Sending | StepState::Unconfirmed)) {
            return Ok(());
        }
        let Some(entry) = self.store.confirm_step(step, mid).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let (true, Some(due_at), false) = (entry.is_open(), entry.due_at, entry.is_leased(now))
        else {
            return Ok(());
        };
        self.telemetry.count(Metric::ConfirmedByEcho, &key.conversation_key.page_id, &[]);
        let guard = Guard::Free { due_at: Some(due_at), now };
        if entry.next_step().is_some() {
            let next_state = NextState::Waits { due_at: now, reason: None, rescheduled: false };
            self.store.change_entry(key, guard, Change::to(next_state)).await?;
        } else if entry.unapplied.is_none()
            && self
                .store
                .change_entry(
                    key,
                    guard,
                    Change::to(self.next_state(Halt::End(Status::Sent, None))),
                )
                .await?
                .is_some()
        {
            self.count_end(key, entry.purpose, Status::Sent, None);
            let changes = ConversationUpdate {
                forget: vec![entry.waiting()],
                ..ConversationUpdate::default()
            };
            self.store.settle(&key.conversation_key, &changes).await?;
            self.store.unlist_entry(key).await?;
        }
        Ok(())
    }
}
