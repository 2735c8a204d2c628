//! A JSON value, read part by part, so that an error names the path of what is wrong.
//!
//! What is not known here is no error: it is noted, because Meta adds fields and kinds at any time.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::Value;
use strum::VariantNames;

use super::{Invalid, Unknown};

/// The longest URL, in bytes.
const LONGEST_URL: usize = 2048;

/// The most characters of a name that is repeated in an error or a note.
const LONGEST_NAME: usize = 40;

/// What a check met that is not known here.
#[derive(Debug, Default)]
pub(super) struct Notes(RefCell<Vec<Unknown>>);

impl Notes {
    /// What was noted.
    pub(super) fn into_unknown(self) -> Vec<Unknown> {
        self.0.into_inner()
    }
}

/// A part of a JSON value, and its path. A part that is absent is null.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    path: String,
    value: &'a Value,
    notes: &'a Notes,
}

impl<'a> Part<'a> {
    /// The whole value.
    pub(super) fn whole(value: &'a Value, notes: &'a Notes) -> Self {
        Self { path: String::new(), value, notes }
    }

    /// A value that is the field with this name.
    pub(super) fn named(name: &str, value: &'a Value, notes: &'a Notes) -> Self {
        Self { path: name.to_owned(), value, notes }
    }

    /// The field with this name.
    pub(super) fn at(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{name}", self.path);
        Self { path, value: &self.value[name], notes: self.notes }
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
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Invalid> {
        self.object()?;
        match self.others(known).next() {
            None => Ok(()),
            Some(name) => Err(self.misplaced(&name, known)),
        }
    }

    /// An object with these fields, any of which may be absent; others are noted.
    pub(super) fn fields(&self, known: &[&str]) -> Result<(), Invalid> {
        self.fields_among(known, &[])
    }

    /// An object with these fields, any of which may be absent, and none of its relatives' fields;
    /// others are noted.
    pub(super) fn fields_among(&self, known: &[&str], relatives: &[&str]) -> Result<(), Invalid> {
        self.object()?;
        for name in self.others(known) {
            if relatives.contains(&name.as_str()) {
                return Err(self.misplaced(&name, known));
            }
            self.at(&shortened(&name)).note(None);
        }
        Ok(())
    }

    /// Whether an object has other fields than these.
    pub(super) fn has_others(&self, known: &[&str]) -> bool {
        self.others(known).next().is_some()
    }

    fn others(&self, known: &[&str]) -> impl Iterator<Item = String> {
        let given = self.value.as_object().into_iter().flatten();
        let others =
            given.filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
        others.map(|(name, _)| name.clone())
    }

    fn misplaced(&self, name: &str, known: &[&str]) -> Invalid {
        let known = known.join(", ");
        self.at(&shortened(name)).wrong(format!("unknown field; the fields are {known}"))
    }

    fn note(&self, name: Option<&str>) {
        let unknown = Unknown { field: self.path.clone(), name: name.map(shortened) };
        let mut notes = self.notes.0.borrow_mut();
        if !notes.contains(&unknown) {
            notes.push(unknown);
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

    /// One of these strings; another one is noted.
    pub(super) fn kind(&self, names: &[&str]) -> Result<Option<&'a str>, Invalid> {
        match self.value.as_str() {
            Some(name) if names.contains(&name) => Ok(Some(name)),
            Some(name) if !name.trim().is_empty() => {
                self.note(Some(name));
                Ok(None)
            }
            _ => self.one_of(names).map(Some),
        }
    }

    /// The name of one of an enum's variants; another one is noted.
    pub(super) fn known_variant<T: FromStr + VariantNames>(&self) -> Result<Option<T>, Invalid> {
        Ok(self.kind(T::VARIANTS)?.and_then(|name| name.parse().ok()))
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
        let item = |(index, value)| {
            let path = format!("{}[{index}]", self.path);
            Self { path, value, notes: self.notes }
        };
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

    /// Whether it is `true`.
    pub(super) fn is_true(&self) -> bool {
        *self.value == Value::Bool(true)
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

/// A name that somebody else chose, fit to be repeated.
fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

fn is_numeric(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_url(url: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty()) && url.len() <= LONGEST_URL
}
