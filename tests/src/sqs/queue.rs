//! What lies in the queues and what becomes of it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use super::attributes::{attributes_md5, checked_attributes};
use super::protocol::{Entry, Outgoing, Refusal};
use super::{
    ACCOUNT, Fault, MAX_VISIBILITY_S, MessageAttribute, QueueSettings, Received, StoredView, arn,
    hex,
};

/// Counted from the first accepted send; a refused duplicate does not prolong it.
pub(super) const DEDUPLICATION_INTERVAL_MS: i64 = 5 * 60 * 1000;
const MAX_BATCH_BYTES: usize = 1_048_576;

/// Real sequence numbers are of this size and not consecutive; nobody may rely on more than
/// their order.
const SEQUENCE_START: u128 = 18_849_496_460_467_696_128;
const SEQUENCE_STEP: u128 = 256;

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<String, Queue>,
    /// Makes ids, receipt handles and sequence numbers: the same run makes the same ones.
    pub(super) serial: u64,
    pub(super) faults: VecDeque<Fault>,
    pub(super) down: bool,
    pub(super) calls: BTreeMap<String, u64>,
}

impl State {
    pub(super) fn queue_at(
        &mut self,
        url: &str,
        now: i64,
    ) -> Result<(&mut Queue, &mut u64), Refusal> {
        let name = url
            .rsplit_once('/')
            .filter(|(place, _)| place.ends_with(&format!("/{ACCOUNT}")))
            .map_or("", |(_, name)| name);
        let queue = self.queues.get_mut(name).ok_or_else(Refusal::no_such_queue)?;
        queue.drop_expired(now);
        Ok((queue, &mut self.serial))
    }

    pub(super) fn receive(
        &mut self,
        name: &str,
        max: usize,
        visibility_ms: Option<i64>,
        now: i64,
    ) -> Vec<Received> {
        let Some(mut queue) = self.queues.remove(name) else {
            return Vec::new();
        };
        queue.drop_expired(now);
        let dead_letter = queue.settings.dead_letter.clone();
        // The queue itself is out of the map here, so one that names itself has no such queue and
        // keeps its messages.
        let mut dead_letter =
            dead_letter.and_then(|(target, limit)| Some((self.queues.get_mut(&target)?, limit)));

        let visibility_ms = visibility_ms.unwrap_or_else(|| millis(queue.settings.visibility));
        let mut received = Vec::new();
        let mut dead = Vec::new();
        for index in queue.receivable(now) {
            if received.len() == max {
                break;
            }
            let message = &mut queue.messages[index];
            match &dead_letter {
                Some((_, limit)) if message.receives >= *limit => dead.push(index),
                _ => {
                    self.serial += 1;
                    received.push(message.receive(name, self.serial, visibility_ms, now));
                }
            }
        }
        if let Some((target, _)) = &mut dead_letter {
            for message in queue.take(&dead) {
                target.adopt(message, name, &mut self.serial, now);
            }
        }
        self.queues.insert(name.to_owned(), queue);
        received
    }
}

pub(super) struct Queue {
    pub(super) settings: QueueSettings,
    created_at: i64,
    /// In sending order. A message keeps its place while in flight, so that it is the first of its
    /// group again when it comes back.
    pub(super) messages: Vec<Message>,
    /// What was accepted within the deduplication interval, by group and deduplication id.
    accepted: HashMap<(String, String), Accepted>,
}

pub(super) struct Message {
    id: String,
    body: String,
    attributes: BTreeMap<String, MessageAttribute>,
    group_id: Option<String>,
    deduplication_id: Option<String>,
    sequence_number: Option<String>,
    sent_at: i64,
    first_received_at: Option<i64>,
    last_received_at: i64,
    /// Receives in this queue, which decide about the dead-letter queue.
    receives: u32,
    /// Receives in the queues that it was in before: what receivers see is the sum.
    receives_before: u32,
    visible_at: i64,
    receipt_handle: Option<String>,
    dead_letter_source: Option<String>,
}

struct Accepted {
    at: i64,
    message_id: String,
    sequence_number: String,
}

/// What a receipt handle stands for now.
enum Holding {
    /// The message at this index, not received again since.
    Current(usize),
    /// A message that has been received again since.
    Superseded,
    /// A message that is no longer there.
    Gone,
}

