//! A function's run, as far as sending is concerned.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Outbox, Pace};
use crate::store::{EVENT_PROCESSOR, Lease};
use crate::{aws, graph};
use messenger::clock::{CLOCK_SKEW, Timestamp};

/// What a step may take at most: the call to Meta, and the write of its result.
const STEP_BUDGET: Duration =
    Duration::from_secs(graph::CALL_TIMEOUT.as_secs() + aws::CALL_TIMEOUT.as_secs());

/// How long a lease is valid: for one step, by any function's clock.
const LEASE: Duration = Duration::from_secs(STEP_BUDGET.as_secs() + CLOCK_SKEW.as_secs());

/// How long an event processor may take until its decision is being written, without asking for its
/// lease again.
const THINKING: Duration = Duration::from_secs(10);

/// A function's run: its name, how long it has, how fast it may send.
#[derive(Debug)]
pub struct SendContext {
    /// Names the run in leases, and no other run.
    pub by: String,
    /// When the function is stopped, ms since the epoch.
    pub deadline: Timestamp,
    /// How fast messages may leave; as fast as they can if absent.
    pub pace: Option<Pace>,
}

impl Outbox {
    /// The context of an invocation that ends at `deadline`.
    ///
    /// Its name holds the container's name and a number beside the request id, because Lambda may
    /// run an asynchronous event twice under one request id.
    pub fn context(&self, invocation: &str, deadline: Timestamp) -> SendContext {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let by = format!("{invocation}/{}.{run}", self.container);
        SendContext { by, deadline, pace: None }
    }

    /// The context of an event processor's invocation.
    pub fn event_context(&self, invocation: &str, deadline: Timestamp) -> SendContext {
        let context = self.context(invocation, deadline);
        SendContext { by: format!("{EVENT_PROCESSOR}{}", context.by), ..context }
    }
}

impl SendContext {
    /// A lease for a step that begins at `at`.
    pub fn lease(&self, at: Timestamp) -> Lease {
        Lease { by: self.by.clone(), until: at + LEASE, for_entry: None }
    }

    /// A lease for a decision that becomes this entry.
    pub fn lease_for(&self, entry: String, now: Timestamp) -> Lease {
        let until = now + THINKING + aws::CALL_TIMEOUT + CLOCK_SKEW;
        Lease { by: self.by.clone(), until, for_entry: Some(entry) }
    }

    /// Whether a decision may be written at `now` under a lease that was taken until `until`.
    pub(super) fn may_decide(until: Timestamp, now: Timestamp) -> bool {
        now + aws::CALL_TIMEOUT + CLOCK_SKEW <= until
    }

    /// Whether a step may still be begun.
    pub fn has_time(&self, now: Timestamp) -> bool {
        now + STEP_BUDGET <= self.deadline
    }

    /// Whether something that is not needed may take so long: a step can still be begun after it, and a
    /// decision be written under the lease that is held.
    pub(super) fn has_time_for(
        &self,
        span: Duration,
        leased_until: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let after = now + span;
        self.has_time(after) && leased_until.is_none_or(|until| Self::may_decide(until, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_costs_neither_a_step_nor_the_lease() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let second = Duration::from_secs(1);
        let in_time = now + 4 * second + STEP_BUDGET;
        let context = |deadline| SendContext { by: "a".to_owned(), deadline, pace: None };
        let lease = context(in_time).lease_for("e".to_owned(), now).until;
        for (deadline, leased_until, elapsed, has_time) in [
            (in_time, None, 0, true),
            (in_time - second, None, 0, false),
            (in_time, Some(lease), 0, true),
            (in_time + 60 * second, Some(lease), 6, true),
            (in_time + 60 * second, Some(lease), 7, false),
            (in_time + 60 * second, None, 7, true),
        ] {
            let at = now + elapsed * second;
            let found = context(deadline).has_time_for(4 * second, leased_until, at);
            assert_eq!(found, has_time, "{deadline:?} {leased_until:?} {elapsed}");
        }
    }
}
