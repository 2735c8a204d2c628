//! A JSON value, read part by part, so that an error names the path of what is wrong.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::Value;
use strum::VariantNames;

use super::Invalid;

/// The longest URL, in bytes.
const LONGEST_URL: usize = 2048;

/// A part of a JSON value, and its path. A part that is absent is null.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Part<'a> {
    /// The whole value.
    pub(super) fn whole(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// A value that is the field with this name.
    pub(super) fn named(name: &str, value: &'a Value) -> Self {
        Self { path: name.to_owned(), value }
    }

    /// The field with this name.
    pub(super) fn at(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{name}", self.path), value: &self.value[name] }
    }

    /// The part, unless it is absent.
    pub(super) fn there(self) -> Option<Self> {
        if self.value.is_null() { None } else { Some(self) }
    }

    /// Checks the part, unless it is absent.
    pub(super) fn optional(
        &self,
        check: impl FnOnce(&Self) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        if self.value.is_null() { Ok(()) } else { check(self) }
    }

    /// A problem with the part.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> Invalid {
        let field = if self.path.is_empty() { "message" } else { &self.path };
        Invalid::new(field, problem)
    }

    /// An object with any fields.
    pub(super) fn object(&self) -> Result<(), Invalid> {
        match self.value {
            Value::Object(_) => Ok(()),
            Value::Null => Err(self.wrong("is missing")),
            _ => Err(self.wrong("must be an object")),
        }
    }

    /// An object with no other fields than these, any of which may be absent.
    pub(super) fn fields(&self, known: &[&str]) -> Result<(), Invalid> {
        self.object()?;
        let given = self.value.as_object().into_iter().flatten();
        let mut unknown = given.filter(|(name, _)| !known.contains(&name.as_str()));
        match unknown.find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
                let known = known.join(", ");
                Err(self.at(&name).wrong(format!("unknown field; the fields are {known}")))
            }
        }
    }

    /// A string with this many characters (Unicode scalar values), and not only white space.
    pub(super) fn text(&self, lengths: RangeInclusive<usize>) -> Result<&'a str, Invalid> {
        let text = match self.value {
            Value::String(text) => text,
            Value::Null => return Err(self.wrong("is missing")),
            _ => return Err(self.wrong("must be a string")),
        };
        let (least, most) = (*lengths.start(), *lengths.end());
        if least > 0 && text.trim().is_empty() {
            return Err(self.wrong("must not be empty"));
        }
        let count = text.chars().count();
        if lengths.contains(&count) {
            return Ok(text);
        }
        Err(self.wrong(format!("has {count} characters; {least} to {most} are allowed")))
    }

    /// An optional string with this many characters.
    pub(super) fn optional_text(&self, lengths: RangeInclusive<usize>) -> Result<(), Invalid> {
        self.optional(|part| part.text(lengths).map(drop))
    }

    /// One of these strings.
    pub(super) fn one_of(&self, names: &[&str]) -> Result<&'a str, Invalid> {
        match self.value.as_str() {
            Some(text) if names.contains(&text) => Ok(text),
            _ if self.value.is_null() => Err(self.wrong("is missing")),
            _ => Err(self.wrong(format!("must be one of {}", names.join(", ")))),
        }
    }

    /// The name of one of an enum's variants.
    pub(super) fn variant<T: FromStr + VariantNames>(&self) -> Result<T, Invalid> {
        let name = self.one_of(T::VARIANTS)?;
        name.parse().map_err(|_| self.wrong("is not known"))
    }

    /// A list with this many items.
    pub(super) fn list(&self, counts: RangeInclusive<usize>) -> Result<Vec<Self>, Invalid> {
        let items = match self.value {
            Value::Array(items) => items,
            Value::Null => return Err(self.wrong("is missing")),
            _ => return Err(self.wrong("must be a list")),
        };
        let (least, most) = (*counts.start(), *counts.end());
        if !counts.contains(&items.len()) {
            let count = items.len();
            return Err(self.wrong(format!("has {count} items; {least} to {most} are allowed")));
        }
        let item = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// An id of Meta's: a string of digits, or a number.
    pub(super) fn id(&self) -> Result<(), Invalid> {
        match self.value {
            Value::Number(number) if number.is_u64() => Ok(()),
            Value::String(id) if is_numeric(id) => Ok(()),
            Value::Null => Err(self.wrong("is missing")),
            _ => Err(self.wrong("must be an id: a number, or a string of digits")),
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Result<(), Invalid> {
        match self.value.as_u64() {
            Some(number) if range.contains(&number) => Ok(()),
            _ => Err(self.wrong(format!(
                "must be a number from {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    /// An amount of money.
    pub(super) fn amount(&self) -> Result<(), Invalid> {
        match self.value {
            Value::Number(_) => Ok(()),
            Value::String(text) if text.parse::<f64>().is_ok_and(f64::is_finite) => Ok(()),
            Value::Null => Err(self.wrong("is missing")),
            _ => Err(self.wrong("must be an amount")),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<(), Invalid> {
        if self.value.is_boolean() { Ok(()) } else { Err(self.wrong("must be true or false")) }
    }

    /// An `https` URL.
    pub(super) fn https(&self) -> Result<&'a str, Invalid> {
        match self.value.as_str() {
            Some(url) if is_url(url, &["https://"]) => Ok(url),
            _ if self.value.is_null() => Err(self.wrong("is missing")),
            _ => Err(self.wrong("must be an https URL of at most 2,048 bytes")),
        }
    }

    /// An `http` or `https` URL.
    pub(super) fn web(&self) -> Result<(), Invalid> {
        match self.value.as_str() {
            Some(url) if is_url(url, &["https://", "http://"]) => Ok(()),
            _ if self.value.is_null() => Err(self.wrong("is missing")),
            _ => Err(self.wrong("must be an http or https URL of at most 2,048 bytes")),
        }
    }
}

fn is_numeric(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_url(url: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty()) && url.len() <= LONGEST_URL
}