impl Queue {
    pub(super) fn new(settings: QueueSettings, now: i64) -> Self {
        Self { settings, created_at: now, messages: Vec::new(), accepted: HashMap::new() }
    }

    pub(super) fn send(
        &mut self,
        message: &Outgoing,
        serial: &mut u64,
        now: i64,
    ) -> Result<Value, Refusal> {
        let delay_ms = message.check(&self.settings)?;
        let attributes = checked_attributes(&message.message_attributes)?;
        let key = self.deduplication_key(message)?;
        let body_md5 = hex(&Md5::digest(message.message_body.as_bytes()));
        let mut sent = json!({ "MD5OfMessageBody": body_md5 });
        if !attributes.is_empty() {
            sent["MD5OfMessageAttributes"] = json!(attributes_md5(&attributes));
        }

        self.accepted.retain(|_, accepted| now - accepted.at < DEDUPLICATION_INTERVAL_MS);
        if let Some(first) = key.as_ref().and_then(|key| self.accepted.get(key)) {
            sent["MessageId"] = json!(first.message_id);
            sent["SequenceNumber"] = json!(first.sequence_number);
            return Ok(sent);
        }

        let id = next_message_id(serial);
        sent["MessageId"] = json!(id);
        let mut sequence_number = None;
        if let Some(key) = key {
            let number = next_sequence_number(serial);
            sent["SequenceNumber"] = json!(number);
            let accepted =
                Accepted { at: now, message_id: id.clone(), sequence_number: number.clone() };
            self.accepted.insert(key, accepted);
            sequence_number = Some(number);
        }
        self.messages.push(Message {
            id,
            body: message.message_body.clone(),
            attributes,
            group_id: message.message_group_id.clone(),
            deduplication_id: message.message_deduplication_id.clone(),
            sequence_number,
            sent_at: now,
            first_received_at: None,
            last_received_at: now,
            receives: 0,
            receives_before: 0,
            visible_at: now.saturating_add(delay_ms),
            receipt_handle: None,
            dead_letter_source: None,
        });
        Ok(sent)
    }

    /// The group and the deduplication id, which a FIFO queue requires and a standard queue does
    /// not know.
    fn deduplication_key(&self, message: &Outgoing) -> Result<Option<(String, String)>, Refusal> {
        let group = message.message_group_id.clone();
        let id = message.message_deduplication_id.clone();
        if !self.settings.fifo {
            return match id {
                None => Ok(None),
                Some(_) => Err(Refusal::invalid(
                    "The request include parameter that is not valid for this queue type",
                )),
            };
        }
        let group = group.ok_or_else(|| Refusal::missing("MessageGroupId"))?;
        let id = id.ok_or_else(Refusal::missing_deduplication_id)?;
        Ok(Some((group, id)))
    }

    /// What refuses a batch as a whole, beyond the form of its entries.
    pub(super) fn check_outgoing(&self, entries: &[Entry<Outgoing>]) -> Result<(), Refusal> {
        if self.settings.fifo {
            for entry in entries {
                if entry.content.message_deduplication_id.is_none() {
                    return Err(Refusal::missing_deduplication_id());
                }
                // Not the error of a single send: the real service differs here too.
                if entry.content.message_group_id.is_none() {
                    return Err(Refusal::invalid(
                        "The request must contain the parameter MessageGroupId.",
                    ));
                }
            }
        }
        let bytes: usize = entries.iter().map(|e| e.content.bytes()).sum();
        if bytes > MAX_BATCH_BYTES {
            return Err(Refusal::sqs(
                "BatchRequestTooLong",
                "AWS.SimpleQueueService.BatchRequestTooLong",
                format!(
                    "Batch requests cannot be longer than {MAX_BATCH_BYTES} bytes. \
                     You have sent {bytes} bytes."
                ),
            ));
        }
        Ok(())
    }

