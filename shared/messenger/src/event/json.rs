//! Reading JSON that does not always have the documented form.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The fields of an object in their order, those with the same name included.
pub(super) struct Fields<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Replaces lone surrogate escapes by the replacement character's escape.
///
/// A person's text can be cut inside an emoji, and JSON can spell what Unicode text cannot hold.
pub(super) fn replace_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\\'))
    {
        at += offset;
        match escaped_unit(bytes, at) {
            Some(0xD800..=0xDBFF)
                if matches!(escaped_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) =>
            {
                at += 12;
            }
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(&json[copied..at]);
                repaired.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            _ => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    repaired.push_str(&json[copied..]);
    Cow::Owned(repaired)
}

fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Parses an item; parts that are nested too deeply become empty objects.
pub(super) fn tolerant(json: &str) -> Value {
    if let Ok(value) = serde_json::from_str(json) {
        return value;
    }
    let Ok(parts) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
        return Value::Null;
    };
    let read = |part: &RawValue| {
        serde_json::from_str(part.get()).unwrap_or_else(|_| Value::Object(Map::new()))
    };
    Value::Object(parts.into_iter().map(|(key, part)| (key, read(part))).collect())
}

/// A string, or a number or boolean in its place.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A number without its fraction, or that of a string which holds one.
pub(super) fn number(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and is then clamped")]
    let whole = |float: f64| float as i64;
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(whole)),
        Value::String(text) => {
            let text = text.trim();
            let float = || text.parse().ok().filter(|float: &f64| float.is_finite()).map(whole);
            text.parse().ok().or_else(float)
        }
        _ => None,
    }
}

/// Whether a flag is set, as a boolean, a number or a string.
pub(super) fn flag(value: &Value) -> bool {
    matches!(text(value).as_deref(), Some("true" | "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_kept() {
        let cases = [
            (r#""a\ud83d""#, r#""a\ufffd""#),
            (r#""\ude00b""#, r#""\ufffdb""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\ud83"#, r#""\ud83"#),
            ("\\", "\\"),
        ];
        for (given, repaired) in cases {
            assert_eq!(replace_lone_surrogates(given), repaired, "{given}");
        }
    }

    #[test]
    fn what_nests_too_deeply_does_not_hide_its_neighbours() {
        let deep = format!(
            r#"{{"sender":{{"id":"1"}},"message":{}{}}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        let value = tolerant(&deep);
        assert_eq!(value["sender"]["id"], "1");
        assert!(value["message"].is_object());
    }
}
