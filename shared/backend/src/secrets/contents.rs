//! The contents of the secret: the applications with their Pages, and the keys of the functions.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{InstagramAccount, Page, SecretError};

/// The key of the application at the top level of the secret.
pub const DEFAULT_APPLICATION: &str = "default";

/// The maximum length of an application's key.
const LONGEST_KEY: usize = 40;

/// The secret's contents.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the names are those of the secret's JSON")]
pub struct Secret {
    /// The secret's version, as Secrets Manager names it.
    pub version: String,
    applications: BTreeMap<String, Application>,
    api_key: Option<SecretString>,
    forward_secret: Option<SecretString>,
    whatsapp_token: Option<SecretString>,
    reply_secret: Option<SecretString>,
    bot: BTreeMap<String, SecretString>,
}

/// A Meta app and its accounts.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Application {
    #[serde(default)]
    app_id: Option<String>,
    #[serde(default)]
    app_secret: Option<SecretString>,
    #[serde(default)]
    previous_app_secret: Option<SecretString>,
    #[serde(default)]
    verify_token: Option<SecretString>,
    /// At the top level of the secret it is the deployment's.
    #[serde(default)]
    api_key: Option<SecretString>,
    #[serde(default)]
    pub(super) pages: BTreeMap<String, Page>,
    #[serde(default)]
    pub(super) instagram_accounts: BTreeMap<String, InstagramAccount>,
}

/// The rest of the secret's top level, where the fields of the default application are.
#[derive(Deserialize)]
struct TopLevel {
    #[serde(default)]
    applications: BTreeMap<String, Application>,
    #[serde(default)]
    forward_secret: Option<SecretString>,
    #[serde(default)]
    whatsapp_token: Option<SecretString>,
    #[serde(default)]
    reply_secret: Option<SecretString>,
    #[serde(default)]
    bot: BTreeMap<String, SecretString>,
}

impl Secret {
    pub(super) fn parse(text: &str, version: String) -> Result<Self, SecretError> {
        let malformed = |error: serde_json::Error| SecretError::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let mut default: Application = serde_json::from_str(text).map_err(malformed)?;
        let api_key = default.api_key.take();
        let TopLevel { mut applications, forward_secret, whatsapp_token, reply_secret, bot } =
            serde_json::from_str(text).map_err(malformed)?;
        if !applications.keys().all(|key| is_key(key)) {
            return Err(SecretError::InvalidKey);
        }
        applications.insert(DEFAULT_APPLICATION.to_owned(), default);
        let mut owners = BTreeMap::new();
        for (key, application) in &applications {
            for page_id in application.page_ids() {
                if let Some(first) = owners.insert(page_id, key.as_str())
                    && first != key
                {
                    let (first, second) = (first.to_owned(), key.clone());
                    return Err(SecretError::PageInTwoApplications { first, second });
                }
            }
        }
        Ok(Self {
            version,
            applications: applications.into_iter().map(|(key, app)| (key, app.filled())).collect(),
            api_key: api_key.filter(is_filled),
            forward_secret: forward_secret.filter(is_filled),
            whatsapp_token: whatsapp_token.filter(is_filled),
            reply_secret: reply_secret.filter(is_filled),
            bot,
        })
    }

    /// An application by its key; there is always one with the key `default`, though it may be empty.
    pub fn application(&self, key: &str) -> Option<&Application> {
        self.applications.get(key)
    }

    /// All applications with their keys.
    pub fn applications(&self) -> impl Iterator<Item = (&str, &Application)> {
        self.applications.iter().map(|(key, application)| (key.as_str(), application))
    }

    /// The application that owns an account: a Page, or an Instagram account of either login.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if the secret does not name the account.
    pub fn application_of(&self, page_id: &str) -> Result<&Application, SecretError> {
        let mut applications = self.applications.values();
        let owner = applications.find(|application| application.has_page(page_id));
        owner.ok_or(SecretError::Missing("the Page in pages"))
    }

