//! The Send API: one message to one person.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::graph::{Access, Fault, Graph, GraphError};
use crate::secrets::{Secret, SecretError, Secrets};
use crate::window::Label;

/// What the Send API is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The Page that speaks.
    pub page_id: &'a str,
    /// To whom: a PSID, or `user_ref:…`, `comment:…`, `post:…`.
    pub person: &'a str,
    /// `messaging_type` and `tag`.
    pub label: Label,
    /// The Send API's `message` object.
    pub message: &'a Value,
    /// What comes back in the echo, under 1,000 characters.
    pub metadata: &'a str,
}

/// Meta's receipt for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id; Meta has been seen to omit it.
    pub mid: Option<String>,
    /// The PSID, unless the recipient was given by `user_ref`.
    pub recipient_id: Option<String>,
    /// When Meta takes requests again, if the Page's rate limit is now reached.
    pub regain_after: Option<Duration>,
}

/// Why a message was not, or perhaps not, sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Graph answered with an error, or not at all.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The secret is not at hand.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Sends messages with the tokens of the secret.
#[derive(Clone, Debug)]
pub struct SendApi {
    graph: Graph,
    secrets: Arc<Secrets>,
}

impl SendApi {
    /// Sends through a Graph client.
    pub fn new(graph: Graph, secrets: Arc<Secrets>) -> Self {
        Self { graph, secrets }
    }

    /// Posts a message once.
    ///
    /// A dead token is tried again only if the secret, read anew, holds another one.
    ///
    /// # Errors
    /// [`SendError`]; its fault says whether the message may have been delivered.
    pub async fn send(&self, outgoing: Outgoing<'_>) -> Result<Sent, SendError> {
        let secret = self.secrets.current().await?;
        match self.post(&secret, outgoing).await {
            Err(SendError::Graph(error)) if error.fault == Fault::TokenDead => {
                let fresh = self.secrets.after(&secret.version).await?;
                if fresh.version == secret.version {
                    return Err(error.into());
                }
                self.post(&fresh, outgoing).await
            }
            other => other,
        }
    }

    async fn post(&self, secret: &Secret, outgoing: Outgoing<'_>) -> Result<Sent, SendError> {
        let application = secret.application_of(outgoing.page_id)?;
        let page = application.page(outgoing.page_id)?;
        let app_secret = Some(application.app_secret()?);
        let access = Access { token: &page.access_token, app_secret };
        let mut message = outgoing.message.clone();
        message["metadata"] = outgoing.metadata.into();
        let mut body = json!({
            "recipient": recipient(outgoing.person),
            "messaging_type": outgoing.label.messaging_type(),
            "message": message,
        });
        if let Some(tag) = outgoing.label.tag() {
            body["tag"] = tag.into();
        }
        let answer = self.graph.post(&[outgoing.page_id, "messages"], access, &body).await?;
        let text = |field: &str| answer.body[field].as_str().map(str::to_owned);
        Ok(Sent {
            mid: text("message_id"),
            recipient_id: text("recipient_id"),
            regain_after: answer.regain_after,
        })
    }
}

fn recipient(person: &str) -> Value {
    match person.split_once(':') {
        Some(("user_ref", id)) => json!({"user_ref": id}),
        Some(("comment", id)) => json!({"comment_id": id}),
        Some(("post", id)) => json!({"post_id": id}),
        _ => json!({"id": person}),
    }
}
