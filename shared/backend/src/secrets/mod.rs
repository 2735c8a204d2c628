//! The secret: the applications with their app secrets and the Pages' tokens, cached.

mod accounts;
mod contents;
mod list;
mod renewal;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use tokio::sync::Mutex;

pub use accounts::{InstagramAccount, Login, Page, Sender};
pub use contents::{Application, DEFAULT_APPLICATION, Secret};
pub use list::{Applications, callback_url};
pub use renewal::RenewedToken;

use crate::aws::describe;
use messenger::clock::{SharedClock, Timestamp};

/// The age at which a cached secret is read again before it is used.
pub const FRESH_FOR: Duration = Duration::from_mins(5);

/// The minimum time between two reads of the secret.
pub const REREAD_AT_MOST_EVERY: Duration = Duration::from_mins(1);

/// Why the secret, or a part of it, is not available.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager did not return it.
    #[error("the secret cannot be read: {0}")]
    Unavailable(String),
    /// It does not have the documented form.
    #[error("the secret does not have the form shown in README.md (line {line}, column {column})")]
    Malformed {
        /// The line of the error.
        line: usize,
        /// The column of the error.
        column: usize,
    },
    /// An application's key cannot be a part of its webhook's URL.
    #[error(
        "a key in applications must have 1 to 40 characters of a-z, 0-9 and -, and must not be default"
    )]
    InvalidKey,
    /// A Page or an Instagram account is listed in two applications.
    #[error(
        "a Page or an Instagram account is listed in both applications {first} and {second}; remove it from one of them"
    )]
    PageInTwoApplications {
        /// The key of one application.
        first: String,
        /// The key of the other application.
        second: String,
    },
    /// Somebody else changed it again and again while it was written.
    #[error("the secret was changed by somebody else each time it was about to be written")]
    Contended,
    /// A part of it is missing.
    #[error("missing in the secret: {0}; set it as README.md shows")]
    Missing(&'static str),
}

/// Reads the secret and caches it for some minutes.
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
    /// Creates a reader of the secret with this name or ARN.
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

    /// The secret as it was read after an instant: by somebody else since, or now.
    ///
    /// # Errors
    /// [`SecretError`] if it cannot be read.
    pub async fn read_after(&self, instant: Timestamp) -> Result<Arc<Secret>, SecretError> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.read_at > instant) {
            return Ok(Arc::clone(&kept.secret));
        }
        // The time at which the reading begins: a change after it may not be in what is read.
        let now = self.clock.now();
        let secret = Arc::new(self.read().await?);
        *kept = Some(Kept { secret: Arc::clone(&secret), read_at: now, tried_at: now });
        Ok(secret)
    }

    /// A version of the secret other than `version` if there is one: the cached one, or else a fresh read.
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

    /// Forgets what was read, so that the next use reads the secret anew.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
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
                tracing::warn!(%error, "the secret cannot be read again; the cached one is used");
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
