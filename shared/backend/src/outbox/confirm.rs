//! Echoes: Meta's word that a message was delivered.

use crate::store::{Change, Fate, Guard, Settlement, Status, StepKey, StepState, Who};
use crate::telemetry::Metric;

use super::next::Halt;
use super::{Outbox, OutboxError};

impl Outbox {
    /// Learns from an echo, or from a late answer, that a step was delivered.
    ///
    /// Most echoes tell what is known: they cost a read. An entry that waited for this echo ends,
    /// or goes on with its next step.
    ///
    /// `to` is the person whom the echo names: of an entry that went to a `user_ref`, a comment or a
    /// post, it tells whose PSID that is.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn confirm(
        &self,
        step: &StepKey,
        mid: Option<&str>,
        to: Option<&Who>,
    ) -> Result<(), OutboxError> {
        let key = &step.entry;
        let Some(entry) = self.store.entry(key).await? else {
            return Ok(());
        };
        if let Some(to) = to.filter(|to| to.page_id == key.who.page_id && to.is_psid())
            && !key.who.is_psid()
            && entry.psid.is_none()
        {
            self.store.set_psid(key, &to.person).await?;
            self.store.add_known_as(to, &key.who.person).await?;
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
        self.telemetry.count(Metric::ConfirmedByEcho, &key.who.page_id, &[]);
        let guard = Guard::Free { due_at: Some(due_at), now };
        if entry.next_step().is_some() {
            let fate = Fate::Waits { due_at: now, reason: None, rescheduled: false };
            self.store.change_entry(key, guard, Change::to(fate)).await?;
        } else if entry.unapplied.is_none()
            && self
                .store
                .change_entry(key, guard, Change::to(self.fate(Halt::End(Status::Sent, None))))
                .await?
                .is_some()
        {
            self.count_end(key, entry.purpose, Status::Sent, None);
            let settlement = Settlement { forget: vec![entry.waiting()], ..Settlement::default() };
            self.store.settle(&key.who, &settlement).await?;
            self.store.unlist_entry(key).await?;
        }
        Ok(())
    }
}
