//! What a message may consist of, and how long its parts may be.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::Platform;
use super::answer::Refusal;

type Verdict = Result<(), Refusal>;

const CONTENTS: [&str; 5] = ["text", "attachment", "attachments", "sticker_id", "template"];

/// Checks a message against the Send API's limits; lengths are in Unicode scalar values.
pub(super) fn check(platform: Platform, message: &Value) -> Verdict {
    if !message.is_object() {
        return refuse("Param message must be an object");
    }
    let contents: Vec<&str> =
        CONTENTS.into_iter().filter(|name| !message[name].is_null()).collect();
    match contents.as_slice() {
        ["text"] => text(platform, &message["text"])?,
        ["attachment"] => attachment(platform, &message["attachment"])?,
        ["attachments"] => images(&message["attachments"])?,
        ["sticker_id"] => sticker(&message["sticker_id"])?,
        ["template"] => utility_template(&message["template"])?,
        [] => {
            return refuse("Param message must hold text, an attachment, a sticker or a template");
        }
        several => {
            return refuse(&format!("Param message must hold only one of {}", several.join(", ")));
        }
    }
    optional_length(&message["metadata"], "message[metadata]", 1..=999)?;
    quick_replies(&message["quick_replies"])
}

fn text(platform: Platform, text: &Value) -> Verdict {
    match platform {
        Platform::Messenger => length(text, "message[text]", 1..=1_999),
        Platform::Instagram => match text.as_str().map(str::len) {
            Some(1..=1_000) => Ok(()),
            _ => refuse("Param message[text] must have 1 to 1000 bytes"),
        },
    }
}

fn sticker(id: &Value) -> Verdict {
    if id.is_u64() || id.as_str().is_some_and(|id| !id.is_empty()) {
        Ok(())
    } else {
        refuse("Param message[sticker_id] must be a sticker's id")
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

fn images(attachments: &Value) -> Verdict {
    for image in list(attachments, "message[attachments]", 1..=30)? {
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
        (Platform::Instagram, Some("MEDIA_SHARE")) if payload["id"].is_string() => Ok(()),
        _ => refuse("Param attachment[type] is not an attachment type of this platform"),
    }
}

fn media(payload: &Value) -> Verdict {
    match (&payload["url"], &payload["attachment_id"]) {
        (url, Value::Null) => web_address(url, "attachment[payload][url]"),
        (Value::Null, Value::String(id)) if !id.is_empty() => Ok(()),
        (Value::Null, Value::Number(_)) => Ok(()),
        _ => refuse("Param attachment[payload] must hold a url or an attachment_id"),
    }
}

fn template(platform: Platform, payload: &Value) -> Verdict {
    match (platform, payload["template_type"].as_str()) {
        (_, Some("generic")) => generic_template(payload),
        (_, Some("button")) => {
            length(&payload["text"], "payload[text]", 1..=640)?;
            buttons(list(&payload["buttons"], "payload[buttons]", 1..=3)?)
        }
        (Platform::Messenger, Some("customer_feedback")) => customer_feedback(payload),
        (_, Some("product"))
        | (
            Platform::Messenger,
            Some(
                "coupon"
                | "media"
                | "notification_messages"
                | "one_time_notif_req"
                | "receipt"
                | "structured_information",
            ),
        ) => Ok(()),
        _ => refuse("Param payload[template_type] is not a template type of this platform"),
    }
}

fn generic_template(payload: &Value) -> Verdict {
    for element in list(&payload["elements"], "payload[elements]", 1..=10)? {
        length(&element["title"], "elements[title]", 1..=80)?;
        optional_length(&element["subtitle"], "elements[subtitle]", 1..=80)?;
        buttons(optional_list(&element["buttons"], "elements[buttons]", 1..=3)?)?;
        if ["subtitle", "image_url", "buttons"].into_iter().all(|name| element[name].is_null()) {
            return refuse(
                "Incomplete element data: title and at least one other field (image url, subtitle \
                 or buttons) is required with non-empty value",
            );
        }
    }
    Ok(())
}

fn buttons(buttons: &[Value]) -> Verdict {
    for button in buttons {
        let kind = button["type"].as_str();
        match kind {
            Some("postback" | "phone_number") => {
                length(&button["payload"], "buttons[payload]", 1..=1_000)?;
            }
            Some("web_url" | "account_link") => web_address(&button["url"], "buttons[url]")?,
            Some("game_play" | "account_unlink") => {}
            _ => return refuse("Param buttons[type] is not a button type"),
        }
        // Meta itself writes what the login buttons say.
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
    let days = &payload["expires_in_days"];
    if !days.is_null() && !days.as_u64().is_some_and(|days| (1..=7).contains(&days)) {
        return refuse("Param payload[expires_in_days] must be 1 to 7");
    }
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

fn quick_replies(replies: &Value) -> Verdict {
    for reply in optional_list(replies, "message[quick_replies]", 1..=13)? {
        match reply["content_type"].as_str() {
            Some("text") => {
                length(&reply["title"], "quick_replies[title]", 1..=20)?;
                length(&reply["payload"], "quick_replies[payload]", 1..=1_000)?;
            }
            Some("user_phone_number" | "user_email") => {}
            _ => return refuse("Param quick_replies[content_type] is not a content type"),
        }
    }
    Ok(())
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
