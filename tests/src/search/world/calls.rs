//! The calls of what runs: released one at a time, with a fault or without, until the invocation ends.

use std::time::Duration;

use backend::store::{ConversationKey, EntryKey, StepKey};
use rand::RngExt;
use serde_json::Value;

use super::{Released, Work, World};
use crate::gate::{Call, GRAPH, Verdict};
use crate::meta::{Fault, GraphRequest, Outcome};
use crate::platform::EVENTS;
use crate::search::history::{Attempt, Point, Typed, step_of};

/// How long a fault may be felt: a lease runs out, a retry has its time, and each may wait for the next
/// run of the schedule, which comes every half hour here while nothing is to be sent.
const FELT_FOR: Duration = Duration::from_mins(75);

/// How long a Page may be paused after a fault that is about all of its messages.
const LONGEST_PAUSE: Duration = Duration::from_hours(5);

/// For how long a call that waits counts as being made: less than a lease covers.
const IN_FLIGHT: Duration = Duration::from_secs(15);

impl World {
    /// Releases one of the calls that wait, with or without a fault.
    pub(super) fn release(&mut self, held: usize) {
        let place = self.rng.random_range(0..held);
        let mut calls = self.platform.gate.held();
        self.note_overlap(&calls, place);
        let call = calls.swap_remove(place);
        let slowest = if self.is_troubled() { 1500 } else { 120 };
        let latency = [0, 5, 40, 300, slowest][self.rng.random_range(0..5)];
        self.platform.clock.forward(Duration::from_millis(latency));
        self.sleepers.wake(self.now());
        let Some(index) = self.running.iter().position(|r| r.container == call.instance) else {
            return;
        };
        if self.is_troubled() && self.rng.random_bool(0.008) {
            self.tell(format!("[{}] dies before {}", self.running[index].number, call.target));
            self.kill(index);
            return;
        }
        let (outage, fault) = if is_send(&call) {
            (self.is_out().then_some(self.outage), self.fault())
        } else {
            (None, None)
        };
        let verdict = match self.verdict(&call.target, fault.is_some()) {
            // Whatever else Graph is asked fails with the Send API.
            Verdict::Go if call.target == GRAPH && !is_send(&call) && self.is_out() => {
                Verdict::Refused
            }
            verdict => verdict,
        };
        let number = self.running[index].number;
        self.bodies.insert(self.story.len(), call.body.clone());
        self.tell(format!("[{number}] {} {verdict:?} {fault:?}", call.target));
        let unclear = match &fault {
            Some(Fault::Error { code: 1, .. }) => true,
            Some(Fault::Error { .. } | Fault::Throttled { .. }) => false,
            Some(_) => true,
            None => verdict == Verdict::CallerDies,
        };
        let is_faulty = fault.is_some();
        // Meta pauses the Page.
        let pauses =
            matches!(fault, Some(Fault::Throttled { .. } | Fault::Error { code: 10 | 368, .. }));
        let felt_for = if pauses { LONGEST_PAUSE } else { FELT_FOR };
        if let Some(fault) = fault {
            self.platform.meta.fail_next(fault);
        }
        if verdict != Verdict::Refused {
            self.observe(&call, number);
        }
        if verdict != Verdict::Go && verdict != Verdict::Twice {
            self.history.troubled(number);
        }
        if verdict != Verdict::Go || is_faulty {
            self.trouble(felt_for);
        }
        self.platform.gate.release(place, verdict);
        self.released =
            Some(Released { call, invocation: number, is_faulty, unclear, outage, verdict });
    }

    /// Notes if another function is sending to the same person at the same time.
    fn note_overlap(&mut self, calls: &[Call], place: usize) {
        let call = &calls[place];
        let now = self.now();
        let is_in_flight = |call: &Call| {
            self.arrivals.get(call).is_some_and(|arrived| now.since(*arrived) < IN_FLIGHT)
        };
        let Some(person) = addressee(call).filter(|_| is_in_flight(call)) else { return };
        let others = calls.iter().filter(|other| other.instance != call.instance);
        let mut others = others.filter(|other| addressee(other).as_ref() == Some(&person));
        if others.any(is_in_flight) {
            self.history.overlaps.push(format!("at {now} to {person}"));
        }
    }

    /// Notes which messages are at the gate on their way to Graph.
    pub(super) fn note_arrivals(&mut self) {
        let mut held = self.platform.gate.held();
        held.retain(|call| call.target == GRAPH);
        let now = self.now();
        self.arrivals.retain(|call, _| held.contains(call));
        for call in held {
            self.arrivals.entry(call).or_insert(now);
        }
    }

    fn is_out(&self) -> bool {
        self.now() < self.outage_until
    }

    /// Lets the queue show a message again, although its invocation still works at it.
    pub(super) fn lose_patience(&mut self) {
        if !self.weather.is_impatient || !self.is_troubled() || !self.rng.random_bool(0.01) {
            return;
        }
        let batches = self.running.iter().filter_map(|running| match &running.work {
            Work::Batch(received) => Some((running.number, received.clone())),
            _ => None,
        });
        let batches: Vec<_> = batches.collect();
        if batches.is_empty() {
            return;
        }
        let (number, received) = &batches[self.rng.random_range(0..batches.len())];
        self.tell(format!("the queue shows again what [{number}] still works at"));
        self.trouble(FELT_FOR);
        for message in received {
            self.platform.sqs.show_again(EVENTS, &message.receipt_handle);
        }
    }

