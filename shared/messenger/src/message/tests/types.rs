//! What the types write, and the form of a request.

use super::*;

#[test]
fn the_types_write_what_the_reference_has() {
    let buttons = vec![
        Button::web(URL, "Shop"),
        Button::AccountUnlink,
        Button::GamePlay {
            title: "Play".into(),
            payload: None,
            game_metadata: Some(GameMetadata::ContextId("9".into())),
        },
    ];
    let webview = Webview { height_ratio: Some(HeightRatio::Tall), ..Webview::default() };
    let tall = Button::WebUrl { url: URL.into(), title: "Shop".into(), webview };
    let card = Element {
        title: "A".into(),
        default_action: Some(DefaultAction { url: URL.into() }),
        buttons: vec![tall],
        ..Element::default()
    };
    let replies = vec![QuickReply::text("Yes", "YES").with_image(URL), QuickReply::email()];
    let survey = FeedbackTemplate {
        title: "Rate".into(),
        subtitle: "Us".into(),
        button_title: "Go".into(),
        feedback_screens: vec![FeedbackScreen {
            questions: vec![FeedbackQuestion {
                id: "q1".into(),
                kind: "csat".into(),
                title: Some("How was it?".into()),
                score_label: Some("neg_pos".into()),
                score_option: Some("five_stars".into()),
                follow_up: Some(FeedbackFollowUp {
                    kind: "free_form".into(),
                    placeholder: Some("More?".into()),
                }),
            }],
        }],
        business_privacy: BusinessPrivacy { url: URL.into() },
        expires_in_days: Some(3),
    };
    for (message, expected) in [
        (
            Message::text("hi").and_then(|hi| hi.with_quick_replies(&replies)),
            json!({"text": "hi", "quick_replies": [
                {"content_type": "text", "title": "Yes", "payload": "YES", "image_url": URL},
                {"content_type": "user_email"}]}),
        ),
        (Message::media(MediaKind::Image, URL), media("image", &json!({"url": URL}))),
        (
            Message::media(MediaKind::Video, Media::url(URL).reusable()),
            media("video", &json!({"url": URL, "is_reusable": true})),
        ),
        (
            Message::media(MediaKind::Audio, Media::saved("9")),
            media("audio", &json!({"attachment_id": "9"})),
        ),
        (
            Message::images(vec![Media::url(URL), Media::saved("9")]),
            json!({"attachments": [{"type": "image", "payload": {"url": URL}},
                {"type": "image", "payload": {"attachment_id": "9"}}]}),
        ),
        (Message::sticker(7), json!({"sticker_id": 7})),
        (Message::heart(), json!({"attachment": {"type": "like_heart"}})),
        (Message::post("17"), media("MEDIA_SHARE", &json!({"id": "17"}))),
        (
            Message::buttons("Choose", &buttons),
            template(&json!({"template_type": "button", "text": "Choose", "buttons": [
                {"type": "web_url", "url": URL, "title": "Shop"}, {"type": "account_unlink"},
                {"type": "game_play", "title": "Play", "game_metadata": {"context_id": "9"}}]})),
        ),
        (
            Message::generic(&[card]),
            template(&json!({"template_type": "generic", "elements": [{"title": "A",
                "default_action": {"type": "web_url", "url": URL},
                "buttons": [{"type": "web_url", "url": URL, "title": "Shop", "webview_height_ratio": "tall"}]}]})),
        ),
        (Message::feedback(&survey), feedback()),
        (
            Message::utility(&UtilityTemplate::new("shipped", "en_US")),
            json!({"template": {"name": "shipped", "language": {"code": "en_US"}}}),
        ),
    ] {
        assert_eq!(serde_json::to_value(message.unwrap()).unwrap(), expected);
    }
}

