//! A virtual clock.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use backend::clock::SystemClock;
use messenger::clock::{Clock, Timestamp};

/// A clock that stands still until it is moved, or runs at an offset from the machine's clock.
#[derive(Debug)]
pub struct VirtualClock {
    runs: AtomicBool,
    /// While it stands, the instant; while it runs, its distance from the machine's clock.
    millis: AtomicI64,
}

impl VirtualClock {
    /// A clock that stands at an instant.
    pub fn standing_at(instant: Timestamp) -> Self {
        Self { runs: AtomicBool::new(false), millis: AtomicI64::new(instant.millis()) }
    }

    /// Lets the clock run from where it stands.
    pub fn run(&self) {
        let now = self.now();
        self.runs.store(true, Ordering::SeqCst);
        self.move_to(now);
    }

    /// Moves the clock, forward or back.
    pub fn move_to(&self, instant: Timestamp) {
        let base = if self.runs.load(Ordering::SeqCst) { SystemClock.now().millis() } else { 0 };
        self.millis.store(instant.millis() - base, Ordering::SeqCst);
    }

    /// Moves the clock to an instant, unless it is past that.
    pub fn move_forward_to(&self, instant: Timestamp) {
        if instant > self.now() {
            self.move_to(instant);
        }
    }

    /// Moves the clock forward.
    pub fn forward(&self, span: Duration) {
        self.move_to(self.now() + span);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let base = if self.runs.load(Ordering::SeqCst) { SystemClock.now().millis() } else { 0 };
        Timestamp::from_millis(base + self.millis.load(Ordering::SeqCst))
    }

    /// Sleeping on a standing clock advances it.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if self.runs.load(Ordering::SeqCst) {
            return SystemClock.sleep(span);
        }
        self.forward(span);
        Box::pin(ready(()))
    }
}
