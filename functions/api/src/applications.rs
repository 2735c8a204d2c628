//! The applications that this deployment serves.

use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{About, Gives};
use crate::problem::Problem;
use crate::{Answer, Api};

pub(crate) const LIST: About = About {
    summary: "Lists the applications, their webhooks, their Pages and what is missing",
    answers: &[(200, "The applications; never a secret.", Gives::Schema("Applications"))],
    ..About::NOTHING
};

/// The applications of the secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Applications {
    applications: Vec<Application>,
}

/// An application.
#[derive(Debug, Serialize, ToSchema)]
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
    pub(crate) async fn list_applications(&self) -> Result<Answer, Problem> {
        let secret = self.secrets.reread().await?;
        Answer::ok(&secret.list(&self.webhook_url))
    }
}
