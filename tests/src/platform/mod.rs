//! The platform: the functions, and everything that they stand on, in one process.

mod invoke;
mod options;
mod queues;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backend::store::{DueClass, Store};
use backend::telemetry::Telemetry;
use event_processor::Processor;
use messenger::clock::{Clock, SharedClock, Timestamp};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use invoke::batch;
pub use options::{Application, Options, Replies, page_token};

use options::{environment, secret};
use queues::Queues;

use crate::aws::{Aws, Services};
use crate::clock::VirtualClock;
use crate::functions::{Containers, Functions};
use crate::gate::Gate;
use crate::meta::{App, Meta, Platform as Product};
use crate::record::Record;
use crate::secrets_manager::SecretsManager;
use crate::sqs::Sqs;
use crate::{dynamodb, http, samples, setup};

/// The queue of the events.
pub const EVENTS: &str = "events.fifo";
/// The dead-letter queue.
pub const DEAD_LETTERS: &str = "dead-letters.fifo";
/// The queue of what is signed but cannot be read.
pub const UNREADABLE: &str = "unreadable";
/// The queue of what is forwarded to other systems.
pub const FORWARD: &str = "forward";
/// The queue of what could not be forwarded.
pub const FORWARD_DEAD_LETTERS: &str = "forward-dead-letters";
/// The queue of scheduled runs that could not be started.
pub const SCHEDULE_DEAD_LETTERS: &str = "schedule-dead-letters";

/// The name of the table.
pub const TABLE: &str = "messenger";
/// The partition of the index in which erasures wait.
const ERASURES: &str = "erasures";
const SECRET: &str = "messenger";
/// How long the event processor may run, as in `template.yaml`.
pub const PROCESSOR_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the API may run, as in `template.yaml`.
pub const API_TIMEOUT: Duration = Duration::from_secs(29);
/// How long the follow-ups may run, as in `template.yaml`.
pub const SWEEP_TIMEOUT: Duration = Duration::from_mins(5);
/// How long the forwarder may run, as in `template.yaml`.
pub const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long setup may run, as in `template.yaml`.
pub const SETUP_TIMEOUT: Duration = Duration::from_mins(5);
/// How often an event is received before its queue gives it up, as in `template.yaml`.
pub const EVENT_RECEIVES: u32 = 1000;
/// How often a forwarded event is received before its queue gives it up, as in `template.yaml`.
pub const FORWARD_RECEIVES: u32 = 12;
/// How long every queue keeps a message, as in `template.yaml`, except that of scheduled runs.
pub const QUEUE_RETENTION: Duration = Duration::from_hours(14 * 24);
/// How long the queue of scheduled runs keeps a message, as in `template.yaml`.
pub const SCHEDULE_RETENTION: Duration = Duration::from_hours(1);
/// How long a function may know an older secret.
const SECRET_NOTICED_WITHIN: Duration = Duration::from_mins(6);

const MINUTE_MILLIS: i64 = 60_000;

/// A Messenger backend and its world.
pub struct Platform {
    /// The clock of everything.
    pub clock: Arc<VirtualClock>,
    /// The stand-in for Meta.
    pub meta: Meta,
    /// The queues.
    pub sqs: Sqs,
    /// The secret.
    pub secrets_manager: SecretsManager,
    /// The door to AWS, which counts.
    pub aws: Aws,
    /// What every call of a function passes.
    pub gate: Arc<Gate>,
    /// The functions' metrics, in embedded metric format.
    pub metrics: Arc<Mutex<Vec<Value>>>,
    functions: Functions,
    store: Store,
    dynamodb: aws_sdk_dynamodb::Client,
    containers: Containers,
    options: Options,
    invocations: Mutex<u64>,
    secret_changed_at: Mutex<Option<Timestamp>>,
    servers: Mutex<JoinSet<()>>,
}

