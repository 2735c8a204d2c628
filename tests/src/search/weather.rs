//! What is unusual in a run as a whole, drawn from its seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// What is unusual in a run.
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Inbound events are kept in the feed and posted to another system.
    pub(super) publishes: bool,
    /// The table deletes what has expired, up to two days late.
    pub(super) expires: bool,
    /// The queue shows messages again whose invocation still works.
    pub(super) is_impatient: bool,
    /// Somebody makes up echoes in the form of the outbox's own.
    pub(super) has_forgers: bool,
    /// Many follow-ups are due at once when nothing fails any more.
    pub(super) has_campaign: bool,
    /// The schedule begins its runs at full minutes, so that nobody sweeps up what a sender leaves.
    ///
    /// Otherwise they begin at any moment while something may fail, which finds more races.
    pub(super) is_punctual: bool,
    /// By how much the index lags behind the table.
    pub(super) index_lag: Duration,
}

impl Weather {
    /// Draws a run's weather.
    pub(super) fn draw(rng: &mut Xoshiro256PlusPlus) -> Self {
        Self {
            publishes: rng.random_bool(0.12),
            expires: rng.random_bool(0.25),
            is_impatient: rng.random_bool(0.15),
            has_forgers: rng.random_bool(0.3),
            has_campaign: rng.random_bool(0.04),
            is_punctual: rng.random_bool(0.2),
            index_lag: if rng.random_bool(0.15) {
                Duration::from_millis(rng.random_range(100..20_000))
            } else {
                Duration::ZERO
            },
        }
    }

    /// What it changes in the functions' variables.
    ///
    /// An entry is looked at when the run is over, so it is kept until then, or noted when it expires.
    pub(super) fn variables(&self, receiver: &str) -> BTreeMap<String, String> {
        let days = if self.expires { "15" } else { "3650" };
        let mut variables = vec![("RETENTION_DAYS", days), ("FEED_RETENTION_DAYS", "365")];
        if self.publishes {
            variables.push(("FEED", "on"));
            variables.push(("FORWARD_URLS", receiver));
            variables.push(("FORWARD_ALLOW_LOCAL", "true"));
        }
        if self.has_campaign {
            // So that few people are served at once.
            variables.push(("SEND_RATE_PER_SECOND", "8"));
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
