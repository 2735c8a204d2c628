//! The Graph API over HTTP.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse};
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Meta;
use super::answer::{Answer, HTML};
use super::graph::Arrival;
use super::instagram::Host;
use super::parameters;
use crate::gate::{Call, GRAPH, Gate, Verdict};

/// The function instance that makes a request, if there are several.
#[derive(Clone)]
struct Instance(u64);

/// Marks a response that is not sent: the connection is closed instead.
#[derive(Clone)]
struct CloseInstead;

impl Meta {
    /// Serves the Graph API until `shutdown` is done, then drops every connection.
    ///
    /// `POST /{version}/{page id or "me"}/messages` is the Send API; the other calls that the project
    /// makes are answered as well, and everything else is an unknown path. The server is hand-written
    /// because a lost answer closes the connection with no response.
    ///
    /// Under `/instagram` is what Meta serves on `graph.instagram.com`. The same is served under
    /// `/instances/{number}`, so that `gate` can distinguish the calls of several function instances.
    pub async fn serve(
        self,
        listener: TcpListener,
        gate: Arc<Gate>,
        shutdown: impl Future<Output = ()>,
    ) {
        let router = TowerToHyperService::new(self.router(gate));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, router.clone()));
                    }
                    // A connection that ended before it was accepted.
                    Err(_) => tokio::task::yield_now().await,
                },
            }
        }
    }

    fn router(self, gate: Arc<Gate>) -> Router {
        Router::new()
            .fallback(graph)
            .layer(middleware::from_fn(move |request, next| pass(Arc::clone(&gate), request, next)))
            // A body that is refused for its size would be missing from the recorded requests.
            .layer(DefaultBodyLimit::disable())
            .with_state(self)
    }
}

/// Lets a request through the gate, both ways.
async fn pass(gate: Arc<Gate>, request: Request<Body>, next: Next) -> Response<Body> {
    let instance = request.extensions().get::<Instance>().map_or(0, |Instance(number)| *number);
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let passed = gate.enter(Call::new(instance, GRAPH, &body)).await;
    let response = match passed.verdict {
        Verdict::Refused => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => next.run(Request::from_parts(head, body.into())).await,
    };
    gate.leave(passed).await;
    response
}

async fn serve_connection(stream: TcpStream, router: TowerToHyperService<Router>) {
    // Without it small answers may wait for an acknowledgement, which is only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, &router));
    // An error here is a client that disconnected, or an answer that is lost on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    mut request: Request<Incoming>,
    router: &TowerToHyperService<Router>,
) -> io::Result<Response<Body>> {
    if let Some(rest) = on_instagram(request.uri()) {
        request.extensions_mut().insert(Host::Instagram);
        *request.uri_mut() = rest;
    }
    if let Some((instance, rest)) = of_instance(request.uri()) {
        request.extensions_mut().insert(Instance(instance));
        *request.uri_mut() = rest;
    }
    let response = router.call(request).await.unwrap_or_else(|never: Infallible| match never {});
    match response.extensions().get::<CloseInstead>() {
        Some(CloseInstead) => Err(io::Error::other("the answer is lost on purpose")),
        None => Ok(response),
    }
}

/// Separates `/instagram` from the rest of the path.
fn on_instagram(uri: &Uri) -> Option<Uri> {
    uri.path_and_query()?
        .as_str()
        .strip_prefix("/instagram/")
        .and_then(|rest| format!("/{rest}").parse().ok())
}

/// Separates `/instances/{number}` from the rest of the path.
fn of_instance(uri: &Uri) -> Option<(u64, Uri)> {
    let rest = uri.path_and_query()?.as_str().strip_prefix("/instances/")?;
    let (number, rest) = rest.split_once('/')?;
    Some((number.parse().ok()?, format!("/{rest}").parse().ok()?))
}

/// A call of the Graph API: the Send API's, or another one.
async fn graph(
    State(meta): State<Meta>,
    extensions: Extensions,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    meta.state().urls.push(uri.to_string());
    let host = extensions.get().copied().unwrap_or(Host::Facebook);
    let answer = match parameters::read_call(host, &method, &uri, &headers, &body).await {
        Some(call) => meta.call(call).await,
        None => meta.receive(&Arrival::unknown(host)),
    };
    let answer = match answer {
        Answer::Late { millis, answer } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            *answer
        }
        answer => answer,
    };
    respond_with(&meta, answer)
}

fn respond_with(meta: &Meta, answer: Answer) -> Response<Body> {
    let mut response = match answer {
        Answer::Json { http, usage, body } => json_response(http, usage, body),
        Answer::Html { http } => {
            let status = StatusCode::from_u16(http).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            (status, Html(HTML)).into_response()
        }
        Answer::Closed | Answer::Late { .. } => {
            let mut response = Response::default();
            response.extensions_mut().insert(CloseInstead);
            response
        }
    };
    if let Ok(date) = HeaderValue::try_from(meta.date()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn json_response(http: u16, usage: Option<String>, body: Value) -> Response<Body> {
    let status = StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Some(usage) = usage.and_then(|usage| HeaderValue::try_from(usage).ok()) {
        headers.insert("x-business-use-case-usage", usage);
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(r#"OAuth "Facebook Platform" "invalid_token""#);
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
