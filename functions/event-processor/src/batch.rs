//! A batch: message groups side by side, each in order, none waiting for another one.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use backend::correlation::about;
use backend::outbox::SendContext;
use backend::runtime::redeliver;
use backend::telemetry::Metric;
use futures_util::future::join_all;
use messenger::clock::Timestamp;
use tokio::sync::watch;

use crate::gathering::Gathered;
use crate::suspects::Delivery;
use crate::{Again, Processor, attribute, correlation_id};

/// How long a finished group waits for one whose bot still thinks, before its messages leave the queue.
const WAIT: Duration = Duration::from_secs(1);

/// What the groups of a batch know of each other.
#[derive(Debug)]
pub(crate) struct Lanes(watch::Sender<Running>);

#[derive(Clone, Copy, Debug)]
struct Running {
    lanes: usize,
    bots: usize,
}

/// Ends the bot's thinking when it is dropped.
pub(crate) struct Thinking<'a>(&'a Lanes);

impl Lanes {
    fn new(lanes: usize) -> Self {
        Self(watch::Sender::new(Running { lanes, bots: 0 }))
    }

    pub(crate) fn begin_thinking(&self) -> Thinking<'_> {
        self.0.send_modify(|running| running.bots += 1);
        Thinking(self)
    }

    fn end_lane(&self) {
        self.0.send_modify(|running| running.lanes -= 1);
    }

    /// Waits until a bot of another group thinks: whether that happens before all groups are done.
    async fn someone_thinks(&self) -> bool {
        let mut changes = self.0.subscribe();
        let seen = changes.wait_for(|running| running.bots > 0 || running.lanes == 0).await;
        seen.is_ok_and(|running| running.lanes > 0)
    }

    fn are_done(&self) -> bool {
        self.0.borrow().lanes == 0
    }
}

impl Drop for Thinking<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| running.bots -= 1);
    }
}

impl Processor {
    /// Processes a batch.
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
                let groups = groups(batch.records);
                join_all(groups.iter().map(|group| self.pause(group, &context))).await;
                return redeliver(groups.into_iter().flatten().filter_map(|it| it.message_id));
            }
        }
        let groups = groups(batch.records);
        let lanes = Lanes::new(groups.len());
        let groups = groups.into_iter();
        let failed = groups.map(|group| self.process_beside_others(group, &lanes, &context));
        redeliver(join_all(failed).await.into_iter().flatten())
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
        let failed = self.process_lane(vec![suspect], true, &Lanes::new(1), context).await;
        let others = messages.into_iter().filter_map(|message| message.message_id);
        redeliver(failed.into_iter().chain(others))
    }

    /// Processes a group, and deletes its messages if another one takes longer because of its bot: until
    /// the batch is answered, the person's next message would stay in the queue.
    async fn process_beside_others(
        &self,
        group: Vec<SqsMessage>,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Vec<String> {
        let receipts: Vec<_> = group.iter().filter_map(|it| it.receipt_handle.clone()).collect();
        let failed = self.process_lane(group, false, lanes, context).await;
        lanes.end_lane();
        if failed.is_empty() && lanes.someone_thinks().await {
            self.clock.sleep(WAIT).await;
            if !lanes.are_done() {
                self.delete(receipts).await;
            }
        }
        failed
    }

    /// Processes a group's messages: the ids of those that are to be delivered again.
    async fn process_lane(
        &self,
        group: Vec<SqsMessage>,
        is_suspect: bool,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Vec<String> {
        let mut left = group.into_iter();
        let mut covered = 0;
        while let Some(message) = left.next() {
            let mut delivery = Delivery::of(&message, is_suspect);
            if covered > 0 {
                covered -= 1;
                delivery.is_covered = true;
            } else if !is_suspect {
                match self.gather(&message, left.as_slice()) {
                    Gathered::Turn(more) => delivery.more = more,
                    Gathered::Wait(pause) => {
                        let rest = std::iter::once(message).chain(left).collect::<Vec<_>>();
                        self.put_off(&rest, pause, context).await;
                        return rest.into_iter().filter_map(|message| message.message_id).collect();
                    }
                }
            }
            let tried = Box::pin(self.try_message(&message, &delivery, lanes, context));
            let tried = about(correlation_id(&message), tried).await;
            covered += delivery.covered();
            let Err(again) = tried else { continue };
            let rest = std::iter::once(message).chain(left).collect::<Vec<_>>();
            match again {
                Again::InAWhile => self.pause(&rest, context).await,
                Again::After(pause) => self.put_off(&rest, pause, context).await,
                Again::Now => self.give_back(&rest).await,
            }
            return rest.into_iter().filter_map(|message| message.message_id).collect();
        }
        Vec::new()
    }
}

/// The messages of each group, in order.
fn groups(messages: Vec<SqsMessage>) -> Vec<Vec<SqsMessage>> {
    let mut groups = BTreeMap::<String, Vec<SqsMessage>>::new();
    for message in messages {
        let group = attribute(&message, "MessageGroupId").to_owned();
        groups.entry(group).or_default().push(message);
    }
    groups.into_values().collect()
}
