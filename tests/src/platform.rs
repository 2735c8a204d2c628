//! The platform: the functions, and everything that they stand on, in one process.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use backend::aws::Aws as SdkClients;
use backend::settings::Variables;
use backend::signature::SIGNATURE_HEADER;
use backend::store::Store;
use backend::telemetry::Telemetry;
use event_processor::Processor;
use lambda_http::http::{Method, Request};
use lambda_http::{Body, Response};
use messenger::clock::{Clock, SharedClock, Timestamp};
use messenger::decision::Replies;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::aws::Aws;
use crate::clock::VirtualClock;
use crate::functions::Functions;
use crate::gate::Gate;
use crate::meta::{App, Meta, Platform as Product};
use crate::secrets_manager::SecretsManager;
use crate::sqs::{MessageAttribute, QueueSettings, Received, Sqs};
use crate::{dynamodb, http, samples, setup};

/// The queue of the events.
pub const EVENTS: &str = "events.fifo";
/// The queue of the events that were given up.
pub const DEAD_LETTERS: &str = "dead-letters.fifo";
/// The queue of what is signed but cannot be read.
pub const UNREADABLE: &str = "unreadable";
/// The queue of what is forwarded to other systems.
pub const FORWARD: &str = "forward";
/// The queue of what could not be forwarded.
pub const FORWARD_DEAD_LETTERS: &str = "forward-dead-letters";

const TABLE: &str = "messenger";
const SECRET: &str = "messenger";
/// As in `template.yaml`.
const PROCESSOR_TIMEOUT: Duration = Duration::from_secs(30);
const API_TIMEOUT: Duration = Duration::from_secs(29);
const SWEEP_TIMEOUT: Duration = Duration::from_secs(55);
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);
const FOURTEEN_DAYS: Duration = Duration::from_hours(24 * 14);
const MINUTE_MILLIS: i64 = 60_000;