impl Platform {
    /// Starts everything.
    ///
    /// # Errors
    /// If a port is taken, or a part does not start.
    pub async fn start(options: Options) -> Result<Arc<Self>, Box<dyn Error>> {
        let clock = Arc::new(VirtualClock::standing_at(options.now));
        let now: Arc<dyn Fn() -> i64 + Send + Sync> = {
            let clock = Arc::clone(&clock);
            Arc::new(move || clock.now().millis())
        };
        let app =
            App { app_id: samples::APP_ID.to_owned(), app_secret: options.app_secret.clone() };
        let meta = Meta::new(Arc::clone(&now), app);
        for page in &options.pages {
            meta.add_page(page, &page_token(page), Product::Messenger);
        }
        if options.instagram.len() > options.pages.len() {
            return Err("each Instagram account is linked to a Page of its own".into());
        }
        for (page, account) in options.pages.iter().zip(&options.instagram) {
            meta.link_instagram(account, page);
        }
        for Application { app_id, app_secret, pages, .. } in &options.applications {
            meta.add_app(App { app_id: app_id.clone(), app_secret: app_secret.clone() });
            for page in pages {
                meta.add_page_of(app_id, page, &page_token(page), Product::Messenger);
            }
        }
        if !options.instagram_login.is_empty() {
            let (app_id, app_secret) = (samples::INSTAGRAM_APP_ID, samples::INSTAGRAM_APP_SECRET);
            meta.add_app(App { app_id: app_id.to_owned(), app_secret: app_secret.to_owned() });
            for account in &options.instagram_login {
                meta.add_instagram_of(app_id, account, &page_token(account));
            }
        }

        setup::add_sample_accounts(&meta, &options.pages);
        if let Some(page) = options.pages.first() {
            meta.add_app_scoped_id(samples::APP_SCOPED_ID, page, samples::PSID);
        }

        let beside = |distance: u16| {
            if options.port == 0 { 0 } else { options.port + distance }
        };
        let front_door = listen(options.port).await?;
        let dynamodb_door = listen(beside(1)).await?;
        let graph_door = listen(beside(2)).await?;
        let front_url = format!("http://{}", front_door.local_addr()?);
        let dynamodb_url = format!("http://{}", dynamodb_door.local_addr()?);
        let graph_url = format!("http://{}", graph_door.local_addr()?);

        let sqs = Sqs::new(now, front_url.clone());
        let secrets_manager = SecretsManager::new();
        secrets_manager.put(SECRET, &secret(&options).to_string());

        let queues = Queues::create(&sqs);
        let environment = environment(&options, &front_url, &graph_url, &queues);
        let metrics = Arc::new(Mutex::new(Vec::new()));
        let shared_clock: SharedClock = Arc::<VirtualClock>::clone(&clock);
        let telemetry = {
            let metrics = Arc::clone(&metrics);
            Telemetry::to(Arc::clone(&shared_clock), move |line| {
                metrics.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
            })
        };
        let containers = Containers { variables: environment, clock: shared_clock, telemetry };
        let functions = Functions::start(&containers, &options)?;
        let dynamodb = containers.environment().aws.dynamodb();
        let gate = Arc::<Gate>::default();
        let record = options.record.as_deref().map(Record::of).transpose()?.flatten();
        let services =
            Services { sqs: sqs.clone(), secrets_manager: secrets_manager.clone(), dynamodb_url };
        let aws = Aws::new(services, Arc::clone(&gate), record);
        let platform = Arc::new(Self {
            functions,
            store: Store::new(dynamodb.clone(), TABLE),
            dynamodb,
            meta: meta.clone(),
            clock,
            sqs,
            secrets_manager,
            aws,
            gate: Arc::clone(&gate),
            metrics,
            containers,
            options,
            invocations: Mutex::new(0),
            secret_changed_at: Mutex::new(None),
            servers: Mutex::new(JoinSet::new()),
        });
        let database = dynamodb::open(platform.options.data.as_deref(), &platform.clock)?;
        platform.spawn(dynamodb::serve(dynamodb_door, database));
        platform.spawn(meta.serve(graph_door, gate, std::future::pending()));
        platform.spawn(http::serve(front_door, Arc::downgrade(&platform)));
        dynamodb::create_table(&platform.dynamodb, TABLE).await?;
        platform.aws.take_calls();
        Ok(platform)
    }

    fn spawn(&self, server: impl Future<Output = ()> + Send + 'static) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).spawn(server);
    }

