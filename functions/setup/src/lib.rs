//! Setup: registers the applications and their Pages with Meta, and tells how everything stands.
//!
//! Invoked by `CloudFormation` at each deployment it registers; invoked by hand it does what the
//! payload's `action` says. The secret is read anew at each invocation, because people invoke this
//! function right after they have changed it.

mod app;
mod batch;
mod cloudformation;
mod payload;
mod profile;
mod register;
mod report;
mod status;
mod subscriptions;
mod templates;
mod token;
mod tutorial;
mod whatsapp;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use backend::aws::Aws;
use backend::graph::{Graph, GraphError, GraphSettings};
use backend::http;
use backend::outbox::{Outbox, OutboxError, OutboxSettings, ScheduleError};
use backend::secrets::{Secret, SecretError, Secrets, callback_url};
use backend::send::SendApi;
use backend::settings::{SettingError, Variables};
use backend::store::{Store, StoreError};
use backend::telemetry::Telemetry;
use messenger::clock::{SharedClock, Timestamp};
use messenger::message::Invalid;
use serde_json::{Value, json};

pub use report::{Finding, Report, State};

use payload::Action;

/// How long `CloudFormation`'s answer may take to be handed over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What may be set about setup.
#[derive(Clone, Debug)]
pub struct SetupSettings {
    /// The webhook of the default application; those of the others are derived from it.
    pub webhook_url: String,
    /// Whether the apps are also subscribed to Instagram's events.
    pub subscribe_instagram: bool,
    /// What is set about sending.
    pub outbox: OutboxSettings,
}

impl SetupSettings {
    /// Reads `WEBHOOK_URL`, `SUBSCRIBE_INSTAGRAM` (default false) and the settings of the outbox.
    ///
    /// # Errors
    /// [`SettingError`] if one of them is missing or cannot be used.
    pub fn from_variables(vars: &Variables) -> Result<Self, SettingError> {
        const NAME: &str = "WEBHOOK_URL";
        let webhook_url = vars.required(NAME)?;
        if !webhook_url.ends_with("/webhook") {
            let why = "it does not end in /webhook".to_owned();
            return Err(SettingError::Invalid { name: NAME, why });
        }
        Ok(Self {
            webhook_url,
            subscribe_instagram: vars.parsed_or("SUBSCRIBE_INSTAGRAM", false)?,
            outbox: OutboxSettings::from_variables(vars)?,
        })
    }

    /// The callback URL of an application: `…/webhook`, or `…/{key}/webhook`.
    fn callback_url(&self, key: &str) -> String {
        callback_url(&self.webhook_url, key)
    }
}

/// Why an invocation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A field of the payload is wrong.
    #[error("bad request: {0}")]
    Payload(#[from] Invalid),
    /// The secret, or a part of it, is not at hand.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Meta refused, or did not answer.
    #[error("Meta: {0}")]
    Graph(#[from] GraphError),
    /// The token may not see a `WhatsApp` business account.
    #[error(
        "Meta's error 200: this token has no access to that account: give the system user partial or full access to it"
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
    /// An answer is not of the form that Meta documents, or ours cannot be written.
    #[error("an answer is not of its JSON form (line {}, column {})", .0.line(), .0.column())]
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
    graph: Graph,
    http: reqwest::Client,
    store: Store,
    secrets_manager: Client,
    secret_id: String,
    clock: SharedClock,
    telemetry: Telemetry,
    settings: SetupSettings,
}

impl Setup {
    /// Builds everything from the environment: `SECRET_ID`, `TABLE_NAME`, and the settings of setup and
    /// of Graph.
    ///
    /// # Errors
    /// [`SettingError`] names the variable that is missing or cannot be used.
    pub fn from_variables(
        vars: &Variables,
        aws: &Aws,
        clock: SharedClock,
        telemetry: Telemetry,
    ) -> Result<Self, SettingError> {
        let graph = GraphSettings::from_variables(vars)?;
        let http = http::client(ANSWER_TIMEOUT).map_err(|error| SettingError::Invalid {
            name: "WEBHOOK_URL",
            why: error.to_string(),
        })?;
        Ok(Self {
            graph: Graph::new(graph)?,
            http,
            store: Store::new(aws.dynamodb(), vars.required("TABLE_NAME")?),
            secrets_manager: aws.secrets_manager(),
            secret_id: vars.required("SECRET_ID")?,
            clock,
            telemetry,
            settings: SetupSettings::from_variables(vars)?,
        })
    }

    /// Answers `CloudFormation`, or does what the payload's `action` says.
    ///
    /// # Errors
    /// [`SetupError`]; never for `CloudFormation`, which gets its answer in any case.
    pub async fn handle(
        &self,
        payload: Value,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Value, SetupError> {
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
        let secrets = self.secrets();
        let secret = secrets.current().await?;
        match action {
            Action::Register {} => in_json(&self.register(&secret).await),
            Action::Unregister {} => in_json(&self.unregister(&secret).await),
            Action::Status {} => in_json(&self.status(&secret).await),
            Action::Applications {} => {
                Ok(serde_json::to_value(secret.list(&self.settings.webhook_url))?)
            }
            Action::Pages(payload) => self.pages(payload, &secret).await,
            Action::Conversations(payload) => self.conversations(payload, &secret).await,
            Action::FirstMessage(payload) => {
                self.first_message(payload, secrets, invocation, deadline).await
            }
            Action::WhatsappAccount(payload) => self.whatsapp_account(payload, &secret).await,
            Action::Templates(payload) => self.templates(payload, &secret).await,
            Action::CreateTemplate(payload) => self.create_template(payload, &secret).await,
        }
    }

    fn secrets(&self) -> Arc<Secrets> {
        let (client, clock) = (self.secrets_manager.clone(), Arc::clone(&self.clock));
        Arc::new(Secrets::new(client, &self.secret_id, clock))
    }

    fn outbox(&self, secrets: Arc<Secrets>) -> Outbox {
        Outbox::new(
            self.store.clone(),
            SendApi::new(self.graph.clone(), Arc::clone(&secrets)),
            secrets,
            Arc::clone(&self.clock),
            self.telemetry.clone(),
            self.settings.outbox,
        )
    }

    async fn read_secret(&self) -> Result<Arc<Secret>, SecretError> {
        self.secrets().current().await
    }
}

fn in_json(report: &Report) -> Result<Value, SetupError> {
    Ok(json!({"ok": report.is_ok(), "findings": serde_json::to_value(&report.findings)?}))
}
