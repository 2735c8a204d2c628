//! The forwarder: posts inbound events to other systems, signed.
//!
//! A message of its queue is one event for one URL, and each receive is one attempt. A failed message
//! stays in the queue, invisible for longer each time, until it is moved to the dead-letter queue. So a
//! receiver that is down delays no other, and each receives an event at least once, in no guaranteed
//! order.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use backend::aws::{CALL_TIMEOUT, describe};
use backend::correlation::{CORRELATION_ID, about};
use backend::forward::{Destinations, PublicOnly, URL_ATTRIBUTE, URLS};
use backend::http::client_resolving_by;
use backend::runtime::{self, Environment, receive_count, redeliver};
use backend::secrets::{SecretError, Secrets};
use backend::signature::{FORWARD_SIGNATURE_HEADER, forward_key, sign_forward};
use backend::store::{ConversationKey, Store, StoreError};
use backend::telemetry::{Metric, Telemetry};
use futures_util::future::join_all;
use messenger::clock::{SharedClock, Timestamp};
use messenger::person::Person;
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

/// The timeout of a receiver, from resolving its name to the head of its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The time that an attempt needs: reading the secret and the person's mark, the post, and changing the
/// visibility.
const ATTEMPT_BUDGET: Duration =
    Duration::from_secs(ANSWER_WITHIN.as_secs() + 3 * CALL_TIMEOUT.as_secs());

/// The pause after the first attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause; SQS allows at most 12 h, counted from the receive.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);

/// Why an event was not delivered to its receiver.
#[derive(Debug, thiserror::Error)]
enum ForwardError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the receiver answered {0}; only 2xx is a success, and redirects are not followed")]
    Refused(StatusCode),
    #[error("the receiver did not answer in time")]
    Timeout,
    #[error(
        "cannot connect to the receiver, or its name resolves to an address that is not public"
    )]
    NotConnected,
    #[error("the request failed in transit")]
    Broken,
    #[error("not enough time was left for an attempt")]
    NoTimeLeft,
}

/// The handler of the forward function.
#[derive(Debug)]
pub struct Forwarder {
    sqs: Client,
    store: Store,
    secrets: Arc<Secrets>,
    http: reqwest::Client,
    clock: SharedClock,
    telemetry: Telemetry,
    /// The queue that it works off.
    queue_url: String,
    destinations: Destinations,
    warm_up_timeout: Duration,
}

/// The part of a message that is needed here.
#[derive(Default, Deserialize)]
struct Addressed {
    page_id: String,
    #[serde(default)]
    psid: Option<Person>,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    received_at: Option<Timestamp>,
}

impl Addressed {
    /// The person, if the event has one, and when it happened.
    fn person(&self) -> Option<(ConversationKey, Timestamp)> {
        let (page_id, person) = (self.page_id.clone(), self.psid.clone()?);
        let happened_at = self.at.or(self.received_at).unwrap_or(Timestamp::from_millis(0));
        Some((ConversationKey { page_id, person }, happened_at))
    }
}

/// What became of an event.
enum Posted {
    /// The receiver took it.
    Accepted,
    /// Its person was erased after it.
    PersonErased,
}

impl Forwarder {
    /// Builds the function; it reads `TABLE_NAME`, `FORWARD_QUEUE_URL`, `FORWARD_URLS` and
    /// `FORWARD_ALLOW_LOCAL`.
    pub fn new(environment: &Environment) -> Self {
        let variables = &environment.variables;
        variables.required(URLS);
        let destinations = Destinations::new(variables).unwrap_or_default();
        let resolver = PublicOnly { allow_local: destinations.allow_local };
        Self {
            sqs: environment.aws.sqs(),
            store: Store::new(environment.aws.dynamodb(), variables.required("TABLE_NAME")),
            secrets: Arc::clone(&environment.secrets),
            http: client_resolving_by(ANSWER_WITHIN, resolver),
            clock: Arc::clone(&environment.clock),
            telemetry: environment.telemetry.clone(),
            queue_url: variables.required("FORWARD_QUEUE_URL"),
            destinations,
            warm_up_timeout: environment.warm_up_timeout,
        }
    }

    /// Reads the secret while the function is initialised.
    pub async fn warm_up(&self) {
        let read = Box::pin(async {
            if let Err(error) = self.secrets.current().await {
                tracing::error!(%error, "nothing is forwarded until the secret can be read");
            }
        });
        runtime::warm_up(self.warm_up_timeout, read).await;
    }

