//! Sending to the queues: one lane per message group, batches limited by count and by bytes.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use backend::aws::describe;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, TryStreamExt, stream};
use messenger::event::{MAX_RECORD_BYTES, WriteError};

/// How many lanes are sent concurrently.
const LANES: usize = 16;

/// The maximum number of messages in one batch.
const BATCH_COUNT: usize = 10;

/// How much of an unreadable body fits into one message: base64 turns three bytes into four.
const PART_BYTES: usize = MAX_RECORD_BYTES / 4 * 3 - 3;

/// An event to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    /// The event's id, by which the queue deduplicates.
    pub(crate) id: String,
    pub(crate) group: String,
    /// The record as JSON.
    pub(crate) text: String,
}

/// Why a message could not be queued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    #[error("the queue rejects a message: {0}")]
    Refused(String),
    #[error("cannot build a message: {0}")]
    Unbuildable(#[from] BuildError),
    #[error("cannot serialize a record: {0}")]
    Unwritable(#[from] WriteError),
}

/// The queues that the webhook fills.
#[derive(Debug)]
pub(crate) struct Queues {
    sqs: Client,
    events_url: String,
    unreadable_url: String,
}

impl Queues {
    pub(crate) fn new(sqs: Client, events_url: String, unreadable_url: String) -> Self {
        Self { sqs, events_url, unreadable_url }
    }

    /// Queues events; those of one group in their order.
    pub(crate) async fn send(&self, events: Vec<Queued>) -> Result<(), QueueError> {
        let mut lanes = HashMap::<String, Vec<Queued>>::new();
        for event in events {
            lanes.entry(event.group.clone()).or_default().push(event);
        }
        let results = stream::iter(lanes.into_values())
            .map(|lane| self.send_lane(lane))
            .buffer_unordered(LANES)
            .collect::<Vec<_>>()
            .await;
        results.into_iter().collect()
    }

    /// Keeps a signed body that cannot be parsed, in as many messages as it needs.
    pub(crate) async fn keep_unreadable(
        &self,
        body: &[u8],
        reason: &str,
    ) -> Result<(), QueueError> {
        let count = body.len().div_ceil(PART_BYTES).max(1);
        stream::iter((0..count).map(Ok))
            .try_for_each_concurrent(LANES, async |index| {
                let part = body.chunks(PART_BYTES).nth(index).unwrap_or_default();
                let part_of = format!("{} of {count}", index + 1);
                let attributes = [("reason", reason), ("part", &part_of), ("encoding", "base64")];
                // SQS rejects an empty message; a lone `=` decodes to nothing.
                let text = if part.is_empty() { "=".to_owned() } else { STANDARD.encode(part) };
                self.keep(text, &attributes).await
            })
            .await
    }

    /// Keeps events of Pages that are not the signing application's, each with its reason.
    pub(crate) async fn keep_foreign(
        &self,
        events: Vec<(Queued, &'static str)>,
    ) -> Result<(), QueueError> {
        stream::iter(events.into_iter().map(Ok))
            .try_for_each_concurrent(LANES, async |(event, reason)| {
                self.keep(event.text, &[("reason", reason)]).await
            })
            .await
    }

    async fn keep(&self, text: String, attributes: &[(&str, &str)]) -> Result<(), QueueError> {
        let mut request =
            self.sqs.send_message().queue_url(&self.unreadable_url).message_body(text);
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(*value)
                .build()?;
            request = request.message_attributes(*name, value);
        }
        let answer = request.send().await;
        answer.map_err(|error| QueueError::Unavailable(describe(&error)))?;
        Ok(())
    }

    async fn send_lane(&self, lane: Vec<Queued>) -> Result<(), QueueError> {
        for batch in batches(lane) {
            self.send_batch(batch).await?;
        }
        Ok(())
    }

    /// Sends a batch until all of it is queued; the caller's time limit ends the attempts.
    async fn send_batch(&self, mut batch: Vec<Queued>) -> Result<(), QueueError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let entries = batch.iter().enumerate().map(|(index, event)| {
                SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(&event.text)
                    .message_group_id(&event.group)
                    .message_deduplication_id(&event.id)
                    .build()
            });
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let request = self.sqs.send_message_batch().queue_url(&self.events_url);
            let answer = request
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(|error| QueueError::Unavailable(describe(&error)))?;
            if let Some(refused) = answer.failed().iter().find(|failed| failed.sender_fault()) {
                return Err(QueueError::Refused(refused.code().to_owned()));
            }
            let failed = |index: usize| answer.failed().iter().any(|f| f.id() == index.to_string());
            let left = batch.iter().enumerate().filter(|(index, _)| failed(*index));
            batch = left.map(|(_, event)| event.clone()).collect();
            if batch.is_empty() {
                return Ok(());
            }
            tracing::warn!(left = batch.len(), "a part of a batch is sent again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

fn batches(lane: Vec<Queued>) -> Vec<Vec<Queued>> {
    let mut batches: Vec<Vec<Queued>> = Vec::new();
    let mut bytes = 0;
    for event in lane {
        bytes += event.text.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_COUNT && bytes <= MAX_RECORD_BYTES => {
                batch.push(event);
            }
            _ => {
                bytes = event.text.len();
                batches.push(vec![event]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(sizes: &[usize]) -> Vec<Queued> {
        let queued = |size: &usize| Queued {
            id: String::new(),
            group: String::new(),
            text: "x".repeat(*size),
        };
        sizes.iter().map(queued).collect()
    }

    #[test]
    fn batches_are_cut_by_count_and_by_bytes() {
        let counts =
            |sizes: &[usize]| batches(lane(sizes)).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&[1; 25]), [10, 10, 5]);
        let half = MAX_RECORD_BYTES / 2;
        assert_eq!(counts(&[half, half, half, 1]), [2, 2]);
        assert_eq!(counts(&[MAX_RECORD_BYTES, MAX_RECORD_BYTES, 1]), [1, 1, 1]);
        assert!(counts(&[]).is_empty());
    }
}
