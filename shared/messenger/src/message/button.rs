//! Buttons of templates.
//!
//! Source: Meta's reference of buttons; Instagram has those of a web page and of a postback.

use serde::Serialize;

use super::Invalid;
use super::part::Part;
use crate::event::Platform;

/// A button of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
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
    /// Comes back as a postback event.
    Postback {
        /// The label, at most 20 characters.
        title: String,
        /// What comes back, at most 1,000 characters.
        payload: String,
    },
    /// Calls a telephone number.
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
    /// Starts an Instant Game of the Page.
    GamePlay {
        /// The label, at most 20 characters.
        title: String,
        /// What the game gets, at most 1,000 characters.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<String>,
        /// Against whom, or where.
        #[serde(skip_serializing_if = "Option::is_none")]
        game_metadata: Option<GameMetadata>,
    },
}

impl Button {
    /// A button that opens a web page.
    pub fn web(url: impl Into<String>, title: impl Into<String>) -> Self {
        Self::WebUrl { url: url.into(), title: title.into(), webview: Webview::default() }
    }

    /// A button that comes back as a postback event.
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
    /// `hide` takes the share button off the page.
    #[serde(rename = "webview_share_button", skip_serializing_if = "Option::is_none")]
    pub share_button: Option<String>,
}

/// How high a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeightRatio {
    /// Half of the screen.
    Compact,
    /// Most of the screen.
    Tall,
    /// All of the screen.
    Full,
}

/// Against whom a game is started, or where.
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

/// Checks `buttons`, of which there are 3 at most.
pub(super) fn check(buttons: &Part, platform: Platform) -> Result<(), Invalid> {
    let kinds: &[&str] = match platform {
        Platform::Messenger => {
            &["web_url", "postback", "phone_number", "account_link", "account_unlink", "game_play"]
        }
        Platform::Instagram => &["web_url", "postback"],
    };
    for button in buttons.list(1..=3)? {
        let kind = button.at("type").one_of(kinds)?;
        match kind {
            "web_url" => {
                button.fields(&[&WEB_URL[..], &["title"]].concat())?;
                check_web_url(&button)?;
            }
            "account_link" => {
                button.fields(&["type", "url"])?;
                button.at("url").https()?;
            }
            "account_unlink" => button.fields(&["type"])?,
            "game_play" => {
                button.fields(&["type", "title", "payload", "game_metadata"])?;
                button.at("payload").optional_text(1..=1000)?;
                button.at("game_metadata").optional(check_game_metadata)?;
            }
            _ => {
                button.fields(&["type", "title", "payload"])?;
                let payload = button.at("payload");
                let text = payload.text(1..=1000)?;
                if kind == "phone_number" && !text.starts_with('+') {
                    return Err(payload.wrong("must be a phone number with + and country code"));
                }
            }
        }
        if !kind.starts_with("account_") {
            button.at("title").text(1..=20)?;
        }
    }
    Ok(())
}

/// Checks `default_action`: what a tap on a card opens.
pub(super) fn check_default_action(action: &Part) -> Result<(), Invalid> {
    action.fields(&WEB_URL)?;
    action.at("type").one_of(&["web_url"])?;
    check_web_url(action)
}

fn check_web_url(button: &Part) -> Result<(), Invalid> {
    button.at("url").web()?;
    let ratios = ["compact", "tall", "full"];
    button.at("webview_height_ratio").optional(|part| part.one_of(&ratios).map(drop))?;
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
