//! Attachments: media that Meta saves, so that they can be sent by id.

use backend::graph::Fault;
use backend::media::MEDIA_KEPT;
use backend::payload::{self, id, text};
use backend::send::SendError;
use lambda_http::http::StatusCode;
use messenger::event::Platform;
use messenger::message::{Media, MediaKind, Message};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Answer;
use crate::api::Api;
use crate::problem::Problem;
use crate::route::Call;

/// Media to be saved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAttachment {
    /// The id of the Page that will send them.
    #[serde(deserialize_with = "id")]
    #[schema(pattern = "^[0-9]{1,40}$")]
    page_id: String,
    #[serde(rename = "type")]
    kind: MediaKind,
    /// Where Meta fetches them: an https URL that answers within 10 s. At most 25 MB, images 8 MB.
    #[serde(deserialize_with = "text")]
    #[schema(pattern = "^https://[!-~]+$", max_length = 2048)]
    url: String,
    /// Where they will be sent, if not where the account is.
    #[serde(default)]
    platform: Option<Platform>,
}

/// Saved media.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SavedMedia {
    /// The id of the Page that can send them.
    page_id: String,
    /// Meta's id of them, for a message's `attachment_id`.
    attachment_id: String,
    /// When Meta forgets them: they have to be saved anew then.
    #[schema(format = DateTime)]
    expires_at: String,
}

pub(crate) struct Upload;

/// Lets Meta fetch and save media, so that they can be sent by id for 90 days
#[utoipa::path(
    post,
    path = "/attachments",
    impl_for = Upload,
    request_body = NewAttachment,
    responses(
        (status = 201, description = "The media are saved.", body = SavedMedia),
        (status = 400, description = "The body is not valid JSON.", body = Problem),
        (status = 404, description = "The secret does not contain the Page.", body = Problem),
        (status = 409, description = "Meta refuses the Page: its token, a permission or a restriction is in the way. `code` says which.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not declared as JSON.", body = Problem),
        (status = 422, description = "A field is invalid, or Meta could not fetch the media (`media_unavailable`) or does not accept them.", body = Problem),
        (status = 429, description = "Meta's rate limit is reached. Try again in some minutes.", body = Problem),
    ),
)]
pub(crate) async fn upload(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let wanted: NewAttachment = payload::read(&call.json()?)?;
    let media = Media::url(wanted.url).reusable();
    let message = Message::media(wanted.kind, media)
        .map_err(|invalid| Problem::wrong("url", invalid.problem))?;
    api.check_page(&call.caller, &wanted.page_id).await?;
    let platform = wanted.platform.unwrap_or_default();
    let now = api.clock.now();
    let uploaded = api.outbox.send_api().upload(&wanted.page_id, platform, &message).await;
    let saved = SavedMedia {
        attachment_id: uploaded.map_err(not_saved)?,
        page_id: wanted.page_id,
        expires_at: (now + MEDIA_KEPT).to_string(),
    };
    Ok(Answer::json(StatusCode::CREATED, &saved)?)
}

fn not_saved(error: SendError) -> Problem {
    let error = match error {
        SendError::Secret(error) => return error.into(),
        SendError::Graph(error) => error,
    };
    tracing::warn!(%error, "media were not saved");
    let problem = |status, message: &str| {
        Problem::new(status, error.fault.name(), format!("{message} ({error})"))
    };
    match error.fault {
        Fault::NotConnected | Fault::Unclear | Fault::Temporary => Problem::unavailable(&error),
        Fault::Throttled => problem(
            StatusCode::TOO_MANY_REQUESTS,
            "Meta's rate limit is reached; try again in some minutes",
        ),
        Fault::MediaUnavailable => problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Meta could not fetch the media; check that the URL is public, fast, and of the given type",
        )
        .at("url"),
        Fault::Invalid => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, "Meta does not accept the media").at("url")
        }
        _ => problem(
            StatusCode::CONFLICT,
            "Meta refuses the Page; the status of setup says what is wrong",
        ),
    }
}
