//! Meta's POST: signature, split, sort, queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend::secrets::{Secret, SecretError};
use backend::signature::{SIGNATURE_HEADER, SignatureError, verify};
use backend::telemetry::Metric;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use messenger::event::{Event, Kind, split};

use crate::enqueue::{QueueError, Queued};
use crate::{Webhook, answer, not_found};

/// Why a notification was not taken in.
#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error("the secret names no application for this path")]
    UnknownApplication,
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Why an event is set aside: the secret does not name its Page.
const UNKNOWN_PAGE: &str = "unknown_page";

/// Why an event is set aside: its Page belongs to another application than the one that signed.
const ANOTHER_APPLICATION: &str = "another_application";

/// The events of a notification, by whether the signing application may speak of their Pages.
#[derive(Default)]
struct Sorted {
    ours: Vec<Queued>,
    foreign: Vec<(Queued, &'static str)>,
}

impl Webhook {
    /// 200 once every event is queued, 401 if Meta did not sign it for this application, 404 if there
    /// is no such application, 500 for everything else.
    pub(crate) async fn take_in(&self, application: &str, request: &Request) -> Response<Body> {
        let header = request.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        match self.queue_all(application, header, request.body().as_ref()).await {
            Ok(()) => answer(StatusCode::OK, "EVENT_RECEIVED"),
            Err(IntakeError::UnknownApplication) => not_found(),
            Err(IntakeError::Signature(error)) => {
                tracing::warn!(%error, "a request was refused");
                answer(StatusCode::UNAUTHORIZED, "INVALID_SIGNATURE")
            }
            Err(error) => {
                tracing::error!(%error, "a notification was not queued; Meta sends it again");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "NOT_QUEUED")
            }
        }
    }

    async fn queue_all(
        &self,
        application: &str,
        header: Option<&str>,
        body: &[u8],
    ) -> Result<(), IntakeError> {
        let secret = self.signing_secret(application, header, body).await?;
        let events = match split(body, self.clock.now()) {
            Ok(events) => events,
            Err(reason) => {
                tracing::warn!(%reason, bytes = body.len(), "a signed body cannot be read");
                return Ok(self.queues.keep_unreadable(body, &reason.to_string()).await?);
            }
        };
        let sorted = self.sort_by_page(application, secret, events).await?;
        self.queues.keep_foreign(sorted.foreign).await?;
        self.queues.send(sorted.ours).await?;
        Ok(())
    }

    /// The secret with which the application signed the body.
    async fn signing_secret(
        &self,
        application: &str,
        header: Option<&str>,
        body: &[u8],
    ) -> Result<Arc<Secret>, IntakeError> {
        if header.is_none() {
            return Err(SignatureError::Missing.into());
        }
        let secret = self.secrets.current().await?;
        if let Some(signing) = secret.application(application) {
            match verify(header, body, signing.app_secrets()) {
                Ok(()) => return Ok(secret),
                Err(SignatureError::Mismatch) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let secret = self.secrets.reread().await?;
        let signing = secret.application(application).ok_or(IntakeError::UnknownApplication)?;
        signing.app_secret()?;
        verify(header, body, signing.app_secrets())?;
        Ok(secret)
    }

    /// Parts the events of the signing application's Pages from the others: an app secret speaks for
    /// its own Pages and for no other.
    async fn sort_by_page(
        &self,
        application: &str,
        mut secret: Arc<Secret>,
        events: Vec<Event>,
    ) -> Result<Sorted, IntakeError> {
        let belongs = |secret: &Secret, page_id: &str| {
            secret.application(application).is_some_and(|signing| signing.has_page(page_id))
        };
        if events.iter().any(|event| !belongs(&secret, &event.page_id)) {
            secret = self.secrets.reread().await?;
        }
        let mut counts = BTreeMap::<String, [u64; 3]>::new();
        let mut sorted = Sorted::default();
        for event in events {
            let (text, truncated) = event.to_queue_text().map_err(QueueError::from)?;
            let queued = Queued { group: event.group(), id: event.id, text };
            let page_id = event.page_id;
            if !belongs(&secret, &page_id) {
                let is_known = secret.has_page(&page_id);
                let reason = if is_known { ANOTHER_APPLICATION } else { UNKNOWN_PAGE };
                tracing::warn!(page = page_id, application, reason, "an event is set aside");
                self.telemetry.count(Metric::ForeignEvents, &page_id, &[("reason", reason)]);
                sorted.foreign.push((queued, reason));
                continue;
            }
            let [received, unknown, cut] = counts.entry(page_id).or_default();
            *received += 1;
            *unknown += u64::from(matches!(event.kind, Kind::Unknown { .. }));
            *cut += u64::from(truncated);
            sorted.ours.push(queued);
        }
        for (page_id, [received, unknown, cut]) in counts {
            let metrics = [
                (Metric::EventsReceived, received),
                (Metric::UnknownEvents, unknown),
                (Metric::TruncatedEvents, cut),
            ];
            self.telemetry.count_many(&metrics, &page_id, &[]);
        }
        Ok(sorted)
    }
}
