//! The API for back-office systems: send, look up, cancel, fetch events, erase.
//!
//! [`routes`] is the table of everything that can be asked; the `OpenAPI` document is made from it.

mod applications;
mod auth;
mod deletion;
mod events;
mod messages;
mod openapi;
mod people;
mod problem;
mod routes;

use std::sync::Arc;

use backend::feed::{FEED, Feed};
use backend::outbox::Outbox;
use backend::runtime::Environment;
use backend::secrets::Secrets;
use backend::telemetry::Telemetry;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use lambda_http::{Body, Request, Response};
use messenger::clock::{SharedClock, Timestamp};
use serde::Serialize;

use auth::ApiAuth;

use problem::Problem;
use routes::{Access, Call, Found, find};

/// The API function.
#[derive(Debug)]
pub struct Api {
    outbox: Outbox,
    feed: Feed,
    feed_is_on: bool,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
    auth: ApiAuth,
    webhook_url: String,
}

impl Api {
    /// Builds the function; it reads `API_AUTH`, `WEBHOOK_URL` and `FEED`.
    pub fn new(environment: &Environment) -> Self {
        Self {
            outbox: Outbox::new(environment),
            feed: Feed::new(environment),
            feed_is_on: environment.variables.is_on(FEED),
            secrets: Arc::clone(&environment.secrets),
            clock: Arc::clone(&environment.clock),
            telemetry: environment.telemetry.clone(),
            auth: ApiAuth::new(&environment.variables),
            webhook_url: environment.variables.required("WEBHOOK_URL"),
        }
    }

    /// Opens what the first request needs.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }

    /// Answers a request; `invocation` names it, and nothing is begun that may go on after `deadline`.
    pub async fn handle(
        &self,
        request: &Request,
        invocation: &str,
        deadline: Timestamp,
    ) -> Response<Body> {
        // Boxed, because a deep nest of calls is more than the compiler lays out in one piece.
        match Box::pin(self.answer(request, invocation, deadline)).await {
            Ok(answer) => answer.into_response(),
            Err(problem) => problem.into_response(),
        }
    }

    async fn answer(
        &self,
        request: &Request,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Answer, Problem> {
        let found = find(request.method(), request.uri().path());
        if !matches!(&found, Found::Route(route, _) if route.access == Access::Everybody) {
            self.authorize(request).await?;
        }
        match found {
            Found::Route(route, parameters) => {
                let call = Call { request, parameters, invocation, deadline };
                (route.run)(self, call).await
            }
            Found::OtherMethods(methods) => Err(Problem::method_not_allowed(methods)),
            Found::Nothing => {
                Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such path"))
            }
        }
    }
}

/// What a request is answered with, if nothing is wrong with it.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Body,
}

impl Answer {
    fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { status, body: Body::Text(serde_json::to_string(value)?) })
    }

    fn ok(value: &impl Serialize) -> Result<Self, Problem> {
        Self::json(StatusCode::OK, value)
    }

    fn nothing() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Body::Empty }
    }

    fn into_response(self) -> Response<Body> {
        let has_body = !matches!(self.body, Body::Empty);
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}
