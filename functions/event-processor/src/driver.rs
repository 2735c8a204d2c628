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
    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    /// What comes of work, after whose beginning so much time passes and no more.
    async fn driven(
        threads: &Threads,
        work: impl FnOnce(&dyn Run, oneshot::Sender<()>) -> Verdict + Send + 'static,
        span: Duration,
    ) -> Verdict {
        let (begins, has_begun) = oneshot::channel();
        let passing = async {
            has_begun.await.unwrap();
            tokio::time::advance(span).await;
            pending::<()>().await;
        };
        tokio::select! {
            verdict = threads.drive(Box::new(|runner| work(runner, begins)), LIMIT) => verdict,
            () = passing => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_bot_decides_in_time_is_its_verdict() {
        let threads = Threads::default();
        let waits = |runner: &dyn Run, begins: oneshot::Sender<()>| {
            let mut decided = None;
            let is_in_time = runner.run(pin!(async {
                let wait = tokio::time::sleep(LIMIT / 2);
                begins.send(()).unwrap();
                wait.await;
                decided = Some(Decision::nothing());
            }));
            assert!(is_in_time);
            Ok(decided.unwrap())
        };
        assert_eq!(driven(&threads, waits, LIMIT / 2).await, Ok(Decision::nothing()));
        assert!(!threads.is_stuck());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_is_cut_off() {
        let threads = Threads::default();
        let slow = |runner: &dyn Run, begins: oneshot::Sender<()>| {
            let is_in_time = runner.run(pin!(async {
                begins.send(()).unwrap();
                pending::<()>().await;
            }));
            assert!(!is_in_time);
            Err(Trouble::TimedOut)
        };
        assert_eq!(driven(&threads, slow, LIMIT).await, Err(Trouble::TimedOut));
        assert!(!threads.is_stuck());
    }

    #[tokio::test]
    async fn a_panic_is_caught() {
        let threads = Threads::default();
        let panics: Work = Box::new(|_| panic!("a fault of the bot"));
        assert_eq!(threads.drive(panics, LIMIT).await, Err(Trouble::Panicked));
        assert!(!threads.is_stuck());
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_pauses_is_given_up_and_others_go_on() {
        let threads = Threads::default();
        let (release, released) = channel::<()>();
        let stuck = move |_: &dyn Run, begins: oneshot::Sender<()>| {
            begins.send(()).unwrap();
            // A loop, until the test ends.
            let _ = released.recv();
            Ok(Decision::nothing())
        };
        assert_eq!(driven(&threads, stuck, LIMIT + GRACE).await, Err(Trouble::Stuck));
        assert!(threads.is_stuck());
        let good: Work = Box::new(|_| Ok(Decision::nothing()));
        assert_eq!(threads.drive(good, LIMIT).await, Ok(Decision::nothing()));
        drop(release);
    }
}
