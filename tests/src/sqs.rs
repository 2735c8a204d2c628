//! Amazon SQS on a virtual clock, reduced to what the functions, the tests and an operator call.
//!
//! One side answers the JSON protocol of the unchanged AWS SDK ([`Sqs::handle`]); the other is
//! driven in process by the poller that plays Lambda's event source mapping ([`Sqs::receive`]).
//! FIFO queues behave as in high-throughput mode: deduplication scope and throughput limit are the
//! message group. Error codes are those of the real service. An operation or parameter that is not
//! simulated is refused, not ignored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::protocol::{Refusal, Request, SendCall, answer, check_batch, each, parse};
use self::queue::{Queue, State};

mod protocol;
mod queue;
#[cfg(test)]
mod tests;

/// A virtual clock, in ms since the epoch.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

const ACCOUNT: &str = "000000000000";

/// The settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The queue's name; that of a FIFO queue ends in `.fifo`.
    pub name: String,
    /// Whether order and deduplication are kept per message group.
    pub fifo: bool,
    /// How long a received message stays in flight unless its receiver changes that.
    pub visibility: Duration,
    /// How long a message is kept after it was sent.
    pub retention: Duration,
    /// The dead-letter queue's name and the number of receives after which a message goes there.
    ///
    /// As long as no queue of that name exists, messages stay where they are.
    pub dead_letter: Option<(String, u32)>,
}

impl Default for QueueSettings {
    /// The defaults of the real service: a standard queue, 30 s in flight, kept for 4 days.
    fn default() -> Self {
        Self {
            name: String::new(),
            fifo: false,
            visibility: Duration::from_secs(30),
            retention: Duration::from_hours(4 * 24),
            dead_letter: None,
        }
    }
}

/// A message attribute; only the type `String` is simulated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct MessageAttribute {
    /// Always `String`.
    pub data_type: String,
    /// The value as it was sent.
    #[serde(rename = "StringValue")]
    pub value: String,
}

/// A message as a receive call returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's id, kept over every receive and in the dead-letter queue.
    pub message_id: String,
    /// The argument of [`Sqs::delete`], new at every receive; empty before the first one.
    pub receipt_handle: String,
    /// The body as it was sent.
    pub body: String,
    /// All message attributes, by name.
    pub attributes: BTreeMap<String, MessageAttribute>,
    /// The message group; always present on a FIFO queue.
    pub group_id: Option<String>,
    /// The deduplication id; always present on a FIFO queue.
    pub deduplication_id: Option<String>,
    /// The position in the queue, increasing in sending order; only on a FIFO queue.
    pub sequence_number: Option<String>,
    /// When it was sent, in ms since the epoch.
    pub sent_at_ms: i64,
    /// How often it has been received so far.
    pub receive_count: u32,
}

/// A fault of one call over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is answered with 503 and has no effect.
    Unavailable,
    /// The call is carried out, but answered with 503.
    AnswerLost,
    /// The call has no effect and is never answered.
    Silence,
    /// The entries at these positions (from 0) of a batch fail with `InternalError`, which is not
    /// the sender's fault; a call that is not a batch leaves this fault for the next one.
    Entries(Vec<usize>),
}

/// Named queues, shared by all clones.
#[derive(Clone)]
pub struct Sqs {
    now: Now,
    base_url: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl Sqs {
    /// Creates a service without queues.
    ///
    /// `base_url` is where [`Sqs::handle`] is served (`http://127.0.0.1:4566`).
    pub fn new(now: Now, base_url: String) -> Self {
        Self { now, base_url: base_url.into(), state: Arc::default() }
    }

    /// Creates a queue and returns its URL.
    pub fn create_queue(&self, settings: QueueSettings) -> String {
        let url = self.url(&settings.name);
        self.state().queues.insert(settings.name.clone(), Queue::new(settings));
        url
    }

    /// Receives up to `max` messages for the queue's visibility timeout.
    ///
    /// A message that has been received too often moves to the dead-letter queue instead. Empty
    /// when the queue does not exist. Faults affect calls over HTTP only.
    pub fn receive(&self, name: &str, max: usize) -> Vec<Received> {
        let now = (self.now)();
        self.state().receive(name, max, None, now)
    }

    /// Deletes a received message and returns whether anything was deleted.
    ///
    /// Nothing is when it is already gone, when it has been received again since, and on a FIFO
    /// queue also when its visibility timeout has ended.
    pub fn delete(&self, name: &str, receipt_handle: &str) -> bool {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.delete(receipt_handle, now) == Ok(true))
    }

