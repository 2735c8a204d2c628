//! The allowed contents of a message and their lengths.
//!
//! Source: Meta's Send API, its references of quick replies, buttons and of each template, and Instagram
//! messaging; where a function names another source, that one.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::answer::Refusal;
use super::{Platform, attachments};

type Verdict = Result<(), Refusal>;

const CONTENTS: [&str; 5] = ["text", "attachment", "attachments", "sticker_id", "template"];

/// Checks a message against the Send API's limits; lengths are in Unicode scalar values.
pub(super) fn check(platform: Platform, message: &Value, file: &Value) -> Verdict {
    if !message.is_object() {
        return refuse("Param message must be an object");
    }
    let contents: Vec<&str> =
        CONTENTS.into_iter().filter(|name| !message[name].is_null()).collect();
    match contents.as_slice() {
        ["text"] => text(platform, &message["text"])?,
        ["attachment"] if !file.is_null() => uploaded(&message["attachment"], file)?,
        ["attachment"] => attachment(platform, &message["attachment"])?,
        ["attachments"] => images(platform, &message["attachments"])?,
        ["sticker_id"] => sticker(platform, &message["sticker_id"])?,
        ["template"] => utility_template(&message["template"])?,
        [] => {
            return refuse("Param message must hold text, an attachment, a sticker or a template");
        }
        several => {
            return refuse(&format!("Param message must hold only one of {}", several.join(", ")));
        }
    }
    optional_length(&message["metadata"], "message[metadata]", 1..=999)?;
    quick_replies(platform, &message["quick_replies"])
}

fn text(platform: Platform, text: &Value) -> Verdict {
    match platform {
        Platform::Messenger => length(text, "message[text]", 1..=2_000),
        Platform::Instagram => match text.as_str().map(str::len) {
            Some(1..=1_000) => Ok(()),
            _ => refuse("Param message[text] must have 1 to 1000 bytes"),
        },
    }
}

fn sticker(platform: Platform, id: &Value) -> Verdict {
    match platform {
        Platform::Messenger => identifier(id, "message[sticker_id]"),
        Platform::Instagram => refuse("Param message[sticker_id] is not available on Instagram"),
    }
}

fn utility_template(template: &Value) -> Verdict {
    let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let components = &template["components"];
    if !filled(&template["name"]) || !filled(&template["language"]["code"]) {
        refuse("Param message[template] must have a name and a language code")
    } else if !components.is_null() && !components.is_array() {
        refuse("Param message[template][components] must be a list")
    } else {
        Ok(())
    }
}

fn images(platform: Platform, attachments: &Value) -> Verdict {
    let most = match platform {
        Platform::Messenger => 30,
        Platform::Instagram => 10,
    };
    for image in list(attachments, "message[attachments]", 1..=most)? {
        if image["type"] != json!("image") {
            return refuse("Param message[attachments] may hold images only");
        }
        media(&image["payload"])?;
    }
    Ok(())
}

fn attachment(platform: Platform, attachment: &Value) -> Verdict {
    let payload = &attachment["payload"];
    match (platform, attachment["type"].as_str()) {
        (_, Some("image" | "audio" | "video" | "file")) => media(payload),
        (_, Some("template")) => template(platform, payload),
        (Platform::Instagram, Some("like_heart")) => Ok(()),
        (Platform::Instagram, Some("MEDIA_SHARE")) => identifier(&payload["id"], "payload[id]"),
        _ => refuse("Param attachment[type] is not an attachment type of this platform"),
    }
}

/// Media whose file is a part of the request's form.
fn uploaded(attachment: &Value, file: &Value) -> Verdict {
    let payload = &attachment["payload"];
    if !matches!(attachment["type"].as_str(), Some("image" | "audio" | "video" | "file")) {
        return refuse("Param filedata is for media only");
    }
    optional_flag(&payload["is_reusable"], "attachment[payload][is_reusable]")?;
    if !payload["url"].is_null() || !payload["attachment_id"].is_null() {
        return refuse(
            "Param attachment[payload] must not hold a url or an attachment_id with filedata",
        );
    }
    attachments::check_file(file)
}

