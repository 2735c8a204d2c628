//! The event processor: one event at a time, in order per person.
//!
//! Record the last message time, decide once, write the decision, apply it, send. A redelivered
//! event goes on where the first delivery stopped.

#[cfg(panic = "abort")]
compile_error!(
    "a panic of the bot must end one event, not the process: build without panic = \"abort\""
);

mod comment;
mod dead_letters;
mod event;
mod report;
mod suspects;
mod visibility;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use backend::correlation::{self, about};
use backend::outbox::{Outbox, OutboxError, SendContext};
use backend::publish::PublishError;
use backend::runtime::{Environment, receive_count, redeliver};
use backend::settings::{TRACK_RECEIPTS, USER_PROFILES, Variables};
use backend::telemetry::{Metric, Telemetry};
use futures_util::FutureExt;
use futures_util::future::join_all;
use messenger::clock::{SharedClock, Timestamp};
use messenger::decision::Replies;
use messenger::event::{Event, Kind};

use suspects::Delivery;

/// No record is started with less time left: it may need two calls to the table, and its message
/// may have to be rescheduled.
const RECORD_BUDGET: Duration = Duration::from_secs(2 * backend::aws::CALL_TIMEOUT.as_secs());

/// An event that fails by itself so often is dead-lettered.
const MOST_FAILURES: u64 = 5;

/// The settings of the event processor.
#[derive(Clone, Debug)]
pub struct ProcessorSettings {
    /// The queue of events.
    pub queue_url: String,
    /// The dead-letter queue.
    pub dead_letter_queue_url: String,
}

impl ProcessorSettings {
    /// Reads `QUEUE_URL` and `DEAD_LETTER_QUEUE_URL`.
    pub fn new(variables: &Variables) -> Self {
        Self {
            queue_url: variables.required("QUEUE_URL"),
            dead_letter_queue_url: variables.required("DEAD_LETTER_QUEUE_URL"),
        }
    }
}

/// Why a record was not processed.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    /// AWS or Meta failed: the event is tried again, however often.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// AWS failed: the event is tried again, however often.
    #[error(transparent)]
    Publisher(#[from] PublishError),
    /// The event's own fault, and how often it has failed by itself: it is given up after some.
    #[error("{0}, failure {1}")]
    Poisonous(&'static str, u64),
    /// There was no time left to begin it.
    #[error("no time was left to begin this event")]
    NoTimeLeft,
}

/// Whose fault it is that an event is to be delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The event's own.
    ItsOwn,
    /// That of AWS or Meta, or of the time.
    OfOthers,
}

/// The event processor.
#[derive(Debug)]
pub struct Processor {
    outbox: Arc<Outbox>,
    sqs: Client,
    clock: SharedClock,
    replies: Replies,
    settings: ProcessorSettings,
    telemetry: Telemetry,
    tracks_receipts: bool,
    reads_profiles: bool,
}

