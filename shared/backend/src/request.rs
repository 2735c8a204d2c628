//! A request: a message that people and back-office systems ask for, as JSON.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::outbox::{ScheduleError, ToSchedule};
use crate::store::Who;
use messenger::clock::Timestamp;
use messenger::event::digest;
use messenger::message::{Invalid, Say, UtilityTemplate};
use messenger::window::Purpose;

/// The most characters of an id that a caller gives.
const LONGEST_ID: usize = 128;

/// The latest that a message may be due: a year from now.
const LATEST: Duration = Duration::from_hours(24 * 366);

/// How far another clock may be ahead of ours.
const AHEAD: Duration = Duration::from_mins(1);

/// The forms of an instant.
const INSTANT: &str =
    "must be ms since the epoch or RFC 3339, such as 2026-11-22T09:30:00Z, within a year";

/// What may name the person, and what stands before it in the table.
const PERSONS: [(&str, &str); 4] =
    [("psid", ""), ("user_ref", "user_ref:"), ("comment_id", "comment:"), ("post_id", "post:")];

/// What is wrong with a request; the text begins with the field's name.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is not an object.
    #[error("the request is not a JSON object")]
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
    /// There is a field that means nothing here.
    #[error("{0}: no such field; the fields are {fields}", fields = FIELDS.join(", "))]
    Unknown(String),
    /// What is to be said breaks a limit of the platform.
    #[error(transparent)]
    Message(#[from] Invalid),
    /// The outbox does not take it.
    #[error("{0}")]
    NotTaken(ScheduleError),
}

impl RequestError {
    /// The field that is wrong, if it is one field.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NotAnObject | Self::NotTaken(ScheduleError::Outbox(_)) => None,
            Self::Missing(field) | Self::Wrong { field, .. } => Some(field),
            Self::Unknown(field) => Some(field),
            Self::Message(invalid) | Self::NotTaken(ScheduleError::Invalid(invalid)) => {
                Some(&invalid.field)
            }
            Self::NotTaken(ScheduleError::UnknownPage) => Some("page_id"),
            Self::NotTaken(ScheduleError::TooManyWaiting) => Some("psid"),
            Self::NotTaken(ScheduleError::AlreadyReplied) => Some("comment_id"),
        }
    }
}

/// The fields of a request.
pub const FIELDS: [&str; 19] = [
    "id",
    "page_id",
    "psid",
    "user_ref",
    "comment_id",
    "post_id",
    "commented_at",
    "message",
    "persona_id",
    "reply_to",
    "notification_type",
    "sender_action",
    "payload",
    "messages",
    "purpose",
    "author",
    "due_at",
    "send_at",
    "fallback_template",
];

/// Reads a request; `invocation` names it if it has no id of its own.
///
/// # Errors
/// [`RequestError`], which names the field that is wrong.
pub fn read(payload: &Value, invocation: &str, now: Timestamp) -> Result<ToSchedule, RequestError> {
    let fields = payload.as_object().ok_or(RequestError::NotAnObject)?;
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let name: String = unknown.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(RequestError::Unknown(name));
    }
    let wrong = |field, problem: &str| RequestError::Wrong { field, problem: problem.to_owned() };
    let text = |field: &'static str| match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(wrong(field, "must be a string that is not empty")),
    };
    let needed = |field| text(field)?.ok_or(RequestError::Missing(field));
    let id = text("id")?;
    if id.as_ref().is_some_and(|id| id.chars().count() > LONGEST_ID) {
        return Err(wrong("id", "has more than 128 characters"));
    }
    let person = read_person(fields)?;
    let purpose = match text("purpose")? {
        None if is_of_public_post(fields) => Purpose::PrivateReply,
        None => return Err(RequestError::Missing("purpose")),
        Some(purpose) => purpose.parse().map_err(|_| {
            let names = Purpose::NAMES.join(", ");
            wrong("purpose", &format!("must be one of {names}"))
        })?,
    };
    let author = text("author")?;
    if purpose == Purpose::Human && author.is_none() {
        return Err(wrong("author", "is missing: a message for purpose human names who wrote it"));
    }
    let messages = read_messages(fields)?;
    let due_at = match (read_instant(fields, "send_at")?, read_instant(fields, "due_at")?) {
        (Some(_), Some(_)) => {
            return Err(wrong("send_at", "stands beside due_at; give one of them"));
        }
        (send_at, due_at) => send_at.or(due_at),
    };
    if due_at.is_some_and(|due| due > now + LATEST) {
        let field = if fields.contains_key("send_at") { "send_at" } else { "due_at" };
        return Err(wrong(field, INSTANT));
    }
    let commented_at = read_instant(fields, "commented_at")?;
    if commented_at.is_some() && !is_of_public_post(fields) {
        return Err(wrong("commented_at", "is for comment_id and post_id only"));
    }
    if commented_at.is_some_and(|at| at > now + AHEAD) {
        return Err(wrong("commented_at", "is in the future"));
    }
    let fallback = match fields.get("fallback_template") {
        None | Some(Value::Null) => None,
        Some(template) => Some(UtilityTemplate::from_json("fallback_template", template)?),
    };
    let page_id = needed("page_id")?;
    let named = id.unwrap_or_else(|| invocation.to_owned());
    let id = format!("request-{}", &digest(&[&named])[..32]);
    let who = Who { page_id, person };
    Ok(ToSchedule { id, who, messages, purpose, author, due_at, commented_at, fallback })
}

