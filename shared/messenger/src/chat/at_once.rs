//! Futures that wait for nothing real are done at once.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::bot::Run;

/// How often a future is polled that says each time that it can go on.
const MOST_POLLS: usize = 10_000;

/// Notes that a future can go on.
#[derive(Default)]
struct CanGoOn(AtomicBool);

impl Wake for CanGoOn {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a future comes to, if it waits for nothing real.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let can_go_on = Arc::new(CanGoOn::default());
    let waker = Waker::from(Arc::clone(&can_go_on));
    for _ in 0..MOST_POLLS {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !can_go_on.0.swap(false, Ordering::Relaxed) {
            return None;
        }
    }
    None
}

/// Runs bots at once, and notes whether one waited for something real.
#[derive(Default)]
pub(super) struct AtOnce {
    pub(super) has_waited: Cell<bool>,
}

impl Run for AtOnce {
    fn run(&self, future: Pin<&mut dyn Future<Output = ()>>) -> bool {
        let is_done = at_once(future).is_some();
        self.has_waited.set(!is_done);
        is_done
    }
}
