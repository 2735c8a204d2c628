//! Amazon SQS on a virtual clock.
//!
//! One side speaks HTTP to the unchanged AWS SDK ([`Sqs::handle`]), the other is driven in
//! process by a poller that stands in for Lambda's event source mapping ([`Sqs::receive`]).
//! FIFO queues behave as in high-throughput mode: deduplication scope and throughput limit are
//! the message group. The wording and codes of the refusals are those of the real service, so
//! that what a function logs here is what it logs there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;
use serde_json::{Value, json};

use self::protocol::{
    AttributeNames, Batch, ChangeVisibility, Outgoing, QueueName, Receipt, Receive, Refusal,
    Single, answer, check_entries, checked_visibility_ms, chosen, each, parse,
};
use self::queue::{Queue, State};

pub use self::attributes::MessageAttribute;

mod attributes;
mod protocol;
mod queue;
#[cfg(test)]
mod tests;

/// A virtual clock: milliseconds since the epoch.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";
const TARGET_PREFIX: &str = "AmazonSQS.";
const MAX_VISIBILITY_S: i64 = 12 * 60 * 60;

/// What a queue is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The queue's name; that of a FIFO queue ends in `.fifo`.
    pub name: String,
    /// Whether order and deduplication are kept per message group.
    pub fifo: bool,
    /// How long a received message stays in flight unless its receiver says otherwise.
    pub visibility: Duration,
    /// How long a message is kept after it was sent.
    pub retention: Duration,
    /// The dead-letter queue's name and the number of receives after which a message goes there.
    ///
    /// As long as no queue of that name exists, messages stay where they are.
    pub dead_letter: Option<(String, u32)>,
    /// The longest message, in bytes: its body in UTF-8 and the names, types and values of its
    /// attributes.
    pub max_message_bytes: usize,
}

impl Default for QueueSettings {
    /// The defaults of the real service: a standard queue, 30 s in flight, kept for 4 days, 1 MiB.
    fn default() -> Self {
        Self {
            name: String::new(),
            fifo: false,
            visibility: Duration::from_secs(30),
            retention: Duration::from_hours(4 * 24),
            dead_letter: None,
            max_message_bytes: 1_048_576,
        }
    }
}

/// A message as one receive call hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's id, the same at every receive and in the dead-letter queue.
    pub message_id: String,
    /// What [`Sqs::delete`] and [`Sqs::make_visible`] need, new at every receive.
    pub receipt_handle: String,
    /// The body as it was sent.
    pub body: String,
    /// All message attributes, by name.
    pub attributes: BTreeMap<String, MessageAttribute>,
    /// The message group, always there on a FIFO queue.
    pub group_id: Option<String>,
    /// The deduplication id, always there on a FIFO queue.
    pub deduplication_id: Option<String>,
    /// The position in the queue, growing in sending order; only on a FIFO queue.
    pub sequence_number: Option<String>,
    /// When it was sent, in ms since the epoch.
    pub sent_at_ms: i64,
    /// When it was received for the first time, in ms since the epoch.
    pub first_received_at_ms: i64,
    /// How often it has been received, this time included.
    pub receive_count: u32,
    /// The ARN of the queue that this message was moved here from after too many receives.
    pub dead_letter_source: Option<String>,
}

/// A message as it lies in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredView {
    /// The body as it was sent.
    pub body: String,
    /// All message attributes, by name.
    pub attributes: BTreeMap<String, MessageAttribute>,
    /// The message group.
    pub group_id: Option<String>,
    /// How often it has been received.
    pub receive_count: u32,
    /// Whether it is neither in flight nor delayed; on a FIFO queue it can be visible and still
    /// have to wait for another message of its group.
    pub visible: bool,
}

