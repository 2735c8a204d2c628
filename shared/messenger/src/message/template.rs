//! Templates: structured messages.
//!
//! Source: Meta's references of the Messenger templates and of Instagram messaging. Instagram has
//! the button, generic and product templates only. What a receipt, a coupon, a form for the person's
//! details or a request to opt in contains beyond what is checked here is passed to Meta unchanged, and
//! so is a template of a kind that is not known here.

use serde::Serialize;
use strum::{EnumString, VariantNames};

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
    /// The URL of the image.
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
    /// The URL of the page.
    pub url: String,
}

/// The values of `template_type`.
#[derive(Clone, Copy, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
enum Kind {
    Button,
    Generic,
    Product,
    Media,
    ImageGrid,
    Receipt,
    Coupon,
    CustomerFeedback,
    CustomerInformation,
    InstantForm,
    NotificationMessages,
    OneTimeNotifReq,
}

/// The fields of the payloads that are checked in full.
const FIELDS: [&str; 7] =
    ["template_type", "text", "buttons", "elements", "sharable", "image_aspect_ratio", "form_id"];

impl Kind {
    const fn is_on_instagram(self) -> bool {
        match self {
            Self::Button | Self::Generic | Self::Product => true,
            Self::Media
            | Self::ImageGrid
            | Self::Receipt
            | Self::Coupon
            | Self::CustomerFeedback
            | Self::CustomerInformation
            | Self::InstantForm
            | Self::NotificationMessages
            | Self::OneTimeNotifReq => false,
        }
    }
}

/// Checks the `payload` of a template.
pub(super) fn check(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload.object()?;
    let part = payload.at("template_type");
    let Some(kind) = part.known_variant::<Kind>()? else { return Ok(()) };
    if platform == Platform::Instagram && !kind.is_on_instagram() {
        return Err(part.wrong("is for Messenger only"));
    }
    match kind {
        Kind::Button => {
            payload.fields_among(&["template_type", "text", "buttons"], &FIELDS)?;
            payload.at("text").text(1..=640)?;
            button::check(&payload.at("buttons"), platform)
        }
        Kind::Generic => check_generic(payload, platform),
        Kind::Product => {
            payload.fields_among(&["template_type", "elements"], &FIELDS)?;
            for product in payload.at("elements").list(1..=10)? {
                product.fields(&["id"])?;
                product.at("id").id()?;
            }
            Ok(())
        }
        Kind::Media => check_media(payload, platform),
        Kind::ImageGrid => check_image_grid(payload, platform),
        Kind::Receipt => check_receipt(payload),
        Kind::Coupon => check_coupon(payload),
        Kind::CustomerFeedback => feedback::check(payload),
        Kind::CustomerInformation => {
            payload.at("countries").optional(|countries| {
                let countries = countries.list(1..=250)?;
                countries.iter().try_for_each(|country| country.text(2..=2).map(drop))
            })?;
            payload.at("business_privacy").at("url").https()?;
            payload.at("expires_in_days").optional(|part| part.number(1..=7))
        }
        Kind::InstantForm => {
            payload.fields_among(&["template_type", "form_id"], &FIELDS)?;
            payload.at("form_id").id()
        }
        Kind::NotificationMessages | Kind::OneTimeNotifReq => {
            payload.at("title").optional_text(1..=65)?;
            payload.at("payload").optional_text(1..=1000)
        }
    }
}

fn check_generic(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload
        .fields_among(&["template_type", "elements", "sharable", "image_aspect_ratio"], &FIELDS)?;
    payload.at("sharable").optional(Part::flag)?;
    let ratios = ["horizontal", "square"];
    payload.at("image_aspect_ratio").optional(|part| part.one_of(&ratios).map(drop))?;
    for element in payload.at("elements").list(1..=10)? {
        let optional = ["subtitle", "image_url", "default_action", "buttons"];
        let known = [&["title"], &optional[..]].concat();
        element.fields(&known)?;
        element.at("title").text(1..=80)?;
        element.at("subtitle").optional_text(1..=80)?;
        element.at("image_url").optional(Part::web)?;
        element.at("default_action").optional(button::check_default_action)?;
        element.at("buttons").optional(|buttons| button::check(buttons, platform))?;
        let has_more = optional.iter().any(|name| element.at(name).there().is_some());
        if !has_more && !element.has_others(&known) {
            return Err(
                element.wrong("needs a subtitle, an image or a button in addition to its title")
            );
        }
    }
    Ok(())
}

/// One image or video that Meta already has: saved, or on Facebook.
fn check_media(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload.fields_among(&["template_type", "elements", "sharable"], &FIELDS)?;
    payload.at("sharable").optional(Part::flag)?;
    for element in payload.at("elements").list(1..=1)? {
        element.fields(&["media_type", "attachment_id", "url", "buttons"])?;
        element.at("media_type").one_of(&["image", "video"])?;
        element.at("buttons").optional(|buttons| button::check(buttons, platform))?;
        match (element.at("attachment_id").there(), element.at("url").there()) {
            (Some(id), None) => id.id()?,
            (None, Some(url)) if is_on_facebook(url.https()?) => {}
            (None, Some(url)) => {
                return Err(url.wrong(
                    "must be on facebook.com; otherwise save the media and use its attachment_id",
                ));
            }
            _ => return Err(element.wrong("must have either attachment_id or url")),
        }
    }
    Ok(())
}

/// 2 to 6 images in one message, each with an action of its own.
fn check_image_grid(payload: &Part, platform: Platform) -> Result<(), Invalid> {
    payload.fields_among(&["template_type", "elements", "sharable"], &FIELDS)?;
    payload.at("sharable").optional(Part::flag)?;
    for grid in payload.at("elements").list(1..=1)? {
        grid.fields(&["images", "title", "subtitle", "buttons"])?;
        grid.at("title").optional_text(1..=45)?;
        grid.at("subtitle").optional_text(1..=80)?;
        grid.at("buttons").optional(|buttons| button::check_simple(buttons, platform))?;
        let mut has_hero = false;
        for image in grid.at("images").list(2..=6)? {
            image.fields(&["url", "is_hero_image", "action"])?;
            image.at("url").web()?;
            let hero = image.at("is_hero_image");
            hero.optional(Part::flag)?;
            if hero.is_true() && std::mem::replace(&mut has_hero, true) {
                return Err(hero.wrong("can be true for one image only"));
            }
            image.at("action").optional(button::check_image_action)?;
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
            Err(payload.at("coupon_code").wrong("is required if there is no coupon_url"))
        }
        _ => Ok(()),
    }
}