/// Reads to whom it goes: exactly one of the fields names them.
fn read_person(fields: &Map<String, Value>) -> Result<String, RequestError> {
    let mut given =
        PERSONS.iter().filter(|(field, _)| fields.get(*field).is_some_and(|v| !v.is_null()));
    let (field, prefix) = given.next().ok_or(RequestError::Missing("psid"))?;
    let wrong = |field, problem: &str| RequestError::Wrong { field, problem: problem.to_owned() };
    if let Some((other, _)) = given.next() {
        return Err(wrong(other, "stands beside another person; give one of them"));
    }
    match fields[*field].as_str().map(str::trim) {
        Some(id) if (1..=200).contains(&id.len()) && !id.contains(['#', ' ', ':']) => {
            Ok(format!("{prefix}{id}"))
        }
        _ => Err(wrong(field, "is no such id")),
    }
}

fn is_of_public_post(fields: &Map<String, Value>) -> bool {
    ["comment_id", "post_id"].iter().any(|field| fields.get(*field).is_some_and(|v| !v.is_null()))
}

fn read_instant(
    fields: &Map<String, Value>,
    field: &'static str,
) -> Result<Option<Timestamp>, RequestError> {
    let instant = match fields.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(millis)) => millis.as_i64().map(Timestamp::from_seconds_or_millis),
        Some(Value::String(text)) => Timestamp::from_rfc3339(text),
        Some(_) => None,
    };
    match instant.filter(|instant| instant.millis() > 0) {
        Some(instant) => Ok(Some(instant)),
        None => Err(RequestError::Wrong { field, problem: INSTANT.to_owned() }),
    }
}

/// Reads what is to be said: in the request itself, or as a list.
fn read_messages(fields: &Map<String, Value>) -> Result<Vec<Say>, RequestError> {
    let wrong =
        |problem: &str| RequestError::Wrong { field: "messages", problem: problem.to_owned() };
    let own = fields.iter().filter(|(name, _)| Say::FIELDS.contains(&name.as_str()));
    let own: Map<_, _> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    match fields.get("messages") {
        None if own.is_empty() => Err(RequestError::Missing("message")),
        None => Ok(vec![Say::from_json(&own.into())?]),
        Some(_) if !own.is_empty() => {
            Err(wrong("stands beside message or its options; give one of them"))
        }
        Some(Value::Array(messages)) if !messages.is_empty() => {
            let read = |(index, message)| {
                Say::from_json(message)
                    .map_err(|invalid| invalid.within(&format!("messages[{index}]")))
            };
            Ok(messages.iter().enumerate().map(read).collect::<Result<_, _>>()?)
        }
        Some(_) => Err(wrong("must be a list that is not empty")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn request() -> Value {
        json!({"page_id": "1", "psid": "2", "message": {"text": "hi"}, "purpose": "update"})
    }

    fn error(change: impl FnOnce(&mut Value)) -> String {
        let mut request = request();
        change(&mut request);
        read(&request, "invocation", NOW).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_request_names_the_field() {
        assert!(error(|r| r["psid"] = 5.into()).starts_with("psid: "));
        assert!(error(|r| r["page_id"] = Value::Null).starts_with("page_id: "));
        assert!(error(|r| r["purpose"] = "promo".into()).starts_with("purpose: "));
        assert!(error(|r| r["purpose"] = "human".into()).starts_with("author: "));
        assert!(error(|r| r["message"] = json!({"text": ""})).starts_with("message.text: "));
        assert!(
            error(|r| r["message"] = json!({"txt": "secret words"})).starts_with("message.txt: ")
        );
        assert!(
            !error(|r| r["message"] = json!({"attachment": "secret words"})).contains("secret")
        );
        assert!(error(|r| r["due_at"] = "soon".into()).starts_with("due_at: "));
        assert!(error(|r| r["due_at"] = i64::MAX.into()).starts_with("due_at: "));
        assert!(error(|r| r["when"] = 5.into()).starts_with("when: "));
        assert!(error(|r| r["messages"] = json!([])).starts_with("messages: "));
        assert!(error(|r| *r = json!([])).contains("JSON object"));
    }

    #[test]
    fn one_field_names_the_person() {
        let person = |field: &str| {
            let mut request = request();
            request.as_object_mut().unwrap().remove("psid");
            request[field] = "5_6".into();
            read(&request, "a", NOW).map(|wanted| wanted.who.person)
        };
        assert_eq!(person("psid").unwrap(), "5_6");
        assert_eq!(person("user_ref").unwrap(), "user_ref:5_6");
        assert_eq!(person("comment_id").unwrap(), "comment:5_6");
        assert_eq!(person("post_id").unwrap(), "post:5_6");
        assert!(error(|r| r["comment_id"] = "5".into()).starts_with("comment_id: stands beside"));
        assert!(error(|r| r["psid"] = "comment:5".into()).starts_with("psid: "));
        assert!(
            error(|r| r["commented_at"] = 1_795_000_000_000_i64.into())
                .starts_with("commented_at: ")
        );
    }

    #[test]
    fn the_same_id_is_the_same_entry() {
        let with_id = |id: &str, invocation: &str| {
            let mut request = request();
            request["id"] = id.into();
            read(&request, invocation, NOW).unwrap().id
        };
        assert_eq!(with_id("order-5", "a"), with_id("order-5", "b"));
        assert_ne!(with_id("order-5", "a"), with_id("order-6", "a"));
        assert_eq!(read(&request(), "a", NOW).unwrap().id, read(&request(), "a", NOW).unwrap().id);
    }

    #[test]
    fn the_due_time_in_both_forms() {
        let due = |due: Value| {
            let mut request = request();
            request["due_at"] = due;
            read(&request, "a", NOW).unwrap().due_at
        };
        assert_eq!(
            due(1_795_000_060_000_i64.into()),
            Timestamp::from_rfc3339("2026-11-18T11:07:40Z")
        );
        assert_eq!(due("2026-11-18T11:07:40Z".into()), due("2026-11-18T12:07:40+01:00".into()));
        assert_eq!(due(Value::Null), None);
    }
}
