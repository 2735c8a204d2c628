//! One item to send: a message with its options, or a sender action.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::part::{Notes, Part};
use super::{Action, Invalid, Message, RateClass, Unknown, Use, UtilityTemplate, action};
use crate::event::Platform;

/// One item to send: a message with its options, or a sender action.
///
/// Serialised as the body of a Send API request, without `recipient`, `messaging_type` and `tag`,
/// which are decided when it is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outgoing(Value);

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        Self(json!({"message": message}))
    }
}

impl From<Action> for Outgoing {
    fn from(action: Action) -> Self {
        Self(json!(action))
    }
}

impl From<UtilityTemplate> for Outgoing {
    fn from(template: UtilityTemplate) -> Self {
        Self(json!({"message": {"template": template}}))
    }
}

impl Outgoing {
    /// The fields of a Send API request that it may consist of.
    pub const FIELDS: [&str; 7] = [
        "message",
        "persona_id",
        "reply_to",
        "notification_type",
        "thread_control",
        "sender_action",
        "payload",
    ];

    /// Sends it under the name and picture of a persona of the Page; Messenger only.
    #[must_use]
    pub fn as_persona(self, id: impl Into<String>) -> Self {
        self.with("persona_id", id.into().into())
    }

    /// Shows the message as a reply to another one of the conversation, by its mid.
    #[must_use]
    pub fn in_reply_to(self, mid: impl Into<String>) -> Self {
        self.with("reply_to", json!({"mid": mid.into()}))
    }

    /// Notifies the person without sound or vibration.
    #[must_use]
    pub fn silently(self) -> Self {
        self.with("notification_type", "SILENT_PUSH".into())
    }

    /// Does not notify the person.
    #[must_use]
    pub fn without_notification(self) -> Self {
        self.with("notification_type", "NO_PUSH".into())
    }

    /// Gives the thread to another app with this message, such as the Page's inbox: the last words and
    /// the hand-over are one call. Nothing is sent to the person after it until the thread is back.
    #[must_use]
    pub fn passing_thread_to(self, app_id: impl Into<String>) -> Self {
        self.with("thread_control", json!({"control_type": "pass", "app_id": app_id.into()}))
    }

    /// Gives the thread up with this message.
    #[must_use]
    pub fn releasing_thread(self) -> Self {
        self.with("thread_control", json!({"control_type": "release"}))
    }

    /// Whether it gives the thread to another app, and to which, if it names one.
    pub fn passes_thread(&self) -> Option<Option<&str>> {
        let control = self.0.get("thread_control")?;
        (control["control_type"] == "pass").then(|| control["app_id"].as_str())
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    /// Reads an object of [`Outgoing::FIELDS`], or a bare `message` object; a plain string is a text.
    ///
    /// # Errors
    /// [`Invalid`] if it has another form or breaks a limit.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let is_body = Self::FIELDS.iter().any(|name| value.get(name).is_some());
        let mut body = if is_body { value.clone() } else { json!({"message": value}) };
        if body["message"].is_string() {
            body["message"] = json!({"text": body["message"]});
        }
        let say = Self(body);
        super::on_either(|platform| say.check(platform))?;
        Ok(say)
    }

    /// Checks it against a platform's limits.
    ///
    /// # Errors
    /// [`Invalid`] names the first limit that is broken.
    pub fn check(&self, platform: Platform) -> Result<(), Invalid> {
        self.check_noting(platform).map(drop)
    }

    /// What of it is not known here, and is sent as it is.
    pub fn unknown(&self) -> Vec<Unknown> {
        let on = |platform| self.check_noting(platform);
        on(Platform::Messenger).or_else(|_| on(Platform::Instagram)).unwrap_or_default()
    }

    fn check_noting(&self, platform: Platform) -> Result<Vec<Unknown>, Invalid> {
        let notes = Notes::default();
        Self::check_parts(&Part::whole(&self.0, &notes), platform)?;
        Ok(notes.into_unknown())
    }

    fn check_parts(body: &Part, platform: Platform) -> Result<(), Invalid> {
        match (body.at("message").there(), body.at("sender_action").there()) {
            (Some(message), None) => {
                body.only(&[
                    "message",
                    "persona_id",
                    "reply_to",
                    "notification_type",
                    "thread_control",
                ])?;
                super::check(&message, platform)?;
            }
            (None, Some(_)) => action::check(body)?,
            (Some(_), Some(action)) => {
                return Err(action.wrong("cannot be combined with a message"));
            }
            (None, None) => return Err(body.at("message").wrong("is missing")),
        }
        if let Some(persona) = body.at("persona_id").there() {
            if platform == Platform::Instagram {
                return Err(persona.wrong("personas are only available on Messenger"));
            }
            persona.id()?;
        }
        body.at("reply_to").optional(|reply_to| {
            reply_to.only(&["mid"])?;
            reply_to.at("mid").text(1..=1000).map(drop)
        })?;
        body.at("thread_control").optional(|control| {
            control.only(&["control_type", "app_id"])?;
            control.at("control_type").one_of(&["pass", "release"])?;
            control.at("app_id").optional(Part::id)
        })?;
        let types = ["REGULAR", "SILENT_PUSH", "NO_PUSH"];
        body.at("notification_type").optional(|part| part.one_of(&types).map(drop))
    }

    /// The `message` object; none if it is a sender action.
    pub fn message(&self) -> Option<&Value> {
        self.0.get("message").filter(|message| !message.is_null())
    }

    /// What it may be used for; nothing in particular if it is a sender action.
    pub fn usable_for(&self) -> Option<Use> {
        self.message().map(super::usable_for)
    }

    /// Which of the Page's rates it counts against.
    pub fn rate_class(&self) -> RateClass {
        self.message().map_or(RateClass::Text, super::rate_class)
    }

    /// Its size in bytes as JSON.
    pub fn bytes(&self) -> usize {
        self.0.to_string().len()
    }

    /// The body of the request, without recipient and label.
    pub fn into_body(self) -> Value {
        self.0
    }
}
