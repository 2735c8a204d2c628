//! Pages' pauses: what Meta says about all of a Page's messages.
//!
//! A pause because of refused credentials names the version of the secret that failed, and holds for
//! as long as a fresh read of the secret returns that version. Versions have no order, so which of two
//! is newer is decided by a fresh read alone:
//!
//! - A version pauses a Page only if it failed and a fresh read still returns it.
//! - A container whose secret is of another version than the pause reads it anew. If it now has the
//!   version that failed, it was behind, and the Page stays paused; if not, that pause ends.
//!
//! A pause by a version that is replaced at the very instant ends in the same way with the next look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::OutboxError;
use crate::graph::{Fault, GraphError, Scope};
use crate::runtime::Environment;
use crate::secrets::Secrets;
use crate::store::{PageItem, Pause, Store};
use crate::telemetry::{Metric, Telemetry};
use messenger::clock::{SharedClock, Timestamp};

/// For how long a Page's item is trusted without another read.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// How often Graph is asked at most whether it answers clearly for a Page again.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// How long a message that was sent shows that Graph works for the Page.
const WELL_FOR: Duration = Duration::from_mins(5);

/// The longest pause that ends by time.
const LONGEST: Duration = Duration::from_hours(4);

/// A pause that only another version of the secret ends is looked at again after this time.
const UNTIL_THE_SECRET_CHANGES: Duration = Duration::from_hours(24 * 365);

/// How long a rejected proof pauses a Page. If the secret was changed first, it fits without another
/// version as soon as the app secret is reset in Meta's dashboard.
const UNTIL_THE_PROOF_FITS: Duration = Duration::from_mins(1);

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
    probed_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
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
        let Some(failed) = &page.pause_version else {
            return Ok(Some(until));
        };
        let known = self.secrets.current().await?;
        if known.version == *failed || self.secrets.after(&known.version).await?.version == *failed
        {
            return Ok(Some(until));
        }
        let page = self.remember(page_id, self.store.unpause_page(page_id, failed).await?).await;
        Ok(page.paused_until.filter(|until| now < *until))
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
        let is_paused = page.paused_until.is_some_and(|until| self.clock.now() < until);
        if is_paused && page.pause_version.is_some() {
            self.secrets.reread().await?;
        }
        self.until(page_id).await
    }

    /// Pauses a Page if the error is about all of its messages.
    pub(super) async fn pause_for(
        &self,
        page_id: &str,
        error: &GraphError,
        regain_after: Option<Duration>,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let Some(first) = first_span(error.fault, regain_after) else {
            return Ok(());
        };
        // Before the secret: who has paused it since then has read the secret later.
        let seen = self.store.page(page_id).await?;
        if let Some(failed) = &error.secret_version
            && self.secrets.after(failed).await?.version != *failed
        {
            return Ok(());
        }
        let count = count_after(&seen, now);
        let span = if error.fault.is_of_credentials() {
            first
        } else {
            first.saturating_mul(1 << count.min(16)).clamp(first, LONGEST.max(first))
        };
        let reason = error.fault.name();
        let secret_version = error.secret_version.clone();
        let pause = Pause { until: now + span, reason, secret_version, count };
        let (page, is_made) = self.store.pause_page(page_id, &pause, &seen).await?;
        self.remember(page_id, page).await;
        if is_made {
            self.telemetry.count(Metric::PagePaused, page_id, &[("reason", reason)]);
            if error.fault.needs_people() {
                self.telemetry.call_for_attention(page_id, reason);
            }
            tracing::error!(page = page_id, %error, until = %pause.until, "the Page is paused");
        }
        Ok(())
    }

    pub(super) async fn remember(&self, page_id: &str, page: PageItem) -> PageItem {
        let mut known = self.known.lock().await;
        let read_at = self.clock.now();
        if let Some(known) = known.get_mut(page_id) {
            known.page = page.clone();
            known.read_at = read_at;
        } else {
            let page = page.clone();
            let new = KnownPage { page, read_at, probed_at: None, sent_at: None };
            known.insert(page_id.to_owned(), new);
        }
        page
    }

    /// A Page's item as it was last read or written here.
    pub(super) async fn known(&self, page_id: &str) -> Option<PageItem> {
        self.known.lock().await.get(page_id).map(|known| known.page.clone())
    }

    /// Whether the last probe of a Page is old enough for another one, which is then noted.
    pub(super) async fn may_probe(&self, page_id: &str, now: Timestamp) -> bool {
        let mut known = self.known.lock().await;
        let Some(known) = known.get_mut(page_id) else { return true };
        let may = known.probed_at.is_none_or(|at| now.since(at) >= PROBE_EVERY);
        if may {
            known.probed_at = Some(now);
        }
        may
    }

    /// Remembers that a message of the Page was sent, in a call that began at `began`.
    ///
    /// It costs a write only if a message that was answered with error 2 is known from before.
    pub(super) async fn heard_well(
        &self,
        page_id: &str,
        began: Timestamp,
    ) -> Result<(), OutboxError> {
        let mut known = self.known.lock().await;
        let Some(page) = known.get_mut(page_id) else { return Ok(()) };
        page.sent_at = Some(began);
        let was_refused = page.page.refused_at.is_some_and(|at| at < began);
        drop(known);
        if was_refused {
            let page = self.store.note_taken(page_id, began).await?;
            self.remember(page_id, page).await;
        }
        Ok(())
    }

    /// Notes that Graph answered a message of the Page with error 2: when it last took another one
    /// after such an answer, if it did.
    pub(super) async fn heard_refusal(
        &self,
        page_id: &str,
    ) -> Result<Option<Timestamp>, OutboxError> {
        let page = self.store.note_refused(page_id, self.clock.now()).await?;
        Ok(self.remember(page_id, page).await.taken_at)
    }

    /// Whether other messages of the Page are sent, as far as this container knows.
    pub(super) async fn is_well(&self, page_id: &str, now: Timestamp) -> bool {
        let known = self.known.lock().await;
        let sent_at = known.get(page_id).and_then(|known| known.sent_at);
        sent_at.is_some_and(|at| now.since(at) <= WELL_FOR)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}

/// How long the first pause in a row is; none if the error is not about all of the Page's messages.
fn first_span(fault: Fault, regain_after: Option<Duration>) -> Option<Duration> {
    if !matches!(fault.scope(), Scope::Page | Scope::App) {
        return None;
    }
    Some(match fault {
        Fault::TokenDead => UNTIL_THE_SECRET_CHANGES,
        Fault::ProofRejected => UNTIL_THE_PROOF_FITS,
        Fault::PageRestricted | Fault::PolicyBlock => Duration::from_mins(30),
        _ => regain_after.unwrap_or(Duration::from_mins(1)),
    })
}

/// How many pauses that end by time came before this one in a row.
fn count_after(page: &PageItem, now: Timestamp) -> u64 {
    match page.paused_until {
        _ if page.pause_version.is_some() => 0,
        Some(until) if now < until => page.pause_count,
        Some(until) if now.since(until) < LONGEST => page.pause_count + 1,
        _ => 0,
    }
}