#[test]
fn options_and_sender_actions_have_the_form_of_a_request() {
    let hi = || Outgoing::from(Message::text("hi").unwrap());
    let react = Action::React { message_id: "m_1".into(), reaction: "😊".into() };
    for (say, expected) in [
        (hi(), json!({"message": {"text": "hi"}})),
        (
            hi().as_persona("5").in_reply_to("m_1").silently(),
            json!({"message": {"text": "hi"}, "persona_id": "5", "reply_to": {"mid": "m_1"},
                "notification_type": "SILENT_PUSH"}),
        ),
        (
            hi().without_notification(),
            json!({"message": {"text": "hi"}, "notification_type": "NO_PUSH"}),
        ),
        (Action::TypingOn.into(), json!({"sender_action": "typing_on"})),
        (
            Outgoing::from(Action::TypingOff).as_persona("5"),
            json!({"sender_action": "typing_off", "persona_id": "5"}),
        ),
        (Action::MarkSeen.into(), json!({"sender_action": "mark_seen"})),
        (
            react.into(),
            json!({"sender_action": "react", "payload": {"message_id": "m_1", "reaction": "😊"}}),
        ),
        (
            Action::Unreact { message_id: "m_1".into() }.into(),
            json!({"sender_action": "unreact", "payload": {"message_id": "m_1"}}),
        ),
    ] {
        assert_eq!(say.check(Platform::Messenger), Ok(()));
        assert_eq!(Outgoing::from_json(&expected).unwrap(), say);
        assert_eq!(say.into_body(), expected);
    }
}

#[test]
fn a_bare_message_and_a_string_are_said_as_they_are() {
    let expected = Outgoing::from(Message::text("hi").unwrap());
    for given in [json!("hi"), json!({"text": "hi"}), json!({"message": "hi"})] {
        assert_eq!(Outgoing::from_json(&given).unwrap(), expected);
    }
}

#[test]
fn a_request_that_meta_refuses_is_named_by_its_path() {
    let message = json!({"text": "hi"});
    for (value, field) in [
        (json!({"text": ""}), "message.text"),
        (json!({"message": message, "sender_action": "typing_on"}), "sender_action"),
        (json!({"sender_action": "wave"}), "sender_action"),
        (json!({"sender_action": "typing_on", "payload": {}}), "payload"),
        (json!({"sender_action": "mark_seen", "persona_id": "5"}), "persona_id"),
        (json!({"sender_action": "react"}), "payload"),
        (json!({"sender_action": "react", "payload": {"message_id": "m"}}), "payload.reaction"),
        (json!({"sender_action": "unreact", "payload": {"message_id": ""}}), "payload.message_id"),
        (json!({"sender_action": "typing_on", "reply_to": {"mid": "m"}}), "reply_to"),
        (json!({"persona_id": "5"}), "message"),
        (json!({"message": message, "persona_id": "five"}), "persona_id"),
        (json!({"message": message, "reply_to": {"mid": 5}}), "reply_to.mid"),
        (json!({"message": message, "reply_to": "m_1"}), "reply_to"),
        (json!({"message": message, "notification_type": "LOUD"}), "notification_type"),
        (json!({"message": message, "payload": {}}), "payload"),
        (json!({"message": message, "tag": "HUMAN_AGENT"}), "tag"),
    ] {
        assert_eq!(Outgoing::from_json(&value).unwrap_err().field, field, "{value}");
    }
}

#[test]
fn instagram_has_no_personas() {
    let say = Outgoing::from(Message::text("hi").unwrap()).as_persona("5");
    assert_eq!(say.check(Platform::Instagram).unwrap_err().field, "persona_id");
    assert_eq!(Outgoing::from(Action::MarkSeen).check(Platform::Instagram), Ok(()));
}

#[test]
fn audio_and_video_count_against_a_rate_of_their_own() {
    let class = |value: Value| Outgoing::from_json(&value).unwrap().rate_class();
    let film = json!({"template_type": "media", "elements": [{"media_type": "video", "attachment_id": "9"}]});
    let picture = json!({"template_type": "media", "elements": [{"media_type": "image", "attachment_id": "9"}]});
    for value in [
        media("audio", &json!({"url": URL})),
        media("video", &json!({"attachment_id": "9"})),
        template(&film),
    ] {
        assert_eq!(class(value), RateClass::Media);
    }
    for value in [
        json!("hi"),
        media("image", &json!({"url": URL})),
        media("file", &json!({"url": URL})),
        template(&picture),
        json!({"sticker_id": 5}),
        json!({"sender_action": "typing_on"}),
    ] {
        assert_eq!(class(value), RateClass::Text);
    }
}
