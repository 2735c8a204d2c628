//! The one way out: every message leaves through here, and the window is decided here, at the
//! moment of sending.
//!
//! - [`Outbox::commit`] writes what the bot decided about an event, applies it and tries to send.
//! - [`Outbox::schedule`] stores a message of a person or a back-office system.
//! - [`Outbox::deliver_due`] sends what is due for one person, in order.
//! - [`Outbox::confirm`] learns from an echo that a message was delivered.

mod check;
mod commit;
mod confirm;
mod deliver;
mod page;
mod schedule;
mod serve;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use commit::{Heard, entry_id};
pub use deliver::{Delivered, Outcome};
pub use schedule::{Outlook, ScheduleError, Scheduled, ToSchedule};

use crate::aws::{self, Aws};
use crate::graph::{self, Graph, GraphSettings};
use crate::secrets::{Application, Secret, Secrets};
use crate::send::SendApi;
use crate::settings::{SettingError, Variables};
use crate::store::{
    CancelOutcome, Cancellation, Entry, EntryKey, ExpiresAt, Fate, Hold, PageItem, Reason,
    Settlement, Status, Store, StoreError,
};
use crate::telemetry::Telemetry;
use messenger::clock::{SharedClock, Timestamp};
use messenger::message::RateClass;
use messenger::window::Policy;

/// What a step may take at most: the call to Meta, and the write of its result.
const STEP_BUDGET: Duration =
    Duration::from_secs(graph::CALL_TIMEOUT.as_secs() + aws::CALL_TIMEOUT.as_secs());

/// What may be set about sending.
#[derive(Clone, Copy, Debug)]
pub struct OutboxSettings {
    /// How far to stay from the windows' edges, and from the end of a lease.
    pub policy: Policy,
    /// How long to wait for an echo before an unclear message is sent again.
    pub echo_grace: Duration,
    /// How long an entry stays readable after its end.
    pub retention: Duration,
    /// How long an entry is tried after it was first due.
    pub give_up_after: Duration,
    /// The largest state of the bot's author, in bytes of JSON.
    pub max_state_bytes: usize,
}

impl OutboxSettings {
    /// Reads `SAFETY_MARGIN_SECONDS`, `ECHO_GRACE_SECONDS`, `RETENTION_DAYS`, `GIVE_UP_DAYS` and
    /// `MAX_STATE_BYTES`.
    ///
    /// # Errors
    /// [`SettingError`] if one of them is out of its range.
    pub fn from_variables(vars: &Variables) -> Result<Self, SettingError> {
        const DAY: u64 = 24 * 60 * 60;
        Ok(Self {
            policy: Policy { margin: vars.span_or("SAFETY_MARGIN_SECONDS", 60, 1, 0..=3600)? },
            echo_grace: vars.span_or("ECHO_GRACE_SECONDS", 60, 1, 1..=3600)?,
            retention: vars.span_or("RETENTION_DAYS", 15, DAY, 15..=3650)?,
            give_up_after: vars.span_or("GIVE_UP_DAYS", 7, DAY, 1..=14)?,
            max_state_bytes: vars.parsed_or("MAX_STATE_BYTES", 512)?,
        })
    }
}

/// A function's turn at sending: who it is, how long it has, how fast it may go.
#[derive(Debug)]
pub struct Turn {
    /// What it takes is taken under this name, until well after it has ended.
    pub hold: Hold,
    /// When the function is stopped, ms since the epoch.
    pub deadline: Timestamp,
    /// How fast messages may leave; as fast as they can if absent.
    pub pace: Option<Pace>,
}

impl Turn {
    /// A turn that ends at `deadline`, named after the invocation.
    ///
    /// What it takes stays taken for the safety margin beyond, so that a clock which is ahead of
    /// ours by less than that does not see it free while we still send.
    pub fn until(deadline: Timestamp, by: impl Into<String>, policy: &Policy) -> Self {
        let hold = Hold { by: by.into(), until: deadline + policy.margin, for_entry: None };
        Self { hold, deadline, pace: None }
    }

