//! The `OpenAPI` 3.1 document: paths from the table of routes, schemas from the types of the answers.
//!
//! It is built when it is asked for, so that it costs no start any time.

use backend::store::{Status, StepState};
use messenger::window::Purpose;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::Answer;
use crate::applications::Applications;
use crate::deletion::{Confirmation, DeletionStatus};
use crate::events::Events;
use crate::messages::Message;
use crate::people::Person;
use crate::problem::Problem;
use crate::routes::{Access, ROUTES, Route};

/// What the document says about a route, beside its method and path.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) summary: &'static str,
    /// Parameters of the query, which must be there: name and meaning.
    pub(crate) query: &'static [(&'static str, &'static str)],
    /// Parameters of the query that may be there: name and meaning.
    pub(crate) optional: &'static [(&'static str, &'static str)],
    /// Headers that may be there: name and meaning.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) takes: Takes,
    /// Status, meaning and body of each answer that is not every route's.
    pub(crate) answers: &'static [(u16, &'static str, Gives)],
}

impl About {
    /// A route that takes nothing and gives nothing.
    pub(crate) const NOTHING: Self = Self {
        summary: "",
        query: &[],
        optional: &[],
        headers: &[],
        takes: Takes::Nothing,
        answers: &[],
    };
}

/// The body that a route takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes {
    Nothing,
    Message,
    SignedRequest,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gives {
    Nothing,
    Problem,
    /// A schema of the document.
    Schema(&'static str),
    /// Any JSON object.
    Object,
}

pub(crate) const READ: About = About {
    summary: "Gives this document",
    answers: &[(200, "The document.", Gives::Object)],
    ..About::NOTHING
};

pub(crate) fn answer() -> Result<Answer, Problem> {
    Answer::ok(&document())
}

/// A message that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the library reads")]
struct NewMessage {
    /// Names the request, as the header `Idempotency-Key` does.
    #[schema(min_length = 1, max_length = 128, pattern = r"^[!-~]+$")]
    id: Option<String>,
    /// The Page.
    #[schema(pattern = "^[0-9]{1,40}$")]
    page_id: String,
    /// The person; or one of the next three.
    #[schema(pattern = "^[0-9]{1,40}$")]
    psid: Option<String>,
    /// The checkbox plugin's reference to a person.
    #[schema(pattern = "^[0-9A-Za-z_-]{1,200}$")]
    user_ref: Option<String>,
    /// A comment on the Page: its author gets one private reply.
    #[schema(pattern = "^[0-9_]{1,100}$")]
    comment_id: Option<String>,
    /// A visitor's post on the Page: its author gets one private reply.
    #[schema(pattern = "^[0-9_]{1,100}$")]
    post_id: Option<String>,
    /// When the comment or post was written: 7 days later its reply is given up.
    #[schema(schema_with = instant)]
    commented_at: Option<Value>,
    /// A text, or the Send API's `message` object without `metadata`.
    #[schema(schema_with = message)]
    message: Option<Value>,
    /// The persona under whose name it goes.
    #[schema(pattern = "^[0-9]{1,40}$")]
    persona_id: Option<String>,
    /// The message that it answers: `{"mid": …}`.
    reply_to: Option<ReplyTo>,
    #[schema(schema_with = notification_type)]
    notification_type: Option<String>,
    /// Instead of `message`.
    #[schema(schema_with = sender_action)]
    sender_action: Option<String>,
    /// Of the sender actions `react` and `unreact`.
    #[schema(schema_with = any_object)]
    payload: Option<Value>,
    /// Instead of all these: a list, each a text or an object of the fields above.
    #[schema(schema_with = messages)]
    messages: Option<Vec<Value>>,
    /// Why it is sent: decides the window. Not needed for a comment or a post.
    #[schema(schema_with = purpose)]
    purpose: Option<String>,
    /// Who of the business wrote it; `human` needs it.
    #[schema(pattern = r"^[!-~]{1,200}$")]
    author: Option<String>,
    /// When it is due; at once if absent.
    #[schema(schema_with = instant)]
    send_at: Option<Value>,
    /// The same as `send_at`.
    #[schema(schema_with = instant)]
    due_at: Option<Value>,
    /// A utility template that goes instead if the windows refuse the message when it is due.
    #[schema(schema_with = any_object)]
    fallback_template: Option<Value>,
}

/// The message that another one answers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the library reads")]
struct ReplyTo {
    /// Its id.
    #[schema(pattern = r"^[!-~]{1,1000}$")]
    mid: String,
}

/// A purpose.
pub(crate) fn purpose() -> RefOr<Schema> {
    let names = Purpose::NAMES.iter().copied();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

/// The status of a message.
pub(crate) fn status() -> RefOr<Schema> {
    use Status::{Cancelled, Failed, Open, Refused, Sent};
    one_of([Open, Sent, Refused, Failed, Cancelled].map(Status::name))
}

/// The state of a step.
pub(crate) fn step_state() -> RefOr<Schema> {
    use StepState::{PassedOver, Planned, Sending, Sent, Spare, Unconfirmed};
    one_of([Planned, Sending, Unconfirmed, Sent, PassedOver, Spare].map(StepState::name))
}

fn notification_type() -> RefOr<Schema> {
    one_of(["REGULAR", "SILENT_PUSH", "NO_PUSH"])
}

fn sender_action() -> RefOr<Schema> {
    one_of(["typing_on", "typing_off", "mark_seen", "react", "unreact"])
}

fn one_of<const N: usize>(values: [&str; N]) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).into()
}

pub(crate) fn any_object() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Object).into()
}

/// Written as JSON, because its form is richer than a type's.
fn schema_of(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).unwrap_or_else(|_| any_object())
}

