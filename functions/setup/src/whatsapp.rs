//! A `WhatsApp` business account, and the token with which it is read.
//!
//! Source: Meta's reference of the `WhatsApp` Business Management API.

use backend::graph::{Access, GraphError};
use backend::secrets::{DEFAULT_APPLICATION, Secret};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::discovery::List;
use crate::payload::WhatsappAccount;
use crate::token::TokenFacts;
use crate::{Setup, SetupError};

const FIELDS: &str =
    "id,name,timezone_id,message_template_namespace,message_templates,phone_numbers";

/// A `WhatsApp` business account.
#[derive(Debug, Deserialize, Serialize)]
struct Account {
    id: String,
    name: Option<String>,
    timezone_id: Option<String>,
    message_template_namespace: Option<String>,
    message_templates: Option<List<Template>>,
    phone_numbers: Option<List<PhoneNumber>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Template {
    name: String,
    #[serde(default)]
    components: Value,
    language: Option<String>,
    status: Option<String>,
    category: Option<String>,
    id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of Graph's JSON")]
struct PhoneNumber {
    id: String,
    display_phone_number: Option<String>,
    verified_name: Option<String>,
    quality_rating: Option<String>,
    code_verification_status: Option<String>,
}

impl Setup {
    pub(crate) async fn whatsapp_account(
        &self,
        payload: WhatsappAccount,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let account_id = payload.account_id.as_str();
        let token = match payload.token {
            Some(token) => token,
            None => secret.whatsapp_token()?.clone(),
        };
        let key = payload.application.as_deref().unwrap_or(DEFAULT_APPLICATION);
        let Some(application) = secret.application(key) else {
            return Err(SetupError::unknown_application());
        };
        let app = self.app(key, application).await.ok();
        let facts = self.whatsapp_token_facts(app.as_ref(), &token).await;
        let is_of_app = facts
            .as_ref()
            .is_ok_and(|facts| app.as_ref().is_some_and(|app| app.id == facts.app_id));
        let app_secret = app.as_ref().map(App::secret).filter(|_| is_of_app);
        let access = Access { token: &token, app_secret };
        let answer = self.outbox.graph().get(&[account_id], access, &[("fields", FIELDS)]).await;
        let answer = answer.map_err(|error| match error.code {
            Some(200) => SetupError::NoAccessToAccount,
            _ => error.into(),
        })?;
        let account: Account = serde_json::from_value(answer.body)?;
        Ok(json!({"account": serde_json::to_value(account)?, "token": describe(&facts)}))
    }

    /// What Meta reports about the token; an error without a cause if the application cannot ask.
    async fn whatsapp_token_facts(
        &self,
        app: Option<&App<'_>>,
        token: &SecretString,
    ) -> Result<TokenFacts, Option<GraphError>> {
        match app {
            Some(app) => self.debug_token(app, token).await.map_err(Some),
            None => Err(None),
        }
    }
}

/// The kind of a token, when it expires, and a warning if there is something to do.
fn describe(facts: &Result<TokenFacts, Option<GraphError>>) -> Value {
    let facts = match facts {
        Ok(facts) => facts,
        Err(None) => {
            let warning = "app_id and app_secret are needed to inspect the token";
            return json!({"kind": null, "expires": null, "warning": warning});
        }
        Err(Some(error)) => {
            let warning = format!("this application cannot inspect the token: {error}");
            return json!({"kind": null, "expires": null, "warning": warning});
        }
    };
    let expires = facts.expires_at.map(|end| end.to_string());
    let warning = expires.as_ref().map(|end| {
        format!("this token expires on {end}; a service should use a system user's token, which does not expire")
    });
    json!({"kind": kind(facts), "expires": expires, "warning": warning})
}

/// Names the kind of a token. Among system users' tokens, a business integration's is limited to the assets
/// of one customer, which `granular_scopes` lists.
fn kind(facts: &TokenFacts) -> &'static str {
    match (facts.kind.as_str(), facts.is_granular) {
        ("SYSTEM_USER", false) => "system_user",
        ("SYSTEM_USER", true) => "business_integration_system_user",
        ("USER", _) => "user",
        ("PAGE", _) => "page",
        ("APP", _) => "app",
        _ => "unknown",
    }
}
