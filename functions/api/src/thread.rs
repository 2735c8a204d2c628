//! The thread with a person: which app controls it.

use backend::outbox::ControlError;
use backend::payload::{self, optional_text};
use backend::send::SendError;
use backend::thread::{LONGEST_CONTROL, ThreadAction};
use lambda_http::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::Answer;
use crate::api::Api;
use crate::people::Person;
use crate::problem::Problem;
use crate::route::Call;

/// The most characters of what the other app is told.
const LONGEST_METADATA: usize = 1000;

/// A change of who controls the thread.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThreadChange {
    /// What to do.
    action: Verb,
    /// The app that gets the thread; required for `pass`.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9]{1,40}$")]
    app_id: Option<String>,
    /// For how long the control is extended, in seconds; required for `extend`.
    #[schema(minimum = 1, maximum = 604_800)]
    seconds: Option<u64>,
    /// What the other app is told.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[!-~]{1,1000}$")]
    metadata: Option<String>,
}

/// What to do about the control of a thread.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Verb {
    /// Give it to another app.
    Pass,
    /// Take it.
    Take,
    /// Give it up.
    Release,
    /// Ask the app that holds it; it is not this app's until that app passes it.
    Request,
    /// Hold it for longer.
    Extend,
}

pub(crate) struct Change;

/// Passes, takes, releases, requests or extends the control of the thread with a person
#[utoipa::path(
    post,
    path = "/people/{psid}/thread",
    impl_for = Change,
    params(
        ("psid" = String, Path, description = "The person's PSID, or another recipient such as `user_ref:…`."),
        ("page_id" = String, Query, min_length = 1, description = "The Page's id."),
    ),
    request_body = ThreadChange,
    responses(
        (status = 200, description = "Meta made the change. The conversation after it: what waited for a thread that was taken has been sent.", body = Person),
        (status = 400, description = "The body is not valid JSON, or the path contains a character that a path holds only percent-encoded.", body = Problem),
        (status = 404, description = "The person is unknown, or the secret does not contain the Page.", body = Problem),
        (status = 409, description = "Meta refuses the change: `code` is the reason, as of a message.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not declared as JSON.", body = Problem),
        (status = 422, description = "A field or parameter is invalid.", body = Problem),
        (status = 503, description = "Meta, the table or the secret does not respond.", body = Problem),
    ),
)]
pub(crate) async fn change(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let (action, metadata) = read(&call.json()?)?;
    let conversation_key = api.conversation_key(&call).await?;
    api.known(&conversation_key).await?;
    let context = api.outbox.context(call.invocation, call.deadline);
    let metadata = metadata.as_deref();
    api.outbox.control_thread(&conversation_key, &action, metadata, &context).await?;
    let conversation = api.known(&conversation_key).await?;
    Ok(Answer::ok(&api.person(conversation_key, conversation).await?)?)
}

/// The action, and what the other app is told.
fn read(body: &Value) -> Result<(ThreadAction, Option<String>), Problem> {
    let change: ThreadChange = payload::read(body)?;
    let is_id = |id: &str| id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_digit());
    if change.app_id.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(Problem::wrong("app_id", "must be an id of at most 40 digits"));
    }
    if change.metadata.as_ref().is_some_and(|text| text.chars().count() > LONGEST_METADATA) {
        return Err(Problem::wrong("metadata", "must have at most 1000 characters"));
    }
    let span = 1..=LONGEST_CONTROL.as_secs();
    let action = match (change.action, change.app_id, change.seconds) {
        (Verb::Pass, Some(app_id), None) => ThreadAction::Pass { app_id },
        (Verb::Pass, None, _) => return Err(Problem::wrong("app_id", "is missing")),
        (Verb::Extend, None, Some(duration)) if span.contains(&duration) => {
            ThreadAction::Extend { duration }
        }
        (Verb::Extend, None, _) => {
            return Err(Problem::wrong("seconds", "must be 1 to 604800 (7 days)"));
        }
        (Verb::Take, None, None) => ThreadAction::Take,
        (Verb::Release, None, None) => ThreadAction::Release,
        (Verb::Request, None, None) => ThreadAction::Request,
        (_, Some(_), _) if !matches!(change.action, Verb::Pass) => {
            return Err(Problem::wrong("app_id", "is only for the action pass"));
        }
        _ => return Err(Problem::wrong("seconds", "is only for the action extend")),
    };
    Ok((action, change.metadata))
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotAThread => Self::wrong("psid", "must be a PSID"),
            ControlError::Outbox(error) => error.into(),
            ControlError::Send(SendError::Secret(error)) => error.into(),
            ControlError::Send(SendError::Graph(error)) if error.fault.may_pass() => {
                Self::unavailable(&error)
            }
            ControlError::Send(SendError::Graph(error)) => {
                let message =
                    format!("Meta refuses it ({error}); GET /people/{{psid}} names the owner");
                Self::new(StatusCode::CONFLICT, error.fault.name(), message)
            }
        }
    }
}
