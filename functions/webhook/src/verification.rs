//! Verification: Meta's GET when the callback URL is registered.

use backend::secrets::Secret;
use backend::signature::is_same_secret;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};

use crate::{Webhook, answer, not_found};

impl Webhook {
    /// 200 with the challenge if the verify token is the application's, 403 if not, 404 if there is no
    /// such application, 400 if a parameter is missing.
    pub(crate) async fn verify(&self, application: &str, request: &Request) -> Response<Body> {
        let parameters = request.query_string_parameters();
        let parameter = |name: &str| parameters.first(name).filter(|value| !value.is_empty());
        let (Some(mode), Some(token), Some(challenge)) =
            (parameter("hub.mode"), parameter("hub.verify_token"), parameter("hub.challenge"))
        else {
            let needed = "hub.mode, hub.verify_token and hub.challenge are required";
            return answer(StatusCode::BAD_REQUEST, needed);
        };
        let claim =
            if mode == "subscribe" { self.claim(application, token).await } else { Claim::Wrong };
        match claim {
            Claim::Right => answer(StatusCode::OK, challenge),
            Claim::Wrong => answer(StatusCode::FORBIDDEN, "FORBIDDEN"),
            Claim::OfNoApplication => not_found(),
        }
    }

    async fn claim(&self, application: &str, token: &str) -> Claim {
        let current = self.secrets.current().await;
        let claim = current.as_ref().map(|secret| judge(secret, application, token));
        if let Ok(Claim::Right) = claim {
            return Claim::Right;
        }
        match self.secrets.reread().await {
            Ok(secret) => judge(&secret, application, token),
            Err(error) => {
                tracing::error!(%error, "the webhook cannot be verified");
                Claim::Wrong
            }
        }
    }
}

/// The result of checking a verify token.
enum Claim {
    Right,
    Wrong,
    OfNoApplication,
}

fn judge(secret: &Secret, application: &str, token: &str) -> Claim {
    let Some(known) = secret.application(application) else {
        return Claim::OfNoApplication;
    };
    match known.verify_token() {
        Ok(ours) if is_same_secret(ours, token) => Claim::Right,
        Ok(_) => Claim::Wrong,
        Err(error) => {
            tracing::error!(%error, application, "the webhook cannot be verified");
            Claim::Wrong
        }
    }
}
