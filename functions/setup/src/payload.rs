//! What the function is asked to do, read field by field so that no error repeats a value.

use secrecy::SecretString;
use serde_json::{Map, Value};

/// What is wrong with a payload; the text begins with the field's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PayloadError {
    /// It is not an object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A field that must be there is missing.
    #[error("{0}: is missing")]
    Missing(&'static str),
    /// A field is not of the form that is needed.
    #[error("{field}: {problem}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is a field that means nothing to this action.
    #[error("{name}: no such field; this action takes {taken}")]
    Unknown {
        /// The field.
        name: String,
        /// What there may be.
        taken: String,
    },
}

impl PayloadError {
    pub(crate) fn wrong(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Wrong { field, problem: problem.into() }
    }
}

/// The payload of an action.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a>(&'a Map<String, Value>);

impl<'a> Payload<'a> {
    pub(crate) fn of(payload: &'a Value) -> Result<Self, PayloadError> {
        payload.as_object().map(Self).ok_or(PayloadError::NotAnObject)
    }

    /// Refuses every field beside `action` and these.
    pub(crate) fn only(self, taken: &[&str]) -> Result<Self, PayloadError> {
        let is_known = |name: &str| name == "action" || taken.contains(&name);
        match self.0.keys().find(|name| !is_known(name)) {
            None => Ok(self),
            Some(name) => Err(PayloadError::Unknown {
                name: name.chars().filter(|c| !c.is_control()).take(40).collect(),
                taken: if taken.is_empty() { "none".to_owned() } else { taken.join(", ") },
            }),
        }
    }

    pub(crate) fn text(self, name: &'static str) -> Result<Option<&'a str>, PayloadError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.trim())),
            Some(_) => Err(PayloadError::wrong(name, "must be a string that is not empty")),
        }
    }

    pub(crate) fn needed(self, name: &'static str) -> Result<&'a str, PayloadError> {
        self.text(name)?.ok_or(PayloadError::Missing(name))
    }

    /// The id of something at Meta: digits, because it becomes a part of a path.
    pub(crate) fn id(self, name: &'static str) -> Result<&'a str, PayloadError> {
        let id = self.needed(name)?;
        if id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(id)
        } else {
            Err(PayloadError::wrong(name, "must be an id of digits"))
        }
    }

    pub(crate) fn token(self, name: &'static str) -> Result<Option<SecretString>, PayloadError> {
        Ok(self.text(name)?.map(SecretString::from))
    }

    pub(crate) fn flag(self, name: &'static str) -> Result<bool, PayloadError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(PayloadError::wrong(name, "must be true or false")),
        }
    }

    pub(crate) fn object(self, name: &'static str) -> Result<&'a Map<String, Value>, PayloadError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Err(PayloadError::Missing(name)),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(PayloadError::wrong(name, "must be an object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_names_the_field_and_never_its_value() {
        let payload = json!({"action": "pages", "user_token": {"hush": "hush"}, "show_tokens": "hush",
            "page_id": "hush/hush", "template": "hush"});
        let payload = Payload::of(&payload).unwrap();
        let errors = [
            payload.token("user_token").map(drop).unwrap_err(),
            payload.flag("show_tokens").map(drop).unwrap_err(),
            payload.id("page_id").map(drop).unwrap_err(),
            payload.object("template").map(drop).unwrap_err(),
        ];
        for (error, field) in
            errors.iter().zip(["user_token", "show_tokens", "page_id", "template"])
        {
            assert!(error.to_string().starts_with(&format!("{field}: ")), "{error}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_field_that_means_nothing_is_refused() {
        let payload = json!({"action": "status", "pages": 1});
        let error = Payload::of(&payload).unwrap().only(&[]).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "pages: no such field; this action takes none");
        assert_eq!(Payload::of(&json!([])).map(drop), Err(PayloadError::NotAnObject));
    }
}
