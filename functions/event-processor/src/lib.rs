//! The event processor: one event at a time, in order per person.
//!
//! Record the last message time, decide once, write the decision, apply it, send. A redelivered
//! event goes on where the first delivery stopped.

#[cfg(panic = "abort")]
compile_error!(
    "a panic of the bot must end one event, not the process: build without panic = \"abort\""
);

mod dead_letters;
mod event;
mod publish;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use backend::outbox::{Outbox, OutboxError, SendContext};
use backend::runtime::{Environment, receive_count, redeliver};
use backend::settings::Variables;
use futures_util::FutureExt;
use futures_util::future::join_all;
use messenger::clock::{SharedClock, Timestamp};
use messenger::decision::Replies;
use messenger::event::Event;

use publish::{PublishError, Publisher};

/// No record is started with less time left: it may need two calls to the table, and its message
/// may have to be rescheduled.
const RECORD_BUDGET: Duration = Duration::from_secs(2 * backend::aws::CALL_TIMEOUT.as_secs());

/// An event that fails by itself is dead-lettered at this receive.
const LAST_RECEIVE: u32 = 5;

/// The settings of the event processor.
#[derive(Clone, Debug)]
pub struct ProcessorSettings {
    /// The dead-letter queue.
    pub dead_letter_queue_url: String,
}

impl ProcessorSettings {
    /// Reads `DEAD_LETTER_QUEUE_URL`.
    pub fn new(variables: &Variables) -> Self {
        Self { dead_letter_queue_url: variables.required("DEAD_LETTER_QUEUE_URL") }
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
    /// The event's own fault: it is given up after some tries.
    #[error("{0}")]
    Poisonous(&'static str),
    /// There was no time left to begin it.
    #[error("no time was left to begin this event")]
    NoTimeLeft,
}

/// The event processor.
#[derive(Debug)]
pub struct Processor {
    outbox: Arc<Outbox>,
    sqs: Client,
    clock: SharedClock,
    replies: Replies,
    settings: ProcessorSettings,
    publish: Publisher,
}

impl Processor {
    /// Builds the function with a bot.
    pub fn new(environment: &Environment, replies: Replies) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(environment)),
            sqs: environment.aws.sqs(),
            clock: Arc::clone(&environment.clock),
            replies,
            settings: ProcessorSettings::new(&environment.variables),
            publish: Publisher::new(environment),
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
        let mut lanes = BTreeMap::<String, Vec<SqsMessage>>::new();
        for message in batch.records {
            lanes
                .entry(attribute(&message, "MessageGroupId").to_owned())
                .or_default()
                .push(message);
        }
        let failed =
            join_all(lanes.into_values().map(|lane| self.process_lane(lane, &context))).await;
        redeliver(failed.into_iter().flatten())
    }

    /// Processes a group's messages: the ids of those that are to be delivered again.
    async fn process_lane(&self, lane: Vec<SqsMessage>, context: &SendContext) -> Vec<String> {
        let mut left = lane.into_iter();
        while let Some(message) = left.next() {
            let Err(error) = self.process_message(&message, context).await else {
                continue;
            };
            let receives = receive_count(&message);
            tracing::error!(message = message.message_id, receives, %error, "an event failed");
            if let RecordError::Poisonous(reason) = error
                && receives >= LAST_RECEIVE
                && self.dead_letter(&message, reason).await
            {
                continue;
            }
            let rest = std::iter::once(message).chain(left);
            return rest.filter_map(|message| message.message_id).collect();
        }
        Vec::new()
    }

    async fn process_message(
        &self,
        message: &SqsMessage,
        context: &SendContext,
    ) -> Result<(), RecordError> {
        let publish_budget =
            if self.publish.is_off() { Duration::ZERO } else { 2 * backend::aws::CALL_TIMEOUT };
        if self.clock.now() + RECORD_BUDGET + publish_budget > context.deadline {
            return Err(RecordError::NoTimeLeft);
        }
        let event = Event::from_queue_text(message.body.as_deref().unwrap_or_default())
            .map_err(|_| RecordError::Poisonous("not_a_record"))?;
        let receives = receive_count(message);
        let work = AssertUnwindSafe(self.process(&event, receives > 1, context));
        let outcome = match work.catch_unwind().await {
            Err(_) => Err(RecordError::Poisonous("panic")),
            Ok(Err(RecordError::Outbox(error))) if error.is_permanent() => {
                tracing::error!(event = event.id, %error, "the table cannot hold what was decided");
                Err(RecordError::Poisonous("rejected_by_table"))
            }
            Ok(outcome) => outcome,
        };
        // Last, so that a retry seldom repeats it; an event that the bot gives up on is passed on all the same.
        let is_over = match outcome {
            Ok(event::Processed::Done) => true,
            Err(RecordError::Poisonous(_)) => receives >= LAST_RECEIVE,
            Ok(event::Processed::OwnEcho | event::Processed::PersonErased) | Err(_) => false,
        };
        if is_over {
            self.publish.publish(&event).await?;
        }
        outcome.map(drop)
    }
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> &'a str {
    message.attributes.get(name).map_or("", String::as_str)
}
