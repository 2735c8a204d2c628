//! Messaging types, tags and their windows.
//!
//! Source: Meta's policy of messaging windows (24 hours; 7 days for a human agent and for feedback), its
//! message tags (three retired on 27 April 2026; subcode 1893061 from public reports), its utility
//! messages, and Instagram messaging (no tag but `HUMAN_AGENT`).

use serde_json::{Value, json};

use super::answer::Refusal;
use super::people::Acquaintance;
use super::{Meta, Platform};

/// The standard messaging window.
const DAY: i64 = 24 * 60 * 60 * 1_000;

/// The window of human agents, of customer feedback and of private replies.
const WEEK: i64 = 7 * DAY;

/// 2026-04-27T00:00:00Z; the three update tags are refused from then on.
const TAGS_RETIRED_AT: i64 = 1_777_248_000_000;

/// How long after the person's last window-opening action a message is still allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Within the standard window, or that of an ad if Meta grants it.
    Standard,
    /// Up to this age, in ms, the last millisecond included.
    Within(i64),
    /// At any age, but only after such an action.
    AfterAny,
    /// Even to a person who never acted.
    Always,
}

impl Reach {
    pub(super) fn allows(self, known: Acquaintance, ad_window: Option<i64>, now: i64) -> bool {
        match (self, known.last_opening) {
            (Self::Standard, Some(opened)) if now - opened <= DAY => true,
            (Self::Standard, _) => {
                let by_ad = known.ad_answered.zip(ad_window);
                by_ad.is_some_and(|(answered, longest)| now - answered <= longest)
            }
            (Self::Always, _) | (Self::AfterAny, Some(_)) => true,
            (Self::Within(longest), Some(opened)) => now - opened <= longest,
            (Self::Within(_) | Self::AfterAny, None) => false,
        }
    }
}

/// Whether a sender action is still allowed: it has no tag, so the standard window applies.
pub(super) fn allows_action(known: Acquaintance, ad_window: Option<i64>, now: i64) -> bool {
    Reach::Standard.allows(known, ad_window, now)
}

impl Meta {
    /// Whether an ad's conversation has a window of 7 days from the first message after the click.
    ///
    /// Reference, "Four facts", 3: it may have one, and on which terms is not clear. At first it has none.
    pub fn set_ad_windows(&self, are_granted: bool) {
        self.state().ad_window = are_granted.then_some(WEEK);
    }
}

/// Whether a comment or post of this time can still get a private reply.
pub(super) fn allows_private_reply(at: i64, now: i64) -> bool {
    now - at <= WEEK
}

/// The window of a request by its messaging type, tag and template.
pub(super) fn reach(platform: Platform, body: &Value, now: i64) -> Result<Reach, Refusal> {
    let tag = match &body["tag"] {
        Value::Null => None,
        Value::String(tag) => Some(tag_reach(platform, tag, now)?),
        _ => return Err(Refusal::invalid("Param tag must be a string")),
    };
    let messaging_type = body["messaging_type"].as_str();
    let templated = !body["message"]["template"].is_null();
    if templated && messaging_type != Some("UTILITY") {
        return Err(Refusal::invalid("Param message[template] needs messaging_type UTILITY"));
    }
    match (messaging_type, tag) {
        (Some("MESSAGE_TAG"), Some(reach)) => {
            if body["tag"] == json!("CUSTOMER_FEEDBACK") && !is_customer_feedback(&body["message"])
            {
                return Err(Refusal::invalid(
                    "Tag CUSTOMER_FEEDBACK is for the customer feedback template only",
                ));
            }
            Ok(reach)
        }
        (Some("MESSAGE_TAG"), None) => {
            Err(Refusal::invalid("Param tag is required with messaging_type MESSAGE_TAG"))
        }
        (Some("RESPONSE" | "UPDATE" | "UTILITY"), Some(_)) => {
            Err(Refusal::invalid("Param tag needs messaging_type MESSAGE_TAG"))
        }
        (Some("RESPONSE" | "UPDATE"), None) => Ok(Reach::Standard),
        (Some("UTILITY"), None) => match platform {
            Platform::Instagram => {
                Err(Refusal::invalid("messaging_type UTILITY is not available on Instagram"))
            }
            Platform::Messenger if templated => Ok(Reach::Always),
            Platform::Messenger => {
                Err(Refusal::invalid("messaging_type UTILITY needs message[template]"))
            }
        },
        (Some(unknown), _) => Err(Refusal::invalid(&format!(
            "Param messaging_type must be one of RESPONSE, UPDATE, MESSAGE_TAG, UTILITY: {unknown}"
        ))),
        (None, _) => Err(Refusal::invalid("The parameter messaging_type is required")),
    }
}

fn tag_reach(platform: Platform, tag: &str, now: i64) -> Result<Reach, Refusal> {
    match (platform, tag) {
        (_, "HUMAN_AGENT") | (Platform::Messenger, "CUSTOMER_FEEDBACK") => Ok(Reach::Within(WEEK)),
        (_, "CONFIRMED_EVENT_UPDATE" | "ACCOUNT_UPDATE" | "POST_PURCHASE_UPDATE")
            if now >= TAGS_RETIRED_AT =>
        {
            Err(Refusal {
                subcode: Some(1_893_061),
                ..Refusal::invalid(&format!("Message tag {tag} is no longer supported"))
            })
        }
        (
            Platform::Messenger,
            "CONFIRMED_EVENT_UPDATE" | "ACCOUNT_UPDATE" | "POST_PURCHASE_UPDATE",
        ) => Ok(Reach::AfterAny),
        _ => Err(Refusal::invalid(&format!(
            "Param tag is not a message tag of this platform: {tag}"
        ))),
    }
}

fn is_customer_feedback(message: &Value) -> bool {
    message["attachment"]["payload"]["template_type"] == json!("customer_feedback")
}
