//! The answer, the recorded request and the notifications of a message that is sent.

use super::*;

fn items(webhooks: &[Vec<u8>]) -> Vec<Value> {
    webhooks
        .iter()
        .map(|body| {
            let notification: Value = serde_json::from_slice(body).expect("a notification");
            notification["entry"][0]["messaging"][0].clone()
        })
        .collect()
}

#[test]
fn success_names_the_person_and_a_new_message_id() {
    let world = World::with_open_windows();
    let reply = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!(reply.json(), json!({"recipient_id": PSID, "message_id": "m_sent000001"}));
    assert_eq!(world.send(PAGE, &text_as("UPDATE", None)).mid(), "m_sent000002");
    assert!(world.send(INSTAGRAM, &text_as("RESPONSE", None)).mid().len() > 128);
}

#[test]
fn every_answer_carries_the_pages_usage() {
    let world = World::with_open_windows();
    let reply = world.send(PAGE, &text_as("RESPONSE", None));
    let usage: Value =
        serde_json::from_str(&reply.headers["x-business-use-case-usage"]).expect("JSON");
    let limits = &usage[PAGE][0];
    assert_eq!(limits["type"], json!("messenger"));
    for number in ["call_count", "total_cputime", "total_time"] {
        assert!(limits[number].is_u64(), "{number}");
    }
    assert_eq!(limits["estimated_time_to_regain_access"], json!(0));
}

#[test]
fn errors_have_exactly_metas_form() {
    let world = World::new();
    let error = world.send(PAGE, &text_as("RESPONSE", None)).json()["error"].clone();
    let fields: Vec<_> = error.as_object().expect("an object").keys().collect();
    assert_eq!(
        fields.into_iter().collect::<std::collections::BTreeSet<_>>(),
        ["message", "type", "code", "error_subcode", "fbtrace_id"]
            .map(str::to_owned)
            .iter()
            .collect()
    );
    assert_eq!(error["type"], json!("OAuthException"));
    assert!(error["message"].is_string() && error["fbtrace_id"].is_string());
}

#[test]
fn an_echo_and_the_receipts_follow_every_message() {
    let world = World::with_open_windows();
    world.set_clock(NOW + 5);
    let message = json!({"text": "hello", "metadata": "entry#1/ä"});
    let mid = world.send(PAGE, &response(&message)).mid();
    let webhooks = world.meta.pending_webhooks();
    assert!(webhooks.iter().all(|body| body.is_ascii()), "escaped like any other");
    assert_eq!(
        items(&webhooks),
        [
            json!({
                "sender": {"id": PAGE},
                "recipient": {"id": PSID},
                "timestamp": NOW + 5,
                "message": {
                    "mid": mid,
                    "is_echo": true,
                    "app_id": 4_004,
                    "metadata": "entry#1/ä",
                    "text": "hello",
                },
            }),
            json!({
                "sender": {"id": PSID},
                "recipient": {"id": PAGE},
                "timestamp": NOW + 5,
                "delivery": {"mids": [mid], "watermark": NOW + 5},
            }),
            json!({
                "sender": {"id": PSID},
                "recipient": {"id": PAGE},
                "timestamp": NOW + 5,
                "read": {"watermark": NOW + 5},
            }),
        ]
    );
    assert!(world.meta.pending_webhooks().is_empty(), "taken once");
}

#[test]
fn instagram_reads_by_mid_and_has_no_delivery() {
    let world = World::with_open_windows();
    let mid = world.send(INSTAGRAM, &text_as("RESPONSE", None)).mid();
    let items = items(&world.meta.pending_webhooks());
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["message"]["mid"], json!(mid));
    assert_eq!(items[1]["read"], json!({"mid": mid}));
}

#[test]
fn echoes_and_receipts_can_be_switched_off() {
    let world = World::with_open_windows();
    world.meta.set_echoes(false);
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    let receipts = items(&world.meta.pending_webhooks());
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|item| item["message"].is_null()));
    world.meta.set_echoes(true);
    world.meta.set_receipts(false);
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    let echoes = items(&world.meta.pending_webhooks());
    assert_eq!(echoes.len(), 1);
    assert_eq!(echoes[0]["message"]["is_echo"], json!(true));
}

#[test]
fn a_refused_message_has_no_echo() {
    let world = World::new();
    world.send(PAGE, &text_as("RESPONSE", None));
    assert!(world.meta.pending_webhooks().is_empty());
}

