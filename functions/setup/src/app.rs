//! An application that can speak to Meta.

use backend::graph::{Access, Fault, GraphError};
use backend::secrets::{Application, Secret, SecretError};
use secrecy::{ExposeSecret, SecretString};

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
    pub(crate) fn of(key: &'a str, application: &'a Application) -> Result<Self, SecretError> {
        let (id, secret) = (application.app_id()?, application.app_secret()?);
        let token = SecretString::from(format!("{id}|{}", secret.expose_secret()));
        Ok(Self { key, id, application, secret, token })
    }

    /// The application that a Page belongs to.
    pub(crate) fn of_page(secret: &'a Secret, page_id: &str) -> Result<Self, SecretError> {
        let mut applications = secret.applications();
        match applications.find(|(_, application)| application.has_page(page_id)) {
            Some((key, application)) => Self::of(key, application),
            None => Err(SecretError::Missing("the Page in pages")),
        }
    }

    /// Access as the app itself.
    pub(crate) fn access(&self) -> Access<'_> {
        Access { token: &self.token, app_secret: Some(self.secret) }
    }

    /// Access as one of the app's Pages.
    pub(crate) fn page_access(&self, page_id: &str) -> Result<Access<'a>, SecretError> {
        let page = self.application.page(page_id)?;
        Ok(Access { token: &page.access_token, app_secret: Some(self.secret) })
    }

    /// What findings about the application are headed with.
    pub(crate) fn name(&self) -> String {
        format!("application {}", self.key)
    }

    /// What findings about one of its Pages are headed with.
    pub(crate) fn name_of_page(&self, page_id: &str) -> String {
        format!("application {}, Page {page_id}", self.key)
    }
}

/// What to do about an error of a call that was made as the app.
pub(crate) fn mend_app(error: &GraphError) -> &'static str {
    match (error.code, error.fault) {
        // Source: Meta's Graph API webhooks reference: the callback did not return the challenge.
        (Some(2200), _) => {
            "Meta called the callback URL and did not get its challenge back: check that the stack is deployed and that verify_token is filled in, and register again in a minute, when the webhook has read a changed secret"
        }
        (_, Fault::TokenDead) | (Some(101), _) => {
            "check app_id and app_secret in the secret against the app's basic settings"
        }
        _ => mend(error),
    }
}

/// What to do about an error of a call that was made as a Page.
pub(crate) fn mend_page(error: &GraphError) -> &'static str {
    match error.fault {
        Fault::TokenDead => {
            "generate a new Page token in the app's Messenger settings and put it into the secret"
        }
        Fault::PermissionMissing => {
            "give the token the permissions pages_messaging, pages_manage_metadata and pages_show_list, and check that it is this Page's"
        }
        _ => mend(error),
    }
}

fn mend(error: &GraphError) -> &'static str {
    match error.fault {
        Fault::NotConnected | Fault::Unclear | Fault::Temporary => {
            "Meta did not answer as it should: try again in some minutes"
        }
        Fault::Throttled => "Meta's rate limit is reached: try again in ten minutes",
        Fault::PermissionMissing => "the app lacks a permission or a review: see its dashboard",
        _ => "look the error up in Meta's error reference; its support knows the fbtrace_id",
    }
}
