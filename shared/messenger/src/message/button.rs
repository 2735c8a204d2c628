//! Buttons of templates.
//!
//! Source: Meta's reference of buttons; Instagram has only those for a web page and a postback.

use serde::Serialize;
use strum::{EnumDiscriminants, EnumString, VariantNames};

use super::Invalid;
use super::part::Part;
use crate::event::Platform;

/// A button of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, EnumDiscriminants)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum_discriminants(name(ButtonKind), vis(), derive(EnumString, VariantNames))]
#[strum_discriminants(strum(serialize_all = "snake_case"))]
pub enum Button {
    /// Opens a web page.
    WebUrl {
        /// The page.
        url: String,
        /// The label, at most 20 characters.
        title: String,
        /// How Messenger shows the page.
        #[serde(flatten)]
        webview: Webview,
    },
    /// Causes a postback event.
    Postback {
        /// The label, at most 20 characters.
        title: String,
        /// The payload of the event, at most 1,000 characters.
        payload: String,
    },
    /// Calls a phone number.
    PhoneNumber {
        /// The label, at most 20 characters.
        title: String,
        /// The number, with `+` and country code.
        payload: String,
    },
    /// Links the person's account on your site.
    AccountLink {
        /// Your login page, `https`.
        url: String,
    },
    /// Unlinks the person's account.
    AccountUnlink,
    /// Calls the business in Messenger.
    AudioCall {
        /// The label, at most 20 characters.
        title: String,
        /// How long it can be tapped: 1 to 7; Meta's default is 7.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_days: Option<u8>,
    },
    /// Starts an Instant Game of the Page.
    GamePlay {
        /// The label, at most 20 characters.
        title: String,
        /// The data passed to the game, at most 1,000 characters.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<String>,
        /// The opponent, or the thread.
        #[serde(skip_serializing_if = "Option::is_none")]
        game_metadata: Option<GameMetadata>,
    },
}

impl Button {
    /// A button that opens a web page.
    pub fn web(url: impl Into<String>, title: impl Into<String>) -> Self {
        Self::WebUrl { url: url.into(), title: title.into(), webview: Webview::default() }
    }

    /// A button that causes a postback event.
    pub fn postback(title: impl Into<String>, payload: impl Into<String>) -> Self {
        Self::Postback { title: title.into(), payload: payload.into() }
    }
}

/// How Messenger shows the page of a button; as Meta chooses unless set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Webview {
    /// How high the page is.
    #[serde(rename = "webview_height_ratio", skip_serializing_if = "Option::is_none")]
    pub height_ratio: Option<HeightRatio>,
    /// Whether the page uses Messenger Extensions, for which its domain must be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messenger_extensions: Option<bool>,
    /// The page for clients without Messenger Extensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_url: Option<String>,
    /// `hide` removes the share button from the page.
    #[serde(rename = "webview_share_button", skip_serializing_if = "Option::is_none")]
    pub share_button: Option<String>,
}

/// How high a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HeightRatio {
    /// Half of the screen.
    Compact,
    /// Most of the screen.
    Tall,
    /// All of the screen.
    Full,
}

/// The opponent of a game, or its thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GameMetadata {
    /// Against a player.
    PlayerId(String),
    /// In the thread of this id.
    ContextId(String),
}

const WEB_URL: [&str; 6] = [
    "type",
    "url",
    "webview_height_ratio",
    "messenger_extensions",
    "fallback_url",
    "webview_share_button",
];

/// The fields of any button beside those of a web page.
const OTHERS: [&str; 4] = ["title", "payload", "game_metadata", "expires_in_days"];

