//! Both levels of subscription: the app's to a kind of object, and the app's at a Page.
//!
//! Source: Meta's webhooks (the challenge; 2200 where a callback fails), its app subscriptions and
//! `subscribed_apps`: a field fires only where it is subscribed to at both levels.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::answer::Refusal;
use super::instagram::{self, Host};
use super::node::{Answered, NodeCall};
use super::tokens::Holder;
use super::{Meta, Platform, State};
use crate::outgoing::get;

/// The webhook fields of a Page.
const PAGE_FIELDS: [&str; 22] = [
    "messages",
    "message_deliveries",
    "message_echoes",
    "message_edits",
    "message_mention",
    "message_reactions",
    "message_reads",
    "message_template_status_update",
    "messaging_account_linking",
    "messaging_customer_information",
    "messaging_direct_sends",
    "messaging_feedback",
    "messaging_game_plays",
    "messaging_handovers",
    "messaging_optins",
    "messaging_policy_enforcement",
    "messaging_postbacks",
    "messaging_referrals",
    "response_feedback",
    "send_cart",
    "standby",
    "feed",
];

/// An app's subscription to a kind of object.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    callback_url: String,
    fields: BTreeSet<String>,
}

impl Subscription {
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.contains(field)
    }
}

impl Meta {
    /// From now on sends its own notifications only for fields subscribed to at both levels, as Meta
    /// does.
    ///
    /// Before that, every event is sent, as if all fields were subscribed to by hand.
    pub fn heed_subscriptions(&self) {
        self.state().heeds_subscriptions = true;
    }

    /// Whether a field of a Page is subscribed to at both levels.
    pub fn fires(&self, page_id: &str, field: &str) -> bool {
        self.state().fires(page_id, field)
    }

    /// Sets an app's callback for every object, as another stack of the same app would.
    pub fn move_callback(&self, app_id: &str, callback_url: &str) {
        let mut state = self.state();
        let own = state.app_subscriptions.iter_mut().filter(|((owner, _), _)| owner == app_id);
        own.for_each(|(_, subscription)| callback_url.clone_into(&mut subscription.callback_url));
    }

    /// Removes a field at the app's level.
    pub fn drop_app_field(&self, app_id: &str, field: &str) {
        let mut state = self.state();
        let key = (app_id.to_owned(), "page".to_owned());
        if let Some(subscription) = state.app_subscriptions.get_mut(&key) {
            subscription.fields.remove(field);
        }
    }

    /// Takes the privacy policy out of an app's settings.
    pub fn drop_privacy_policy(&self, app_id: &str) {
        self.state().without_privacy_policy.insert(app_id.to_owned());
    }

    /// Subscribes an app once its callback has returned the challenge.
    pub(super) async fn subscribe_app(&self, app_id: &str, call: &NodeCall) -> Answered {
        let now = self.now();
        {
            let state = self.state();
            state.as_app(app_id, call, now)?;
        }
        let (Some(object), Some(callback_url), Some(verify_token)) =
            (call.text("object"), call.text("callback_url"), call.text("verify_token"))
        else {
            return Err(Refusal::invalid("object, callback_url and verify_token are required"));
        };
        if !["page", "instagram"].contains(&object) {
            return Err(Refusal::invalid("Param object must be one of {page, instagram}"));
        }
        let fields: BTreeSet<String> = call.list("fields").into_iter().collect();
        let unknown = fields.iter().find(|field| !PAGE_FIELDS.contains(&field.as_str()));
        if let Some(unknown) = unknown.filter(|_| object == "page") {
            return Err(Refusal::invalid(&format!("Param fields: {unknown} is not a valid field")));
        }
        let challenge = format!("{}", 1_158_201_444 + now % 1_000);
        let query = [
            ("hub.mode", "subscribe"),
            ("hub.challenge", &challenge),
            ("hub.verify_token", verify_token),
        ];
        let query = query.map(|(name, value)| format!("{name}={}", encoded(value))).join("&");
        let callback = get(&format!("{callback_url}?{query}")).await;
        match callback {
            Some((200, body)) if body == challenge => {}
            other => {
                let status =
                    other.map_or_else(|| "no answer".to_owned(), |(status, _)| status.to_string());
                let message = format!(
                    "(#2200) Callback verification failed with the following errors: HTTP Status Code = {status}"
                );
                return Err(Refusal::new(400, 2_200, None, &message));
            }
        }
        let subscription = Subscription { callback_url: callback_url.to_owned(), fields };
        let key = (app_id.to_owned(), object.to_owned());
        self.state().app_subscriptions.insert(key, subscription);
        Ok(json!({"success": true}))
    }
}

