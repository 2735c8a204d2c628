//! Requests that Meta makes: the check of a callback, and notifications to a program elsewhere.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, header};
use backend::signature::SIGNATURE_HEADER;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Meta's documentation: a webhook has 5 seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of a webhook that gave no answer in time.
const NO_ANSWER: u16 = 504;

/// Gets a URL and returns status and body; `None` if there is no answer.
pub async fn get(url: &str) -> Option<(u16, String)> {
    let request = Request::get(url).body(Full::default()).ok()?;
    exchange(request).await
}

/// Posts a signed notification and returns the answer's status; 504 if there is none.
pub async fn notify(url: &str, signature: &str, body: &[u8]) -> u16 {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, signature)
        .body(Full::from(Bytes::copy_from_slice(body)));
    let Ok(request) = request else { return NO_ANSWER };
    exchange(request).await.map_or(NO_ANSWER, |(status, _)| status)
}

async fn exchange(request: Request<Full<Bytes>>) -> Option<(u16, String)> {
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let whole = async {
        let answer = http.request(request).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(PATIENCE, whole).await.ok().flatten()
}
