//! Settings from environment variables.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// Why a function cannot start with the environment that it was given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// A mandatory variable is absent or empty.
    #[error("the environment variable {0} is not set: see the settings table in README.md")]
    Missing(&'static str),
    /// A variable holds something that cannot be used.
    #[error("the environment variable {name} cannot be used: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        why: String,
    },
}

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Reads settings from the environment, or from a stand-in for it.
pub struct Variables {
    lookup: Lookup,
}

impl Variables {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// An environment given by a function.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { lookup: Box::new(lookup) }
    }

    /// A variable that may be absent; an empty one counts as absent.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// A variable that must be there.
    ///
    /// # Errors
    /// [`SettingError::Missing`] if it is absent or empty.
    pub fn required(&self, name: &'static str) -> Result<String, SettingError> {
        self.optional(name).ok_or(SettingError::Missing(name))
    }

    /// A variable with a default.
    ///
    /// # Errors
    /// [`SettingError::Invalid`] if it is there and cannot be read.
    pub fn parsed_or<T>(&self, name: &'static str, default: T) -> Result<T, SettingError>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.optional(name) {
            None => Ok(default),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|why: T::Err| SettingError::Invalid { name, why: why.to_string() }),
        }
    }

    /// A span of time in whole units of `unit` seconds, with a default in the same units.
    ///
    /// # Errors
    /// [`SettingError::Invalid`] if it is no whole number within `range`.
    pub fn span_or(
        &self,
        name: &'static str,
        default: u64,
        unit: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Duration, SettingError> {
        let count = self.parsed_or(name, default)?;
        if range.contains(&count) {
            Ok(Duration::from_secs(count * unit))
        } else {
            let why = format!("{count} is not between {} and {}", range.start(), range.end());
            Err(SettingError::Invalid { name, why })
        }
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
        let vars = variables(&[("TABLE_NAME", " ")]);
        assert_eq!(vars.required("TABLE_NAME"), Err(SettingError::Missing("TABLE_NAME")));
    }

    #[test]
    fn a_span_outside_its_range_names_the_variable() {
        let vars = variables(&[("RETENTION_DAYS", "14")]);
        let error = vars.span_or("RETENTION_DAYS", 15, 86_400, 15..=3650).unwrap_err();
        assert!(error.to_string().contains("RETENTION_DAYS"), "{error}");
        assert_eq!(vars.span_or("OTHER", 2, 60, 0..=5), Ok(Duration::from_mins(2)));
    }
}
