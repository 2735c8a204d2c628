//! How long a bot that fails is asked again: pure, for whoever asks it.

use std::time::Duration;

use super::{BotError, Trouble};
use crate::clock::Timestamp;

/// How long a bot is asked again for a person while what it needs is down, unless set otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_mins(2);

/// How long to wait after the first, the second, … failure at an event; later ones wait like the last.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(30), LONGEST_PAUSE];

/// The longest pause, also if a service asks for more.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How often a bot may panic at an event, or get stuck: as a rule it does so each time.
const MOST_CRASHES: u64 = 2;

/// How a bot has failed at an event.
#[derive(Clone, Copy, Debug)]
pub struct Failures {
    /// How often, this time included.
    pub tries: u64,
    /// Since when it has failed for the person, by something that passes; this failure's instant at first.
    pub since: Timestamp,
}

/// What to do about a bot's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is asked again after this time.
    Again(Duration),
    /// It gives up.
    GiveUp,
}

/// Whether a bot's failure may pass: a person's patience is for these.
pub const fn may_pass(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Bot(BotError::Temporary { .. }) | Trouble::TimedOut)
}

/// What to do about a bot's failure at `now`.
///
/// `patience` is for what may pass, counted from the first such failure of the person. `chance`, from 0 to 1, spreads
/// the pauses of many people by a fifth to either side; 0.5 leaves them as they are.
pub fn next(
    trouble: &Trouble,
    failures: Failures,
    now: Timestamp,
    patience: Duration,
    chance: f64,
) -> Next {
    let asked_pause = match trouble {
        Trouble::Bot(BotError::Temporary { pause, .. }) => *pause,
        Trouble::TimedOut => None,
        Trouble::Panicked | Trouble::Stuck if failures.tries < MOST_CRASHES => None,
        _ => return Next::GiveUp,
    };
    let left = if may_pass(trouble) {
        patience.saturating_sub(now.since(failures.since))
    } else {
        LONGEST_PAUSE
    };
    if left.is_zero() {
        return Next::GiveUp;
    }
    let place = usize::try_from(failures.tries.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = PAUSES.get(place).copied().unwrap_or(LONGEST_PAUSE);
    let pause = match asked_pause {
        Some(asked) => asked.clamp(Duration::from_secs(1), LONGEST_PAUSE),
        None => pause.mul_f64(0.8 + 0.4 * chance),
    };
    Next::Again(pause.min(left))
}

#[cfg(test)]
mod tests {
    use crate::message::Invalid;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn after(trouble: &Trouble, tries: u64, since: Duration) -> Next {
        next(trouble, Failures { tries, since: NOW - since }, NOW, DEFAULT_PATIENCE, 0.5)
    }

    #[test]
    fn what_may_pass_is_tried_again_while_there_is_patience() {
        let down: Trouble = BotError::temporary("model").into();
        for trouble in [&down, &Trouble::TimedOut] {
            for (tries, since, expected) in [
                (1, 0, Next::Again(Duration::from_secs(2))),
                (2, 2, Next::Again(Duration::from_secs(8))),
                (3, 10, Next::Again(Duration::from_secs(30))),
                (4, 40, Next::Again(Duration::from_mins(1))),
                (5, 100, Next::Again(Duration::from_secs(20))),
                (90, 119, Next::Again(Duration::from_secs(1))),
                (5, 120, Next::GiveUp),
                (1, 3600, Next::GiveUp),
            ] {
                assert_eq!(after(trouble, tries, Duration::from_secs(since)), expected, "{tries}");
            }
        }
    }

    #[test]
    fn a_service_says_itself_when_it_may_be_asked_again() {
        for (asked, expected) in [(0, 1), (5, 5), (60, 60), (3600, 60)] {
            let pause = Some(Duration::from_secs(asked));
            let busy: Trouble = BotError::Temporary { label: "model", pause }.into();
            let expected = Next::Again(Duration::from_secs(expected));
            assert_eq!(after(&busy, 3, Duration::ZERO), expected);
        }
    }

    #[test]
    fn a_crash_is_tried_twice_and_what_cannot_pass_once() {
        for trouble in [Trouble::Panicked, Trouble::Stuck] {
            assert_eq!(after(&trouble, 1, DEFAULT_PATIENCE), Next::Again(Duration::from_secs(2)));
            assert_eq!(after(&trouble, 2, Duration::ZERO), Next::GiveUp);
        }
        let invalid = Invalid::new("text", "is too long");
        for trouble in [
            BotError::Failed("order").into(),
            BotError::Invalid(invalid).into(),
            Trouble::StateUnreadable,
        ] {
            assert_eq!(after(&trouble, 1, Duration::ZERO), Next::GiveUp);
        }
    }

    #[test]
    fn pauses_are_spread() {
        let failures = Failures { tries: 3, since: NOW };
        for (chance, seconds) in [(0.0, 24), (1.0, 36)] {
            let next = next(&Trouble::TimedOut, failures, NOW, DEFAULT_PATIENCE, chance);
            assert_eq!(next, Next::Again(Duration::from_secs(seconds)));
        }
    }
}
