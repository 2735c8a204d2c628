//! The Send API's limits, each at its last allowed and first refused value.

use super::*;

fn refused(world: &World, page_id: &str, message: &Value) -> bool {
    let reply = world.send(page_id, &response(message));
    match reply.status {
        200 => false,
        400 if reply.error() == (100, None) => true,
        _ => panic!("neither delivered nor refused with 100: {}", reply.text),
    }
}

/// Asserts that the form is delivered with the first size and refused with the second.
fn assert_limit<T: Copy>(
    world: &World,
    name: &str,
    allowed: T,
    too_much: T,
    message: impl Fn(T) -> Value,
) {
    assert!(!refused(world, PAGE, &message(allowed)), "{name} is allowed");
    assert!(refused(world, PAGE, &message(too_much)), "{name} is refused");
}

fn template(payload: &Value) -> Value {
    json!({"attachment": {"type": "template", "payload": payload}})
}

fn generic(element: &Value, count: usize) -> Value {
    template(&json!({"template_type": "generic", "elements": vec![element; count]}))
}

fn button_template(text: &str, buttons: &Value) -> Value {
    template(&json!({"template_type": "button", "text": text, "buttons": buttons}))
}

fn postback(title: usize, payload: usize) -> Value {
    json!({"type": "postback", "title": "é".repeat(title), "payload": "é".repeat(payload)})
}

fn feedback(pointer: &str, value: &Value) -> Value {
    let mut message = feedback_template();
    let path = format!("/attachment/payload{pointer}");
    *message.pointer_mut(&path).expect("a part of the template") = value.clone();
    message
}

#[test]
fn text_is_at_most_2000_characters_not_bytes() {
    let world = World::with_open_windows();
    let text = |count: usize| json!({"text": "é".repeat(count)});
    assert_limit(&world, "text", 2_000, 2_001, text);
    assert_limit(&world, "an empty text", 1, 0, text);
}

#[test]
fn instagram_text_is_at_most_1000_bytes() {
    let world = World::with_open_windows();
    let text =
        |bytes: usize| json!({"text": format!("{}{}", "é".repeat(499), "a".repeat(bytes - 998))});
    assert!(!refused(&world, INSTAGRAM, &text(1_000)));
    assert!(refused(&world, INSTAGRAM, &text(1_001)));
    assert!(!refused(&world, INSTAGRAM, &json!({"text": "a"})));
    assert!(refused(&world, INSTAGRAM, &json!({"text": ""})));
}

#[test]
fn metadata_is_under_1000_characters() {
    let world = World::with_open_windows();
    let message = |count: usize| json!({"text": "hi", "metadata": "é".repeat(count)});
    assert_limit(&world, "metadata", 999, 1_000, message);
    assert_limit(&world, "an empty metadata", 1, 0, message);
    assert!(refused(&world, PAGE, &json!({"text": "hi", "metadata": {"a": 1}})));
}

#[test]
fn a_message_has_exactly_one_content() {
    let world = World::with_open_windows();
    let image = json!({"type": "image", "payload": {"url": "https://shop.example/a.png"}});
    assert!(!refused(&world, PAGE, &json!({"attachment": image})));
    assert!(refused(&world, PAGE, &json!({"text": "hi", "attachment": image})));
    assert!(refused(&world, PAGE, &json!({"metadata": "only"})));
    assert!(refused(&world, PAGE, &json!("hi")));
    assert!(!refused(&world, PAGE, &json!({"sticker_id": 369_239_263_222_822_u64})));
    assert!(refused(&world, PAGE, &Value::Null));
}

#[test]
fn attachments_are_media_by_url_or_id() {
    let world = World::with_open_windows();
    let of = |kind: &str, payload: Value| json!({"attachment": {"type": kind, "payload": payload}});
    for kind in ["image", "audio", "video", "file"] {
        assert!(!refused(&world, PAGE, &of(kind, json!({"attachment_id": "9"}))), "{kind}");
    }
    let url = json!({"url": "https://shop.example/a.png"});
    assert!(refused(&world, PAGE, &of("location", url.clone())));
    assert!(refused(&world, PAGE, &of("image", json!({"url": "a.png"}))));
    assert!(refused(&world, PAGE, &of("image", json!({}))));
    let images = |count: usize| json!({"attachments": vec![json!({"type": "image", "payload": url}); count]});
    assert_limit(&world, "images", 30, 31, images);
    assert_limit(&world, "no images", 1, 0, images);
    let videos = json!({"attachments": [{"type": "video", "payload": url}]});
    assert!(refused(&world, PAGE, &videos));
}

