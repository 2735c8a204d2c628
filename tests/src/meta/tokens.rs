//! Access tokens: their holders, and `debug_token`.
//!
//! Source: Meta's access tokens, `debug_token` and secure calls (`appsecret_proof`); the texts are Graph's.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::instagram::Host;
use super::node::{Answered, NodeCall};
use super::{Meta, Page, State, TokenEnd, hmac_hex};

/// The permissions that a Page token can have here.
pub(super) const PAGE_SCOPES: [&str; 4] =
    ["pages_show_list", "pages_messaging", "pages_manage_metadata", "page_utility_messaging"];

/// The holder of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    App(String),
    Page(String),
    User(String),
    SystemUser(String),
}

/// A token of a user or a system user.
#[derive(Clone, Debug)]
pub struct UserToken {
    /// The user's id.
    pub user_id: String,
    /// The app that it was issued for.
    pub app_id: String,
    /// Whether it is a system user's.
    pub is_system_user: bool,
    /// When it expires, in seconds since the epoch; 0 for never.
    pub expires_at: i64,
    /// Its permissions.
    pub scopes: Vec<String>,
    /// The assets that its permissions are limited to; empty for no limit.
    pub targets: Vec<String>,
    /// The Pages that its user manages.
    pub pages: Vec<String>,
}

impl Meta {
    /// Issues a token of a user or a system user.
    pub fn add_user_token(&self, token: &str, of: UserToken) {
        self.state().user_tokens.insert(token.to_owned(), of);
    }

    /// Sets the permissions of a Page's token.
    pub fn set_scopes(&self, page_id: &str, scopes: &[&str]) {
        if let Some(page) = self.state().pages.get_mut(page_id) {
            page.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        }
    }

    /// Sets when a Page's token expires, in seconds since the epoch; 0 for never.
    pub fn set_token_end(&self, page_id: &str, expires_at: i64) {
        if let Some(page) = self.state().pages.get_mut(page_id) {
            page.token_expires_at = expires_at;
        }
    }
}

impl State {
    /// The Page, or the Instagram account with a login of its own, that a token belongs to.
    pub(super) fn token_owner(&self, host: Host, token: &str) -> Option<&str> {
        let is_owner = |page: &Page| page.host() == host && page.token.as_deref() == Some(token);
        self.pages.iter().find(|(_, page)| is_owner(page)).map(|(page_id, _)| page_id.as_str())
    }

    /// Identifies the caller, and refuses a call without a valid proof.
    pub(super) fn holder(&self, call: &NodeCall, now: i64) -> Result<Holder, Refusal> {
        let Some(token) = call.token.as_deref() else {
            let message = "An access token is required to request this resource.";
            return Err(Refusal::new(401, 190, None, message));
        };
        let (holder, app_id) = self.look_up(call.host, token, now)?;
        let secret = self.apps.iter().find(|app| app.app_id == app_id).map(|app| &app.app_secret);
        let expected = secret.map(|secret| hmac_hex(secret, token.as_bytes()));
        let is_needed =
            call.host == Host::Facebook && matches!(holder, Holder::App(_) | Holder::Page(_));
        match &call.proof {
            None if !is_needed => Ok(holder),
            proof if *proof == expected => Ok(holder),
            _ => Err(Refusal::wrong_proof()),
        }
    }

    /// The holder and the app of a token.
    fn look_up(&self, host: Host, token: &str, now: i64) -> Result<(Holder, String), Refusal> {
        let dead = |subcode, message: &str| Err(Refusal::new(401, 190, subcode, message));
        let expired = "Error validating access token: Session has expired";
        if let Some((app_id, secret)) = token.split_once('|') {
            let Some(app) = self.apps.iter().find(|app| app.app_id == app_id) else {
                let message = "Error validating application. Cannot get application info.";
                return Err(Refusal::new(400, 101, None, message));
            };
            if app.app_secret != secret {
                return dead(None, "Invalid OAuth access token signature.");
            }
            return Ok((Holder::App(app_id.to_owned()), app_id.to_owned()));
        }
        match self.dead_tokens.get(token) {
            Some(TokenEnd::Replaced) => {
                return dead(Some(460), "Error validating access token: The session is invalid");
            }
            Some(TokenEnd::Expired) => return dead(Some(463), expired),
            None => {}
        }
        let has_ended = |end: i64| end != 0 && end * 1000 <= now;
        if let Some(page_id) = self.token_owner(host, token) {
            let page = &self.pages[page_id];
            if has_ended(page.token_expires_at) {
                return dead(Some(463), expired);
            }
            return Ok((Holder::Page(page_id.to_owned()), page.app_id.clone()));
        }
        match self.user_tokens.get(token).filter(|_| host == Host::Facebook) {
            Some(user) if has_ended(user.expires_at) => dead(Some(463), expired),
            Some(user) => {
                let id = user.user_id.clone();
                let holder =
                    if user.is_system_user { Holder::SystemUser(id) } else { Holder::User(id) };
                Ok((holder, user.app_id.clone()))
            }
            None => dead(None, "Invalid OAuth access token - Cannot parse access token"),
        }
    }

    pub(super) fn debug_token(&self, call: &NodeCall, now: i64) -> Answered {
        let Holder::App(viewing) = self.holder(call, now)? else {
            let message = "(#100) You must provide an app access token, or a user access token that is an owner or developer of the app";
            return Err(Refusal::new(400, 100, None, message));
        };
        let Some(input) = call.text("input_token") else {
            return Err(Refusal::invalid("The parameter input_token is required"));
        };
        let (holder, app_id) = match self.look_up(call.host, input, now) {
            Ok(found) => found,
            Err(refusal) => {
                let error = json!({"code": refusal.code, "message": refusal.message, "subcode": refusal.subcode});
                return Ok(json!({"data": {"error": error, "is_valid": false, "scopes": []}}));
            }
        };
        if app_id != viewing {
            let message = "(#100) The App_id in the input_token did not match the Viewing App";
            return Err(Refusal::new(400, 100, None, message));
        }
        let mut data = json!({"app_id": app_id, "application": "An app", "is_valid": true});
        match &holder {
            Holder::App(_) => data["type"] = "APP".into(),
            Holder::Page(page_id) => {
                let page = &self.pages[page_id];
                data["type"] = "PAGE".into();
                data["profile_id"] = page_id.as_str().into();
                data["expires_at"] = page.token_expires_at.into();
                data["scopes"] = json!(page.scopes);
            }
            Holder::User(_) | Holder::SystemUser(_) => self.describe_user(input, &mut data),
        }
        Ok(json!({"data": data}))
    }

    fn describe_user(&self, token: &str, data: &mut Value) {
        let Some(user) = self.user_tokens.get(token) else {
            return;
        };
        data["type"] = if user.is_system_user { "SYSTEM_USER" } else { "USER" }.into();
        data["user_id"] = user.user_id.as_str().into();
        data["expires_at"] = user.expires_at.into();
        data["scopes"] = json!(user.scopes);
        let granular = user.scopes.iter().map(|scope| match user.targets.as_slice() {
            [] => json!({"scope": scope}),
            targets => json!({"scope": scope, "target_ids": targets}),
        });
        data["granular_scopes"] = granular.collect();
    }
}
