//! Meta's data deletion callback: a person asked Meta to have an app delete their data.
//!
//! It is answered at once; the follow-ups complete it. Source: Meta's documentation of the data deletion
//! request callback.

use std::time::Duration;

use backend::secrets::Secret;
use backend::signature::open_signed_request;
use lambda_http::Request;
use lambda_http::http::StatusCode;
use messenger::clock::Timestamp;
use messenger::event::digest;
use serde::de::IgnoredAny;
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
    /// `begun` or `erased`; it never goes back.
    state: &'static str,
    /// When it reached this state.
    #[schema(format = DateTime)]
    at: String,
}

/// For how long after it was signed a request is accepted. Meta posts it at once, and repeats what is
/// not answered; what is older was kept by somebody.
const ACCEPTED_FOR: Duration = Duration::from_hours(24);

/// How far Meta's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// What Meta signs.
///
/// A login signs payloads of the same form with the same secret; those carry `code` or `oauth_token`.
/// Source: Meta's documentation of the data deletion request callback, and of signed requests.
#[derive(Clone, Debug, Default, Deserialize)]
struct Signed {
    algorithm: String,
    user_id: String,
    /// In seconds since the epoch.
    issued_at: i64,
    /// In seconds since the epoch; 0 for never.
    #[serde(default)]
    expires: i64,
    #[serde(default)]
    code: Option<IgnoredAny>,
    #[serde(default)]
    oauth_token: Option<IgnoredAny>,
}

impl Signed {
    /// What is wrong with it as a data deletion request of now.
    fn problem(&self, now: Timestamp) -> Option<&'static str> {
        let instant = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let issued_at = instant(self.issued_at);
        if !self.algorithm.eq_ignore_ascii_case("HMAC-SHA256") {
            Some("must be signed with HMAC-SHA256")
        } else if self.code.is_some() || self.oauth_token.is_some() {
            Some("is not a data deletion request: it contains code or oauth_token")
        } else if self.user_id.is_empty() || !self.user_id.bytes().all(|b| b.is_ascii_digit()) {
            Some("must contain user_id, which consists of digits")
        } else if issued_at + ACCEPTED_FOR < now {
            Some("was issued more than 24 hours ago")
        } else if now + CLOCK_SKEW < issued_at {
            Some("was issued in the future")
        } else if self.expires != 0 && instant(self.expires) < now {
            Some("has expired")
        } else {
            None
        }
    }
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
        (status = 200, description = "The deletion is accepted: the person is erased on every Page of the app within minutes, or as soon as Meta names their ids.", body = Confirmation),
        (status = 401, description = "No app secret matches the signature.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not a form.", body = Problem),
        (status = 422, description = "The field is missing, or what is signed is not a data deletion request, is older than a day, or has expired.", body = Problem),
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
        .map_err(|_| Problem::wrong(FIELD, "must contain algorithm, user_id and issued_at"))?;
    if let Some(problem) = signed.problem(api.clock.now()) {
        return Err(Problem::wrong(FIELD, problem));
    }
    let Some(application) = secret.application(&key) else { return Err(forged()) };

    // Only someone who holds what Meta signed can guess it.
    let code = digest(&[FIELD, &signed_request])[..CODE_LENGTH].to_owned();
    api.erasures.accept_deletion(&code, application.app_id()?, &signed.user_id).await?;
    let url = format!("{}/data-deletion/{code}", address(call.request));
    Ok(Answer::ok(&Confirmation { url, confirmation_code: code })?)
}

pub(crate) struct Read;

/// Returns the status of a data deletion
#[utoipa::path(
    get,
    path = "/data-deletion/{code}",
    impl_for = Read,
    params(("code" = String, Path, description = "The confirmation code.")),
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_338_000_000);

    fn accepted(change: impl FnOnce(&mut Signed)) -> bool {
        let mut signed = Signed {
            algorithm: "HMAC-SHA256".into(),
            user_id: "1".into(),
            issued_at: NOW.millis() / 1000,
            ..Signed::default()
        };
        change(&mut signed);
        signed.problem(NOW).is_none()
    }

    #[test]
    fn only_a_fresh_request_is_accepted() {
        let now = NOW.millis() / 1000;
        for (issued, accepts) in [
            (now, true),
            (now - 86_400, true),
            (now - 86_401, false),
            (now + 300, true),
            (now + 301, false),
            (0, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            assert_eq!(accepted(|signed| signed.issued_at = issued), accepts, "issued {issued}");
        }
        for (expires, accepts) in [(0, true), (now, true), (now - 1, false), (now + 1, true)] {
            assert_eq!(accepted(|signed| signed.expires = expires), accepts, "expires {expires}");
        }
        for id in ["", "../me", "1/2", "a"] {
            assert!(!accepted(|signed| signed.user_id = id.into()), "{id}");
        }
    }
}