/// Checks `buttons`, at most 3.
pub(super) fn check(buttons: &Part, platform: Platform) -> Result<(), Invalid> {
    let of_any = [&WEB_URL[..], &OTHERS].concat();
    for button in buttons.list(1..=3)? {
        let part = button.at("type");
        let Some(kind) = part.known_variant::<ButtonKind>()? else { continue };
        let is_on_both = matches!(kind, ButtonKind::WebUrl | ButtonKind::Postback);
        if platform == Platform::Instagram && !is_on_both {
            return Err(part.wrong("is for Messenger only"));
        }
        match kind {
            ButtonKind::WebUrl => {
                button.fields_among(&[&WEB_URL[..], &["title"]].concat(), &of_any)?;
                button.at("title").text(1..=20)?;
                check_web_url(&button)?;
            }
            ButtonKind::Postback | ButtonKind::PhoneNumber => {
                button.fields_among(&["type", "title", "payload"], &of_any)?;
                button.at("title").text(1..=20)?;
                let payload = button.at("payload");
                let text = payload.text(1..=1000)?;
                if kind == ButtonKind::PhoneNumber && !text.starts_with('+') {
                    return Err(payload.wrong("must be a phone number with + and country code"));
                }
            }
            ButtonKind::AccountLink => {
                button.fields_among(&["type", "url"], &of_any)?;
                button.at("url").https()?;
            }
            ButtonKind::AccountUnlink => button.fields_among(&["type"], &of_any)?,
            ButtonKind::AudioCall => {
                button.fields_among(&["type", "title", "payload", "expires_in_days"], &of_any)?;
                button.at("title").text(1..=20)?;
                button.at("payload").optional_text(1..=1000)?;
                button.at("expires_in_days").optional(|days| days.number(1..=7))?;
            }
            ButtonKind::GamePlay => {
                button.fields_among(&["type", "title", "payload", "game_metadata"], &of_any)?;
                button.at("title").text(1..=20)?;
                button.at("payload").optional_text(1..=1000)?;
                button.at("game_metadata").optional(check_game_metadata)?;
            }
        }
    }
    Ok(())
}

/// Checks `buttons` that may open a web page or cause a postback only.
pub(super) fn check_simple(buttons: &Part, platform: Platform) -> Result<(), Invalid> {
    check(buttons, platform)?;
    for button in buttons.list(1..=3)? {
        let kind = button.at("type");
        if let Some(ButtonKind::WebUrl | ButtonKind::Postback) | None = kind.known_variant()? {
            continue;
        }
        return Err(kind.wrong("must be web_url or postback here"));
    }
    Ok(())
}

/// Checks the `action` of an image: what a tap on it does.
pub(super) fn check_image_action(action: &Part) -> Result<(), Invalid> {
    action.fields(&[&WEB_URL[..], &["title", "payload"]].concat())?;
    match action.at("type").kind(&["web_url", "postback"])? {
        Some("web_url") => check_web_url(action),
        Some(_) => action.at("payload").text(1..=1000).map(drop),
        None => Ok(()),
    }
}

/// Checks `default_action`: what a tap on a card opens.
pub(super) fn check_default_action(action: &Part) -> Result<(), Invalid> {
    action.fields_among(&WEB_URL, &OTHERS)?;
    action.at("type").one_of(&["web_url"])?;
    check_web_url(action)
}

fn check_web_url(button: &Part) -> Result<(), Invalid> {
    button.at("url").web()?;
    button
        .at("webview_height_ratio")
        .optional(|part| part.one_of(HeightRatio::VARIANTS).map(drop))?;
    button.at("messenger_extensions").optional(Part::flag)?;
    button.at("fallback_url").optional(Part::web)?;
    button.at("webview_share_button").optional(|part| part.one_of(&["hide"]).map(drop))
}

fn check_game_metadata(metadata: &Part) -> Result<(), Invalid> {
    metadata.fields(&["player_id", "context_id"])?;
    match (metadata.at("player_id").there(), metadata.at("context_id").there()) {
        (Some(id), None) | (None, Some(id)) => id.text(1..=200).map(drop),
        _ => Err(metadata.wrong("must have either player_id or context_id")),
    }
}
