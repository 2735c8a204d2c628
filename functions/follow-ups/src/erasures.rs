//! Completes the erasures that are due: second passes, and what people asked Meta for.

use futures_util::{StreamExt, stream};
use messenger::clock::Timestamp;

use crate::FollowUps;

/// How many erasures are worked at side by side.
const AT_ONCE: usize = 4;

/// How often a run asks for more; what is left is due in the next one.
const MOST_ROUNDS: usize = 20;

impl FollowUps {
    /// Completes the erasures that are due; what fails is tried again by the next run.
    pub(crate) async fn complete_erasures(&self, deadline: Timestamp) {
        for _ in 0..MOST_ROUNDS {
            let jobs = match self.erasures.due().await {
                Ok(jobs) if jobs.is_empty() => return,
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::error!(%error, "the erasures that are due are not known");
                    return;
                }
            };
            stream::iter(jobs)
                .for_each_concurrent(AT_ONCE, async |job| {
                    if let Err(error) = self.erasures.complete(&job, deadline).await {
                        tracing::error!(%error, "an erasure is not complete");
                    }
                })
                .await;
        }
    }
}
