//! How the bot is run: apart from everything else.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use messenger::bot::{Run, Trouble, Verdict};
use tokio::runtime::Handle;

/// How long a bot may take to pause once its time is over, before it counts as stuck.
const GRACE: Duration = Duration::from_millis(250);

/// What is done with the bot: it is asked, or gives up.
pub type Work = Box<dyn FnOnce(&dyn Run) -> Verdict + Send>;

/// Runs a bot's work so that nothing else suffers from it.
pub trait Driver: Debug + Send + Sync {
    /// What the work came to within `limit`.
    fn drive(&self, work: Work, limit: Duration) -> BoxFuture<'static, Verdict>;
}

/// A thread for each turn: a panic ends it, a slow call is cut off, and what never pauses is given up.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    is_stuck: Arc<AtomicBool>,
}

impl Threads {
    /// Whether a thread is left that cannot be stopped, and takes its share of the processor until the process ends.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }
}

impl Driver for Threads {
    fn drive(&self, work: Work, limit: Duration) -> BoxFuture<'static, Verdict> {
        let is_stuck = Arc::clone(&self.is_stuck);
        Box::pin(async move {
            let (runtime, span) = (Handle::current(), tracing::Span::current());
            let thread = tokio::task::spawn_blocking(move || {
                span.in_scope(|| work(&OnThread { runtime, limit }))
            });
            match tokio::time::timeout(limit + GRACE, thread).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(_)) => Err(Trouble::Panicked),
                Err(_) => {
                    is_stuck.store(true, Ordering::Relaxed);
                    Err(Trouble::Stuck)
                }
            }
        })
    }
}

/// The main thread drives the sockets and the timers that the bot waits for.
struct OnThread {
    runtime: Handle,
    limit: Duration,
}

impl Run for OnThread {
    fn run(&self, future: Pin<&mut dyn Future<Output = ()>>) -> bool {
        self.runtime.block_on(async { tokio::time::timeout(self.limit, future).await.is_ok() })
    }
}
