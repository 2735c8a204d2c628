//! How long a message that was due waited, while nothing failed.

use std::time::Duration;

use messenger::clock::Timestamp;

use super::history::History;

/// How long a message of this entry waited for its first delivery, from the moment at which somebody
/// first had the task to send it: when it was decided, or when the first sweep after its due time began.
///
/// Nothing if something that failed could be felt meanwhile.
pub(super) fn wait(
    history: &History,
    first_due: Timestamp,
    decided_at: Timestamp,
    delivered_at: Timestamp,
) -> Option<Duration> {
    let due = first_due.max(decided_at);
    let from = if first_due <= decided_at {
        decided_at
    } else {
        let sweeps = history.sweeps.iter().map(|(began, _)| *began);
        sweeps.filter(|began| *began >= due).min()?.min(delivered_at)
    };
    let is_troubled =
        history.troubles.iter().any(|(from, until)| *from <= delivered_at && due <= *until);
    (!is_troubled).then(|| delivered_at.since(from))
}
