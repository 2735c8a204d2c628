//! A request: a message to be stored and sent when it is due.

use serde_json::{Map, Value, json};
use shared::clock::Timestamp;
use shared::event::digest;
use shared::message::{Invalid, Say, UtilityTemplate};
use shared::outbox::{ScheduleError, ToSchedule};
use shared::store::Who;
use shared::window::{Allowed, Purpose};

use crate::{FollowUps, FollowUpsError};

/// The most characters of an id that a caller gives.
const LONGEST_ID: usize = 128;

/// The latest that a message may be due: a year from now.
const LATEST: std::time::Duration = std::time::Duration::from_hours(8784);

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

const FIELDS: [&str; 14] = [
    "id",
    "page_id",
    "psid",
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
    "fallback_template",
];

impl FollowUps {
    /// Stores the message of a request.
    pub(crate) async fn store(
        &self,
        payload: &Value,
        invocation: &str,
    ) -> Result<Value, FollowUpsError> {
        let wanted = read(payload, invocation, self.clock.now())?;
        let id = payload["id"].as_str().map_or(invocation, |id| id).to_owned();
        let stored = match self.outbox.schedule(wanted).await {
            Ok(stored) => stored,
            Err(ScheduleError::Outbox(error)) => return Err(error.into()),
            Err(error) => return Err(RequestError::NotTaken(error).into()),
        };
        let (label, reason) = match stored.outlook {
            Ok(allowed) => {
                let label = allowed.label();
                let reason = match allowed {
                    Allowed::AsMeant(_) => None,
                    Allowed::Fallback(refusal) => {
                        Some(format!("the fallback template goes instead: {refusal}"))
                    }
                };
                (label.tag().unwrap_or(label.messaging_type()), reason)
            }
            Err(refusal) => ("refused", Some(refusal.to_string())),
        };
        Ok(json!({
            "id": id,
            "entry": stored.key.id,
            "status": stored.status.name(),
            "stored": if stored.is_new { "now" } else { "before" },
            "due_at": stored.due_at.millis(),
            "due": stored.due_at.to_string(),
            "outlook": {"label": label, "reason": reason},
        }))
    }
}

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
    let person = needed("psid")?;
    if person.contains(['#', ' ']) || person.len() > 200 {
        return Err(wrong("psid", "is no Page-scoped id"));
    }
    let purpose = needed("purpose")?;
    let purpose = Purpose::from_name(&purpose).ok_or_else(|| {
        let names = Purpose::ALL.map(Purpose::name).join(", ");
        wrong("purpose", &format!("is none of {names}"))
    })?;
    let author = text("author")?;
    if purpose == Purpose::Human && author.is_none() {
        return Err(wrong("author", "is missing: a message for purpose human names who wrote it"));
    }
    let messages = read_messages(fields)?;
    let due_at = match fields.get("due_at") {
        Some(Value::Number(millis)) => millis.as_i64().map(Timestamp::from_seconds_or_millis),
        Some(Value::String(text)) => Timestamp::from_rfc3339(text),
        _ => None,
    };
    let due_given = fields.get("due_at").is_some_and(|due| !due.is_null());
    if due_given && due_at.is_none_or(|due| due.millis() <= 0 || due > now + LATEST) {
        let form =
            "must be ms since the epoch or RFC 3339, such as 2026-11-22T09:30:00Z, within a year";
        return Err(wrong("due_at", form));
    }
    let fallback = match fields.get("fallback_template") {
        None | Some(Value::Null) => None,
        Some(template) => Some(UtilityTemplate::from_json("fallback_template", template)?),
    };
    let page_id = needed("page_id")?;
    let named = id.unwrap_or_else(|| invocation.to_owned());
    let id = format!("request-{}", &digest(&[&named])[..32]);
    let who = Who { page_id, person };
    Ok(ToSchedule { id, who, messages, purpose, author, due_at, fallback })
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