    /// Whether a step may still be begun.
    pub fn has_time(&self, now: Timestamp) -> bool {
        now + STEP_BUDGET <= self.deadline
    }
}

/// Spaces messages so that a Page's rates are kept.
#[derive(Debug)]
pub struct Pace {
    text: Spacing,
    media: Spacing,
}

impl Pace {
    /// At most so many messages a second with sound or film, and so many others.
    pub fn per_second(text: u32, media: u32) -> Self {
        Self { text: Spacing::per_second(text), media: Spacing::per_second(media) }
    }

    async fn wait(&self, class: RateClass, clock: &SharedClock) {
        match class {
            RateClass::Text => self.text.wait(clock).await,
            RateClass::Media => self.media.wait(clock).await,
        }
    }
}

#[derive(Debug)]
struct Spacing {
    interval: Duration,
    next: Mutex<Option<Timestamp>>,
}

impl Spacing {
    fn per_second(rate: u32) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), next: Mutex::new(None) }
    }

    async fn wait(&self, clock: &SharedClock) {
        let now = clock.now();
        let turn = {
            let mut next = self.next.lock().await;
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + self.interval);
            turn
        };
        if turn > now {
            clock.sleep(turn.since(now)).await;
        }
    }
}

/// Why the outbox could not do its work; nothing is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] crate::secrets::SecretError),
    /// Another invocation is still at this event.
    #[error("another invocation still holds this event's entry; it is tried again later")]
    HeldElsewhere,
    /// A value could not be written as JSON.
    #[error("a value is not of its JSON form (line {}, column {})", .0.line(), .0.column())]
    Json(#[from] serde_json::Error),
}

/// The one way out.
#[derive(Debug)]
pub struct Outbox {
    store: Store,
    send: SendApi,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
    settings: OutboxSettings,
    pages: Mutex<HashMap<String, KnownPage>>,
}

#[derive(Clone, Debug)]
struct KnownPage {
    page: PageItem,
    read_at: Timestamp,
}

impl Outbox {
    /// Puts the parts together.
    pub fn new(
        store: Store,
        send: SendApi,
        secrets: Arc<Secrets>,
        clock: SharedClock,
        telemetry: Telemetry,
        settings: OutboxSettings,
    ) -> Self {
        Self { store, send, secrets, clock, telemetry, settings, pages: Mutex::default() }
    }

    /// Builds everything from the environment: `TABLE_NAME`, `SECRET_ID`, and the settings of
    /// sending and of Graph.
    ///
    /// # Errors
    /// [`SettingError`] names the variable that is missing or cannot be used.
    pub fn from_variables(
        vars: &Variables,
        aws: &Aws,
        clock: &SharedClock,
        telemetry: Telemetry,
    ) -> Result<Self, SettingError> {
        let secret_id = vars.required("SECRET_ID")?;
        let secrets = Arc::new(Secrets::new(aws.secrets_manager(), secret_id, Arc::clone(clock)));
        let graph = Graph::new(GraphSettings::from_variables(vars)?)?;
        Ok(Self::new(
            Store::new(aws.dynamodb(), vars.required("TABLE_NAME")?),
            SendApi::new(graph, Arc::clone(&secrets)),
            secrets,
            Arc::clone(clock),
            telemetry,
            OutboxSettings::from_variables(vars)?,
        ))
    }

    /// Opens the connections while the function is being initialised, when time costs nobody.
    ///
    /// It reads what the first event needs anyway: the secret, and the Pages' pauses.
    pub async fn warm_up(&self) {
        let Ok(secret) = self.secrets.current().await else {
            return;
        };
        for page_id in secret.page_ids().take(1) {
            if let Err(error) = self.pause_of(page_id).await {
                tracing::warn!(%error, "the table did not answer at the start");
            }
        }
    }

    /// The secret's contents.
    ///
    /// # Errors
    /// [`OutboxError`] if it cannot be read.
    pub async fn secret(&self) -> Result<Arc<Secret>, OutboxError> {
        Ok(self.secrets.current().await?)
    }

