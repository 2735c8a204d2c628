//! What ends, and what its caller does then.

use std::time::Duration;

use backend::store::ConversationKey;
use futures_util::FutureExt;
use messenger::clock::Timestamp;
use messenger::person::Person;
use rand::RngExt;
use serde_json::Value;

use super::{Answer, Work, World};
use crate::platform::{EVENTS, FORWARD};
use crate::search::clock::next_minute;
use crate::search::history::{Deletion, Post};
use crate::search::plan::{Act, ApiCall, Plan};

/// What the follow-ups answer to a request that must not be repeated.
const REFUSED: &str = "bad request";

impl World {
    pub(super) fn reap(&mut self) {
        self.look();
        while let Some(index) = self.running.iter().position(|r| r.task.is_finished()) {
            let invocation = self.running.swap_remove(index);
            let answer = invocation.task.now_or_never();
            let place = self.containers.iter_mut().find(|c| c.number == invocation.container);
            if let Some(container) = place {
                container.is_free = true;
            }
            self.platform.gate.forget(invocation.container);
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
            (Work::Forward(received), Answer::Failures(failures)) => {
                for message in received.iter().filter(|it| !failures.contains(&it.message_id)) {
                    self.platform.sqs.delete(FORWARD, &message.receipt_handle);
                }
            }
            (Work::Call { call, .. }, Answer::Called(200..=299, body)) => {
                self.accepted(call, &body);
            }
            (Work::Sweep, Answer::Done(summary)) => {
                self.history.sweeps.push((began, self.now()));
                let sent = summary.ok().and_then(|summary| summary["claimed"].as_u64());
                self.idle_sweeps = if sent > Some(0) { 0 } else { self.idle_sweeps + 1 };
                let wait = 1 << self.idle_sweeps.min(5);
                self.next_sweep = next_minute(self.now()) + Duration::from_mins(wait - 1);
            }
            // What an agent wrote may be refused for good.
            (Work::Call { call: ApiCall::Answer { .. }, .. }, Answer::Called(400..=499, _))
            | (Work::Request { .. }, Answer::Done(Ok(_))) => {}
            // So is what somebody asks for, as to a person who was erased.
            (Work::Request { .. }, Answer::Done(Err(error))) if error.starts_with(REFUSED) => {}
            (work, _) => self.failed(work),
        }
    }

    /// Retries what failed, as Meta, the queue, the schedule and callers do.
    pub(super) fn failed(&mut self, work: Work) {
        let again = self.now() + Duration::from_secs(self.rng.random_range(0..4));
        let later = |tries: u32| match tries {
            0..4 => again,
            _ => again + Duration::from_secs(1 << tries.min(9)),
        };
        match work {
            Work::Notification { body, tries } => {
                self.plan_at(later(tries), Plan::Post { body, tries: tries + 1 });
            }
            Work::Forward(_) => {}
            Work::Batch(received) => {
                for message in received {
                    let point = self.point();
                    self.history.processed(&message.body, false, point);
                }
            }
            Work::Sweep => self.next_sweep = next_minute(self.now()),
            Work::Call { call, tries } => {
                if let ApiCall::Answer { body, .. } = &call {
                    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                    self.history.hindered_requests.push((text("page_id"), text("psid")));
                }
                self.plan_at(later(tries), Plan::Call { call, tries: tries + 1 });
            }
            Work::Request { payload, tries } => {
                let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
                self.history.hindered_requests.push((text("page_id"), text("psid")));
                self.plan_at(later(tries), Plan::Request { payload, tries: tries + 1 });
            }
        }
    }

    /// The API has accepted a call.
    fn accepted(&mut self, call: ApiCall, body: &Value) {
        let point = self.point();
        match call {
            ApiCall::Answer { .. } => {}
            ApiCall::Erase { page_id, psid } => {
                let person = Person::Psid(psid);
                self.history.erased.push((ConversationKey { page_id, person }, point));
            }
            ApiCall::Delete { user_id, asked_at } => {
                let code = body["confirmation_code"].as_str().unwrap_or_default().to_owned();
                let is_first = !self.history.deletions.iter().any(|known| known.code == code);
                // Meta repeats itself, as it does with notifications.
                if is_first && self.rng.random_bool(0.5) {
                    let later = Duration::from_secs(self.rng.random_range(0..7200));
                    let call = ApiCall::Delete { user_id: user_id.clone(), asked_at };
                    self.plan_at(self.now() + later, Plan::Act(Act::Call(call)));
                }
                self.history.deletions.push(Deletion { code, user_id, asked_at });
            }
        }
    }

    /// Takes note of what other systems received.
    pub(super) fn take_posts(&mut self) {
        let Some(receiver) = &self.receiver else { return };
        for body in receiver.take() {
            let point = self.point();
            let event: Value = serde_json::from_str(&body).unwrap_or_default();
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let forwarder = self.running.iter().find(|it| matches!(it.work, Work::Forward(_)));
            let pk = format!("{}#{}", text("page_id"), text("psid"));
            let checked = forwarder.and_then(|it| self.asked.get(&(it.number, pk))).copied();
            self.tell(format!("    posted: {}", text("id")));
            self.history.posts.push(Post { event_id: text("id"), point, checked });
        }
    }
}
