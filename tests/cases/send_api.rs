//! Every form of the Send API, from a request or the bot to Meta.

use messenger::clock::Clock;
use messenger::decision::Decision;
use messenger::message::{Action, Message, Outgoing};
use serde_json::{Value, json};
use simulator::meta::{Fault, GraphRequest, Outcome};
use simulator::platform::{Platform, Replies};

use crate::crash::{say, survive};
use crate::support::*;

const URL: &str = "https://example.com/a";

const TYPING_THEN_TEXT: Replies =
    |_, _, _| Ok(Decision::nothing().say(Action::TypingOn).say(Message::text("hello")?));

async fn heard_from() -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing());
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(3 * MINUTE).await;
    platform.meta.add_attachment(PAGE, "9", "image");
    platform.meta.add_attachment(PAGE, "8", "audio");
    platform.meta.add_persona(PAGE, "27");
    platform
}

fn request(change: Value) -> Value {
    let mut request =
        json!({"page_id": PAGE, "psid": PSID, "purpose": "human", "author": "front-desk"});
    let Value::Object(mut change) = change else { panic!("a request is an object") };
    request.as_object_mut().unwrap().append(&mut change);
    request
}

/// Stores a request and lets the schedule send it: what reached Meta.
async fn sent(platform: &Platform, change: Value) -> Vec<GraphRequest> {
    platform.meta.clear_requests();
    let request = request(change);
    platform.invoke_follow_ups(request.clone()).await.unwrap_or_else(|e| panic!("{e}: {request}"));
    platform.tick().await.unwrap();
    requested(platform, PSID)
}

/// What reached Meta, in words: an action's name, or a message's label and text.
fn said(requests: &[GraphRequest]) -> Vec<String> {
    let word = |request: &GraphRequest| match &request.sender_action {
        Some(action) => action.clone(),
        None => format!(
            "{} {}",
            request.tag.as_deref().or(request.messaging_type.as_deref()).unwrap_or_default(),
            request.message["text"].as_str().unwrap_or("…")
        ),
    };
    requests.iter().map(word).collect()
}