/// How the platform is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The app's secret.
    pub app_secret: String,
    /// The token of the webhook's verification.
    pub verify_token: String,
    /// The Messenger Pages.
    pub pages: Vec<String>,
    /// The Instagram accounts.
    pub instagram: Vec<String>,
    /// The applications beside the default one.
    pub applications: Vec<Application>,
    /// The port of the webhook and of the platform's own paths; any if 0.
    pub port: u16,
    /// Where the table is kept; in memory if absent.
    pub data: Option<PathBuf>,
    /// Where the clock stands at first.
    pub now: Timestamp,
    /// What the bot says.
    pub replies: Replies,
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
            applications: Vec::new(),
            port: 0,
            data: None,
            now: samples::BEGINNING,
            replies: booking::reply,
            variables: BTreeMap::new(),
        }
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
    telemetry: Telemetry,
    store: Store,
    dynamodb: aws_sdk_dynamodb::Client,
    environment: BTreeMap<String, String>,
    options: Options,
    invocations: Mutex<u64>,
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
        for account in &options.instagram {
            meta.add_page(account, &page_token(account), Product::Instagram);
        }
        for Application { app_id, app_secret, pages, .. } in &options.applications {
            meta.add_app(App { app_id: app_id.clone(), app_secret: app_secret.clone() });
            for page in pages {
                meta.add_page_of(app_id, page, &page_token(page), Product::Messenger);
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

        let queues = create_queues(&sqs);
        let environment = environment(&options, &front_url, &graph_url, queues);
        let metrics = Arc::new(Mutex::new(Vec::new()));
        let shared_clock: SharedClock = Arc::<VirtualClock>::clone(&clock);
        let telemetry = {
            let metrics = Arc::clone(&metrics);
            Telemetry::to(Arc::clone(&shared_clock), move |line| {
                metrics.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
            })
        };
        let functions =
            Functions::start(environment.clone(), &shared_clock, &telemetry, options.replies)?;
        let vars = {
            let environment = environment.clone();
            Variables::from_lookup(move |name| environment.get(name).cloned())
        };
        let dynamodb = SdkClients::from_variables(&vars)?.dynamodb();
        let gate = Arc::<Gate>::default();
        let aws = Aws::new(sqs.clone(), secrets_manager.clone(), dynamodb_url, Arc::clone(&gate));
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
            telemetry,
            environment,
            options,
            invocations: Mutex::new(0),
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
        &self.environment
    }

    /// The platform's address.
    pub fn url(&self) -> &str {
        &self.environment["AWS_ENDPOINT_URL"]
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

    /// Another set of functions, with a number, a clock and a memory of its own: its calls pass the
    /// gate under its number.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn instance(&self, number: u64, clock: &SharedClock) -> Result<Functions, Box<dyn Error>> {
        let mut environment = self.environment.clone();
        for name in ["AWS_ENDPOINT_URL", "GRAPH_BASE_URL"] {
            let url = environment.entry(name.to_owned()).or_default();
            *url = format!("{url}/instances/{number}");
        }
        Functions::start(environment, clock, &self.telemetry, self.options.replies)
    }

    /// Changes the secret, as its owner would.
    pub fn put_secret(&self, change: impl FnOnce(&mut Value)) {
        let mut contents = secret(&self.options);
        change(&mut contents);
        self.secrets_manager.put(SECRET, &contents.to_string());
    }

    /// Invokes the webhook function.
    pub async fn invoke_webhook(&self, request: lambda_http::Request) -> Response<Body> {
        self.functions.webhook.handle(request).await
    }

    /// Invokes the API function.
    pub async fn invoke_api(&self, request: &lambda_http::Request) -> Response<Body> {
        let deadline = self.clock.now() + API_TIMEOUT;
        self.functions.api.handle(request, &self.invocation("api"), deadline).await
    }

    /// Posts a notification, signed as Meta does: the answer's status, 500 if the function dies.
    pub async fn post(&self, body: &[u8]) -> u16 {
        self.meta.observe(body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.webhook_path(&self.meta.app_notified_by(body)))
            .header(SIGNATURE_HEADER, self.meta.sign(body))
            .body(Body::Binary(body.to_vec()));
        match request {
            Ok(request) => tokio::select! {
                answer = self.functions.webhook.handle(request) => answer.status().as_u16(),
                () = self.gate.crashed() => 500,
            },
            Err(_) => 400,
        }
    }

    /// Where an app's notifications go.
    fn webhook_path(&self, app_id: &str) -> String {
        let mut applications = self.options.applications.iter();
        let application = applications.find(|application| application.app_id == app_id);
        application
            .map_or("/webhook".to_owned(), |application| format!("/{}/webhook", application.key))
    }

    /// Posts a notification and lets everything that follows from it happen now.
    pub async fn deliver(&self, body: &[u8]) -> u16 {
        let status = self.post(body).await;
        self.settle().await;
        status
    }

    /// Invokes the event processor with a batch, under the present time: the ids of the messages
    /// that are to be delivered again, all of them if it dies.
    pub async fn invoke_processor(&self, batch: SqsEvent) -> Vec<String> {
        let all = batch.records.iter().filter_map(|message| message.message_id.clone()).collect();
        let deadline = self.clock.now() + PROCESSOR_TIMEOUT;
        let invocation = self.invocation("processor");
        tokio::select! {
            answer = self.functions.processor.handle(batch, &invocation, deadline) => {
                let failures = answer.batch_item_failures.into_iter();
                failures.map(|failure| failure.item_identifier).collect()
            }
            () = self.gate.crashed() => all,
        }
    }

    /// Invokes the follow-ups function as the schedule does, with little time: until `deadline`.
    ///
    /// # Errors
    /// What the function answers with.
    pub async fn sweep_until(&self, deadline: Timestamp) -> Result<Value, String> {
        let invocation = self.invocation("follow-ups");
        let tick = json!({"source": "schedule"});
        let answer = self.functions.follow_ups.handle(tick, &invocation, deadline).await;
        answer.map_err(|error| error.to_string())
    }

    /// Invokes the follow-ups function.
    ///
    /// # Errors
    /// What the function answers with, or that it died.
    pub async fn invoke_follow_ups(&self, payload: Value) -> Result<Value, String> {
        let deadline = self.clock.now() + SWEEP_TIMEOUT;
        let invocation = self.invocation("follow-ups");
        let answer = tokio::select! {
            answer = self.functions.follow_ups.handle(payload, &invocation, deadline) => {
                answer.map_err(|error| error.to_string())
            }
            () = self.gate.crashed() => Err("the function died".to_owned()),
        };
        self.settle().await;
        answer
    }

    /// Invokes the follow-ups function as the schedule does.
    ///
    /// # Errors
    /// What the function answers with.
    pub async fn tick(&self) -> Result<Value, String> {
        self.invoke_follow_ups(json!({"source": "schedule"})).await
    }

    /// Lets everything happen that can happen at this instant: Meta's webhooks and the queue.
    pub async fn settle(&self) {
        loop {
            let webhooks = self.meta.pending_webhooks();
            let received = self.sqs.receive(EVENTS, 10);
            let forwards = self.sqs.receive(FORWARD, 10);
            if webhooks.is_empty() && received.is_empty() && forwards.is_empty() {
                return;
            }
            for body in webhooks {
                self.post(&body).await;
            }
            if !received.is_empty() {
                self.process(received).await;
            }
            if !forwards.is_empty() {
                self.forward(forwards).await;
            }
        }
    }

    async fn process(&self, received: Vec<Received>) {
        let failed = self.invoke_processor(batch(&received)).await;
        for message in received.iter().filter(|message| !failed.contains(&message.message_id)) {
            self.sqs.delete(EVENTS, &message.receipt_handle);
        }
    }

    /// Invokes the forwarder with a batch, under the present time: the ids of the messages that stay,
    /// all of them if it dies or is not there.
    pub async fn invoke_forwarder(&self, batch: SqsEvent) -> Vec<String> {
        let all = batch.records.iter().filter_map(|message| message.message_id.clone()).collect();
        let Some(forwarder) = &self.functions.forwarder else {
            return all;
        };
        tokio::select! {
            answer = forwarder.handle(batch, self.clock.now() + FORWARD_TIMEOUT) => {
                let failures = answer.batch_item_failures.into_iter();
                failures.map(|failure| failure.item_identifier).collect()
            }
            () = self.gate.crashed() => all,
        }
    }

    async fn forward(&self, received: Vec<Received>) {
        let failed = self.invoke_forwarder(batch(&received)).await;
        for message in received.iter().filter(|message| !failed.contains(&message.message_id)) {
            self.sqs.delete(FORWARD, &message.receipt_handle);
        }
    }

    /// Moves the clock on, and stops wherever something is due: the queue, and the schedule's
    /// minutes at which an entry waits.
    pub async fn advance_to(&self, instant: Timestamp) {
        loop {
            self.settle().await;
            let Some(next) = self.next_instant().await.filter(|next| *next <= instant) else {
                break;
            };
            self.clock.move_forward_to(next);
            self.settle().await;
            if self.next_due().await.is_some_and(|due| due <= self.clock.now())
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
        self.advance_to(self.clock.now() + span).await;
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
        let visible = [EVENTS, FORWARD].into_iter().filter_map(|name| {
            self.sqs.next_visible_at(name).map(Timestamp::from_millis).filter(|at| *at > now)
        });
        due.into_iter().chain(visible).min()
    }

    /// When the next entry is due, ms since the epoch.
    pub async fn next_due(&self) -> Option<Timestamp> {
        let mut next = None;
        let applications = self.options.applications.iter();
        let pages = applications.flat_map(|application| &application.pages);
        for page in pages.chain(&self.options.pages).chain(&self.options.instagram) {
            let far = Timestamp::from_millis(i64::MAX);
            let due = self.store.due(page, far, None).await.unwrap_or_default();
            next = due.entries.first().map(|due| due.due_at).into_iter().chain(next).min();
        }
        next
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

    fn invocation(&self, function: &str) -> String {
        let mut count = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        format!("{function}-{count}")
    }
}

async fn listen(port: u16) -> Result<TcpListener, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port} of 127.0.0.1: {error}; try --port").into())
}

