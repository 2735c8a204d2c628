//! Queues as their operator sees them: how much waits in one, and why.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::aws::describe;
use crate::runtime::Environment;

/// The attribute of a message that holds why it is kept.
pub const REASON: &str = "reason";

/// How many messages a sample holds at most: as many as one call returns.
const SAMPLE: i32 = 10;

/// Why nothing is known about a queue.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InspectError {
    /// The queue does not answer, or does not permit the call.
    #[error("{0}")]
    Unavailable(String),
    /// Its answer has no value of this name.
    #[error("the answer has no {0}")]
    Missing(QueueAttributeName),
}

/// How much a queue holds; SQS counts approximately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// How many messages can be received.
    pub waiting: usize,
    /// How many messages are hidden, because somebody has received them.
    pub in_flight: usize,
    /// The queue's ARN.
    pub arn: String,
}

/// A queue that is looked at and not changed.
#[derive(Debug)]
pub struct InspectedQueue {
    sqs: Client,
    url: String,
}

impl InspectedQueue {
    /// The queue with this URL.
    pub fn new(environment: &Environment, url: String) -> Self {
        Self { sqs: environment.aws.sqs(), url }
    }

    /// The queue's name, the last part of its URL.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// How much the queue holds.
    ///
    /// # Errors
    /// [`InspectError`] if the queue does not say.
    pub async fn depth(&self) -> Result<Depth, InspectError> {
        let [waiting, in_flight, arn] = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::QueueArn,
        ];
        let mut request = self.sqs.get_queue_attributes().queue_url(&self.url);
        for name in [&waiting, &in_flight, &arn] {
            request = request.attribute_names(name.clone());
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| InspectError::Unavailable(describe(&error)))?;
        let mut attributes = answer.attributes.unwrap_or_default();
        let mut take = |name: &QueueAttributeName| {
            attributes.remove(name).ok_or_else(|| InspectError::Missing(name.clone()))
        };
        let (counts, arn) = ([take(&waiting)?, take(&in_flight)?], take(&arn)?);
        let [waiting_count, in_flight_count] = counts.map(|count| count.parse().ok());
        Ok(Depth {
            waiting: waiting_count.ok_or(InspectError::Missing(waiting))?,
            in_flight: in_flight_count.ok_or(InspectError::Missing(in_flight))?,
            arn,
        })
    }

    /// How many messages of a sample are kept for each reason; `None` is the reason of those that name
    /// none.
    ///
    /// The sample is at most 10 messages, and on a FIFO queue mostly of one group. They are hidden from
    /// nobody, and this counts as one receive of each.
    ///
    /// # Errors
    /// [`InspectError`] if the queue does not answer.
    pub async fn sample_reasons(&self) -> Result<BTreeMap<Option<String>, usize>, InspectError> {
        let request =
            self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(SAMPLE);
        // Hidden messages of a FIFO queue would hide the rest of their groups.
        let request = request.visibility_timeout(0).message_attribute_names(REASON);
        // Without any wait, SQS asks only some of its servers.
        let answer = request.wait_time_seconds(1).send().await;
        let answer = answer.map_err(|error| InspectError::Unavailable(describe(&error)))?;
        let mut reasons = BTreeMap::new();
        for message in answer.messages.unwrap_or_default() {
            let mut attributes = message.message_attributes.unwrap_or_default();
            let reason = attributes.remove(REASON).and_then(|reason| reason.string_value);
            *reasons.entry(reason).or_default() += 1;
        }
        Ok(reasons)
    }
}