impl Processor {
    /// Builds the function with a bot; it reads its settings, those of publishing, `TRACK_RECEIPTS`, and
    /// `USER_PROFILES`.
    pub fn new(environment: &Environment, replies: Replies) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(environment)),
            sqs: environment.aws.sqs(),
            clock: Arc::clone(&environment.clock),
            replies,
            settings: ProcessorSettings::new(&environment.variables),
            telemetry: environment.telemetry.clone(),
            tracks_receipts: environment.variables.is_on(TRACK_RECEIPTS),
            reads_profiles: environment.variables.is_on(USER_PROFILES),
        }
    }

    /// Opens the connections while the function is initialised.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }

    /// Processes a batch: message groups side by side, each group in order.
    ///
    /// The answer names the messages that are to be delivered again. After a failure the later
    /// messages of its group are among them, so that the group stays in order.
    pub async fn handle(
        &self,
        batch: SqsEvent,
        invocation: &str,
        deadline: Timestamp,
    ) -> SqsBatchResponse {
        let context = self.outbox.event_context(invocation, deadline);
        match self.first_suspect(&batch.records).await {
            Ok(None) => {}
            Ok(Some(place)) => return self.process_alone(batch.records, place, &context).await,
            Err(error) => {
                tracing::error!(%error, "a batch was not begun");
                let failed = batch.records.len() as u64;
                self.telemetry.record(&[(Metric::EventsFailed, failed)], None, &[]);
                let lanes = lanes(batch.records);
                join_all(lanes.iter().map(|lane| self.pause(lane, &context))).await;
                return redeliver(lanes.into_iter().flatten().filter_map(|it| it.message_id));
            }
        }
        let lanes = lanes(batch.records).into_iter();
        let failed = join_all(lanes.map(|lane| self.process_lane(lane, false, &context))).await;
        redeliver(failed.into_iter().flatten())
    }

    /// Processes one message of a batch, and gives the others back before.
    async fn process_alone(
        &self,
        mut messages: Vec<SqsMessage>,
        place: usize,
        context: &SendContext,
    ) -> SqsBatchResponse {
        let suspect = messages.remove(place);
        self.give_back(&messages).await;
        let failed = self.process_lane(vec![suspect], true, context).await;
        let others = messages.into_iter().filter_map(|message| message.message_id);
        redeliver(failed.into_iter().chain(others))
    }

    /// Processes a group's messages: the ids of those that are to be delivered again.
    async fn process_lane(
        &self,
        lane: Vec<SqsMessage>,
        is_suspect: bool,
        context: &SendContext,
    ) -> Vec<String> {
        let mut left = lane.into_iter();
        while let Some(message) = left.next() {
            let tried = Box::pin(self.try_message(&message, is_suspect, context));
            let Err(fault) = about(correlation_id(&message), tried).await else { continue };
            let rest = std::iter::once(message).chain(left).collect::<Vec<_>>();
            if fault == Fault::OfOthers {
                self.pause(&rest, context).await;
            }
            return rest.into_iter().filter_map(|message| message.message_id).collect();
        }
        Vec::new()
    }

    /// Processes a message, or gives it up: an error if it is to be delivered again.
    async fn try_message(
        &self,
        message: &SqsMessage,
        is_suspect: bool,
        context: &SendContext,
    ) -> Result<(), Fault> {
        if is_suspect {
            tracing::warn!(message_id = message.message_id, "an event is processed alone");
        }
        let Err(error) = self.process_message(message, is_suspect, context).await else {
            return Ok(());
        };
        let receives = receive_count(message);
        tracing::error!(message_id = message.message_id, receives, %error, "an event failed");
        self.telemetry.count(Metric::EventsFailed, None, &[]);
        match error {
            RecordError::Poisonous(reason, MOST_FAILURES..) => {
                let is_kept = self.dead_letter(message, reason).await;
                if is_kept { Ok(()) } else { Err(Fault::OfOthers) }
            }
            RecordError::Poisonous(..) => Err(Fault::ItsOwn),
            _ => Err(Fault::OfOthers),
        }
    }

    async fn process_message(
        &self,
        message: &SqsMessage,
        is_suspect: bool,
        context: &SendContext,
    ) -> Result<(), RecordError> {
        let publish_budget = if self.outbox.publisher().is_off() {
            Duration::ZERO
        } else {
            2 * backend::aws::CALL_TIMEOUT
        };
        if self.clock.now() + RECORD_BUDGET + publish_budget > context.deadline {
            return Err(RecordError::NoTimeLeft);
        }
        let event = Event::from_queue_text(message.body.as_deref().unwrap_or_default())
            .map_err(|_| RecordError::Poisonous("not_a_record", receive_count(message).into()))?;
        let delivery = Delivery::of(message, is_suspect);
        let work = AssertUnwindSafe(self.process(&event, &delivery, context));
        let outcome = self.judge(&event, &delivery, work.catch_unwind().await, context).await?;
        // Last, so that a retry seldom repeats it; an event that the bot gives up on is passed on all the same.
        let is_over = match outcome {
            Ok(event::Processed::Done) => true,
            Err(RecordError::Poisonous(_, failures)) => failures >= MOST_FAILURES,
            Ok(event::Processed::OwnEcho | event::Processed::PersonErased) | Err(_) => false,
        };
        let is_receipt = matches!(event.kind, Kind::Delivery(_) | Kind::Read(_));
        if is_over && !self.outbox.publisher().is_off() && (!is_receipt || self.tracks_receipts) {
            self.outbox.publisher().publish(&event).await?;
        }
        outcome.map(drop)
    }
}

/// The messages of each group, in order.
fn lanes(messages: Vec<SqsMessage>) -> Vec<Vec<SqsMessage>> {
    let mut lanes = BTreeMap::<String, Vec<SqsMessage>>::new();
    for message in messages {
        let group = attribute(&message, "MessageGroupId").to_owned();
        lanes.entry(group).or_default().push(message);
    }
    lanes.into_values().collect()
}

/// The correlation id of a message's event, which is known before the message can be read.
fn correlation_id(message: &SqsMessage) -> &str {
    correlation::of_event(attribute(message, "MessageDeduplicationId"))
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> &'a str {
    message.attributes.get(name).map_or("", String::as_str)
}
