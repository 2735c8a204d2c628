//! Meta's POST: signature, split, queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use shared::event::{Event, Kind, Record, split};
use shared::secrets::{Secret, SecretError};
use shared::signature::{SIGNATURE_HEADER, SignatureError, verify};

use crate::enqueue::{QueueError, Queued};
use crate::{Webhook, answer};

/// Why a notification was not taken in.
#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Webhook {
    /// 200 once every event is queued, 401 if Meta did not sign it, 500 for everything else.
    pub(crate) async fn take_in(&self, request: &Request) -> Response<Body> {
        let header = request.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        match self.queue_all(header, request.body().as_ref()).await {
            Ok(()) => answer(StatusCode::OK, "EVENT_RECEIVED"),
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

    async fn queue_all(&self, header: Option<&str>, body: &[u8]) -> Result<(), IntakeError> {
        let secret = self.signing_secret(header, body).await?;
        let records = match split(body, self.clock.now()) {
            Ok(records) => records,
            Err(reason) => {
                tracing::warn!(%reason, bytes = body.len(), "a signed body cannot be read");
                return Ok(self.queues.keep_unreadable(body, &reason.to_string()).await?);
            }
        };
        let (ours, foreign) = self.sort_by_page(secret, records).await?;
        self.queues.keep_foreign(foreign).await?;
        self.queues.send(ours).await?;
        Ok(())
    }

    /// The secret whose app signed the body.
    async fn signing_secret(
        &self,
        header: Option<&str>,
        body: &[u8],
    ) -> Result<Arc<Secret>, IntakeError> {
        if header.is_none() {
            return Err(SignatureError::Missing.into());
        }
        let secret = self.secrets.current().await?;
        match verify(header, body, secret.app_secrets()) {
            Ok(()) => return Ok(secret),
            Err(SignatureError::Mismatch) => {}
            Err(error) => return Err(error.into()),
        }
        let secret = self.secrets.reread().await?;
        secret.app_secret()?;
        verify(header, body, secret.app_secrets())?;
        Ok(secret)
    }

    /// Parts the events of Pages that the secret names from the others.
    async fn sort_by_page(
        &self,
        mut secret: Arc<Secret>,
        records: Vec<Record>,
    ) -> Result<(Vec<Queued>, Vec<Queued>), IntakeError> {
        if records.iter().any(|record| !secret.has_page(&record.page_id)) {
            secret = self.secrets.reread().await?;
        }
        let mut counts = BTreeMap::<String, [u64; 3]>::new();
        let (mut ours, mut foreign) = (Vec::new(), Vec::new());
        for record in records {
            let page_id = record.page_id.clone();
            let event = Event::from(&record);
            let (id, group) = (event.id.clone(), event.group());
            let (text, truncated) = record.into_queue_text().map_err(QueueError::from)?;
            let queued = Queued { id, group, text };
            if !secret.has_page(&page_id) {
                tracing::warn!(page = page_id, "an event of a Page that the secret does not name");
                foreign.push(queued);
                continue;
            }
            let [received, unknown, cut] = counts.entry(page_id).or_default();
            *received += 1;
            *unknown += u64::from(matches!(event.kind, Kind::Unknown { .. }));
            *cut += u64::from(truncated);
            ours.push(queued);
        }
        for (page_id, [received, unknown, cut]) in counts {
            let metrics = [
                ("EventsReceived", received),
                ("UnknownEvents", unknown),
                ("TruncatedEvents", cut),
            ];
            self.telemetry.count_many(&metrics, &page_id, &[]);
        }
        Ok((ours, foreign))
    }
}
