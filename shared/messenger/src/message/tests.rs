//! Every form of the reference, at its limits, and what Instagram has of it.

mod types;
mod unknown;

use serde_json::json;

use super::*;

const URL: &str = "https://example.com/a";

fn template(payload: &Value) -> Value {
    json!({"attachment": {"type": "template", "payload": payload}})
}

fn media(kind: &str, payload: &Value) -> Value {
    json!({"attachment": {"type": kind, "payload": payload}})
}

fn with_button(button: &Value) -> Value {
    template(&json!({"template_type": "button", "text": "t", "buttons": [button]}))
}

fn with_reply(reply: &Value) -> Value {
    json!({"text": "t", "quick_replies": [reply]})
}

fn feedback() -> Value {
    template(&json!({
        "template_type": "customer_feedback", "title": "Rate", "subtitle": "Us", "button_title": "Go",
        "feedback_screens": [{"questions": [{"id": "q1", "type": "csat", "title": "How was it?",
            "score_label": "neg_pos", "score_option": "five_stars",
            "follow_up": {"type": "free_form", "placeholder": "More?"}}]}],
        "business_privacy": {"url": URL}, "expires_in_days": 3}))
}

fn image_grid() -> Value {
    template(&json!({"template_type": "image_grid", "elements": [{
        "title": "Rooms", "subtitle": "By the sea",
        "images": [
            {"url": URL, "action": {"type": "web_url", "url": URL}},
            {"url": URL, "is_hero_image": true, "action": {"type": "postback", "payload": "ROOM_2"}}],
        "buttons": [{"type": "postback", "title": "Book", "payload": "BOOK"}]}]}))
}

fn receipt() -> Value {
    template(&json!({
        "template_type": "receipt", "recipient_name": "A", "order_number": "1", "currency": "EUR",
        "payment_method": "Card", "timestamp": "1428444852", "merchant_name": "Shop",
        "address": {"street_1": "1 Way", "street_2": "", "city": "B", "postal_code": "1", "state": "C",
            "country": "DE"},
        "summary": {"subtotal": 75.0, "total_cost": 56.14},
        "adjustments": [{"name": "Discount", "amount": 20}],
        "elements": [{"title": "Shirt", "quantity": 2, "price": 50, "image_url": URL}]}))
}

/// What both platforms take.
fn on_both() -> Vec<Value> {
    vec![
        json!({"text": "hi"}),
        media("image", &json!({"url": URL, "is_reusable": true})),
        media("audio", &json!({"attachment_id": "1745504518999123"})),
        media("video", &json!({"attachment_id": 17})),
        media("file", &json!({"url": URL})),
        json!({"attachments": [{"type": "image", "payload": {"url": URL}},
            {"type": "image", "payload": {"attachment_id": "9"}}]}),
        template(&json!({"template_type": "button", "text": "t", "buttons": [
            {"type": "web_url", "url": URL, "title": "Shop", "webview_height_ratio": "tall",
                "messenger_extensions": true, "fallback_url": URL, "webview_share_button": "hide"},
            {"type": "postback", "title": "Go", "payload": "GO"}]})),
        template(
            &json!({"template_type": "generic", "sharable": true, "image_aspect_ratio": "square",
            "elements": [{"title": "A", "subtitle": "B", "image_url": URL,
                "default_action": {"type": "web_url", "url": URL, "webview_height_ratio": "full"},
                "buttons": [{"type": "postback", "title": "Go", "payload": "GO"}]}]}),
        ),
        template(&json!({"template_type": "product", "elements": [{"id": "5"}, {"id": "6"}]})),
        json!({"text": "t", "quick_replies": [
            {"content_type": "text", "title": "Red", "payload": "RED"},
            {"content_type": "user_phone_number"}, {"content_type": "user_email"}]}),
    ]
}

