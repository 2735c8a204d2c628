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

use backend::aws::Aws;
use backend::feed::Feed;
use backend::graph::{Graph, GraphSettings};
use backend::outbox::{Outbox, OutboxSettings};
use backend::secrets::Secrets;
use backend::send::SendApi;
use backend::settings::{SettingError, Variables};
use backend::store::Store;
use backend::telemetry::Telemetry;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use lambda_http::{Body, Request, Response};
use messenger::clock::{SharedClock, Timestamp};
use serde::Serialize;

pub use auth::ApiAuth;

use problem::Problem;
use routes::{Access, Call, Found, find};

/// The API function.
#[derive(Debug)]
pub struct Api {
    outbox: Outbox,
    feed: Feed,
    feed_is_on: bool,
    graph: Graph,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
    auth: ApiAuth,
    webhook_url: String,
}

impl Api {
    /// Builds everything from the environment: `API_AUTH`, `WEBHOOK_URL`, `SECRET_ID`, `TABLE_NAME`, and the
    /// settings of sending and of Graph.
    ///
    /// # Errors
    /// [`SettingError`] names the variable that is missing or cannot be used.
    pub fn from_variables(
        vars: &Variables,
        aws: &Aws,
        clock: &SharedClock,
        telemetry: Telemetry,
    ) -> Result<Self, SettingError> {
        let auth = ApiAuth::from_variables(vars)?;
        let graph = Graph::new(GraphSettings::from_variables(vars)?)?;
        let secret_id = vars.required("SECRET_ID")?;
        let secrets = Arc::new(Secrets::new(aws.secrets_manager(), secret_id, Arc::clone(clock)));
        let outbox = Outbox::new(
            Store::new(aws.dynamodb(), vars.required("TABLE_NAME")?),
            SendApi::new(graph.clone(), Arc::clone(&secrets)),
            Arc::clone(&secrets),
            Arc::clone(clock),
            telemetry.clone(),
            OutboxSettings::from_variables(vars)?,
        );
        let webhook_url = vars.required("WEBHOOK_URL")?;
        let clock = Arc::clone(clock);
        let feed = Feed::from_variables(vars, aws, &clock)?;
        let feed_is_on = Feed::is_on(vars)?;
        Ok(Self { outbox, feed, feed_is_on, graph, secrets, clock, telemetry, auth, webhook_url })
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
