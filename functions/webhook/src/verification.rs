//! Meta's GET: the handshake by which the callback URL is registered.

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use shared::secrets::Secret;
use shared::signature::is_same_secret;

use crate::{Webhook, answer};

impl Webhook {
    /// 200 with the challenge if the verify token is ours, 403 if not, 400 if a parameter is
    /// missing.
    pub(crate) async fn verify(&self, request: &Request) -> Response<Body> {
        let parameters = request.query_string_parameters();
        let parameter = |name: &str| parameters.first(name).filter(|value| !value.is_empty());
        let (Some(mode), Some(token), Some(challenge)) =
            (parameter("hub.mode"), parameter("hub.verify_token"), parameter("hub.challenge"))
        else {
            let needed = "hub.mode, hub.verify_token and hub.challenge are needed";
            return answer(StatusCode::BAD_REQUEST, needed);
        };
        if mode == "subscribe" && self.is_our_token(token).await {
            return answer(StatusCode::OK, challenge);
        }
        answer(StatusCode::FORBIDDEN, "FORBIDDEN")
    }

    async fn is_our_token(&self, token: &str) -> bool {
        let fits = |secret: &Secret| match secret.verify_token() {
            Ok(ours) => is_same_secret(ours, token),
            Err(error) => {
                tracing::error!(%error, "the webhook cannot be verified");
                false
            }
        };
        let current = self.secrets.current().await;
        if current.as_ref().is_ok_and(|secret| fits(secret)) {
            return true;
        }
        match self.secrets.reread().await {
            Ok(secret) => fits(&secret),
            Err(error) => {
                tracing::error!(%error, "the webhook cannot be verified");
                false
            }
        }
    }
}