#[test]
fn an_echo_shows_attachments_of_every_form() {
    let world = World::with_open_windows();
    world.meta.set_receipts(false);
    let image = json!({"type": "image", "payload": {"url": "https://shop.example/a.png"}});
    world.send(PAGE, &response(&json!({"attachment": image}))).mid();
    world.send(PAGE, &response(&json!({"attachments": [image, image]}))).mid();
    world.send(PAGE, &response(&json!({"sticker_id": "5"}))).mid();
    world.send(PAGE, &utility()).mid();
    let attachments: Vec<_> = items(&world.meta.pending_webhooks())
        .iter()
        .map(|item| item["message"]["attachments"].clone())
        .collect();
    assert_eq!(
        attachments,
        [
            json!([image]),
            json!([image, image]),
            json!([{"type": "sticker", "payload": {"sticker_id": "5"}}]),
            json!([{"type": "template", "payload": utility()["message"]["template"]}]),
        ]
    );
}

#[test]
fn requests_are_recorded_with_their_outcome() {
    let world = World::with_open_windows();
    let mut body = text_as("MESSAGE_TAG", Some("HUMAN_AGENT"));
    body["message"]["metadata"] = json!("entry#1");
    world.set_clock(NOW + 7);
    let mid = world.send(PAGE, &body).mid();
    world.send(PAGE, &text_as("REPLY", None));
    let requests = world.meta.requests();
    assert_eq!(
        requests[0],
        GraphRequest {
            at: NOW + 7,
            page_id: PAGE.to_owned(),
            node: Some(PAGE.to_owned()),
            psid: Some(PSID.to_owned()),
            recipient: json!({"id": PSID}),
            messaging_type: Some("MESSAGE_TAG".to_owned()),
            tag: Some("HUMAN_AGENT".to_owned()),
            sender_action: None,
            payload: Value::Null,
            persona_id: None,
            reply_to: None,
            notification_type: None,
            message: json!({"text": "hello", "metadata": "entry#1"}),
            metadata: Some("entry#1".to_owned()),
            outcome: Outcome::Delivered { mid: mid.clone() },
        }
    );
    assert!(matches!(requests[1].outcome, Outcome::Refused { code: 100, subcode: None, .. }));
    assert_eq!(world.meta.delivered(PAGE, PSID), requests[..1]);
    assert!(world.meta.delivered(INSTAGRAM, PSID).is_empty());
    assert_eq!(
        serde_json::to_value(&requests[0]).expect("JSON")["outcome"],
        json!({"kind": "delivered", "mid": mid})
    );
    world.meta.clear_requests();
    assert!(world.meta.requests().is_empty());
}

#[test]
fn a_sender_action_goes_alone() {
    let world = World::with_open_windows();
    let action = |action: &str| json!({"recipient": {"id": PSID}, "sender_action": action});
    for known in ["typing_on", "typing_off", "mark_seen"] {
        let reply = world.send(PAGE, &action(known));
        assert_eq!(reply.json(), json!({"recipient_id": PSID}));
        let request = world.last_request();
        assert_eq!(request.sender_action.as_deref(), Some(known));
        assert_eq!(request.outcome, Outcome::Acted);
    }
    let mut reaction = action("react");
    assert_eq!(world.send(PAGE, &reaction).error(), (100, None));
    reaction["payload"] = json!({"message_id": "m_said000001", "reaction": "love"});
    assert_eq!(world.send(PAGE, &reaction).status, 200);

    let mut with_message = text_as("RESPONSE", None);
    with_message["sender_action"] = json!("typing_on");
    assert_eq!(world.send(PAGE, &with_message).error(), (100, None));
    assert_eq!(world.send(PAGE, &action("dancing")).error(), (100, None));
    let labelled = json!({"recipient": {"id": PSID}, "sender_action": "typing_on", "messaging_type": "RESPONSE"});
    assert_eq!(world.send(PAGE, &labelled).error(), (100, None));
    let unreact = json!({"recipient": {"id": PSID}, "sender_action": "unreact", "payload": {"message_id": "m_said000001"}});
    assert_eq!(world.send(PAGE, &unreact).status, 200);
    assert_eq!(world.last_request().payload, json!({"message_id": "m_said000001"}));
    let stranger = json!({"recipient": {"id": "8"}, "sender_action": "typing_on"});
    assert_eq!(world.send(PAGE, &stranger).error(), (100, Some(2_018_001)));
    assert!(world.meta.delivered(PAGE, PSID).is_empty());
    assert!(world.meta.pending_webhooks().is_empty());
}

#[test]
fn a_sender_action_has_24_hours() {
    let world = World::with_open_windows();
    let typing = json!({"recipient": {"id": PSID}, "sender_action": "typing_on"});
    world.set_clock(NOW + DAY);
    assert_eq!(world.send(PAGE, &typing).status, 200);
    world.set_clock(NOW + DAY + 1);
    assert_eq!(world.send(PAGE, &typing).error(), (10, Some(2_018_278)));
}