    /// The indexes of what a receive call may hand out, in the order in which it does.
    fn receivable(&self, now: i64) -> Vec<usize> {
        if !self.settings.fifo {
            return (0..self.messages.len())
                .filter(|&index| self.messages[index].visible_at <= now)
                .collect();
        }
        let in_flight: HashSet<&str> = self
            .messages
            .iter()
            .filter(|message| message.visible_at > now)
            .map(Message::group)
            .collect();
        // As many messages of one group as possible before the next group: the groups in the order
        // of their first messages.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (index, message) in self.messages.iter().enumerate() {
            if in_flight.contains(message.group()) {
                continue;
            }
            let place = *places.entry(message.group()).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(index);
        }
        groups.concat()
    }

    pub(super) fn next_receivable_at(&self) -> Option<i64> {
        if !self.settings.fifo {
            return self
                .messages
                .iter()
                .filter(|message| message.visible_at < self.expires_at(message))
                .map(|message| message.visible_at)
                .min();
        }
        // A group is free when its last message in flight is back or has expired, and worth
        // receiving when it still holds one by then.
        let mut groups: HashMap<&str, (i64, i64)> = HashMap::new();
        for message in &self.messages {
            let expires_at = self.expires_at(message);
            let free_at = message.visible_at.min(expires_at);
            let (group_free_at, group_expires_at) =
                groups.entry(message.group()).or_insert((free_at, expires_at));
            *group_free_at = free_at.max(*group_free_at);
            *group_expires_at = expires_at.max(*group_expires_at);
        }
        groups
            .into_values()
            .filter(|(free_at, expires_at)| free_at < expires_at)
            .map(|(free_at, _)| free_at)
            .min()
    }

    pub(super) fn delete(&mut self, receipt_handle: &str, now: i64) -> Result<bool, Refusal> {
        match self.holding(receipt_handle, now)? {
            Holding::Current(index) => {
                self.messages.remove(index);
                Ok(true)
            }
            Holding::Superseded | Holding::Gone => Ok(false),
        }
    }

    pub(super) fn change_visibility(
        &mut self,
        receipt_handle: &str,
        visibility_ms: i64,
        now: i64,
    ) -> Result<(), Refusal> {
        let Holding::Current(index) = self.holding(receipt_handle, now)? else {
            return Err(Refusal::invalid(format!(
                "Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: Message \
                 does not exist or is not available for visibility timeout change."
            )));
        };
        let message = &mut self.messages[index];
        let visible_at = now.saturating_add(visibility_ms);
        if visible_at - message.last_received_at > MAX_VISIBILITY_S * 1000 {
            return Err(Refusal::invalid(format!(
                "Total VisibilityTimeout for the message is beyond the limit \
                 [{MAX_VISIBILITY_S} seconds]"
            )));
        }
        message.visible_at = visible_at;
        Ok(())
    }

    fn holding(&self, receipt_handle: &str, now: i64) -> Result<Holding, Refusal> {
        let message_id = handle_message_id(receipt_handle, &self.settings.name)
            .ok_or_else(Refusal::receipt_handle_is_invalid)?;
        let Some(index) = self.messages.iter().position(|m| m.id == message_id) else {
            return Ok(Holding::Gone);
        };
        let message = &self.messages[index];
        let superseded = message.receipt_handle.as_deref() != Some(receipt_handle);
        // The group may be someone else's by now, so a FIFO queue refuses what a standard queue
        // tolerates.
        if self.settings.fifo && (superseded || message.visible_at <= now) {
            return Err(Refusal::invalid(format!(
                "Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: The \
                 receipt handle has expired."
            )));
        }
        Ok(if superseded { Holding::Superseded } else { Holding::Current(index) })
    }

    /// Takes out the messages at these indexes, in sending order.
    fn take(&mut self, indexes: &[usize]) -> Vec<Message> {
        let chosen: HashSet<usize> = indexes.iter().copied().collect();
        let (taken, kept) = std::mem::take(&mut self.messages)
            .into_iter()
            .enumerate()
            .partition::<Vec<_>, _>(|(index, _)| chosen.contains(index));
        self.messages = kept.into_iter().map(|(_, message)| message).collect();
        taken.into_iter().map(|(_, message)| message).collect()
    }

    /// Takes over a message from the queue that this is the dead-letter queue of.
    fn adopt(&mut self, mut message: Message, source: &str, serial: &mut u64, now: i64) {
        message.sequence_number = None;
        // Retention counts from the move on FIFO queues only; elsewhere it goes on from the send,
        // which is why a dead-letter queue should keep its messages longer.
        if self.settings.fifo {
            message.sequence_number = Some(next_sequence_number(serial));
            message.sent_at = now;
        }
        message.receives_before += message.receives;
        message.receives = 0;
        message.visible_at = now;
        message.dead_letter_source = Some(arn(source));
        self.messages.push(message);
    }

    fn expires_at(&self, message: &Message) -> i64 {
        message.sent_at.saturating_add(millis(self.settings.retention))
    }

    pub(super) fn drop_expired(&mut self, now: i64) {
        let retention_ms = millis(self.settings.retention);
        self.messages.retain(|message| now < message.sent_at.saturating_add(retention_ms));
    }

    pub(super) fn attributes(&self, now: i64) -> Map<String, Value> {
        let hidden = |received: bool| {
            let of_kind = |m: &&Message| m.visible_at > now && (m.receives > 0) == received;
            self.messages.iter().filter(of_kind).count()
        };
        let (in_flight, delayed) = (hidden(true), hidden(false));
        let visible = self.messages.len() - in_flight - delayed;
        let settings = &self.settings;
        let mut attributes = BTreeMap::from([
            ("ApproximateNumberOfMessages", visible.to_string()),
            ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
            ("CreatedTimestamp", (self.created_at / 1000).to_string()),
            ("DelaySeconds", "0".to_owned()),
            ("LastModifiedTimestamp", (self.created_at / 1000).to_string()),
            ("MaximumMessageSize", settings.max_message_bytes.to_string()),
            ("MessageRetentionPeriod", settings.retention.as_secs().to_string()),
            ("QueueArn", arn(&settings.name)),
            ("ReceiveMessageWaitTimeSeconds", "0".to_owned()),
            ("VisibilityTimeout", settings.visibility.as_secs().to_string()),
        ]);
        if settings.fifo {
            attributes.extend([
                ("FifoQueue", "true".to_owned()),
                ("ContentBasedDeduplication", "false".to_owned()),
                ("DeduplicationScope", "messageGroup".to_owned()),
                ("FifoThroughputLimit", "perMessageGroupId".to_owned()),
            ]);
        }
        if let Some((target, limit)) = &settings.dead_letter {
            let policy = json!({ "deadLetterTargetArn": arn(target), "maxReceiveCount": limit });
            attributes.insert("RedrivePolicy", policy.to_string());
        }
        attributes.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    }
}

