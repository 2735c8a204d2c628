//! Authorization: callers whose signature AWS has checked, or who hold a key of the secret.

use backend::secrets::{Application, Secret, Secrets};
use backend::settings::Variables;
use backend::signature::is_same_secret;
use lambda_http::http::header::AUTHORIZATION;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use crate::problem::Problem;

/// How callers authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiAuth {
    /// API Gateway passes on only requests that a permitted IAM identity has signed.
    Iam,
    /// The request carries a key of the secret as a bearer token: the deployment's, or an application's.
    Key,
}

/// Who calls, by what they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// All applications.
    Deployment,
    /// The applications with these keys.
    Applications(Vec<String>),
    /// Nothing: the request proves itself what it may do.
    Nobody,
}

impl Caller {
    /// Whether an application, by its key, is the caller's.
    pub(crate) fn has_application(&self, key: &str) -> bool {
        match self {
            Self::Deployment => true,
            Self::Applications(keys) => keys.iter().any(|own| own == key),
            Self::Nobody => false,
        }
    }

    /// Whether the secret names a Page that is the caller's.
    pub(crate) fn has_page(&self, page_id: &str, secret: &Secret) -> bool {
        secret.key_of(page_id).is_some_and(|key| self.has_application(key))
    }
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

    /// The caller of a request.
    ///
    /// # Errors
    /// [`Problem`] with status 401 if nobody is known by it.
    pub(crate) async fn authorize(
        self,
        request: &Request,
        secrets: &Secrets,
    ) -> Result<Caller, Problem> {
        let caller = match self {
            Self::Iam => was_signed(request).then_some(Caller::Deployment),
            Self::Key => by_key(request, secrets).await,
        };
        caller.ok_or_else(Problem::unauthorized)
    }
}

async fn by_key(request: &Request, secrets: &Secrets) -> Option<Caller> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, key) = header?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    if let Ok(secret) = secrets.current().await
        && let Some(caller) = caller_of(&secret, key.trim())
    {
        return Some(caller);
    }
    match secrets.reread().await {
        Ok(secret) => caller_of(&secret, key.trim()),
        Err(error) => {
            tracing::error!(%error, "no caller can be authenticated");
            None
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

/// Whose key it is. It is compared with every key there is, so that the time tells nothing; a key that
/// several applications share reaches all of them.
fn caller_of(secret: &Secret, key: &str) -> Option<Caller> {
    let is_of_deployment = secret.api_key().is_ok_and(|ours| is_same_secret(ours, key));
    let is_own = |application: &Application| {
        application.api_key().is_some_and(|own| is_same_secret(own, key))
    };
    let own: Vec<_> = secret
        .applications()
        .filter(|(_, application)| is_own(application))
        .map(|(key, _)| key.to_owned())
        .collect();
    if is_of_deployment {
        Some(Caller::Deployment)
    } else {
        (!own.is_empty()).then_some(Caller::Applications(own))
    }
}
