//! What a message looks like in one line, and what can be pressed on it.

use serde_json::Value;

use super::transcript::escaped;
use crate::message::Outgoing;

/// Something that a person can press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) title: String,
    pub(super) leads_to: LeadsTo,
}

/// What comes of pressing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeadsTo {
    /// A message with the title and this payload.
    QuickReply(String),
    /// A postback with the title and this payload.
    Postback(String),
    /// Nothing that reaches the bot, or something that the kit does not know.
    Elsewhere,
}

/// What a message looks like in a transcript: its text, or its kind in parentheses and what is known of it; then the
/// titles of what can be pressed, in brackets.
///
/// A line break is `\n`. A sender action is its name in parentheses.
pub fn shown(say: &Outgoing) -> String {
    let Some(message) = say.message() else {
        let body = say.clone().into_body();
        return format!("({})", body["sender_action"].as_str().unwrap_or("action"));
    };
    let text = escaped(&text(message));
    let titles: Vec<_> = choices(message).into_iter().map(|choice| choice.title).collect();
    if titles.is_empty() { text } else { format!("{text} [{}]", titles.join(" | ")) }
}

/// The text of a message; if it has none, its kind in parentheses and what is known of it.
pub(super) fn text(message: &Value) -> String {
    let (attachment, payload) = (&message["attachment"], &message["attachment"]["payload"]);
    if let Some(text) = message["text"].as_str() {
        return text.to_owned();
    }
    if let Some(name) = message["template"]["name"].as_str() {
        return format!("(template) {name}");
    }
    if payload["template_type"] == "button" {
        return payload["text"].as_str().unwrap_or_default().to_owned();
    }
    let elements = payload["elements"].as_array().into_iter().flatten();
    let titles: Vec<_> = elements.filter_map(|element| element["title"].as_str()).collect();
    let fields = [&payload["text"], &payload["title"], &payload["url"]];
    let about = fields.into_iter().find_map(Value::as_str).map_or(titles.join(", "), str::to_owned);
    let kind = payload["template_type"].as_str().or(attachment["type"].as_str());
    let kind = kind.unwrap_or(match message {
        message if !message["attachments"].is_null() => "images",
        message if !message["sticker_id"].is_null() => "sticker",
        _ => "message",
    });
    format!("({kind}) {about}").trim_end().to_owned()
}

/// What can be pressed on a message: quick replies, then buttons in their order.
pub(super) fn choices(message: &Value) -> Vec<Choice> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let payload = &message["attachment"]["payload"];
    let replies = message["quick_replies"].as_array().into_iter().flatten().map(|reply| {
        let title = text(&reply["title"]).or_else(|| text(&reply["content_type"]));
        let leads_to = match text(&reply["payload"]) {
            Some(payload) => LeadsTo::QuickReply(payload),
            None => LeadsTo::Elsewhere,
        };
        Choice { title: title.unwrap_or_default(), leads_to }
    });
    let of_cards = payload["elements"].as_array().into_iter().flatten();
    let lists = std::iter::once(payload).chain(of_cards);
    let buttons = lists.flat_map(|part| part["buttons"].as_array().into_iter().flatten());
    let buttons = buttons.map(|button| {
        let title = text(&button["title"]).or_else(|| text(&button["type"])).unwrap_or_default();
        let leads_to = match text(&button["payload"]) {
            Some(payload) if button["type"] == "postback" => LeadsTo::Postback(payload),
            _ => LeadsTo::Elsewhere,
        };
        Choice { title, leads_to }
    });
    replies.chain(buttons).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Action;

    #[test]
    fn a_message_is_shown_in_one_line() {
        let button = json!({"type": "web_url", "title": "Site", "url": "https://example.com"});
        let card = json!({"title": "A card", "buttons": [button]});
        let generic = json!({"template_type": "generic", "elements": [card, {"title": "B", "subtitle": "b"}]});
        let generic = json!({"attachment": {"type": "template", "payload": generic}});
        let image = json!({"type": "image", "payload": {"url": "https://example.com/a.png"}});
        let location = json!([{"content_type": "user_email"}]);
        for (message, expected) in [
            (json!("one\ntwo \\ three"), "one\\ntwo \\\\ three"),
            (json!({"text": "Mail?", "quick_replies": location}), "Mail? [user_email]"),
            (generic, "(generic) A card, B [Site]"),
            (json!({"attachment": image}), "(image) https://example.com/a.png"),
            (json!({"sticker_id": 5}), "(sticker)"),
        ] {
            assert_eq!(shown(&Outgoing::from_json(&message).unwrap()), expected);
        }
        assert_eq!(shown(&Action::TypingOn.into()), "(typing_on)");
    }
}
