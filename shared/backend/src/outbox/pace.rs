//! How fast messages may leave.

use std::time::Duration;

use tokio::sync::Mutex;

use messenger::clock::{SharedClock, Timestamp};
use messenger::message::RateClass;

/// Spaces messages so that a Page's rates are kept.
#[derive(Debug)]
pub struct Pace {
    text: Spacing,
    media: Spacing,
}

impl Pace {
    /// At most so many messages a second with sound or film, and so many others.
    pub fn per_second(text: u32, media: u32) -> Self {
        Self { text: Spacing::per_second(text), media: Spacing::per_second(media) }
    }

    pub(super) async fn wait(&self, class: RateClass, clock: &SharedClock) {
        match class {
            RateClass::Text => self.text.wait(clock).await,
            RateClass::Media => self.media.wait(clock).await,
        }
    }
}

#[derive(Debug)]
struct Spacing {
    interval: Duration,
    next: Mutex<Option<Timestamp>>,
}

impl Spacing {
    fn per_second(rate: u32) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), next: Mutex::new(None) }
    }

    async fn wait(&self, clock: &SharedClock) {
        let now = clock.now();
        let context = {
            let mut next = self.next.lock().await;
            let context = next.map_or(now, |next| next.max(now));
            *next = Some(context + self.interval);
            context
        };
        if context > now {
            clock.sleep(context.since(now)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, ready};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use messenger::clock::Clock;

    /// Time passes only while somebody sleeps.
    #[derive(Debug, Default)]
    struct SleepClock(AtomicI64);

    impl Clock for SleepClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
            Box::pin(ready(()))
        }
    }

    #[tokio::test]
    async fn no_second_holds_more_messages_than_the_rate() {
        let clock: SharedClock = Arc::new(SleepClock::default());
        let pace = Pace::per_second(4, 1);
        let mut times = Vec::new();
        for _ in 0..20 {
            pace.wait(RateClass::Text, &clock).await;
            times.push(clock.now().millis());
        }
        for start in &times {
            assert!(times.iter().filter(|at| (*start..*start + 1000).contains(*at)).count() <= 4);
        }
        assert_eq!(times.last(), Some(&4750), "and no slower than it may be");
    }

    #[tokio::test]
    async fn sound_and_film_have_a_rate_of_their_own() {
        let clock: SharedClock = Arc::new(SleepClock::default());
        let pace = Pace::per_second(4, 1);
        let mut times = Vec::new();
        for class in [RateClass::Media, RateClass::Text, RateClass::Text, RateClass::Media] {
            pace.wait(class, &clock).await;
            times.push(clock.now().millis());
        }
        assert_eq!(times, [0, 0, 250, 1000]);
    }
}
