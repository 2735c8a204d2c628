//! Pages' pauses: what Meta says about all of a Page's messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::OutboxError;
use crate::graph::{Fault, GraphError};
use crate::runtime::Environment;
use crate::secrets::Secrets;
use crate::store::{PageItem, Pause, Store};
use crate::telemetry::{Metric, Telemetry};
use messenger::clock::{SharedClock, Timestamp};

/// For how long a Page's item is trusted without another read.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// The longest pause that ends by time.
const LONGEST: Duration = Duration::from_hours(4);

/// A pause that only a new version of the secret ends is looked at again after this time.
const UNTIL_MENDED: Duration = Duration::from_hours(24 * 365);

/// The Pages' pauses, with a short memory of each Page's item.
#[derive(Debug)]
pub struct Pauses {
    store: Store,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
    known: Mutex<HashMap<String, KnownPage>>,
}

#[derive(Clone, Debug)]
struct KnownPage {
    page: PageItem,
    read_at: Timestamp,
}

impl Pauses {
    pub(super) fn new(store: Store, environment: &Environment) -> Self {
        Self {
            store,
            secrets: Arc::clone(&environment.secrets),
            clock: Arc::clone(&environment.clock),
            telemetry: environment.telemetry.clone(),
            known: Mutex::default(),
        }
    }

    /// Until when a Page is paused, as known at most 5 s ago.
    ///
    /// # Errors
    /// [`OutboxError`] if the table or the secret cannot be read.
    pub async fn until(&self, page_id: &str) -> Result<Option<Timestamp>, OutboxError> {
        let now = self.clock.now();
        let known = self.known.lock().await.get(page_id).cloned();
        let page = match known {
            Some(known) if now.since(known.read_at) < KNOWN_FOR => known.page,
            _ => self.remember(page_id, self.store.page(page_id).await?).await,
        };
        let Some(until) = page.paused_until.filter(|until| now < *until) else {
            return Ok(None);
        };
        if let Some(version) = &page.pause_version
            && self.secrets.current().await?.version != *version
        {
            self.remember(page_id, self.store.unpause_page(page_id).await?).await;
            return Ok(None);
        }
        Ok(Some(until))
    }

    /// Until when a Page is paused, by its item as it is now.
    ///
    /// A Page that waits for a new version of the secret is looked at with the secret read anew.
    ///
    /// # Errors
    /// [`OutboxError`] if the table or the secret cannot be read.
    pub async fn until_by_fresh_read(
        &self,
        page_id: &str,
    ) -> Result<Option<Timestamp>, OutboxError> {
        let page = self.remember(page_id, self.store.page(page_id).await?).await;
        if page.pause_version.is_some() {
            self.secrets.reread().await?;
        }
        self.until(page_id).await
    }

    /// Pauses a Page if the error is about all of its messages.
    pub(super) async fn pause_for(
        &self,
        page_id: &str,
        error: &GraphError,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let Some(first) = first_span(error) else {
            return Ok(());
        };
        let page = self.store.page(page_id).await?;
        let count = count_after(&page, now);
        let (span, secret_version) = if error.fault == Fault::TokenDead {
            (first, Some(self.secrets.current().await?.version.clone()))
        } else {
            let doubled = first.saturating_mul(1 << count.min(16));
            (doubled.clamp(first, LONGEST.max(first)), None)
        };
        let reason = error.fault.name();
        let pause = Pause { until: now + span, reason, secret_version, count };
        let page = self.store.pause_page(page_id, &pause).await?;
        self.remember(page_id, page).await;
        self.telemetry.count(Metric::PagePaused, page_id, &[("reason", reason)]);
        tracing::error!(page = page_id, %error, until = %pause.until, "the Page is paused");
        Ok(())
    }

    async fn remember(&self, page_id: &str, page: PageItem) -> PageItem {
        let known = KnownPage { page: page.clone(), read_at: self.clock.now() };
        self.known.lock().await.insert(page_id.to_owned(), known);
        page
    }
}

/// How long the first pause in a row is; none if the error is about one message only.
fn first_span(error: &GraphError) -> Option<Duration> {
    match error.fault {
        Fault::Throttled => Some(error.regain_after.unwrap_or(Duration::from_mins(1))),
        Fault::PageRestricted => Some(Duration::from_mins(30)),
        Fault::PolicyBlock => Some(Duration::from_hours(1)),
        Fault::TokenDead => Some(UNTIL_MENDED),
        _ => None,
    }
}

/// How many pauses came before this one in a row.
fn count_after(page: &PageItem, now: Timestamp) -> u64 {
    match page.paused_until {
        Some(until) if now < until => page.pause_count,
        Some(until) if now.since(until) < LONGEST => page.pause_count + 1,
        _ => 0,
    }
}
