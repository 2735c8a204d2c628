//! The platform over HTTP: the webhook, the local AWS, and a window into what happens.

mod faults;
mod world;

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lambda_http::http::{Method, Request};
use lambda_http::{Body, RequestExt};
use messenger::clock::Clock;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use crate::aws::Caller;
use crate::platform::Platform;
use world::Owner;

/// What Lambda takes in one request.
const LARGEST_BODY: usize = 6 * 1024 * 1024;

/// Serves the platform until the task is ended.
pub async fn serve(listener: TcpListener, platform: Weak<Platform>) {
    let router = Router::new()
        .route("/", post(aws))
        .route("/functions/{function}/", post(aws_of_function))
        .route("/instances/{instance}/functions/{function}/", post(aws_of_instance))
        .route("/webhook", get(webhook).post(webhook))
        .route("/{application}/webhook", get(webhook).post(webhook))
        // As the template has it, every other path is the API's.
        .fallback(api)
        .merge(world::router())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(platform);
    let _ = axum::serve(listener, router).await;
}

/// Runs the platform in real time: the queue at once, the schedule every minute.
pub async fn live(platform: &Platform) {
    platform.clock.run();
    let mut swept_minute = 0;
    loop {
        platform.settle().await;
        let minute = platform.clock.now().millis() / 60_000;
        if minute != swept_minute {
            swept_minute = minute;
            if let Err(error) = platform.tick().await {
                tracing::error!(%error, "a sweep failed");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn aws(platform: Owner, headers: HeaderMap, body: Bytes) -> Response {
    call(platform, Caller::default(), headers, body).await
}

async fn aws_of_function(
    platform: Owner,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    call(platform, Caller { instance: 0, function: Some(function) }, headers, body).await
}

async fn aws_of_instance(
    platform: Owner,
    Path((instance, function)): Path<(u64, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    call(platform, Caller { instance, function: Some(function) }, headers, body).await
}

async fn call(State(platform): Owner, caller: Caller, headers: HeaderMap, body: Bytes) -> Response {
    match platform.upgrade() {
        Some(platform) => platform.aws.handle(caller, headers, body).await,
        None => gone(),
    }
}

async fn webhook(
    State(platform): Owner,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(platform) = platform.upgrade() else {
        return gone();
    };
    let Some(request) = invocation(&platform, &method, &uri, &headers, &body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let is_notification = request.method() == Method::POST;
    let answer = platform.invoke_webhook(request).await;
    if is_notification && answer.status().is_success() {
        platform.meta.observe(&body);
    }
    answered(answer)
}

async fn api(
    State(platform): Owner,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(platform) = platform.upgrade() else {
        return gone();
    };
    match invocation(&platform, &method, &uri, &headers, &body) {
        Some(request) => answered(platform.invoke_api(&request).await),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// A request as Lambda hands it to a function.
fn invocation(
    platform: &Platform,
    method: &axum::http::Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Option<lambda_http::Request> {
    let address = format!("{}{uri}", platform.url());
    let mut request = Request::builder().method(method.as_str()).uri(address);
    for (name, value) in headers {
        request = request.header(name.as_str(), value.as_bytes());
    }
    let request = request.body(Body::Binary(body.to_vec())).ok()?;
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).unwrap_or_default().0;
    let mut query = HashMap::<String, Vec<String>>::new();
    for (name, value) in pairs {
        query.entry(name).or_default().push(value);
    }
    // An HTTP API decodes the path. It also cuts it at a decoded `?`; here the function says that this is
    // no id.
    let path = percent_decode_str(uri.path()).decode_utf8().ok()?;
    Some(request.with_query_string_parameters(query).with_raw_http_path(path))
}

/// A function's answer, as API Gateway hands it on.
fn answered(answer: lambda_http::Response<Body>) -> Response {
    let (parts, body) = answer.into_parts();
    let mut response = body.to_vec().into_response();
    *response.status_mut() =
        StatusCode::from_u16(parts.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    response.headers_mut().remove("content-type");
    for (name, value) in &parts.headers {
        if let (Ok(name), Ok(value)) = (
            axum::http::HeaderName::try_from(name.as_str()),
            axum::http::HeaderValue::from_bytes(value.as_bytes()),
        ) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn gone() -> Response {
    StatusCode::GONE.into_response()
}
