//! Outgoing messages in the Send API's own form, checked against the platform's limits.
//!
//! A message is kept as the JSON that Meta receives. The types here help to write it; regardless of its
//! origin it is checked field by field, so that an error names the field that is wrong.
//!
//! Source of the forms and limits: Meta's references of the Send API, of templates, buttons and quick
//! replies, and of Instagram messaging, which has less of each.

mod action;
mod attachment;
mod button;
mod feedback;
mod long;
mod part;
mod quick_reply;
mod say;
mod template;
mod utility;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use action::Action;
pub use attachment::{Media, MediaKind};
pub use button::{Button, GameMetadata, HeightRatio, Webview};
pub use feedback::{
    BusinessPrivacy, FeedbackFollowUp, FeedbackQuestion, FeedbackScreen, FeedbackTemplate,
};
pub use quick_reply::QuickReply;
pub use say::Outgoing;
pub use template::{DefaultAction, Element};
pub use utility::{TemplateLanguage, UtilityTemplate};

use crate::event::Platform;
use part::{Notes, Part};

/// The maximum number of messages and sender actions in one reply or follow-up.
pub const MAX_MESSAGES: usize = 10;

/// The maximum size of one decision or request, in bytes of JSON: an item of the table holds 400 KB.
pub const MAX_BYTES: usize = 200 * 1024;

/// The Send API's `message` object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Message(Value);

/// What a message may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Any other purpose.
    General,
    /// Only a customer feedback survey.
    Feedback,
    /// Only a utility message.
    Utility,
}

/// Which of a Page's rates a message counts against.
///
/// Source: Meta's rate limits of the Send API: 300 calls a second for text, links, reactions and
/// stickers, 10 for audio and video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// Everything except audio and video.
    Text,
    /// Audio and video.
    Media,
}

/// A limit or rule of the platform that a message breaks.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Where, as a path within what was given.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A part of a message that is not known here, and is sent as it is: Meta decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Where, as a path within what was given.
    pub field: String,
    /// The name of the kind, if it is one; otherwise the field itself is not known.
    pub name: Option<String>,
}

impl Unknown {
    /// Prefixes the path of the field.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        if let Some(name) = &self.name {
            write!(f, "\"{name}\" ")?;
        }
        f.write_str("is not known here; it is sent as it is")
    }
}

impl Invalid {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// Prefixes the path of the field.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

impl Message {
    /// A text of 1 to 2,000 characters (Unicode scalar values); on Instagram at most 1,000 bytes.
    ///
    /// # Errors
    /// [`Invalid`] if it is empty or too long.
    pub fn text(text: impl Into<String>) -> Result<Self, Invalid> {
        Self::checked(json!({"text": text.into()}))
    }

    /// Media by `https` URL, or by the id of an attachment saved at Meta.
    ///
    /// # Errors
    /// [`Invalid`] if the URL or the id is not valid.
    pub fn media(kind: MediaKind, media: impl Into<Media>) -> Result<Self, Invalid> {
        Self::checked(json!({"attachment": media.into().attachment(kind)}))
    }

    /// 1 to 30 images side by side; on Instagram at most 10.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn images(images: Vec<Media>) -> Result<Self, Invalid> {
        let image = |media: Media| media.attachment(MediaKind::Image);
        let attachments: Vec<_> = images.into_iter().map(image).collect();
        Self::checked(json!({"attachments": attachments}))
    }

    /// A sticker of Meta's, by its id; Messenger only.
    ///
    /// # Errors
    /// None at present.
    pub fn sticker(id: u64) -> Result<Self, Invalid> {
        Self::checked(json!({"sticker_id": id}))
    }

    /// A heart; Instagram only.
    ///
    /// # Errors
    /// None at present.
    pub fn heart() -> Result<Self, Invalid> {
        Self::checked(json!({"attachment": {"type": "like_heart"}}))
    }

    /// A post of the account's own; Instagram only.
    ///
    /// # Errors
    /// [`Invalid`] if the id is not valid.
    pub fn post(id: impl Into<String>) -> Result<Self, Invalid> {
        Self::checked(json!({"attachment": {"type": "MEDIA_SHARE", "payload": {"id": id.into()}}}))
    }

