//! What waits in the queues, and the command that helps.

use std::collections::BTreeMap;

use backend::queues::{Depth, InspectError, InspectedQueue};
use backend::runtime::Environment;
use futures_util::future::{OptionFuture, join5};
use messenger::clock::Timestamp;

use crate::Setup;
use crate::commands::{redrive, show_metric};
use crate::report::Report;

const EVENTS: &str = "queue of events";
const DEAD_LETTERS: &str = "dead-letter queue";
const UNREADABLE: &str = "unreadable queue";
const FORWARD_DEAD_LETTERS: &str = "forward dead-letter queue";
const SCHEDULE_DEAD_LETTERS: &str = "schedule dead-letter queue";

/// The queues that an operator has to know about.
#[derive(Debug)]
pub(crate) struct Queues {
    events: InspectedQueue,
    dead_letters: InspectedQueue,
    unreadable: InspectedQueue,
    /// Absent where nothing is forwarded.
    forward_dead_letters: Option<InspectedQueue>,
    schedule_dead_letters: InspectedQueue,
}

/// What was read of the queues; what could not be read hides nothing else.
#[derive(Debug)]
pub(crate) struct QueuesRead {
    events_queue: String,
    events: Result<Depth, InspectError>,
    dead_letters: Result<DeadLetters, InspectError>,
    unreadable: Result<Depth, InspectError>,
    forward_dead_letters: Option<Result<Depth, InspectError>>,
    schedule_dead_letters: Result<Depth, InspectError>,
}

/// The dead letters of the queue of events.
#[derive(Debug)]
struct DeadLetters {
    depth: Depth,
    /// Why those of a sample are there.
    reasons: Result<BTreeMap<Option<String>, usize>, InspectError>,
}

impl Queues {
    /// Reads `QUEUE_URL`, `DEAD_LETTER_QUEUE_URL`, `UNREADABLE_QUEUE_URL`,
    /// `SCHEDULE_DEAD_LETTER_QUEUE_URL`, and `FORWARD_DEAD_LETTER_QUEUE_URL` if it is set.
    pub(crate) fn new(environment: &Environment) -> Self {
        let variables = &environment.variables;
        let queue = |url| InspectedQueue::new(environment, url);
        let required = |name| queue(variables.required(name));
        Self {
            events: required("QUEUE_URL"),
            dead_letters: required("DEAD_LETTER_QUEUE_URL"),
            unreadable: required("UNREADABLE_QUEUE_URL"),
            forward_dead_letters: variables.optional("FORWARD_DEAD_LETTER_QUEUE_URL").map(queue),
            schedule_dead_letters: required("SCHEDULE_DEAD_LETTER_QUEUE_URL"),
        }
    }

    /// Looks at all of them at once.
    pub(crate) async fn read(&self) -> QueuesRead {
        let forward = self.forward_dead_letters.as_ref().map(InspectedQueue::depth);
        // Boxed: five calls, which would lie on the stack side by side.
        let all = Box::pin(join5(
            self.events.depth(),
            self.dead_letters(),
            self.unreadable.depth(),
            OptionFuture::from(forward),
            self.schedule_dead_letters.depth(),
        ));
        let (events, dead_letters, unreadable, forward_dead_letters, schedule_dead_letters) =
            all.await;
        QueuesRead {
            events_queue: self.events.name().to_owned(),
            events,
            dead_letters,
            unreadable,
            forward_dead_letters,
            schedule_dead_letters,
        }
    }

    async fn dead_letters(&self) -> Result<DeadLetters, InspectError> {
        let depth = self.dead_letters.depth().await?;
        let reasons = match depth.waiting {
            0 => Ok(BTreeMap::new()),
            _ => self.dead_letters.sample_reasons().await,
        };
        Ok(DeadLetters { depth, reasons })
    }
}

