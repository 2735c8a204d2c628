//! Media that Meta saves for a Page, so that messages name them by id.
//!
//! Source: Meta's reference of the Attachment Upload API, for Messenger and for Instagram.

use std::time::Duration;

use serde_json::{Value, json};

use crate::graph::{Fault, GraphError};
use crate::send::{SendApi, SendError};
use messenger::event::Platform;
use messenger::message::Message;

/// How long an upload may take, in which Meta fetches the media: less than the API's function may run.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(22);

/// How long saved media can be sent.
pub const MEDIA_KEPT: Duration = Duration::from_hours(24 * 90);

impl SendApi {
    /// Lets Meta fetch and save media for a Page, and returns their `attachment_id`, which is valid for
    /// [`MEDIA_KEPT`]. It sends nothing, so that it can be repeated.
    ///
    /// # Errors
    /// [`SendError`], also if the answer names no id.
    pub async fn upload(
        &self,
        page_id: &str,
        platform: Platform,
        media: &Message,
    ) -> Result<String, SendError> {
        let mut body = json!({"message": media});
        let mut credentials = self.credentials().await?;
        let answer = loop {
            let node = self.sender_node(&credentials, page_id)?;
            if let Some(platform) = node.platform_parameter(platform) {
                body["platform"] = platform.into();
            }
            let path = [node.id, "message_attachments"];
            match node.graph.post_within(UPLOAD_TIMEOUT, &path, node.access, &body).await {
                Ok(answer) => break answer,
                Err(error) => {
                    credentials = self.others(&credentials, page_id, error.into()).await?;
                }
            }
        };
        let id = media_id(&answer.body["attachment_id"]);
        id.ok_or_else(|| GraphError::from(Fault::Unclear).into())
    }
}

/// An id of saved media, which Meta writes as a text or as a number.
pub(crate) fn media_id(id: &Value) -> Option<String> {
    match id {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}
