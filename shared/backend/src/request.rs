//! A request: a message that people and back-office systems ask for, as JSON.

use std::time::Duration;

use messenger::clock::Timestamp;
use messenger::event::digest;
use messenger::message::{Invalid, Outgoing, UtilityTemplate};
use messenger::person::{NotAPerson, Person};
use messenger::window::Purpose;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::outbox::ToSchedule;
use crate::payload::{self, optional_text, text};
use crate::schema;
use crate::store::{ConversationKey, REQUESTED};

/// The most characters of an id that a caller gives.
const LONGEST_ID: usize = 128;

/// The latest time at which a message may be sent: a year from now.
const LATEST: Duration = Duration::from_hours(24 * 366);

/// How far another clock may be ahead of ours.
const AHEAD: Duration = Duration::from_mins(1);

const INSTANT: &str =
    "must be ms since the epoch or RFC 3339, such as 2026-11-22T09:30:00Z, within a year";

/// A message to be sent, now or later.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMessage)]
pub struct SendRequest {
    /// Identifies the request, as the `Idempotency-Key` header does: a repeated one is the same message.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(min_length = 1, max_length = 128, pattern = r"^[!-~]+$")]
    id: Option<String>,
    /// The Page's id.
    #[serde(deserialize_with = "text")]
    #[schema(pattern = "^[0-9]{1,40}$")]
    page_id: String,
    /// The recipient's PSID. Exactly one of `psid`, `user_ref`, `comment_id`, `post_id`,
    /// `notification_messages_token`, `one_time_notif_token` and `phone_number` is required.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9]{1,40}$")]
    psid: Option<String>,
    /// The recipient as the checkbox plugin refers to them.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9A-Za-z_-]{1,200}$")]
    user_ref: Option<String>,
    /// A comment on the Page, whose author gets one private reply.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9_]{1,100}$")]
    comment_id: Option<String>,
    /// A visitor's post on the Page, whose author gets one private reply.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9_]{1,100}$")]
    post_id: Option<String>,
    /// The token of an opt-in to notifications, which allows a message whatever the windows say.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9A-Za-z_-]{1,200}$")]
    notification_messages_token: Option<String>,
    /// The token of an opt-in to one notification, which allows one message within a year.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = "^[0-9A-Za-z_-]{1,200}$")]
    one_time_notif_token: Option<String>,
    /// The phone number of the recipient's account, with + and country code.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = r"^\+[0-9]{8,15}$")]
    phone_number: Option<String>,
    #[serde(default, deserialize_with = "instant")]
    #[schema(schema_with = schema::commented_at)]
    commented_at: Option<Timestamp>,
    #[schema(schema_with = schema::message)]
    message: Option<Value>,
    /// The persona that sends the message.
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,40}$")]
    persona_id: Option<Value>,
    /// The message that this one replies to.
    #[schema(value_type = Option<ReplyTo>)]
    reply_to: Option<Value>,
    #[schema(schema_with = schema::notification_type)]
    notification_type: Option<Value>,
    /// Hands the thread over with the message.
    #[schema(value_type = Option<ThreadControl>)]
    thread_control: Option<Value>,
    #[schema(schema_with = schema::sender_action)]
    sender_action: Option<Value>,
    #[schema(schema_with = schema::payload)]
    payload: Option<Value>,
    #[schema(schema_with = schema::messages)]
    messages: Option<Vec<Value>>,
    /// Why the message is sent, which decides the window that applies. Optional for a private reply, and
    /// `update` for a token or a phone number unless it is given.
    purpose: Option<Purpose>,
    /// The person of the business who wrote the message; required for the purpose `human`.
    #[serde(default, deserialize_with = "optional_text")]
    #[schema(pattern = r"^[!-~]{1,200}$")]
    author: Option<String>,
    #[serde(default, deserialize_with = "instant")]
    #[schema(schema_with = schema::send_at)]
    send_at: Option<Timestamp>,
    #[schema(schema_with = schema::fallback_template)]
    fallback_template: Option<Value>,
}

