//! The applications that this deployment serves.

use lambda_http::Request;
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{About, Gives};
use crate::problem::Problem;
use crate::routes::Call;
use crate::{Answer, Api};

pub(crate) const LIST: About = About {
    summary: "Lists the applications, their webhooks, their Pages and what is missing",
    answers: &[(200, "The applications; never a secret.", Gives::Schema("Applications"))],
    ..About::NOTHING
};

/// The applications of the secret.
#[derive(Debug, Serialize, ToSchema)]
#[expect(dead_code, reason = "describes what the library lists")]
pub(crate) struct Applications {
    applications: Vec<Application>,
}

/// An application.
#[derive(Debug, Serialize, ToSchema)]
#[expect(dead_code, reason = "describes what the library lists")]
pub(crate) struct Application {
    /// Its key; a part of its webhook's path.
    key: String,
    /// The app's id at Meta.
    #[schema(required)]
    app_id: Option<String>,
    /// Where Meta sends its notifications.
    webhook: String,
    /// Its Pages.
    pages: Vec<String>,
    /// What is not filled in.
    missing: Vec<String>,
}

impl Api {
    pub(crate) async fn list_applications(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let secret = self.secrets.reread().await?;
        Answer::ok(&secret.list(&format!("{}/webhook", address(call.request))))
    }
}

/// Where this API is, as the caller sees it, without a slash at the end.
pub(crate) fn address(request: &Request) -> String {
    let uri = request.uri();
    let host = uri.authority().map_or("localhost", |authority| authority.as_str());
    format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
}
