//! Meta's POST: signature, split, intake.

use std::sync::Arc;

use backend::intake;
use backend::secrets::{Secret, SecretError};
use backend::signature::{SIGNATURE_HEADER, SignatureError, verify};
use backend::telemetry::Metric;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use messenger::event::split;

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
    NotKept(#[from] intake::IntakeError),
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
                // Strangers who try the address send none.
                if matches!(error, SignatureError::Mismatch) {
                    self.telemetry.count(Metric::SignaturesRefused, None, &[]);
                }
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
        let received_at = self.clock.now();
        let secret = self.signing_secret(application, header, body).await?;
        match split(body, received_at) {
            Ok(events) => self.intake.take_in(application, &secret, received_at, events).await?,
            Err(reason) => {
                tracing::warn!(%reason, bytes = body.len(), "a signed body cannot be read");
                self.intake.keep_whole(application, body, received_at, reason).await?;
            }
        }
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
}
