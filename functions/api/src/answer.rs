//! Successful answers.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use lambda_http::{Body, Response};
use serde::Serialize;

/// An answer, or the part of one that a problem fills in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Body,
}

impl Answer {
    pub(crate) fn json(
        status: StatusCode,
        value: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self { status, body: Body::Text(serde_json::to_string(value)?) })
    }

    pub(crate) fn ok(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Self::json(StatusCode::OK, value)
    }

    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Body::Empty }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
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
