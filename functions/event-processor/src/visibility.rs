//! When a message that stays in the queue comes again.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use backend::aws::{CALL_TIMEOUT, describe};
use backend::outbox::SendContext;
use backend::runtime::receive_count;
use futures_util::future::join_all;

use crate::{Processor, correlation_id};

/// How long an event waits whose first try failed.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest time that an event waits.
const LONGEST_PAUSE: Duration = Duration::from_mins(3);

impl Processor {
    /// Lets a group's messages, the first of which failed, come again after a pause that grows with the
    /// number of its receives.
    pub(crate) async fn pause(&self, group: &[SqsMessage], context: &SendContext) {
        let receives = group.first().map_or(0, receive_count);
        self.put_off(group, pause_after(receives), context).await;
    }

    /// Lets a group's messages come again after a pause.
    ///
    /// All get the same one, and the queue delivers none while another one of the group is in flight, so
    /// they stay in order.
    pub(crate) async fn put_off(
        &self,
        group: &[SqsMessage],
        pause: Duration,
        context: &SendContext,
    ) {
        if self.clock.now() + CALL_TIMEOUT <= context.deadline {
            self.come_again_after(group, pause).await;
        }
    }

    /// Deletes messages that are done, before their batch is.
    pub(crate) async fn delete(&self, receipts: Vec<String>) {
        let calls = receipts.into_iter().map(async |receipt| {
            let call = self.sqs.delete_message().queue_url(&self.settings.queue_url);
            if let Err(error) = call.receipt_handle(receipt).send().await {
                let error = describe(&error);
                tracing::warn!(%error, "a message leaves the queue with its batch only");
            }
        });
        join_all(calls).await;
    }

    /// Gives messages back to the queue, so that another invocation gets them at once.
    pub(crate) async fn give_back(&self, messages: &[SqsMessage]) {
        self.come_again_after(messages, Duration::ZERO).await;
    }

    /// Changes when messages come again. If that fails, they come when their visibility timeout ends.
    async fn come_again_after(&self, messages: &[SqsMessage], pause: Duration) {
        let seconds = i32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let calls = messages.iter().map(async |message| {
            let call = self.sqs.change_message_visibility().queue_url(&self.settings.queue_url);
            let call = call.receipt_handle(message.receipt_handle.as_deref().unwrap_or_default());
            if let Err(error) = call.visibility_timeout(seconds).send().await {
                let error = describe(&error);
                let correlation_id = correlation_id(message);
                tracing::warn!(correlation_id, %error, "an event comes again late");
            }
        });
        join_all(calls).await;
    }
}

/// Five seconds, doubled with each receive, three minutes at most.
fn pause_after(receives: u32) -> Duration {
    let doublings = receives.saturating_sub(1).min(10);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_receives() {
        for (receives, seconds) in
            [(0, 5), (1, 5), (2, 10), (3, 20), (6, 160), (7, 180), (1000, 180), (u32::MAX, 180)]
        {
            assert_eq!(pause_after(receives).as_secs(), seconds, "{receives}");
        }
    }
}
