//! The one way out: every message leaves through here, and the window is decided here, at the
//! moment of sending.
//!
//! - [`Outbox::commit`] writes what the bot decided about an event, applies it and tries to send.
//! - [`Outbox::schedule`] stores a message of a person or a back-office system.
//! - [`Outbox::reply_privately`] stores and sends what the bot decided about a comment.
//! - [`Outbox::serve`] sends what is due for one person, in order.
//! - [`Outbox::confirm`] learns from an echo that a message was delivered.
//! - [`Outbox::cancel`] ends what is no longer wanted.
//! - [`Outbox::show_typing`] shows that the bot thinks, which alone has no entry.
//! - [`Outbox::take_own`] finds out whether the bot is still to be asked about a timer that was due.
//! - [`Outbox::profile`] finds what Meta shows of a person.
//!
//! Calls go one way: `commit` → `serve` → `deliver` → `attempt` → `confirm` → `settle`, and
//! `schedule` → `settle`. `plan` and `next` decide without reading or writing anything.

mod after_error;
mod attempt;
mod comment;
mod commit;
mod confirm;
mod context;
mod deliver;
mod failure;
mod next;
mod outage;
mod pace;
mod pauses;
mod permission;
mod places;
mod plan;
mod profile;
mod schedule;
mod serve;
mod settle;
mod silence;
mod thread;
mod timer;
mod typing;
mod unapplied;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub use attempt::Outcome;
pub use commit::IncomingTurn;
pub use context::SendContext;
pub use pace::Pace;
pub use pauses::Pauses;
pub use plan::entry_id;
pub use schedule::{Forecast, ScheduleError, Scheduled, ToSchedule};
pub use thread::ControlError;
pub use timer::OwnEvent;
pub use typing::Thinking;

use crate::graph::{Graph, GraphSettings};
use crate::intake::{EventQueue, IntakeError};
use crate::publish::{PublishError, Publisher};
use crate::runtime::{self, Environment};
use crate::secrets::{Application, Secret, Secrets};
use crate::send::SendApi;
use crate::settings::Variables;
use crate::store::{EntryKey, Store, StoreError};
use crate::telemetry::Telemetry;
use futures_util::future::join;
use messenger::clock::{SharedClock, Timestamp};
use messenger::limits::{DEFAULT_GIVE_UP_DAYS, DEFAULT_QUIET_HOURS, DEFAULT_STATE_BYTES};
use messenger::window::Policy;
use serde_json::Value;

/// The settings of sending.
#[derive(Clone, Copy, Debug)]
pub struct OutboxSettings {
    /// How far to stay from the windows' edges, and whether those of ads are tried.
    pub policy: Policy,
    /// How long to wait for an echo before an unclear message is sent again.
    pub echo_grace: Duration,
    /// How long an entry stays readable after its end.
    pub retention: Duration,
    /// How long an entry is tried after it was first due.
    pub give_up_after: Duration,
    /// How long the bot is quiet after people took over.
    pub quiet_for: Duration,
    /// The largest state of the bot's author, in bytes of JSON.
    pub max_state_bytes: usize,
}

