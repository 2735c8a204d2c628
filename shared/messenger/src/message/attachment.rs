//! Attachments: media by URL or by id, and those that only Instagram has.
//!
//! Source: Meta's references of the Send API, of saving assets, and of Instagram messaging.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use strum::IntoStaticStr;

use super::part::Part;
use super::{Invalid, template};
use crate::event::Platform;

/// The kinds of media that a message can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum MediaKind {
    /// An image.
    Image,
    /// An audio file.
    Audio,
    /// A video.
    Video,
    /// Any other file.
    File,
}

/// Where media come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    from: Source,
    is_reusable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Url(String),
    Saved(String),
}

impl Media {
    /// Media that Meta fetches from an `https` URL: at most 25 MB (images 8 MB), within 10 s (videos
    /// 75 s).
    pub fn url(url: impl Into<String>) -> Self {
        Self { from: Source::Url(url.into()), is_reusable: false }
    }

    /// Media that Meta has saved, by `attachment_id`, which is valid for 90 days.
    pub fn saved(attachment_id: impl Into<String>) -> Self {
        Self { from: Source::Saved(attachment_id.into()), is_reusable: false }
    }

    /// Lets Meta save what it fetches from the URL, so that it can be sent again.
    #[must_use]
    pub fn reusable(mut self) -> Self {
        self.is_reusable = true;
        self
    }

    pub(super) fn attachment(self, kind: MediaKind) -> Value {
        let mut payload = Map::new();
        match self.from {
            Source::Url(url) => payload.insert("url".to_owned(), url.into()),
            Source::Saved(id) => payload.insert("attachment_id".to_owned(), id.into()),
        };
        if self.is_reusable {
            payload.insert("is_reusable".to_owned(), true.into());
        }
        json!({"type": <&str>::from(kind), "payload": payload})
    }
}

impl From<&str> for Media {
    fn from(url: &str) -> Self {
        Self::url(url)
    }
}

impl From<String> for Media {
    fn from(url: String) -> Self {
        Self::url(url)
    }
}

/// Checks `attachment`.
///
/// On Instagram there are also a heart and a post of the account's own.
pub(super) fn check(attachment: &Part, platform: Platform) -> Result<(), Invalid> {
    const KINDS: [&str; 7] =
        ["image", "audio", "video", "file", "template", "like_heart", "MEDIA_SHARE"];
    attachment.fields(&["type", "payload"])?;
    let payload = attachment.at("payload");
    let part = attachment.at("type");
    match part.kind(&KINDS)? {
        Some("like_heart" | "MEDIA_SHARE") if platform == Platform::Messenger => {
            Err(part.wrong("is for Instagram only"))
        }
        Some("template") => template::check(&payload, platform),
        Some("like_heart") => attachment.fields_among(&["type"], &["payload"]),
        Some("MEDIA_SHARE") => {
            payload.fields(&["id"])?;
            payload.at("id").id()
        }
        Some(_) => check_media(&payload),
        None => payload.optional(Part::object),
    }
}

/// Checks `attachments`: 1 to 30 images side by side, 10 at most on Instagram.
pub(super) fn check_images(attachments: &Part, platform: Platform) -> Result<(), Invalid> {
    let most = match platform {
        Platform::Messenger => 30,
        Platform::Instagram => 10,
    };
    for image in attachments.list(1..=most)? {
        image.fields(&["type", "payload"])?;
        image.at("type").one_of(&["image"])?;
        check_media(&image.at("payload"))?;
    }
    Ok(())
}

fn check_media(payload: &Part) -> Result<(), Invalid> {
    payload.fields(&["url", "attachment_id", "is_reusable"])?;
    payload.at("is_reusable").optional(Part::flag)?;
    match payload.at("attachment_id").there() {
        None => payload.at("url").https().map(drop),
        Some(_) if payload.at("url").there().is_some() => {
            Err(payload.wrong("has both url and attachment_id; use one of them"))
        }
        Some(id) => id.id(),
    }
}