fn media(payload: &Value) -> Verdict {
    optional_flag(&payload["is_reusable"], "attachment[payload][is_reusable]")?;
    match (&payload["url"], &payload["attachment_id"]) {
        (url, Value::Null) => attachments::check_url(url),
        (Value::Null, id) => identifier(id, "attachment[payload][attachment_id]"),
        _ => refuse("Param attachment[payload] must hold a url or an attachment_id"),
    }
}

fn template(platform: Platform, payload: &Value) -> Verdict {
    match (platform, payload["template_type"].as_str()) {
        (_, Some("generic")) => generic_template(platform, payload),
        (_, Some("button")) => {
            length(&payload["text"], "payload[text]", 1..=640)?;
            buttons(platform, list(&payload["buttons"], "payload[buttons]", 1..=3)?)
        }
        (_, Some("product")) => list(&payload["elements"], "payload[elements]", 1..=10)?
            .iter()
            .try_for_each(|product| identifier(&product["id"], "elements[id]")),
        (Platform::Messenger, Some("media")) => media_template(payload),
        (Platform::Messenger, Some("image_grid")) => image_grid(payload),
        (Platform::Messenger, Some("receipt")) => receipt(payload),
        (Platform::Messenger, Some("coupon")) => coupon(payload),
        (Platform::Messenger, Some("customer_feedback")) => customer_feedback(payload),
        (Platform::Messenger, Some("customer_information")) => customer_information(payload),
        (Platform::Messenger, Some("instant_form")) => {
            identifier(&payload["form_id"], "payload[form_id]")
        }
        (Platform::Messenger, Some("notification_messages" | "one_time_notif_req")) => {
            optional_length(&payload["title"], "payload[title]", 1..=65)
        }
        _ => refuse("Param payload[template_type] is not a template type of this platform"),
    }
}

fn media_template(payload: &Value) -> Verdict {
    for element in list(&payload["elements"], "payload[elements]", 1..=1)? {
        if !matches!(element["media_type"].as_str(), Some("image" | "video")) {
            return refuse("Param elements[media_type] must be one of image, video");
        }
        match (&element["attachment_id"], &element["url"]) {
            (id, Value::Null) => identifier(id, "elements[attachment_id]")?,
            (Value::Null, Value::String(url)) if url.contains("facebook.com/") => {}
            _ => {
                return refuse(
                    "Param payload[elements] must hold an attachment_id or a Facebook URL",
                );
            }
        }
        let of_element = optional_list(&element["buttons"], "elements[buttons]", 1..=3)?;
        buttons(Platform::Messenger, of_element)?;
    }
    Ok(())
}

/// Source: Meta's reference of the image grid template, 30 June 2026.
fn image_grid(payload: &Value) -> Verdict {
    for grid in list(&payload["elements"], "payload[elements]", 1..=1)? {
        optional_length(&grid["title"], "elements[title]", 1..=45)?;
        optional_length(&grid["subtitle"], "elements[subtitle]", 1..=80)?;
        let of_grid = optional_list(&grid["buttons"], "elements[buttons]", 1..=3)?;
        let is_simple =
            |tapped: &Value| matches!(tapped["type"].as_str(), Some("web_url" | "postback"));
        if !of_grid.iter().all(is_simple) {
            return refuse("Param elements[buttons] must be of type web_url or postback");
        }
        buttons(Platform::Messenger, of_grid)?;
        let images = list(&grid["images"], "elements[images]", 2..=6)?;
        if images.iter().filter(|image| image["is_hero_image"] == json!(true)).count() > 1 {
            return refuse("Param images[is_hero_image] can be true for one image only");
        }
        for image in images {
            web_address(&image["url"], "images[url]")?;
            let tapped = &image["action"];
            if !tapped.is_null() && !is_simple(tapped) {
                return refuse("Param images[action] must be of type web_url or postback");
            }
        }
    }
    Ok(())
}

