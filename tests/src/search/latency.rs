//! How long a message that was due waited, while nothing failed.

use std::time::Duration;

use backend::store::Entry;
use messenger::clock::CLOCK_SKEW;
use messenger::clock::Timestamp;

use super::history::History;

/// How long a message of this entry waited for its first delivery, from the moment at which somebody
/// first had the task to send it: when it was decided, or when the first sweep began to which it was due.
///
/// Nothing if something that failed could be felt meanwhile.
pub(super) fn wait(
    history: &History,
    entry: &Entry,
    at_once: bool,
    delivered_at: Timestamp,
) -> Option<Duration> {
    let due = entry.first_due.max(entry.decided_at);
    let from = if at_once && entry.first_due <= entry.decided_at {
        entry.decided_at
    } else {
        let sweeps = history.sweeps.iter().map(|(began, _)| *began);
        let known_from = due + CLOCK_SKEW + history.index_lag;
        sweeps.filter(|began| *began >= known_from).min()?.min(delivered_at)
    };
    let is_troubled =
        history.troubles.iter().any(|(from, until)| *from <= delivered_at && due <= *until);
    (!is_troubled).then(|| delivered_at.since(from))
}