#[test]
fn quick_replies_are_13_with_title_20_and_payload_1000() {
    let world = World::with_open_windows();
    let replies = |count: usize, title: usize, payload: usize| {
        let reply = json!({
            "content_type": "text",
            "title": "é".repeat(title),
            "payload": "é".repeat(payload),
        });
        json!({"text": "hi", "quick_replies": vec![reply; count]})
    };
    assert_limit(&world, "count", 13, 14, |count| replies(count, 20, 1_000));
    assert_limit(&world, "title", 20, 21, |title| replies(1, title, 1));
    assert_limit(&world, "no replies", 1, 0, |count| replies(count, 1, 1));
    assert_limit(&world, "an empty title", 1, 0, |title| replies(1, title, 1));
    assert_limit(&world, "an empty payload", 1, 0, |payload| replies(1, 1, payload));
    assert_limit(&world, "payload", 1_000, 1_001, |payload| replies(1, 1, payload));
    assert!(refused(
        &world,
        PAGE,
        &json!({"text": "hi", "quick_replies": [{"content_type": "location"}]})
    ));
}

#[test]
fn button_templates_have_3_buttons_with_title_20_payload_1000_and_text_640() {
    let world = World::with_open_windows();
    let buttons = |count: usize, title: usize, payload: usize| {
        button_template("Choose", &json!(vec![postback(title, payload); count]))
    };
    assert_limit(&world, "count", 3, 4, |count| buttons(count, 20, 1_000));
    assert_limit(&world, "an empty title", 1, 0, |title| buttons(1, title, 1));
    assert_limit(&world, "an empty payload", 1, 0, |payload| buttons(1, 1, payload));
    assert_limit(&world, "no buttons", 1, 0, |count| buttons(count, 1, 1));
    assert_limit(&world, "title", 20, 21, |title| buttons(1, title, 1));
    assert_limit(&world, "payload", 1_000, 1_001, |payload| buttons(1, 1, payload));
    assert_limit(&world, "text", 640, 641, |count| {
        button_template(&"é".repeat(count), &json!([postback(1, 1)]))
    });
    assert_limit(&world, "an empty text", "a", "", |text| {
        button_template(text, &json!([postback(1, 1)]))
    });
    let shop = "https://shop.example/";
    assert_limit(&world, "a shop's title", 20, 21, |title: usize| {
        let button = json!({"type": "web_url", "title": "é".repeat(title), "url": shop});
        button_template("Choose", &json!([button]))
    });
    assert_limit(&world, "url", shop, "shop", |url| {
        button_template("Choose", &json!([{"type": "web_url", "title": "Shop", "url": url}]))
    });
    assert_limit(&world, "type", "account_unlink", "unknown", |kind| {
        button_template("Choose", &json!([{"type": kind}]))
    });
}

#[test]
fn generic_templates_have_10_elements_with_titles_80_and_3_buttons() {
    let world = World::with_open_windows();
    let element = |title: usize, subtitle: usize, buttons: usize| {
        json!({
            "title": "é".repeat(title),
            "subtitle": "é".repeat(subtitle),
            "buttons": vec![postback(20, 1_000); buttons],
        })
    };
    let one = |title, subtitle, buttons| generic(&element(title, subtitle, buttons), 1);
    assert_limit(&world, "count", 10, 11, |count| generic(&element(80, 80, 3), count));
    assert_limit(&world, "no elements", 1, 0, |count| generic(&element(1, 1, 1), count));
    assert_limit(&world, "title", 80, 81, |title| one(title, 1, 1));
    assert_limit(&world, "an empty title", 1, 0, |title| one(title, 1, 1));
    assert_limit(&world, "subtitle", 80, 81, |subtitle| one(1, subtitle, 1));
    assert_limit(&world, "an empty subtitle", 1, 0, |subtitle| one(1, subtitle, 1));
    assert_limit(&world, "buttons", 3, 4, |buttons| one(1, 1, buttons));
    assert_limit(&world, "no buttons", 1, 0, |buttons| one(1, 1, buttons));
    assert_limit(&world, "a title alone", "image_url", "unknown", |name| {
        generic(&json!({"title": "a", name: "https://shop.example/a.png"}), 1)
    });
    assert!(refused(&world, PAGE, &template(&json!({"template_type": "list"}))));
}

#[test]
fn customer_feedback_templates_keep_each_of_their_limits() {
    let world = World::with_open_windows();
    let strings = [
        ("/title", 1, 65),
        ("/subtitle", 1, 80),
        ("/button_title", 1, 20),
        ("/feedback_screens/0/questions/0/title", 5, 85),
        ("/feedback_screens/0/questions/0/follow_up/placeholder", 1, 400),
    ];
    for (pointer, shortest, longest) in strings {
        let sized = |count: usize| feedback(pointer, &json!("é".repeat(count)));
        assert_limit(&world, pointer, longest, longest + 1, sized);
        assert_limit(&world, pointer, shortest, shortest - 1, sized);
    }
    let id = |id: &str| feedback("/feedback_screens/0/questions/0/id", &json!(id));
    let (longest, too_long) = ("a".repeat(80), "a".repeat(81));
    assert_limit(&world, "id", longest.as_str(), too_long.as_str(), id);
    assert_limit(&world, "id", "Az_09", "a-b", id);
    assert_limit(&world, "an empty id", "a", "", id);
    for days in [1, 7] {
        assert!(!refused(&world, PAGE, &feedback("/expires_in_days", &json!(days))));
    }
    for days in [0, 8] {
        assert!(refused(&world, PAGE, &feedback("/expires_in_days", &json!(days))));
    }
    assert!(refused(&world, PAGE, &feedback("/business_privacy", &json!({}))));
    let question = json!({"id": "q", "type": "nps"});
    assert_limit(&world, "no questions", 1, 0, |count: usize| {
        feedback("/feedback_screens/0/questions", &json!(vec![&question; count]))
    });
    let screen = json!({"questions": [question]});
    for wrong in [0, 2] {
        assert_limit(&world, "screens", 1, wrong, |count: usize| {
            feedback("/feedback_screens", &json!(vec![&screen; count]))
        });
    }
    assert_limit(&world, "questions", 1, 2, |count: usize| {
        feedback("/feedback_screens/0/questions", &json!(vec![&question; count]))
    });
    assert!(refused(&world, PAGE, &feedback("/feedback_screens/0/questions/0/type", &json!("x"))));
}

