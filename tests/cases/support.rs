//! What the cases share.

use std::fmt::{Debug, Write};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::store::Reason;
use messenger::clock::{Clock, Timestamp};
use serde_json::{Map, Value};
use simulator::clock::VirtualClock;
use simulator::meta::{GraphRequest, Outcome};
pub(crate) use simulator::platform::PROCESSOR_TIMEOUT;
use simulator::platform::{Options, Platform};
pub(crate) use simulator::samples::{OTHER_PSID, PAGE, PSID};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Level, span};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);
/// How long the queue hides an event that an event processor has received.
pub(crate) const VISIBILITY: Duration = PROCESSOR_TIMEOUT.saturating_mul(6);

pub(crate) async fn platform() -> Arc<Platform> {
    Platform::start(Options::default()).await.unwrap()
}

pub(crate) async fn platform_with(change: impl FnOnce(&mut Options)) -> Arc<Platform> {
    let mut options = Options::default();
    change(&mut options);
    Platform::start(options).await.unwrap()
}

/// What was delivered to a person: label and text, in order.
pub(crate) fn delivered(platform: &Platform, psid: &str) -> Vec<String> {
    let requests = platform.meta.delivered(PAGE, psid);
    requests
        .iter()
        .filter(|r| matches!(r.outcome, Outcome::Delivered { .. }))
        .map(label_and_text)
        .collect()
}

/// Everything that reached Graph for a person, delivered or not.
pub(crate) fn requested(platform: &Platform, psid: &str) -> Vec<GraphRequest> {
    let requests = platform.meta.requests().into_iter();
    requests.filter(|request| request.psid.as_deref() == Some(psid)).collect()
}

fn label_and_text(request: &GraphRequest) -> String {
    let label = request.tag.as_deref().or(request.messaging_type.as_deref()).unwrap_or_default();
    format!("{label} {}", request.message["text"].as_str().unwrap_or("…"))
}

pub(crate) async fn conversation(platform: &Platform, psid: &str) -> Map<String, Value> {
    let pk = format!("{PAGE}#{psid}");
    let mut items = platform.items().await.unwrap().into_iter();
    items.find(|item| item["pk"] == *pk && item["sk"] == "conversation").unwrap_or_default()
}

/// The outbox entries of a person, in the order of their decisions.
pub(crate) async fn entries(platform: &Platform, psid: &str) -> Vec<Map<String, Value>> {
    let pk = format!("{PAGE}#{psid}");
    let items = platform.items().await.unwrap().into_iter();
    let is_entry = |item: &Map<String, Value>| {
        item["pk"] == *pk && item["sk"].as_str().is_some_and(|sk| sk.starts_with("outbox#"))
    };
    let mut entries: Vec<_> = items.filter(is_entry).collect();
    entries.sort_by_key(|entry| entry["decided_at"].as_i64());
    entries
}

/// How each entry ended: status, and reason if there is one.
pub(crate) async fn ends(platform: &Platform, psid: &str) -> Vec<String> {
    let entries = entries(platform, psid).await;
    let end = |entry: &Map<String, Value>| {
        let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
        let Ok(reason) = reason.parse::<Reason>();
        format!("{} {}", entry["status"].as_str().unwrap(), reason.code()).trim().to_owned()
    };
    entries.iter().map(end).collect()
}

/// How often a metric was counted.
pub(crate) fn counted(platform: &Platform, metric: &str) -> u64 {
    platform.metrics.lock().unwrap().iter().filter_map(|line| line[metric].as_u64()).sum()
}

/// Nothing waits, nothing is held, every entry has ended and will expire.
pub(crate) async fn assert_no_leftovers(platform: &Platform, psid: &str) {
    for entry in entries(platform, psid).await {
        assert_ne!(entry["status"], "open", "{entry:?}");
        assert!(entry.contains_key("ended_at") && entry.contains_key("expires_at"), "{entry:?}");
        for left in ["due_at", "lease_until", "lease_by"] {
            assert!(!entry.contains_key(left), "{left} is left: {entry:?}");
        }
    }
    let waiting = conversation(platform, psid).await.get("waiting").cloned().unwrap_or_default();
    assert!(waiting.as_object().is_none_or(Map::is_empty), "still waiting: {waiting}");
    assert!(platform.sqs.is_empty(simulator::platform::EVENTS), "events are left in the queue");
    assert_eq!(platform.next_due().await, None);
}

/// What is logged, a line for each event and each span: its target, then its fields.
#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<String>>);

/// The stand-ins run in the same process, and are no part of what is deployed.
const STAND_INS: [&str; 2] = ["simulator", "dynoxide"];

/// The crates of the project, of which every level is heard.
const OURS: [&str; 9] = [
    "api",
    "backend",
    "event_processor",
    "follow_ups",
    "forward",
    "messenger",
    "setup",
    "shared",
    "webhook",
];

/// Hears everything that this thread logs, for as long as what is returned beside the log is kept.
pub(crate) fn listen() -> (Log, (DefaultGuard, tracing::Dispatch)) {
    let log = Log::default();
    // Where there is one subscriber only, what another test's thread logs first is never logged here.
    let another = tracing::Dispatch::new(log.clone());
    let guard = tracing::subscriber::set_default(log.clone());
    (log, (guard, another))
}

impl Log {
    fn write(&self, metadata: &tracing::Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(metadata.target().to_owned());
        record(&mut line);
        writeln!(self.0.lock().unwrap(), "{}", line.0).unwrap();
    }
}

impl tracing::Subscriber for Log {
    /// Everything that a function logs at the finest level that the template offers, whichever crate
    /// it comes from.
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        let of = metadata.target().split("::").next().unwrap_or_default();
        !STAND_INS.contains(&of) && (*metadata.level() <= Level::DEBUG || OURS.contains(&of))
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.write(span.metadata(), |line| span.record(line));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line("a span".to_owned());
        values.record(&mut line);
        writeln!(self.0.lock().unwrap(), "{}", line.0).unwrap();
    }

    fn event(&self, event: &tracing::Event<'_>) {
        self.write(event.metadata(), |line| event.record(line));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A value of several lines stays one line of the log.
        let value = format!("{value:?}").replace('\n', "\\n");
        write!(self.0, " {field}: {value}").unwrap();
    }
}

/// The clock of a machine, so many milliseconds ahead of the others.
#[derive(Debug)]
pub(crate) struct Off(pub(crate) Arc<VirtualClock>, pub(crate) i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now().millis() + self.1)
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(span)
    }
}
