//! What is not known here is sent as it is, and named; what is known is checked all the same.

use super::*;

fn unknown(value: &Value) -> Vec<String> {
    let say = Outgoing::from_json(value).unwrap_or_else(|e| panic!("{e} in {value}"));
    assert_eq!(say.message(), Some(value), "it is sent as it is");
    say.unknown().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_known_is_passed_on_and_named_by_its_path() {
    let at = "message.attachment.payload";
    let sent = "is not known here; it is sent as it is";
    for (value, expected) in [
        (json!({"text": "hi", "mood": {"a": [1]}}), vec![format!("message.mood: {sent}")]),
        (json!({"hologram": "x"}), vec![format!("message.hologram: {sent}")]),
        (
            media("location", &json!({"coordinates": {"lat": 1.5}})),
            vec![format!("message.attachment.type: \"location\" {sent}")],
        ),
        (
            template(&json!({"template_type": "list", "elements": 5})),
            vec![format!("{at}.template_type: \"list\" {sent}")],
        ),
        (
            with_button(&json!({"type": "teleport", "title": "x".repeat(99)})),
            vec![format!("{at}.buttons[0].type: \"teleport\" {sent}")],
        ),
        (
            with_button(&json!({"type": "postback", "title": "t", "payload": "p", "icon": "i"})),
            vec![format!("{at}.buttons[0].icon: {sent}")],
        ),
        (
            with_reply(&json!({"content_type": "user_mood", "title": "t"})),
            vec![format!("message.quick_replies[0].content_type: \"user_mood\" {sent}")],
        ),
        (
            template(&json!({"template_type": "generic", "theme": "dark",
                "elements": [{"title": "t", "video_url": URL}]})),
            vec![format!("{at}.theme: {sent}"), format!("{at}.elements[0].video_url: {sent}")],
        ),
        (
            json!({"template": {"name": "n", "language": {"code": "en", "policy": "p"},
                "namespace": "x"}}),
            vec![
                format!("message.template.namespace: {sent}"),
                format!("message.template.language.policy: {sent}"),
            ],
        ),
        (
            json!({"attachment": {"type": "like_heart", "size": 3}}),
            vec![format!("message.attachment.size: {sent}")],
        ),
    ] {
        assert_eq!(unknown(&value), expected, "{value}");
    }
}

#[test]
fn what_is_known_has_nothing_unknown() {
    let messenger = on_messenger().into_iter().map(|(value, _)| value);
    for value in on_both().into_iter().chain(messenger).chain(on_instagram()) {
        assert_eq!(unknown(&value), Vec::<String>::new(), "{value}");
    }
}

#[test]
fn what_is_known_beside_it_is_checked() {
    let teleport = json!({"type": "teleport"});
    for (value, field) in [
        (json!({"text": "x".repeat(2001), "mood": 1}), "text"),
        (json!({"text": "t", "sticker_id": 5, "mood": 1}), "message"),
        (json!({"mood": 1, "metadata": "mine"}), "metadata"),
        (
            template(&json!({"template_type": "button", "text": "t",
                "buttons": [teleport, teleport, teleport, teleport]})),
            "attachment.payload.buttons",
        ),
        (
            template(&json!({"template_type": "button", "text": "t",
                "buttons": [teleport, {"type": "postback", "title": "t"}]})),
            "attachment.payload.buttons[1].payload",
        ),
        (json!({}), "message"),
        (json!({"mood": null}), "message"),
    ] {
        assert_eq!(Message::from_json(&value).unwrap_err().field, field, "{value}");
    }
}

#[test]
fn a_name_that_is_repeated_is_short_and_printable() {
    let long = format!("a\n{}", "b".repeat(99));
    let [kind] = &unknown(&template(&json!({"template_type": long})))[..] else { panic!("one") };
    assert!(kind.contains(&format!("\"a{}\"", "b".repeat(39))), "{kind}");
    let [field] = &unknown(&json!({"text": "t", long: 1}))[..] else { panic!("one") };
    assert!(field.starts_with(&format!("message.a{}: ", "b".repeat(39))), "{field}");
}

#[test]
fn a_request_takes_no_field_that_is_not_known() {
    for value in [
        json!({"message": "hi", "tag": "HUMAN_AGENT"}),
        json!({"message": "hi", "send_at": 5}),
        json!({"sender_action": "wave"}),
    ] {
        assert!(Outgoing::from_json(&value).is_err(), "{value}");
    }
}

#[test]
fn a_fallback_keeps_what_is_not_known() {
    let given = json!({"name": "n", "language": {"code": "en", "policy": "p"}, "namespace": "x",
        "components": [{"type": "body", "parameters": [
            {"type": "text", "parameter_name": "customer_name", "text": "A"}]}]});
    let template = UtilityTemplate::from_json("fallback_template", &given).unwrap();
    assert_eq!(serde_json::to_value(template).unwrap(), given);
}