fn receipt(payload: &Value) -> Verdict {
    for name in ["recipient_name", "order_number", "currency", "payment_method"] {
        if payload[name].as_str().is_none_or(str::is_empty) {
            return refuse(&format!("Param payload[{name}] is required"));
        }
    }
    if payload["summary"]["total_cost"].is_null() {
        return refuse("Param payload[summary][total_cost] is required");
    }
    for element in optional_list(&payload["elements"], "payload[elements]", 0..=100)? {
        if !element["title"].is_string() || element["price"].is_null() {
            return refuse("Param payload[elements] must each have a title and a price");
        }
    }
    Ok(())
}

fn coupon(payload: &Value) -> Verdict {
    length(&payload["title"], "payload[title]", 1..=80)?;
    optional_length(&payload["subtitle"], "payload[subtitle]", 1..=80)?;
    match (payload["coupon_code"].as_str(), payload["coupon_url"].as_str()) {
        (None, None) => refuse("Param payload[coupon_code] or payload[coupon_url] is required"),
        (Some(code), _) if code.contains(' ') => {
            refuse("Param payload[coupon_code] must not have spaces")
        }
        _ => Ok(()),
    }
}

fn customer_information(payload: &Value) -> Verdict {
    optional_list(&payload["countries"], "payload[countries]", 1..=250)?;
    web_address(&payload["business_privacy"]["url"], "business_privacy[url]")?;
    few_days(&payload["expires_in_days"])
}

fn few_days(days: &Value) -> Verdict {
    if !days.is_null() && !days.as_u64().is_some_and(|days| (1..=7).contains(&days)) {
        return refuse("Param payload[expires_in_days] must be 1 to 7");
    }
    Ok(())
}

fn generic_template(platform: Platform, payload: &Value) -> Verdict {
    optional_flag(&payload["sharable"], "payload[sharable]")?;
    for element in list(&payload["elements"], "payload[elements]", 1..=10)? {
        length(&element["title"], "elements[title]", 1..=80)?;
        optional_length(&element["subtitle"], "elements[subtitle]", 1..=80)?;
        let of_element = optional_list(&element["buttons"], "elements[buttons]", 1..=3)?;
        buttons(platform, of_element)?;
        let tapped = &element["default_action"];
        if !tapped.is_null() && (tapped["type"] != json!("web_url") || !tapped["title"].is_null()) {
            return refuse("Param elements[default_action] must be a web_url without a title");
        }
        if ["subtitle", "image_url", "default_action", "buttons"]
            .into_iter()
            .all(|name| element[name].is_null())
        {
            return refuse(
                "Incomplete element data: title and at least one other field (image url, subtitle \
                 or buttons) is required with non-empty value",
            );
        }
    }
    Ok(())
}

fn buttons(platform: Platform, buttons: &[Value]) -> Verdict {
    for button in buttons {
        let kind = button["type"].as_str();
        if platform == Platform::Instagram && !matches!(kind, Some("web_url" | "postback")) {
            return refuse("Param buttons[type] is not a button type of Instagram");
        }
        let ratio = &button["webview_height_ratio"];
        if !ratio.is_null() && !matches!(ratio.as_str(), Some("compact" | "tall" | "full")) {
            return refuse("Param buttons[webview_height_ratio] must be compact, tall or full");
        }
        match kind {
            Some("postback" | "phone_number") => {
                length(&button["payload"], "buttons[payload]", 1..=1_000)?;
            }
            Some("web_url" | "account_link") => web_address(&button["url"], "buttons[url]")?,
            Some("audio_call") => few_days(&button["expires_in_days"])?,
            Some("game_play" | "account_unlink") => {}
            _ => return refuse("Param buttons[type] is not a button type"),
        }
        // Meta itself labels the login buttons.
        if !matches!(kind, Some("account_link" | "account_unlink")) {
            length(&button["title"], "buttons[title]", 1..=20)?;
        }
    }
    Ok(())
}

