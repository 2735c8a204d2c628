//! The Send API: one message, or sender action, to one person.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::credentials::Credentials;
use crate::graph::{Access, Answer, CALL_TIMEOUT, Fault, Graph, GraphError};
use crate::secrets::{Application, SecretError, Secrets};
use crate::store::StepKey;
use messenger::event::Platform;
use messenger::message::{Message, Outgoing};
use messenger::person::Person;
use messenger::window::Label;

/// How long an upload may take, in which Meta fetches the media: less than the API's function may run.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(22);

/// How long saved media can be sent.
pub const MEDIA_KEPT: Duration = Duration::from_hours(24 * 90);

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
    /// What the message's metadata names, so that its echo confirms it.
    pub step: &'a StepKey,
}

/// Meta's receipt for a message, or a sender action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The message's mid; Meta has been seen to omit it, and a sender action has none.
    pub mid: Option<String>,
    /// The PSID, unless the recipient was given by `user_ref`, a token or a phone number.
    pub recipient_id: Option<String>,
    /// The id of the media that Meta saved, if it was asked to.
    pub attachment_id: Option<String>,
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
    /// If Graph refuses the credentials, the request is repeated with others, if there are any: see
    /// [`Credentials::after`].
    ///
    /// # Errors
    /// [`SendError`]; its fault says whether the message may have been delivered. If all credentials
    /// were refused, it carries the version of the secret that was tried last.
    pub async fn send(&self, outgoing: SendCall<'_>) -> Result<Sent, SendError> {
        let body = |application: &Application| body_of(outgoing, application);
        let answer = self.call(outgoing.page_id, "messages", CALL_TIMEOUT, body).await?;
        let text = |field: &str| answer.body[field].as_str().map(str::to_owned);
        Ok(Sent {
            mid: text("message_id"),
            recipient_id: text("recipient_id"),
            attachment_id: media_id(&answer.body["attachment_id"]),
            regain_after: answer.regain_after,
        })
    }

    /// Lets Meta fetch and save media for a Page, and returns their `attachment_id`, which is valid for
    /// [`MEDIA_KEPT`].
    ///
    /// Source: Meta's reference of the Attachment Upload API. It sends nothing, so that it can be repeated.
    ///
    /// # Errors
    /// [`SendError`], also if the answer names no id.
    pub async fn upload(
        &self,
        page_id: &str,
        platform: Platform,
        media: &Message,
    ) -> Result<String, SendError> {
        let body = |_: &Application| {
            let mut body = json!({"message": media});
            if platform == Platform::Instagram {
                body["platform"] = "instagram".into();
            }
            Ok(body)
        };
        let answer = self.call(page_id, "message_attachments", UPLOAD_TIMEOUT, body).await?;
        media_id(&answer.body["attachment_id"])
            .ok_or_else(|| GraphError::from(Fault::Unclear).into())
    }

    /// Posts to an edge of a Page, again with other credentials if they are refused.
    async fn call(
        &self,
        page_id: &str,
        edge: &str,
        timeout: Duration,
        body: impl Fn(&Application) -> Result<Value, SecretError>,
    ) -> Result<Answer, SendError> {
        let mut credentials = Credentials::current(&self.secrets).await?;
        loop {
            let error = match self.post(&credentials, page_id, edge, timeout, &body).await {
                Err(SendError::Graph(error)) => error,
                other => return other,
            };
            match credentials.after(error.fault, page_id, &self.secrets).await? {
                Some(others) => credentials = others,
                None if error.fault.is_of_credentials() => {
                    let secret_version = Some(credentials.version().to_owned());
                    return Err(GraphError { secret_version, ..error }.into());
                }
                None => return Err(error.into()),
            }
        }
    }

    async fn post(
        &self,
        credentials: &Credentials,
        page_id: &str,
        edge: &str,
        timeout: Duration,
        body: impl Fn(&Application) -> Result<Value, SecretError>,
    ) -> Result<Answer, SendError> {
        let application = credentials.secret().application_of(page_id)?;
        let page = application.page(page_id)?;
        let app_secret = Some(credentials.app_secret(application)?);
        let access = Access { token: &page.access_token, app_secret };
        let body = body(application)?;
        let answer = self.graph.post_within(timeout, &[page_id, edge], access, &body).await?;
        if answer.body.is_object() {
            Ok(answer)
        } else {
            Err(GraphError::from(Fault::Unclear).into())
        }
    }
}

/// The body of a request to the Send API.
fn body_of(outgoing: SendCall<'_>, application: &Application) -> Result<Value, SecretError> {
    let mut body = outgoing.say.clone().into_body();
    body["recipient"] = recipient(outgoing.person);
    if let Some(Value::Object(message)) = body.get_mut("message") {
        let metadata = outgoing.step.to_metadata(application.app_secret()?);
        message.insert("metadata".to_owned(), metadata.into());
        body["messaging_type"] = outgoing.label.messaging_type().into();
        if let Some(tag) = outgoing.label.tag() {
            body["tag"] = tag.into();
        }
    }
    Ok(body)
}

/// An id of saved media, which Meta writes as a text or as a number.
fn media_id(id: &Value) -> Option<String> {
    match id {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn recipient(person: &Person) -> Value {
    match person {
        Person::Psid(id) => json!({"id": id}),
        Person::UserRef(id) => json!({"user_ref": id}),
        Person::Comment(id) => json!({"comment_id": id}),
        Person::Post(id) => json!({"post_id": id}),
        Person::NotificationToken(token) => json!({"notification_messages_token": token}),
        Person::OneTimeToken(token) => json!({"one_time_notif_token": token}),
        Person::PhoneNumber(number) => json!({"phone_number": number}),
    }
}
