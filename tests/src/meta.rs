//! A stand-in for Meta: the Send API, its webhooks, and the other calls of the Graph API that the
//! project makes.
//!
//! It exists to check the project, so it shares no code with it: the windows, the limits, the
//! signature and the error answers are written a second time here, from Meta's Messenger Platform
//! documentation. It decides like Meta, at the exact millisecond and without a safety margin.
//!
//! A test lets people act ([`Meta::person_says`] and its siblings), delivers the returned
//! notification to the webhook with [`Meta::sign`], points the Graph client at [`Meta::serve`], and
//! reads what arrived from [`Meta::requests`]. All times are milliseconds since the epoch.

mod accounts;
mod answer;
mod attachments;
mod batch;
mod conversations;
mod errors;
mod faults;
mod graph;
mod instagram;
mod limits;
mod node;
mod notification;
mod parameters;
mod people;
mod permits;
mod personas;
mod profile;
mod server;
mod subscriptions;
mod templates;
#[cfg(test)]
mod tests;
mod threads;
mod tokens;
mod user_profiles;
mod whatsapp;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::Sha256;

use attachments::Attachments;
use conversations::Line;
pub use errors::{KNOWN, KnownError};
use faults::Faults;
pub use faults::{Fault, FaultRule};
use people::Record;
use permits::Permits;
use personas::Persona;
use subscriptions::Subscription;
use templates::Template;
pub use threads::{BUSINESS_AI, INBOX, INSTAGRAM_INBOX};
pub use tokens::UserToken;
pub use user_profiles::NoProfile;
use user_profiles::UserProfile;
use whatsapp::WhatsAppAccount;

/// A Meta app, which owns a webhook and makes calls.
#[derive(Clone)]
pub struct App {
    /// The app's id, which every echo of its own messages carries.
    pub app_id: String,
    /// The key of the webhook's signature and of `appsecret_proof`.
    pub app_secret: String,
}

/// The product that a Page's conversations run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Facebook Messenger.
    Messenger,
    /// Instagram messaging: fewer tags and templates, shorter texts, longer mids.
    Instagram,
}

/// One request that reached the Graph API, and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphRequest {
    /// When it arrived, in ms since the epoch.
    pub at: i64,
    /// The Page or Instagram account that speaks; empty for a path that is not the Send API's.
    pub page_id: String,
    /// The node in the path as sent; a linked Instagram account speaks through its Page's.
    pub node: Option<String>,
    /// Its addressee: `recipient.id`, or the author of the comment or post that it answers.
    pub psid: Option<String>,
    /// The recipient as sent.
    pub recipient: Value,
    /// The messaging type as sent.
    pub messaging_type: Option<String>,
    /// The message tag as sent.
    pub tag: Option<String>,
    /// The sender action as sent (typing, seen, reaction).
    pub sender_action: Option<String>,
    /// The sender action's payload as sent; null when there is none.
    pub payload: Value,
    /// The persona as sent.
    pub persona_id: Option<String>,
    /// The mid of the message that it answers, as sent.
    pub reply_to: Option<String>,
    /// The notification type as sent.
    pub notification_type: Option<String>,
    /// The message as sent; null when there is none.
    pub message: Value,
    /// The message's metadata as sent.
    pub metadata: Option<String>,
    /// The outcome on Meta's side, which can differ from the answer.
    pub outcome: Outcome,
}

/// The outcome of a request, on Meta's side.
///
/// A delivery whose answer was lost or replaced by an error is still [`Outcome::Delivered`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The message reached the person.
    Delivered {
        /// The message's id.
        mid: String,
    },
    /// The sender action was shown to the person.
    Acted,
    /// An error of the Graph API; nothing was delivered.
    Refused {
        /// The Graph error's code.
        code: i64,
        /// The Graph error's subcode.
        subcode: Option<i64>,
        /// The Graph error's text.
        message: String,
    },
    /// The request had no effect, without an error of the Graph API.
    Failed {
        /// What happened instead of an answer.
        how: String,
    },
}

/// Meta, as seen by one app: its Pages, the people who write to them, the Send API, the webhooks.
///
/// Clones share one state.
#[derive(Clone)]
pub struct Meta {
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    state: Arc<Mutex<State>>,
}

