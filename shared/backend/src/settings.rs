//! Settings from environment variables.
//!
//! A reader never fails: what is missing or unusable is recorded, a default takes its place, and
//! [`Variables::check`] reports all of it together, so that one failed start shows everything there is to correct.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The switch of receipts, `on` or `off`: whether Meta is asked to send them, and what they say is noted.
pub const TRACK_RECEIPTS: &str = "TRACK_RECEIPTS";

/// The switch of profiles, `on` or `off`: whether Meta is asked what it shows of people.
pub const USER_PROFILES: &str = "USER_PROFILES";

/// What is wrong with a variable.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// A mandatory variable is absent or empty.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A variable holds an unusable value.
    #[error("{name} {problem}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value, such as `must be on or off`.
        problem: String,
    },
}

/// Why a function cannot start in its environment: every variable that is missing or unusable.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub struct SettingErrors(pub Vec<SettingError>);

impl Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("correct these environment variables (shared/README.md lists them all): ")?;
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Reads settings from the environment, and records what is wrong with them.
pub struct Variables {
    lookup: Lookup,
    errors: Mutex<Vec<SettingError>>,
}

impl Variables {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// An environment given by a function.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), errors: Mutex::default() }
    }

    /// A variable that may be absent; an empty one counts as absent.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// A mandatory variable; empty if it is absent, which is recorded.
    pub fn required(&self, name: &'static str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.record(SettingError::Missing(name));
            String::new()
        })
    }

    /// A variable with a default, which also replaces an unreadable value; that is recorded.
    pub fn parsed_or<T>(&self, name: &'static str, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.optional(name) else { return default };
        text.trim().parse().unwrap_or_else(|error: T::Err| {
            self.reject(name, format!("is not valid: {error}"));
            default
        })
    }

    /// A switch: `on` or `off`, the latter by default.
    pub fn is_on(&self, name: &'static str) -> bool {
        self.is_on_by(name, "off")
    }

    /// A switch that is on unless it is switched off.
    pub fn is_on_unless_off(&self, name: &'static str) -> bool {
        self.is_on_by(name, "on")
    }

    fn is_on_by(&self, name: &'static str, default: &str) -> bool {
        match self.optional(name).as_deref().unwrap_or(default) {
            "on" => true,
            "off" => false,
            _ => {
                self.reject(name, "must be on or off");
                false
            }
        }
    }

    /// A span in whole seconds.
    pub fn seconds(
        &self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.within(name, default, range))
    }

    /// A span in whole hours.
    pub fn hours(&self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_hours(self.within(name, default, range))
    }

    /// A span in whole days.
    pub fn days(&self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_hours(24 * self.within(name, default, range))
    }

    /// A number of bytes.
    pub fn bytes(&self, name: &'static str, default: usize, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.within(name, default as u64, range)).unwrap_or(usize::MAX)
    }

    fn within(&self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let count = self.parsed_or(name, default);
        if range.contains(&count) {
            return count;
        }
        self.reject(name, format!("must be between {} and {}", range.start(), range.end()));
        default
    }

    /// Records that a variable's value is unusable.
    pub fn reject(&self, name: &'static str, problem: impl Into<String>) {
        self.record(SettingError::Invalid { name, problem: problem.into() });
    }

    fn record(&self, error: SettingError) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    /// Whether everything read so far was usable.
    ///
    /// # Errors
    /// [`SettingErrors`] lists every variable that was missing or unusable, in the order of reading.
    pub fn check(&self) -> Result<(), SettingErrors> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if errors.is_empty() { Ok(()) } else { Err(SettingErrors(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &'static [(&'static str, &'static str)]) -> Variables {
        Variables::from_lookup(move |name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_variable_is_a_missing_one() {
        let variables = variables(&[("TABLE_NAME", " ")]);
        variables.required("TABLE_NAME");
        assert_eq!(variables.check().unwrap_err().0, [SettingError::Missing("TABLE_NAME")]);
    }

    #[test]
    fn usable_values_are_read_and_absent_ones_have_their_defaults() {
        let variables = variables(&[("A", " 3 "), ("FEED", "on")]);
        assert_eq!(variables.seconds("A", 1, 1..=9), Duration::from_secs(3));
        assert_eq!(variables.hours("B", 2, 1..=9), Duration::from_hours(2));
        assert_eq!(variables.days("C", 4, 1..=9), Duration::from_hours(96));
        assert!(variables.is_on("FEED") && !variables.is_on("OTHER"));
        assert_eq!(variables.check(), Ok(()));
    }

    #[test]
    fn everything_wrong_is_reported_together_and_once() {
        let variables = variables(&[("RETENTION_DAYS", "14"), ("RATE", "fast"), ("FEED", "yes")]);
        for _ in 0..2 {
            variables.required("TABLE_NAME");
        }
        assert_eq!(variables.days("RETENTION_DAYS", 15, 15..=3650), Duration::from_hours(15 * 24));
        assert_eq!(variables.parsed_or("RATE", 40), 40);
        assert!(!variables.is_on("FEED"));
        let text = variables.check().unwrap_err().to_string();
        assert!(
            text.ends_with(
                "TABLE_NAME is not set; RETENTION_DAYS must be between 15 and 3650; \
                 RATE is not valid: invalid digit found in string; FEED must be on or off"
            ),
            "{text}"
        );
    }
}
