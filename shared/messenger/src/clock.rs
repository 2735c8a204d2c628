//! Time: instants, and the clock that is passed in.

use std::fmt;
use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How far the clocks of two functions, and Meta's, may be from each other.
///
/// Lambda's clocks follow the Amazon Time Sync Service to within milliseconds.
pub const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// An instant in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// An instant given in milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// An instant given as Meta's number, which is in seconds or in milliseconds.
    ///
    /// Lead-gen, referral and call events carry seconds, all others milliseconds. Numbers below
    /// 10^11 are seconds: as milliseconds they would lie before March 1973.
    pub const fn from_seconds_or_millis(number: i64) -> Self {
        const FIRST_MILLIS: i64 = 100_000_000_000;
        if number.unsigned_abs() < FIRST_MILLIS.unsigned_abs() {
            Self(number.saturating_mul(1000))
        } else {
            Self(number)
        }
    }

    /// Parses an RFC 3339 instant such as `2026-11-22T09:30:00Z`.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }

    /// The instant in milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this instant, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(span)))
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        match at.ok().and_then(|at| at.format(&Rfc3339).ok()) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl From<SystemTime> for Timestamp {
    /// An instant before the epoch becomes the epoch.
    fn from(at: SystemTime) -> Self {
        Self(millis_of(at.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

fn millis_of(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The source of the current time, and of delays.
///
/// Windows must be testable to the millisecond, so only an implementation of this trait reads the
/// system's clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;

    /// Completes once `span` has passed on this clock.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A clock that is shared by a function and its clients.
pub type SharedClock = Arc<dyn Clock>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_milliseconds() {
        let at = Timestamp::from_millis(1_671_644_824_000);
        assert_eq!(Timestamp::from_seconds_or_millis(1_671_644_824), at);
        assert_eq!(Timestamp::from_seconds_or_millis(1_671_644_824_000), at);
    }

    #[test]
    fn rfc3339_in_any_offset_is_one_instant() {
        let at = Timestamp::from_rfc3339("2026-11-22T09:30:00Z").unwrap();
        assert_eq!(Timestamp::from_rfc3339("2026-11-22T16:30:00+07:00"), Some(at));
        assert_eq!(at.to_string(), "2026-11-22T09:30:00Z");
        assert_eq!(Timestamp::from_rfc3339("tomorrow"), None);
    }

    #[test]
    fn no_negative_spans() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
