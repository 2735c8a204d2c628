//! What waits for a permission is tried at once when the secret changes.

use std::time::Duration;

use crate::graph::Fault;
use crate::store::{Change, DueClass, EntryKey, Guard, NextState, Reason};

use super::after_error::RETRY_PERMISSION;
use super::{Outbox, OutboxError};

/// How long what waits for a permission is looked for in one run; the rest has its own time.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

impl Outbox {
    /// Notes that a Page lacks a permission with the secret as it is.
    pub(super) async fn note_lacking(&self, page_id: &str) -> Result<(), OutboxError> {
        let version = &self.secrets.current().await?.version;
        let known = self.pauses.known(page_id).await.and_then(|page| page.lacking_version);
        if known.as_ref() != Some(version) {
            let page = self.store.note_lacking(page_id, version).await?;
            self.pauses.remember(page_id, page).await;
        }
        Ok(())
    }

    /// Makes due what waits for a permission that a Page lacked with another version of the secret:
    /// this one's token may have it.
    ///
    /// It reads what is due within the time after which Meta is asked again, for half a minute at most.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer; the rest is tried at its own time.
    pub async fn retry_permissions(&self, page_id: &str) -> Result<(), OutboxError> {
        let Some(lacking) = self.store.page(page_id).await?.lacking_version else {
            return Ok(());
        };
        if self.secrets.current().await?.version == lacking {
            return Ok(());
        }
        self.store.forget_lacking(page_id, &lacking).await?;
        let until = self.clock.now() + LONGEST_LOOK;
        for class in [DueClass::People, DueClass::Bot] {
            let mut from = None;
            loop {
                let horizon = self.clock.now() + RETRY_PERMISSION + Duration::from_secs(1);
                let found = self.store.due(page_id, class, horizon, from).await?;
                for due in found.entries {
                    self.retry_permission(&due.key).await?;
                }
                match found.rest {
                    Some(rest) if self.clock.now() < until => from = Some(rest),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    async fn retry_permission(&self, key: &EntryKey) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let entry = match self.store.entry(key).await {
            // The sweep ends what cannot be read.
            Err(error) if error.is_permanent() => return Ok(()),
            entry => entry?,
        };
        let Some(entry) = entry.filter(|entry| entry.is_open() && entry.due_at > Some(now)) else {
            return Ok(());
        };
        if !matches!(entry.reason, Some(Reason::Graph(Fault::PermissionMissing, _))) {
            return Ok(());
        }
        let next_state =
            NextState::Waits { due_at: now, reason: entry.reason.clone(), rescheduled: true };
        let guard = Guard::Free { due_at: entry.due_at, now };
        self.store.change_entry(key, guard, Change::to(next_state)).await?;
        Ok(())
    }
}
