//! A Page's pause: what Meta says about all of a Page's messages.

use std::time::Duration;

use crate::graph::{Fault, GraphError};
use crate::store::{PageItem, Pause};
use messenger::clock::Timestamp;

use super::{KnownPage, Outbox, OutboxError};

/// For how long a Page's item is trusted without another read.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// The longest pause that ends by time.
const LONGEST: Duration = Duration::from_hours(4);

/// A pause that only a new version of the secret ends is looked at again after this time.
const UNTIL_MENDED: Duration = Duration::from_hours(24 * 365);

impl Outbox {
    /// Until when a Page is paused, as known at most 5 s ago.
    ///
    /// # Errors
    /// [`OutboxError`] if the table or the secret cannot be read.
    pub async fn pause_of(&self, page_id: &str) -> Result<Option<Timestamp>, OutboxError> {
        let now = self.clock.now();
        let known = self.pages.lock().await.get(page_id).cloned();
        let page = match known {
            Some(known) if now.since(known.read_at) < KNOWN_FOR => known.page,
            _ => self.remember_page(page_id, self.store.page(page_id).await?).await,
        };
        let Some(until) = page.paused_until.filter(|until| now < *until) else {
            return Ok(None);
        };
        if let Some(version) = &page.pause_version
            && self.secrets.current().await?.version != *version
        {
            self.remember_page(page_id, self.store.unpause_page(page_id).await?).await;
            return Ok(None);
        }
        Ok(Some(until))
    }

    /// Whether a sweep passes a Page over, by its item as it is now.
    ///
    /// A Page that waits for a new version of the secret is looked at with the secret read anew.
    ///
    /// # Errors
    /// [`OutboxError`] if the table or the secret cannot be read.
    pub async fn is_paused_for_sweep(&self, page_id: &str) -> Result<bool, OutboxError> {
        let page = self.remember_page(page_id, self.store.page(page_id).await?).await;
        if page.pause_version.is_some() {
            self.secrets.reread().await?;
        }
        Ok(self.pause_of(page_id).await?.is_some())
    }

    /// Pauses a Page if the error is about all of its messages: whether it is.
    pub(super) async fn pause_for(
        &self,
        page_id: &str,
        error: &GraphError,
    ) -> Result<bool, OutboxError> {
        let first = match error.fault {
            Fault::Throttled => error.regain_after.unwrap_or(Duration::from_mins(1)),
            Fault::PageRestricted => Duration::from_mins(30),
            Fault::PolicyBlock => Duration::from_hours(1),
            Fault::TokenDead => UNTIL_MENDED,
            _ => return Ok(false),
        };
        let now = self.clock.now();
        let page = self.store.page(page_id).await?;
        let count = match page.paused_until {
            Some(until) if now < until => page.pause_count,
            Some(until) if now.since(until) < LONGEST => page.pause_count + 1,
            _ => 0,
        };
        let (span, secret_version) = if error.fault == Fault::TokenDead {
            (first, Some(self.secrets.current().await?.version.clone()))
        } else {
            let doubled = first.saturating_mul(1 << count.min(16));
            (doubled.clamp(first, LONGEST.max(first)), None)
        };
        let reason = error.fault.name();
        let pause = Pause { until: now + span, reason, secret_version, count };
        let page = self.store.pause_page(page_id, &pause).await?;
        self.remember_page(page_id, page).await;
        self.telemetry.count("PagePaused", page_id, &[("reason", reason)]);
        tracing::error!(page = page_id, %error, until = %pause.until, "the Page is paused");
        Ok(true)
    }

    async fn remember_page(&self, page_id: &str, page: PageItem) -> PageItem {
        let known = KnownPage { page: page.clone(), read_at: self.clock.now() };
        self.pages.lock().await.insert(page_id.to_owned(), known);
        page
    }
}