fn instant() -> RefOr<Schema> {
    schema_of(json!({
        "description": "ms since the epoch, or RFC 3339",
        "oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "format": "date-time"}],
    }))
}

fn message() -> RefOr<Schema> {
    schema_of(json!({"oneOf": [
        {"type": "string", "minLength": 1, "maxLength": 1999},
        {"type": "object"},
    ]}))
}

fn messages() -> RefOr<Schema> {
    schema_of(json!({
        "type": "array",
        "minItems": 1,
        "maxItems": 10,
        "items": {"oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 1999},
            {"type": "object"},
        ]},
    }))
}

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Messenger backend",
            "description": "Send and receive for back-office systems, held to Meta's windows.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "API_AUTH=key: api_key of the secret."},
                "iam": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "API_AUTH=iam: AWS Signature Version 4, service execute-api.",
                },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let about = route.about;
    let parameter = |place: &str, name: &str, meaning: &str, required: bool| {
        let schema = match place {
            "header" => json!({"type": "string", "pattern": "^[!-~]{1,128}$"}),
            _ if name == "limit" => json!({"type": "integer", "minimum": 1, "maximum": 100}),
            _ => json!({"type": "string", "minLength": 1}),
        };
        json!({"name": name, "in": place, "description": meaning, "required": required, "schema": schema})
    };
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(parameter("path", name, name, true))
    });
    let query = about.query.iter().map(|(name, meaning)| parameter("query", name, meaning, true));
    let optional =
        about.optional.iter().map(|(name, meaning)| parameter("query", name, meaning, false));
    let headers =
        about.headers.iter().map(|(name, meaning)| parameter("header", name, meaning, false));
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": about.summary,
        "parameters": in_path.chain(query).chain(optional).chain(headers).collect::<Vec<_>>(),
        "responses": responses(route),
        "security": match route.access {
            Access::Callers => json!([{"key": []}, {"iam": []}]),
            Access::Everybody => json!([]),
        },
    });
    let body = |media: &str, schema: Value| json!({"required": true, "content": {media: {"schema": schema}}});
    match about.takes {
        Takes::Nothing => {}
        Takes::Message => {
            operation["requestBody"] = body("application/json", reference("NewMessage"));
        }
        Takes::SignedRequest => {
            let schema = json!({
                "type": "object",
                "properties": {"signed_request": {"type": "string"}},
                "required": ["signed_request"],
            });
            operation["requestBody"] = body("application/x-www-form-urlencoded", schema);
        }
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let parts = route.path.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.trim_matches(['{', '}']).replace(['-', '.'], "_"));
    let path = parts.collect::<Vec<_>>().join("_");
    format!("{}_{path}", route.method.as_str().to_lowercase())
}

fn responses(route: &Route) -> Map<String, Value> {
    let of_callers = (
        401,
        "The request is not signed by a permitted identity, or lacks the key.",
        Gives::Problem,
    );
    let of_all = (503, "The table, the secret or Meta does not answer; try again.", Gives::Problem);
    let of_callers = (route.access == Access::Callers).then_some(&of_callers);
    let answers = route.about.answers.iter().chain(of_callers).chain([&of_all]);
    let answer = |(status, meaning, gives): &(u16, &str, Gives)| {
        let schema = match gives {
            Gives::Nothing => None,
            Gives::Problem => Some(reference("Problem")),
            Gives::Schema(name) => Some(reference(name)),
            Gives::Object => Some(json!({"type": "object"})),
        };
        let mut answer = json!({"description": meaning});
        if let Some(schema) = schema {
            answer["content"] = json!({"application/json": {"schema": schema}});
        }
        (status.to_string(), answer)
    };
    answers.map(answer).collect()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn schemas() -> Map<String, Value> {
    let mut schemas = Vec::new();
    add::<NewMessage>(&mut schemas);
    add::<Message>(&mut schemas);
    add::<Person>(&mut schemas);
    add::<Applications>(&mut schemas);
    add::<Events>(&mut schemas);
    add::<Confirmation>(&mut schemas);
    add::<DeletionStatus>(&mut schemas);
    add::<Problem>(&mut schemas);
    let schemas = schemas.into_iter();
    schemas.map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect()
}

/// Adds a type's schema and those that it consists of.
fn add<T: ToSchema + PartialSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_and_the_routes_agree() {
        let document = document();
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                documented.insert((method.to_uppercase(), path.clone()));
                let summary = operation["summary"].as_str().unwrap();
                assert!(!summary.is_empty(), "{method} {path}");
                let good = |status: &String| status.starts_with('2');
                assert!(operation["responses"].as_object().unwrap().keys().any(good), "{path}");
            }
        }
        let routes = ROUTES.iter().map(|route| (route.method.to_string(), route.path.to_owned()));
        assert_eq!(documented, routes.collect());
        assert_eq!(documented.len(), ROUTES.len());
    }

    #[test]
    fn only_the_data_deletion_is_open_to_everybody() {
        for route in &ROUTES {
            let is_open = route.access == Access::Everybody;
            assert_eq!(is_open, route.path.starts_with("/data-deletion"), "{}", route.path);
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() >= 8, "{found:?}");
        for reference in found {
            let schema = document.pointer(reference.trim_start_matches('#'));
            assert!(schema.is_some_and(|schema| *schema != Value::Null), "{reference}");
        }
    }

    #[test]
    fn the_document_names_the_fields_that_are_read() {
        let schemas = schemas();
        let documented = schemas["NewMessage"]["properties"].as_object().unwrap().keys();
        let read = backend::request::FIELDS.map(str::to_owned);
        assert_eq!(documented.cloned().collect::<BTreeSet<_>>(), BTreeSet::from(read));
        assert_eq!(schemas["NewMessage"]["additionalProperties"], false);
    }
}