/// What Messenger alone has, and where Instagram finds fault with it.
fn on_messenger() -> Vec<(Value, &'static str)> {
    let kind = "attachment.payload.template_type";
    let button = "attachment.payload.buttons[0].type";
    vec![
        (json!({"sticker_id": 369_239_263_222_822_u64}), "sticker_id"),
        (json!({"sticker_id": "369239263222822"}), "sticker_id"),
        (json!({"template": {"name": "shipped", "language": {"code": "en_US"}}}), "template"),
        (feedback(), kind),
        (receipt(), kind),
        (
            template(&json!({"template_type": "media", "sharable": true, "elements": [
                {"media_type": "video", "attachment_id": "9", "buttons": [
                    {"type": "web_url", "url": URL, "title": "Shop"}]}]})),
            kind,
        ),
        (
            template(&json!({"template_type": "media", "elements": [
                {"media_type": "image", "url": "https://www.facebook.com/photo.php?fbid=9"}]})),
            kind,
        ),
        (
            template(&json!({"template_type": "coupon", "title": "10% off", "coupon_code": "TEN",
                "coupon_pre_message": "For you", "payload": "p"})),
            kind,
        ),
        (
            template(&json!({"template_type": "coupon", "title": "10% off", "coupon_url": URL})),
            kind,
        ),
        (
            template(&json!({"template_type": "customer_information", "countries": ["DE"],
                "business_privacy": {"url": URL}, "expires_in_days": 1})),
            kind,
        ),
        (
            template(&json!({"template_type": "customer_information",
                "business_privacy": {"url": URL}})),
            kind,
        ),
        (image_grid(), kind),
        (
            with_button(&json!({"type": "audio_call", "title": "Call", "expires_in_days": 7})),
            button,
        ),
        (template(&json!({"template_type": "instant_form", "form_id": "77"})), kind),
        (
            template(
                &json!({"template_type": "notification_messages", "title": "News", "payload": "n"}),
            ),
            kind,
        ),
        (
            template(
                &json!({"template_type": "one_time_notif_req", "title": "Back", "payload": "b"}),
            ),
            kind,
        ),
        (
            with_button(&json!({"type": "phone_number", "title": "Call", "payload": "+4930"})),
            button,
        ),
        (with_button(&json!({"type": "account_link", "url": URL})), button),
        (with_button(&json!({"type": "account_unlink"})), button),
        (
            with_button(&json!({"type": "game_play", "title": "Play", "payload": "{}",
                "game_metadata": {"player_id": "4"}})),
            button,
        ),
        (
            with_reply(
                &json!({"content_type": "text", "title": "", "payload": "", "image_url": URL}),
            ),
            "quick_replies[0].image_url",
        ),
    ]
}

/// What Instagram alone has.
fn on_instagram() -> [Value; 2] {
    [json!({"attachment": {"type": "like_heart"}}), media("MEDIA_SHARE", &json!({"id": "17"}))]
}

#[test]
fn every_form_of_the_reference_is_taken_as_it_is() {
    let messenger = on_messenger().into_iter().map(|(value, _)| value);
    for value in on_both().into_iter().chain(messenger).chain(on_instagram()) {
        let message = Message::from_json(&value).unwrap_or_else(|e| panic!("{e} in {value}"));
        assert_eq!(serde_json::to_value(&message).unwrap(), value);
        let say = Outgoing::from_json(&value).unwrap();
        let stored: Outgoing = serde_json::from_str(&serde_json::to_string(&say).unwrap()).unwrap();
        assert_eq!(stored.message(), Some(&value));
    }
}

#[test]
fn each_platform_takes_what_it_has() {
    let check = |value: &Value, platform| Message(value.clone()).check(platform);
    for value in on_both() {
        assert_eq!(check(&value, Platform::Messenger), Ok(()));
        assert_eq!(check(&value, Platform::Instagram), Ok(()));
    }
    for (value, field) in on_messenger() {
        assert_eq!(check(&value, Platform::Messenger), Ok(()));
        assert_eq!(check(&value, Platform::Instagram).unwrap_err().field, field, "{value}");
    }
    for value in on_instagram() {
        assert_eq!(check(&value, Platform::Instagram), Ok(()));
        assert_eq!(check(&value, Platform::Messenger).unwrap_err().field, "attachment.type");
    }
    let text =
        |bytes: usize| json!({"text": format!("{}{}", "é".repeat(499), "a".repeat(bytes - 998))});
    assert!(check(&text(1000), Platform::Instagram).is_ok());
    assert_eq!(check(&text(1001), Platform::Instagram).unwrap_err().field, "text");
    let images = |count| json!({"attachments": vec![media("image", &json!({"url": URL}))["attachment"].clone(); count]});
    assert!(check(&images(10), Platform::Instagram).is_ok());
    assert_eq!(check(&images(11), Platform::Instagram).unwrap_err().field, "attachments");
}