struct State {
    apps: Vec<App>,
    pages: BTreeMap<String, Page>,
    dead_tokens: BTreeMap<String, TokenEnd>,
    record: Record,
    public_posts: BTreeMap<(String, PublicPost), Authorship>,
    requests: Vec<GraphRequest>,
    calls: Vec<String>,
    urls: Vec<String>,
    lines: Vec<Line>,
    user_tokens: BTreeMap<String, UserToken>,
    /// By app and object.
    app_subscriptions: BTreeMap<(String, String), Subscription>,
    heeds_subscriptions: bool,
    /// The apps without a privacy policy.
    without_privacy_policy: BTreeSet<String>,
    /// By the person's id in the app: Page and PSID.
    app_scoped_ids: BTreeMap<String, Vec<(String, String)>>,
    templates: Vec<Template>,
    attachments: Attachments,
    personas: Vec<Persona>,
    personas_made: usize,
    permits: Permits,
    user_profiles: BTreeMap<(String, String), UserProfile>,
    /// The accounts whose app lacks the permissions of locale, time zone and gender.
    basic_profiles: BTreeSet<String>,
    whatsapp_accounts: BTreeMap<String, WhatsAppAccount>,
    skew: i64,
    webhooks: Vec<Vec<u8>>,
    threads: BTreeMap<(String, String), threads::Holder>,
    other_limits: Vec<OtherLimit>,
    faults: Faults,
    echoes: bool,
    receipts: bool,
    /// How long an ad's conversation may be written to, in ms, if Meta grants it more than a day.
    ad_window: Option<i64>,
    said: u64,
    sent: u64,
    renewed: u64,
    errors: u64,
}

/// A Page, or an Instagram account.
struct Page {
    app_id: String,
    platform: Platform,
    /// The Page that an Instagram account is linked to; without it, it has a login and a token of its own.
    linked_to: Option<String>,
    token: Option<String>,
    /// In ms since the epoch.
    token_issued_at: i64,
    /// In seconds since the epoch; 0 for never.
    token_expires_at: i64,
    /// Whether conversations are routed among several apps.
    is_routed: bool,
    /// The app that new conversations are routed to, if it is another one than the Page's here.
    routed_to: Option<String>,
    scopes: Vec<String>,
    subscribed_fields: Option<BTreeSet<String>>,
    profile: Map<String, Value>,
    profile_calls: Vec<i64>,
    has_flat_ice_breakers: bool,
}

/// A limit of another business object or use case, which Meta reports beside every answer.
struct OtherLimit {
    object_id: String,
    kind: String,
    regain_minutes: u32,
}

#[derive(Clone, Copy)]
enum TokenEnd {
    Replaced,
    Expired,
}

/// What a private reply answers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PublicPost {
    Comment(String),
    Post(String),
}

struct Authorship {
    psid: String,
    at: i64,
    replied: bool,
}

impl Meta {
    /// Starts Meta with one app and no Pages; `now` is its clock, in ms since the epoch.
    ///
    /// Echoes and receipts are on.
    pub fn new(now: Arc<dyn Fn() -> i64 + Send + Sync>, app: App) -> Self {
        let state = State {
            apps: vec![app],
            pages: BTreeMap::new(),
            dead_tokens: BTreeMap::new(),
            record: Record::default(),
            public_posts: BTreeMap::new(),
            requests: Vec::new(),
            calls: Vec::new(),
            urls: Vec::new(),
            lines: Vec::new(),
            user_tokens: BTreeMap::new(),
            app_subscriptions: BTreeMap::new(),
            heeds_subscriptions: false,
            without_privacy_policy: BTreeSet::new(),
            app_scoped_ids: BTreeMap::new(),
            templates: Vec::new(),
            attachments: Attachments::default(),
            personas: Vec::new(),
            personas_made: 0,
            permits: Permits::default(),
            user_profiles: BTreeMap::new(),
            basic_profiles: BTreeSet::new(),
            whatsapp_accounts: BTreeMap::new(),
            skew: 0,
            webhooks: Vec::new(),
            threads: BTreeMap::new(),
            other_limits: Vec::new(),
            faults: Faults::default(),
            echoes: true,
            receipts: true,
            ad_window: None,
            said: 0,
            sent: 0,
            renewed: 0,
            errors: 0,
        };
        Self { now, state: Arc::new(Mutex::new(state)) }
    }

    /// Adds another app, without effect on the Pages that are already connected.
    pub fn add_app(&self, app: App) {
        self.state().apps.push(app);
    }

    /// Connects a Page to the app, with its access token.
    pub fn add_page(&self, page_id: &str, token: &str, platform: Platform) {
        let app_id = self.state().apps[0].app_id.clone();
        self.add_page_of(&app_id, page_id, token, platform);
    }

    /// Connects a Page to one of several apps, with its access token.
    ///
    /// An Instagram account that is connected like this has a login of its own: see
    /// [`Meta::link_instagram`] for one that speaks through its Page.
    pub fn add_page_of(&self, app_id: &str, page_id: &str, token: &str, platform: Platform) {
        let page = Page {
            app_id: app_id.to_owned(),
            platform,
            linked_to: None,
            token: Some(token.to_owned()),
            token_issued_at: self.now(),
            token_expires_at: 0,
            is_routed: true,
            routed_to: None,
            scopes: tokens::PAGE_SCOPES.map(str::to_owned).to_vec(),
            subscribed_fields: None,
            profile: Map::new(),
            profile_calls: Vec::new(),
            has_flat_ice_breakers: false,
        };
        let mut state = self.state();
        state.dead_tokens.remove(token);
        state.pages.insert(page_id.to_owned(), page);
    }

