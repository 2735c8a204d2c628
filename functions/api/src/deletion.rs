//! Meta's data deletion callback: a person asked Meta to have an app delete their data.
//!
//! Source: Meta's documentation of the data deletion request callback.

use backend::graph::Access;
use backend::secrets::{Application, Secret};
use backend::signature::open_signed_request;
use backend::store::{ConversationKey, Deletion, DeletionState};
use lambda_http::Request;
use lambda_http::http::StatusCode;
use messenger::event::digest;
use messenger::person::Person;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Answer;
use crate::api::Api;
use crate::problem::Problem;
use crate::route::Call;

/// How many hexadecimal digits of a digest are a confirmation code: 128 bits.
const CODE_LENGTH: usize = 32;

/// What Meta shows to the person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Confirmation {
    /// The address of the deletion's status.
    url: String,
    /// Identifies the deletion.
    confirmation_code: String,
}

/// The status of a data deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletionStatus {
    /// Identifies the deletion.
    confirmation_code: String,
    /// `begun` or `erased`.
    state: &'static str,
    /// When it reached this state.
    #[schema(format = DateTime)]
    at: String,
}

/// What Meta signs.
#[derive(Deserialize)]
struct Signed {
    algorithm: String,
    user_id: String,
}

pub(crate) struct Begin;

/// What Meta posts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form that is read field by field")]
struct SignedRequest {
    /// A signature, a dot, and what is signed, both base64url.
    signed_request: String,
}

/// Meta's data deletion callback: erases the person whom a signed request identifies
#[utoipa::path(
    post,
    path = "/data-deletion",
    impl_for = Begin,
    request_body(content = inline(SignedRequest), content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The person is erased on every Page of the app.", body = Confirmation),
        (status = 401, description = "No app secret matches the signature.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not a form.", body = Problem),
        (status = 422, description = "The field is missing, or its signed content is invalid.", body = Problem),
    ),
)]
pub(crate) async fn begin(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    const FIELD: &str = "signed_request";
    let form = call.body("application/x-www-form-urlencoded")?;
    let signed_request = form_urlencoded::parse(form).find(|(name, _)| name == FIELD);
    let Some((_, signed_request)) = signed_request else {
        return Err(Problem::wrong(FIELD, "is missing in the form"));
    };
    let current = api.secrets.current().await?;
    let (secret, key, opened) = if let Some((key, opened)) = open(&current, &signed_request) {
        (current, key, opened)
    } else {
        let fresh = api.secrets.reread().await?;
        let (key, opened) = open(&fresh, &signed_request).ok_or_else(forged)?;
        (fresh, key, opened)
    };
    let signed: Signed = serde_json::from_slice(&opened)
        .map_err(|_| Problem::wrong(FIELD, "must contain algorithm and user_id"))?;
    if !signed.algorithm.eq_ignore_ascii_case("HMAC-SHA256") {
        return Err(Problem::wrong(FIELD, "must be signed with HMAC-SHA256"));
    }
    let Some(application) = secret.application(&key) else { return Err(forged()) };

    // Only someone who holds what Meta signed can guess it.
    let code = digest(&[FIELD, &signed_request])[..CODE_LENGTH].to_owned();
    api.note(&code, DeletionState::Begun).await?;
    for conversation_key in api.ids_at_pages(application, &signed.user_id).await? {
        api.erase(&conversation_key).await?;
    }
    api.note(&code, DeletionState::Erased).await?;
    let url = format!("{}/data-deletion/{code}", address(call.request));
    Ok(Answer::ok(&Confirmation { url, confirmation_code: code })?)
}

pub(crate) struct Read;

/// Returns the status of a data deletion
#[utoipa::path(
    get,
    path = "/data-deletion/{code}",
    impl_for = Read,
    params(("code" = String, Path, min_length = 1, description = "The confirmation code.")),
    responses(
        (status = 200, description = "The status.", body = DeletionStatus),
        (status = 404, description = "There is no such deletion, or it has expired.", body = Problem),
    ),
)]
pub(crate) async fn read(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let code = call.parameter("code");
    let Some(deletion) = api.outbox.store().deletion(code).await? else {
        let message = "there is no such deletion, or it has expired";
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_deletion", message));
    };
    Ok(Answer::ok(&DeletionStatus {
        confirmation_code: code.to_owned(),
        state: deletion.state.name(),
        at: deletion.at.to_string(),
    })?)
}

impl Api {
    async fn note(&self, code: &str, state: DeletionState) -> Result<(), Problem> {
        let deletion = Deletion { state, at: self.clock.now() };
        Ok(self.outbox.store().set_deletion(code, deletion).await?)
    }

    /// Who an app's person is at each of the app's Pages.
    async fn ids_at_pages(
        &self,
        application: &Application,
        user_id: &str,
    ) -> Result<Vec<ConversationKey>, Problem> {
        let (app_id, app_secret) = (application.app_id()?, application.app_secret()?);
        let token = SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()));
        let access = Access { token: &token, app_secret: Some(app_secret) };
        let mut people = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut parameters = vec![("limit", "100")];
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let answer = match self
                .outbox
                .graph()
                .get(&[user_id, "ids_for_pages"], access, &parameters)
                .await
            {
                // Graph does not know the person in this app, so no Page of the app does.
                Err(error) if (error.code, error.subcode) == (Some(100), Some(33)) => break,
                answer => answer?,
            };
            for id in answer.body["data"].as_array().into_iter().flatten() {
                let (page_id, person) = (id["page"]["id"].as_str(), id["id"].as_str());
                if let (Some(page_id), Some(person)) = (page_id, person)
                    && application.has_page(page_id)
                    && let Ok(person) = Person::psid(person)
                {
                    people.push(ConversationKey { page_id: page_id.to_owned(), person });
                }
            }
            let paging = &answer.body["paging"];
            let has_next = paging["next"].is_string();
            after = paging["cursors"]["after"].as_str().map(str::to_owned).filter(|_| has_next);
            if after.is_none() {
                break;
            }
        }
        Ok(people)
    }
}

/// What is signed, and the key of the application whose app secret signed it.
fn open(secret: &Secret, signed_request: &str) -> Option<(String, Vec<u8>)> {
    secret.applications().find_map(|(key, application)| {
        let opened = open_signed_request(signed_request, application.app_secrets()).ok()?;
        Some((key.to_owned(), opened))
    })
}

fn forged() -> Problem {
    let message = "no app secret matches the signature";
    Problem::new(StatusCode::UNAUTHORIZED, "forged", message).at("signed_request")
}

/// Where this API is, as the caller sees it, without a slash at the end.
fn address(request: &Request) -> String {
    let uri = request.uri();
    let host = uri.authority().map_or("localhost", |authority| authority.as_str());
    format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
}
