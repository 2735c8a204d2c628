//! The Graph API over HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse};
use axum::routing::post;
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Meta;
use super::answer::Answer;
use super::graph::Arrival;
use super::instagram::Host;
use super::node::NodeCall;
use crate::gate::{Call, GRAPH, Gate};

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
        let messages = post(messages).fallback(unknown_path);
        Router::new()
            .route("/{version}/{node}/messages", messages)
            .fallback(other_path)
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
    let response = next.run(Request::from_parts(head, body.into())).await;
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

async fn messages(
    State(meta): State<Meta>,
    Path((version, node)): Path<(String, String)>,
    extensions: Extensions,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    meta.state().urls.push(uri.to_string());
    let node = is_version(&version).then_some(node);
    answer(&meta, (host(&extensions), node), &uri, &headers, &body)
}

/// A call of a node or an edge, if Graph has one at this path.
async fn other_path(
    State(meta): State<Meta>,
    extensions: Extensions,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    meta.state().urls.push(uri.to_string());
    let host = host(&extensions);
    let called = match read_call(host, &method, &uri, &headers, &body) {
        Some(call) => meta.call(call).await,
        None => None,
    };
    match called {
        Some(called) => respond_with(&meta, called),
        None => answer(&meta, (host, None), &uri, &headers, &body),
    }
}

fn host(extensions: &Extensions) -> Host {
    extensions.get().copied().unwrap_or(Host::Facebook)
}

fn read_call(
    host: Host,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Option<NodeCall> {
    let mut path = uri.path().split('/').skip(1).peekable();
    let has_version = path.next_if(|part| is_version(part)).is_some();
    // The one path that Meta documents without a version.
    if !has_version && (host, uri.path()) != (Host::Instagram, "/refresh_access_token") {
        return None;
    }
    let Query(mut parameters) = Query::<Map<String, Value>>::try_from_uri(uri).ok()?;
    let is_json = text_of(headers, header::CONTENT_TYPE)
        .is_some_and(|kind| kind.starts_with("application/json"));
    if let (true, Ok(Value::Object(fields))) = (is_json, serde_json::from_slice(body)) {
        parameters.extend(fields);
    }
    let mut take =
        |name| parameters.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let (proof, in_query) = (take("appsecret_proof"), take("access_token"));
    let bearer = text_of(headers, header::AUTHORIZATION)
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::to_owned);
    Some(NodeCall {
        host,
        method: method.to_string(),
        path: path.filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        parameters,
        token: bearer.or(in_query),
        proof,
    })
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn unknown_path(
    State(meta): State<Meta>,
    extensions: Extensions,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    answer(&meta, (host(&extensions), None), &uri, &headers, &body)
}

fn answer(
    meta: &Meta,
    (host, node): (Host, Option<String>),
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    let mut query = Query::<BTreeMap<String, String>>::try_from_uri(uri)
        .map(|Query(query)| query)
        .unwrap_or_default();
    let header = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let token = header(header::AUTHORIZATION)
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::to_owned)
        .or_else(|| query.remove("access_token"));
    let is_json =
        header(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    let arrival = Arrival {
        host,
        node,
        token,
        proof: query.remove("appsecret_proof"),
        body: match serde_json::from_slice(body) {
            Ok(body) if is_json => body,
            _ => Value::Null,
        },
    };
    respond_with(meta, meta.receive(&arrival))
}

fn respond_with(meta: &Meta, answer: Answer) -> Response<Body> {
    let mut response = match answer {
        Answer::Json { http, usage, body } => json_response(http, usage, body),
        Answer::Html { http } => {
            let status = StatusCode::from_u16(http).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            (status, Html("<html><body>Not served</body></html>")).into_response()
        }
        Answer::Closed => {
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

/// Whether a path begins like Meta's, with a version such as `v24.0`.
fn is_version(version: &str) -> bool {
    version.strip_prefix('v').and_then(|numbers| numbers.split_once('.')).is_some_and(
        |(major, minor)| {
            [major, minor]
                .into_iter()
                .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        },
    )
}
