//! Sending to a queue: batches are filled across groups, with one message of a group at most.
//!
//! SQS may take a later message of a batch and not an earlier one. A message of a group is therefore
//! sent only when the one before it is queued.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use messenger::event::MAX_RECORD_BYTES;

use super::IntakeError;
use crate::aws::describe;

/// How many calls are made at the same time.
const CALLS: usize = 16;

/// The maximum number of messages in one batch.
const BATCH_COUNT: usize = 10;

/// The pause before what failed in a batch is sent for the second time; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) body: String,
    /// On a FIFO queue, the group and the deduplication id.
    pub(super) group: Option<(String, String)>,
    pub(super) attributes: Vec<(&'static str, String)>,
}

/// A queue with its address.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) sqs: Client,
    pub(super) url: String,
}

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    /// The lines whose first message is queued.
    queued: Vec<usize>,
    /// What is to be sent again, after the pause.
    failed: Vec<(usize, Message)>,
    pause: Duration,
    error: Option<IntakeError>,
}

impl Queue {
    pub(super) fn new(sqs: Client, url: String) -> Self {
        Self { sqs, url }
    }

    /// Sends messages until all are queued, those of one group in their order; the caller's time
    /// limit ends the attempts. What fails holds up its own group only.
    pub(super) async fn send(&self, messages: Vec<Message>) -> Result<(), IntakeError> {
        let mut lines = Lines::new(messages);
        let mut calls = FuturesUnordered::new();
        let mut first_error = None;
        loop {
            while calls.len() < CALLS
                && let Some(batch) = lines.next_batch()
            {
                calls.push(self.send_batch(batch, Duration::ZERO));
            }
            let Some(outcome) = calls.next().await else {
                return first_error.map_or(Ok(()), Err);
            };
            lines.advance(outcome.queued);
            first_error = first_error.or(outcome.error);
            if !outcome.failed.is_empty() {
                tracing::warn!(left = outcome.failed.len(), "a part of a batch is sent again");
                calls.push(self.send_batch(outcome.failed, outcome.pause));
            }
        }
    }

    async fn send_batch(&self, batch: Vec<(usize, Message)>, pause: Duration) -> Outcome {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let failures = match self.call(&batch).await {
            Ok(failures) => failures,
            Err(error) => return Outcome { error: Some(error), ..Outcome::default() },
        };
        let pause = (pause * 2).max(FIRST_PAUSE);
        let mut outcome = Outcome { pause, ..Outcome::default() };
        for (index, (line, message)) in batch.into_iter().enumerate() {
            match failures.get(&index.to_string()) {
                None => outcome.queued.push(line),
                Some(Failure::Temporary) => outcome.failed.push((line, message)),
                Some(Failure::Refused(code)) => {
                    outcome.error = Some(IntakeError::Refused(code.clone()));
                }
            }
        }
        outcome
    }

    /// Makes a call: what failed of it, by the message's place in the batch.
    async fn call(
        &self,
        batch: &[(usize, Message)],
    ) -> Result<HashMap<String, Failure>, IntakeError> {
        let entries = batch.iter().enumerate().map(|(index, (_, message))| entry(index, message));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let request = self.sqs.send_message_batch().queue_url(&self.url);
        let answer = request.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(|error| IntakeError::Unavailable(describe(&error)))?;
        let failures = answer.failed.into_iter().map(|failure| {
            let kind = if failure.sender_fault {
                Failure::Refused(failure.code)
            } else {
                Failure::Temporary
            };
            (failure.id, kind)
        });
        Ok(failures.collect())
    }
}

/// Why a message of a batch was not queued.
enum Failure {
    /// The queue does not accept it, and names the reason.
    Refused(String),
    Temporary,
}

fn entry(index: usize, message: &Message) -> Result<SendMessageBatchRequestEntry, IntakeError> {
    let mut entry =
        SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(&message.body);
    if let Some((group, id)) = &message.group {
        entry = entry.message_group_id(group).message_deduplication_id(id);
    }
    for (name, value) in &message.attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value);
        entry = entry.message_attributes(*name, value.build()?);
    }
    Ok(entry.build()?)
}

