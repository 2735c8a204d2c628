//! What Meta reports about a token.

use std::collections::BTreeSet;

use backend::batch::get_privately;
use backend::graph::GraphError;
use messenger::clock::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::Setup;
use crate::app::App;

/// The properties of a token.
///
/// Source: Meta's reference of `debug_token`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenFacts {
    /// `USER`, `PAGE`, `SYSTEM_USER`, `APP`.
    pub(crate) kind: String,
    pub(crate) app_id: String,
    /// The Page, if it is a Page token.
    pub(crate) profile_id: Option<String>,
    pub(crate) is_valid: bool,
    /// When it expires; absent if it does not.
    pub(crate) expires_at: Option<Timestamp>,
    /// When its access to data ends; absent if it does not.
    pub(crate) data_access_expires_at: Option<Timestamp>,
    pub(crate) scopes: BTreeSet<String>,
    /// Whether its scopes are limited to certain assets.
    pub(crate) is_granular: bool,
}

impl Setup {
    pub(crate) async fn debug_token(
        &self,
        app: &App<'_>,
        token: &SecretString,
    ) -> Result<TokenFacts, GraphError> {
        let parameters = [("input_token", token.expose_secret())];
        let answer =
            get_privately(self.outbox.graph(), "debug_token", app.access(), &parameters).await?;
        Ok(TokenFacts::of(&answer.body["data"]))
    }
}

impl TokenFacts {
    fn of(data: &Value) -> Self {
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        let instant = |name: &str| match data[name].as_i64() {
            None | Some(..=0) => None,
            Some(seconds) => Some(Timestamp::from_seconds_or_millis(seconds)),
        };
        let scopes = data["scopes"].as_array().into_iter().flatten();
        let mut granular = data["granular_scopes"].as_array().into_iter().flatten();
        Self {
            kind: text("type").unwrap_or_default(),
            app_id: text("app_id").unwrap_or_default(),
            profile_id: text("profile_id"),
            is_valid: data["is_valid"] == true,
            expires_at: instant("expires_at"),
            data_access_expires_at: instant("data_access_expires_at"),
            scopes: scopes.filter_map(Value::as_str).map(str::to_owned).collect(),
            is_granular: granular.any(|scope| scope["target_ids"].is_array()),
        }
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }
}
