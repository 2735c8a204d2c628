//! Problems as JSON, which never contain a token, a text or a PSID.

use backend::erasure::ErasureError;
use backend::feed::FeedError;
use backend::outbox::{Forecast, OutboxError, ScheduleError};
use backend::secrets::SecretError;
use backend::store::StoreError;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use lambda_http::{Body, Response};
use messenger::message::Invalid;
use messenger::window::{self, Policy, Purpose, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::Answer;

/// Why a request failed.
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
    /// Identifies the kind of problem, for programs.
    code: String,
    /// What happened and what to do about it, for people.
    message: String,
    /// The path of the field, or the parameter or header, that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// If the windows refuse a message: the purposes for which one may be sent at its time. No other
    /// is allowed until the person writes again.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<Vec<AllowedPurpose>>,
}

/// A purpose for which the windows allow a message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllowedPurpose {
    purpose: Purpose,
    /// The last time at which it is allowed if the person does not write; absent if it has no end.
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

    /// A field, parameter or header that is missing or invalid.
    pub(crate) fn wrong(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message).at(field)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "the request is not signed by a permitted identity, or lacks the right key";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn method_not_allowed(methods: String) -> Self {
        let message = format!("this path only accepts {methods}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { allow: Some(methods), ..Self::new(status, "method_not_allowed", message) }
    }

    pub(crate) fn unknown_page() -> Self {
        let message = "the secret does not contain this Page";
        Self::new(StatusCode::NOT_FOUND, "unknown_page", message).at("page_id")
    }

    /// The windows refuse a message; says what they would allow instead.
    pub(crate) fn refused(refusal: Refusal, forecast: &Forecast, policy: &Policy) -> Self {
        let mut problem = Self::new(StatusCode::CONFLICT, refusal.name(), refusal.explanation());
        let allowed_purposes =
            window::allowed_purposes(&forecast.standing, forecast.due_at, policy).into_iter();
        let allowed_purposes = allowed_purposes.map(|allowed| AllowedPurpose {
            purpose: allowed.purpose,
            until: allowed.until.map(|until| until.to_string()),
        });
        problem.error.allowed = Some(if refusal == Refusal::CommentTooOld {
            Vec::new()
        } else {
            allowed_purposes.collect()
        });
        problem
    }

    pub(crate) fn at(mut self, field: &str) -> Self {
        self.error.field = Some(field.to_owned());
        self
    }

    pub(crate) fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request failed");
        let message = "the table, the secret or Meta does not respond; try again with the same idempotency key";
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

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::wrong(&invalid.field, invalid.problem)
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let conflict = |code, message: &str| Self::new(StatusCode::CONFLICT, code, message);
        match error {
            ScheduleError::Invalid(invalid) => invalid.into(),
            ScheduleError::UnknownPage => Self::unknown_page(),
            ScheduleError::TooManyWaiting => conflict(
                "too_many_waiting",
                "too many pending messages for this person; cancel one, or wait",
            ),
            ScheduleError::AlreadyReplied => conflict(
                "already_replied",
                "a comment or post gets one private reply, and another one was requested",
            ),
            ScheduleError::TokenUsed => conflict(
                "token_used",
                "a one-time token allows one message, and another one was requested",
            ),
            ScheduleError::PersonErased => conflict(
                "person_erased",
                "the person was erased; a message can be sent once they have written again",
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
            FeedError::BadCursor => Self::wrong("after", "is not a cursor of this feed"),
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

impl From<ErasureError> for Problem {
    fn from(error: ErasureError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::unavailable(&error)
    }
}