/// Messages in lines: those of a group one behind the other, each other one alone.
struct Lines {
    lines: Vec<VecDeque<Message>>,
    /// The lines whose first message can be sent.
    ready: VecDeque<usize>,
}

impl Lines {
    fn new(messages: Vec<Message>) -> Self {
        let mut lines = Vec::<VecDeque<Message>>::new();
        let mut places = HashMap::new();
        for message in messages {
            let next = lines.len();
            let place = match &message.group {
                Some((group, _)) => *places.entry(group.clone()).or_insert(next),
                None => next,
            };
            match lines.get_mut(place) {
                Some(line) => line.push_back(message),
                None => lines.push(VecDeque::from([message])),
            }
        }
        Self { ready: (0..lines.len()).collect(), lines }
    }

    /// The first messages of lines that are ready, as many as fit into a batch.
    fn next_batch(&mut self) -> Option<Vec<(usize, Message)>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_COUNT
            && let Some(place) = self.ready.front().copied()
        {
            let line = self.lines.get_mut(place)?;
            bytes += line.front().map_or(0, |message| message.body.len());
            if bytes > MAX_RECORD_BYTES && !batch.is_empty() {
                break;
            }
            self.ready.pop_front();
            batch.extend(line.pop_front().map(|message| (place, message)));
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Lets the next messages of lines be sent.
    fn advance(&mut self, places: Vec<usize>) {
        let has_more = |place: &usize| self.lines.get(*place).is_some_and(|line| !line.is_empty());
        self.ready.extend(places.into_iter().filter(has_more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(group: &str, bytes: usize) -> Message {
        let group = (!group.is_empty()).then(|| (group.to_owned(), String::new()));
        Message { body: "x".repeat(bytes), group, attributes: Vec::new() }
    }

    /// The sizes of the batches, each of which is queued before the next one is made.
    fn sizes(messages: Vec<Message>) -> Vec<usize> {
        let mut lines = Lines::new(messages);
        let mut sizes = Vec::new();
        while let Some(batch) = lines.next_batch() {
            sizes.push(batch.len());
            lines.advance(batch.into_iter().map(|(place, _)| place).collect());
        }
        sizes
    }

    #[test]
    fn batches_are_cut_by_count_by_bytes_and_by_group() {
        let half = MAX_RECORD_BYTES / 2;
        let many = |groups: usize, each: usize| {
            (0..groups * each).map(|n| message(&(n % groups).to_string(), 1)).collect()
        };
        for (messages, expected) in [
            (Vec::new(), &[][..]),
            (vec![message("", 1); 25], &[10, 10, 5]),
            (vec![message("", half); 5], &[2, 2, 1]),
            (vec![message("", MAX_RECORD_BYTES), message("", 1)], &[1, 1]),
            (vec![message("a", 1); 3], &[1, 1, 1]),
            (many(3, 2), &[3, 3]),
            (many(25, 1), &[10, 10, 5]),
            (many(25, 2), &[10; 5]),
        ] {
            assert_eq!(sizes(messages), expected);
        }
    }

    #[test]
    fn a_group_waits_until_its_last_message_is_queued_and_others_do_not() {
        let mut lines =
            Lines::new(vec![message("a", 1), message("a", 2), message("b", 3), message("b", 4)]);
        let mut next = |queued: &[usize]| {
            lines.advance(queued.to_vec());
            let batch = lines.next_batch().unwrap_or_default();
            batch.into_iter().map(|(_, message)| message.body.len()).collect::<Vec<_>>()
        };
        assert_eq!(next(&[]), [1, 3]);
        assert_eq!(next(&[]), [0; 0]);
        assert_eq!(next(&[1]), [4]);
        assert_eq!(next(&[1]), [0; 0]);
        assert_eq!(next(&[0]), [2]);
    }
}
