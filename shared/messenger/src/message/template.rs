//! Templates: messages of a form that Meta draws.
//!
//! Source: Meta's references of the Messenger templates and of Instagram messaging. Instagram has
//! the button, generic and product templates only. What a receipt, a coupon, a form for the person's
//! details or a request to opt in holds beyond what is checked here goes to Meta as it is.

use serde::Serialize;

use super::part::Part;
use super::{Button, Invalid, button, feedback};
use crate::event::Platform;

/// A card of a generic template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Element {
    /// At most 80 characters.
    pub title: String,
    /// At most 80 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<String>,
    /// The picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// The page that a tap on the card opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_action: Option<DefaultAction>,
    /// At most 3.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}

/// The page that a tap on a card opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "web_url")]
pub struct DefaultAction {
    /// The page.
    pub url: String,
}

const KINDS: [&str; 11] = [
    "button",
    "generic",
    "product",
    "media",
    "receipt",
    "coupon",
    "customer_feedback",
    "customer_information",
    "instant_form",
    "notification_messages",
    "one_time_notif_req",
];

/// The templates that Instagram has.
const ON_INSTAGRAM: [&str; 3] = ["button", "generic", "product"];

/// Checks the `payload` of a template.
pub(super) fn check(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload.object()?;
    let kind = payload.at("template_type");
    let name = kind.one_of(&KINDS)?;
    if platform == Platform::Instagram && !ON_INSTAGRAM.contains(&name) {
        return Err(kind.wrong("is only available on Messenger"));
    }
    match name {
        "button" => {
            payload.fields(&["template_type", "text", "buttons"])?;
            payload.at("text").text(1..=640)?;
            button::check(&payload.at("buttons"), platform)
        }
        "generic" => check_generic(payload, platform),
        "product" => {
            payload.fields(&["template_type", "elements"])?;
            for product in payload.at("elements").list(1..=10)? {
                product.fields(&["id"])?;
                product.at("id").id()?;
            }
            Ok(())
        }
        "media" => check_media(payload, platform),
        "receipt" => check_receipt(payload),
        "coupon" => check_coupon(payload),
        "customer_feedback" => feedback::check(payload),
        "customer_information" => {
            for country in payload.at("countries").list(1..=250)? {
                country.text(2..=2)?;
            }
            payload.at("business_privacy").at("url").https()?;
            payload.at("expires_in_days").optional(|part| part.number(1..=7))
        }
        "instant_form" => {
            payload.fields(&["template_type", "form_id"])?;
            payload.at("form_id").id()
        }
        _ => {
            payload.at("title").optional_text(1..=65)?;
            payload.at("payload").optional_text(1..=1000)
        }
    }
}

fn check_generic(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload.fields(&["template_type", "elements", "sharable", "image_aspect_ratio"])?;
    payload.at("sharable").optional(Part::flag)?;
    let ratios = ["horizontal", "square"];
    payload.at("image_aspect_ratio").optional(|part| part.one_of(&ratios).map(drop))?;
    for element in payload.at("elements").list(1..=10)? {
        let beside = ["subtitle", "image_url", "default_action", "buttons"];
        element.fields(&[&["title"], &beside[..]].concat())?;
        element.at("title").text(1..=80)?;
        element.at("subtitle").optional_text(1..=80)?;
        element.at("image_url").optional(Part::web)?;
        element.at("default_action").optional(button::check_default_action)?;
        element.at("buttons").optional(|buttons| button::check(buttons, platform))?;
        if beside.iter().all(|name| element.at(name).there().is_none()) {
            return Err(
                element.wrong("needs a subtitle, an image or a button in addition to its title")
            );
        }
    }
    Ok(())
}

/// One picture or film that Meta has: saved, or on Facebook.
fn check_media(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload.fields(&["template_type", "elements", "sharable"])?;
    payload.at("sharable").optional(Part::flag)?;
    for element in payload.at("elements").list(1..=1)? {
        element.fields(&["media_type", "attachment_id", "url", "buttons"])?;
        element.at("media_type").one_of(&["image", "video"])?;
        element.at("buttons").optional(|buttons| button::check(buttons, platform))?;
        match (element.at("attachment_id").there(), element.at("url").there()) {
            (Some(id), None) => id.id()?,
            (None, Some(url)) if is_on_facebook(url.https()?) => {}
            (None, Some(url)) => {
                return Err(url.wrong("must be on facebook.com; otherwise upload the media and give its attachment_id"));
            }
            _ => return Err(element.wrong("must have either attachment_id or url")),
        }
    }
    Ok(())
}

fn is_on_facebook(url: &str) -> bool {
    let host = url.trim_start_matches("https://").split(['/', '?', '#']).next();
    host.is_some_and(|host| host == "facebook.com" || host.ends_with(".facebook.com"))
}

fn check_receipt(payload: &Part) -> Result<(), Invalid> {
    for name in ["recipient_name", "order_number", "currency", "payment_method"] {
        payload.at(name).text(1..=1000)?;
    }
    payload.at("sharable").optional(Part::flag)?;
    payload.at("summary").object()?;
    payload.at("summary").at("total_cost").amount()?;
    payload.at("elements").optional(|elements| {
        elements.list(0..=100)?.iter().try_for_each(|element| {
            element.at("title").text(1..=1000)?;
            element.at("price").amount()
        })
    })?;
    payload.at("address").optional(|address| {
        ["street_1", "city", "postal_code", "state", "country"]
            .iter()
            .try_for_each(|name| address.at(name).text(1..=1000).map(drop))
    })
}

fn check_coupon(payload: &Part) -> Result<(), Invalid> {
    payload.at("title").text(1..=80)?;
    payload.at("subtitle").optional_text(1..=80)?;
    payload.at("coupon_url").optional(Part::web)?;
    payload.at("image_url").optional(Part::web)?;
    match payload.at("coupon_code").there() {
        Some(code) if code.text(1..=1000)?.contains(char::is_whitespace) => {
            Err(code.wrong("must not contain white space"))
        }
        None if payload.at("coupon_url").there().is_none() => {
            Err(payload.at("coupon_code").wrong("is missing; give coupon_code or coupon_url"))
        }
        _ => Ok(()),
    }
}
