//! Instagram accounts: linked to a Page, or with a login of their own.
//!
//! Through Facebook Login an account has no token and no edge for messages: its Page speaks for it, on
//! the Page's host. Through Instagram Login it speaks for itself on `graph.instagram.com`, with a token
//! of 60 days. Source: the reference's "Instagram".

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::tokens::Holder;
use super::{Meta, Page, Platform, State};

/// How long a token of Instagram Login lives, in seconds.
const TOKEN_LIFE: i64 = 60 * 24 * 60 * 60;
/// How old a token must be before it can be renewed, in ms.
const RENEWABLE_AFTER: i64 = 24 * 60 * 60 * 1000;

/// The permissions that a token of Instagram Login has.
const SCOPES: [&str; 2] = ["instagram_business_basic", "instagram_business_manage_messages"];
/// The permissions that a Page's token has in addition once an account is linked.
const SCOPES_OF_LINKED: [&str; 2] = ["instagram_basic", "instagram_manage_messages"];

/// The webhook fields of an Instagram account.
pub(super) const FIELDS: [&str; 12] = [
    "comments",
    "live_comments",
    "message_edit",
    "message_reactions",
    "messages",
    "messaging_handover",
    "messaging_optins",
    "messaging_postbacks",
    "messaging_referral",
    "messaging_seen",
    "standby",
    "story_insights",
];

/// A host of the Graph API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// `graph.facebook.com`.
    Facebook,
    /// `graph.instagram.com`.
    Instagram,
}

impl Page {
    /// The host that knows the Page or the account.
    pub(super) fn host(&self) -> Host {
        match (self.platform, &self.linked_to) {
            (Platform::Instagram, None) => Host::Instagram,
            _ => Host::Facebook,
        }
    }
}

impl Meta {
    /// Links an Instagram account to a connected Page, which speaks for it.
    pub fn link_instagram(&self, account: &str, page_id: &str) {
        let mut state = self.state();
        let app_id = state.app_of(page_id).app_id.clone();
        if let Some(page) = state.pages.get_mut(page_id) {
            page.scopes.extend(SCOPES_OF_LINKED.map(str::to_owned));
        }
        let linked = Page {
            app_id,
            platform: Platform::Instagram,
            linked_to: Some(page_id.to_owned()),
            token: None,
            token_issued_at: 0,
            token_expires_at: 0,
            is_routed: true,
            routed_to: None,
            scopes: Vec::new(),
            subscribed_fields: None,
            profile: Map::new(),
            profile_calls: Vec::new(),
            has_flat_ice_breakers: false,
        };
        state.pages.insert(account.to_owned(), linked);
    }

    /// Ends the link of an Instagram account.
    pub fn unlink_instagram(&self, account: &str) {
        self.state().pages.remove(account);
    }

    /// Connects an Instagram account through Instagram Login to one of several apps, with a token that
    /// lives 60 days.
    pub fn add_instagram_of(&self, app_id: &str, account: &str, token: &str) {
        self.add_page_of(app_id, account, token, Platform::Instagram);
        let end = self.now() / 1000 + TOKEN_LIFE;
        if let Some(page) = self.state().pages.get_mut(account) {
            page.token_expires_at = end;
            page.scopes = SCOPES.map(str::to_owned).to_vec();
        }
    }

    /// Switches conversation routing of a Page on or off.
    pub fn set_routing(&self, page_id: &str, on: bool) {
        if let Some(page) = self.state().pages.get_mut(page_id) {
            page.is_routed = on;
        }
    }

    /// Routes a Page's conversations to another app, or back to its own.
    pub fn route_to(&self, page_id: &str, app_id: Option<&str>) {
        if let Some(page) = self.state().pages.get_mut(page_id) {
            page.routed_to = app_id.map(str::to_owned);
        }
    }
}

impl State {
    pub(super) fn is_page(&self, node: &str) -> bool {
        self.pages.get(node).is_some_and(|page| page.platform == Platform::Messenger)
    }

    /// The Instagram account that is linked to a Page.
    pub(super) fn linked_account(&self, page_id: &str) -> Option<&str> {
        let is_linked = |page: &Page| page.linked_to.as_deref() == Some(page_id);
        self.pages.iter().find(|(_, page)| is_linked(page)).map(|(account, _)| account.as_str())
    }

    /// The node that speaks for a Page or an account.
    pub(super) fn sender_node<'a>(&'a self, account: &'a str) -> &'a str {
        let page = self.pages.get(account);
        page.and_then(|page| page.linked_to.as_deref()).unwrap_or(account)
    }

    /// Whether a node is an Instagram account on the Page's host, where it has no edges of messaging.
    pub(super) fn is_no_sender(&self, host: Host, node: &str) -> bool {
        host == Host::Facebook
            && self.pages.get(node).is_some_and(|page| page.platform == Platform::Instagram)
    }

