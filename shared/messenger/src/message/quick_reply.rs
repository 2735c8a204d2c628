//! Quick replies: suggestions under the newest message.
//!
//! Source: Meta's references of quick replies, for Messenger and for Instagram.

use serde::Serialize;

use super::Invalid;
use super::part::Part;
use crate::event::Platform;

/// A suggestion under the newest message; tapping it sends its title and payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuickReply {
    content_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
}

impl QuickReply {
    /// A suggestion with a title (at most 20 characters) and a payload (at most 1,000).
    pub fn text(title: impl Into<String>, payload: impl Into<String>) -> Self {
        let (title, payload) = (Some(title.into()), Some(payload.into()));
        Self { content_type: "text", title, payload, image_url: None }
    }

    /// Offers the phone number of the person's account.
    pub fn phone_number() -> Self {
        Self::of_account("user_phone_number")
    }

    /// Offers the e-mail address of the person's account.
    pub fn email() -> Self {
        Self::of_account("user_email")
    }

    /// Shows an image next to the title, which may then be empty; not on Instagram.
    #[must_use]
    pub fn with_image(mut self, url: impl Into<String>) -> Self {
        self.image_url = Some(url.into());
        self
    }

    fn of_account(content_type: &'static str) -> Self {
        Self { content_type, title: None, payload: None, image_url: None }
    }
}

const FIELDS: [&str; 4] = ["content_type", "title", "payload", "image_url"];

/// Checks `quick_replies`.
pub(super) fn check(quick_replies: &Part, platform: Platform) -> Result<(), Invalid> {
    for reply in quick_replies.list(1..=13)? {
        let kinds = ["text", "user_phone_number", "user_email"];
        match reply.at("content_type").kind(&kinds)? {
            Some("text") => reply.fields(&FIELDS)?,
            Some(_) => {
                reply.fields_among(&["content_type"], &FIELDS)?;
                continue;
            }
            None => continue,
        }
        let image = reply.at("image_url");
        image.optional(Part::web)?;
        let least = match image.there() {
            Some(image) if platform == Platform::Instagram => {
                return Err(image.wrong("is only available on Messenger"));
            }
            Some(_) => 0,
            None => 1,
        };
        reply.at("title").text(least..=20)?;
        reply.at("payload").text(least..=1000)?;
    }
    Ok(())
}
