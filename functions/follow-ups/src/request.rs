//! A request: a message to be stored and sent when it is due.

use backend::outbox::ScheduleError;
pub use backend::request::{RequestError, read};
use messenger::window::Allowed;
use serde_json::{Value, json};

use crate::{FollowUps, FollowUpsError};

impl FollowUps {
    /// Stores the message of a request.
    pub(crate) async fn store(
        &self,
        payload: &Value,
        invocation: &str,
    ) -> Result<Value, FollowUpsError> {
        let wanted = read(payload, invocation, self.clock.now())?;
        let id = payload["id"].as_str().map_or(invocation, |id| id).to_owned();
        let stored = match self.outbox.schedule(wanted).await {
            Ok(stored) => stored,
            Err(ScheduleError::Outbox(error)) => return Err(error.into()),
            Err(error) => return Err(RequestError::NotTaken(error).into()),
        };
        let (label, reason) = match stored.outlook {
            Ok(allowed) => {
                let label = allowed.label();
                let reason = match allowed {
                    Allowed::AsMeant(_) => None,
                    Allowed::Fallback(refusal) => {
                        Some(format!("the fallback template goes instead: {refusal}"))
                    }
                };
                (label.tag().unwrap_or(label.messaging_type()), reason)
            }
            Err(refusal) => ("refused", Some(refusal.to_string())),
        };
        Ok(json!({
            "id": id,
            "entry": stored.key.id,
            "status": stored.status.name(),
            "stored": if stored.is_new { "now" } else { "before" },
            "due_at": stored.due_at.millis(),
            "due": stored.due_at.to_string(),
            "outlook": {"label": label, "reason": reason},
        }))
    }
}
