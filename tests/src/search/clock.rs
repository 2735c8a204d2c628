//! Clocks that differ, on which whoever sleeps waits for the search to move time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use messenger::clock::{Clock, Timestamp};
use tokio::sync::oneshot;

use crate::clock::VirtualClock;

/// Who sleeps, and until when.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Vec<(Timestamp, oneshot::Sender<()>)>>);

impl Sleepers {
    /// When the first of them is to be woken.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let mut sleepers = self.list();
        sleepers.retain(|(_, wake)| !wake.is_closed());
        sleepers.iter().map(|(until, _)| *until).min()
    }

    /// Wakes those whose time has come.
    pub(super) fn wake(&self, now: Timestamp) {
        let mut sleepers = self.list();
        let (due, rest) = sleepers.drain(..).partition(|(until, _)| *until <= now);
        *sleepers = rest;
        for (_, wake) in due {
            // A sleeper that is dead needs no waking.
            let _: Result<(), ()> = wake.send(());
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<(Timestamp, oneshot::Sender<()>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of one machine, ahead of the world's or behind it.
#[derive(Debug)]
pub(super) struct MachineClock {
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
        self.sleepers.list().push((self.world.now() + span, wake));
        Box::pin(async move {
            let _: Result<(), _> = woken.await;
        })
    }
}
