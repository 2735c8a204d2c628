//! The secret: app secret, verify token and the Pages' access tokens, kept for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::aws::describe;
use crate::clock::{SharedClock, Timestamp};

/// After this time a secret is read again before it is used.
pub const FRESH_FOR: Duration = Duration::from_mins(5);

/// A secret read less than this ago is not read again, whatever happens.
pub const REREAD_AT_MOST_EVERY: Duration = Duration::from_mins(1);

/// Why a secret, or a part of it, is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager did not give it.
    #[error("the secret cannot be read: {0}")]
    Unavailable(String),
    /// It is not of the documented form.
    #[error("the secret is not of the form that README.md shows (line {line}, column {column})")]
    Malformed {
        /// Where the JSON goes wrong.
        line: usize,
        /// Where the JSON goes wrong.
        column: usize,
    },
    /// A part of it is missing.
    #[error("the secret lacks {0}: fill it in as README.md shows")]
    Missing(&'static str),
}

/// The secret's contents.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the secret's JSON")]
pub struct Secret {
    /// The secret's version, as Secrets Manager names it.
    #[serde(skip)]
    pub version: String,
    /// The app's id, by which the echoes of its other parts are known.
    #[serde(default)]
    pub app_id: Option<String>,
    #[serde(default)]
    app_secret: Option<SecretString>,
    #[serde(default)]
    previous_app_secret: Option<SecretString>,
    #[serde(default)]
    verify_token: Option<SecretString>,
    #[serde(default)]
    pages: BTreeMap<String, Page>,
}

/// A Page's part of the secret.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// The Page access token.
    pub access_token: SecretString,
}

impl Secret {
    fn parse(text: &str, version: String) -> Result<Self, SecretError> {
        let mut secret: Self = serde_json::from_str(text).map_err(|error| {
            SecretError::Malformed { line: error.line(), column: error.column() }
        })?;
        secret.version = version;
        secret.app_secret = secret.app_secret.filter(is_filled);
        secret.previous_app_secret = secret.previous_app_secret.filter(is_filled);
        secret.verify_token = secret.verify_token.filter(is_filled);
        Ok(secret)
    }

    /// The app secret.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if it is not filled in.
    pub fn app_secret(&self) -> Result<&SecretString, SecretError> {
        self.app_secret.as_ref().ok_or(SecretError::Missing("app_secret"))
    }

    /// The app secrets that a signature may come from: the present and, in a rotation, the previous.
    pub fn app_secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.app_secret.iter().chain(&self.previous_app_secret)
    }

    /// The token that Meta repeats when it verifies the webhook.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if it is not filled in.
    pub fn verify_token(&self) -> Result<&SecretString, SecretError> {
        self.verify_token.as_ref().ok_or(SecretError::Missing("verify_token"))
    }

    /// A Page's part.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if the secret does not name the Page.
    pub fn page(&self, page_id: &str) -> Result<&Page, SecretError> {
        self.pages.get(page_id).ok_or(SecretError::Missing("the Page in pages"))
    }

    /// Whether the secret names a Page.
    pub fn has_page(&self, page_id: &str) -> bool {
        self.pages.contains_key(page_id)
    }

    /// The ids of all Pages.
    pub fn page_ids(&self) -> impl Iterator<Item = &str> {
        self.pages.keys().map(String::as_str)
    }
}

fn is_filled(secret: &SecretString) -> bool {
    use secrecy::ExposeSecret;
    !secret.expose_secret().is_empty()
}

/// Reads the secret and keeps it for some minutes.
#[derive(Debug)]
pub struct Secrets {
    client: Client,
    id: String,
    clock: SharedClock,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    secret: Arc<Secret>,
    read_at: Timestamp,
    tried_at: Timestamp,
}

impl Secrets {
    /// Reads the secret of this name or ARN.
    pub fn new(client: Client, id: impl Into<String>, clock: SharedClock) -> Self {
        Self { client, id: id.into(), clock, kept: Mutex::new(None) }
    }

    /// The secret, at most [`FRESH_FOR`] old; older only while Secrets Manager does not answer.
    ///
    /// # Errors
    /// [`SecretError`] if it was never read and cannot be read now.
    pub async fn current(&self) -> Result<Arc<Secret>, SecretError> {
        self.not_older_than(FRESH_FOR).await
    }

    /// The secret, read again unless that happened within [`REREAD_AT_MOST_EVERY`].
    ///
    /// # Errors
    /// [`SecretError`] if it was never read and cannot be read now.
    pub async fn reread(&self) -> Result<Arc<Secret>, SecretError> {
        self.not_older_than(REREAD_AT_MOST_EVERY).await
    }

    /// The secret after `version`: read anew, unless another version is at hand already.
    ///
    /// # Errors
    /// [`SecretError`] if it cannot be read.
    pub async fn after(&self, version: &str) -> Result<Arc<Secret>, SecretError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.secret.version != version) {
            return Ok(Arc::clone(&kept.secret));
        }
        let secret = Arc::new(self.read().await?);
        *kept = Some(Kept { secret: Arc::clone(&secret), read_at: now, tried_at: now });
        Ok(secret)
    }

    async fn not_older_than(&self, age: Duration) -> Result<Arc<Secret>, SecretError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref() {
            let recently_tried = now.since(kept.tried_at) < REREAD_AT_MOST_EVERY;
            if now.since(kept.read_at) < age || recently_tried {
                return Ok(Arc::clone(&kept.secret));
            }
        }
        match (self.read().await, kept.as_mut()) {
            (Ok(secret), _) => {
                let secret = Arc::new(secret);
                let fresh = Kept { secret: Arc::clone(&secret), read_at: now, tried_at: now };
                *kept = Some(fresh);
                Ok(secret)
            }
            (Err(error), Some(kept)) => {
                tracing::warn!(%error, "the secret is used beyond its time");
                kept.tried_at = now;
                Ok(Arc::clone(&kept.secret))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read(&self) -> Result<Secret, SecretError> {
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer = answer.map_err(|error| SecretError::Unavailable(describe(&error)))?;
        let version = answer.version_id().unwrap_or_default().to_owned();
        Secret::parse(answer.secret_string().unwrap_or_default(), version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_has_nothing_to_verify_with() {
        for text in ["{}", r#"{"app_secret":"","verify_token":""}"#] {
            let secret = Secret::parse(text, String::new()).unwrap();
            assert_eq!(secret.app_secrets().count(), 0);
            assert!(secret.verify_token().is_err());
        }
    }

    #[test]
    fn a_malformed_secret_shows_nothing_of_itself() {
        let error = Secret::parse(r#"{"app_secret":"hush", 5}"#, String::new()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
        let secret = Secret::parse(r#"{"app_secret":"hush"}"#, String::new()).unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
