//! How a bot is asked on the platform: at once and on the caller's thread, so that a run is always the same run.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_processor::{Driver, Work};
use futures_util::future::BoxFuture;
use messenger::bot::{Run, Trouble, Verdict};
use messenger::clock::SharedClock;

/// What a bot that gets stuck may take longer than its limit.
const GRACE: Duration = Duration::from_millis(250);

thread_local! {
    static TAKES: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static IS_STUCK: Cell<bool> = const { Cell::new(false) };
}

/// Lets the bot that is being asked take so much time by the platform's clock before its decision is known; a
/// bot that waits longer than its limit is cut off.
pub fn takes(span: Duration) {
    TAKES.set(TAKES.get() + span);
}

/// Lets the bot that is being asked never come to an end.
pub fn gets_stuck() {
    IS_STUCK.set(true);
}

/// Asks a bot at once; its time passes on the platform's clock.
#[derive(Debug)]
pub struct AtOnce {
    /// The platform's clock.
    pub clock: SharedClock,
    /// Whether whoever sleeps on it waits until it is moved: then others go on while the bot is at work.
    pub waits: bool,
}

impl Driver for AtOnce {
    fn drive(&self, work: Work, limit: Duration) -> BoxFuture<'static, Verdict> {
        TAKES.set(Duration::ZERO);
        IS_STUCK.set(false);
        let asked: Result<Verdict, Box<dyn Any + Send>> =
            catch_unwind(AssertUnwindSafe(|| work(&Once)));
        let (takes, verdict) = match asked {
            _ if IS_STUCK.get() => (limit + GRACE, Err(Trouble::Stuck)),
            Err(_) => (TAKES.get().min(limit), Err(Trouble::Panicked)),
            Ok(_) if TAKES.get() > limit => (limit, Err(Trouble::TimedOut)),
            Ok(verdict) => (TAKES.get(), verdict),
        };
        let clock = SharedClock::clone(&self.clock);
        Box::pin(async move {
            if !takes.is_zero() {
                clock.sleep(takes).await;
            }
            verdict
        })
    }

    fn pause(&self, span: Duration) -> BoxFuture<'static, ()> {
        if self.waits { self.clock.sleep(span) } else { Box::pin(std::future::pending()) }
    }
}

/// Polls once: a bot that waits for something real needs threads.
struct Once;

impl Run for Once {
    fn run(&self, future: Pin<&mut dyn Future<Output = ()>>) -> bool {
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled == Poll::Ready(()), "a bot that is asked at once waits for something");
        true
    }
}
