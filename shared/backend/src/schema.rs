//! JSON schemas that say more than a type can.

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::store::{Status, StepState};

/// The status of a message.
pub fn status() -> RefOr<Schema> {
    use Status::{Cancelled, Failed, Open, Refused, Sent};
    one_of([Open, Sent, Refused, Failed, Cancelled].map(Status::name))
}

/// The state of one message of a list.
pub fn step_state() -> RefOr<Schema> {
    use StepState::{PassedOver, Planned, Sending, Sent, Spare, Unconfirmed};
    one_of([Planned, Sending, Unconfirmed, Sent, PassedOver, Spare].map(StepState::name))
}

/// Any JSON object.
pub fn any_object() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Object).into()
}

pub(crate) fn notification_type() -> RefOr<Schema> {
    one_of(["REGULAR", "SILENT_PUSH", "NO_PUSH"])
}

pub(crate) fn sender_action() -> RefOr<Schema> {
    one_of(["typing_on", "typing_off", "mark_seen", "react", "unreact"])
}

pub(crate) fn instant() -> RefOr<Schema> {
    of_json(json!({
        "description": "ms since the epoch, or RFC 3339",
        "oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "format": "date-time"}],
    }))
}

pub(crate) fn message() -> RefOr<Schema> {
    of_json(text_or_object())
}

pub(crate) fn messages() -> RefOr<Schema> {
    of_json(json!({"type": "array", "minItems": 1, "maxItems": 10, "items": text_or_object()}))
}

fn text_or_object() -> Value {
    json!({"oneOf": [{"type": "string", "minLength": 1, "maxLength": 1999}, {"type": "object"}]})
}

fn one_of<const N: usize>(values: [&str; N]) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).into()
}

fn of_json(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).unwrap_or_else(|_| any_object())
}