    /// The variables that a function needs to run beside the platform.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.containers.variables
    }

    /// What a further container of a function is started from.
    pub fn containers(&self) -> Containers {
        self.containers.clone()
    }

    /// The platform's address.
    pub fn url(&self) -> &str {
        &self.environment()["AWS_ENDPOINT_URL"]
    }

    /// How the platform was set up.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The table.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The event processor.
    pub fn processor(&self) -> &Processor {
        &self.functions.processor
    }

    /// What containers with a number and a clock of their own are started from: their calls pass the gate
    /// under their number.
    pub fn containers_of(&self, number: u64, clock: &SharedClock) -> Containers {
        let mut containers = self.containers();
        containers.clock = Arc::clone(clock);
        let name = format!("container-{number}");
        containers.variables.insert("AWS_LAMBDA_LOG_STREAM_NAME".to_owned(), name);
        for name in ["AWS_ENDPOINT_URL", "GRAPH_BASE_URL", "GRAPH_INSTAGRAM_BASE_URL"] {
            let url = containers.variables.entry(name.to_owned()).or_default();
            *url = format!("{url}/instances/{number}");
        }
        containers
    }

    /// Another set of functions, with a number, a clock and a memory of its own.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn instance(&self, number: u64, clock: &SharedClock) -> Result<Functions, Box<dyn Error>> {
        Ok(Functions::start(&self.containers_of(number, clock), &self.options)?)
    }

    /// Changes the secret, as its owner would.
    pub fn put_secret(&self, change: impl FnOnce(&mut Value)) {
        let mut contents = secret(&self.options);
        change(&mut contents);
        self.secrets_manager.put(SECRET, &contents.to_string());
        *self.secret_changed_at.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(self.clock.now());
    }

    /// Whether a run of the schedule may only now notice that the secret has changed.
    fn may_notice_secret(&self) -> bool {
        let changed_at = self.secret_changed_at.lock().unwrap_or_else(PoisonError::into_inner);
        changed_at.is_some_and(|at| self.clock.now().since(at) < SECRET_NOTICED_WITHIN)
    }

    /// Moves the clock on, and stops wherever something is due: the queue, and the schedule's
    /// minutes at which an entry waits, or a changed secret is not yet known everywhere.
    pub async fn advance_to(&self, instant: Timestamp) {
        loop {
            self.settle().await;
            let Some(next) = self.next_instant().await.filter(|next| *next <= instant) else {
                break;
            };
            self.clock.move_forward_to(next);
            self.settle().await;
            let is_due = self.next_due().await.is_some_and(|due| due <= self.clock.now());
            if (is_due || self.may_notice_secret())
                && let Err(error) = self.tick().await
            {
                tracing::error!(%error, "a sweep failed");
            }
        }
        self.clock.move_forward_to(instant);
        self.settle().await;
    }

    /// Moves the clock on by a span.
    pub async fn advance(&self, span: Duration) {
        Box::pin(self.advance_to(self.clock.now() + span)).await;
    }

    async fn next_instant(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        let next_minute = |at: Timestamp| {
            let at = at.millis().max(now.millis() + 1);
            Timestamp::from_millis(
                (at + MINUTE_MILLIS - 1).div_euclid(MINUTE_MILLIS) * MINUTE_MILLIS,
            )
        };
        let due = self.next_due().await.map(next_minute);
        let unnoticed = self.may_notice_secret().then(|| next_minute(now));
        let visible = [EVENTS, FORWARD].into_iter().filter_map(|name| {
            self.sqs.next_visible_at(name).map(Timestamp::from_millis).filter(|at| *at > now)
        });
        due.into_iter().chain(unnoticed).chain(visible).min()
    }

    /// When the next entry or erasure is due, ms since the epoch.
    pub async fn next_due(&self) -> Option<Timestamp> {
        let erasure = dynamodb::next_due(&self.dynamodb, TABLE, ERASURES).await;
        let mut next = erasure.unwrap_or_default().map(Timestamp::from_millis);
        for page in self.options.accounts() {
            let far = Timestamp::from_millis(i64::MAX);
            for class in [DueClass::People, DueClass::Bot] {
                let due = self.store.due(&page, class, far, None).await.unwrap_or_default();
                next = due.entries.first().map(|due| due.due_at).into_iter().chain(next).min();
            }
        }
        next
    }

    /// Deletes what the table's time to live has passed of.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn expire(&self) -> Result<(), Box<dyn Error>> {
        self.expire_only(|_| true).await.map(drop)
    }

    /// Deletes what the table's time to live has passed of and is `wanted`: the items as they were.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn expire_only(
        &self,
        wanted: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<Vec<Map<String, Value>>, Box<dyn Error>> {
        let now_secs = self.clock.now().millis() / 1000;
        dynamodb::expire(&self.dynamodb, TABLE, now_secs, wanted).await
    }

    /// Everything in the table.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn items(&self) -> Result<Vec<Map<String, Value>>, Box<dyn Error>> {
        dynamodb::items(&self.dynamodb, TABLE).await
    }

    /// The platform's state as JSON: conversations, outbox, requests to Graph, queues.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn state(&self) -> Result<Value, Box<dyn Error>> {
        let (mut conversations, mut outbox, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        for item in self.items().await? {
            match item.get("sk").and_then(Value::as_str) {
                Some("conversation") => conversations.push(item),
                Some("page") => pages.push(item),
                Some(sk) if sk.starts_with("outbox#") => outbox.push(item),
                _ => {}
            }
        }
        outbox.sort_by_key(|entry| entry.get("decided_at").and_then(Value::as_i64));
        let queue = |name: &str| {
            let messages = self.sqs.messages(name).into_iter().map(|message| {
                let reason = message.attributes.get("reason").map(|reason| reason.value.clone());
                json!({"body": message.body, "reason": reason, "receives": message.receive_count})
            });
            messages.collect::<Vec<_>>()
        };
        Ok(json!({
            "now": self.clock.now().to_string(),
            "conversations": conversations,
            "outbox": outbox,
            "pages": pages,
            "graph_requests": self.meta.requests(),
            "events_waiting": queue(EVENTS),
            "dead_letters": queue(DEAD_LETTERS),
            "unreadable": queue(UNREADABLE),
            "forwards_waiting": queue(FORWARD),
            "forward_dead_letters": queue(FORWARD_DEAD_LETTERS),
        }))
    }
}

async fn listen(port: u16) -> Result<TcpListener, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port} of 127.0.0.1: {error}; try --port").into())
}
