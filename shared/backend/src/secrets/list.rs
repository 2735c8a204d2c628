//! The list of the applications: which parts are set, without their values.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Application, DEFAULT_APPLICATION, Secret};

/// The applications of the secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Applications {
    applications: Vec<ListedApplication>,
}

/// An application, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Application)]
struct ListedApplication {
    /// Its key, which is part of its webhook's path.
    key: String,
    /// The app's id at Meta.
    #[schema(required)]
    app_id: Option<String>,
    /// The URL to which Meta sends its notifications.
    webhook: String,
    /// The ids of its Pages.
    pages: Vec<String>,
    /// The ids of its Instagram accounts: those linked to Pages, and those with a login of their own.
    instagram_accounts: Vec<String>,
    /// Whether it has an API key of its own.
    has_api_key: bool,
    /// The parts of the secret that are not filled in.
    missing: Vec<String>,
}

impl Secret {
    /// Lists the applications that are wanted, by their keys; `webhook_url` is that of the default one,
    /// and ends in `/webhook`.
    pub fn list(&self, webhook_url: &str, is_wanted: impl Fn(&str) -> bool) -> Applications {
        let applications = self.applications().filter(|(key, _)| is_wanted(key));
        let applications = applications.map(|(key, application)| ListedApplication {
            key: key.to_owned(),
            app_id: application.app_id().ok().map(str::to_owned),
            webhook: callback_url(webhook_url, key),
            pages: application.pages().map(|(id, _)| id.to_owned()).collect(),
            instagram_accounts: application.instagram_ids().map(str::to_owned).collect(),
            has_api_key: application.api_key().is_some(),
            missing: application.missing(),
        });
        Applications { applications: applications.collect() }
    }
}

impl Application {
    /// The parts that are not set.
    pub fn missing(&self) -> Vec<String> {
        let parts = [
            ("app_id", self.app_id().is_err()),
            ("app_secret", self.app_secret().is_err()),
            ("verify_token", self.verify_token().is_err()),
            ("pages", self.page_ids().next().is_none()),
        ];
        let parts = parts.into_iter().filter(|(_, lacks)| *lacks).map(|(name, _)| name.to_owned());
        let without_token = self.page_ids().filter(|id| self.sender(id).is_err());
        parts.chain(without_token.map(|id| format!("access_token of {}", self.noun(id)))).collect()
    }
}

/// The callback URL of an application: `…/webhook`, or `…/{key}/webhook`.
pub fn callback_url(webhook_url: &str, key: &str) -> String {
    match webhook_url.strip_suffix("webhook") {
        Some(base) if key != DEFAULT_APPLICATION => format!("{base}{key}/webhook"),
        _ => webhook_url.to_owned(),
    }
}
