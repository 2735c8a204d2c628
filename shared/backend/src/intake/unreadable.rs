//! The unreadable queue: bodies that are no notification, and events of other Pages, each with what is
//! needed to take it in again.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{Message as SqsMessage, QueueAttributeName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messenger::clock::Timestamp;
use messenger::event::{Event, MAX_RECORD_BYTES, Unreadable};
use sha2::{Digest, Sha256};

use super::{EVENTS, EVENTS_OF_A_LINE, Intake, IntakeError, Message, names};
use crate::aws::describe;
use crate::correlation::of_event;
use crate::queues::REASON;
use crate::secrets::Secret;
use crate::telemetry::Metric;

/// Why an event is set aside: the secret does not name its Page.
const UNKNOWN_PAGE: &str = "unknown_page";

/// Why an event is set aside: its Page belongs to another application than the one that signed.
const ANOTHER_APPLICATION: &str = "another_application";

/// How much of a body fits into one message: base64 turns three bytes into four.
const PART_BYTES: usize = MAX_RECORD_BYTES / 4 * 3 - 3;

/// The key of the application that signed it.
const APPLICATION: &str = "application";
/// How a body is written: always `base64`. An event is written as in the queue of events.
const ENCODING: &str = "encoding";
/// Which part of a body it is, such as `1 of 2`.
const PART: &str = "part";
/// The SHA-256 of the body, the same for all its parts.
const NOTIFICATION: &str = "notification";
/// When the body was received, ms since the epoch.
const RECEIVED_AT: &str = "received_at";

/// A message of the unreadable queue.
#[derive(Debug)]
pub struct KeptMessage {
    /// With what it is deleted.
    pub handle: String,
    /// What it holds; `None` if that has no form in which the webhook writes.
    pub kept: Option<Kept>,
}

/// What a message of the unreadable queue holds.
#[derive(Debug)]
pub enum Kept {
    /// An event of another Page than those of the application that signed it.
    Event {
        /// The key of the application.
        application: String,
        /// The event.
        event: Box<Event>,
    },
    /// A part of a body.
    Part(Part),
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The key of the application that signed the body.
    pub application: String,
    /// Identifies the body.
    pub notification: String,
    /// When the body was received.
    pub received_at: Timestamp,
    /// Which part it is, from 1.
    pub number: usize,
    /// How many parts the body has.
    pub count: usize,
    /// The part's bytes.
    pub bytes: Vec<u8>,
}

impl Intake {
    /// Keeps a signed body that cannot be split into events, in as many messages as it needs.
    ///
    /// # Errors
    /// [`IntakeError`] unless all of it is kept.
    pub async fn keep_whole(
        &self,
        application: &str,
        body: &[u8],
        received_at: Timestamp,
        reason: Unreadable,
    ) -> Result<(), IntakeError> {
        let notification = hex::encode(Sha256::digest(body));
        let count = body.len().div_ceil(PART_BYTES).max(1);
        let message = |index: usize| {
            let part = body.chunks(PART_BYTES).nth(index).unwrap_or_default();
            // SQS rejects an empty message; a lone `=` stands for no bytes.
            let body = if part.is_empty() { "=".to_owned() } else { STANDARD.encode(part) };
            let attributes = vec![
                (REASON, reason.to_string()),
                (APPLICATION, application.to_owned()),
                (ENCODING, "base64".to_owned()),
                (PART, format!("{} of {count}", index + 1)),
                (NOTIFICATION, notification.clone()),
                (RECEIVED_AT, received_at.millis().to_string()),
            ];
            Message { body, group: None, attributes }
        };
        self.unreadable.send((0..count).map(message).collect()).await
    }