/// What the functions are told of the platform.
fn environment(
    options: &Options,
    front_url: &str,
    graph_url: &str,
    [dead_letters, unreadable, events, forward]: [String; 4],
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "simulator"),
        ("AWS_SECRET_ACCESS_KEY", "simulator"),
        ("AWS_ENDPOINT_URL", front_url),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("TABLE_NAME", TABLE),
        ("SECRET_ID", SECRET),
        ("QUEUE_URL", &events),
        ("DEAD_LETTER_QUEUE_URL", &dead_letters),
        ("UNREADABLE_QUEUE_URL", &unreadable),
        ("FORWARD_QUEUE_URL", &forward),
        ("GRAPH_BASE_URL", graph_url),
        ("API_AUTH", "key"),
        ("WEBHOOK_URL", &format!("{front_url}/webhook")),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    environment.extend(options.variables.clone());
    environment
}

fn create_queues(sqs: &Sqs) -> [String; 4] {
    let fifo = |name: &str, dead_letter| QueueSettings {
        name: name.to_owned(),
        fifo: true,
        visibility: PROCESSOR_TIMEOUT * 6,
        retention: FOURTEEN_DAYS,
        dead_letter,
        ..QueueSettings::default()
    };
    let standard = |name: &str| QueueSettings {
        name: name.to_owned(),
        retention: FOURTEEN_DAYS,
        ..QueueSettings::default()
    };
    sqs.create_queue(standard(FORWARD_DEAD_LETTERS));
    let forward = QueueSettings {
        visibility: FORWARD_TIMEOUT * 6,
        dead_letter: Some((FORWARD_DEAD_LETTERS.to_owned(), 12)),
        ..standard(FORWARD)
    };
    [
        sqs.create_queue(fifo(DEAD_LETTERS, None)),
        sqs.create_queue(standard(UNREADABLE)),
        sqs.create_queue(fifo(EVENTS, Some((DEAD_LETTERS.to_owned(), 1000)))),
        sqs.create_queue(forward),
    ]
}

