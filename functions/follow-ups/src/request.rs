//! A request: a message to be stored and sent when it is due.

use backend::answer::Message;
use backend::outbox::{OutboxError, ScheduleError};
use backend::request;
use serde_json::Value;

use crate::{FollowUps, FollowUpsError};

impl FollowUps {
    /// Stores the message of a request.
    pub(crate) async fn store(
        &self,
        payload: &Value,
        invocation: &str,
    ) -> Result<Message, FollowUpsError> {
        let wanted = request::read(payload, invocation, self.clock.now())?;
        let stored = match self.outbox.schedule(wanted).await {
            Ok(stored) => stored,
            Err(ScheduleError::Outbox(error)) => return Err(error.into()),
            Err(error) => return Err(FollowUpsError::NotTaken(error)),
        };
        let entry = self.outbox.store().entry(&stored.key).await.map_err(OutboxError::from)?;
        let entry = entry.ok_or(OutboxError::HeldElsewhere)?;
        Ok(Message::new(&stored.key, entry).with_forecast(stored.forecast))
    }
}
