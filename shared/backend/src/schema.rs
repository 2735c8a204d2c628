//! JSON schemas that say more than a type can.

use serde_json::{Value, json};
use strum::VariantArray;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::store::{Status, StepState};

/// The status of a message.
pub fn status() -> RefOr<Schema> {
    one_of(
        "`open` until the message was sent, refused or cancelled, or has failed.",
        Status::VARIANTS.iter().map(|status| status.name()),
    )
}

/// The state of one message of a list.
pub fn step_state() -> RefOr<Schema> {
    one_of("Whether it was sent.", StepState::VARIANTS.iter().map(|state| state.name()))
}

pub(crate) fn notification_type() -> RefOr<Schema> {
    let values = ["REGULAR", "SILENT_PUSH", "NO_PUSH"];
    one_of("How the recipient's device announces the message.", values)
}

pub(crate) fn sender_action() -> RefOr<Schema> {
    let values = ["typing_on", "typing_off", "mark_seen", "react", "unreact"];
    one_of("A sender action, instead of `message`.", values)
}

pub(crate) fn control_type() -> RefOr<Schema> {
    one_of("Whether the thread is given to an app, or to nobody.", ["pass", "release"])
}

pub(crate) fn payload() -> RefOr<Schema> {
    object("Details of the sender actions `react` and `unreact`.")
}

pub(crate) fn fallback_template() -> RefOr<Schema> {
    object(
        "A utility template that is sent instead if the windows refuse the message at its time: `name`, `language` and `components`.",
    )
}

pub(crate) fn commented_at() -> RefOr<Schema> {
    instant("When the comment or post was written: a private reply must be sent within 7 days.")
}

pub(crate) fn send_at() -> RefOr<Schema> {
    instant("When to send the message; at once if absent.")
}

pub(crate) fn message() -> RefOr<Schema> {
    let mut schema = text_or_object();
    schema["description"] = "A text, or the Send API's `message` object without `metadata`. What this version does not know of it is sent as it is, with a warning.".into();
    of_json(schema)
}

pub(crate) fn messages() -> RefOr<Schema> {
    of_json(json!({
        "description": "Several messages, sent in order, instead of `message` and its options. Each is a text, a `message` object, or an object of `message`, `persona_id`, `reply_to`, `notification_type`, `thread_control`, `sender_action` and `payload`.",
        "type": "array",
        "minItems": 1,
        "maxItems": 10,
        "items": text_or_object(),
    }))
}

pub(crate) fn say() -> RefOr<Schema> {
    of_json(json!({
        "description": "Each is a text, a `message` object of the Send API, or an object of `message`, `persona_id`, `reply_to`, `notification_type`, `thread_control`, `sender_action` and `payload`.",
        "type": "array",
        "maxItems": 10,
        "items": text_or_object(),
    }))
}

pub(crate) fn due_at() -> RefOr<Schema> {
    instant("When it is due. Either this or `after_seconds` is required.")
}

fn text_or_object() -> Value {
    json!({"oneOf": [{"type": "string", "minLength": 1, "maxLength": 2000}, {"type": "object"}]})
}

fn instant(description: &str) -> RefOr<Schema> {
    of_json(json!({
        "description": format!("{description} In ms since the epoch, or RFC 3339."),
        "oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "format": "date-time"}],
    }))
}

fn object(description: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(description)).into()
}

fn one_of<'a>(description: &str, values: impl IntoIterator<Item = &'a str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(values))
        .into()
}

fn of_json(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).unwrap_or_else(|_| object(""))
}
