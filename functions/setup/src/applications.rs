//! The list of the applications; it tells which parts are filled in, and shows none of them.

use serde_json::{Value, json};
use shared::secrets::{Application, Secret};

use crate::Setup;

impl Setup {
    pub(crate) fn applications(&self, secret: &Secret) -> Value {
        let applications = secret.applications().map(|(key, application)| {
            let url = self.settings.callback_url(key);
            json!({
                "key": key,
                "app_id": application.app_id().ok(),
                "webhook": url,
                "pages": application.page_ids().collect::<Vec<_>>(),
                "missing": missing(application),
            })
        });
        json!({"applications": applications.collect::<Vec<_>>()})
    }
}

/// The parts of an application that are not filled in.
pub(crate) fn missing(application: &Application) -> Vec<String> {
    let parts = [
        ("app_id", application.app_id().is_err()),
        ("app_secret", application.app_secret().is_err()),
        ("verify_token", application.verify_token().is_err()),
        ("pages", application.page_ids().next().is_none()),
    ];
    let parts = parts.into_iter().filter(|(_, lacks)| *lacks).map(|(name, _)| name.to_owned());
    let without_token = application.page_ids().filter(|id| application.page(id).is_err());
    parts.chain(without_token.map(|page_id| format!("access_token of Page {page_id}"))).collect()
}
