//! How fast messages may leave.

use std::time::Duration;

use tokio::sync::Mutex;

use messenger::clock::Timestamp;
use messenger::message::RateClass;

/// Spaces messages so that a Page's rates are kept.
#[derive(Debug)]
pub struct Pace {
    text: Spacing,
    media: Spacing,
    private_replies: Allotment,
}

impl Pace {
    /// At most `media` messages a second with audio or video, and `text` others.
    pub fn per_second(text: u32, media: u32) -> Self {
        Self {
            text: Spacing::per_second(text),
            media: Spacing::per_second(media),
            private_replies: Allotment::default(),
        }
    }

    /// Takes the next free instant for a message, from `now` on.
    pub(super) async fn reserve(&self, class: RateClass, now: Timestamp) -> Timestamp {
        match class {
            RateClass::Text => self.text.reserve(now).await,
            RateClass::Media => self.media.reserve(now).await,
        }
    }

    /// Whether one more private reply may leave now; otherwise when to ask again.
    pub(super) async fn may_reply_in_private(&self, now: Timestamp) -> Result<(), Timestamp> {
        self.private_replies.take(now).await
    }
}

/// How many private replies of a Page leave in a minute: Meta takes 750 an hour.
const PRIVATE_REPLIES_A_MINUTE: u32 = 12;

/// What may leave in each minute. It makes nobody wait within a run: what is too much is due later.
#[derive(Debug, Default)]
struct Allotment {
    taken: Mutex<Option<(Timestamp, u32)>>,
}

impl Allotment {
    async fn take(&self, now: Timestamp) -> Result<(), Timestamp> {
        let minute = Duration::from_mins(1);
        let mut taken = self.taken.lock().await;
        let (since, count) = taken.filter(|(since, _)| now < *since + minute).unwrap_or((now, 0));
        if count >= PRIVATE_REPLIES_A_MINUTE {
            return Err(since + minute);
        }
        *taken = Some((since, count + 1));
        Ok(())
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

    async fn reserve(&self, now: Timestamp) -> Timestamp {
        let mut next = self.next.lock().await;
        let slot = next.map_or(now, |next| next.max(now));
        *next = Some(slot + self.interval);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn no_second_holds_more_messages_than_the_rate() {
        let pace = Pace::per_second(4, 1);
        let mut times = Vec::new();
        for _ in 0..20 {
            times.push(pace.reserve(RateClass::Text, NOW).await.since(NOW).as_millis());
        }
        for start in &times {
            assert!(times.iter().filter(|at| (*start..*start + 1000).contains(*at)).count() <= 4);
        }
        assert_eq!(times.last(), Some(&4750), "and no slower than it may be");
        let later = NOW + Duration::from_mins(1);
        assert_eq!(
            pace.reserve(RateClass::Text, later).await,
            later,
            "unused time is not saved up"
        );
    }

    #[tokio::test]
    async fn an_hour_holds_no_more_private_replies_than_meta_takes() {
        let pace = Pace::per_second(40, 5);
        let (mut now, mut left) = (NOW, 0);
        while now < NOW + Duration::from_hours(1) {
            match pace.may_reply_in_private(now).await {
                Ok(()) => left += 1,
                Err(later) => now = later,
            }
        }
        assert_eq!(left, 720);
    }

    #[tokio::test]
    async fn audio_and_video_have_a_rate_of_their_own() {
        let pace = Pace::per_second(4, 1);
        let mut times = Vec::new();
        for class in [RateClass::Media, RateClass::Text, RateClass::Text, RateClass::Media] {
            times.push(pace.reserve(class, NOW).await.since(NOW).as_millis());
        }
        assert_eq!(times, [0, 0, 250, 1000]);
    }
}