fn secret(options: &Options) -> Value {
    let applications = options.applications.iter();
    let applications = applications.map(|one| (one.key.clone(), one.to_secret()));
    json!({
        "app_id": samples::APP_ID,
        "app_secret": options.app_secret,
        "verify_token": options.verify_token,
        "forward_secret": samples::FORWARD_SECRET,
        "pages": page_tokens(&[&options.pages[..], &options.instagram].concat()),
        "api_key": samples::API_KEY,
        "applications": applications.collect::<Map<_, _>>(),
    })
}

/// What Lambda's poller makes of received messages.
pub fn batch(received: &[Received]) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = received.iter().map(record).collect();
    event
}

fn record(message: &Received) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(message.message_id.clone());
    record.receipt_handle = Some(message.receipt_handle.clone());
    record.body = Some(message.body.clone());
    record.event_source = Some("aws:sqs".to_owned());
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    record.attributes = HashMap::from([
        ("ApproximateReceiveCount".to_owned(), message.receive_count.to_string()),
        ("SentTimestamp".to_owned(), message.sent_at_ms.to_string()),
        ("MessageGroupId".to_owned(), optional(&message.group_id)),
        ("MessageDeduplicationId".to_owned(), optional(&message.deduplication_id)),
        ("SequenceNumber".to_owned(), optional(&message.sequence_number)),
    ]);
    let attribute = |(name, value): (&String, &MessageAttribute)| {
        let mut attribute = SqsMessageAttribute::default();
        attribute.data_type = Some("String".to_owned());
        attribute.string_value = Some(value.value.clone());
        (name.clone(), attribute)
    };
    record.message_attributes = message.attributes.iter().map(attribute).collect();
    record
}
