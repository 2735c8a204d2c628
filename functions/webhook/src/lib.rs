//! The webhook: Meta's GET verification, and the intake of its notifications.
//!
//! A notification is answered 200 only when each of its events is durably queued; otherwise 500,
//! so that Meta sends it again.

mod notification;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use backend::intake::Intake;
use backend::runtime::{self, Environment};
use backend::secrets::{DEFAULT_APPLICATION, Secrets};
use backend::telemetry::Telemetry;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use messenger::clock::SharedClock;

/// The time limit for a notification; Meta expects an answer within 5 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// The webhook function.
#[derive(Debug)]
pub struct Webhook {
    intake: Intake,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
    answer_within: Duration,
    warm_up_timeout: Duration,
}

impl Webhook {
    /// Builds the function; it reads `QUEUE_URL` and `UNREADABLE_QUEUE_URL`.
    pub fn new(environment: &Environment) -> Self {
        Self {
            intake: Intake::new(environment),
            secrets: Arc::clone(&environment.secrets),
            clock: Arc::clone(&environment.clock),
            telemetry: environment.telemetry.clone(),
            answer_within: ANSWER_WITHIN,
            warm_up_timeout: environment.warm_up_timeout,
        }
    }

    /// The same function with another limit of time for a notification.
    #[must_use]
    pub fn answering_within(self, limit: Duration) -> Self {
        Self { answer_within: limit, ..self }
    }

    /// Reads the secret while the function is initialised, so that no request waits for it.
    pub async fn warm_up(&self) {
        let read = Box::pin(async {
            if let Err(error) = self.secrets.current().await {
                tracing::error!(%error, "requests are refused until the secret can be read");
            }
        });
        runtime::warm_up(self.warm_up_timeout, read).await;
    }

    /// Answers a request to `/webhook`, or to `/{application}/webhook`.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let Some(application) = application_of(request.uri().path()) else {
            return not_found();
        };
        match *request.method() {
            Method::GET => self.verify(application, &request).await,
            Method::POST => {
                let intake = self.take_in(application, &request);
                tokio::time::timeout(self.answer_within, intake).await.unwrap_or_else(|_| {
                    tracing::error!("a notification was not queued in time; Meta sends it again");
                    answer(StatusCode::INTERNAL_SERVER_ERROR, "NOT_QUEUED")
                })
            }
            _ => answer(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        }
    }
}

/// The key of the application that a path belongs to.
///
/// A function URL has no routes, so its bare address is the default application's as well.
fn application_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next()) {
        (None | Some("webhook"), None, None) => Some(DEFAULT_APPLICATION),
        (Some(DEFAULT_APPLICATION), ..) => None,
        (Some(key), Some("webhook"), None) => Some(key),
        _ => None,
    }
}

fn not_found() -> Response<Body> {
    answer(StatusCode::NOT_FOUND, "NOT_FOUND")
}

fn answer(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::Text(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_application() {
        for (path, key) in [
            ("/webhook", Some("default")),
            ("/webhook/", Some("default")),
            ("/", Some("default")),
            ("", Some("default")),
            ("/shop/webhook", Some("shop")),
            ("/webhook/webhook", Some("webhook")),
            ("/default/webhook", None),
            ("/shop", None),
            ("/shop/webhook/more", None),
            ("/shop/other", None),
        ] {
            assert_eq!(application_of(path), key, "{path}");
        }
    }
}
