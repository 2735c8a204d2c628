//! What the cases share.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::store::Reason;
use serde_json::{Map, Value};
use simulator::meta::{GraphRequest, Outcome};
use simulator::platform::{Options, Platform};
pub(crate) use simulator::samples::{OTHER_PSID, PAGE, PSID};
use tracing::field::{Field, Visit};
use tracing::span;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

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
        for left in ["due_at", "due_page", "lease_until", "lease_by"] {
            assert!(!entry.contains_key(left), "{left} is left: {entry:?}");
        }
    }
    let waiting = conversation(platform, psid).await.get("waiting").cloned().unwrap_or_default();
    assert!(waiting.as_object().is_none_or(Map::is_empty), "still waiting: {waiting}");
    assert!(platform.sqs.is_empty(simulator::platform::EVENTS), "events are left in the queue");
    assert_eq!(platform.next_due().await, None);
}

/// What the functions write to their log.
#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        let of = |package: &str| metadata.target().starts_with(package);
        of("webhook") || of("setup") || of("shared")
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field}: {value:?}").unwrap();
    }
}
