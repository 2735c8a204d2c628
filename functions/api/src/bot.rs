//! The bot's silence in a conversation.

use std::time::Duration;

use backend::payload;
use backend::request::instant;
use backend::store::Cause;
use lambda_http::http::StatusCode;
use messenger::clock::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::Answer;
use crate::api::Api;
use crate::people::Person;
use crate::problem::Problem;
use crate::route::Call;

/// How long what waited for the bot waits for whoever is sending to the person.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest silence.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// Whether the bot speaks. Exactly one of the two is required.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotState {
    /// The time until which the bot is silent, within 30 days: ms since the epoch, or RFC 3339.
    #[serde(default, deserialize_with = "instant")]
    #[schema(value_type = Option<String>, example = "2026-11-22T09:30:00Z")]
    quiet_until: Option<Timestamp>,
    /// `true` ends the silence.
    active: Option<bool>,
}

pub(crate) struct Change;

/// Silences the bot in a conversation, or lets it speak again
#[utoipa::path(
    put,
    path = "/people/{psid}/bot",
    impl_for = Change,
    params(
        ("psid" = String, Path, description = "The person's PSID, or another recipient such as `user_ref:…`."),
        ("page_id" = String, Query, min_length = 1, description = "The Page's id."),
    ),
    request_body = BotState,
    responses(
        (status = 200, description = "The conversation after it: what waited for the end of the silence has been sent.", body = Person),
        (status = 400, description = "The body is not valid JSON, or the path contains a character that a path holds only percent-encoded.", body = Problem),
        (status = 404, description = "The person is unknown, or the secret does not contain the Page.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not declared as JSON.", body = Problem),
        (status = 422, description = "A field or parameter is invalid.", body = Problem),
        (status = 503, description = "The table or the secret does not respond.", body = Problem),
    ),
)]
pub(crate) async fn change(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let now = api.clock.now();
    let until = read(&call.json()?, now)?;
    let conversation_key = api.conversation_key(&call).await?;
    let seen = api.known(&conversation_key).await?;
    // What was seen came before this request, although Meta's clock may be ahead of ours.
    let happened_at = seen.control_at.map_or(now, |at| now.max(at + Duration::from_millis(1)));
    let cause = Cause::Own { at: happened_at, erased_at: seen.erased_at };
    let context = api.outbox.context(call.invocation, call.deadline);
    api.outbox.set_silence(&conversation_key, until, cause, &context, PATIENCE).await?;
    if until.is_none() {
        api.outbox.tell_resumed(&conversation_key, &seen, cause).await?;
    }
    let conversation = api.known(&conversation_key).await?;
    Ok(Answer::ok(&api.person(conversation_key, conversation).await?)?)
}

/// Until when the bot is to be silent, if it is.
fn read(body: &Value, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let state: BotState = payload::read(body)?;
    match (state.quiet_until, state.active) {
        (Some(until), None) if now < until && until <= now + LONGEST => Ok(Some(until)),
        (Some(_), None) => Err(Problem::wrong("quiet_until", "must be in the next 30 days")),
        (None, Some(true)) => Ok(None),
        (None, Some(false)) => {
            Err(Problem::wrong("active", "must be true; quiet_until silences the bot"))
        }
        _ => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "exactly one of quiet_until and active is required",
        )),
    }
}