    /// The application of the app with this id: the first that has an app secret.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if there is none.
    pub fn application_with_id(&self, app_id: &str) -> Result<&Application, SecretError> {
        let mut applications = self.applications.values();
        let is_of_app = |application: &&Application| {
            application.app_id.as_deref() == Some(app_id) && application.app_secret.is_some()
        };
        applications
            .find(is_of_app)
            .ok_or(SecretError::Missing("an application with this app_id and its app_secret"))
    }

    /// Whether the secret names an account.
    pub fn has_page(&self, page_id: &str) -> bool {
        self.application_of(page_id).is_ok()
    }

    /// The ids of the accounts of all applications.
    pub fn page_ids(&self) -> impl Iterator<Item = &str> {
        self.applications.values().flat_map(Application::page_ids)
    }

    /// The key of the application that owns an account.
    pub fn key_of(&self, page_id: &str) -> Option<&str> {
        self.applications()
            .find(|(_, application)| application.has_page(page_id))
            .map(|(key, _)| key)
    }

    /// The bearer key for callers of the API who reach all applications.
    pub fn api_key(&self) -> Result<&SecretString, SecretError> {
        self.api_key.as_ref().ok_or(SecretError::Missing("api_key"))
    }

    /// The key that signs forwarded events.
    pub fn forward_secret(&self) -> Result<&SecretString, SecretError> {
        self.forward_secret.as_ref().ok_or(SecretError::Missing("forward_secret"))
    }

    /// The key that signs the turns of a bot behind a URL.
    pub fn reply_secret(&self) -> Result<&SecretString, SecretError> {
        self.reply_secret.as_ref().ok_or(SecretError::Missing("reply_secret"))
    }

    /// A text of the bot's part.
    pub fn of_bot(&self, name: &str) -> Option<&SecretString> {
        self.bot.get(name).filter(|text| is_filled(text))
    }

    /// The token for reading `WhatsApp` business accounts.
    pub fn whatsapp_token(&self) -> Result<&SecretString, SecretError> {
        self.whatsapp_token.as_ref().ok_or(SecretError::Missing("whatsapp_token"))
    }
}

impl Application {
    /// An empty value counts as missing.
    fn filled(self) -> Self {
        Self {
            app_id: self.app_id.filter(|id| !id.is_empty()),
            app_secret: self.app_secret.filter(is_filled),
            previous_app_secret: self.previous_app_secret.filter(is_filled),
            verify_token: self.verify_token.filter(is_filled),
            api_key: self.api_key.filter(is_filled),
            pages: self.pages,
            instagram_accounts: self.instagram_accounts,
        }
    }

    /// The app's id.
    pub fn app_id(&self) -> Result<&str, SecretError> {
        self.app_id.as_deref().ok_or(SecretError::Missing("app_id"))
    }

    /// The app secret.
    pub fn app_secret(&self) -> Result<&SecretString, SecretError> {
        self.app_secret.as_ref().ok_or(SecretError::Missing("app_secret"))
    }

    /// The app secret before the current one, in a rotation.
    pub fn previous_app_secret(&self) -> Option<&SecretString> {
        self.previous_app_secret.as_ref()
    }

    /// The bearer key for callers of the API who reach this application alone.
    pub fn api_key(&self) -> Option<&SecretString> {
        self.api_key.as_ref()
    }

    /// The app secrets that a signature may be made with: the current and, in a rotation, the previous.
    pub fn app_secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.app_secret.iter().chain(&self.previous_app_secret)
    }

    /// The token that Meta sends when it verifies the webhook.
    pub fn verify_token(&self) -> Result<&SecretString, SecretError> {
        self.verify_token.as_ref().ok_or(SecretError::Missing("verify_token"))
    }
}

