//! Follow-ups: sends what is due, and stores messages for later.
//!
//! Invoked by the schedule it sweeps every Page; invoked with a request it stores a message.

mod erasures;
mod request;
mod sweep;
mod tick;

use std::sync::{Arc, Mutex, PoisonError};

use backend::erasure::Erasures;
use backend::outbox::{Outbox, OutboxError, ScheduleError};
use backend::runtime::Environment;
use backend::settings::Variables;
use futures_util::future::join;
use messenger::clock::{SharedClock, Timestamp};
use messenger::message::Invalid;
use serde_json::Value;

pub use sweep::Summary;

/// Settings of the follow-ups.
#[derive(Clone, Copy, Debug)]
pub struct FollowUpsSettings {
    /// The most messages a second for a Page, excluding those with audio or video.
    pub rate: u32,
    /// The most messages with audio or video a second for a Page.
    pub media_rate: u32,
}

impl FollowUpsSettings {
    /// Reads `SEND_RATE_PER_SECOND` and `MEDIA_RATE_PER_SECOND`.
    pub fn new(variables: &Variables) -> Self {
        Self {
            rate: variables.parsed_or("SEND_RATE_PER_SECOND", 40),
            media_rate: variables.parsed_or("MEDIA_RATE_PER_SECOND", 5),
        }
    }
}

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum FollowUpsError {
    /// A field of the request is wrong.
    #[error("bad request: {0}")]
    Request(#[from] Invalid),
    /// The outbox does not accept the message.
    #[error("bad request: {0}")]
    NotTaken(ScheduleError),
    /// The table or the secret failed for some Pages or people.
    #[error("{0} Pages or people were not served, see the log; the next run tries again")]
    Unfinished(u64),
    /// AWS failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// A summary could not be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The follow-ups function.
#[derive(Debug)]
pub struct FollowUps {
    outbox: Arc<Outbox>,
    erasures: Erasures,
    clock: SharedClock,
    settings: FollowUpsSettings,
    /// The secret's version in the last sweep.
    swept_with: Mutex<Option<String>>,
}

impl FollowUps {
    /// Builds the function.
    pub fn new(environment: &Environment) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(environment).firing_timers(environment)),
            erasures: Erasures::new(environment),
            clock: Arc::clone(&environment.clock),
            settings: FollowUpsSettings::new(&environment.variables),
            swept_with: Mutex::default(),
        }
    }

    /// Opens the connections while the function is initialised.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }

    /// Whether the secret may have changed since the last sweep, as far as this container knows.
    fn may_have_changed(&self, version: &str) -> bool {
        let mut last = self.swept_with.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(version.to_owned());
        before.is_none_or(|before| before != version)
    }

    /// Sweeps and returns a summary, or stores the message of a request and returns it.
    ///
    /// # Errors
    /// [`FollowUpsError`]; what was due and not sent stays due.
    pub async fn handle(
        &self,
        payload: Value,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Value, FollowUpsError> {
        if tick::is_tick(&payload) {
            let sweep = self.sweep(invocation, deadline);
            let (summary, ()) = join(sweep, self.complete_erasures(deadline)).await;
            let summary = summary?;
            tracing::info!(?summary, "swept");
            // The schedule reads no answer: only a failed run shows in Lambda's metrics.
            return match summary.errors {
                0 => Ok(serde_json::to_value(summary)?),
                errors => Err(FollowUpsError::Unfinished(errors)),
            };
        }
        Ok(serde_json::to_value(self.store(&payload, invocation).await?)?)
    }
}