#[test]
fn a_persona_speaks_and_types_on_messenger_only() {
    let world = World::with_open_windows();
    world.meta.add_persona(PAGE, "17");
    let typing = json!({"recipient": {"id": PSID}, "sender_action": "typing_on"});
    for mut body in [text_as("RESPONSE", None), typing] {
        body["persona_id"] = json!("17");
        assert_eq!(world.send(PAGE, &body).status, 200);
        assert_eq!(world.last_request().persona_id.as_deref(), Some("17"));
        assert_eq!(world.send(INSTAGRAM, &body).error(), (100, None));
        for unknown in ["seventeen", "18"] {
            body["persona_id"] = json!(unknown);
            assert_eq!(world.send(PAGE, &body).error(), (100, None));
        }
    }
}

#[test]
fn a_user_ref_is_answered_without_a_recipient_id() {
    let world = World::new();
    let mut body = text_as("RESPONSE", None);
    body["recipient"] = json!({"user_ref": "u1"});
    assert_eq!(world.send(PAGE, &body).error(), (100, Some(2_018_001)));
    let tick = json!({"sender": null, "optin": {"ref": "r", "user_ref": "u1"}});
    world.meta.person_does(PAGE, PSID, tick);
    let reply = world.send(PAGE, &body).json();
    assert_eq!(reply, json!({"message_id": "m_sent000001"}));
    let echo = &items(&world.meta.pending_webhooks())[0];
    assert_eq!(echo["recipient"], json!({"user_ref": "u1"}));
    assert_eq!(world.last_request().psid, None);
    world.set_clock(NOW + DAY + 1);
    assert_eq!(world.send(PAGE, &body).error(), (10, Some(2_018_278)));
}

#[test]
fn a_recipient_is_exactly_one_known_kind() {
    let world = World::with_open_windows();
    for recipient in [
        Value::Null,
        json!({}),
        json!({"id": ""}),
        json!({"id": PSID, "user_ref": "u"}),
        json!({"phone_number": "+1"}),
    ] {
        let mut body = text_as("RESPONSE", None);
        body["recipient"] = recipient.clone();
        assert_eq!(world.send(PAGE, &body).error(), (100, None), "{recipient}");
    }
}

#[test]
fn a_comment_or_post_allows_one_private_reply_within_7_days() {
    for kind in ["comment_id", "post_id"] {
        let world = World::new();
        let add = |id: &str, at: i64| match kind {
            "comment_id" => world.meta.add_comment(PAGE, id, PSID, at),
            _ => world.meta.add_visitor_post(PAGE, id, PSID, at),
        };
        add("c1", NOW);
        add("c2", NOW - 1);
        let reply_to = |id: &str| {
            let mut body = text_as("RESPONSE", None);
            body["recipient"] = json!({kind: id});
            world.send(PAGE, &body)
        };
        world.set_clock(NOW + WEEK);
        assert_eq!(reply_to("c2").error(), (10, Some(2_018_278)));
        assert_eq!(reply_to("c1").json()["recipient_id"], json!(PSID));
        assert_eq!(reply_to("c1").error(), (10_900, None));
        assert_eq!(reply_to("unknown").error(), (10_902, None));
        assert_eq!(world.meta.delivered(PAGE, PSID).len(), 1);
        assert_eq!(
            world.send(PAGE, &text_as("RESPONSE", None)).error(),
            (10, Some(2_018_278)),
            "neither the comment nor the reply opens the window"
        );
    }
}

#[test]
fn a_refused_private_reply_can_be_sent_again() {
    let world = World::new();
    world.meta.add_comment(PAGE, "c1", PSID, NOW);
    let mut body = response(&json!({"text": ""}));
    body["recipient"] = json!({"comment_id": "c1"});
    assert_eq!(world.send(PAGE, &body).error(), (100, None));
    body["message"]["text"] = json!("hello");
    world.send(PAGE, &body).mid();
}

#[test]
fn the_other_parameters_are_checked_too() {
    let world = World::with_open_windows();
    for (name, good, bad) in [
        ("notification_type", json!("NO_PUSH"), json!("LOUD")),
        ("reply_to", json!({"mid": "m_said000001"}), json!({})),
    ] {
        let mut body = text_as("RESPONSE", None);
        body[name] = good;
        world.send(PAGE, &body).mid();
        body[name] = bad;
        assert_eq!(world.send(PAGE, &body).error(), (100, None), "{name}");
    }
    let empty = json!({"recipient": {"id": PSID}, "messaging_type": "RESPONSE"});
    assert_eq!(world.send(PAGE, &empty).error(), (100, None));
}

#[test]
fn concurrent_messages_get_different_ids() {
    let world = World::with_open_windows();
    let mids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| world.send(PAGE, &text_as("RESPONSE", None)).mid()))
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender that ends")).collect()
    });
    assert_eq!(mids.len(), 8);
    assert_eq!(world.meta.pending_webhooks().len(), 24);
}