impl Setup {
    /// Reports what waits in the queues.
    pub(crate) fn check_queues(&self, read: &QueuesRead, report: &mut Report) {
        read.report_events(self.clock.now(), report);
        read.report_dead_letters(report);
        if let Some(depth) = read_or_report(&read.unreadable, UNREADABLE, report) {
            report_kept(
                depth,
                UNREADABLE,
                |_| {
                    "invoke the setup function with {\"action\":\"requeue\"}, which reports why each one stays".to_owned()
                },
                report,
            );
        }
        let forward = read.forward_dead_letters.as_ref();
        if let Some(depth) =
            forward.and_then(|depth| read_or_report(depth, FORWARD_DEAD_LETTERS, report))
        {
            let fix = |arn: &str| {
                format!("fix the receivers that their attribute url names, then: {}", redrive(arn))
            };
            report_kept(depth, FORWARD_DEAD_LETTERS, fix, report);
        }
        if let Some(depth) =
            read_or_report(&read.schedule_dead_letters, SCHEDULE_DEAD_LETTERS, report)
        {
            report_kept(
                depth,
                SCHEDULE_DEAD_LETTERS,
                |_| {
                    "runs of the last hour that could not be started: look at the stack's schedules in EventBridge Scheduler, and at the account's concurrency; nothing in the queue is needed, and it empties by itself within an hour".to_owned()
                },
                report,
            );
        }
    }
}

impl QueuesRead {
    fn report_events(&self, now: Timestamp, report: &mut Report) {
        let Some(depth) = read_or_report(&self.events, EVENTS, report) else { return };
        let Depth { waiting, in_flight, .. } = depth;
        if waiting + in_flight == 0 {
            return report.ok(EVENTS, "empty");
        }
        // SQS names the age in CloudWatch only: to receive an event would hold up its person.
        let dimension = ("QueueName", &*self.events_queue);
        let command =
            show_metric("AWS/SQS", "ApproximateAgeOfOldestMessage", dimension, "Maximum", now);
        report.note(
            EVENTS,
            format!("events waiting: about {waiting}; being processed, or hidden until their next attempt: about {in_flight}"),
            format!("the age of the oldest one, in seconds: {command}"),
        );
    }

    fn report_dead_letters(&self, report: &mut Report) {
        let Some(DeadLetters { depth, reasons }) =
            read_or_report(&self.dead_letters, DEAD_LETTERS, report)
        else {
            return;
        };
        let destination = match &self.events {
            Ok(events) => &events.arn,
            Err(_) => "$EVENTS_QUEUE_ARN",
        };
        let fix = |arn: &str| {
            format!("fix the cause, then: {} --destination-arn {destination}", redrive(arn))
        };
        report_kept(depth, DEAD_LETTERS, fix, report);
        match reasons {
            Ok(reasons) if reasons.is_empty() => {}
            Ok(reasons) => report.note(
                DEAD_LETTERS,
                in_words(reasons),
                "the log of the event processor has each failure; without a reason, SQS moved the event after 1000 receives",
            ),
            Err(error) => cannot_read(DEAD_LETTERS, "the reasons", error, report),
        }
    }
}

/// What was read, unless it could not be, which is reported.
fn read_or_report<'a, T>(
    read: &'a Result<T, InspectError>,
    about: &str,
    report: &mut Report,
) -> Option<&'a T> {
    let what = "how much waits";
    read.as_ref().inspect_err(|error| cannot_read(about, what, error, report)).ok()
}

fn cannot_read(about: &str, what: &str, error: &InspectError, report: &mut Report) {
    report.error(
        about,
        format!("cannot read {what}: {error}"),
        "check that the queue exists, and that the setup function's role allows what template.yaml gives it",
    );
}

/// Reports a queue that should be empty; what helps may name the queue's ARN.
fn report_kept(depth: &Depth, about: &str, fix: impl FnOnce(&str) -> String, report: &mut Report) {
    match depth.waiting + depth.in_flight {
        0 => report.ok(about, "empty"),
        count => report.warning(about, format!("messages in it: about {count}"), fix(&depth.arn)),
    }
}

fn in_words(reasons: &BTreeMap<Option<String>, usize>) -> String {
    let total: usize = reasons.values().sum();
    let counts = reasons.iter().map(|(reason, count)| {
        let reason = reason.as_deref().unwrap_or("without a reason");
        format!("{reason} {count}")
    });
    format!("reasons in a sample of {total}: {}", counts.collect::<Vec<_>>().join(", "))
}