impl State {
    fn as_app(&self, app_id: &str, call: &NodeCall, now: i64) -> Result<(), Refusal> {
        match self.holder(call, now)? {
            Holder::App(own) if own == app_id => Ok(()),
            _ => {
                let message = "(#15) This method must be called with an app access_token.";
                Err(Refusal::new(400, 15, None, message))
            }
        }
    }

    pub(super) fn is_app(&self, node: &str) -> bool {
        self.apps.iter().any(|app| app.app_id == node)
    }

    /// An app's own fields. Meta: an app access token can be used to view all of them.
    pub(super) fn app_node(&self, app_id: &str, call: &NodeCall, now: i64) -> Answered {
        self.as_app(app_id, call, now)?;
        let mut node = json!({"id": app_id});
        let is_asked = call.list("fields").iter().any(|field| field == "privacy_policy_url");
        if is_asked && !self.without_privacy_policy.contains(app_id) {
            node["privacy_policy_url"] = "https://example.com/privacy".into();
        }
        Ok(node)
    }

    pub(super) fn app_subscriptions(&self, app_id: &str, call: &NodeCall, now: i64) -> Answered {
        self.as_app(app_id, call, now)?;
        let own = self.app_subscriptions.iter().filter(|((owner, _), _)| owner == app_id);
        let data = own.map(|((_, object), subscription)| {
            let fields = subscription.fields.iter();
            let fields = fields.map(|name| json!({"name": name, "version": "v25.0"}));
            json!({
                "object": object,
                "callback_url": subscription.callback_url,
                "active": true,
                "fields": fields.collect::<Vec<_>>(),
            })
        });
        Ok(json!({"data": data.collect::<Vec<_>>()}))
    }

    pub(super) fn unsubscribe_app(&mut self, app_id: &str, call: &NodeCall, now: i64) -> Answered {
        self.as_app(app_id, call, now)?;
        let object = call.text("object");
        self.app_subscriptions
            .retain(|(owner, of), _| owner != app_id || object.is_some_and(|object| object != of));
        Ok(json!({"success": true}))
    }

    pub(super) fn subscribed_apps(&mut self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "pages_manage_metadata")?;
        let Some(page) = self.pages.get_mut(&page_id) else {
            return Err(Refusal::invalid("Object does not exist"));
        };
        match call.method.as_str() {
            "GET" => {
                let fields = page.subscribed_fields.iter().map(|fields| {
                    json!({"id": page.app_id, "name": "An app", "subscribed_fields": fields})
                });
                return Ok(json!({"data": fields.collect::<Vec<_>>()}));
            }
            "POST" => {
                let fields = call.list("subscribed_fields");
                let known: &[&str] = match call.host {
                    Host::Facebook => &PAGE_FIELDS,
                    Host::Instagram => &instagram::FIELDS,
                };
                let is_known = |field: &String| known.contains(&field.as_str());
                if fields.is_empty() || !fields.iter().all(is_known) {
                    let message = "Param subscribed_fields must hold known fields";
                    return Err(Refusal::invalid(message));
                }
                page.subscribed_fields = Some(fields.into_iter().collect());
            }
            _ => page.subscribed_fields = None,
        }
        Ok(json!({"success": true}))
    }

    pub(super) fn fires(&self, page_id: &str, field: &str) -> bool {
        let Some(page) = self.pages.get(page_id) else {
            return false;
        };
        if page.platform == Platform::Instagram {
            return self.fires_on_instagram(page_id, page, field);
        }
        let at_page = page.subscribed_fields.as_ref().is_some_and(|fields| fields.contains(field));
        let key = (page.app_id.clone(), "page".to_owned());
        let at_app = self.app_subscriptions.get(&key);
        at_page && at_app.is_some_and(|subscription| subscription.fields.contains(field))
    }

    /// Whether one of its own notifications of Messenger is sent.
    pub(super) fn is_wanted(&self, page_id: &str, item: &Value) -> bool {
        let field = match item {
            _ if self.platform(page_id) == Platform::Instagram && item["read"].is_object() => {
                "messaging_seen"
            }
            _ if self.platform(page_id) == Platform::Instagram => "messages",
            _ if item["delivery"].is_object() => "message_deliveries",
            _ if item["read"].is_object() => "message_reads",
            _ => "message_echoes",
        };
        !self.heeds_subscriptions || self.fires(page_id, field)
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        // Writing to a String cannot fail.
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}