/// A form, a part of it, and the least and the most that the part may have: characters if it is a
/// string, items if it is a list.
fn limits() -> Vec<(Value, &'static str, usize, usize)> {
    let postback = with_button(&json!({"type": "postback", "title": "t", "payload": "p"}));
    let reply = with_reply(&json!({"content_type": "text", "title": "t", "payload": "p"}));
    let generic = template(&json!({"template_type": "generic", "elements": [
        {"title": "t", "subtitle": "s", "buttons": [
            {"type": "postback", "title": "t", "payload": "p"}]}]}));
    let grid = image_grid();
    let call = with_button(&json!({"type": "audio_call", "title": "t"}));
    let shop = with_button(&json!({"type": "web_url", "title": "t", "url": URL}));
    let product = template(&json!({"template_type": "product", "elements": [{"id": "5"}]}));
    let film = template(&json!({"template_type": "media", "elements": [
        {"media_type": "image", "attachment_id": "9"}]}));
    let coupon = template(&json!({"template_type": "coupon", "title": "t", "coupon_code": "C"}));
    let images = json!({"attachments": [{"type": "image", "payload": {"url": URL}}]});
    let utility = json!({"template": {"name": "n", "language": {"code": "en"}}});
    vec![
        (json!({"text": "t"}), "/text", 1, 2000),
        (images, "/attachments", 1, 30),
        (grid.clone(), "/attachment/payload/elements", 1, 1),
        (grid.clone(), "/attachment/payload/elements/0/images", 2, 6),
        (grid.clone(), "/attachment/payload/elements/0/title", 1, 45),
        (grid.clone(), "/attachment/payload/elements/0/subtitle", 1, 80),
        (grid.clone(), "/attachment/payload/elements/0/buttons", 1, 3),
        (grid, "/attachment/payload/elements/0/images/1/action/payload", 1, 1000),
        (call, "/attachment/payload/buttons/0/title", 1, 20),
        (shop, "/attachment/payload/buttons/0/title", 1, 20),
        (reply.clone(), "/quick_replies", 1, 13),
        (reply.clone(), "/quick_replies/0/title", 1, 20),
        (reply, "/quick_replies/0/payload", 1, 1000),
        (postback.clone(), "/attachment/payload/text", 1, 640),
        (postback.clone(), "/attachment/payload/buttons", 1, 3),
        (postback.clone(), "/attachment/payload/buttons/0/title", 1, 20),
        (postback, "/attachment/payload/buttons/0/payload", 1, 1000),
        (generic.clone(), "/attachment/payload/elements", 1, 10),
        (generic.clone(), "/attachment/payload/elements/0/title", 1, 80),
        (generic.clone(), "/attachment/payload/elements/0/subtitle", 1, 80),
        (generic, "/attachment/payload/elements/0/buttons", 1, 3),
        (product, "/attachment/payload/elements", 1, 10),
        (film, "/attachment/payload/elements", 1, 1),
        (coupon, "/attachment/payload/title", 1, 80),
        (utility, "/template/name", 1, 512),
        (feedback(), "/attachment/payload/title", 1, 65),
        (feedback(), "/attachment/payload/subtitle", 1, 80),
        (feedback(), "/attachment/payload/button_title", 1, 20),
        (feedback(), "/attachment/payload/feedback_screens", 1, 1),
        (feedback(), "/attachment/payload/feedback_screens/0/questions", 1, 1),
        (feedback(), "/attachment/payload/feedback_screens/0/questions/0/title", 5, 85),
        (
            feedback(),
            "/attachment/payload/feedback_screens/0/questions/0/follow_up/placeholder",
            0,
            400,
        ),
    ]
}

