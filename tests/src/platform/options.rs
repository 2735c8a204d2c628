//! How a platform is set up, and what follows for its secret and its functions' variables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use event_processor::{Driver, Threads};
use messenger::bot::{SharedBot, plain, shared};
use messenger::clock::{SharedClock, Timestamp};
use messenger::decision::{Conversation, Decision};
use messenger::event::Event;
use messenger::message::Invalid;
use serde_json::{Map, Value, json};

use super::queues::Queues;
use super::{SECRET, TABLE};
use crate::driver::{AtOnce, AtWork, OnThreads};
use crate::samples;

/// The key of the application of Instagram Login.
pub(super) const INSTAGRAM_KEY: &str = "instagram";

/// A bot without I/O.
pub type Replies = fn(&Event, &Conversation, Timestamp) -> Result<Decision, Invalid>;

/// How the platform is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The app's secret.
    pub app_secret: String,
    /// The token of the webhook's verification.
    pub verify_token: String,
    /// The Messenger Pages.
    pub pages: Vec<String>,
    /// The Instagram accounts that are linked to these Pages, in their order.
    pub instagram: Vec<String>,
    /// The Instagram accounts that have a login of their own: those of the application `instagram`.
    pub instagram_login: Vec<String>,
    /// The applications beside the default one.
    pub applications: Vec<Application>,
    /// The port of the webhook and of the platform's own paths; any if 0.
    pub port: u16,
    /// Where the table is kept; in memory if absent.
    pub data: Option<PathBuf>,
    /// Where the clock stands at first.
    pub now: Timestamp,
    /// What the bot says, if it is a function without I/O.
    pub replies: Replies,
    /// A bot that is asked instead of `replies`.
    pub bot: Option<SharedBot>,
    /// Whether each turn of the bot gets a thread of its own, as in a function, and may wait for something real.
    pub has_threads: bool,
    /// Whether whoever sleeps waits until the clock is moved, so that others go on while the bot is at work.
    pub bot_lets_time_pass: bool,
    /// Where Meta sends its notifications instead of the webhook function: a URL with `http://`.
    pub webhook: Option<String>,
    /// The name under which the calls to AWS are recorded, if they are asked for; by default the test's.
    pub record: Option<String>,
    /// Variables of the functions that differ from the platform's own.
    pub variables: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            app_secret: samples::APP_SECRET.to_owned(),
            verify_token: samples::VERIFY_TOKEN.to_owned(),
            pages: vec![samples::PAGE.to_owned()],
            instagram: Vec::new(),
            instagram_login: Vec::new(),
            applications: Vec::new(),
            port: 0,
            data: None,
            now: samples::BEGINNING,
            replies: booking::reply,
            bot: None,
            has_threads: false,
            bot_lets_time_pass: false,
            webhook: None,
            record: std::thread::current().name().map(str::to_owned),
            variables: BTreeMap::new(),
        }
    }
}

impl Options {
    /// The bot.
    pub fn bot(&self) -> SharedBot {
        self.bot.clone().unwrap_or_else(|| shared(plain(self.replies)))
    }

    /// What asks the bot, in a container with this clock; bots that have threads and let time pass are counted while
    /// they are at work.
    pub fn driver(&self, clock: &SharedClock, at_work: &AtWork) -> Arc<dyn Driver> {
        let clock = SharedClock::clone(clock);
        match (self.has_threads, self.bot_lets_time_pass) {
            (true, false) => Arc::new(Threads::default()),
            (true, true) => Arc::new(OnThreads { clock, at_work: at_work.clone() }),
            (false, waits) => Arc::new(AtOnce { clock, waits }),
        }
    }

    /// The Pages and Instagram accounts of all applications.
    pub(super) fn accounts(&self) -> Vec<String> {
        let mut accounts = [&self.pages[..], &self.instagram, &self.instagram_login].concat();
        for application in &self.applications {
            accounts.extend_from_slice(&application.pages);
        }
        accounts
    }
}

/// A Meta app of its own beside the default one.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its part of the webhook's path.
    pub key: String,
    /// The app's id.
    pub app_id: String,
    /// The app's secret.
    pub app_secret: String,
    /// The token of its webhook's verification.
    pub verify_token: String,
    /// Its Messenger Pages.
    pub pages: Vec<String>,
}

impl Application {
    fn to_secret(&self) -> Value {
        json!({
            "app_id": self.app_id,
            "app_secret": self.app_secret,
            "verify_token": self.verify_token,
            "pages": page_tokens(&self.pages),
        })
    }
}

fn page_tokens(pages: &[String]) -> Map<String, Value> {
    pages.iter().map(|page| (page.clone(), json!({"access_token": page_token(page)}))).collect()
}

/// The token that the platform gives a Page.
pub fn page_token(page_id: &str) -> String {
    format!("sample-token-of-{page_id}")
}

/// What the functions know of the platform.
pub(super) fn environment(
    options: &Options,
    front_url: &str,
    graph_url: &str,
    queues: &Queues,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "simulator"),
        ("AWS_SECRET_ACCESS_KEY", "simulator"),
        ("AWS_ENDPOINT_URL", front_url),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("TABLE_NAME", TABLE),
        ("SECRET_ID", SECRET),
        ("QUEUE_URL", &queues.events),
        ("DEAD_LETTER_QUEUE_URL", &queues.dead_letters),
        ("UNREADABLE_QUEUE_URL", &queues.unreadable),
        ("FORWARD_QUEUE_URL", &queues.forward),
        ("FORWARD_DEAD_LETTER_QUEUE_URL", &queues.forward_dead_letters),
        ("SCHEDULE_DEAD_LETTER_QUEUE_URL", &queues.schedule_dead_letters),
        ("GRAPH_BASE_URL", graph_url),
        ("GRAPH_INSTAGRAM_BASE_URL", &format!("{graph_url}/instagram")),
        ("API_AUTH", "key"),
        ("WEBHOOK_URL", &format!("{front_url}/webhook")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(options.variables.clone());
    environment
}

pub(super) fn secret(options: &Options) -> Value {
    let applications = options.applications.iter();
    let applications = applications.map(|one| (one.key.clone(), one.to_secret()));
    let mut applications = applications.collect::<Map<_, _>>();
    if !options.instagram_login.is_empty() {
        let application = json!({
            "app_id": samples::INSTAGRAM_APP_ID,
            "app_secret": samples::INSTAGRAM_APP_SECRET,
            "verify_token": samples::VERIFY_TOKEN,
            "instagram_accounts": page_tokens(&options.instagram_login),
        });
        applications.insert(INSTAGRAM_KEY.to_owned(), application);
    }
    let mut pages = page_tokens(&options.pages);
    for (page, account) in options.pages.iter().zip(&options.instagram) {
        pages[page]["instagram_id"] = account.as_str().into();
    }
    let mut secret = json!({
        "app_id": samples::APP_ID,
        "app_secret": options.app_secret,
        "verify_token": options.verify_token,
        "forward_secret": samples::FORWARD_SECRET,
        "pages": pages,
        "api_key": samples::API_KEY,
        "applications": applications,
    });
    if options.variables.contains_key("REPLY_URL") {
        secret["reply_secret"] = samples::REPLY_SECRET.into();
    }
    secret
}
