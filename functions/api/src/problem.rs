//! What is wrong with a request, as JSON: never a token, a text or a PSID.

use backend::feed::FeedError;
use backend::outbox::{OutboxError, Outlook, ScheduleError};
use backend::request::RequestError;
use backend::secrets::SecretError;
use backend::store::StoreError;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use lambda_http::{Body, Response};
use messenger::window::{self, Policy, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Answer;

/// Why a request was not done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    error: Box<Explanation>,
    #[serde(skip)]
    #[schema(ignore)]
    status: StatusCode,
    #[serde(skip)]
    #[schema(ignore)]
    allow: Option<String>,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// The problem's name, for programs.
    code: String,
    /// What happened and what to do, for people.
    message: String,
    /// The field, parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Of a message that the windows refuse: for which purposes one may be sent at its time. None
    /// but these until the person writes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<Vec<Chance>>,
}

/// A purpose for which the windows allow a message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Chance {
    /// The purpose.
    #[schema(schema_with = crate::openapi::purpose)]
    purpose: &'static str,
    /// Until when, if the person does not write; for ever if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    until: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        let error = Box::new(Explanation { code, message, field: None, allowed: None });
        Self { error, status, allow: None }
    }

    /// A field, parameter or header that is there and cannot be used.
    pub(crate) fn wrong(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message).at(field)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "the request is not signed by a permitted identity, or lacks the right key";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn method_not_allowed(methods: String) -> Self {
        let message = format!("this path takes {methods}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { allow: Some(methods), ..Self::new(status, "method_not_allowed", message) }
    }

    pub(crate) fn unknown_page() -> Self {
        let message = "the secret names no such Page";
        Self::new(StatusCode::NOT_FOUND, "unknown_page", message).at("page_id")
    }

    /// The windows refuse it: what they would allow instead.
    pub(crate) fn refused(refusal: Refusal, outlook: &Outlook, policy: &Policy) -> Self {
        let mut problem = Self::new(StatusCode::CONFLICT, refusal.name(), refusal.explanation());
        let chances = window::chances(&outlook.standing, outlook.due_at, policy).into_iter();
        let chances = chances.map(|chance| Chance {
            purpose: chance.purpose.name(),
            until: chance.until.map(|until| until.to_string()),
        });
        problem.error.allowed =
            Some(if refusal == Refusal::CommentTooOld { Vec::new() } else { chances.collect() });
        problem
    }

    pub(crate) fn at(mut self, field: &str) -> Self {
        self.error.field = Some(field.to_owned());
        self
    }

    fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request was not done");
        let message = "something that this needs does not answer; try again, with the same key";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = Answer { status: self.status, body: Body::Text(body) }.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(methods) = self.allow.and_then(|methods| methods.parse().ok()) {
            headers.insert(ALLOW, methods);
        }
        response
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let text = error.to_string();
        let Some(field) = error.field() else {
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", text);
        };
        let message = text.strip_prefix(field).and_then(|text| text.strip_prefix(": "));
        Self::wrong(field, message.unwrap_or(&text))
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let conflict = |code, message: &str| Self::new(StatusCode::CONFLICT, code, message);
        match error {
            ScheduleError::Invalid(invalid) => Self::wrong(&invalid.field, invalid.problem),
            ScheduleError::UnknownPage => Self::unknown_page(),
            ScheduleError::TooManyWaiting => conflict(
                "too_many_waiting",
                "as many messages wait for this person as may; cancel one, or wait",
            ),
            ScheduleError::AlreadyReplied => conflict(
                "already_replied",
                "another private reply was asked for; a comment or post takes one",
            ),
            ScheduleError::Outbox(error) => error.into(),
        }
    }
}

impl From<OutboxError> for Problem {
    fn from(error: OutboxError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::BadCursor => Self::wrong("after", "is no cursor of this feed"),
            error => Self::unavailable(&error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<backend::graph::GraphError> for Problem {
    fn from(error: backend::graph::GraphError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::unavailable(&error)
    }
}
