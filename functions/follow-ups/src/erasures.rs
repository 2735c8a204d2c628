//! Completes the erasures that are due: second passes, and what people asked Meta for.

use std::time::Duration;

use backend::store::ErasureJob;
use backend::{aws, graph};
use futures_util::{StreamExt, stream};
use messenger::clock::Timestamp;

use crate::FollowUps;

/// How many erasures are worked at side by side.
const AT_ONCE: usize = 4;

/// What an erasure may take: Meta's answer, and some calls to the table.
const JOB_BUDGET: Duration =
    Duration::from_secs(graph::CALL_TIMEOUT.as_secs() + 2 * aws::CALL_TIMEOUT.as_secs());

impl FollowUps {
    /// Completes the erasures that are due; what fails is tried again by the next run.
    pub(crate) async fn complete_erasures(&self, deadline: Timestamp) {
        loop {
            let jobs = match self.erasures.due().await {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::error!(%error, "the erasures that are due are not known");
                    return;
                }
            };
            let complete = |job| self.complete_erasure(job, deadline);
            let complete = stream::iter(jobs).map(complete).buffer_unordered(AT_ONCE);
            let completed = complete.collect::<Vec<bool>>().await;
            if completed.is_empty() || completed.contains(&false) {
                return;
            }
        }
    }

    /// Completes an erasure, if there is time: whether it is complete.
    async fn complete_erasure(&self, job: ErasureJob, deadline: Timestamp) -> bool {
        if self.clock.now() + JOB_BUDGET > deadline {
            return false;
        }
        let completed = self.erasures.complete(&job, deadline).await;
        if let Err(error) = &completed {
            tracing::error!(%error, "an erasure is not complete");
        }
        completed.is_ok()
    }
}
