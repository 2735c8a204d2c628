//! JSON payloads as types, with errors that name the field and never repeat its value.

use messenger::message::Invalid;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

/// The most characters of a field's path in an error: its last part may be the sender's own word.
const LONGEST_PATH: usize = 80;

/// Reads a payload.
///
/// # Errors
/// [`Invalid`] with the path of the field that is wrong, or `payload` if it is not an object.
pub fn read<'a, T: Deserialize<'a>>(payload: &'a Value) -> Result<T, Invalid> {
    if !payload.is_object() {
        return Err(Invalid::new("payload", "must be a JSON object"));
    }
    serde_path_to_error::deserialize(payload).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, &error.into_inner().to_string())
    })
}

/// Keeps of serde's text only what it says about the type, because the rest may repeat a value.
fn explain(path: &str, text: &str) -> Invalid {
    if let Some(name) = text.strip_prefix("missing field `") {
        let name = name.trim_end_matches('`');
        let field = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        return Invalid::new(field, "is missing");
    }
    let field: String = path.chars().filter(|c| !c.is_control()).take(LONGEST_PATH).collect();
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected.replace('`', ""));
    if text.starts_with("unknown field ") {
        let problem = match expected {
            Some(fields) => {
                format!("unknown field; the fields are {}", fields.trim_start_matches("one of "))
            }
            None => "unknown field; there are none here".to_owned(),
        };
        return Invalid::new(field, problem);
    }
    match expected {
        Some(expected) => Invalid::new(field, format!("must be {expected}")),
        // Written by one of the readers of this crate.
        None => Invalid::new(field, text),
    }
}

/// A text with something in it, without the blanks around it.
///
/// # Errors
/// The deserializer's, for everything else.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.trim() {
        "" => Err(D::Error::custom("must not be empty")),
        trimmed => Ok(trimmed.to_owned()),
    }
}

/// A [`text`] that may be absent or null.
///
/// # Errors
/// The deserializer's, for everything else.
pub fn optional_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref().map(str::trim) {
        Some("") => Err(D::Error::custom("must not be empty")),
        text => Ok(text.map(str::to_owned)),
    }
}

/// The id of an object at Meta: digits, because it becomes a part of a path.
///
/// # Errors
/// The deserializer's, for everything else.
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = text(deserializer)?;
    if id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(id)
    } else {
        Err(D::Error::custom("must be an id of at most 40 digits"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Reply,
        Update,
        Human,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read only")]
    struct Given {
        #[serde(deserialize_with = "text")]
        name: String,
        flag: Option<bool>,
        kind: Option<Kind>,
        inner: Option<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read only")]
    struct Inner {
        #[serde(deserialize_with = "id")]
        number: String,
    }

    #[test]
    fn an_error_names_the_path_and_never_repeats_a_value() {
        let hush = "hush, expected hush";
        for (payload, expected) in [
            (json!([hush]), "payload: must be a JSON object"),
            (json!({}), "name: is missing"),
            (json!({"name": " "}), "name: must not be empty"),
            (json!({"name": [hush]}), "name: must be a string"),
            (json!({"name": "n", "flag": hush}), "flag: must be a boolean"),
            (json!({"name": "n", "kind": hush}), "kind: must be one of reply, update, human"),
            (json!({"name": "n", "inner": {}}), "inner.number: is missing"),
            (
                json!({"name": "n", "inner": {"number": hush}}),
                "inner.number: must be an id of at most 40 digits",
            ),
            (
                json!({"name": "n", "inner": {"number": "1", "other": hush}}),
                "inner.other: unknown field; the fields are number",
            ),
            (
                json!({"name": "n", "other\n": hush}),
                "other: unknown field; the fields are name, flag, kind, inner",
            ),
        ] {
            let error = read::<Given>(&payload).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let long = json!({"name": "n", "x".repeat(1000): hush});
        assert_eq!(read::<Given>(&long).unwrap_err().field, "x".repeat(LONGEST_PATH));
    }
}
