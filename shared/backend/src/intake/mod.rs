//! Intake: the events of a signed notification go to the queue of events, or are set aside.
//!
//! The webhook takes in what Meta posts, setup what was set aside once its cause is gone.

mod queue;
mod unreadable;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_sqs::error::BuildError;
use messenger::clock::Timestamp;
use messenger::event::{Event, Kind, WriteError};

use crate::correlation::of_event;
use crate::runtime::Environment;
use crate::secrets::{Secret, SecretError, Secrets};
use crate::telemetry::{Metric, Telemetry};

pub use unreadable::{Kept, KeptMessage, Part, reason_of_foreign};

use queue::{Message, Queue};

/// Why events were neither queued nor set aside.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// A queue does not answer.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// A queue does not accept a message.
    #[error("the queue rejects a message: {0}")]
    Refused(String),
    /// The SDK does not accept a message.
    #[error("cannot build a message: {0}")]
    Unbuildable(#[from] BuildError),
    /// An event cannot be written as JSON.
    #[error("cannot serialize an event: {0}")]
    Unwritable(#[from] WriteError),
    /// The secret cannot be read, and an older copy does not name an event's Page.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The detail of a line that holds the correlation ids of several events.
const EVENTS: &str = "events";

/// A line names so many events at most.
const EVENTS_OF_A_LINE: usize = 20;

/// What is said about an event that was queued.
struct Queued {
    correlation_id: String,
    is_unknown: bool,
    is_truncated: bool,
}

/// The queue of events alone, for events that the outbox makes itself.
#[derive(Debug)]
pub struct EventQueue(Queue);

impl EventQueue {
    /// Reads `QUEUE_URL`.
    pub fn new(environment: &Environment) -> Self {
        Self(Queue::new(environment.aws.sqs(), environment.variables.required("QUEUE_URL")))
    }

    /// Queues an event of our own.
    ///
    /// # Errors
    /// [`IntakeError`] unless it is queued; it can be queued again.
    pub async fn wake(&self, event: Event) -> Result<(), IntakeError> {
        let (body, _) = event.to_queue_text()?;
        let group = Some((event.group(), event.id));
        self.0.send(vec![Message { body, group, attributes: Vec::new() }]).await
    }
}

/// The queue of events and the unreadable queue.
#[derive(Debug)]
pub struct Intake {
    events: Queue,
    unreadable: Queue,
    secrets: Arc<Secrets>,
    telemetry: Telemetry,
}

impl Intake {
    /// Reads `QUEUE_URL` and `UNREADABLE_QUEUE_URL`.
    pub fn new(environment: &Environment) -> Self {
        let queue = |name| Queue::new(environment.aws.sqs(), environment.variables.required(name));
        Self {
            events: queue("QUEUE_URL"),
            unreadable: queue("UNREADABLE_QUEUE_URL"),
            secrets: Arc::clone(&environment.secrets),
            telemetry: environment.telemetry.clone(),
        }
    }

    /// Queues the events of the signing application's Pages, and sets the others aside.
    ///
    /// Nothing is set aside on the word of a copy of the secret that was read before `began_at`, the
    /// beginning of the request: the Page may have been added since.
    ///
    /// # Errors
    /// [`IntakeError`] if an event may be neither queued nor set aside; all of them can be taken in
    /// again.
    pub async fn take_in(
        &self,
        application: &str,
        secret: &Secret,
        began_at: Timestamp,
        events: Vec<Event>,
    ) -> Result<(), IntakeError> {
        let (ours, others) = by_owner(secret, application, events);
        self.queue(ours).await?;
        if others.is_empty() {
            return Ok(());
        }
        let secret = self.secrets.read_after(began_at).await?;
        let (ours, others) = by_owner(&secret, application, others);
        self.queue(ours).await?;
        self.set_aside(application, &secret, others).await
    }

    /// Queues events, those of one group in their order, and counts them.
    ///
    /// # Errors
    /// [`IntakeError`] unless all of them are queued; they can be queued again, because the queue
    /// knows them by their ids.
    pub async fn queue(&self, events: Vec<Event>) -> Result<(), IntakeError> {
        let mut queued = BTreeMap::<String, Vec<Queued>>::new();
        let mut messages = Vec::with_capacity(events.len());
        for event in events {
            let (body, truncated) = event.to_queue_text()?;
            let is_unknown = matches!(event.kind, Kind::Unknown { .. });
            let correlation_id = of_event(&event.id).to_owned();
            let group = Some((event.group(), event.id));
            messages.push(Message { body, group, attributes: Vec::new() });
            let of_page = queued.entry(event.page_id).or_default();
            of_page.push(Queued { correlation_id, is_unknown, is_truncated: truncated });
        }
        self.events.send(messages).await?;
        for (page_id, events) in queued {
            for events in events.chunks(EVENTS_OF_A_LINE) {
                self.count_queued(&page_id, events);
            }
        }
        Ok(())
    }

    fn count_queued(&self, page_id: &str, events: &[Queued]) {
        let count = |is_one: fn(&Queued) -> bool| events.iter().filter(|it| is_one(it)).count();
        let mut metrics = vec![
            (Metric::EventsReceived, events.len() as u64),
            (Metric::UnknownEvents, count(|event| event.is_unknown) as u64),
            (Metric::TruncatedEvents, count(|event| event.is_truncated) as u64),
        ];
        // Each name costs by the month, once it occurs.
        metrics.retain(|(_, count)| *count > 0);
        let ids = names(events.iter().map(|event| event.correlation_id.as_str()));
        self.telemetry.record(&metrics, page_id, &[(EVENTS, &ids)]);
    }
}

/// The correlation ids of events, as one detail of a line.
fn names<'a>(events: impl Iterator<Item = &'a str>) -> String {
    events.collect::<Vec<_>>().join(" ")
}

/// Parts the events of an application's Pages from the others: an app secret speaks for its own Pages
/// and for no other.
pub fn by_owner(
    secret: &Secret,
    application: &str,
    events: Vec<Event>,
) -> (Vec<Event>, Vec<Event>) {
    let signing = secret.application(application);
    events
        .into_iter()
        .partition(|event| signing.is_some_and(|signing| signing.has_page(&event.page_id)))
}