    /// Replaces the app secret: signatures and proofs made with the previous one are now invalid.
    pub fn set_app_secret(&self, app_secret: &str) {
        app_secret.clone_into(&mut self.state().apps[0].app_secret);
    }

    /// Replaces a connected Page's token; the previous one is now answered with 190 / 460.
    pub fn set_token(&self, page_id: &str, token: &str) {
        self.state().end_token(page_id, TokenEnd::Replaced, Some(token));
    }

    /// Ends a connected Page's token, which is answered with 190 / 463 until [`Meta::set_token`] gives another.
    pub fn kill_token(&self, page_id: &str) {
        self.state().end_token(page_id, TokenEnd::Expired, None);
    }

    /// The path and query of every request so far, as a log on the way would hold them.
    pub fn urls(&self) -> Vec<String> {
        self.state().urls.clone()
    }

    /// Sets the difference of the clock in Meta's answers from ours, in ms.
    pub fn set_skew(&self, millis: i64) {
        self.state().skew = millis;
    }

    /// Whether messages that are delivered from now on have echoes.
    pub fn set_echoes(&self, on: bool) {
        self.state().echoes = on;
    }

    /// Whether messages that are delivered from now on have delivery and read notifications.
    pub fn set_receipts(&self, on: bool) {
        self.state().receipts = on;
    }

    /// The value of the header `X-Hub-Signature-256` for a notification's raw bytes, signed for the
    /// app that its first Page is connected to.
    pub fn sign(&self, body: &[u8]) -> String {
        let state = self.state();
        format!("sha256={}", hmac_hex(&state.app_notified_by(body).app_secret, body))
    }

    /// The id of the app that a notification is for.
    pub fn app_notified_by(&self, body: &[u8]) -> String {
        self.state().app_notified_by(body).app_id.clone()
    }

    /// Takes the notifications that Meta wants to deliver since the last call, in order.
    ///
    /// Per delivered message: its echo, then its delivery, then its reading. Instagram has no
    /// delivery notification.
    pub fn pending_webhooks(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state().webhooks)
    }

    /// The Pages and accounts that are connected.
    pub fn accounts(&self) -> Vec<String> {
        self.state().pages.keys().cloned().collect()
    }

    /// The id of the app that a Page is connected to.
    pub fn app_connected_to(&self, page_id: &str) -> String {
        self.state().app_of(page_id).app_id.clone()
    }

    /// Whether it is an Instagram account.
    pub fn is_instagram(&self, page_id: &str) -> bool {
        self.state().platform(page_id) == Platform::Instagram
    }

    /// Every request that reached the Graph API so far, in order.
    pub fn requests(&self) -> Vec<GraphRequest> {
        self.state().requests.clone()
    }

    /// The requests whose message reached this person, in order, private replies included.
    pub fn delivered(&self, page_id: &str, psid: &str) -> Vec<GraphRequest> {
        self.state()
            .requests
            .iter()
            .filter(|request| request.page_id == page_id && request.psid.as_deref() == Some(psid))
            .filter(|request| matches!(request.outcome, Outcome::Delivered { .. }))
            .cloned()
            .collect()
    }

    /// Forgets the requests so far; Meta's record of conversations stays.
    pub fn clear_requests(&self) {
        self.state().requests.clear();
    }

    fn now(&self) -> i64 {
        (self.now)()
    }

    /// The time of Meta's clock, in HTTP's format.
    fn date(&self) -> String {
        let millis = u64::try_from(self.now() + self.state().skew).unwrap_or_default();
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_token(&mut self, page_id: &str, end: TokenEnd, next: Option<&str>) {
        let Some(page) = self.pages.get_mut(page_id) else {
            return;
        };
        if let Some(former) = page.token.take() {
            self.dead_tokens.insert(former, end);
        }
        if let Some(token) = next {
            self.dead_tokens.remove(token);
            page.token = Some(token.to_owned());
        }
    }

    /// The app that a Page is connected to; the first one for a Page that is not connected.
    fn app_of(&self, page_id: &str) -> &App {
        let owner = self.pages.get(page_id).map(|page| page.app_id.as_str());
        let found = self.apps.iter().find(|app| owner == Some(&app.app_id));
        found.unwrap_or(&self.apps[0])
    }

    fn app_notified_by(&self, body: &[u8]) -> &App {
        let notification: Value = serde_json::from_slice(body).unwrap_or_default();
        self.app_of(notification["entry"][0]["id"].as_str().unwrap_or_default())
    }

    /// A Page that is not connected counts as one of Messenger: its people can still act.
    fn platform(&self, page_id: &str) -> Platform {
        self.pages.get(page_id).map_or(Platform::Messenger, |page| page.platform)
    }
}

fn hmac_hex(key: &str, message: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        unreachable!("HMAC takes a key of any length")
    };
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}
