//! The list of the applications; it tells which parts are filled in, and shows none of them.

use serde_json::{Value, json};
use shared::secrets::{Application, Secret, SecretError};

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
    fn lacks<T>(part: Result<T, SecretError>) -> bool {
        part.is_err()
    }
    let parts = [
        ("app_id", lacks(application.app_id())),
        ("app_secret", lacks(application.app_secret())),
        ("verify_token", lacks(application.verify_token())),
        ("pages", application.page_ids().next().is_none()),
    ];
    let parts = parts.into_iter().filter(|(_, lacks)| *lacks).map(|(name, _)| name.to_owned());
    let without_token = application.page_ids().filter(|page_id| lacks(application.page(page_id)));
    parts.chain(without_token.map(|page_id| format!("access_token of Page {page_id}"))).collect()
}
