//! Follow-ups: what is due now, and what is to be due later.
//!
//! Invoked by the schedule it sweeps every Page; invoked with a request it stores a message.

pub mod request;
mod sweep;

use std::sync::Arc;

use backend::outbox::{Outbox, OutboxError};
use backend::runtime::Environment;
use backend::settings::Variables;
use messenger::clock::{SharedClock, Timestamp};
use serde_json::Value;

pub use request::RequestError;
pub use sweep::Summary;

/// The settings of the follow-ups.
#[derive(Clone, Copy, Debug)]
pub struct FollowUpsSettings {
    /// How many messages a Page may send in a second.
    pub rate: u32,
    /// How many messages with audio or video a Page may send in a second.
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
    /// The request is wrong, and says where.
    #[error("bad request: {0}")]
    Request(#[from] RequestError),
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
    clock: SharedClock,
    settings: FollowUpsSettings,
}

impl FollowUps {
    /// Builds the function.
    pub fn new(environment: &Environment) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(environment)),
            clock: Arc::clone(&environment.clock),
            settings: FollowUpsSettings::new(&environment.variables),
        }
    }

    /// Opens the connections while the function is initialised.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }

    /// Sweeps, or stores what is asked for: a summary, or what was stored.
    ///
    /// A schedule's event is an object without `psid` and with a `source`, as `EventBridge` sends it.
    ///
    /// # Errors
    /// [`FollowUpsError`]; what was due and not sent stays due.
    pub async fn handle(
        &self,
        payload: Value,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Value, FollowUpsError> {
        if payload.get("psid").is_none() && payload.get("source").is_some() {
            let summary = self.sweep(invocation, deadline).await?;
            tracing::info!(?summary, "swept");
            return Ok(serde_json::to_value(summary)?);
        }
        self.store(&payload, invocation).await
    }
}