    /// Keeps events of Pages that are not the signing application's, each with its reason, and counts
    /// them.
    ///
    /// # Errors
    /// [`IntakeError`] unless all of them are kept.
    pub async fn set_aside(
        &self,
        application: &str,
        secret: &Secret,
        events: Vec<Event>,
    ) -> Result<(), IntakeError> {
        let mut by_reason = BTreeMap::<_, Vec<_>>::new();
        let mut messages = Vec::with_capacity(events.len());
        for event in &events {
            let reason = reason_of_foreign(secret, &event.page_id);
            by_reason.entry(reason).or_default().push(event);
            let attributes =
                vec![(REASON, reason.to_owned()), (APPLICATION, application.to_owned())];
            messages.push(Message { body: event.to_queue_text()?.0, group: None, attributes });
        }
        self.unreadable.send(messages).await?;
        for (reason, foreign) in by_reason {
            for some in foreign.chunks(EVENTS_OF_A_LINE) {
                let events = names(some.iter().map(|event| of_event(&event.id)));
                let (count, page) = (some.len() as u64, &*some[0].page_id);
                tracing::warn!(application, reason, count, page, events, "events are set aside");
                let metrics = [(Metric::ForeignEvents, count)];
                self.telemetry.record(&metrics, None, &[("reason", reason), (EVENTS, &events)]);
            }
        }
        Ok(())
    }

    /// Receives messages of the unreadable queue, and hides them from others for `hidden_seconds`;
    /// empty once there is nothing to receive.
    ///
    /// # Errors
    /// [`IntakeError`] if the queue does not answer.
    pub async fn receive_kept(
        &self,
        at_most: usize,
        hidden_seconds: i32,
    ) -> Result<Vec<KeptMessage>, IntakeError> {
        let at_most = i32::try_from(at_most.min(10)).unwrap_or(10);
        let request = self.unreadable.sqs.receive_message().queue_url(&self.unreadable.url);
        // Without any wait, SQS asks only some of its servers.
        let request = request.max_number_of_messages(at_most).wait_time_seconds(1);
        let request = request.visibility_timeout(hidden_seconds).message_attribute_names("All");
        let answer = request.send().await;
        let answer = answer.map_err(|error| IntakeError::Unavailable(describe(&error)))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .map(|message| KeptMessage {
                kept: read(&message),
                handle: message.receipt_handle.unwrap_or_default(),
            })
            .collect())
    }

    /// Deletes a message of the unreadable queue.
    ///
    /// # Errors
    /// [`IntakeError`] if the queue does not answer.
    pub async fn delete_kept(&self, handle: &str) -> Result<(), IntakeError> {
        let request = self.unreadable.sqs.delete_message().queue_url(&self.unreadable.url);
        let answer = request.receipt_handle(handle).send().await;
        answer.map_err(|error| IntakeError::Unavailable(describe(&error)))?;
        Ok(())
    }

    /// About how many messages of the unreadable queue can be received now.
    ///
    /// # Errors
    /// [`IntakeError`] if the queue does not answer.
    pub async fn count_kept(&self) -> Result<usize, IntakeError> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.unreadable.sqs.get_queue_attributes().queue_url(&self.unreadable.url);
        let answer = request.attribute_names(name.clone()).send().await;
        let answer = answer.map_err(|error| IntakeError::Unavailable(describe(&error)))?;
        let count = answer.attributes.as_ref().and_then(|attributes| attributes.get(&name));
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or_default())
    }
}

/// Why an event is set aside that does not belong to the application that signed it.
pub fn reason_of_foreign(secret: &Secret, page_id: &str) -> &'static str {
    if secret.has_page(page_id) { ANOTHER_APPLICATION } else { UNKNOWN_PAGE }
}

fn read(message: &SqsMessage) -> Option<Kept> {
    let attribute =
        |name: &str| message.message_attributes.as_ref()?.get(name)?.string_value.as_deref();
    let body = message.body.as_deref()?;
    let application = attribute(APPLICATION)?.to_owned();
    if attribute(ENCODING).is_none() {
        let event = Box::new(Event::from_queue_text(body).ok()?);
        return Some(Kept::Event { application, event });
    }
    let (number, count) = attribute(PART)?.split_once(" of ")?;
    Some(Kept::Part(Part {
        application,
        notification: attribute(NOTIFICATION)?.to_owned(),
        received_at: Timestamp::from_millis(attribute(RECEIVED_AT)?.parse().ok()?),
        number: number.parse().ok()?,
        count: count.parse().ok()?,
        bytes: STANDARD.decode(body.trim_start_matches('=')).ok()?,
    }))
}
