//! Both levels of subscription: an event is delivered only if the app and the Page subscribe to its field.

use std::collections::BTreeSet;

use backend::graph::GraphError;
use backend::secrets::Login;
use messenger::clock::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::app::App;
use crate::{Setup, SetupError};

/// The fields of a Page that bring what the functions handle, and the answers to what they send.
const PAGE_FIELDS: [&str; 17] = [
    "feed",
    "message_echoes",
    "message_edits",
    "message_reactions",
    "message_template_status_update",
    "messages",
    "messaging_account_linking",
    "messaging_customer_information",
    "messaging_feedback",
    "messaging_handovers",
    "messaging_optins",
    "messaging_policy_enforcement",
    "messaging_postbacks",
    "messaging_referrals",
    "response_feedback",
    "send_cart",
    "standby",
];

/// Those of receipts, which are half of all notifications.
const PAGE_RECEIPTS: [&str; 2] = ["message_deliveries", "message_reads"];

/// The fields of an Instagram account that bring what the functions handle; its echoes come with
/// `messages`.
const INSTAGRAM_FIELDS: [&str; 9] = [
    "comments",
    "message_edit",
    "message_reactions",
    "messages",
    "messaging_handover",
    "messaging_optins",
    "messaging_postbacks",
    "messaging_referral",
    "standby",
];

/// Those of receipts: Instagram reports no deliveries.
const INSTAGRAM_RECEIPTS: [&str; 1] = ["messaging_seen"];

/// The fields of an object that are subscribed to, and those that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    required: Vec<&'static str>,
    unwanted: Vec<&'static str>,
}

impl Wanted {
    fn new(fields: &[&'static str], receipts: &[&'static str], track_receipts: bool) -> Self {
        if track_receipts {
            Self { required: [fields, receipts].concat(), unwanted: Vec::new() }
        } else {
            Self { required: fields.to_vec(), unwanted: receipts.to_vec() }
        }
    }

    pub(crate) fn of_pages(track_receipts: bool) -> Self {
        Self::new(&PAGE_FIELDS, &PAGE_RECEIPTS, track_receipts)
    }

    pub(crate) fn of_instagram(track_receipts: bool) -> Self {
        Self::new(&INSTAGRAM_FIELDS, &INSTAGRAM_RECEIPTS, track_receipts)
    }

    /// The required fields that are missing.
    pub(crate) fn lacking(&self, present: &Fields) -> Vec<&'static str> {
        self.required.iter().copied().filter(|field| !present.contains(*field)).collect()
    }

    /// Whether nothing is missing, and nothing there that nobody uses.
    pub(crate) fn is_met(&self, present: &Fields) -> bool {
        let is_there = |field: &&str| present.contains(*field);
        self.lacking(present).is_empty() && !self.unwanted.iter().any(is_there)
    }

    /// What to subscribe to. A subscription replaces the one before it, and somebody may have added fields
    /// on purpose, so those stay.
    pub(crate) fn with(&self, present: &Fields) -> Fields {
        let kept = present.iter().filter(|field| !self.unwanted.contains(&field.as_str()));
        self.required.iter().map(|field| (*field).to_owned()).chain(kept.cloned()).collect()
    }
}

/// Names of webhook fields, sorted.
pub(crate) type Fields = BTreeSet<String>;

/// An app's subscription to one kind of object.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppSubscription {
    pub(crate) object: String,
    pub(crate) callback_url: String,
    pub(crate) is_active: bool,
    pub(crate) fields: Fields,
}

/// An app's subscriptions, and the `Date` of Meta's answer.
pub(crate) struct AppSubscriptions {
    pub(crate) all: Vec<AppSubscription>,
    pub(crate) date: Option<Timestamp>,
}

impl AppSubscriptions {
    pub(crate) fn of(&self, object: &str) -> Option<&AppSubscription> {
        self.all.iter().find(|subscription| subscription.object == object)
    }
}

impl Setup {
    /// The objects that an app should be subscribed to, each with its fields.
    pub(crate) fn objects(&self, app: &App<'_>) -> Vec<(&'static str, Wanted)> {
        let mut objects = vec![("page", Wanted::of_pages(self.settings.track_receipts))];
        let mut pages = app.application.pages();
        let has_linked = pages.any(|(_, page)| page.instagram_id.is_some());
        if has_linked || self.settings.subscribe_instagram {
            objects.push(("instagram", Wanted::of_instagram(self.settings.track_receipts)));
        }
        objects
    }

    /// The fields of an account that was connected in this way.
    pub(crate) fn wanted_of(&self, login: Login) -> Wanted {
        let track_receipts = self.settings.track_receipts;
        match login {
            Login::Facebook => Wanted::of_pages(track_receipts),
            Login::Instagram => Wanted::of_instagram(track_receipts),
        }
    }

