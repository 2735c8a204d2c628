//! What a bot is built from.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderName;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{BotError, NoAnswer, Outside, Service};

/// What a bot is built from: its settings, its secrets, the services that it calls.
#[derive(Clone)]
pub struct Setup {
    settings: Value,
    outside: Arc<dyn Outside>,
}

/// Why a bot cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The settings are not what the bot expects.
    #[error("BOT_SETTINGS {0}")]
    Settings(String),
    /// Something else, in the author's words.
    #[error("{0}")]
    Other(&'static str),
}

#[derive(Deserialize)]
struct ServiceSettings {
    url: String,
    #[serde(default)]
    key_header: Option<String>,
}

impl Setup {
    /// A setup of settings, an object or `null`, and the world outside.
    pub fn new(settings: Value, outside: Arc<dyn Outside>) -> Self {
        Self { settings, outside }
    }

    /// The settings, as the author's type; without any, as an empty object.
    ///
    /// # Errors
    /// [`SetupError::Settings`] if they are of another form.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, SetupError> {
        let settings = match &self.settings {
            Value::Null => Value::Object(serde_json::Map::new()),
            settings => settings.clone(),
        };
        serde_json::from_value(settings)
            .map_err(|error| SetupError::Settings(format!("has another form: {error}")))
    }

    /// A service by its name, such as `llm`: its address is `services.llm.url` of the settings, and its key `llm_key`
    /// of the part `bot` of the secret, a bearer token or, with `services.llm.key_header`, the value of that header.
    ///
    /// # Errors
    /// [`SetupError::Settings`] if the settings do not name it, or its address is not a URL with `https`; `http` is
    /// accepted for this machine alone.
    pub fn service(&self, name: &'static str) -> Result<Service, SetupError> {
        let wrong = |problem: &str| SetupError::Settings(format!("services.{name} {problem}"));
        let settings = self.settings.get("services").and_then(|services| services.get(name));
        let settings = settings.ok_or_else(|| wrong("is missing"))?;
        let ServiceSettings { url, key_header } = serde_json::from_value(settings.clone())
            .map_err(|_| wrong("must be an object with a url and, if needed, a key_header"))?;
        let is_address = url.parse::<Uri>().is_ok_and(|url| is_allowed(&url));
        if !is_address {
            return Err(wrong(
                "must have a url that begins with https:// and holds no user and no query",
            ));
        }
        let key_header = key_header.map(|header| header.parse::<HeaderName>()).transpose();
        let key_header =
            key_header.map_err(|_| wrong("has a key_header that is not a header's name"))?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Service { name, url, key: format!("{name}_key"), key_header })
    }

    /// A text of the part `bot` of the secret. It follows new versions of the secret.
    pub fn secret(&self, name: &'static str) -> BotSecret {
        BotSecret { name, outside: Arc::clone(&self.outside) }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").finish_non_exhaustive()
    }
}

/// Whether a service may be at this address: what is sent there cannot be read on its way.
fn is_allowed(url: &Uri) -> bool {
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return false };
    let is_this_machine = matches!(authority.host(), "127.0.0.1" | "localhost" | "[::1]");
    let is_plain = !authority.as_str().contains('@') && url.query().is_none();
    is_plain && (scheme == "https" || scheme == "http" && is_this_machine)
}

/// A text of the part `bot` of the secret.
#[derive(Clone)]
pub struct BotSecret {
    name: &'static str,
    outside: Arc<dyn Outside>,
}

impl BotSecret {
    /// The present text.
    ///
    /// # Errors
    /// [`BotError::Temporary`] if the secret cannot be read; [`BotError::Failed`] if it has no such text.
    pub async fn get(&self) -> Result<SecretString, BotError> {
        let text: Result<_, NoAnswer> = self.outside.secret(self.name).await;
        text.map_err(|_| BotError::temporary("the secret"))?.ok_or(BotError::Failed("the secret"))
    }
}

impl fmt::Debug for BotSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BotSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_has_an_address_that_nobody_reads_along() {
        for (url, is_accepted) in [
            ("https://api.example/v1/", true),
            ("https://api.example:8443", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000", true),
            ("http://api.example", false),
            ("https://user:key@api.example", false),
            ("https://api.example?key=1", false),
            ("/v1", false),
            ("ftp://api.example", false),
        ] {
            let setup = Setup::new(json!({"services": {"llm": {"url": url}}}), Arc::new(()));
            assert_eq!(setup.service("llm").is_ok(), is_accepted, "{url}");
        }
        let setup = Setup::new(Value::Null, Arc::new(()));
        let error = setup.service("llm").unwrap_err().to_string();
        assert_eq!(error, "BOT_SETTINGS services.llm is missing");
    }

    #[test]
    fn settings_are_the_authors_own_type() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Own {
            #[serde(default)]
            greeting: String,
        }
        let setup = |settings| Setup::new(settings, Arc::new(()));
        assert_eq!(setup(Value::Null).settings::<Own>().unwrap().greeting, "");
        assert_eq!(setup(json!({"greeting": "Hi"})).settings::<Own>().unwrap().greeting, "Hi");
        assert!(setup(json!({"greeting": 5})).settings::<Own>().is_err());
    }
}