/// A message of the conversation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the reader of messages checks it; this describes it")]
struct ReplyTo {
    /// The message's mid.
    #[schema(pattern = r"^[!-~]{1,1000}$")]
    mid: String,
}

/// A hand-over of the thread.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the reader of messages checks it; this describes it")]
struct ThreadControl {
    #[schema(schema_with = schema::control_type)]
    control_type: String,
    /// The app that gets the thread; the Page's inbox if absent.
    #[schema(pattern = "^[0-9]{1,40}$")]
    app_id: Option<String>,
}

/// Reads a request; `invocation` identifies it if it has no id of its own.
///
/// # Errors
/// [`Invalid`] with the path of the field that is wrong.
pub fn read(payload: &Value, invocation: &str, now: Timestamp) -> Result<ToSchedule, Invalid> {
    payload::read::<SendRequest>(payload)?.check(invocation, now)
}

impl SendRequest {
    fn check(self, invocation: &str, now: Timestamp) -> Result<ToSchedule, Invalid> {
        if self.id.as_ref().is_some_and(|id| id.chars().count() > LONGEST_ID) {
            return Err(Invalid::new("id", "must have at most 128 characters"));
        }
        let is_private_reply = self.comment_id.is_some() || self.post_id.is_some();
        let person = one_of([
            ("psid", Person::psid, self.psid),
            ("user_ref", Person::user_ref, self.user_ref),
            ("comment_id", Person::comment, self.comment_id),
            ("post_id", Person::post, self.post_id),
            (
                "notification_messages_token",
                Person::notification_token,
                self.notification_messages_token,
            ),
            ("one_time_notif_token", Person::one_time_token, self.one_time_notif_token),
            ("phone_number", Person::phone_number, self.phone_number),
        ])?;
        let purpose = match self.purpose {
            None if is_private_reply => Purpose::PrivateReply,
            None if person.is_permission() => Purpose::Update,
            None => return Err(Invalid::new("purpose", "is missing")),
            Some(purpose) => purpose,
        };
        if purpose == Purpose::Human && self.author.is_none() {
            return Err(Invalid::new("author", "is missing: the purpose human requires it"));
        }
        if self.send_at.is_some_and(|at| at > now + LATEST) {
            return Err(Invalid::new("send_at", INSTANT));
        }
        if self.commented_at.is_some() && !is_private_reply {
            return Err(Invalid::new("commented_at", "requires comment_id or post_id"));
        }
        if self.commented_at.is_some_and(|at| at > now + AHEAD) {
            return Err(Invalid::new("commented_at", "must not be in the future"));
        }
        let own = [
            ("message", self.message),
            ("persona_id", self.persona_id),
            ("reply_to", self.reply_to),
            ("notification_type", self.notification_type),
            ("thread_control", self.thread_control),
            ("sender_action", self.sender_action),
            ("payload", self.payload),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let messages = read_messages(own.collect(), self.messages)?;
        let fallback = self.fallback_template;
        let fallback = fallback.map(|it| UtilityTemplate::from_json("fallback_template", &it));
        let id = self.id.unwrap_or_else(|| invocation.to_owned());
        Ok(ToSchedule {
            id: format!("{REQUESTED}{}", &digest(&[&self.page_id, &id])[..32]),
            conversation_key: ConversationKey { page_id: self.page_id, person },
            messages,
            purpose,
            author: self.author,
            due_at: self.send_at,
            commented_at: self.commented_at,
            fallback: fallback.transpose()?,
        })
    }
}

type NewPerson = fn(String) -> Result<Person, NotAPerson>;

/// The recipient: exactly one of the fields names them.
fn one_of(fields: [(&str, NewPerson, Option<String>); 7]) -> Result<Person, Invalid> {
    let mut given = fields.into_iter().filter_map(|(name, person, id)| Some((name, person, id?)));
    let Some((name, person, id)) = given.next() else {
        return Err(Invalid::new("psid", "is missing, and so is every other recipient"));
    };
    match given.next() {
        Some((other, ..)) => Err(Invalid::new(other, "cannot be combined with another recipient")),
        None => person(id).map_err(|invalid| Invalid::new(name, invalid.to_string())),
    }
}

fn read_messages(
    own: Map<String, Value>,
    messages: Option<Vec<Value>>,
) -> Result<Vec<Outgoing>, Invalid> {
    let wrong = |problem| Err(Invalid::new("messages", problem));
    match messages {
        None if own.is_empty() => Err(Invalid::new("message", "is missing")),
        None => Ok(vec![Outgoing::from_json(&own.into())?]),
        Some(_) if !own.is_empty() => wrong("cannot be combined with message or its options"),
        Some(messages) if messages.is_empty() => wrong("must not be empty"),
        Some(messages) => {
            let read = |(index, message)| {
                Outgoing::from_json(message)
                    .map_err(|invalid| invalid.within(&format!("messages[{index}]")))
            };
            messages.iter().enumerate().map(read).collect()
        }
    }
}

/// Reads an optional instant: ms since the epoch, or RFC 3339.
///
/// # Errors
/// If it is neither.
pub fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let instant = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::Number(millis) => millis.as_i64().map(Timestamp::from_seconds_or_millis),
        Value::String(text) => Timestamp::from_rfc3339(&text),
        _ => None,
    };
    match instant.filter(|instant| instant.millis() > 0) {
        Some(instant) => Ok(Some(instant)),
        None => Err(D::Error::custom(INSTANT)),
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
            error(|r| r["message"] = json!({"text": ["secret words"]}))
                .starts_with("message.text: ")
        );
        assert!(
            !error(|r| r["message"] = json!({"attachment": "secret words"})).contains("secret")
        );
        assert!(error(|r| r["send_at"] = "soon".into()).starts_with("send_at: "));
        assert!(error(|r| r["send_at"] = i64::MAX.into()).starts_with("send_at: "));
        assert!(error(|r| r["when"] = 5.into()).starts_with("when: "));
        let old_name = error(|r| r["due_at"] = 5.into());
        assert!(old_name.starts_with("due_at: unknown field") && old_name.contains("send_at"));
        assert!(error(|r| r["messages"] = json!([])).starts_with("messages: "));
        assert!(error(|r| *r = json!([])).contains("JSON object"));
    }

    #[test]
    fn one_field_names_the_person() {
        let person = |field: &str| {
            let mut request = request();
            request.as_object_mut().unwrap().remove("psid");
            request[field] = "5_6".into();
            read(&request, "a", NOW).map(|wanted| wanted.conversation_key.person.to_string())
        };
        assert_eq!(person("psid").unwrap(), "5_6");
        assert_eq!(person("user_ref").unwrap(), "user_ref:5_6");
        assert_eq!(person("comment_id").unwrap(), "comment:5_6");
        assert_eq!(person("post_id").unwrap(), "post:5_6");
        for token in ["notification_messages_token", "one_time_notif_token"] {
            assert_eq!(person(token).unwrap(), format!("{token}:5_6"));
        }
        let malformed = person("phone_number").unwrap_err().to_string();
        assert!(malformed.starts_with("phone_number: is not a valid"), "{malformed}");
        assert!(error(|r| r["comment_id"] = "5".into()).starts_with("comment_id: cannot be"));
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
        let mut elsewhere = request();
        elsewhere["id"] = "order-5".into();
        elsewhere["page_id"] = "3".into();
        assert_ne!(with_id("order-5", "a"), read(&elsewhere, "a", NOW).unwrap().id);
        assert_eq!(read(&request(), "a", NOW).unwrap().id, read(&request(), "a", NOW).unwrap().id);
    }

    #[test]
    fn the_due_time_in_both_forms() {
        let due = |due: Value| {
            let mut request = request();
            request["send_at"] = due;
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
