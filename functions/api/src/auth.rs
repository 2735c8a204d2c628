//! Authorization: callers whose signature AWS has checked, or who hold the key of the secret.

use backend::secrets::{Secret, Secrets};
use backend::settings::Variables;
use backend::signature::is_same_secret;
use lambda_http::http::header::AUTHORIZATION;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use secrecy::SecretString;

use crate::problem::Problem;

/// How callers authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiAuth {
    /// API Gateway passes on only requests that a permitted IAM identity has signed.
    Iam,
    /// The request carries `api_key` of the secret as a bearer token.
    Key,
}

impl ApiAuth {
    /// Reads `API_AUTH`, which has no default: a forgotten one must not open the API.
    pub(crate) fn new(variables: &Variables) -> Self {
        const NAME: &str = "API_AUTH";
        match variables.required(NAME).trim() {
            "key" => Self::Key,
            "iam" | "" => Self::Iam,
            _ => {
                variables.reject(NAME, "must be iam or key");
                Self::Iam
            }
        }
    }

    /// Refuses callers who are not permitted.
    pub(crate) async fn authorize(
        self,
        request: &Request,
        secrets: &Secrets,
    ) -> Result<(), Problem> {
        let may = match self {
            Self::Iam => was_signed(request),
            Self::Key => has_key(request, secrets).await,
        };
        if may { Ok(()) } else { Err(Problem::unauthorized()) }
    }
}

async fn has_key(request: &Request, secrets: &Secrets) -> bool {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, key)) = header.and_then(|header| header.split_once(' ')) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return false;
    }
    if secrets.current().await.is_ok_and(|secret| is_key(&secret, key)) {
        return true;
    }
    match secrets.reread().await {
        Ok(secret) => is_key(&secret, key),
        Err(error) => {
            tracing::error!(%error, "no caller can be authenticated");
            false
        }
    }
}

/// Whether API Gateway has checked a signature; without its authorizer nobody is permitted.
fn was_signed(request: &Request) -> bool {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            context.authorizer.as_ref().is_some_and(|authorizer| authorizer.iam.is_some())
        }
        _ => false,
    }
}

fn is_key(secret: &Secret, key: &str) -> bool {
    match secret.api_key() {
        Ok(ours) => is_same_secret(ours, key.trim()),
        Err(error) => {
            tracing::error!(%error, "no caller can be authenticated");
            // Takes as long as a wrong key.
            let _ = is_same_secret(&SecretString::from("none"), key);
            false
        }
    }
}
