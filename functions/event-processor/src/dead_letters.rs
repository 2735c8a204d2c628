//! Events that cannot be processed, kept with the reason in a queue that can be redriven.

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::types::MessageAttributeValue;
use backend::aws::describe;
use backend::queues::REASON;

use crate::{Processor, attribute};

impl Processor {
    /// Copies a message with its reason to the dead-letter queue: whether it is there.
    pub(crate) async fn dead_letter(&self, message: &SqsMessage, reason: &str) -> bool {
        let Ok(why) =
            MessageAttributeValue::builder().data_type("String").string_value(reason).build()
        else {
            return false;
        };
        let answer = self
            .sqs
            .send_message()
            .queue_url(&self.settings.dead_letter_queue_url)
            .message_body(message.body.as_deref().unwrap_or_default())
            .message_group_id(attribute(message, "MessageGroupId"))
            .message_deduplication_id(attribute(message, "MessageDeduplicationId"))
            .message_attributes(REASON, why)
            .send()
            .await;
        match answer {
            Ok(_) => true,
            Err(error) => {
                let error = describe(&error);
                tracing::error!(message_id = message.message_id, %error, "an event stays in the queue");
                false
            }
        }
    }
}
