//! The messages of the queues.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::protocol::{Refusal, Request, SendCall, md5_hex};
use super::{ACCOUNT, Fault, QueueSettings, Received, arn};

/// Counted from the first accepted send; a duplicate does not prolong it.
pub(super) const DEDUPLICATION_INTERVAL_MS: i64 = 5 * 60 * 1000;
const MAX_VISIBILITY_S: i64 = 12 * 60 * 60;

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<String, Queue>,
    /// The source of ids, receipt handles and sequence numbers, the same ones in every run.
    serial: u64,
    pub(super) faults: VecDeque<Fault>,
    pub(super) down: bool,
    pub(super) calls: BTreeMap<String, u64>,
    /// The last redrive of each dead-letter queue, by its ARN.
    move_tasks: BTreeMap<String, Value>,
}

impl State {
    pub(super) fn queue_at(
        &mut self,
        url: &str,
        now: i64,
    ) -> Result<(&mut Queue, &mut u64), Refusal> {
        let parts = url.rsplit_once('/').filter(|(place, _)| place.ends_with(ACCOUNT));
        let queue = parts.and_then(|(_, name)| self.queues.get_mut(name));
        let queue = queue.ok_or_else(|| {
            Refusal::new("QueueDoesNotExist", "The specified queue does not exist.")
        })?;
        queue.drop_expired(now);
        Ok((queue, &mut self.serial))
    }

    /// Takes a message from another platform's queue.
    pub(super) fn restore(&mut self, name: &str, mut message: Received, now: i64) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        message.message_id = next_message_id(&mut self.serial);
        message.sequence_number = queue.next_sequence_number(&mut self.serial);
        queue.messages.push(Stored {
            message,
            visible_at: now,
            last_received_at: now,
            dead_letter_source: None,
        });
    }

    pub(super) fn receive(
        &mut self,
        name: &str,
        max: usize,
        visibility_seconds: Option<i64>,
        now: i64,
    ) -> Vec<Received> {
        // Taken out, so that its dead-letter queue can be changed at the same time.
        let Some(mut queue) = self.queues.remove(name) else {
            return Vec::new();
        };
        queue.drop_expired(now);
        let own = || millis(queue.settings.visibility);
        let visible_at = now + visibility_seconds.map_or_else(own, |seconds| seconds * 1000);
        let dead_letter = queue.settings.dead_letter.clone();
        let mut dead_letter =
            dead_letter.and_then(|(target, limit)| Some((self.queues.get_mut(&target)?, limit)));

        let (mut received, mut dead) = (Vec::new(), Vec::new());
        for index in queue.receivable(now) {
            if received.len() == max {
                break;
            }
            let stored = &mut queue.messages[index];
            match &dead_letter {
                Some((_, limit)) if stored.message.receive_count >= *limit => dead.push(index),
                _ => {
                    self.serial += 1;
                    received.push(stored.receive(name, self.serial, visible_at, now));
                }
            }
        }
        dead.sort_unstable();
        // From the end, so that the other indexes stay right.
        let dead: Vec<_> =
            dead.into_iter().rev().map(|index| queue.messages.remove(index)).collect();
        if let Some((target, _)) = &mut dead_letter {
            dead.into_iter().rev().for_each(|it| target.adopt(it, name, &mut self.serial, now));
        }
        self.queues.insert(name.to_owned(), queue);
        received
    }

    /// Redrives a dead-letter queue at once: its visible messages go to the destination, or without
    /// one back to their sources.
    ///
    /// A message that was sent to the dead-letter queue directly has no source; the task fails at
    /// the first such message.
    pub(super) fn start_move_task(&mut self, task: &Request, now: i64) -> Result<Value, Refusal> {
        let by_arn = |wanted: &str, parameter: &str| {
            let name = self.queues.keys().find(|name| arn(name) == wanted).cloned();
            let message = format!("{parameter} does not exist");
            name.ok_or_else(|| Refusal::new("ResourceNotFoundException", message))
        };
        let source = by_arn(&task.source_arn, "SourceArn")?;
        let destination = task.destination_arn.as_deref();
        let destination = destination.map(|arn| by_arn(arn, "DestinationArn")).transpose()?;
        let mut targets = self.queues.values().filter_map(|q| q.settings.dead_letter.as_ref());
        if !targets.any(|(target, _)| *target == source) {
            let message = "Source queue must be configured as a Dead Letter Queue.";
            return Err(Refusal::invalid(message));
        }

        let messages =
            self.queues.get_mut(&source).map(|queue| std::mem::take(&mut queue.messages));
        let (mut moved, mut kept) = (0, Vec::new());
        let mut status = "COMPLETED";
        for stored in messages.unwrap_or_default() {
            let target = destination.as_ref().or(stored.dead_letter_source.as_ref());
            let target = target.and_then(|name| self.queues.get_mut(name));
            match target {
                _ if stored.visible_at > now || status == "FAILED" => kept.push(stored),
                Some(target) => {
                    target.push_redriven(stored, &mut self.serial, now);
                    moved += 1;
                }
                None => {
                    status = "FAILED";
                    kept.push(stored);
                }
            }
        }
        if let Some(queue) = self.queues.get_mut(&source) {
            queue.messages = kept;
        }
        let reason = (status == "FAILED").then_some("CouldNotDetermineMessageSource");
        let record = json!({
            "SourceArn": task.source_arn,
            "DestinationArn": task.destination_arn,
            "ApproximateNumberOfMessagesMoved": moved,
            "Status": status,
            "FailureReason": reason,
        });
        self.move_tasks.insert(task.source_arn.clone(), record);
        self.serial += 1;
        Ok(json!({ "TaskHandle": self.serial.to_string() }))
    }

    pub(super) fn move_tasks(&self, source_arn: &str) -> Value {
        json!({ "Results": Vec::from_iter(self.move_tasks.get(source_arn)) })
    }
}