    /// The id of the app that a Page belongs to, if the secret names it.
    ///
    /// # Errors
    /// [`OutboxError`] if the secret cannot be read.
    pub async fn app_id(&self, page_id: &str) -> Result<Option<String>, OutboxError> {
        let secret = self.secrets.current().await?;
        let app_id = secret.application_of(page_id).and_then(Application::app_id);
        Ok(app_id.ok().map(str::to_owned))
    }

    /// Cancels an entry because the person answered, unless it is younger than the answer.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn cancel(
        &self,
        key: &EntryKey,
        answered_at: Timestamp,
    ) -> Result<CancelOutcome, OutboxError> {
        let now = self.clock.now();
        let expires_at = self.expires_at(now);
        let why = Cancellation::Answered(answered_at);
        let outcome = self.store.cancel_entry(key, why, now, expires_at).await?;
        if outcome == CancelOutcome::Cancelled {
            self.telemetry.count("Cancelled", &key.who.page_id, &[("reason", why.reason().code())]);
        }
        Ok(outcome)
    }

    /// Cancels an entry that waits, because whoever asked for it does not want it any more.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer; calling it again completes the work.
    pub async fn withdraw(
        &self,
        key: &EntryKey,
        entry: &Entry,
    ) -> Result<CancelOutcome, OutboxError> {
        let now = self.clock.now();
        let why = Cancellation::Withdrawn;
        let outcome = self.store.cancel_entry(key, why, now, self.expires_at(now)).await?;
        if outcome == CancelOutcome::Cancelled {
            self.count_end(key, entry, Status::Cancelled, Some(&why.reason()));
            let settlement = Settlement { forget: vec![entry.waiting()], ..Settlement::default() };
            self.store.settle(&key.who, &settlement).await?;
        }
        Ok(outcome)
    }

    /// The table that the entries are in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is set about sending.
    pub fn settings(&self) -> &OutboxSettings {
        &self.settings
    }

    fn ended(&self, status: Status, reason: Option<Reason>) -> Fate {
        let at = self.clock.now();
        Fate::Ended { status, reason, at, expires_at: self.expires_at(at) }
    }

    /// When an entry that ends at `at` is dropped.
    fn expires_at(&self, at: Timestamp) -> ExpiresAt {
        ExpiresAt::after(at, self.settings.retention)
    }

    /// Counts an entry's end.
    fn count_end(&self, key: &EntryKey, entry: &Entry, status: Status, reason: Option<&Reason>) {
        let metric = match status {
            Status::Sent => "Sent",
            Status::Refused => "Refused",
            Status::Failed => "Failed",
            Status::Cancelled => "Cancelled",
            Status::Open => return,
        };
        let reason = reason.map_or("done", Reason::code);
        let details = [("purpose", entry.purpose.name()), ("reason", reason)];
        self.telemetry.count(metric, &key.who.page_id, &details);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, ready};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use messenger::clock::Clock;

    /// Time passes only while somebody sleeps.
    #[derive(Debug, Default)]
    struct SleepClock(AtomicI64);

    impl Clock for SleepClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
            Box::pin(ready(()))
        }
    }

    #[tokio::test]
    async fn no_second_holds_more_messages_than_the_rate() {
        let clock: SharedClock = Arc::new(SleepClock::default());
        let pace = Pace::per_second(4, 1);
        let mut times = Vec::new();
        for _ in 0..20 {
            pace.wait(RateClass::Text, &clock).await;
            times.push(clock.now().millis());
        }
        for start in &times {
            assert!(times.iter().filter(|at| (*start..*start + 1000).contains(*at)).count() <= 4);
        }
        assert_eq!(times.last(), Some(&4750), "and no slower than it may be");
    }

    #[tokio::test]
    async fn sound_and_film_have_a_rate_of_their_own() {
        let clock: SharedClock = Arc::new(SleepClock::default());
        let pace = Pace::per_second(4, 1);
        let mut times = Vec::new();
        for class in [RateClass::Media, RateClass::Text, RateClass::Text, RateClass::Media] {
            pace.wait(class, &clock).await;
            times.push(clock.now().millis());
        }
        assert_eq!(times, [0, 0, 250, 1000]);
    }
}
