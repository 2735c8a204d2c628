//! The credentials of a call to Graph, and which ones to try when Graph refuses them.

use std::sync::Arc;

use secrecy::SecretString;

use crate::graph::Fault;
use crate::secrets::{Application, Secret, SecretError, Secrets};

/// A version of the secret, and which of an application's app secrets makes the proof.
///
/// In a rotation Meta and the secret do not change at the same instant, and containers hold an older
/// copy for some minutes. So credentials that are refused say nothing about the message.
#[derive(Clone, Debug)]
pub struct Credentials {
    secret: Arc<Secret>,
    with_previous: bool,
    is_reread: bool,
}

impl Credentials {
    /// The credentials of the secret as it is known.
    ///
    /// # Errors
    /// [`SecretError`] if it cannot be read.
    pub async fn current(secrets: &Secrets) -> Result<Self, SecretError> {
        let secret = secrets.current().await?;
        Ok(Self { secret, with_previous: false, is_reread: false })
    }

    /// What to try after a call of a Page failed; nothing if other credentials do not help.
    ///
    /// The secret is reread at once, and another version tried once. Without another version a
    /// rejected proof is made with the previous app secret, once.
    ///
    /// # Errors
    /// [`SecretError`] if the secret cannot be read again.
    pub async fn after(
        &self,
        fault: Fault,
        page_id: &str,
        secrets: &Secrets,
    ) -> Result<Option<Self>, SecretError> {
        if !fault.is_of_credentials() {
            return Ok(None);
        }
        if !self.is_reread {
            let secret = secrets.after(self.version()).await?;
            if secret.version != self.secret.version {
                return Ok(Some(Self { secret, with_previous: false, is_reread: true }));
            }
        }
        let has_previous = self.secret.application_of(page_id)?.previous_app_secret().is_some();
        if fault == Fault::ProofRejected && has_previous && !self.with_previous {
            let secret = Arc::clone(&self.secret);
            return Ok(Some(Self { secret, with_previous: true, is_reread: true }));
        }
        Ok(None)
    }

    /// The version of the secret that they are of.
    pub fn version(&self) -> &str {
        &self.secret.version
    }

    /// The secret that they are of.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The app secret to make the proof with.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if the application has none.
    pub fn app_secret<'a>(
        &self,
        application: &'a Application,
    ) -> Result<&'a SecretString, SecretError> {
        match application.previous_app_secret().filter(|_| self.with_previous) {
            Some(previous) => Ok(previous),
            None => application.app_secret(),
        }
    }
}
