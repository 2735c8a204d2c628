//! How a bot is asked on the platform so that a run is always the same run: its time passes on the platform's clock.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_processor::{Driver, Work};
use futures_util::future::{BoxFuture, Either, select};
use messenger::bot::{Run, Trouble, Verdict};
use messenger::clock::SharedClock;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

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
        let (takes, verdict) = asked(work, &Once, limit);
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

/// What the bot's work comes to, and how long it takes by the platform's clock.
fn asked(work: Work, runner: &dyn Run, limit: Duration) -> (Duration, Verdict) {
    TAKES.set(Duration::ZERO);
    IS_STUCK.set(false);
    let asked: Result<Verdict, Box<dyn Any + Send>> =
        catch_unwind(AssertUnwindSafe(|| work(runner)));
    match asked {
        _ if IS_STUCK.get() => (limit + GRACE, Err(Trouble::Stuck)),
        Err(_) => (TAKES.get().min(limit), Err(Trouble::Panicked)),
        Ok(_) if TAKES.get() > limit => (limit, Err(Trouble::TimedOut)),
        Ok(verdict) => (TAKES.get(), verdict),
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

/// Asks a bot on a thread of its own, where it may wait for something real; time passes on the platform's clock only.
#[derive(Debug)]
pub struct OnThreads {
    /// The platform's clock.
    pub clock: SharedClock,
    /// How many bots are at work.
    pub at_work: AtWork,
}

/// How many bots are at work on threads of their own.
#[derive(Clone, Debug, Default)]
pub struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn begin(&self) -> One {
        self.0.fetch_add(1, Ordering::SeqCst);
        One(Arc::clone(&self.0))
    }
}

/// One bot that is at work, until this is dropped.
struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Driver for OnThreads {
    fn drive(&self, work: Work, limit: Duration) -> BoxFuture<'static, Verdict> {
        let (clock, at_work) = (SharedClock::clone(&self.clock), self.at_work.clone());
        Box::pin(async move {
            let (waits, is_given_up) = oneshot::channel();
            let (tells, told) = oneshot::channel();
            let (runtime, one) = (Handle::current(), at_work.begin());
            spawn_blocking(move || {
                let runner = OnThread { runtime, is_given_up: RefCell::new(is_given_up) };
                let _ = tells.send(asked(work, &runner, limit));
                // Not before whoever waits has been woken: they are at work from then on.
                drop(one);
            });
            let (takes, verdict) = match select(told, clock.sleep(limit)).await {
                Either::Left((Ok(asked), _)) => asked,
                Either::Left((Err(_), _)) => (Duration::ZERO, Err(Trouble::Panicked)),
                Either::Right(_) => (Duration::ZERO, Err(Trouble::TimedOut)),
            };
            drop(waits);
            if !takes.is_zero() {
                clock.sleep(takes).await;
            }
            verdict
        })
    }

    fn pause(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(span)
    }
}

/// Waits for the bot until nobody waits for the answer any more.
struct OnThread {
    runtime: Handle,
    is_given_up: RefCell<oneshot::Receiver<()>>,
}

impl Run for OnThread {
    fn run(&self, future: Pin<&mut dyn Future<Output = ()>>) -> bool {
        let mut is_given_up = self.is_given_up.borrow_mut();
        let waited = self.runtime.block_on(select(future, &mut *is_given_up));
        matches!(waited, Either::Left(_))
    }
}