/// The smallest valid template of each kind, a part of it that is needed, and whether Instagram has it.
fn templates() -> Vec<(Value, &'static str, bool)> {
    let policy = json!({"url": "https://shop.example/privacy"});
    vec![
        (json!({"template_type": "product", "elements": [{"id": "5"}]}), "/elements/0/id", true),
        (
            json!({"template_type": "media", "elements": [{"media_type": "video", "attachment_id": "9"}]}),
            "/elements/0/attachment_id",
            false,
        ),
        (
            json!({"template_type": "media", "elements": [
                {"media_type": "image", "url": "https://www.facebook.com/photo.php?fbid=1"}]}),
            "/elements/0/media_type",
            false,
        ),
        (
            json!({"template_type": "receipt", "recipient_name": "A", "order_number": "1",
                "currency": "EUR", "payment_method": "Card", "summary": {"total_cost": 5}}),
            "/summary/total_cost",
            false,
        ),
        (
            json!({"template_type": "coupon", "title": "t", "coupon_code": "TEN"}),
            "/coupon_code",
            false,
        ),
        (
            json!({"template_type": "customer_information", "countries": ["ID"], "business_privacy": policy}),
            "/business_privacy/url",
            false,
        ),
        (
            json!({"template_type": "customer_information", "business_privacy": policy}),
            "/business_privacy/url",
            false,
        ),
        (
            json!({"template_type": "image_grid", "elements": [{"images": [
                {"url": "https://shop.example/a.png"}, {"url": "https://shop.example/b.png"}]}]}),
            "/elements/0/images/0/url",
            false,
        ),
        (json!({"template_type": "instant_form", "form_id": "7"}), "/form_id", false),
    ]
}

#[test]
fn each_template_needs_its_parts_and_its_platform() {
    let world = World::with_open_windows();
    for (payload, needed, on_instagram) in templates() {
        assert!(!refused(&world, PAGE, &template(&payload)), "{payload}");
        assert_eq!(refused(&world, INSTAGRAM, &template(&payload)), !on_instagram, "{payload}");
        let mut without = payload.clone();
        *without.pointer_mut(needed).expect("a part of the template") = Value::Null;
        assert!(refused(&world, PAGE, &template(&without)), "{without}");
    }
    let outside = json!({"template_type": "media", "elements": [
        {"media_type": "image", "url": "https://shop.example/a.png"}]});
    assert!(refused(&world, PAGE, &template(&outside)));
    let spaced = json!({"template_type": "coupon", "title": "t", "coupon_code": "TEN OFF"});
    assert!(refused(&world, PAGE, &template(&spaced)));
}

#[test]
fn instagram_has_two_kinds_of_buttons_and_no_stickers_by_id() {
    let world = World::with_open_windows();
    let call = json!([{"type": "phone_number", "title": "Call", "payload": "+4930"}]);
    let shop = json!([{"type": "web_url", "title": "Shop", "url": "https://shop.example/"}]);
    assert!(!refused(&world, PAGE, &button_template("t", &call)));
    assert!(refused(&world, INSTAGRAM, &button_template("t", &call)));
    assert!(!refused(&world, INSTAGRAM, &button_template("t", &shop)));
    assert!(refused(&world, INSTAGRAM, &json!({"sticker_id": 5})));
    assert!(!refused(&world, INSTAGRAM, &json!({"attachment": {"type": "like_heart"}})));
    assert!(refused(&world, PAGE, &json!({"attachment": {"type": "like_heart"}})));
}

#[test]
fn a_quick_reply_with_a_picture_needs_no_title() {
    let world = World::with_open_windows();
    let reply = json!({"content_type": "text", "title": "", "payload": "",
        "image_url": "https://shop.example/red.png"});
    let message = json!({"text": "hi", "quick_replies": [reply]});
    assert!(!refused(&world, PAGE, &message));
    assert!(refused(&world, INSTAGRAM, &message));
}
