//! What the calls to the table tell, and what the table drops by itself.

use std::time::Duration;

use backend::store::{ConversationKey, EntryKey, StepKey};
use messenger::clock::Timestamp;
use messenger::event::digest;
use serde_json::{Map, Value};

use super::{Work, World};
use crate::gate::Call;
use crate::guard::MEMO;
use crate::search::history::{Kept, Put};
use crate::sqs::Received;

/// How late the table may drop what has expired. AWS says within a few days.
const LATEST: u64 = 2 * 24 * 60 * 60;

/// How often it drops something.
const DROPS_EVERY: Duration = Duration::from_hours(6);

impl World {
    /// Takes note of a call to the table that is carried out.
    pub(super) fn observe(&mut self, call: &Call, invocation: u64) {
        let request: Value = serde_json::from_str(&call.body).unwrap_or_default();
        if call.target.ends_with(".DeleteMessage") {
            return self.note_deleted(invocation, &request);
        }
        if !call.target.starts_with("DynamoDB") {
            return;
        }
        let key = if request["Item"].is_object() { &request["Item"] } else { &request["Key"] };
        let (Some(pk), Some(sk)) = (key["pk"]["S"].as_str(), key["sk"]["S"].as_str()) else {
            return;
        };
        let Some(conversation_key) = conversation_key(pk) else { return };
        let point = self.point();
        if sk.starts_with(MEMO) && request["Item"].is_object() {
            let began = self.running.iter().find(|running| running.number == invocation);
            let began = began.map_or(point, |running| running.began);
            self.history.kept.push(Kept { key: format!("{pk} {sk}"), point, began });
        }
        if sk == "conversation" {
            let values = &request["ExpressionAttributeValues"];
            if let Some(entry) = values[":for"]["S"].as_str() {
                let id = entry.to_owned();
                let entry = EntryKey { conversation_key: conversation_key.clone(), id };
                self.thinking.insert((invocation, pk.to_owned()), entry);
            }
            self.asked.insert((invocation, pk.to_owned()), point);
            if let Some(erased_at) = values[":erased"]["N"].as_str().and_then(|at| at.parse().ok())
            {
                let erased_at = Timestamp::from_millis(erased_at);
                self.marking.push((conversation_key, erased_at, invocation, point));
            }
        } else if let Some(id) = sk.strip_prefix("outbox#") {
            let entry = EntryKey { conversation_key, id: id.to_owned() };
            let claimed = claimed(&request).into_iter();
            let claims = claimed.map(|step| (invocation, StepKey { entry: entry.clone(), step }));
            self.history.claims.extend(claims);
            if request["Item"].is_object() {
                let checked = self.asked.get(&(invocation, pk.to_owned())).copied();
                self.history.put.insert(entry, Put { point, by: invocation, checked });
            }
        }
    }

    /// A message that leaves the queue before its batch is answered is done, whatever becomes of the batch.
    fn note_deleted(&mut self, invocation: u64, request: &Value) {
        let point = self.point();
        let running = self.running.iter().find(|running| running.number == invocation);
        let Some(Work::Batch(received)) = running.map(|running| &running.work) else { return };
        let is_deleted = |message: &&Received| request["ReceiptHandle"] == message.receipt_handle;
        if let Some(message) = received.iter().find(is_deleted) {
            let body = message.body.clone();
            self.history.processed(&body, true, point);
        }
    }

    /// Takes note of the marks of erasures that were written; one that meets something newer is not.
    pub(super) async fn note_marks(&mut self) {
        if self.marking.is_empty() {
            return;
        }
        let Ok(items) = self.platform.items().await else { return };
        for (conversation_key, erased_at, invocation, point) in std::mem::take(&mut self.marking) {
            let ConversationKey { page_id, person } = &conversation_key;
            let pk = format!("{page_id}#{person}");
            let is_written = items.iter().any(|item| {
                item["pk"] == *pk
                    && item["sk"] == "conversation"
                    && item.get("erased_at").and_then(Value::as_i64) == Some(erased_at.millis())
            });
            if is_written {
                self.history.marked(conversation_key, erased_at, invocation, point);
            }
        }
    }

    /// Lets the table drop what has expired: each item up to two days late.
    pub(super) async fn drop_expired(&mut self) {
        let now = self.now();
        if !self.weather.expires || now < self.dropped_at + DROPS_EVERY {
            return;
        }
        self.dropped_at = now;
        let is_dropped = |item: &Map<String, Value>| {
            let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
            let expires_at = item.get("expires_at").and_then(Value::as_i64).unwrap_or(i64::MAX);
            let late = digest(&[text("pk"), text("sk")]);
            let late = u64::from_str_radix(&late[..8], 16).unwrap_or_default() % LATEST;
            expires_at.saturating_add(i64::try_from(late).unwrap_or(0)) <= now.millis() / 1000
        };
        if let Ok(dropped) = self.platform.expire_only(is_dropped).await {
            if !dropped.is_empty() {
                self.tell(format!("the table drops {} items", dropped.len()));
            }
            self.history.expired.extend(dropped);
        }
    }
}

fn conversation_key(pk: &str) -> Option<ConversationKey> {
    let (page_id, person) = pk.split_once('#')?;
    let is_page = page_id.bytes().all(|byte| byte.is_ascii_digit());
    let person = person.parse().ok().filter(|_| is_page)?;
    Some(ConversationKey { page_id: page_id.to_owned(), person })
}

/// The steps that a request marks as being sent.
fn claimed(request: &Value) -> Vec<usize> {
    let steps = request["Item"]["steps"]["L"].as_array().into_iter().flatten().enumerate();
    let sending =
        |(step, it): (usize, &Value)| (it["M"]["state"]["S"] == "sending").then_some(step);
    let changes = request["ExpressionAttributeValues"].as_object().into_iter().flatten();
    let begun = |(name, value): (&String, &Value)| {
        name.strip_prefix(":state").filter(|_| value["S"] == "sending")?.parse().ok()
    };
    steps.filter_map(sending).chain(changes.filter_map(begun)).collect()
}
