//! Message attributes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};
use serde_json::{Value, json};

use super::hex;
use super::protocol::{INVALID_CHARACTERS, Refusal, is_allowed_in_text};

const MAX_ATTRIBUTES: usize = 10;
const MAX_ATTRIBUTE_NAME_BYTES: usize = 256;
const MAX_ATTRIBUTE_TYPE_BYTES: usize = 256;
const MAX_NUMBER_DIGITS: usize = 38;

/// A message attribute as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`, which a dot and a label of the sender's choice may follow.
    pub data_type: String,
    /// The value; that of a `Binary` attribute in base64.
    pub value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OutgoingAttribute {
    #[serde(default)]
    data_type: String,
    string_value: Option<String>,
    #[serde(default, deserialize_with = "from_base64")]
    binary_value: Option<Vec<u8>>,
    #[serde(default)]
    string_list_values: Vec<IgnoredAny>,
    #[serde(default)]
    binary_list_values: Vec<IgnoredAny>,
}

impl OutgoingAttribute {
    /// Checks it, apart from its name, and returns it as it is kept.
    ///
    /// A number stays as it was written; of the real service it is said that it cuts off leading
    /// and trailing zeros.
    fn checked(&self, name: &str) -> Result<MessageAttribute, Refusal> {
        if !self.string_list_values.is_empty() || !self.binary_list_values.is_empty() {
            return Err(Refusal::sqs(
                "UnsupportedOperation",
                "AWS.SimpleQueueService.UnsupportedOperation",
                "Message attribute list values in SendMessage operation are not supported.",
            ));
        }
        let data_type = &self.data_type;
        if data_type.is_empty() {
            return Err(Refusal::invalid(format!(
                "The message (user) attribute '{name}' must contain a non-empty message attribute \
                 type."
            )));
        }
        if data_type.len() > MAX_ATTRIBUTE_TYPE_BYTES {
            return Err(Refusal::invalid(format!(
                "Message (user) attribute types must be shorter than {MAX_ATTRIBUTE_TYPE_BYTES} \
                 Bytes"
            )));
        }
        let kind = kind_of(data_type);
        if !["String", "Number", "Binary"].contains(&kind) {
            return Err(Refusal::invalid(format!(
                "The type of message (user) attribute '{name}' is invalid. You must use only the \
                 following supported type prefixes: Binary, Number, String."
            )));
        }
        let (field, value, other_is_there) = if kind == "Binary" {
            let value = self.binary_value.as_ref().map(|value| BASE64.encode(value));
            ("Binary", value, self.string_value.is_some())
        } else {
            let value = self.string_value.clone();
            ("String", value, self.binary_value.is_some())
        };
        if other_is_there {
            return Err(Refusal::invalid(format!(
                "The message attribute '{name}' with type '{data_type}' must use field '{field}'."
            )));
        }
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return Err(Refusal::invalid(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type \
                 '{data_type}'."
            )));
        };
        // Not the error of a body: the real service differs here too.
        if !value.chars().all(is_allowed_in_text) {
            return Err(Refusal::invalid(INVALID_CHARACTERS));
        }
        if kind == "Number" && !is_number(&value) {
            return Err(Refusal::invalid(format!(
                "Can't cast the value of message (user) attribute '{name}' to a number."
            )));
        }
        Ok(MessageAttribute { data_type: data_type.clone(), value })
    }

    pub(super) fn bytes(&self) -> usize {
        let text = self.string_value.as_ref().map_or(0, String::len);
        let binary = self.binary_value.as_ref().map_or(0, Vec::len);
        self.data_type.len() + text + binary
    }
}

impl MessageAttribute {
    fn is_binary(&self) -> bool {
        kind_of(&self.data_type) == "Binary"
    }

    pub(super) fn answer(&self) -> Value {
        let field = if self.is_binary() { "BinaryValue" } else { "StringValue" };
        json!({ "DataType": self.data_type, field: self.value })
    }
}

/// Checks the attributes of a message and returns them as they are kept.
pub(super) fn checked_attributes(
    attributes: &BTreeMap<String, OutgoingAttribute>,
) -> Result<BTreeMap<String, MessageAttribute>, Refusal> {
    let count = attributes.len();
    if count > MAX_ATTRIBUTES {
        return Err(Refusal::invalid(format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        )));
    }
    attributes
        .iter()
        .map(|(name, attribute)| {
            check_attribute_name(name)?;
            Ok((name.clone(), attribute.checked(name)?))
        })
        .collect()
}

fn check_attribute_name(name: &str) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::invalid(message));
    if name.is_empty() {
        return refuse("The request must contain non-empty message (user) attribute names.");
    }
    if name.len() > MAX_ATTRIBUTE_NAME_BYTES {
        return Err(Refusal::invalid(format!(
            "Message (user) attribute names must be shorter than {MAX_ATTRIBUTE_NAME_BYTES} Bytes"
        )));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !name.chars().all(allowed) {
        return refuse(
            "Message (user) attributes name can only contain upper and lower score characters, \
             digits, periods, hyphens and underscores. ",
        );
    }
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    if reserved || name.starts_with('.') || name.ends_with('.') {
        return refuse(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These \
             strings are reserved for internal use. Additionally, they cannot start or end with \
             '.'.",
        );
    }
    if name.contains("..") {
        return refuse("Message (user) attribute names can not have successive '.' characters.");
    }
    Ok(())
}

/// Whether the real service can cast it to a number, from 10^-128 to 10^126 on either side of 0.
fn is_number(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    let in_range = |number: f64| (1e-128..=1e126).contains(&number.abs());
    let castable = text.parse().is_ok_and(|n| digits.is_empty() || in_range(n));
    // Not every float is written in digits.
    let allowed = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    castable && digits.len() <= MAX_NUMBER_DIGITS && text.chars().all(allowed)
}

/// A message attribute's type without the label that its sender gave it.
fn kind_of(data_type: &str) -> &str {
    data_type.split('.').next().unwrap_or_default()
}

fn from_base64<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<u8>>, D::Error> {
    let value = Option::<String>::deserialize(value)?;
    let value = value.map(|value| BASE64.decode(value)).transpose();
    value.map_err(D::Error::custom)
}

/// By which senders and receivers see whether attributes arrived as they were sent: in the order
/// of their names, each part after its length.
pub(super) fn attributes_md5(attributes: &BTreeMap<String, MessageAttribute>) -> String {
    let mut digest = Md5::new();
    let add = |digest: &mut Md5, part: &[u8]| {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        digest.update(length.to_be_bytes());
        digest.update(part);
    };
    for (name, attribute) in attributes {
        add(&mut digest, name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        if attribute.is_binary() {
            digest.update([2]);
            let value = BASE64.decode(&attribute.value).unwrap_or_default();
            add(&mut digest, &value);
        } else {
            digest.update([1]);
            add(&mut digest, attribute.value.as_bytes());
        }
    }
    hex(&digest.finalize())
}