    /// Ends the visibility timeout of a received message now, as if its receiver had taken too long:
    /// whether it was in flight.
    pub fn show_again(&self, name: &str, receipt_handle: &str) -> bool {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.change_visibility(receipt_handle, 0, now).is_ok())
    }

    /// Puts a message into a queue as another platform's queue held it, visible: with its time and its
    /// receives, under an id of its own.
    pub fn restore(&self, name: &str, message: Received) {
        let now = (self.now)();
        self.state().restore(name, message, now);
    }

    /// The earliest instant, in ms since the epoch, at which a receive call finds a message.
    ///
    /// It is not after the present if there is one right now, and `None` if no message that is in
    /// the queue now will ever be receivable. A message whose next receive moves it to the
    /// dead-letter queue counts.
    pub fn next_visible_at(&self, name: &str) -> Option<i64> {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.next_receivable_at())
    }

    /// All messages of a queue in their order, visible or not.
    pub fn messages(&self, name: &str) -> Vec<Received> {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.messages.iter().map(|m| m.message.clone()).collect())
    }

    /// Whether a queue holds no message at all, neither visible nor in flight.
    ///
    /// A queue that does not exist is empty.
    pub fn is_empty(&self, name: &str) -> bool {
        self.messages(name).is_empty()
    }

    /// Adds a fault for the next call over HTTP that it fits; each fault affects one call.
    pub fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Whether every call over HTTP is answered with 503.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// How often each operation was called over HTTP, failed calls included.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.state().calls.clone()
    }

    /// Answers one HTTP request, given its `X-Amz-Target` header and its body.
    ///
    /// `ReceiveMessage` ignores `WaitTimeSeconds`: the clock is virtual.
    pub async fn handle(&self, target: &str, body: &[u8]) -> Response {
        let operation = target.strip_prefix("AmazonSQS.").unwrap_or(target);
        let result = match self.begin_call(operation) {
            None => self.perform(operation, body, &[]),
            Some(Fault::Entries(failing)) => self.perform(operation, body, &failing),
            Some(Fault::Unavailable) => Err(Refusal::unavailable()),
            Some(Fault::AnswerLost) => {
                self.perform(operation, body, &[]).and(Err(Refusal::unavailable()))
            }
            Some(Fault::Silence) => std::future::pending().await,
        };
        answer(result)
    }

    fn begin_call(&self, operation: &str) -> Option<Fault> {
        let mut state = self.state();
        *state.calls.entry(operation.to_owned()).or_default() += 1;
        if state.down {
            return Some(Fault::Unavailable);
        }
        let fits =
            |fault: &Fault| operation.ends_with("Batch") || !matches!(fault, Fault::Entries(_));
        let position = state.faults.iter().position(fits)?;
        state.faults.remove(position)
    }

    fn perform(&self, operation: &str, body: &[u8], failing: &[usize]) -> Result<Value, Refusal> {
        let now = (self.now)();
        let mut state = self.state();
        if operation == "SendMessage" {
            let message: SendCall = parse(body)?;
            let (queue, serial) = state.queue_at(&message.queue_url, now)?;
            return queue.send(&message, serial, now);
        }
        let request: Request = parse(body)?;
        match operation {
            "StartMessageMoveTask" => return state.start_move_task(&request, now),
            "ListMessageMoveTasks" => return Ok(state.move_tasks(&request.source_arn)),
            _ => {}
        }
        let (queue, serial) = state.queue_at(&request.queue_url, now)?;
        let handle = &request.receipt_handle;
        match operation {
            "SendMessageBatch" => {
                check_batch(&request.entries)?;
                Ok(each(&request.entries, failing, |message| queue.send(message, serial, now)))
            }
            "ReceiveMessage" => {
                request.check_receive()?;
                let name = queue.settings.name.clone();
                let max = request.max_number_of_messages.unwrap_or(1);
                Ok(request.received(&state.receive(&name, max, request.visibility_timeout, now)))
            }
            "DeleteMessage" => queue.delete(handle, now).map(|_| json!({})),
            "ChangeMessageVisibility" => {
                queue.change_visibility(handle, request.visibility_timeout.unwrap_or(-1), now)
            }
            "GetQueueAttributes" => {
                let attributes = queue.attributes(now);
                request.check_attributes(&attributes)?;
                Ok(json!({ "Attributes": request.chosen(attributes) }))
            }
            _ => Err(Refusal::new("UnknownOperationException", "Unknown or not simulated.")),
        }
    }

    fn queue<T: Default>(&self, name: &str, now: i64, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut state = self.state();
        let Some(queue) = state.queues.get_mut(name) else {
            return T::default();
        };
        queue.drop_expired(now);
        act(queue)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.base_url.trim_end_matches('/'))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}")
}
