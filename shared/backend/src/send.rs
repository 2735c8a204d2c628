//! The Send API: one message, or sender action, to one person.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::credentials::{Caller, Credentials};
use crate::graph::{Access, Fault, Graph, GraphError};
use crate::media::media_id;
use crate::secrets::{Login, SecretError, Secrets};
use crate::store::StepKey;
use messenger::event::Platform;
use messenger::message::Outgoing;
use messenger::person::Person;
use messenger::window::Label;

/// A request to the Send API.
#[derive(Clone, Copy, Debug)]
pub struct SendCall<'a> {
    /// The account that sends: a Page, or an Instagram account.
    pub page_id: &'a str,
    /// The conversation's platform, whose rate limit counts.
    pub platform: Platform,
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
    /// The PSID, unless the recipient was given by `user_ref` or a phone number.
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

/// In the path of a call: the account that it is made as.
pub(crate) const ACCOUNT: &str = "me";

/// Whom Graph speaks as for an account, and how it is reached.
#[derive(Debug)]
pub(crate) struct SenderNode<'a> {
    /// The client of its host.
    pub(crate) graph: Graph,
    /// Its id.
    pub(crate) id: &'a str,
    /// What a call is made with.
    pub(crate) access: Access<'a>,
    /// The account's platform, as the secret says.
    platform: Platform,
}

impl SenderNode<'_> {
    /// The value of the parameter `platform`, which a call needs if it is about people on Instagram: the
    /// account is there, or the call is about what they have with the Page.
    pub(crate) fn platform_parameter(&self, asked: Platform) -> Option<&'static str> {
        let is_on_instagram = [self.platform, asked].contains(&Platform::Instagram);
        is_on_instagram.then_some(Platform::Instagram.name())
    }
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
        let mut credentials = self.credentials().await?;
        loop {
            match self.post(&credentials, outgoing).await {
                Err(error) => {
                    credentials = self.others(&credentials, outgoing.page_id, error).await?;
                }
                sent => return sent,
            }
        }
    }

    /// The credentials of the secret as it is known.
    pub(crate) async fn credentials(&self) -> Result<Credentials, SecretError> {
        Credentials::current(&self.secrets).await
    }

    /// Asks Graph for something as an account; [`ACCOUNT`] in the path stands for the account itself.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn look_up(
        &self,
        account_id: &str,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> Result<Value, SendError> {
        let mut credentials = self.credentials().await?;
        loop {
            let node = self.sender_node(&credentials, account_id)?;
            let path: Vec<_> =
                path.iter().map(|part| if *part == ACCOUNT { node.id } else { *part }).collect();
            match node.graph.get(&path, node.access, parameters).await {
                Ok(answer) => return Ok(answer.body),
                Err(error) => {
                    credentials = self.others(&credentials, account_id, error.into()).await?;
                }
            }
        }
    }

    /// What to try after a call of a Page failed; the error, if other credentials do not help.
    pub(crate) async fn others(
        &self,
        credentials: &Credentials,
        page_id: &str,
        error: SendError,
    ) -> Result<Credentials, SendError> {
        let SendError::Graph(error) = error else { return Err(error) };
        match credentials.after(&error, Caller::Page(page_id), &self.secrets).await? {
            Some(others) => Ok(others),
            None if error.fault.is_of_credentials() => {
                let secret_version = Some(credentials.version().to_owned());
                Err(GraphError { secret_version, ..error }.into())
            }
            None => Err(error.into()),
        }
    }

    /// Whom Graph speaks as for an account.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if the secret lacks a part of it.
    pub(crate) fn sender_node<'a>(
        &self,
        credentials: &'a Credentials,
        account_id: &str,
    ) -> Result<SenderNode<'a>, SecretError> {
        let application = credentials.secret().application_of(account_id)?;
        let sender = application.sender(account_id)?;
        // Instagram's host asks for no proof.
        let app_secret = match sender.login {
            Login::Facebook => Some(credentials.app_secret(application)?),
            Login::Instagram => None,
        };
        Ok(SenderNode {
            graph: self.graph.of(sender.login),
            id: sender.node,
            access: Access { token: sender.access_token, app_secret },
            platform: sender.platform,
        })
    }

    async fn post(
        &self,
        credentials: &Credentials,
        outgoing: SendCall<'_>,
    ) -> Result<Sent, SendError> {
        let application = credentials.secret().application_of(outgoing.page_id)?;
        let node = self.sender_node(credentials, outgoing.page_id)?;
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
        let answer = node.graph.post(&[node.id, "messages"], node.access, &body).await;
        let answer = answer.map_err(|error| {
            let usage = error.usage.of_account(outgoing.page_id, node.id);
            GraphError { usage, ..error }
        })?;
        if !answer.body.is_object() {
            return Err(GraphError::from(Fault::Unclear).into());
        }
        let text = |field: &str| answer.body[field].as_str().map(str::to_owned);
        Ok(Sent {
            mid: text("message_id"),
            recipient_id: text("recipient_id"),
            attachment_id: media_id(&answer.body["attachment_id"]),
            regain_after: answer
                .usage
                .of_account(outgoing.page_id, node.id)
                .regain_after(outgoing.page_id, outgoing.platform),
        })
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