    /// Whose part of a Page's edge is meant: with `platform=instagram`, the linked account's.
    pub(super) fn account_asked_for(
        &self,
        page_id: String,
        call: &NodeCall,
    ) -> Result<String, Refusal> {
        if call.choice("platform").as_deref() != Some("instagram") || !self.is_page(&page_id) {
            return Ok(page_id);
        }
        let linked = self.linked_account(&page_id).map(str::to_owned);
        linked.ok_or(Refusal::invalid("No Instagram account is linked to this Page"))
    }

    /// A Page's own fields.
    pub(super) fn page_node(&self, page_id: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(page_id, call, now)?;
        let fields = call.list("fields");
        let mut node = json!({"id": page_id});
        if fields.is_empty() || fields.iter().any(|field| field == "name") {
            node["name"] = format!("Page {page_id}").into();
        }
        if fields.iter().any(|field| field == "instagram_business_account")
            && let Some(account) = self.linked_account(&page_id)
        {
            self.demand(&page_id, "instagram_basic")?;
            node["instagram_business_account"] = json!({"id": account});
        }
        // Source: the reference's "Thread control": is routing on.
        if fields.iter().any(|field| field == "messaging_feature_status") {
            let is_routed = self.pages.get(&page_id).is_some_and(|page| page.is_routed);
            node["messaging_feature_status"] = json!({"hop_v2": is_routed});
        }
        Ok(node)
    }

    /// Whether a field of an account is sent: one field at the account's level switches on those of the
    /// app's. Source: Meta's Instagram Platform documentation, webhooks, limitations.
    pub(super) fn fires_on_instagram(&self, account: &str, page: &Page, field: &str) -> bool {
        let node = self.sender_node(account);
        let is_on = self.pages.get(node).is_some_and(|node| node.subscribed_fields.is_some());
        let key = (page.app_id.clone(), "instagram".to_owned());
        let at_app = self.app_subscriptions.get(&key);
        // Through Instagram Login the app's level is set by hand, in the dashboard.
        let by_hand = page.host() == Host::Instagram;
        is_on && (by_hand || at_app.is_some_and(|subscription| subscription.has(field)))
    }

    /// Answers a call on `graph.instagram.com`.
    pub(super) fn answer_on_instagram(
        &mut self,
        method: &str,
        path: &[&str],
        call: &NodeCall,
        now: i64,
    ) -> Option<Answered> {
        Some(match (method, path) {
            (_, [node, "subscribed_apps"]) => self.subscribed_apps(node, call, now),
            (_, [node, "messenger_profile"]) => self.messenger_profile(node, call, now),
            ("GET", [node, "conversations"]) => self.conversations(node, call, now),
            ("POST", [node, "message_attachments"]) => self.upload(node, call, now),
            ("GET", [node, "thread_owner"]) => self.thread_owner(node, call, now),
            ("POST", [node, edge]) if edge.ends_with("_thread_control") => {
                self.control_thread(node, edge, call, now)
            }
            ("GET", ["refresh_access_token"]) => self.refresh_access_token(call, now),
            ("GET", [node]) if *node == "me" || self.pages.contains_key(*node) => {
                self.account_node(node, call, now)
            }
            ("GET", [psid]) => self.user_profile(psid, call, now),
            _ => return None,
        })
    }

    fn account_node(&self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let account = self.as_page(node, call, now)?;
        // `id` is another one, scoped to the app.
        Ok(json!({"id": format!("9{account}"), "user_id": account, "username": "a_business"}))
    }

    /// Source: Meta's reference of `refresh_access_token`.
    fn refresh_access_token(&mut self, call: &NodeCall, now: i64) -> Answered {
        if call.text("grant_type") != Some("ig_refresh_token") {
            return Err(Refusal::invalid("grant_type must be ig_refresh_token"));
        }
        let Holder::Page(account) = self.holder(call, now)? else {
            return Err(Refusal::invalid("An Instagram user access token is required"));
        };
        self.renewed += 1;
        let token = format!("renewed-{}-of-{account}", self.renewed);
        let Some(page) = self.pages.get_mut(&account) else {
            return Err(Refusal::invalid("Object does not exist"));
        };
        if now - page.token_issued_at < RENEWABLE_AFTER {
            return Err(Refusal::invalid("The token is less than 24 hours old"));
        }
        page.token_issued_at = now;
        page.token_expires_at = now / 1000 + TOKEN_LIFE;
        page.token = Some(token.clone());
        Ok::<Value, _>(json!({
            "access_token": token,
            "token_type": "bearer",
            "expires_in": TOKEN_LIFE,
            "permissions": SCOPES.join(","),
        }))
    }
}