    pub(crate) async fn app_subscriptions(
        &self,
        app: &App<'_>,
    ) -> Result<AppSubscriptions, GraphError> {
        let answer = self.outbox.graph().get(&[app.id, "subscriptions"], app.access(), &[]).await?;
        let data = answer.body["data"].as_array().into_iter().flatten();
        let all = data.map(|item| AppSubscription {
            object: text(&item["object"]),
            callback_url: text(&item["callback_url"]),
            is_active: item["active"] != false,
            fields: fields(&item["fields"]),
        });
        Ok(AppSubscriptions { all: all.collect(), date: answer.date })
    }

    /// Subscribes the app; Meta calls the callback URL before it answers.
    pub(crate) async fn subscribe_app(
        &self,
        app: &App<'_>,
        object: &str,
        fields: &Fields,
    ) -> Result<(), SetupError> {
        let body = json!({
            "object": object,
            "callback_url": self.settings.callback_url(app.key),
            "verify_token": app.application.verify_token()?.expose_secret(),
            "fields": joined(fields),
            "include_values": true,
        });
        self.outbox.graph().post(&[app.id, "subscriptions"], app.access(), &body).await?;
        Ok(())
    }

    pub(crate) async fn unsubscribe_app(
        &self,
        app: &App<'_>,
        object: &str,
    ) -> Result<(), GraphError> {
        let parameters = [("object", object)];
        self.outbox.graph().delete(&[app.id, "subscriptions"], app.access(), &parameters).await?;
        Ok(())
    }

    /// The fields of a Page, or of an account with a login of its own, that the app is subscribed to.
    pub(crate) async fn page_fields(
        &self,
        app: &App<'_>,
        page_id: &str,
    ) -> Result<Fields, SetupError> {
        let login = app.application.sender(page_id)?.login;
        let access = app.access_of(page_id)?;
        let graph = self.outbox.graph().of(login);
        let answer = graph.get(&[page_id, "subscribed_apps"], access, &[]).await?;
        let mut apps = answer.body["data"].as_array().into_iter().flatten();
        // A token of Instagram Login sees its own app only, under an id that need not be the secret's.
        let ours = apps.find(|item| login == Login::Instagram || item["id"] == app.id);
        Ok(ours.map(|item| fields(&item["subscribed_fields"])).unwrap_or_default())
    }

    pub(crate) async fn subscribe_page(
        &self,
        app: &App<'_>,
        page_id: &str,
        fields: &Fields,
    ) -> Result<(), SetupError> {
        let graph = self.outbox.graph().of(app.application.sender(page_id)?.login);
        let access = app.access_of(page_id)?;
        let body = json!({"subscribed_fields": joined(fields)});
        graph.post(&[page_id, "subscribed_apps"], access, &body).await?;
        Ok(())
    }

    pub(crate) async fn unsubscribe_page(
        &self,
        app: &App<'_>,
        page_id: &str,
    ) -> Result<(), SetupError> {
        let access = app.access_of(page_id)?;
        self.outbox.graph().delete(&[page_id, "subscribed_apps"], access, &[]).await?;
        Ok(())
    }
}

fn joined(fields: &Fields) -> String {
    fields.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A list of fields, given as names or as objects with a name.
fn fields(value: &Value) -> Fields {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| item["name"].as_str().or(item.as_str())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fields: &[&str]) -> Fields {
        fields.iter().map(|field| (*field).to_owned()).collect()
    }

    #[test]
    fn the_fields_are_those_that_metas_reference_names_for_what_is_accepted() {
        let page = "messages, messaging_postbacks, messaging_optins, messaging_referrals, \
            message_echoes, message_edits, message_reactions, messaging_handovers, \
            messaging_feedback, messaging_customer_information, messaging_account_linking, \
            messaging_policy_enforcement, message_template_status_update, standby, feed, send_cart, \
            response_feedback";
        // The same on Instagram, under its names, as far as it has them; echoes come with messages.
        let instagram = "messages, messaging_postbacks, messaging_optins, messaging_referral, \
            message_edit, message_reactions, messaging_handover, standby, comments";
        for (wanted, listed, receipts) in [
            (Wanted::of_pages as fn(bool) -> Wanted, page, &PAGE_RECEIPTS[..]),
            (Wanted::of_instagram, instagram, &INSTAGRAM_RECEIPTS),
        ] {
            let listed: Vec<_> = listed.split(", ").collect();
            let nothing = Fields::new();
            assert_eq!(wanted(false).with(&nothing), names(&listed));
            assert_eq!(wanted(true).with(&nothing), names(&[&listed[..], receipts].concat()));
        }
    }

    #[test]
    fn fields_that_somebody_added_stay_and_receipts_go_if_nobody_uses_them() {
        let there = names(&["message_reads", "messaging_game_plays"]);
        let (off, on) = (Wanted::of_pages(false), Wanted::of_pages(true));
        assert!(!off.with(&there).contains("message_reads"));
        assert!(on.with(&there).contains("message_reads"));
        assert!(off.with(&there).contains("messaging_game_plays"));
        for wanted in [&off, &on] {
            assert!(!wanted.is_met(&there) && wanted.is_met(&wanted.with(&there)));
        }
        assert!(!off.is_met(&on.with(&there)), "they are unsubscribed from");
        assert!(!on.is_met(&off.with(&there)));
    }
}
