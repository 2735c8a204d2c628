//! Both levels of subscription: an event is delivered only if the app and the Page subscribe to its field.

use std::collections::BTreeSet;

use backend::graph::GraphError;
use backend::secrets::Login;
use messenger::clock::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::app::App;
use crate::{Setup, SetupError};

/// The fields of a Page that the functions handle.
pub(crate) const PAGE_FIELDS: [&str; 12] = [
    "messages",
    "messaging_postbacks",
    "messaging_referrals",
    "messaging_optins",
    "messaging_handovers",
    "message_echoes",
    "message_deliveries",
    "message_reads",
    "message_reactions",
    "message_edits",
    "messaging_feedback",
    "standby",
];

/// The fields of an Instagram account that the functions handle; its echoes come with `messages`.
pub(crate) const INSTAGRAM_FIELDS: [&str; 9] = [
    "messages",
    "messaging_postbacks",
    "messaging_referral",
    "messaging_optins",
    "messaging_handover",
    "messaging_seen",
    "message_reactions",
    "message_edit",
    "standby",
];

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

/// The fields to which an account is subscribed.
pub(crate) fn fields_of(login: Login) -> &'static [&'static str] {
    match login {
        Login::Facebook => &PAGE_FIELDS,
        Login::Instagram => &INSTAGRAM_FIELDS,
    }
}

impl Setup {
    /// The objects that an app should be subscribed to, each with its fields.
    pub(crate) fn objects(&self, app: &App<'_>) -> Vec<(&'static str, &'static [&'static str])> {
        let mut objects: Vec<(_, &[_])> = vec![("page", &PAGE_FIELDS)];
        let mut pages = app.application.pages();
        let has_linked = pages.any(|(_, page)| page.instagram_id.is_some());
        if has_linked || self.settings.subscribe_instagram {
            objects.push(("instagram", &INSTAGRAM_FIELDS));
        }
        objects
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

/// The required fields that are missing.
pub(crate) fn lacking<'a>(required: &[&'a str], present: &Fields) -> Vec<&'a str> {
    required.iter().copied().filter(|field| !present.contains(*field)).collect()
}

/// The required fields and those already present: a subscription replaces the one before it, and
/// somebody may have added fields on purpose.
pub(crate) fn union(required: &[&str], present: &Fields) -> Fields {
    required.iter().map(|field| (*field).to_owned()).chain(present.iter().cloned()).collect()
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
