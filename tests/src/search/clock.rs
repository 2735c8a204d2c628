//! Clocks that differ, on which whoever sleeps waits for the search to move time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use messenger::clock::{Clock, Timestamp};
use tokio::sync::oneshot;

use crate::clock::VirtualClock;

/// Somebody who sleeps.
#[derive(Debug)]
struct Sleeper {
    container: u64,
    until: Timestamp,
    wake: oneshot::Sender<()>,
}

/// Who sleeps, and until when.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Vec<Sleeper>>);

impl Sleepers {
    /// When the first of them is to be woken.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let mut sleepers = self.list();
        sleepers.retain(|sleeper| !sleeper.wake.is_closed());
        sleepers.iter().map(|sleeper| sleeper.until).min()
    }

    /// Whether somebody sleeps in a container.
    pub(super) fn are_in(&self, container: u64) -> bool {
        self.list().iter().any(|it| it.container == container && !it.wake.is_closed())
    }

    /// Wakes those whose time has come.
    pub(super) fn wake(&self, now: Timestamp) {
        let mut sleepers = self.list();
        let (due, rest) = sleepers.drain(..).partition(|sleeper| sleeper.until <= now);
        *sleepers = rest;
        for sleeper in due {
            // A sleeper that is dead needs no waking.
            let _: Result<(), ()> = sleeper.wake.send(());
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Sleeper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of one machine, ahead of the world's or behind it.
#[derive(Debug)]
pub(super) struct MachineClock {
    pub(super) container: u64,
    pub(super) world: Arc<VirtualClock>,
    pub(super) ahead_millis: i64,
    pub(super) sleepers: Arc<Sleepers>,
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.world.now().millis() + self.ahead_millis)
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (wake, woken) = oneshot::channel();
        let until = self.world.now() + span;
        self.sleepers.list().push(Sleeper { container: self.container, until, wake });
        Box::pin(async move {
            let _: Result<(), _> = woken.await;
        })
    }
}

const MINUTE: i64 = 60_000;

/// The last full minute, at which a punctual schedule began its run.
pub(super) fn last_minute(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.millis().div_euclid(MINUTE) * MINUTE)
}

/// The first full minute from an instant on.
pub(super) fn next_minute(at: Timestamp) -> Timestamp {
    last_minute(at + Duration::from_millis(59_999))
}
