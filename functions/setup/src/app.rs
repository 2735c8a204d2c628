//! An application with the credentials to call Graph.

use backend::credentials::{Caller, app_token};
use backend::graph::{Access, Fault, GraphError};
use backend::secrets::{Application, Login, Secret, SecretError};
use messenger::message::Invalid;
use secrecy::SecretString;

use crate::{Setup, SetupError};

/// An application whose app id and app secret are filled in.
#[derive(Debug)]
pub(crate) struct App<'a> {
    pub(crate) key: &'a str,
    pub(crate) id: &'a str,
    pub(crate) application: &'a Application,
    secret: &'a SecretString,
    token: SecretString,
}

impl<'a> App<'a> {
    fn with(
        key: &'a str,
        application: &'a Application,
        secret: &'a SecretString,
    ) -> Result<Self, SecretError> {
        let id = application.app_id()?;
        Ok(Self { key, id, application, secret, token: app_token(id, secret) })
    }

    /// The app secret that Meta accepts, as far as is known.
    pub(crate) fn secret(&self) -> &'a SecretString {
        self.secret
    }

    /// Access as the app itself.
    pub(crate) fn access(&self) -> Access<'_> {
        Access { token: &self.token, app_secret: Some(self.secret) }
    }

    /// Access as the sender node of one of the app's accounts.
    pub(crate) fn access_of(&self, account_id: &str) -> Result<Access<'a>, SecretError> {
        let sender = self.application.sender(account_id)?;
        // Instagram's host asks for no proof.
        let app_secret = (sender.login == Login::Facebook).then_some(self.secret);
        Ok(Access { token: sender.access_token, app_secret })
    }

    /// Whether it is an app of Instagram Login, which calls on the Page's host do not know.
    pub(crate) fn is_of_instagram_login(&self) -> bool {
        self.has_instagram_accounts() && self.application.pages().next().is_none()
    }

    /// Whether it has accounts of both logins.
    pub(crate) fn is_mixed(&self) -> bool {
        self.has_instagram_accounts() && self.application.pages().next().is_some()
    }

    fn has_instagram_accounts(&self) -> bool {
        self.application.instagram_accounts().next().is_some()
    }

    /// How findings name the application.
    pub(crate) fn name(&self) -> String {
        format!("application {}", self.key)
    }

    /// How findings name one of its accounts.
    pub(crate) fn name_of(&self, account_id: &str) -> String {
        name_of(self.key, self.application, account_id)
    }
}

/// How findings name an account of an application.
pub(crate) fn name_of(key: &str, application: &Application, account_id: &str) -> String {
    format!("application {key}, {}", application.noun(account_id))
}

impl Setup {
    /// An application, with the app secret that Meta accepts.
    ///
    /// In a rotation that is still the previous one if the owner changed the secret first, so Meta is
    /// asked. What else fails shows in the calls that follow.
    pub(crate) async fn app<'a>(
        &self,
        key: &'a str,
        application: &'a Application,
    ) -> Result<App<'a>, SecretError> {
        let app = App::with(key, application, application.app_secret()?)?;
        let Some(previous) = application.previous_app_secret() else { return Ok(app) };
        // Its calls carry no proof, and the Page's host does not know it.
        if app.is_of_instagram_login() {
            return Ok(app);
        }
        match self.app_subscriptions(&app).await {
            Err(error) if Caller::App(app.id).is_app_secret_refused(&error) => {
                App::with(key, application, previous)
            }
            _ => Ok(app),
        }
    }

    /// The application that owns a Page.
    pub(crate) async fn app_of_page<'a>(
        &self,
        secret: &'a Secret,
        page_id: &str,
    ) -> Result<App<'a>, SecretError> {
        let mut applications = secret.applications();
        match applications.find(|(_, application)| application.has_page(page_id)) {
            Some((key, application)) => self.app(key, application).await,
            None => Err(SecretError::Missing("the Page in pages")),
        }
    }

    /// Access as a Page, for what an Instagram account does not have.
    pub(crate) async fn access_of_page<'a>(
        &self,
        secret: &'a Secret,
        page_id: &str,
    ) -> Result<Access<'a>, SetupError> {
        let mut applications = secret.applications();
        if applications.any(|(_, it)| it.instagram_ids().any(|account_id| account_id == page_id)) {
            let problem = "is an Instagram account's; only a Page has personas and templates";
            return Err(Invalid::new("page_id", problem).into());
        }
        Ok(self.app_of_page(secret, page_id).await?.access_of(page_id)?)
    }
}

/// What to do about an error of a call that was made as the app.
pub(crate) fn remedy_for_app(error: &GraphError) -> &'static str {
    match (error.code, error.fault) {
        // Source: Meta's Graph API webhooks reference: the callback did not return the challenge.
        (Some(2200), _) => {
            "Meta called the callback URL and did not receive its challenge: check that the stack is deployed and that verify_token is set in the secret; the webhook takes up to a minute to read a changed secret, so register again after that"
        }
        (_, Fault::TokenDead) | (Some(101), _) => {
            "compare app_id and app_secret in the secret with the app's basic settings"
        }
        _ => remedy(error),
    }
}

/// What to do about an error of a call that was made as a Page.
pub(crate) fn remedy_for_page(error: &GraphError) -> &'static str {
    match error.fault {
        Fault::TokenDead => {
            "generate a new Page token in the app's Messenger settings and put it into the secret"
        }
        Fault::PermissionMissing => {
            "grant the token pages_messaging, pages_manage_metadata and pages_show_list (for Instagram also instagram_basic and instagram_manage_messages), and check that it belongs to this Page"
        }
        _ if matches!(error.code, Some(3 | 100)) => {
            "check that this is a Page's id: an Instagram account is named by the instagram_id of its Page"
        }
        _ => remedy(error),
    }
}

/// What to do about an error of a call that was made as an Instagram account with a login of its own.
pub(crate) fn remedy_for_instagram(error: &GraphError) -> &'static str {
    match error.fault {
        Fault::TokenDead => {
            "generate a new token in the app's dashboard under Instagram, API setup with Instagram login, and put it into the secret"
        }
        Fault::PermissionMissing => {
            "grant the token instagram_business_basic and instagram_business_manage_messages"
        }
        Fault::Invalid => {
            "a token that is less than a day old cannot be renewed yet; it is tried again every day"
        }
        _ => remedy(error),
    }
}

/// What to do about an error of a call that was made as an account of this login.
pub(crate) fn remedy_of(login: Login) -> fn(&GraphError) -> &'static str {
    match login {
        Login::Facebook => remedy_for_page,
        Login::Instagram => remedy_for_instagram,
    }
}

fn remedy(error: &GraphError) -> &'static str {
    match error.fault {
        Fault::ProofRejected => {
            "compare app_secret in the secret with the app's basic settings; in a rotation, finish it there and in the secret"
        }
        Fault::NotConnected | Fault::Unclear | Fault::Temporary => {
            "Meta did not answer properly: try again in a few minutes"
        }
        Fault::Throttled => "Meta's rate limit has been reached: try again in ten minutes",
        Fault::PermissionMissing => {
            "the app lacks a permission or an app review: see its dashboard"
        }
        _ => "look up the error in Meta's error reference; quote the fbtrace_id to Meta's support",
    }
}