/// What goes wrong with one call over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is answered with 503 and does nothing.
    Unavailable,
    /// The call is carried out, but answered with 503.
    AnswerLost,
    /// The call does nothing and is never answered.
    Silence,
    /// The entries at these positions (from 0) of a batch fail with `InternalError`, which is not
    /// the sender's fault; calls that are not a batch leave this fault for the next one.
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

    /// Creates a queue, or changes the settings of the one of that name, and returns its URL.
    pub fn create_queue(&self, settings: QueueSettings) -> String {
        let now = (self.now)();
        let url = self.url(&settings.name);
        let mut state = self.state();
        if let Some(queue) = state.queues.get_mut(&settings.name) {
            queue.settings = settings;
        } else {
            let name = settings.name.clone();
            state.queues.insert(name, Queue::new(settings, now));
        }
        url
    }

    /// The ARN that a queue of this name has.
    pub fn arn(&self, name: &str) -> String {
        arn(name)
    }

    /// Receives up to `max` messages for the queue's visibility timeout.
    ///
    /// A message that has been received too often moves to the dead-letter queue instead. Empty
    /// when the queue does not exist. Faults concern HTTP only, never this side.
    pub fn receive(&self, name: &str, max: usize) -> Vec<Received> {
        let now = (self.now)();
        self.state().receive(name, max, None, now)
    }

    /// Deletes a received message; false when nothing was deleted.
    ///
    /// That is so when it is already gone, when it has been received again since, and on a FIFO
    /// queue also when its visibility timeout has ended.
    pub fn delete(&self, name: &str, receipt_handle: &str) -> bool {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.delete(receipt_handle, now) == Ok(true))
    }

    /// Ends a received message's visibility timeout now; false under the conditions of
    /// [`Sqs::delete`].
    pub fn make_visible(&self, name: &str, receipt_handle: &str) -> bool {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.change_visibility(receipt_handle, 0, now).is_ok())
    }

    /// The earliest instant, in ms since the epoch, at which a receive call finds a message.
    ///
    /// It is not after the present when there is one right now, and `None` when no message that
    /// is there now will ever be receivable. A message whose next receive takes it to the
    /// dead-letter queue counts, because only that receive moves it.
    pub fn next_visible_at(&self, name: &str) -> Option<i64> {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.next_receivable_at())
    }

    /// All messages of a queue in their order, whether visible or not.
    pub fn messages(&self, name: &str) -> Vec<StoredView> {
        let now = (self.now)();
        self.queue(name, now, |queue| queue.messages.iter().map(|m| m.view(now)).collect())
    }

    /// Whether a queue holds no message at all, neither visible nor in flight.
    ///
    /// A queue that does not exist is empty.
    pub fn is_empty(&self, name: &str) -> bool {
        self.messages(name).is_empty()
    }

    /// Lets something go wrong with the next call over HTTP that the fault fits.
    ///
    /// Each fault concerns one call; several are used up in their order.
    pub fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Answers every call over HTTP with 503, until switched back.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// How often each operation was called over HTTP, failed calls included.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.state().calls.clone()
    }

    /// Answers one HTTP request: the value of its `X-Amz-Target` header and its body.
    ///
    /// `ReceiveMessage` never waits for messages, whatever its `WaitTimeSeconds`: the clock is
    /// virtual, and whoever moves it on can ask again.
    pub async fn handle(&self, target: &str, body: &[u8]) -> Response {
        let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or(target);
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
        match operation {
            "SendMessage" => {
                let request: Single<Outgoing> = parse(body)?;
                let (queue, serial) = state.queue_at(&request.queue_url, now)?;
                queue.send(&request.content, serial, now)
            }
            "SendMessageBatch" => {
                let request: Batch<Outgoing> = parse(body)?;
                let (queue, serial) = state.queue_at(&request.queue_url, now)?;
                check_entries("Send", &request.entries)?;
                queue.check_outgoing(&request.entries)?;
                Ok(each(&request.entries, failing, |message| queue.send(message, serial, now)))
            }
            "ReceiveMessage" => {
                let request: Single<Receive> = parse(body)?;
                let (queue, _) = state.queue_at(&request.queue_url, now)?;
                let name = queue.settings.name.clone();
                let (max, visibility_ms) = request.content.checked()?;
                let received = state.receive(&name, max, visibility_ms, now);
                Ok(request.content.answer(&received))
            }
            "DeleteMessage" => {
                let request: Single<Receipt> = parse(body)?;
                let (queue, _) = state.queue_at(&request.queue_url, now)?;
                queue.delete(&request.content.receipt_handle, now)?;
                Ok(json!({}))
            }
            "DeleteMessageBatch" => {
                let request: Batch<Receipt> = parse(body)?;
                let (queue, _) = state.queue_at(&request.queue_url, now)?;
                check_entries("Delete", &request.entries)?;
                Ok(each(&request.entries, failing, |receipt| {
                    queue.delete(&receipt.receipt_handle, now).map(|_| json!({}))
                }))
            }
            "ChangeMessageVisibility" => {
                let request: Single<ChangeVisibility> = parse(body)?;
                let (queue, _) = state.queue_at(&request.queue_url, now)?;
                let visibility_ms = checked_visibility_ms(request.content.visibility_timeout)?;
                queue.change_visibility(&request.content.receipt_handle, visibility_ms, now)?;
                Ok(json!({}))
            }
            "GetQueueUrl" => {
                let request: QueueName = parse(body)?;
                if !state.queues.contains_key(&request.queue_name) {
                    return Err(Refusal::no_such_queue());
                }
                Ok(json!({ "QueueUrl": self.url(&request.queue_name) }))
            }
            "GetQueueAttributes" => {
                let request: Single<AttributeNames> = parse(body)?;
                let (queue, _) = state.queue_at(&request.queue_url, now)?;
                let wanted = request.content.attribute_names;
                Ok(json!({ "Attributes": chosen(queue.attributes(now), &wanted) }))
            }
            _ => Err(Refusal::unknown_operation()),
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
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