#[tokio::test]
async fn every_message_reaches_meta_as_it_was_asked_for() {
    let platform = heard_from().await;
    let template = |payload: Value| json!({"attachment": {"type": "template", "payload": payload}});
    for message in [
        json!({"text": "hi"}),
        json!({"text": "Which?", "quick_replies": [
            {"content_type": "text", "title": "Red", "payload": "RED", "image_url": URL},
            {"content_type": "user_phone_number"}, {"content_type": "user_email"}]}),
        json!({"attachment": {"type": "image", "payload": {"url": URL, "is_reusable": true}}}),
        json!({"attachment": {"type": "audio", "payload": {"attachment_id": "8"}}}),
        json!({"attachment": {"type": "video", "payload": {"url": URL}}}),
        json!({"attachment": {"type": "file", "payload": {"url": URL}}}),
        json!({"attachments": [{"type": "image", "payload": {"url": URL}},
            {"type": "image", "payload": {"attachment_id": "9"}}]}),
        json!({"sticker_id": 369_239_263_222_822_u64}),
        template(json!({"template_type": "button", "text": "t", "buttons": [
            {"type": "web_url", "url": URL, "title": "Shop", "webview_height_ratio": "tall"},
            {"type": "phone_number", "title": "Call", "payload": "+4930"},
            {"type": "account_link", "url": URL}]})),
        template(json!({"template_type": "button", "text": "t", "buttons": [
            {"type": "account_unlink"}, {"type": "postback", "title": "Go", "payload": "GO"},
            {"type": "game_play", "title": "Play", "game_metadata": {"context_id": "9"}}]})),
        template(json!({"template_type": "generic", "sharable": true, "elements": [
            {"title": "A", "default_action": {"type": "web_url", "url": URL}}]})),
        template(json!({"template_type": "product", "elements": [{"id": "5"}]})),
        template(json!({"template_type": "media", "elements": [
            {"media_type": "image", "url": "https://www.facebook.com/photo.php?fbid=9"}]})),
        template(json!({"template_type": "coupon", "title": "t", "coupon_code": "TEN"})),
        template(json!({"template_type": "customer_information", "countries": ["DE"],
            "business_privacy": {"url": URL}})),
        template(json!({"template_type": "customer_information",
            "business_privacy": {"url": URL}})),
        template(json!({"template_type": "instant_form", "form_id": "7"})),
        template(json!({"template_type": "image_grid", "elements": [{"title": "Rooms",
            "images": [{"url": URL, "is_hero_image": true},
                {"url": URL, "action": {"type": "postback", "payload": "ROOM"}}],
            "buttons": [{"type": "web_url", "url": URL, "title": "All"}]}]})),
        template(json!({"template_type": "button", "text": "t", "buttons": [
            {"type": "audio_call", "title": "Call us", "expires_in_days": 3}]})),
        json!({"attachments": vec![json!({"type": "image", "payload": {"url": URL}}); 30]}),
        json!({"attachments": [{"type": "image", "payload": {"url": URL}}]}),
        json!({"text": "é".repeat(2000)}),
    ] {
        let requests = sent(&platform, json!({"message": message})).await;
        let [request] = requests.as_slice() else {
            panic!("{} requests: {message}", requests.len())
        };
        let mut arrived = request.message.clone();
        arrived.as_object_mut().unwrap().remove("metadata");
        assert_eq!(arrived, message);
        assert!(matches!(request.outcome, Outcome::Delivered { .. }), "{:?}", request.outcome);
        platform.clock.forward(SECOND);
    }
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn what_is_not_known_reaches_meta_as_it_is_and_is_counted() {
    let platform = heard_from().await;
    let template = |payload: Value| json!({"attachment": {"type": "template", "payload": payload}});
    let sent_as_it_is = "is not known here; it is sent as it is";
    for (message, place, is_taken) in [
        (
            template(json!({"template_type": "carousel_3d", "faces": [1, 2]})),
            "message.attachment.payload.template_type: \"carousel_3d\" ",
            false,
        ),
        (
            template(json!({"template_type": "button", "text": "t", "buttons": [
                {"type": "teleport", "title": "Go"}]})),
            "message.attachment.payload.buttons[0].type: \"teleport\" ",
            false,
        ),
        (json!({"text": "hi", "mood": {"happy": true}}), "message.mood: ", true),
    ] {
        let stored =
            platform.invoke_follow_ups(request(json!({"message": message}))).await.unwrap();
        assert_eq!(stored["warnings"], json!([format!("{place}{sent_as_it_is}")]));
        platform.meta.clear_requests();
        platform.tick().await.unwrap();
        let requests = requested(&platform, PSID);
        let mut arrived = requests[0].message.clone();
        arrived.as_object_mut().unwrap().remove("metadata");
        assert_eq!(arrived, message);
        assert_eq!(matches!(requests[0].outcome, Outcome::Delivered { .. }), is_taken);
        platform.clock.forward(SECOND);
    }
    assert_eq!(counted(&platform, "UnknownContents"), 3);
    assert_eq!(ends(&platform, PSID).await, ["failed invalid", "failed invalid", "sent"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn the_bot_may_say_what_is_not_known() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let message = Message::from_json(&json!({"text": "hi", "mood": 1}))?;
            Ok(Decision::nothing().say(message))
        };
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    assert_eq!(requested(&platform, PSID)[0].message["mood"], 1);
    assert_eq!(counted(&platform, "UnknownContents"), 1);
}

#[tokio::test]
async fn a_persona_that_does_not_exist_fails_the_message() {
    let platform = heard_from().await;
    let requests = sent(&platform, json!({"message": "hi", "persona_id": "28"})).await;
    assert!(matches!(requests[0].outcome, Outcome::Refused { code: 100, .. }));
    assert_eq!(ends(&platform, PSID).await, ["failed invalid"]);
}

#[tokio::test]
async fn the_options_of_a_message_stand_beside_it() {
    let platform = heard_from().await;
    let options = json!({"message": "hi", "persona_id": "27", "reply_to": {"mid": "m_said000001"},
        "notification_type": "NO_PUSH"});
    for wanted in [options.clone(), json!({"messages": [options]})] {
        let requests = sent(&platform, wanted).await;
        assert_eq!(requests[0].persona_id.as_deref(), Some("27"));
        assert_eq!(requests[0].reply_to.as_deref(), Some("m_said000001"));
        assert_eq!(requests[0].notification_type.as_deref(), Some("NO_PUSH"));
        assert!(matches!(requests[0].outcome, Outcome::Delivered { .. }));
        platform.clock.forward(SECOND);
    }
}

#[tokio::test]
async fn sender_actions_reach_meta_without_a_label() {
    let platform = heard_from().await;
    let react = json!({"message_id": "m_said000001", "reaction": "😊"});
    for (action, payload) in [
        ("typing_on", Value::Null),
        ("typing_off", Value::Null),
        ("mark_seen", Value::Null),
        ("react", react),
        ("unreact", json!({"message_id": "m_said000001"})),
    ] {
        let mut wanted = json!({"sender_action": action});
        if !payload.is_null() {
            wanted["payload"] = payload.clone();
        }
        let requests = sent(&platform, wanted).await;
        assert_eq!(said(&requests), [action]);
        assert_eq!(
            (&requests[0].outcome, &requests[0].payload, &requests[0].message),
            (&Outcome::Acted, &payload, &Value::Null)
        );
        platform.clock.forward(SECOND);
    }
    assert!(ends(&platform, PSID).await.iter().all(|end| end == "sent"));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn the_bot_types_reacts_and_answers_under_a_persona() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let love = Action::React { message_id: "m_said000001".into(), reaction: "❤".into() };
            let hello = Outgoing::from(Message::text("hello")?)
                .as_persona("27")
                .in_reply_to("m_said000001");
            Ok(Decision::nothing().say(love).say(Action::TypingOn).say(hello.silently()))
        };
    })
    .await;
    platform.meta.add_persona(PAGE, "27");
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let requests = requested(&platform, PSID);
    assert_eq!(said(&requests), ["react", "typing_on", "RESPONSE hello"]);
    assert_eq!(requests[2].persona_id.as_deref(), Some("27"));
    assert_eq!(requests[2].notification_type.as_deref(), Some("SILENT_PUSH"));
    assert_eq!(counted(&platform, "MessagesSent"), 1);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_refused_or_unclear_action_is_passed_over_and_the_message_goes() {
    let refused = Fault::Error { http: 400, code: 100, subcode: None };
    for fault in [refused, Fault::LostAnswer, Fault::LostRequest, Fault::Http5xx] {
        let platform = platform_with(|options| options.replies = TYPING_THEN_TEXT).await;
        platform.meta.fail_next(fault.clone());
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.advance(10 * MINUTE).await;
        assert_eq!(said(&requested(&platform, PSID)), ["typing_on", "RESPONSE hello"], "{fault:?}");
        let entry = entries(&platform, PSID).await.remove(0);
        assert_eq!(entry["steps"][0]["state"], "passed_over");
        assert_eq!(entry["status"], "sent");
        assert_eq!(counted(&platform, "ActionsPassedOver"), 1);
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn a_throttled_action_pauses_the_page_and_the_message_waits() {
    let platform = platform_with(|options| options.replies = TYPING_THEN_TEXT).await;
    platform.meta.fail_next(Fault::Throttled { regain_minutes: 7 });
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    assert_eq!(said(&requested(&platform, PSID)), ["typing_on"]);
    platform.advance(6 * MINUTE).await;
    assert_eq!(said(&requested(&platform, PSID)), ["typing_on"]);
    platform.advance(2 * MINUTE).await;
    assert_eq!(said(&requested(&platform, PSID)), ["typing_on", "RESPONSE hello"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_action_has_no_tag_so_it_goes_in_the_standard_window_only() {
    let platform = heard_from().await;
    platform.advance(2 * DAY).await;
    let both = json!({"messages": [{"sender_action": "typing_on"}, "hello"]});
    assert_eq!(said(&sent(&platform, both.clone()).await), ["HUMAN_AGENT hello"]);
    let mut update = both;
    update["purpose"] = "update".into();
    platform.clock.forward(SECOND);
    assert!(sent(&platform, update).await.is_empty());
    assert_eq!(ends(&platform, PSID).await, ["sent", "refused window_closed"]);
    assert_eq!(counted(&platform, "ActionsPassedOver"), 1);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_death_around_an_action_loses_and_doubles_no_message() {
    survive(
        TYPING_THEN_TEXT,
        async |_| {},
        async |platform| say(platform, "hello").await,
        async |platform, when| {
            assert_eq!(delivered(platform, PSID), ["RESPONSE hello"], "{when}");
            let actions = requested(platform, PSID).len() - 1;
            assert!(actions <= 1, "{when}: {actions} typing indicators");
        },
    )
    .await;
}

#[tokio::test]
async fn a_bad_form_names_its_field_and_stores_nothing() {
    let platform = heard_from().await;
    for (change, start) in [
        (json!({"message": {"text": "hi", "metadata": "mine"}}), "message.metadata: "),
        (
            json!({"message": {"attachment": {"type": "image", "payload": {}}}}),
            "message.attachment.payload.url: ",
        ),
        (json!({"message": "hi", "sender_action": "typing_on"}), "sender_action: "),
        (json!({"message": "hi", "persona_id": "me"}), "persona_id: "),
        (json!({"message": "hi", "reply_to": {}}), "reply_to.mid: "),
        (json!({"message": "hi", "notification_type": "LOUD"}), "notification_type: "),
        (json!({"sender_action": "dance"}), "sender_action: "),
        (json!({"messages": ["hi", {"text": ""}]}), "messages[1].message.text: "),
        (json!({"messages": ["hi"], "persona_id": "5"}), "messages: "),
        (json!({"persona_id": "5"}), "message: "),
    ] {
        let error = platform.invoke_follow_ups(request(change)).await.unwrap_err();
        assert!(error.starts_with(&format!("bad request: {start}")), "{error}");
    }
    assert!(entries(&platform, PSID).await.is_empty());
}

#[tokio::test]
async fn sound_and_film_leave_at_a_rate_of_their_own() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing());
        options.variables.insert("SEND_RATE_PER_SECOND".to_owned(), "100".to_owned());
        options.variables.insert("MEDIA_RATE_PER_SECOND".to_owned(), "2".to_owned());
    })
    .await;
    for person in 0..5 {
        let psid = format!("70000000000002{person:02}");
        platform.deliver(&platform.meta.person_says(PAGE, &psid, "hi")).await;
        let film = json!({"attachment": {"type": "video", "payload": {"url": URL}}});
        let wanted = json!({"psid": psid, "messages": [film, "hello"]});
        platform.invoke_follow_ups(request(wanted)).await.unwrap();
    }
    platform.clock.forward(3 * MINUTE);
    let start = platform.clock.now();
    platform.tick().await.unwrap();
    assert_eq!(platform.meta.requests().len(), 10);
    let took = platform.clock.now().since(start);
    assert!(took >= 4 * SECOND / 2, "five films at 2 a second took {took:?}");
    assert!(took <= 3 * SECOND, "and the texts did not wait for them: {took:?}");
}
