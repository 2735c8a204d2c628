//! The calls of what runs: released one at a time, with a fault or without, until the invocation ends.

use std::time::Duration;

use futures_util::FutureExt;
use messenger::clock::Timestamp;
use rand::RngExt;

use super::{Answer, Released, Work, World, next_minute};
use crate::gate::{GRAPH, Verdict};
use crate::meta::Fault;
use crate::platform::EVENTS;
use crate::search::plan::Plan;

/// How long a fault may be felt: a lease runs out, a retry has its time.
const FELT_FOR: Duration = Duration::from_mins(10);

/// How long a Page may be paused after a fault that is about all of its messages.
const LONGEST_PAUSE: Duration = Duration::from_hours(5);

impl World {
    /// Releases one of the calls that wait, with or without a fault.
    pub(super) fn release(&mut self, held: usize) {
        let place = self.rng.random_range(0..held);
        let call = self.platform.gate.held().swap_remove(place);
        let latency = [0, 5, 40, 300, 1500][self.rng.random_range(0..5)];
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
        let fault = self.fault(&call.target);
        let verdict = self.verdict(&call.target, fault.is_some());
        let number = self.running[index].number;
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
        if verdict != Verdict::Go && verdict != Verdict::Twice {
            self.history.troubled(number);
        }
        if verdict != Verdict::Go || is_faulty {
            let now = self.now();
            self.history.troubles.push((now, now + felt_for));
        }
        self.platform.gate.release(place, verdict);
        self.released = Some(Released { invocation: number, is_faulty, unclear, verdict });
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

    pub(super) fn fault(&mut self, target: &str) -> Option<Fault> {
        if target == GRAPH && self.now() < self.outage_until {
            return Some(match self.rng.random_range(0..3) {
                0 => Fault::LostRequest,
                1 => Fault::Http5xx,
                _ => Fault::Error { http: 500, code: 1, subcode: None },
            });
        }
        if target != GRAPH || !self.is_troubled() || self.rng.random_bool(0.82) {
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
            let began = self.running.iter().find(|r| r.number == released.invocation);
            let began = began.map_or(point, |invocation| invocation.began);
            let invocation = (released.invocation, began);
            let (faulty, unclear) = (released.is_faulty, released.unclear);
            self.history.requested(request, faulty, unclear, invocation, point);
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

    /// Lambda stops invocations that exceed their time limit.
    pub(super) fn stop_overdue(&mut self) {
        while let Some(index) = self.running.iter().position(|r| r.ends_at < self.now()) {
            self.tell(format!("[{}] has run out of time", self.running[index].number));
            self.kill(index);
        }
    }

    pub(super) fn kill(&mut self, index: usize) {
        let now = self.now();
        self.history.troubles.push((now, now + FELT_FOR));
        let invocation = self.running.swap_remove(index);
        invocation.task.abort();
        self.platform.gate.forget(invocation.container);
        self.containers.retain(|container| container.number != invocation.container);
        self.history.troubled(invocation.number);
        self.failed(invocation.work);
    }

    // What ends.

    pub(super) fn reap(&mut self) {
        self.look();
        while let Some(index) = self.running.iter().position(|r| r.task.is_finished()) {
            let invocation = self.running.swap_remove(index);
            let answer = invocation.task.now_or_never();
            let place = self.containers.iter_mut().find(|c| c.number == invocation.container);
            if let Some(container) = place {
                container.is_free = true;
            }
            self.tell(format!("[{}] is done", invocation.number));
            match answer {
                Some(Ok(answer)) => self.answered(invocation.work, answer, invocation.began.at),
                _ => self.failed(invocation.work),
            }
        }
    }

    pub(super) fn answered(&mut self, work: Work, answer: Answer, began: Timestamp) {
        match (work, answer) {
            (Work::Notification { body, .. }, Answer::Status(200)) => {
                let point = self.point();
                self.history.accepted(&body, point);
            }
            (Work::Batch(received), Answer::Failures(failures)) => {
                for message in received {
                    let done = !failures.contains(&message.message_id);
                    let point = self.point();
                    self.history.processed(&message.body, done, point);
                    if done {
                        self.platform.sqs.delete(EVENTS, &message.receipt_handle);
                    }
                }
            }
            (Work::Sweep, Answer::Done(summary)) => {
                self.history.sweeps.push((began, self.now()));
                let sent = summary.ok().and_then(|summary| summary["claimed"].as_u64());
                self.idle_sweeps = if sent > Some(0) { 0 } else { self.idle_sweeps + 1 };
                let wait = 1 << self.idle_sweeps.min(5);
                self.next_sweep = next_minute(self.now()) + Duration::from_mins(wait - 1);
            }
            (Work::Request { .. }, Answer::Done(Ok(_)))
            | (Work::Answer { .. }, Answer::Status(200..=499)) => {}
            (work, _) => self.failed(work),
        }
    }

    /// Retries what failed, as Meta, the queue, the schedule and callers do.
    pub(super) fn failed(&mut self, work: Work) {
        let again = self.now() + Duration::from_secs(self.rng.random_range(0..4));
        match work {
            Work::Notification { body, tries } => {
                self.plan_at(again, Plan::Post { body, tries: tries + 1 });
            }
            Work::Batch(received) => {
                for message in received {
                    let point = self.point();
                    self.history.processed(&message.body, false, point);
                }
            }
            Work::Sweep => self.next_sweep = next_minute(self.now()),
            Work::Answer { body, key, tries } => {
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                self.history.hindered_requests.push((text("page_id"), text("psid")));
                self.plan_at(again, Plan::Answer { body, key, tries: tries + 1 });
            }
            Work::Request { payload, tries } => {
                let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
                self.history.hindered_requests.push((text("page_id"), text("psid")));
                self.plan_at(again, Plan::Request { payload, tries: tries + 1 });
            }
        }
    }
}
