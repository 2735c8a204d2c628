//! What happened in a run, as an onlooker saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backend::store::{ConversationKey, EntryKey, StepKey};
use messenger::clock::Timestamp;
use messenger::event::{Event, Kind, split};
use messenger::person::Person;
use serde_json::{Map, Value};

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
    /// When it happened.
    pub(super) at: Timestamp,
    /// By how much Meta gives a later time.
    pub(super) ahead: Duration,
    /// When the webhook first answered 200.
    pub(super) accepted: Option<Point>,
    /// When a processor first received it.
    pub(super) received: Option<Point>,
    /// When its processing was first done.
    pub(super) processed: Option<Point>,
}

impl Said {
    pub(super) fn conversation_key(&self) -> ConversationKey {
        let (page_id, person) = (self.page_id.clone(), Person::Psid(self.psid.clone()));
        ConversationKey { page_id, person }
    }
}

/// One request for a step that reached Graph.
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) point: Point,
    pub(super) invocation: u64,
    /// When the invocation that made it began.
    pub(super) began: Point,
    pub(super) key: StepKey,
    pub(super) delivered: bool,
    pub(super) refused: Option<(i64, Option<i64>)>,
    /// Whether it was refused because of a token or a proof that had just been replaced.
    pub(super) of_credentials: bool,
    /// Whether Meta's answer was a fault of the run's.
    pub(super) faulty: bool,
    /// The outage that it fell into.
    pub(super) outage: Option<u64>,
    /// Whether the function could not know, or could not write down, what became of it.
    pub(super) unclear: bool,
    /// When its sender last asked the table about the person.
    pub(super) checked: Option<Point>,
}

/// People or the bot answer from now on.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub(super) page_id: String,
    pub(super) psid: String,
    /// When it happened.
    pub(super) at: Timestamp,
    /// Whether it is the bot.
    pub(super) is_given_back: bool,
    pub(super) processed: Option<Point>,
}

/// An event that is to be passed on.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    pub(super) conversation_key: ConversationKey,
    /// When it happened, by the earliest account of it.
    pub(super) happened_at: Timestamp,
    /// When it happened, by the latest account of it: webhooks' clocks differ.
    pub(super) happened_by: Timestamp,
}

/// An entry's way into the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    pub(super) point: Point,
    /// The invocation that put it there.
    pub(super) by: u64,
    /// When its writer last asked the table about the person.
    pub(super) checked: Option<Point>,
}

/// A memo that was kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The event's entry, and what was done.
    pub(super) key: String,
    pub(super) point: Point,
    /// When the invocation that kept it began.
    pub(super) began: Point,
}

/// Typing that was shown, or that Meta refused to show.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) at: Timestamp,
    pub(super) psid: String,
    /// What Meta's answer was, if it refused and had no fault.
    pub(super) refused: Option<(i64, Option<i64>)>,
    /// Whether an event of the person was being thought about, and not decided.
    pub(super) is_thinking: bool,
}

/// The mark of an erasure, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) conversation_key: ConversationKey,
    /// What happened until then is erased.
    pub(super) erased_at: Timestamp,
    /// When it was written.
    pub(super) point: Point,
    /// When it was written last: what was decided before the first time may have come in between.
    pub(super) again: Point,
    /// Who wrote it.
    pub(super) by: BTreeSet<u64>,
}

/// A data deletion that the API accepted.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    pub(super) code: String,
    pub(super) user_id: String,
    pub(super) asked_at: Timestamp,
}

/// An event that was posted to another system.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub(super) event_id: String,
    pub(super) point: Point,
    /// When the forwarder last asked the table about the person.
    pub(super) checked: Option<Point>,
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
    /// Who is to answer, by event id.
    pub(super) controls: BTreeMap<String, Control>,
    /// What was processed and is to be passed on, by event id.
    pub(super) inbound: BTreeMap<String, Inbound>,
    /// What other systems received.
    pub(super) posts: Vec<Post>,
    /// Metadata that was sent: whatever else has its form is made up.
    pub(super) metadata: BTreeSet<String>,
    pub(super) marks: Vec<Mark>,
    /// People whose erasure the API confirmed.
    pub(super) erased: Vec<(ConversationKey, Point)>,
    pub(super) deletions: Vec<Deletion>,
    /// When each entry was last put into the table, and when its writer had looked at the person.
    pub(super) put: BTreeMap<EntryKey, Put>,
    pub(super) kept: Vec<Kept>,
    pub(super) typed: Vec<Typed>,
    /// Steps that were marked as being sent, and by which invocation.
    pub(super) claims: Vec<(u64, StepKey)>,
    /// Invocations that died or met a fault.
    pub(super) hindered: BTreeSet<u64>,
    /// What the table dropped because its time was up.
    pub(super) expired: Vec<Map<String, Value>>,
    /// By how much the index lags behind the table.
    pub(super) index_lag: Duration,
    /// Whether the previous app secret was thrown away, with which echoes on their way were signed.
    pub(super) has_lost_secret: bool,
    /// Two functions that were sending to a person at the same time.
    pub(super) overlaps: Vec<String>,
    /// Entries whose storing was hindered, by Page and person.
    pub(super) hindered_requests: Vec<(String, String)>,
    /// From when until when something that failed may be felt.
    pub(super) troubles: Vec<(Timestamp, Timestamp)>,
    /// When each sweep that ended began and ended.
    pub(super) sweeps: Vec<(Timestamp, Timestamp)>,
}

