//! Something else that happens in the middle of a piece of work.

use std::future::Future;

use simulator::gate::Verdict;

use super::*;

/// Lets the work of a numbered instance make so many calls, lets something else happen, and lets the work go
/// on unless it dies then: whether it had not ended before, and what came of the other.
pub(super) async fn interrupt_after<T, R>(
    platform: &Platform,
    calls: usize,
    dies: bool,
    work: impl Future<Output = T>,
    interruption: impl AsyncFnOnce() -> R,
) -> (bool, R) {
    platform.gate.close();
    tokio::pin!(work);
    let passes = async |most: usize| {
        let mut passed = 0;
        while passed < most {
            if platform.gate.held().is_empty() {
                tokio::task::yield_now().await;
            } else {
                platform.gate.release(0, Verdict::Go);
                passed += 1;
            }
        }
        while platform.gate.held().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let is_midway = tokio::select! {
        _ = &mut work => false,
        () = passes(calls) => true,
    };
    let came_of_it = interruption().await;
    if is_midway && !dies {
        tokio::select! {
            _ = &mut work => {}
            () = passes(usize::MAX) => {}
        }
    }
    platform.gate.forget(1);
    (is_midway, came_of_it)
}
