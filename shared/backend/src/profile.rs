//! People's profiles at Meta.
//!
//! Source: Meta's User Profile API, and that of Instagram messaging.

use serde_json::Value;

use crate::graph::GraphError;
use crate::send::{SendApi, SendError};
use messenger::event::Platform;
use messenger::profile::Profile;

/// What is asked for, the most first. Without the permission for one field Meta refuses the whole call.
const fn fields(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Messenger => &["name,locale,timezone", "name"],
        Platform::Instagram => &["name,username"],
    }
}

/// Why Meta shows no profile, although nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    /// This person has none for the Page.
    Person,
    /// The person, or Meta's review of the app, has not permitted what was asked for.
    Fields,
}

impl Hidden {
    fn of(error: &GraphError, platform: Platform) -> Option<Self> {
        match (error.code?, error.subcode) {
            (_, Some(2_018_247)) => Some(Self::Fields),
            // An account that was made with a phone number; whom the Page does not know.
            (_, Some(2_018_218)) | (100, Some(33)) => Some(Self::Person),
            // On Instagram: the person has not written to the account.
            (230, _) if platform == Platform::Instagram => Some(Self::Person),
            _ => None,
        }
    }
}

impl SendApi {
    /// Asks for a person's profile; none if Meta shows none of them, which is nobody's error.
    ///
    /// # Errors
    /// [`SendError`] if it is not known whether there is one.
    pub async fn profile(
        &self,
        page_id: &str,
        platform: Platform,
        psid: &str,
    ) -> Result<Option<Profile>, SendError> {
        for fields in fields(platform) {
            let error = match self.look_up(page_id, &[psid], &[("fields", fields)]).await {
                Ok(shown) => return Ok(Some(read(&shown)).filter(|profile| !profile.is_empty())),
                Err(error) => error,
            };
            let hidden = match &error {
                SendError::Graph(error) => Hidden::of(error, platform),
                SendError::Secret(_) => None,
            };
            match hidden {
                Some(Hidden::Fields) => {}
                Some(Hidden::Person) => return Ok(None),
                None => return Err(error),
            }
        }
        Ok(None)
    }
}

fn read(shown: &Value) -> Profile {
    let text = |field: &str| {
        let text = shown[field].as_str().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let timezone = match &shown["timezone"] {
        Value::Number(hours) => Some(hours.clone()),
        Value::String(hours) => hours.trim().parse().ok(),
        _ => None,
    };
    let (name, username, locale) = (text("name"), text("username"), text("locale"));
    Profile { name, username, locale, timezone }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_profile_is_read_field_by_field() {
        let text = |text: &str| Some(text.to_owned());
        for (shown, expected) in [
            (
                json!({"id": "7", "name": "A Guest", "locale": "en_GB", "timezone": -7}),
                Profile {
                    name: text("A Guest"),
                    locale: text("en_GB"),
                    timezone: Some((-7).into()),
                    ..Profile::default()
                },
            ),
            (
                json!({"name": "A Guest", "username": "a_guest"}),
                Profile { name: text("A Guest"), username: text("a_guest"), ..Profile::default() },
            ),
            (
                json!({"timezone": "5.5", "name": " "}),
                Profile { timezone: serde_json::Number::from_f64(5.5), ..Profile::default() },
            ),
            (json!({"id": "7", "name": 7, "locale": null, "timezone": "soon"}), Profile::default()),
            (Value::Null, Profile::default()),
        ] {
            assert_eq!(read(&shown), expected, "{shown}");
        }
    }

    #[test]
    fn some_refusals_are_an_answer() {
        use Platform::{Instagram, Messenger};
        for (code, subcode, platform, hidden) in [
            (100, Some(2_018_218), Messenger, Some(Hidden::Person)),
            (2_018_218, Some(2_018_218), Messenger, Some(Hidden::Person)),
            (100, Some(2_018_247), Messenger, Some(Hidden::Fields)),
            (100, Some(33), Messenger, Some(Hidden::Person)),
            (100, Some(33), Instagram, Some(Hidden::Person)),
            (230, None, Instagram, Some(Hidden::Person)),
            (230, None, Messenger, None),
            (100, None, Messenger, None),
            (190, Some(463), Messenger, None),
            (2, None, Instagram, None),
        ] {
            let error = json!({"error": {"code": code, "error_subcode": subcode}});
            let error = GraphError::of_answer(400, &error);
            assert_eq!(Hidden::of(&error, platform), hidden, "{code}/{subcode:?}");
        }
        assert_eq!(Hidden::of(&GraphError::of_answer(502, &Value::Null), Messenger), None);
    }
}