    pub(super) fn verdict(&mut self, target: &str, has_fault: bool) -> Verdict {
        if !self.is_troubled() || has_fault {
            return Verdict::Go;
        }
        let chance = self.rng.random_range(0..1000);
        match chance {
            0..8 => Verdict::CallerDies,
            _ if target == GRAPH => Verdict::Go,
            8..20 => Verdict::Refused,
            20..30 => Verdict::AnswerLost,
            30..40 => Verdict::Twice,
            _ => Verdict::Go,
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        if self.is_out() {
            return Some(match self.rng.random_range(0..3) {
                0 => Fault::LostRequest,
                1 => Fault::Http5xx,
                _ => Fault::Error { http: 500, code: 1, subcode: None },
            });
        }
        if !self.is_troubled() || self.rng.random_bool(0.82) {
            return None;
        }
        let error = |http, code, subcode| Fault::Error { http, code, subcode };
        Some(match self.rng.random_range(0..20) {
            0..7 => Fault::LostAnswer,
            7..9 => Fault::LostRequest,
            9..13 => Fault::UnknownDelivered,
            13..15 => Fault::Http5xx,
            15..17 => error(500, 2, None),
            17 => Fault::Throttled { regain_minutes: self.rng.random_range(1..90) },
            18 => error(400, 10, Some(1_893_063)),
            _ => error(400, 368, None),
        })
    }

    /// Looks at what the released call has led to.
    pub(super) fn look(&mut self) {
        let Some(released) = self.released.take() else { return };
        let requests = self.platform.meta.requests();
        for request in requests.iter().skip(self.requests_seen) {
            let point = self.point();
            self.tell(format!("    Graph: {} {:?}", request.message["text"], request.outcome));
            if request.sender_action.as_deref() == Some("typing_on") {
                self.note_typing(&released, request);
            }
            let Some(key) = request.metadata.as_deref().and_then(step_of) else { continue };
            let attempt = self.attempt(&released, key, point);
            self.history.requested(request, attempt);
            self.may_forge(request);
        }
        self.requests_seen = requests.len();
        if released.verdict == Verdict::CallerDies {
            let dying = self.running.iter().position(|r| r.number == released.invocation);
            if let Some(index) = dying {
                self.tell(format!("[{}] dies after it", released.invocation));
                self.kill(index);
            }
        }
    }

    fn note_typing(&mut self, released: &Released, request: &GraphRequest) {
        let Some(psid) = request.psid.clone() else { return };
        let thinking = (released.invocation, format!("{}#{psid}", request.page_id));
        let is_decided = |entry: &EntryKey| {
            self.history.put.get(entry).is_some_and(|put| put.by == released.invocation)
        };
        let is_thinking = self.thinking.get(&thinking).is_some_and(|entry| !is_decided(entry));
        let refused = match &request.outcome {
            // A token that was just replaced is noticed by its first use.
            Outcome::Refused { code, subcode, message }
                if !released.is_faulty && *code != 190 && !message.contains("appsecret_proof") =>
            {
                Some((*code, *subcode))
            }
            _ => None,
        };
        self.history.typed.push(Typed { at: self.now(), psid, refused, is_thinking });
    }

    fn attempt(&self, released: &Released, key: StepKey, point: Point) -> Attempt {
        let invocation = released.invocation;
        let began = self.running.iter().find(|r| r.number == invocation);
        let ConversationKey { page_id, person } = &key.entry.conversation_key;
        let asked = self.asked.get(&(invocation, format!("{page_id}#{person}")));
        Attempt {
            point,
            invocation,
            began: began.map_or(point, |invocation| invocation.began),
            checked: asked.copied(),
            key,
            delivered: false,
            refused: None,
            of_credentials: false,
            faulty: released.is_faulty,
            outage: released.outage,
            unclear: released.unclear,
        }
    }

    fn may_forge(&mut self, request: &GraphRequest) {
        let is_lost = matches!(request.outcome, Outcome::Failed { .. });
        let forges = self.weather.has_forgers && is_lost && self.rng.random_bool(0.5);
        if let (true, Some(metadata), Some(psid)) = (forges, &request.metadata, &request.psid) {
            self.forge(&request.page_id, psid, metadata);
        }
    }

    /// Lambda stops invocations that exceed their time limit.
    pub(super) fn stop_overdue(&mut self) {
        while let Some(index) = self.running.iter().position(|r| r.ends_at < self.now()) {
            self.tell(format!("[{}] has run out of time", self.running[index].number));
            self.kill(index);
        }
    }

    /// Something fails, which may be felt for so long.
    fn trouble(&mut self, felt_for: Duration) {
        let now = self.now();
        self.history.troubles.push((now, now + felt_for));
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.trouble(FELT_FOR);
        let invocation = self.running.swap_remove(index);
        invocation.task.abort();
        self.platform.gate.forget(invocation.container);
        let dead = self.containers.extract_if(.., |it| it.number == invocation.container);
        self.orphans.extend(dead.map(|container| container.functions.bots_at_work.clone()));
        self.history.troubled(invocation.number);
        self.failed(invocation.work);
    }
}

fn is_send(call: &Call) -> bool {
    call.target == GRAPH && call.body.contains("\"recipient\"")
}

/// To whom a call sends a message.
fn addressee(call: &Call) -> Option<String> {
    if call.target != GRAPH {
        return None;
    }
    let request: Value = serde_json::from_str(&call.body).ok()?;
    request["message"].as_object()?;
    request["recipient"]["id"].as_str().map(str::to_owned)
}
