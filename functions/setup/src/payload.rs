//! The payload of an invocation by hand: an action and its fields.

use backend::payload::{self, id, optional_text, text};
use messenger::event::Platform;
use messenger::message::Invalid;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// What to do, by the payload's `action`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Action {
    Register {},
    Unregister {},
    Status {},
    RenewTokens {},
    Applications {},
    Pages(Pages),
    Conversations(Conversations),
    FirstMessage(FirstMessage),
    WhatsappAccount(WhatsappAccount),
    Templates(Templates),
    CreateTemplate(CreateTemplate),
    Personas(Personas),
    CreatePersona(CreatePersona),
    DeletePersona(DeletePersona),
    Requeue(Requeue),
}

/// Lists the Pages that a user manages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pages {
    #[serde(deserialize_with = "token")]
    pub(crate) user_token: SecretString,
    #[serde(default, deserialize_with = "optional_text")]
    pub(crate) application: Option<String>,
    pub(crate) show_tokens: Option<bool>,
}

/// Lists a Page's newest conversations, or the one with a person.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conversations {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
    #[serde(default, deserialize_with = "optional_text")]
    pub(crate) psid: Option<String>,
    pub(crate) platform: Option<Platform>,
}

/// Sends a person's message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FirstMessage {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
    #[serde(deserialize_with = "id")]
    pub(crate) psid: String,
    #[serde(default, deserialize_with = "optional_text")]
    pub(crate) text: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) author: String,
}

/// Shows a `WhatsApp` business account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhatsappAccount {
    #[serde(deserialize_with = "id")]
    pub(crate) account_id: String,
    #[serde(default, deserialize_with = "optional_token")]
    pub(crate) token: Option<SecretString>,
    #[serde(default, deserialize_with = "optional_text")]
    pub(crate) application: Option<String>,
}

/// Lists the utility templates of a Page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Templates {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
}

/// Creates a utility template of a Page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTemplate {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
    pub(crate) template: Map<String, Value>,
}

/// Lists the personas of a Page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Personas {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
}

/// Creates a persona of a Page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreatePersona {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
    #[serde(deserialize_with = "text")]
    pub(crate) name: String,
    #[serde(deserialize_with = "text")]
    pub(crate) profile_picture_url: String,
}

/// Deletes a persona of a Page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeletePersona {
    #[serde(deserialize_with = "id")]
    pub(crate) page_id: String,
    #[serde(deserialize_with = "id")]
    pub(crate) persona_id: String,
}

/// Takes in again what was set aside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requeue {
    pub(crate) limit: Option<usize>,
}

impl Action {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`Invalid`] with the path of the field that is wrong.
    pub(crate) fn read(payload: &Value) -> Result<Self, Invalid> {
        const TAG: &str = "action";
        let mut fields = match payload {
            Value::Object(fields) => fields.clone(),
            _ => return Err(Invalid::new("payload", "must be a JSON object")),
        };
        let action = match fields.remove(TAG) {
            Some(Value::String(action)) => action,
            Some(_) => return Err(Invalid::new(TAG, "must be a string")),
            None => return Err(Invalid::new(TAG, "is missing")),
        };
        // serde would read an enum with a tag inside from a buffer, and lose the path of an error.
        payload::read(&json!({&action: fields})).map_err(|invalid| {
            let field = invalid.field.strip_prefix(&action).and_then(|it| it.strip_prefix('.'));
            Invalid::new(field.unwrap_or(TAG), invalid.problem)
        })
    }
}

fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    text(deserializer).map(SecretString::from)
}

fn optional_token<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    Ok(optional_text(deserializer)?.map(SecretString::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_and_never_its_value() {
        for (payload, expected) in [
            (json!([]), "payload: must be a JSON object"),
            (json!({"user_token": "hush"}), "action: is missing"),
            (json!({"action": {"hush": 1}}), "action: must be a string"),
            (
                json!({"action": "hush"}),
                "action: must be one of register, unregister, status, renew-tokens, applications, \
                 pages, conversations, first-message, whatsapp-account, templates, create-template, \
                 personas, create-persona, delete-persona, requeue",
            ),
            (json!({"action": "status", "pages": 1}), "pages: unknown field; there are none here"),
            (json!({"action": "pages"}), "user_token: is missing"),
            (json!({"action": "pages", "user_token": {"hush": 1}}), "user_token: must be a string"),
            (
                json!({"action": "pages", "user_token": "t", "show_tokens": "hush"}),
                "show_tokens: must be a boolean",
            ),
            (
                json!({"action": "templates", "page_id": "hush/hush"}),
                "page_id: must be an id of at most 40 digits",
            ),
            (
                json!({"action": "conversations", "page_id": "1", "platform": "hush"}),
                "platform: must be messenger or instagram",
            ),
            (
                json!({"action": "create-template", "page_id": "1", "template": "hush"}),
                "template: must be a map",
            ),
        ] {
            let Err(error) = Action::read(&payload) else { panic!("{payload} was read") };
            assert_eq!(error.to_string(), expected);
        }
    }
}
