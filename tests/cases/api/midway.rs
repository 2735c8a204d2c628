//! Pieces of work on another machine, and what happens in their middle or beside them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::Arc;

use futures_util::future::{LocalBoxFuture, join_all};
use messenger::clock::SharedClock;
use simulator::functions::Functions;
use simulator::gate::{Call, Verdict};
use simulator::platform::batch;

use super::*;

/// Sends a request of the samples to the API on another machine.
pub(super) async fn request(
    platform: &Platform,
    functions: &Functions,
    sample: &str,
    body: Option<&Value>,
) {
    let mut sample = samples::read(sample).unwrap();
    if let Some(body) = body {
        sample["body"] = body.to_string().into();
    }
    let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
    let deadline = platform.clock.now() + 29 * SECOND;
    functions.api.handle(&request, "midway", deadline).await;
}

/// Processes the queue's next event as another container would.
pub(super) async fn process(platform: &Platform, functions: &Functions) {
    let received = platform.sqs.receive(EVENTS, 1);
    let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
    let answer = Box::pin(functions.processor.handle(batch(&received), "midway", deadline)).await;
    if answer.batch_item_failures.is_empty() {
        platform.sqs.delete(EVENTS, &received[0].receipt_handle);
    }
}

/// Processes the queue's next event in a container that dies at such a call.
pub(super) async fn die_processing(platform: &Platform, dies_at: fn(&Call) -> bool) {
    let clock: SharedClock = Arc::clone(&platform.clock) as _;
    let functions = platform.instance(0, &clock).unwrap();
    platform.gate.crash_at_each(dies_at);
    let work = Box::pin(process(platform, &functions));
    tokio::select! {
        () = work => panic!("the event processor did not die"),
        () = platform.gate.crashed() => {}
    }
    platform.gate.spare();
}

/// Sends what is due, as the schedule does on another machine.
pub(super) async fn sweep(platform: &Platform, functions: &Functions) {
    let deadline = platform.clock.now() + 55 * SECOND;
    let tick = json!({"source": "schedule"});
    Box::pin(functions.follow_ups.handle(tick, "midway", deadline)).await.unwrap();
}

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
        let_through(platform, 1, most, &Cell::new(false)).await;
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

/// What came of pieces of work that took turns.
pub(super) struct Turns {
    /// The first had not ended with the turns.
    pub(super) was_midway: bool,
    /// The calls of all, in their order.
    pub(super) calls: Vec<Call>,
}

/// Does pieces of work side by side, the first of the instance 1, the second of the instance 2, and so on.
///
/// In each turn an instance makes so many calls, or what is left of its work; after the turns, each makes
/// the rest of its calls, the last first. A piece of work begins with its first turn.
pub(super) async fn take_turns<const COUNT: usize>(
    platform: &Platform,
    works: [LocalBoxFuture<'_, ()>; COUNT],
    turns: &[(u64, usize)],
) -> Turns {
    platform.gate.close();
    let (begun, done) = (&cells::<COUNT>(), &cells::<COUNT>());
    let works = works.into_iter().enumerate().map(async |(place, work)| {
        while !begun[place].get() {
            tokio::task::yield_now().await;
        }
        work.await;
        done[place].set(true);
    });
    let calls = RefCell::new(Vec::new());
    let pass = async |instance: u64, most: usize| {
        let place = usize::try_from(instance).unwrap() - 1;
        begun[place].set(true);
        let passed = let_through(platform, instance, most, &done[place]).await;
        calls.borrow_mut().extend(passed);
    };
    let mut was_midway = false;
    let all = async {
        for &(instance, calls) in turns {
            pass(instance, calls).await;
        }
        was_midway = !done[0].get();
        for instance in (1..=COUNT as u64).rev() {
            pass(instance, usize::MAX).await;
        }
    };
    tokio::join!(join_all(works), all);
    Turns { was_midway, calls: calls.into_inner() }
}

fn cells<const COUNT: usize>() -> [Cell<bool>; COUNT] {
    [const { Cell::new(false) }; COUNT]
}

/// Lets an instance make so many calls, or what is left of its work: the calls.
async fn let_through(
    platform: &Platform,
    instance: u64,
    most: usize,
    is_done: &Cell<bool>,
) -> Vec<Call> {
    let mut passed = Vec::new();
    while passed.len() < most && !is_done.get() {
        let held = platform.gate.held();
        match held.iter().position(|call| call.instance == instance) {
            Some(place) => {
                passed.push(held[place].clone());
                platform.gate.release(place, Verdict::Go);
            }
            None => tokio::task::yield_now().await,
        }
    }
    passed
}
