//! The Send API: one message, or sender action, to one person.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::graph::{Access, Fault, Graph, GraphError};
use crate::secrets::{Secret, SecretError, Secrets};
use messenger::message::Outgoing;
use messenger::person::Person;
use messenger::window::Label;

/// A request to the Send API.
#[derive(Clone, Copy, Debug)]
pub struct SendCall<'a> {
    /// The Page that sends.
    pub page_id: &'a str,
    /// The recipient.
    pub person: &'a Person,
    /// The message, or the sender action.
    pub say: &'a Outgoing,
    /// A message's `messaging_type` and `tag`; a sender action has none.
    pub label: Label,
    /// Returned in the message's echo; less than 1,000 characters.
    pub metadata: &'a str,
}

/// Meta's receipt for a message, or a sender action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The message's mid; Meta has been seen to omit it, and a sender action has none.
    pub mid: Option<String>,
    /// The PSID, unless the recipient was given by `user_ref`.
    pub recipient_id: Option<String>,
    /// When Meta will accept requests again, if the Page's rate limit has now been reached.
    pub regain_after: Option<Duration>,
}

/// Why a message was not, or may not have been, sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Graph answered with an error, or not at all.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The secret cannot be read, or a part of it is missing.
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
    /// Creates a client of the Send API.
    pub fn new(graph: Graph, secrets: Arc<Secrets>) -> Self {
        Self { graph, secrets }
    }

    /// The Graph client that it sends through.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Posts a message, or a sender action, once.
    ///
    /// After a dead token, the request is repeated once if a fresh read of the secret has another token.
    ///
    /// # Errors
    /// [`SendError`]; its fault says whether the message may have been delivered.
    pub async fn send(&self, outgoing: SendCall<'_>) -> Result<Sent, SendError> {
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

    async fn post(&self, secret: &Secret, outgoing: SendCall<'_>) -> Result<Sent, SendError> {
        let application = secret.application_of(outgoing.page_id)?;
        let page = application.page(outgoing.page_id)?;
        let app_secret = Some(application.app_secret()?);
        let access = Access { token: &page.access_token, app_secret };
        let mut body = outgoing.say.clone().into_body();
        body["recipient"] = recipient(outgoing.person);
        if let Some(Value::Object(message)) = body.get_mut("message") {
            message.insert("metadata".to_owned(), outgoing.metadata.into());
            body["messaging_type"] = outgoing.label.messaging_type().into();
            if let Some(tag) = outgoing.label.tag() {
                body["tag"] = tag.into();
            }
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

fn recipient(person: &Person) -> Value {
    match person {
        Person::Psid(id) => json!({"id": id}),
        Person::UserRef(id) => json!({"user_ref": id}),
        Person::Comment(id) => json!({"comment_id": id}),
        Person::Post(id) => json!({"post_id": id}),
    }
}