/// Whether a text is valid as the key of a further application: it is part of a URL.
fn is_key(key: &str) -> bool {
    (1..=LONGEST_KEY).contains(&key.len())
        && key != DEFAULT_APPLICATION
        && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_filled(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Secret, SecretError> {
        Secret::parse(text, String::new())
    }

    fn keys(secret: &Secret) -> Vec<&str> {
        secret.applications().map(|(key, _)| key).collect()
    }

    #[test]
    fn an_empty_secret_has_nothing_to_verify_with() {
        for text in ["{}", r#"{"app_secret":"","verify_token":"","api_key":""}"#] {
            let secret = parse(text).unwrap();
            assert_eq!(keys(&secret), ["default"]);
            let application = secret.application(DEFAULT_APPLICATION).unwrap();
            assert_eq!(application.app_secrets().count(), 0);
            assert!(application.verify_token().is_err());
            assert!(secret.api_key().is_err() && secret.forward_secret().is_err());
        }
    }

    #[test]
    fn a_page_leads_to_its_own_application() {
        let secret = parse(
            r#"{"app_id":"1","pages":{"10":{"access_token":"a"}},
                "applications":{"shop-2":{"app_id":"2","pages":{"20":{"access_token":"b"}}}}}"#,
        )
        .unwrap();
        assert_eq!(keys(&secret), ["default", "shop-2"]);
        assert_eq!(secret.application_of("10").unwrap().app_id().unwrap(), "1");
        assert_eq!(secret.application_of("20").unwrap().app_id().unwrap(), "2");
        assert!(secret.application_of("30").is_err());
        assert_eq!(secret.page_ids().collect::<Vec<_>>(), ["10", "20"]);
        assert!(secret.application(DEFAULT_APPLICATION).unwrap().sender("20").is_err());
    }

    #[test]
    fn an_application_s_api_key_is_not_the_deployment_s() {
        let secret = parse(
            r#"{"api_key":"all","applications":{"shop":{"api_key":"own"},"bakery":{"api_key":""}}}"#,
        )
        .unwrap();
        assert_eq!(secret.api_key().unwrap().expose_secret(), "all");
        let own = |key: &str| secret.application(key).unwrap().api_key();
        assert!(own("default").is_none() && own("bakery").is_none());
        assert_eq!(own("shop").unwrap().expose_secret(), "own");
    }

    #[test]
    fn a_key_that_cannot_be_a_part_of_a_url_is_refused() {
        let longest = "k".repeat(LONGEST_KEY);
        for (key, is_taken) in [
            ("a", true),
            ("shop-2", true),
            (longest.as_str(), true),
            (&format!("{longest}k"), false),
            ("", false),
            ("default", false),
            ("Shop", false),
            ("a/b", false),
            ("ä", false),
        ] {
            let parsed = parse(&serde_json::json!({"applications": {key: {}}}).to_string());
            assert_eq!(parsed.is_ok(), is_taken, "{key}");
        }
    }

    #[test]
    fn a_page_in_two_applications_is_refused_without_showing_secrets() {
        let error = parse(
            r#"{"pages":{"10":{"access_token":"hush"}},
                "applications":{"shop":{"app_secret":"hush","pages":{"10":{"access_token":"hush"}}}}}"#,
        )
        .unwrap_err();
        assert!(matches!(error, SecretError::PageInTwoApplications { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hush"));
    }

    #[test]
    fn an_instagram_account_has_one_application_too() {
        for other in [
            r#"{"pages":{"20":{"instagram_id":"17"}}}"#,
            r#"{"pages":{"17":{}}}"#,
            r#"{"instagram_accounts":{"17":{}}}"#,
        ] {
            let text = format!(
                r#"{{"pages":{{"10":{{"instagram_id":"17"}}}},"applications":{{"shop":{other}}}}}"#
            );
            let error = parse(&text).unwrap_err();
            assert!(matches!(error, SecretError::PageInTwoApplications { .. }), "{other}");
        }
    }

    #[test]
    fn a_malformed_secret_shows_nothing_of_itself() {
        let error = parse(r#"{"app_secret":"hush", 5}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
        let secret = parse(r#"{"app_secret":"hush","api_key":"hush"}"#).unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
    }

    #[test]
    fn an_empty_token_is_a_missing_one() {
        let secret = parse(r#"{"pages":{"10":{"access_token":""},"20":{}}}"#).unwrap();
        for page_id in ["10", "20"] {
            assert!(secret.has_page(page_id));
            assert!(secret.application_of(page_id).unwrap().sender(page_id).is_err());
        }
    }
}