fn customer_feedback(payload: &Value) -> Verdict {
    optional_length(&payload["title"], "payload[title]", 1..=65)?;
    optional_length(&payload["subtitle"], "payload[subtitle]", 1..=80)?;
    optional_length(&payload["button_title"], "payload[button_title]", 1..=20)?;
    web_address(&payload["business_privacy"]["url"], "business_privacy[url]")?;
    few_days(&payload["expires_in_days"])?;
    for screen in list(&payload["feedback_screens"], "payload[feedback_screens]", 1..=1)? {
        for question in list(&screen["questions"], "feedback_screens[questions]", 1..=1)? {
            feedback_question(question)?;
        }
    }
    Ok(())
}

fn feedback_question(question: &Value) -> Verdict {
    length(&question["id"], "questions[id]", 1..=80)?;
    let plain = |id: &str| {
        id.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    if !question["id"].as_str().is_some_and(plain) {
        return refuse("Param questions[id] may hold letters, digits and underscores only");
    }
    if !matches!(question["type"].as_str(), Some("csat" | "nps" | "ces" | "free_form")) {
        return refuse("Param questions[type] must be one of csat, nps, ces, free_form");
    }
    optional_length(&question["title"], "questions[title]", 5..=85)?;
    optional_length(&question["follow_up"]["placeholder"], "follow_up[placeholder]", 1..=400)
}

fn quick_replies(platform: Platform, replies: &Value) -> Verdict {
    for reply in optional_list(replies, "message[quick_replies]", 1..=13)? {
        let image = &reply["image_url"];
        if platform == Platform::Instagram && !image.is_null() {
            return refuse("Param quick_replies[image_url] is not available on Instagram");
        }
        match reply["content_type"].as_str() {
            Some("text") => {
                let shortest = usize::from(image.is_null());
                length(&reply["title"], "quick_replies[title]", shortest..=20)?;
                length(&reply["payload"], "quick_replies[payload]", shortest..=1_000)?;
            }
            Some("user_phone_number" | "user_email") => {}
            _ => return refuse("Param quick_replies[content_type] is not a content type"),
        }
    }
    Ok(())
}

/// One of Meta's ids, which are digits in a string, or a number.
fn identifier(value: &Value, name: &str) -> Verdict {
    let digits = |id: &str| !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit());
    if value.is_u64() || value.as_str().is_some_and(digits) {
        Ok(())
    } else {
        refuse(&format!("Param {name} must be an id"))
    }
}

fn optional_flag(value: &Value, name: &str) -> Verdict {
    if value.is_null() || value.is_boolean() {
        Ok(())
    } else {
        refuse(&format!("Param {name} must be a boolean"))
    }
}

fn web_address(value: &Value, name: &str) -> Verdict {
    let web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    if value.as_str().is_some_and(web) {
        Ok(())
    } else {
        refuse(&format!("Param {name} must be a web address"))
    }
}

fn length(value: &Value, name: &str, allowed: RangeInclusive<usize>) -> Verdict {
    match value.as_str().map(|text| text.chars().count()) {
        Some(count) if allowed.contains(&count) => Ok(()),
        _ => refuse(&format!(
            "Param {name} must be a string of {} to {} characters",
            allowed.start(),
            allowed.end()
        )),
    }
}

fn optional_length(value: &Value, name: &str, allowed: RangeInclusive<usize>) -> Verdict {
    if value.is_null() { Ok(()) } else { length(value, name, allowed) }
}

fn list<'a>(
    value: &'a Value,
    name: &str,
    allowed: RangeInclusive<usize>,
) -> Result<&'a [Value], Refusal> {
    match value.as_array() {
        Some(items) if allowed.contains(&items.len()) => Ok(items),
        _ => Err(Refusal::invalid(&format!(
            "Param {name} must be a list of {} to {} items",
            allowed.start(),
            allowed.end()
        ))),
    }
}

fn optional_list<'a>(
    value: &'a Value,
    name: &str,
    allowed: RangeInclusive<usize>,
) -> Result<&'a [Value], Refusal> {
    if value.is_null() { Ok(&[]) } else { list(value, name, allowed) }
}

fn refuse(why: &str) -> Verdict {
    Err(Refusal::invalid(why))
}
