//! How the bot of a run is.

use std::collections::BTreeMap;
use std::time::Duration;

use messenger::bot::Gather;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// So that they are drawn apart from whatever else the same seed decides.
const OF_HABITS: u64 = 0x4841_4249_5453;

/// What a bot does beside answering.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    /// It wakes itself later.
    pub(super) sets_timers: bool,
    /// It answers several messages at once.
    pub(super) gathers: Gather,
    /// It keeps memos of what it did.
    pub(super) keeps_memos: bool,
    /// It is a program of its own behind a URL.
    pub(super) is_remote: bool,
}

impl Habits {
    /// Draws them by themselves, so that a run without any of them is the same run whatever else a bot may do.
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ OF_HABITS);
        let place = rng.random_range(0..20);
        Self {
            sets_timers: rng.random_bool(0.25),
            gathers: match rng.random_range(0..20) {
                0..2 => Gather::Waiting,
                2 => Gather::For(Duration::from_secs(2)),
                _ => Gather::Off,
            },
            keeps_memos: place < 2,
            is_remote: place == 2,
        }
    }

    /// What they change in the functions' variables, if the bot is behind this URL.
    pub(super) fn variables(&self, url: &str) -> BTreeMap<String, String> {
        let mut settings =
            vec![("REPLY_URL", url.to_owned()), ("REPLY_ALLOW_LOCAL", "true".to_owned())];
        if self.gathers != Gather::Off {
            let seconds = self.gathers.pause().unwrap_or_default().as_secs();
            let gathers = json!({"gather_seconds": seconds});
            settings.push(("BOT_SETTINGS", gathers.to_string()));
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Whether it waits for something real, so that it needs a thread.
    pub(super) const fn does_io(&self) -> bool {
        self.keeps_memos || self.is_remote
    }
}