impl Message {
    fn group(&self) -> &str {
        self.group_id.as_deref().unwrap_or_default()
    }

    fn receive(&mut self, queue: &str, serial: u64, visibility_ms: i64, now: i64) -> Received {
        let receipt_handle = receipt_handle(queue, &self.id, serial);
        self.receives += 1;
        self.last_received_at = now;
        self.visible_at = now.saturating_add(visibility_ms);
        self.receipt_handle = Some(receipt_handle.clone());
        Received {
            message_id: self.id.clone(),
            receipt_handle,
            body: self.body.clone(),
            attributes: self.attributes.clone(),
            group_id: self.group_id.clone(),
            deduplication_id: self.deduplication_id.clone(),
            sequence_number: self.sequence_number.clone(),
            sent_at_ms: self.sent_at,
            first_received_at_ms: *self.first_received_at.get_or_insert(now),
            receive_count: self.receives_before + self.receives,
            dead_letter_source: self.dead_letter_source.clone(),
        }
    }

    pub(super) fn view(&self, now: i64) -> StoredView {
        StoredView {
            body: self.body.clone(),
            attributes: self.attributes.clone(),
            group_id: self.group_id.clone(),
            receive_count: self.receives_before + self.receives,
            visible: self.visible_at <= now,
        }
    }
}

fn next_message_id(serial: &mut u64) -> String {
    *serial += 1;
    format!("00000000-0000-4000-8000-{serial:012x}")
}

fn next_sequence_number(serial: &mut u64) -> String {
    *serial += 1;
    (SEQUENCE_START + SEQUENCE_STEP * u128::from(*serial)).to_string()
}

/// Encoded, so that nobody reads more into it than an opaque string.
fn receipt_handle(queue: &str, message_id: &str, serial: u64) -> String {
    BASE64.encode(format!("{queue} {message_id} {serial}"))
}

fn handle_message_id(receipt_handle: &str, queue: &str) -> Option<String> {
    let text = String::from_utf8(BASE64.decode(receipt_handle).ok()?).ok()?;
    let mut parts = text.split(' ');
    (parts.next() == Some(queue)).then_some(())?;
    parts.next().map(str::to_owned)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