    /// A text of at most 640 characters over 1 to 3 buttons.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn buttons(text: impl Into<String>, buttons: &[Button]) -> Result<Self, Invalid> {
        Self::template(&json!({"template_type": "button", "text": text.into(), "buttons": buttons}))
    }

    /// 1 to 10 cards side by side.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn generic(elements: &[Element]) -> Result<Self, Invalid> {
        Self::template(&json!({"template_type": "generic", "elements": elements}))
    }

    /// A customer feedback survey; Messenger only.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn feedback(template: &FeedbackTemplate) -> Result<Self, Invalid> {
        Self::template(&json!(template))
    }

    /// Any template by its `payload`, in the form of Meta's reference: media, product, receipt, coupon
    /// and the others. What is not known here is sent as it is.
    ///
    /// # Errors
    /// [`Invalid`] if it has no `template_type`, or a limit that is known is broken.
    pub fn template(payload: &Value) -> Result<Self, Invalid> {
        Self::checked(json!({"attachment": {"type": "template", "payload": payload}}))
    }

    /// A utility message, by reference to an approved template; Messenger only.
    ///
    /// # Errors
    /// [`Invalid`] if it has no name or language.
    pub fn utility(template: &UtilityTemplate) -> Result<Self, Invalid> {
        Self::checked(json!({"template": template}))
    }

    /// Adds 1 to 13 quick replies to a text or an attachment.
    ///
    /// # Errors
    /// [`Invalid`] if a limit is broken.
    pub fn with_quick_replies(self, quick_replies: &[QuickReply]) -> Result<Self, Invalid> {
        let mut message = self.0;
        message["quick_replies"] = json!(quick_replies);
        Self::checked(message)
    }

    /// Reads a message in the Send API's form; a plain string is a text.
    ///
    /// Fields, attachments, templates, buttons and quick replies that are not known here are sent as they
    /// are.
    ///
    /// # Errors
    /// [`Invalid`] if what is known has another form or breaks a limit.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        match value {
            Value::String(text) => Self::text(text),
            _ => Self::checked(value.clone()),
        }
    }

    /// What the message may be used for.
    pub fn usable_for(&self) -> Use {
        usable_for(&self.0)
    }

    /// Checks the message against a platform's limits.
    ///
    /// # Errors
    /// [`Invalid`] names the first limit that is broken.
    pub fn check(&self, platform: Platform) -> Result<(), Invalid> {
        check(&Part::whole(&self.0, &Notes::default()), platform)
    }

    fn checked(message: Value) -> Result<Self, Invalid> {
        let message = Self(message);
        on_either(|platform| message.check(platform))?;
        Ok(message)
    }
}

/// Whether at least one platform accepts it; if none does, the problem on Messenger.
fn on_either(check: impl Fn(Platform) -> Result<(), Invalid>) -> Result<(), Invalid> {
    check(Platform::Messenger).or_else(|invalid| check(Platform::Instagram).map_err(|_| invalid))
}

/// Checks a `message` object.
fn check(message: &Part, platform: Platform) -> Result<(), Invalid> {
    const CONTENTS: [&str; 5] = ["text", "attachment", "attachments", "sticker_id", "template"];
    if let Some(metadata) = message.at("metadata").there() {
        return Err(metadata.wrong("is reserved: the outbox recognizes the message's echo by it"));
    }
    let known = [&CONTENTS[..], &["quick_replies"]].concat();
    message.fields(&known)?;
    let contents: Vec<_> =
        CONTENTS.into_iter().filter_map(|name| Some((name, message.at(name).there()?))).collect();
    let replies = message.at("quick_replies").there();
    match contents.as_slice() {
        [(name, content)] => {
            check_content(name, content, platform)?;
            if let Some(replies) = &replies
                && !matches!(*name, "text" | "attachment")
            {
                return Err(replies.wrong("can only accompany a text or an attachment"));
            }
        }
        // What it has may be a kind of content that Meta added.
        [] if message.has_others(&known) => {}
        _ => {
            return Err(message.wrong(format!("must have exactly one of {}", CONTENTS.join(", "))));
        }
    }
    replies.map_or(Ok(()), |replies| quick_reply::check(&replies, platform))
}

fn check_content(name: &str, content: &Part, platform: Platform) -> Result<(), Invalid> {
    match name {
        "text" => check_text(content, platform),
        "attachment" => attachment::check(content, platform),
        "attachments" => attachment::check_images(content, platform),
        "sticker_id" if platform == Platform::Instagram => {
            Err(content.wrong("stickers are only available on Messenger"))
        }
        "sticker_id" => content.id(),
        _ => utility::check(content, platform),
    }
}

fn check_text(text: &Part, platform: Platform) -> Result<(), Invalid> {
    let bytes = text.text(1..=2000)?.len();
    if platform == Platform::Instagram && bytes > 1000 {
        return Err(
            text.wrong(format!("has {bytes} bytes; at most 1,000 are allowed on Instagram"))
        );
    }
    Ok(())
}

fn usable_for(message: &Value) -> Use {
    if !message["template"].is_null() {
        Use::Utility
    } else if message["attachment"]["payload"]["template_type"] == "customer_feedback" {
        Use::Feedback
    } else {
        Use::General
    }
}

fn rate_class(message: &Value) -> RateClass {
    let attachment = &message["attachment"];
    let kinds = [&attachment["type"], &attachment["payload"]["elements"][0]["media_type"]];
    if kinds.into_iter().any(|kind| kind == "audio" || kind == "video") {
        RateClass::Media
    } else {
        RateClass::Text
    }
}

#[cfg(test)]
mod tests;
