//! What happened in a run, as an onlooker saw it.

use std::collections::BTreeMap;

use backend::store::StepKey;
use messenger::clock::Timestamp;
use messenger::event::{Event, Kind, split};

use super::script::Script;
use crate::meta::{GraphRequest, Outcome};

/// A point in a run: numbers order points that share a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) number: u64,
    pub(super) at: Timestamp,
}

/// Something that a person did and the bot may answer.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) page_id: String,
    pub(super) psid: String,
    pub(super) script: Script,
    /// When Meta holds that it happened.
    pub(super) at: Timestamp,
    /// When the webhook first answered 200.
    pub(super) accepted: Option<Point>,
    /// When a processor first received it.
    pub(super) received: Option<Point>,
    /// When its processing was first done.
    pub(super) processed: Option<Point>,
}

/// One request for a step that reached Graph.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) point: Point,
    pub(super) invocation: u64,
    /// When the invocation that made it began.
    pub(super) began: Point,
    pub(super) key: StepKey,
    pub(super) delivered: bool,
    pub(super) refused: Option<(i64, Option<i64>)>,
    /// Whether Meta's answer was a fault of the run's.
    pub(super) faulty: bool,
    /// Whether the function could not know, or could not write down, what became of it.
    pub(super) unclear: bool,
}

/// What the webhook and the processor made of an echo.
#[derive(Clone, Debug, Default)]
pub(super) struct Echoed {
    pub(super) accepted: Option<Point>,
    pub(super) processed: Option<Point>,
    /// Whether an invocation that had it failed.
    pub(super) hindered: bool,
}

/// A run.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By event id.
    pub(super) said: BTreeMap<String, Said>,
    pub(super) attempts: Vec<Attempt>,
    /// By the step, as metadata names it.
    pub(super) echoes: BTreeMap<String, Echoed>,
    /// When people took over, by Page and person.
    pub(super) taken_over: Vec<(String, String, Timestamp)>,
    /// Entries whose storing was hindered, by Page and person.
    pub(super) hindered_requests: Vec<(String, String)>,
    /// From when until when something that failed may be felt.
    pub(super) troubles: Vec<(Timestamp, Timestamp)>,
    /// When each sweep that ended began and ended.
    pub(super) sweeps: Vec<(Timestamp, Timestamp)>,
}

impl History {
    /// The webhook has answered 200.
    pub(super) fn accepted(&mut self, body: &[u8], point: Point) {
        for event in split(body, point.at).unwrap_or_default() {
            if let Some(said) = self.said.get_mut(&event.id) {
                said.accepted.get_or_insert(point);
            }
            if let Some(metadata) = own_echo(&event) {
                self.echoes.entry(metadata).or_default().accepted.get_or_insert(point);
            }
        }
    }

    /// A processor has received a message.
    pub(super) fn received(&mut self, text: &str, point: Point) {
        if let Some(said) = event_of(text).and_then(|event| self.said.get_mut(&event.id)) {
            said.received.get_or_insert(point);
        }
    }

    /// A processor is done with a message, or has failed at it.
    pub(super) fn processed(&mut self, text: &str, done: bool, point: Point) {
        let Some(event) = event_of(text) else { return };
        if let Some(metadata) = own_echo(&event) {
            let echo = self.echoes.entry(metadata).or_default();
            if done {
                echo.processed.get_or_insert(point);
            } else {
                echo.hindered = true;
            }
        }
        if done && let Some(said) = self.said.get_mut(&event.id) {
            said.processed.get_or_insert(point);
        }
    }

    /// A request has reached Graph.
    pub(super) fn requested(
        &mut self,
        request: &GraphRequest,
        faulty: bool,
        unclear: bool,
        (invocation, began): (u64, Point),
        point: Point,
    ) {
        let Some(key) = request.metadata.as_deref().and_then(step_of) else {
            return;
        };
        self.attempts.push(Attempt {
            point,
            invocation,
            began,
            key,
            delivered: matches!(request.outcome, Outcome::Delivered { .. }),
            refused: match request.outcome {
                Outcome::Refused { code, subcode, .. } => Some((code, subcode)),
                _ => None,
            },
            faulty,
            unclear,
        });
    }

    /// An invocation has died or met a fault: whatever it sent may not have been written down.
    pub(super) fn troubled(&mut self, invocation: u64) {
        for attempt in self.attempts.iter_mut().filter(|a| a.invocation == invocation) {
            attempt.unclear = true;
        }
    }
}

fn event_of(text: &str) -> Option<Event> {
    Event::from_queue_text(text).ok()
}

fn own_echo(event: &Event) -> Option<String> {
    match &event.kind {
        Kind::Echo(echo) => echo.metadata.as_deref().and_then(step_of).map(|step| step.to_string()),
        _ => None,
    }
}

/// The step of a message's metadata; its tag is not looked at.
fn step_of(metadata: &str) -> Option<StepKey> {
    metadata.rsplit_once('.')?.0.parse().ok()
}
