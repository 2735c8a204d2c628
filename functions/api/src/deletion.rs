//! Meta's data deletion callback: a person asked Meta that an app forgets them.
//!
//! Source: Meta's documentation of the data deletion request callback.

use backend::graph::Access;
use backend::secrets::{Application, Secret};
use backend::signature::open_signed_request;
use backend::store::{Deletion, DeletionState, Who};
use lambda_http::Request;
use lambda_http::http::StatusCode;
use messenger::event::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::{About, Gives, Takes};
use crate::problem::Problem;
use crate::routes::Call;
use crate::{Answer, Api};

/// How many hexadecimal digits of a digest are a confirmation code: 128 bits.
const CODE_LENGTH: usize = 32;

pub(crate) const BEGIN: About = About {
    summary: "Meta's data deletion callback: erases the person of a signed request",
    takes: Takes::SignedRequest,
    answers: &[
        (200, "The person is erased on every Page of the app.", Gives::Schema("Confirmation")),
        (401, "None of the app secrets signed it.", Gives::Problem),
        (413, "The body is too large.", Gives::Problem),
        (415, "The body is not a form.", Gives::Problem),
        (422, "The form lacks a field, or what is signed is not understood.", Gives::Problem),
    ],
    ..About::NOTHING
};

pub(crate) const READ: About = About {
    summary: "Tells how a data deletion stands",
    answers: &[
        (200, "The deletion.", Gives::Schema("DeletionStatus")),
        (404, "There is no such deletion, or it is long ago.", Gives::Problem),
    ],
    ..About::NOTHING
};

/// What Meta shows to the person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Confirmation {
    /// Where the deletion's state is told.
    url: String,
    /// Names the deletion.
    confirmation_code: String,
}

/// How a deletion stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletionStatus {
    /// Names the deletion.
    confirmation_code: String,
    /// `begun` or `erased`.
    state: &'static str,
    /// Since when.
    #[schema(format = DateTime)]
    at: String,
}

/// What Meta signs.
#[derive(Deserialize)]
struct Signed {
    algorithm: String,
    user_id: String,
}

impl Api {
    /// Erases whom Meta's signed request names.
    pub(crate) async fn begin_deletion(&self, call: Call<'_>) -> Result<Answer, Problem> {
        const FIELD: &str = "signed_request";
        let form = call.body("application/x-www-form-urlencoded")?;
        let signed_request = form_urlencoded::parse(form).find(|(name, _)| name == FIELD);
        let Some((_, signed_request)) = signed_request else {
            return Err(Problem::wrong(FIELD, "is missing in the form"));
        };
        let current = self.secrets.current().await?;
        let (secret, key, opened) = if let Some((key, opened)) = open(&current, &signed_request) {
            (current, key, opened)
        } else {
            let fresh = self.secrets.reread().await?;
            let (key, opened) = open(&fresh, &signed_request).ok_or_else(forged)?;
            (fresh, key, opened)
        };
        let signed: Signed = serde_json::from_slice(&opened)
            .map_err(|_| Problem::wrong(FIELD, "holds no algorithm and user_id"))?;
        if !signed.algorithm.eq_ignore_ascii_case("HMAC-SHA256") {
            return Err(Problem::wrong(FIELD, "is signed by another algorithm than HMAC-SHA256"));
        }
        let Some(application) = secret.application(&key) else { return Err(forged()) };

        // Nobody can guess it who does not hold what Meta signed.
        let code = digest(&[FIELD, &signed_request])[..CODE_LENGTH].to_owned();
        self.note(&code, DeletionState::Begun).await?;
        for who in self.ids_at_pages(application, &signed.user_id).await? {
            self.erase(&who, call.invocation).await?;
        }
        self.note(&code, DeletionState::Erased).await?;
        let url = format!("{}/data-deletion/{code}", address(call.request));
        Answer::ok(&Confirmation { url, confirmation_code: code })
    }

    /// Tells how a deletion stands.
    pub(crate) async fn read_deletion(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let code = call.parameter("code");
        let Some(deletion) = self.outbox.store().deletion(code).await? else {
            let message = "there is no such deletion, or it is long ago";
            return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_deletion", message));
        };
        Answer::ok(&DeletionStatus {
            confirmation_code: code.to_owned(),
            state: deletion.state.name(),
            at: deletion.at.to_string(),
        })
    }

    async fn note(&self, code: &str, state: DeletionState) -> Result<(), Problem> {
        let deletion = Deletion { state, at: self.clock.now() };
        Ok(self.outbox.store().set_deletion(code, deletion).await?)
    }

    /// Who an app's person is at each of the app's Pages.
    async fn ids_at_pages(
        &self,
        application: &Application,
        user_id: &str,
    ) -> Result<Vec<Who>, Problem> {
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
                // Graph knows no such person of this app, so none of its Pages does.
                Err(error) if (error.code, error.subcode) == (Some(100), Some(33)) => break,
                answer => answer?,
            };
            for id in answer.body["data"].as_array().into_iter().flatten() {
                let (page_id, person) = (id["page"]["id"].as_str(), id["id"].as_str());
                if let (Some(page_id), Some(person)) = (page_id, person)
                    && application.has_page(page_id)
                {
                    people.push(Who { page_id: page_id.to_owned(), person: person.to_owned() });
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
    let message = "none of the app secrets signed it";
    Problem::new(StatusCode::UNAUTHORIZED, "forged", message).at("signed_request")
}

/// Where this API is, as the caller sees it, without a slash at the end.
fn address(request: &Request) -> String {
    let uri = request.uri();
    let host = uri.authority().map_or("localhost", |authority| authority.as_str());
    format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
}
