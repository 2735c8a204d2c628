//! Setup: registers the applications and their Pages with Meta, and reports their status.
//!
//! `CloudFormation` invokes it at each deployment to register, a schedule every day to renew tokens; by
//! hand it is invoked with an `action` in the payload. The secret is read again at each invocation,
//! because people invoke this function right after they have changed it.

mod app;
mod cloudformation;
mod commands;
mod discovery;
mod instagram;
mod payload;
mod personas;
mod profile;
mod queues;
mod register;
mod renewal;
mod report;
mod requeue;
mod routing;
mod sending;
mod standing;
mod status;
mod subscriptions;
mod templates;
mod token;
mod whatsapp;

use std::sync::Arc;
use std::time::Duration;

use backend::graph::GraphError;
use backend::http;
use backend::intake::{Intake, IntakeError};
use backend::outbox::{Outbox, OutboxError, ScheduleError};
use backend::runtime::Environment;
use backend::secrets::{SecretError, Secrets, callback_url};
use backend::settings::{TRACK_RECEIPTS, Variables};
use backend::store::StoreError;
use backend::telemetry::Telemetry;
use messenger::clock::{SharedClock, Timestamp};
use messenger::message::Invalid;
use serde_json::{Value, json};

pub use report::{Finding, Level, Report};

use payload::Action;
use queues::Queues;

/// The timeout of the request that carries the answer to `CloudFormation`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of setup.
#[derive(Clone, Debug)]
struct SetupSettings {
    /// The webhook of the default application; those of the others are derived from it.
    webhook_url: String,
    /// Whether the apps are also subscribed to Instagram's events.
    subscribe_instagram: bool,
    /// Whether receipts are subscribed to.
    track_receipts: bool,
}

impl SetupSettings {
    /// Reads `WEBHOOK_URL`, `SUBSCRIBE_INSTAGRAM` (default false) and `TRACK_RECEIPTS`.
    fn new(variables: &Variables) -> Self {
        const NAME: &str = "WEBHOOK_URL";
        let webhook_url = variables.required(NAME);
        if !webhook_url.is_empty() && !webhook_url.ends_with("/webhook") {
            variables.reject(NAME, "must end in /webhook");
        }
        let subscribe_instagram = variables.parsed_or("SUBSCRIBE_INSTAGRAM", false);
        let track_receipts = variables.is_on(TRACK_RECEIPTS);
        Self { webhook_url, subscribe_instagram, track_receipts }
    }

    /// The callback URL of an application: `…/webhook`, or `…/{key}/webhook`.
    fn callback_url(&self, key: &str) -> String {
        callback_url(&self.webhook_url, key)
    }
}

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A field of the payload is wrong.
    #[error("bad request: {0}")]
    Payload(#[from] Invalid),
    /// The secret cannot be read, or a part of it is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Meta refused, or did not answer.
    #[error("Meta: {0}")]
    Graph(#[from] GraphError),
    /// The token has no access to a `WhatsApp` business account.
    #[error(
        "Meta's error 200: this token has no access to that account; give the system user partial or full access to it"
    )]
    NoAccessToAccount,
    /// A message was not stored.
    #[error(transparent)]
    NotStored(#[from] ScheduleError),
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// What was set aside is not queued; it is still where it was.
    #[error(transparent)]
    NotRequeued(#[from] IntakeError),
    /// An answer of Meta has an unexpected form, or ours cannot be serialized.
    #[error("unexpected JSON (line {}, column {})", .0.line(), .0.column())]
    Json(#[from] serde_json::Error),
}

impl SetupError {
    fn unknown_application() -> Self {
        Self::Payload(Invalid::new("application", "is not an application of the secret"))
    }
}

/// The setup function.
#[derive(Debug)]
pub struct Setup {
    outbox: Outbox,
    intake: Intake,
    queues: Queues,
    secrets: Arc<Secrets>,
    telemetry: Telemetry,
    http: reqwest::Client,
    clock: SharedClock,
    settings: SetupSettings,
}

impl Setup {
    /// Builds the function; it reads `WEBHOOK_URL`, `SUBSCRIBE_INSTAGRAM` and the URLs of the queues.
    pub fn new(environment: &Environment) -> Self {
        Self {
            outbox: Outbox::new(environment),
            intake: Intake::new(environment),
            queues: Queues::new(environment),
            secrets: Arc::clone(&environment.secrets),
            telemetry: environment.telemetry.clone(),
            http: http::client(ANSWER_TIMEOUT),
            clock: Arc::clone(&environment.clock),
            settings: SetupSettings::new(&environment.variables),
        }
    }

    /// Serves `CloudFormation`'s request, or performs the payload's `action`.
    ///
    /// # Errors
    /// [`SetupError`], except for `CloudFormation`, which is always answered.
    pub async fn handle(
        &self,
        payload: Value,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Value, SetupError> {
        self.secrets.forget().await;
        // Boxed, because a deep nest of calls is more than the compiler lays out in one piece.
        match cloudformation::Request::read(&payload) {
            Some(request) => Ok(Box::pin(self.serve_cloudformation(request, deadline)).await),
            None => Box::pin(self.act(Action::read(&payload)?, invocation, deadline)).await,
        }
    }

    async fn act(
        &self,
        action: Action,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Value, SetupError> {
        let secret = self.secrets.current().await;
        if let (Action::Status {}, Err(error)) = (&action, &secret) {
            return in_json(&self.status_without_secret(error).await);
        }
        let secret = secret?;
        match action {
            Action::Register {} => in_json(&self.register(&secret).await),
            Action::Unregister {} => in_json(&self.unregister(&secret).await),
            Action::Status {} => in_json(&self.status(&secret).await),
            Action::RenewTokens {} => in_json(&self.renew_tokens(&secret).await),
            Action::Applications {} => {
                Ok(serde_json::to_value(secret.list(&self.settings.webhook_url, |_| true))?)
            }
            Action::Pages(payload) => self.pages(payload, &secret).await,
            Action::Conversations(payload) => self.conversations(payload, &secret).await,
            Action::FirstMessage(payload) => {
                self.first_message(payload, invocation, deadline).await
            }
            Action::WhatsappAccount(payload) => self.whatsapp_account(payload, &secret).await,
            Action::Templates(payload) => self.templates(payload, &secret).await,
            Action::CreateTemplate(payload) => self.create_template(payload, &secret).await,
            Action::Personas(payload) => self.personas(payload, &secret).await,
            Action::CreatePersona(payload) => self.create_persona(payload, &secret).await,
            Action::DeletePersona(payload) => self.delete_persona(payload, &secret).await,
            Action::Requeue(payload) => self.requeue(payload, &secret).await,
        }
    }
}

fn in_json(report: &Report) -> Result<Value, SetupError> {
    Ok(json!({"ok": report.is_ok(), "findings": serde_json::to_value(&report.findings)?}))
}