pub(super) struct Queue {
    pub(super) settings: QueueSettings,
    /// In sending order. A message keeps its place while in flight, so that it is the first of its
    /// group again when it comes back.
    pub(super) messages: Vec<Stored>,
    /// When each group and deduplication id was accepted, and the ids in the answer.
    accepted: HashMap<(String, String), (i64, Value)>,
}

pub(super) struct Stored {
    pub(super) message: Received,
    visible_at: i64,
    last_received_at: i64,
    /// The name of the queue that it was moved from after too many receives.
    dead_letter_source: Option<String>,
}

impl Queue {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self { settings, messages: Vec::new(), accepted: HashMap::new() }
    }

    pub(super) fn send(
        &mut self,
        outgoing: &SendCall,
        serial: &mut u64,
        now: i64,
    ) -> Result<Value, Refusal> {
        outgoing.check()?;
        let (group_id, id) =
            (outgoing.message_group_id.clone(), outgoing.message_deduplication_id.clone());
        let key = match (self.settings.fifo, group_id.clone(), id.clone()) {
            (true, Some(group), Some(id)) => Some((group, id)),
            (true, None, _) => return Err(Refusal::missing("MessageGroupId")),
            (true, _, None) => return Err(Refusal::missing("MessageDeduplicationId")),
            (false, _, None) => None,
            (false, _, Some(_)) => {
                let message = "MessageDeduplicationId is not valid for this queue type";
                return Err(Refusal::invalid(message));
            }
        };
        self.accepted.retain(|_, (at, _)| now - *at < DEDUPLICATION_INTERVAL_MS);
        let accepted = key.as_ref().and_then(|key| self.accepted.get(key));
        let mut answer = if let Some((_, first)) = accepted {
            first.clone()
        } else {
            let message = Received {
                message_id: next_message_id(serial),
                receipt_handle: String::new(),
                body: outgoing.message_body.clone(),
                attributes: outgoing.message_attributes.clone(),
                group_id,
                deduplication_id: id,
                sequence_number: self.next_sequence_number(serial),
                sent_at_ms: now,
                receive_count: 0,
            };
            let mut answer = json!({"MessageId": message.message_id});
            // AWS leaves out what a message does not have.
            if let Some(number) = &message.sequence_number {
                answer["SequenceNumber"] = number.as_str().into();
            }
            self.accepted.extend(key.map(|key| (key, (now, answer.clone()))));
            self.messages.push(Stored {
                message,
                visible_at: now,
                last_received_at: now,
                dead_letter_source: None,
            });
            answer
        };
        answer["MD5OfMessageBody"] = json!(md5_hex(&outgoing.message_body));
        Ok(answer)
    }

    /// The indexes of the messages that a receive call may return, in its order.
    fn receivable(&self, now: i64) -> Vec<usize> {
        if !self.settings.fifo {
            let indexes = 0..self.messages.len();
            return indexes.filter(|&index| self.messages[index].visible_at <= now).collect();
        }
        let in_flight = self.messages.iter().filter(|stored| stored.visible_at > now);
        let in_flight: HashSet<&str> = in_flight.map(Stored::group).collect();
        // As many messages of one group as possible before the next group: the groups in the order
        // of their first messages.
        let mut first = HashMap::new();
        let mut indexes = Vec::new();
        for (index, stored) in self.messages.iter().enumerate() {
            if !in_flight.contains(stored.group()) {
                indexes.push((*first.entry(stored.group()).or_insert(index), index));
            }
        }
        indexes.sort_unstable();
        indexes.into_iter().map(|(_, index)| index).collect()
    }

    pub(super) fn next_receivable_at(&self) -> Option<i64> {
        // A FIFO group is free when its last message in flight is back or has expired, and worth
        // receiving if it still holds a message by then. On a standard queue each message is free
        // by itself.
        let mut groups: HashMap<&str, (i64, i64)> = HashMap::new();
        for stored in &self.messages {
            let Received { message_id, sent_at_ms, .. } = &stored.message;
            let expires_at = sent_at_ms.saturating_add(millis(self.settings.retention));
            let free_at = stored.visible_at.min(expires_at);
            let group = if self.settings.fifo { stored.group() } else { message_id };
            let times = groups.entry(group).or_insert((free_at, expires_at));
            *times = (free_at.max(times.0), expires_at.max(times.1));
        }
        let worth = groups.into_values().filter(|(free_at, expires_at)| free_at < expires_at);
        worth.map(|(free_at, _)| free_at).min()
    }

    /// Deletes a received message and returns whether anything was deleted.
    pub(super) fn delete(&mut self, receipt_handle: &str, now: i64) -> Result<bool, Refusal> {
        let held = self.held(receipt_handle, now)?;
        Ok(held.map(|index| self.messages.remove(index)).is_some())
    }

    pub(super) fn change_visibility(
        &mut self,
        receipt_handle: &str,
        seconds: i64,
        now: i64,
    ) -> Result<Value, Refusal> {
        let Some(index) = self.held(receipt_handle, now)? else {
            return Err(Refusal::invalid(
                "Message is not available for visibility timeout change.",
            ));
        };
        let stored = &mut self.messages[index];
        let visible_at = now + seconds * 1000;
        if seconds < 0 || visible_at - stored.last_received_at > MAX_VISIBILITY_S * 1000 {
            return Err(Refusal::invalid(
                "Total VisibilityTimeout is beyond the limit of 12 hours",
            ));
        }
        stored.visible_at = visible_at;
        Ok(json!({}))
    }

    /// The index of a received message, unless it is gone or has been received again since.
    fn held(&self, receipt_handle: &str, now: i64) -> Result<Option<usize>, Refusal> {
        let parts: Vec<_> = receipt_handle.split('/').collect();
        let id = match parts[..] {
            [queue, id, _] if queue == self.settings.name => id,
            _ => {
                return Err(Refusal::new(
                    "ReceiptHandleIsInvalid",
                    "The receipt handle is invalid.",
                ));
            }
        };
        let Some(index) = self.messages.iter().position(|it| it.message.message_id == id) else {
            return Ok(None);
        };
        let is_current = self.messages[index].message.receipt_handle == receipt_handle;
        // Another receiver may hold the group by now, so a FIFO queue refuses what a standard queue
        // tolerates.
        if self.settings.fifo && !(is_current && self.messages[index].visible_at > now) {
            return Err(Refusal::invalid("The receipt handle has expired."));
        }
        Ok(is_current.then_some(index))
    }

    /// Takes over a message from the queue that this is the dead-letter queue of.
    fn adopt(&mut self, mut stored: Stored, source: &str, serial: &mut u64, now: i64) {
        // On FIFO queues retention counts from the move, and the message's id becomes its
        // deduplication id. On standard queues retention continues from the send, which is why a
        // dead-letter queue should keep its messages longer.
        if self.settings.fifo {
            stored.message.deduplication_id = Some(stored.message.message_id.clone());
            stored.message.sent_at_ms = now;
        }
        stored.message.sequence_number = self.next_sequence_number(serial);
        stored.visible_at = now;
        stored.dead_letter_source = Some(source.to_owned());
        self.messages.push(stored);
    }

    /// Takes a message from a dead-letter queue: it counts as new, with another id and time.
    fn push_redriven(&mut self, mut stored: Stored, serial: &mut u64, now: i64) {
        stored.message.message_id = next_message_id(serial);
        stored.message.sequence_number = self.next_sequence_number(serial);
        stored.message.sent_at_ms = now;
        stored.message.receive_count = 0;
        stored.visible_at = now;
        stored.dead_letter_source = None;
        self.messages.push(stored);
    }

    /// Real sequence numbers are as long and not consecutive; only their order is guaranteed.
    fn next_sequence_number(&self, serial: &mut u64) -> Option<String> {
        *serial += 1;
        self.settings.fifo.then(|| format!("188494964{:011}", *serial * 256))
    }

    pub(super) fn drop_expired(&mut self, now: i64) {
        let retention_ms = millis(self.settings.retention);
        self.messages.retain(|stored| now < stored.message.sent_at_ms.saturating_add(retention_ms));
    }

    pub(super) fn attributes(&self, now: i64) -> Map<String, Value> {
        let in_flight = self.messages.iter().filter(|stored| stored.visible_at > now).count();
        let attributes = [
            ("ApproximateNumberOfMessages", (self.messages.len() - in_flight).to_string()),
            ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
            ("QueueArn", arn(&self.settings.name)),
        ];
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

impl Stored {
    fn group(&self) -> &str {
        self.message.group_id.as_deref().unwrap_or_default()
    }

    fn receive(&mut self, queue: &str, serial: u64, visible_at: i64, now: i64) -> Received {
        self.last_received_at = now;
        self.visible_at = visible_at;
        self.message.receive_count += 1;
        self.message.receipt_handle = format!("{queue}/{}/{serial}", self.message.message_id);
        self.message.clone()
    }
}

fn next_message_id(serial: &mut u64) -> String {
    *serial += 1;
    format!("00000000-0000-4000-8000-{serial:012x}")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
