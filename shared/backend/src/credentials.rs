//! The credentials of a call to Graph, and which ones to try when Graph refuses them.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::graph::{Fault, GraphError};
use crate::secrets::{Application, Secret, SecretError, Secrets};

/// As whom Graph is called.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// As the Page of this id, with its token.
    Page(&'a str),
    /// As the app of this id; its token holds the app secret.
    App(&'a str),
}

impl Caller<'_> {
    /// Whether Graph refused the caller's credentials, so that others may be accepted.
    fn is_refused(self, error: &GraphError) -> bool {
        // Source: Meta's reference of Graph API errors: 101 is about the app, not the request.
        error.fault.is_of_credentials() || matches!(self, Self::App(_)) && error.code == Some(101)
    }

    /// Whether Graph refused something that is made with the app secret.
    pub fn is_app_secret_refused(self, error: &GraphError) -> bool {
        match self {
            Self::Page(_) => error.fault == Fault::ProofRejected,
            Self::App(_) => self.is_refused(error),
        }
    }

    /// The caller's application.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if the secret does not name it.
    fn application(self, secret: &Secret) -> Result<&Application, SecretError> {
        match self {
            Self::Page(page_id) => secret.application_of(page_id),
            Self::App(app_id) => secret.application_with_id(app_id),
        }
    }
}

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

    /// What to try after a call failed; nothing if other credentials do not help.
    ///
    /// The secret is reread at once, and another version tried once. Without another version a
    /// proof that was rejected, or an app's token, is made with the previous app secret, once.
    ///
    /// # Errors
    /// [`SecretError`] if the secret cannot be read again.
    pub async fn after(
        &self,
        error: &GraphError,
        caller: Caller<'_>,
        secrets: &Secrets,
    ) -> Result<Option<Self>, SecretError> {
        if !caller.is_refused(error) {
            return Ok(None);
        }
        if !self.is_reread {
            let secret = secrets.after(self.version()).await?;
            if secret.version != self.secret.version {
                return Ok(Some(Self { secret, with_previous: false, is_reread: true }));
            }
        }
        let has_previous = caller.application(&self.secret)?.previous_app_secret().is_some();
        if caller.is_app_secret_refused(error) && has_previous && !self.with_previous {
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

/// The token of an app, with which Graph is called as the app.
///
/// Source: Meta's documentation of access tokens.
pub fn app_token(app_id: &str, app_secret: &SecretString) -> SecretString {
    SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()))
}
