//! A function's turn at sending.

use std::time::Duration;

use super::Pace;
use crate::store::Lease;
use crate::{aws, graph};
use messenger::clock::Timestamp;
use messenger::window::Policy;

/// What a step may take at most: the call to Meta, and the write of its result.
const STEP_BUDGET: Duration =
    Duration::from_secs(graph::CALL_TIMEOUT.as_secs() + aws::CALL_TIMEOUT.as_secs());

/// A function's turn at sending: who it is, how long it has, how fast it may go.
#[derive(Debug)]
pub struct SendContext {
    /// What it takes is taken under this name, until well after it has ended.
    pub lease: Lease,
    /// When the function is stopped, ms since the epoch.
    pub deadline: Timestamp,
    /// How fast messages may leave; as fast as they can if absent.
    pub pace: Option<Pace>,
}

impl SendContext {
    /// A turn that ends at `deadline`, named after the invocation.
    ///
    /// What it takes stays taken for the safety margin beyond, so that a clock which is ahead of
    /// ours by less than that does not see it free while we still send.
    pub fn until(deadline: Timestamp, by: impl Into<String>, policy: &Policy) -> Self {
        let lease = Lease { by: by.into(), until: deadline + policy.margin, for_entry: None };
        Self { lease, deadline, pace: None }
    }

    /// Whether a step may still be begun.
    pub fn has_time(&self, now: Timestamp) -> bool {
        now + STEP_BUDGET <= self.deadline
    }
}