    /// Attempts each message of a batch once, concurrently; the answer lists those that failed.
    pub async fn handle(&self, batch: SqsEvent, deadline: Timestamp) -> SqsBatchResponse {
        let tries = batch.records.iter().map(|message| {
            let correlation_id = attribute(message, CORRELATION_ID).unwrap_or_default();
            about(correlation_id, Box::pin(self.try_message(message, deadline)))
        });
        let failed = join_all(tries).await;
        redeliver(failed.into_iter().flatten())
    }

    /// Attempts a message; returns its id if it must be retried.
    async fn try_message(&self, message: &SqsMessage, deadline: Timestamp) -> Option<String> {
        let body = message.body.as_deref().unwrap_or_default();
        let addressed = serde_json::from_str::<Addressed>(body).unwrap_or_default();
        let page_id = addressed.page_id.as_str();
        let Some(url) = self.destination(message) else {
            tracing::warn!(message_id = message.message_id, "its URL is no longer in FORWARD_URLS");
            self.telemetry.count(Metric::ForwardDropped, page_id, &[("reason", "url_removed")]);
            return None;
        };
        let error = match self.post(url, body, &addressed, deadline).await {
            Ok(Posted::Accepted) => {
                self.telemetry.count(Metric::Forwarded, page_id, &[]);
                return None;
            }
            Ok(Posted::PersonErased) => {
                let reason = [("reason", "person_erased")];
                self.telemetry.count(Metric::ForwardDropped, page_id, &reason);
                return None;
            }
            Err(error) => error,
        };
        let (receives, host) = (receive_count(message), url.host_str());
        tracing::warn!(message_id = message.message_id, receives, host, %error, "not forwarded");
        self.telemetry.count(Metric::ForwardFailed, page_id, &[]);
        if !matches!(error, ForwardError::NoTimeLeft) {
            self.reschedule(message, pause_after(receives)).await;
        }
        message.message_id.clone()
    }

    /// The URL of a message, if it is still configured.
    fn destination(&self, message: &SqsMessage) -> Option<&Url> {
        let wanted = attribute(message, URL_ATTRIBUTE)?;
        self.destinations.urls.iter().find(|url| url.as_str() == wanted)
    }

    async fn post(
        &self,
        url: &Url,
        body: &str,
        addressed: &Addressed,
        deadline: Timestamp,
    ) -> Result<Posted, ForwardError> {
        if self.clock.now() + ATTEMPT_BUDGET > deadline {
            return Err(ForwardError::NoTimeLeft);
        }
        if let Some((conversation_key, happened_at)) = addressed.person()
            && self.store.was_erased_after(&conversation_key, happened_at).await?
        {
            return Ok(Posted::PersonErased);
        }
        let secret = self.secrets.current().await?;
        let key = forward_key(url.as_str(), secret.forward_secret()?);
        let signature = sign_forward(body.as_bytes(), &key, self.clock.now());
        let request = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(FORWARD_SIGNATURE_HEADER, signature)
            .body(body.to_owned());
        // Only the head of the answer is read, so its body may be of any length.
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(Posted::Accepted),
            Ok(answer) => Err(ForwardError::Refused(answer.status())),
            Err(error) if error.is_timeout() => Err(ForwardError::Timeout),
            Err(error) if error.is_connect() => Err(ForwardError::NotConnected),
            Err(_) => Err(ForwardError::Broken),
        }
    }

    /// Keeps a message invisible for a while; if that fails, the queue's own timeout applies.
    async fn reschedule(&self, message: &SqsMessage, pause: Duration) {
        let seconds = i32::try_from(pause.as_secs()).unwrap_or(i32::MAX);
        let answer = self
            .sqs
            .change_message_visibility()
            .queue_url(&self.queue_url)
            .receipt_handle(message.receipt_handle.as_deref().unwrap_or_default())
            .visibility_timeout(seconds)
            .send()
            .await;
        if let Err(error) = answer {
            let error = describe(&error);
            tracing::warn!(message_id = message.message_id, %error, "the pause could not be set; the message is retried sooner");
        }
    }
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> Option<&'a str> {
    message.message_attributes.get(name)?.string_value.as_deref()
}

fn pause_after(receives: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(receives.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}
