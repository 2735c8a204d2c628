//! Something else that happens in the middle of a piece of work.

use std::cell::{Cell, RefCell};
use std::future::Future;

use simulator::gate::{Call, Verdict};

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

/// What came of two pieces of work that took turns.
pub(super) struct Turns {
    /// The first had not ended with the turns.
    pub(super) was_midway: bool,
    /// The calls of both.
    pub(super) calls: Vec<Call>,
}

/// Does two pieces of work side by side, the first of the instance 1 and the second of the instance 2. In
/// each turn an instance makes so many calls, or what is left of its work; after the turns, the second
/// makes the rest of its calls, then the first. The first begins in its first turn.
pub(super) async fn take_turns(
    platform: &Platform,
    first: impl Future<Output = ()>,
    second: impl Future<Output = ()>,
    turns: &[(u64, usize)],
) -> Turns {
    platform.gate.close();
    let calls = &RefCell::new(Vec::new());
    let (begun, done) = (&Cell::new(false), [&Cell::new(false), &Cell::new(false)]);
    let works = async {
        let first = async {
            while !begun.get() {
                tokio::task::yield_now().await;
            }
            first.await;
            done[0].set(true);
        };
        let second = async {
            second.await;
            done[1].set(true);
        };
        tokio::join!(first, second);
    };
    let pass = async |instance: u64, most: usize| {
        let is_done = if instance == 1 { done[0] } else { done[1] };
        if instance == 1 {
            begun.set(true);
        }
        let mut passed = 0;
        while passed < most && !is_done.get() {
            let held = platform.gate.held();
            match held.iter().position(|call| call.instance == instance) {
                Some(place) => {
                    calls.borrow_mut().push(held[place].clone());
                    platform.gate.release(place, Verdict::Go);
                    passed += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
    };
    let mut was_midway = false;
    let all = async {
        for &(instance, calls) in turns {
            pass(instance, calls).await;
        }
        was_midway = !done[0].get();
        pass(2, usize::MAX).await;
        pass(1, usize::MAX).await;
    };
    tokio::join!(works, all);
    Turns { was_midway, calls: calls.take() }
}
