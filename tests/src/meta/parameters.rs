//! The parameters of a call, in each form that Meta reads them in.
//!
//! Source: Meta's Send API and Graph API overview. A call's query and body together are its parameters; a
//! body is JSON, `application/x-www-form-urlencoded` (`curl -d 'recipient={…}'`) or `multipart/form-data`
//! (uploads). Outside of a JSON body an object or a list is JSON in a text.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Query};
use axum::http::{HeaderMap, Method, Request, Uri, header};
use serde_json::{Map, Value, json};

use super::instagram::Host;
use super::node::NodeCall;

/// Reads a call; `None` if its path does not begin with a version and needs one.
pub(super) async fn read_call(
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
    let mut parameters = of_query(uri);
    parameters.extend(of_body(headers, body).await);
    let mut call = NodeCall {
        host,
        method: method.to_string(),
        path: path.filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        parameters,
        token: None,
        proof: None,
    };
    call.take_credentials();
    let bearer = text_of(headers, header::AUTHORIZATION)
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::to_owned);
    call.token = bearer.or(call.token);
    Some(call)
}

impl NodeCall {
    /// Takes the credentials out of the parameters.
    pub(super) fn take_credentials(&mut self) {
        let mut take =
            |name| self.parameters.remove(name).and_then(|value| value.as_str().map(str::to_owned));
        self.proof = take("appsecret_proof");
        self.token = take("access_token");
    }
}

/// The parameters of a text such as `a=1&b=2`.
pub(super) fn of_pairs(pairs: &str) -> Map<String, Value> {
    let uri = Uri::builder().path_and_query(format!("/?{pairs}")).build();
    uri.map(|uri| of_query(&uri)).unwrap_or_default()
}

fn of_query(uri: &Uri) -> Map<String, Value> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri).unwrap_or_default().0;
    query.into_iter().map(|(name, text)| (name, of_text(text))).collect()
}

async fn of_body(headers: &HeaderMap, body: &Bytes) -> Map<String, Value> {
    let kind = text_of(headers, header::CONTENT_TYPE).unwrap_or_default();
    if kind.starts_with("application/json") {
        let fields = serde_json::from_slice::<Value>(body).ok();
        return fields.and_then(|fields| fields.as_object().cloned()).unwrap_or_default();
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        return of_pairs(&String::from_utf8_lossy(body));
    }
    if kind.starts_with("multipart/form-data") {
        let request =
            Request::builder().header(header::CONTENT_TYPE, kind).body(Body::from(body.clone()));
        if let Ok(request) = request {
            return of_parts(request).await;
        }
    }
    Map::new()
}

/// The parts of a form; of a file only what is checked: its name, type and size.
async fn of_parts(request: Request<Body>) -> Map<String, Value> {
    let mut parameters = Map::new();
    let Ok(mut parts) = Multipart::from_request(request, &()).await else { return parameters };
    while let Ok(Some(part)) = parts.next_field().await {
        let name = part.name().unwrap_or_default().to_owned();
        let file = part.file_name().map(str::to_owned);
        let kind = part.content_type().map(str::to_owned);
        let Ok(bytes) = part.bytes().await else { break };
        let value = match file {
            Some(file) => json!({"file_name": file, "content_type": kind, "bytes": bytes.len()}),
            None => of_text(String::from_utf8_lossy(&bytes).into_owned()),
        };
        parameters.insert(name, value);
    }
    parameters
}

fn of_text(text: String) -> Value {
    match text.as_bytes().first() {
        Some(b'{' | b'[') => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
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