#[test]
fn limits_hold_to_the_character_and_to_the_item() {
    for (form, pointer, least, most) in limits() {
        let sized = |count: usize| {
            let mut form = form.clone();
            let part = form.pointer_mut(pointer).unwrap();
            *part = match part {
                Value::Array(items) => vec![items[0].clone(); count].into(),
                _ => "é".repeat(count).into(),
            };
            Message::from_json(&form)
        };
        let field = pointer[1..].replace('/', ".").replace(".0", "[0]").replace(".1", "[1]");
        for allowed in [least, most] {
            assert!(sized(allowed).is_ok(), "{field} of {allowed}");
        }
        for refused in least.checked_sub(1).into_iter().chain([most + 1]) {
            assert_eq!(sized(refused).unwrap_err().field, field, "{refused}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_by_its_path_and_not_repeated() {
    let at = "attachment.payload";
    for (value, field) in [
        (json!(5), "message".to_owned()),
        (json!({}), "message".to_owned()),
        (json!({"text": "a", "sticker_id": 5}), "message".to_owned()),
        (json!({"text": "a", "metadata": "secret"}), "metadata".to_owned()),
        (json!({"text": ["secret"]}), "text".to_owned()),
        (json!({"text": "  "}), "text".to_owned()),
        (json!({"attachment": "secret"}), "attachment".to_owned()),
        (media("image", &json!({})), format!("{at}.url")),
        (media("image", &json!({"url": "http://example.com/secret"})), format!("{at}.url")),
        (media("image", &json!({"url": URL, "attachment_id": "9"})), at.to_owned()),
        (media("image", &json!({"attachment_id": "secret"})), format!("{at}.attachment_id")),
        (
            media("image", &json!({"url": URL, "is_reusable": "secret"})),
            format!("{at}.is_reusable"),
        ),
        (
            json!({"attachments": [{"type": "image", "payload": {"url": URL}}, {"type": "video", "payload": {"url": URL}}]}),
            "attachments[1].type".to_owned(),
        ),
        (json!({"sticker_id": "secret"}), "sticker_id".to_owned()),
        (json!({"sticker_id": 5, "quick_replies": []}), "quick_replies".to_owned()),
        (
            with_reply(&json!({"content_type": "user_email", "title": "secret"})),
            "quick_replies[0].title".to_owned(),
        ),
        (
            with_button(&json!({"type": "phone_number", "title": "Call", "payload": "secret"})),
            format!("{at}.buttons[0].payload"),
        ),
        (
            with_button(&json!({"type": "web_url", "url": "secret", "title": "t"})),
            format!("{at}.buttons[0].url"),
        ),
        (
            with_button(
                &json!({"type": "web_url", "url": URL, "title": "t", "webview_height_ratio": "secret"}),
            ),
            format!("{at}.buttons[0].webview_height_ratio"),
        ),
        (
            with_button(&json!({"type": "account_link", "url": URL, "title": "secret"})),
            format!("{at}.buttons[0].title"),
        ),
        (
            with_button(
                &json!({"type": "game_play", "title": "t", "game_metadata": {"player_id": "1", "context_id": "2"}}),
            ),
            format!("{at}.buttons[0].game_metadata"),
        ),
        (
            template(&json!({"template_type": "generic", "elements": [{"title": "t"}]})),
            format!("{at}.elements[0]"),
        ),
        (
            template(
                &json!({"template_type": "media", "elements": [{"media_type": "audio", "attachment_id": "9"}]}),
            ),
            format!("{at}.elements[0].media_type"),
        ),
        (
            template(
                &json!({"template_type": "media", "elements": [{"media_type": "image", "url": "https://facebook.com.example.com/"}]}),
            ),
            format!("{at}.elements[0].url"),
        ),
        (
            template(&json!({"template_type": "coupon", "title": "t", "coupon_code": "se cret"})),
            format!("{at}.coupon_code"),
        ),
        (template(&json!({"template_type": "coupon", "title": "t"})), format!("{at}.coupon_code")),
        (
            template(&json!({"template_type": "receipt", "recipient_name": "A"})),
            format!("{at}.order_number"),
        ),
        (
            json!({"template": {"name": "n", "language": {"code": "en"}, "components": {}}}),
            "template.components".to_owned(),
        ),
    ] {
        let invalid = Message::from_json(&value).unwrap_err();
        assert_eq!(invalid.field, field, "{invalid} in {value}");
        assert!(!invalid.problem.contains("cret"), "{invalid}");
    }
}

#[test]
fn what_is_wrong_in_a_template_or_a_button_is_named() {
    let at = "attachment.payload";
    for (value, field) in [
        (template(&json!({"template_type": 5})), format!("{at}.template_type")),
        (template(&json!({"template_type": " "})), format!("{at}.template_type")),
        (template(&json!({"text": "secret"})), format!("{at}.template_type")),
        (
            with_button(&json!({"type": "audio_call", "title": "t", "expires_in_days": 8})),
            format!("{at}.buttons[0].expires_in_days"),
        ),
        (
            with_button(&json!({"type": "postback", "title": "t", "payload": "p", "url": URL})),
            format!("{at}.buttons[0].url"),
        ),
        (
            template(&json!({"template_type": "image_grid", "elements": [{"images": [
                {"url": URL, "is_hero_image": true}, {"url": URL, "is_hero_image": true}]}]})),
            format!("{at}.elements[0].images[1].is_hero_image"),
        ),
        (
            template(&json!({"template_type": "image_grid", "elements": [
                {"images": [{"url": URL}, {"url": URL}],
                "buttons": [{"type": "account_unlink"}]}]})),
            format!("{at}.elements[0].buttons[0].type"),
        ),
    ] {
        let invalid = Message::from_json(&value).unwrap_err();
        assert_eq!(invalid.field, field, "{invalid} in {value}");
        assert!(!invalid.problem.contains("cret"), "{invalid}");
    }
}
