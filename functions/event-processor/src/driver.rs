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

    /// Completes once the bot has been at work for so long.
    fn pause(&self, span: Duration) -> BoxFuture<'static, ()>;
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

    fn pause(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
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

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::sync::mpsc::channel;

    use messenger::decision::Decision;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    /// A bot that decides at once, as many people's as are asked side by side.
    fn good() -> Work {
        Box::new(|_| Ok(Decision::nothing()))
    }

    /// What comes of the work while time passes.
    async fn driven(threads: &Threads, work: Work) -> Verdict {
        let passing = async {
            loop {
                tokio::time::advance(Duration::from_millis(50)).await;
                std::thread::yield_now();
            }
        };
        tokio::select! {
            verdict = threads.drive(work, LIMIT) => verdict,
            () = passing => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_bot_decides_in_time_is_its_verdict() {
        let threads = Threads::default();
        let waits: Work = Box::new(|runner| {
            let mut decided = None;
            let wait = tokio::time::sleep(LIMIT / 2);
            let is_done = runner.run(pin!(async {
                wait.await;
                decided = Some(Decision::nothing());
            }));
            assert!(is_done);
            Ok(decided.unwrap())
        });
        assert_eq!(driven(&threads, waits).await, Ok(Decision::nothing()));
        assert!(!threads.is_stuck());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_is_cut_off_and_a_panic_caught() {
        let threads = Threads::default();
        let slow: Work = Box::new(|runner| {
            assert!(!runner.run(pin!(pending())), "it never ends");
            Err(Trouble::TimedOut)
        });
        assert_eq!(driven(&threads, slow).await, Err(Trouble::TimedOut));
        let panics: Work = Box::new(|_| panic!("a fault of the bot"));
        assert_eq!(driven(&threads, panics).await, Err(Trouble::Panicked));
        assert!(!threads.is_stuck());
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_pauses_is_given_up_and_others_go_on() {
        let threads = Threads::default();
        let (release, released) = channel::<()>();
        let stuck: Work = Box::new(move |_| {
            // Until the test ends: a loop.
            let _ = released.recv();
            Ok(Decision::nothing())
        });
        assert_eq!(driven(&threads, stuck).await, Err(Trouble::Stuck));
        assert!(threads.is_stuck());
        assert_eq!(driven(&threads, good()).await, Ok(Decision::nothing()));
        drop(release);
    }
}