impl OutboxSettings {
    /// Reads `SAFETY_MARGIN_SECONDS`, `AD_WINDOWS`, `ECHO_GRACE_SECONDS`, `RETENTION_DAYS`,
    /// `GIVE_UP_DAYS`, `QUIET_HOURS` and `MAX_STATE_BYTES`.
    pub fn new(variables: &Variables) -> Self {
        Self {
            policy: Policy {
                margin: variables.seconds("SAFETY_MARGIN_SECONDS", 60, 0..=3600),
                ad_windows: variables.is_on("AD_WINDOWS"),
            },
            echo_grace: variables.seconds("ECHO_GRACE_SECONDS", 60, 1..=3600),
            retention: variables.days("RETENTION_DAYS", 15, 15..=3650),
            give_up_after: variables.days("GIVE_UP_DAYS", DEFAULT_GIVE_UP_DAYS, 1..=14),
            quiet_for: variables.hours("QUIET_HOURS", DEFAULT_QUIET_HOURS, 1..=720),
            max_state_bytes: variables.bytes("MAX_STATE_BYTES", DEFAULT_STATE_BYTES, 0..=100_000),
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
    /// The person was erased while the decision about an event was being applied.
    #[error("the person was erased")]
    PersonErased,
    /// It may not be known elsewhere how a message ended.
    #[error("the end of a message was not published: {0}")]
    Publish(#[from] PublishError),
    /// A timer's event may not be in the queue.
    #[error("a timer was not fired: {0}")]
    Wake(#[from] IntakeError),
    /// A value could not be written as JSON.
    #[error("a value is not of its JSON form (line {}, column {})", .0.line(), .0.column())]
    Json(#[from] serde_json::Error),
}

impl OutboxError {
    /// Whether the same work fails again, however often it is tried.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Store(error) => error.is_permanent(),
            Self::Json(_) => true,
            Self::Publish(error) => error.is_permanent(),
            Self::Secret(_) | Self::Wake(_) | Self::HeldElsewhere | Self::PersonErased => false,
        }
    }
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
    pauses: Pauses,
    publisher: Publisher,
    /// Where timers are fired into; absent in functions that fire none.
    wakes: Option<EventQueue>,
    container: String,
    runs: AtomicU64,
    warm_up_timeout: Duration,
}

impl Outbox {
    /// Builds the outbox; it reads `TABLE_NAME` and the settings of sending, of Graph and of publishing.
    pub fn new(environment: &Environment) -> Self {
        let variables = &environment.variables;
        let graph = Graph::new(GraphSettings::new(variables));
        let secrets = Arc::clone(&environment.secrets);
        let store = Store::new(environment.aws.dynamodb(), variables.required("TABLE_NAME"));
        Self {
            pauses: Pauses::new(store.clone(), environment),
            store,
            send: SendApi::new(graph, Arc::clone(&secrets)),
            secrets,
            clock: Arc::clone(&environment.clock),
            telemetry: environment.telemetry.clone(),
            settings: OutboxSettings::new(variables),
            publisher: Publisher::new(environment),
            wakes: None,
            container: environment.container.clone(),
            runs: AtomicU64::new(0),
            warm_up_timeout: environment.warm_up_timeout,
        }
    }

    /// The same, with the queue of events that timers are fired into: it reads `QUEUE_URL`.
    #[must_use]
    pub fn firing_timers(self, environment: &Environment) -> Self {
        Self { wakes: Some(EventQueue::new(environment)), ..self }
    }

    /// Opens the connections while the function is being initialised, when time costs nobody.
    ///
    /// It reads what the first event needs anyway: the secret, and a Page's pause.
    pub async fn warm_up(&self) {
        runtime::warm_up(self.warm_up_timeout, Box::pin(self.connect())).await;
    }

    async fn connect(&self) {
        let (secret, connected) = join(self.secrets.current(), self.store.connect()).await;
        if let Err(error) = connected {
            tracing::warn!(%error, "the table did not answer at the start");
            return;
        }
        let Ok(secret) = secret else { return };
        for page_id in secret.page_ids().take(1) {
            if let Err(error) = self.pauses.until(page_id).await {
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

    /// The Graph client that messages are sent through.
    pub fn graph(&self) -> &Graph {
        self.send.graph()
    }

    /// The Send API that messages are sent through, which also saves media.
    pub fn send_api(&self) -> &SendApi {
        &self.send
    }

    /// The table that the entries are in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where events are published.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Keeps what the bot did for an event under a name, as long as an entry that has ended.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn keep_memo(
        &self,
        entry: &EntryKey,
        name: &str,
        result: &Value,
        after_erasure: Option<Timestamp>,
    ) -> Result<(), OutboxError> {
        let expires_at = self.expires_at(self.clock.now());
        Ok(self.store.keep_memo(entry, name, result, after_erasure, expires_at).await?)
    }

    /// The Pages' pauses.
    pub fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// The outbox settings.
    pub fn settings(&self) -> &OutboxSettings {
        &self.settings
    }
}
