//! The customer feedback template.
//!
//! Source: Meta's reference of the customer feedback template; Messenger only.

use serde::Serialize;

use super::Invalid;
use super::part::Part;

/// A customer feedback template, the only content that `CUSTOMER_FEEDBACK` may carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "template_type", rename = "customer_feedback")]
pub struct FeedbackTemplate {
    /// At most 65 characters.
    pub title: String,
    /// At most 80 characters.
    pub subtitle: String,
    /// At most 20 characters.
    pub button_title: String,
    /// Exactly one screen with one question.
    pub feedback_screens: Vec<FeedbackScreen>,
    /// Where the business tells what it does with the answers.
    pub business_privacy: BusinessPrivacy,
    /// 1 to 7; Meta's default is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<u8>,
}

/// A screen of a feedback template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedbackScreen {
    /// Exactly one.
    pub questions: Vec<FeedbackQuestion>,
}

/// A question of a feedback template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedbackQuestion {
    /// At most 80 letters, digits and underscores; unique in the Page's templates.
    pub id: String,
    /// `csat`, `nps` or `ces`.
    #[serde(rename = "type")]
    pub kind: String,
    /// 5 to 85 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How the scale is labelled, such as `neg_pos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_label: Option<String>,
    /// How the scale is drawn, such as `five_stars`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_option: Option<String>,
    /// The free text question that follows; its placeholder has at most 400 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<FeedbackFollowUp>,
}

/// The free text question of a feedback template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedbackFollowUp {
    /// `free_form`.
    #[serde(rename = "type")]
    pub kind: String,
    /// At most 400 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
}

/// The privacy policy that a feedback template must name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BusinessPrivacy {
    /// The policy's address.
    pub url: String,
}

/// Checks the `payload` of a feedback template.
pub(super) fn check(payload: &Part) -> Result<(), Invalid> {
    payload.fields(&[
        "template_type",
        "title",
        "subtitle",
        "button_title",
        "feedback_screens",
        "business_privacy",
        "expires_in_days",
    ])?;
    payload.at("title").text(1..=65)?;
    payload.at("subtitle").text(1..=80)?;
    payload.at("button_title").text(1..=20)?;
    payload.at("business_privacy").at("url").https()?;
    payload.at("expires_in_days").optional(|days| days.number(1..=7))?;
    for screen in payload.at("feedback_screens").list(1..=1)? {
        screen.fields(&["questions"])?;
        for question in screen.at("questions").list(1..=1)? {
            check_question(&question)?;
        }
    }
    Ok(())
}

fn check_question(question: &Part) -> Result<(), Invalid> {
    question.fields(&["id", "type", "title", "score_label", "score_option", "follow_up"])?;
    let id = question.at("id");
    if !id.text(1..=80)?.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(id.wrong("may only contain letters, digits and underscores"));
    }
    question.at("type").one_of(&["csat", "nps", "ces", "free_form"])?;
    question.at("title").optional_text(5..=85)?;
    question.at("score_label").optional_text(1..=80)?;
    question.at("score_option").optional_text(1..=80)?;
    question.at("follow_up").optional(|follow_up| {
        follow_up.fields(&["type", "title", "placeholder"])?;
        follow_up.at("type").one_of(&["free_form"])?;
        follow_up.at("title").optional_text(1..=400)?;
        follow_up.at("placeholder").optional_text(0..=400)
    })
}
