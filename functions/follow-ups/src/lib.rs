//! Follow-ups: what is due now, and what is to be due later.
//!
//! Invoked by the schedule it sweeps every Page; invoked with a request it stores a message.

pub mod request;
mod sweep;

use std::sync::Arc;

use backend::outbox::{Outbox, OutboxError};
use backend::settings::{SettingError, Variables};
use messenger::clock::{SharedClock, Timestamp};
use serde_json::Value;

pub use request::RequestError;
pub use sweep::Summary;

/// What may be set about follow-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowUpsSettings {
    /// The most messages a second for a Page, those with sound or film apart.
    pub rate: u32,
    /// The most messages with sound or film a second for a Page.
    pub media_rate: u32,
}

impl FollowUpsSettings {
    /// Reads `SEND_RATE_PER_SECOND` (default 40) and `MEDIA_RATE_PER_SECOND` (default 5).
    ///
    /// # Errors
    /// [`SettingError`] if one of them is no number.
    pub fn from_variables(vars: &Variables) -> Result<Self, SettingError> {
        Ok(Self {
            rate: vars.parsed_or("SEND_RATE_PER_SECOND", 40)?,
            media_rate: vars.parsed_or("MEDIA_RATE_PER_SECOND", 5)?,
        })
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
    /// Puts the parts together.
    pub fn new(outbox: Arc<Outbox>, clock: SharedClock, settings: FollowUpsSettings) -> Self {
        Self { outbox, clock, settings }
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