impl History {
    /// Takes note of a mark: of the first time that it is written, and of each further time.
    pub(super) fn marked(
        &mut self,
        conversation_key: ConversationKey,
        erased_at: Timestamp,
        by: u64,
        point: Point,
    ) {
        let mut known = self.marks.iter_mut();
        let is_same = |mark: &&mut Mark| {
            mark.conversation_key == conversation_key && mark.erased_at == erased_at
        };
        if let Some(mark) = known.find(is_same) {
            mark.again = point;
            mark.by.insert(by);
        } else {
            let by = BTreeSet::from([by]);
            self.marks.push(Mark { conversation_key, erased_at, point, again: point, by });
        }
    }

    /// The webhook has answered 200.
    pub(super) fn accepted(&mut self, body: &[u8], point: Point) {
        for event in split(body, point.at).unwrap_or_default() {
            if let Some(said) = self.said.get_mut(&event.id) {
                said.accepted.get_or_insert(point);
            }
            if let Some(metadata) = self.own_echo(&event) {
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
        if let Some(metadata) = self.own_echo(&event) {
            let echo = self.echoes.entry(metadata).or_default();
            if done {
                echo.processed.get_or_insert(point);
            } else {
                echo.hindered = true;
            }
            return;
        }
        if !done {
            return;
        }
        if let Some(said) = self.said.get_mut(&event.id) {
            said.processed.get_or_insert(point);
        }
        if let Some(control) = self.controls.get_mut(&event.id) {
            control.processed.get_or_insert(point);
        }
        if event.is_own() || matches!(event.kind, Kind::Delivery(_) | Kind::Read(_)) {
            return;
        }
        if let Some(person) = event.person.clone() {
            let conversation_key = ConversationKey { page_id: event.page_id.clone(), person };
            let happened_at = event.happened_at();
            self.inbound
                .entry(event.id)
                .and_modify(|inbound| {
                    inbound.happened_at = inbound.happened_at.min(happened_at);
                    inbound.happened_by = inbound.happened_by.max(happened_at);
                })
                .or_insert(Inbound { conversation_key, happened_at, happened_by: happened_at });
        }
    }

    /// The step whose message an echo is of, unless somebody made it up.
    fn own_echo(&self, event: &Event) -> Option<String> {
        let Kind::Echo(echo) = &event.kind else { return None };
        let metadata = echo.metadata.as_deref().filter(|it| self.metadata.contains(*it))?;
        step_of(metadata).map(|step| step.to_string())
    }

    /// When people took over from the bot for a person.
    pub(super) fn taken_over<'a>(
        &'a self,
        page_id: &'a str,
        psid: &'a str,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        self.controls_of(page_id, psid).filter(|control| !control.is_given_back).map(|it| it.at)
    }

    pub(super) fn controls_of<'a>(
        &'a self,
        page_id: &'a str,
        psid: &'a str,
    ) -> impl Iterator<Item = &'a Control> + 'a {
        let of_person = move |it: &&Control| it.page_id == page_id && it.psid == psid;
        self.controls.values().filter(of_person)
    }

    /// A request has reached Graph.
    pub(super) fn requested(&mut self, request: &GraphRequest, mut attempt: Attempt) {
        let Some(metadata) = &request.metadata else { return };
        let Some(key) = step_of(metadata) else { return };
        self.metadata.insert(metadata.clone());
        attempt.key = key;
        match &request.outcome {
            Outcome::Delivered { .. } => attempt.delivered = true,
            Outcome::Refused { code, subcode, message } => {
                attempt.refused = Some((*code, *subcode));
                attempt.of_credentials = *code == 190 || message.contains("appsecret_proof");
            }
            _ => {}
        }
        self.attempts.push(attempt);
    }

    /// An invocation has died or met a fault: whatever it sent may not have been written down.
    pub(super) fn troubled(&mut self, invocation: u64) {
        self.hindered.insert(invocation);
        for attempt in self.attempts.iter_mut().filter(|a| a.invocation == invocation) {
            attempt.unclear = true;
        }
    }
}

fn event_of(text: &str) -> Option<Event> {
    Event::from_queue_text(text).ok()
}

/// The step of a message's metadata; its tag is not looked at.
pub(super) fn step_of(metadata: &str) -> Option<StepKey> {
    metadata.rsplit_once('.')?.0.parse().ok()
}
