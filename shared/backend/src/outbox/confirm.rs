//! Echoes: Meta's word that a message was delivered.

use std::collections::BTreeSet;

use crate::secrets::Secret;
use crate::store::{
    Change, ConversationKey, ConversationUpdate, Entry, EntryKey, Guard, NextState, PersonErasure,
    Status, StepKey, StepState,
};
use crate::telemetry::Metric;
use messenger::clock::Timestamp;
use messenger::event::Echo;
use messenger::person::Person;

use super::next::Halt;
use super::{Outbox, OutboxError};

impl Outbox {
    /// The step whose message an echo is of, if this deployment sent it; `to` is the conversation that
    /// the echo came in.
    ///
    /// A container may hold an older secret than the sender had, so metadata with our mark that does
    /// not fit is compared with a fresh read of it: an own message must not count as another app's.
    ///
    /// # Errors
    /// [`OutboxError`] if the secret cannot be read.
    pub async fn own_step(
        &self,
        to: &ConversationKey,
        echo: &Echo,
    ) -> Result<Option<StepKey>, OutboxError> {
        let secret = self.secrets.current().await?;
        let step = own_step(&secret, to, echo);
        if step.is_some() || !echo.has_our_mark() {
            return Ok(step);
        }
        let fresh = self.secrets.after(&secret.version).await?;
        Ok(own_step(&fresh, to, echo))
    }

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

/// The step of an echo's metadata: made with the Page's own app secret, for this Page and this person,
/// and not sent by another app.
///
/// Another app can read the metadata of our messages in their echoes, and send it in messages of its
/// own; so the tag alone does not do.
fn own_step(secret: &Secret, to: &ConversationKey, echo: &Echo) -> Option<StepKey> {
    let application = secret.application_of(&to.page_id).ok()?;
    let step = StepKey::from_metadata(echo.metadata.as_deref()?, application.app_secrets())?;
    let sent_to = &step.entry.conversation_key;
    let is_of_person = sent_to.person == to.person
        || !matches!((&sent_to.person, &to.person), (Person::Psid(_), Person::Psid(_)));
    let own = application.app_id().ok();
    let is_of_another_app = own.is_some() && echo.app_id.is_some() && echo.app_id.as_deref() != own;
    (sent_to.page_id == to.page_id && is_of_person && !is_of_another_app).then_some(step)
}
