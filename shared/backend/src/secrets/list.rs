//! The list of the applications: which parts are set, without their values.

use serde_json::{Value, json};

use super::{Application, DEFAULT_APPLICATION, Secret};

impl Secret {
    /// Key, app id, webhook, Pages and missing parts of each application; `webhook_url` is that of
    /// the default one and ends in `/webhook`.
    pub fn list(&self, webhook_url: &str) -> Value {
        let applications = self.applications().map(|(key, application)| {
            json!({
                "key": key,
                "app_id": application.app_id().ok(),
                "webhook": callback_url(webhook_url, key),
                "pages": application.page_ids().collect::<Vec<_>>(),
                "missing": application.missing(),
            })
        });
        json!({"applications": applications.collect::<Vec<_>>()})
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
        let without_token = self.page_ids().filter(|id| self.page(id).is_err());
        parts
            .chain(without_token.map(|page_id| format!("access_token of Page {page_id}")))
            .collect()
    }
}

/// The callback URL of an application: `…/webhook`, or `…/{key}/webhook`.
pub fn callback_url(webhook_url: &str, key: &str) -> String {
    match webhook_url.strip_suffix("webhook") {
        Some(base) if key != DEFAULT_APPLICATION => format!("{base}{key}/webhook"),
        _ => webhook_url.to_owned(),
    }
}
