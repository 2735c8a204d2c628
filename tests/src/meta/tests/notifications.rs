//! People's actions: the notifications' bytes, the signature, and Meta's own record.

use super::*;

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("a JSON notification")
}

fn observe_item(world: &World, item: &Value) {
    let notification = json!({
        "object": "page",
        "entry": [{"id": PAGE, "time": NOW, "messaging": [item]}],
    });
    world.meta.observe(notification.to_string().as_bytes());
}

#[test]
fn a_notification_is_ascii_with_escaped_slashes_and_surrogate_pairs() {
    let world = World::new();
    let body = world.meta.person_says(PAGE, PSID, "ä 😀 a/b \" \u{1}");
    let text = String::from_utf8(body.clone()).expect("ASCII");
    assert!(text.contains(r#""text":"\u00e4 \ud83d\ude00 a\/b \" \u0001""#), "{text}");
    assert!(text.is_ascii());
    assert_eq!(
        parsed(&body)["entry"][0]["messaging"][0]["message"]["text"],
        json!("ä 😀 a/b \" \u{1}")
    );
}

#[test]
fn a_notification_has_metas_envelope() {
    let world = World::new();
    let said = parsed(&world.meta.person_says(PAGE, PSID, "hi"));
    let item = json!({
        "sender": {"id": PSID},
        "recipient": {"id": PAGE},
        "timestamp": NOW,
        "message": {"mid": "m_said000001", "text": "hi"},
    });
    assert_eq!(
        said,
        json!({"object": "page", "entry": [{"id": PAGE, "time": NOW, "messaging": [item]}]})
    );

    let tapped = parsed(&world.meta.person_taps(PAGE, PSID, "GS", "Start"));
    assert_eq!(
        tapped["entry"][0]["messaging"][0]["postback"],
        json!({"mid": "m_said000002", "title": "Start", "payload": "GS"})
    );

    let instagram = parsed(&world.meta.person_says(INSTAGRAM, PSID, "hi"));
    assert_eq!(instagram["object"], json!("instagram"));
    let mid = &instagram["entry"][0]["messaging"][0]["message"]["mid"];
    assert!(mid.as_str().is_some_and(|mid| mid.len() > 128), "{mid}");
}

#[test]
fn any_item_can_be_caused_and_null_leaves_a_field_out() {
    let world = World::new();
    let body = world.meta.person_does(
        PAGE,
        PSID,
        json!({"timestamp": null, "delivery": {"watermark": 5}}),
    );
    assert_eq!(
        parsed(&body)["entry"][0]["messaging"][0],
        json!({"sender": {"id": PSID}, "recipient": {"id": PAGE}, "delivery": {"watermark": 5}})
    );
    let message = json!({"mid": "m_own", "attachments": []});
    let body = world.meta.person_sends(PAGE, PSID, message.clone());
    assert_eq!(parsed(&body)["entry"][0]["messaging"][0]["message"], message);
}

#[test]
fn the_signature_is_over_the_raw_bytes_and_follows_the_secret() {
    let world = World::new();
    let body = br#"{"a":"\u00e4\/"}"#;
    assert_eq!(
        world.meta.sign(body),
        "sha256=4e74219d7990eedfb34e813ebf7ef6c7c2db445909eadac7661cb655077016fc"
    );
    world.meta.set_app_secret("app-secret-2");
    assert_eq!(
        world.meta.sign(body),
        "sha256=ec0dcf383cef8a29fce4ec2f8c1f300ac2e5b32bd6f2e5c39f79ef9b98a34b73"
    );
}

#[test]
fn only_the_actions_of_metas_table_open_the_window() {
    let opening = [
        json!({"message": {"mid": "m", "text": "hi"}}),
        json!({"message": {"mid": "m", "text": "Red", "quick_reply": {"payload": "P"}}}),
        json!({"message": {"mid": "m", "text": "hi", "referral": {"source": "ADS", "type": "OPEN_THREAD"}}}),
        json!({"postback": {"mid": "m", "title": "Start", "payload": "GS"}}),
        json!({"referral": {"ref": "r", "source": "SHORTLINK", "type": "OPEN_THREAD"}}),
        json!({"referral": {"ref": "r", "source": "SHORTLINKS", "type": "OPEN_THREAD"}}),
        json!({"referral": {"ref": "r", "source": "IGME-SOURCE-LINK", "type": "OPEN_THREAD"}}),
        json!({"referral": {"ref": "r", "source": "igme-source-link", "type": "OPEN_THREAD"}}),
        json!({"referral": {"source": "ADS", "type": "LEAD_COMPLETE"}}),
        json!({"referral": {"source": "ADS", "type": "LEAD_INCOMPLETE"}}),
        json!({"optin": {"ref": "send-to-messenger"}}),
        json!({"reaction": {"reaction": "love", "action": "react", "mid": "m"}}),
    ];
    for item in opening {
        let world = World::new();
        world.meta.person_does(PAGE, PSID, item.clone());
        assert_eq!(world.meta.last_opening(PAGE, PSID), Some(NOW), "{item}");
    }
    let silent = [
        json!({"message": {"mid": "m", "is_echo": true, "text": "hi"}}),
        json!({"message": {"mid": "m", "is_deleted": true}}),
        json!({"message": {"mid": "m", "is_deleted": "true"}}),
        json!({"message": {"mid": "m", "is_unsupported": true}}),
        json!({"message": {"mid": "m", "text": "hi", "is_self": true}}),
        json!({"message_edit": {"mid": "m", "text": "new", "num_edit": 1}}),
        json!({"referral": {"ref": "r", "source": "ADS", "type": "OPEN_THREAD"}}),
        json!({"reaction": {"reaction": "love", "action": "unreact", "mid": "m"}}),
        json!({"optin": {"type": "notification_messages", "payload": "p"}}),
        json!({"delivery": {"mids": ["m"], "watermark": 1}}),
        json!({"read": {"watermark": 1}}),
        json!({"pass_thread_control": {"new_owner_app_id": "2"}}),
        json!({"account_linking": {"status": "linked"}}),
        json!({"policy_enforcement": {"action": "block"}}),
        json!({"messaging_feedback": {"feedback_screens": []}}),
        json!({"response_feedback": {"feedback": "Good response", "mid": "m"}}),
        json!({"something_new": {}}),
    ];
    for item in silent {
        let world = World::new();
        world.meta.person_does(PAGE, PSID, item.clone());
        assert_eq!(world.meta.last_opening(PAGE, PSID), None, "{item}");
        assert_eq!(
            world.send(PAGE, &text_as("RESPONSE", None)).error(),
            (10, Some(2_018_278)),
            "known, but outside: {item}"
        );
    }
}

#[test]
fn every_form_of_timestamp_is_understood() {
    let at = NOW - 5 * SECOND;
    for timestamp in
        [json!(at), json!(at / 1_000), json!(at.to_string()), json!((at / 1_000).to_string())]
    {
        let world = World::new();
        let message = json!({"mid": "m", "text": "hi"});
        observe_item(
            &world,
            &json!({"sender": {"id": PSID}, "timestamp": timestamp, "message": message}),
        );
        assert_eq!(world.meta.last_opening(PAGE, PSID), Some(at), "{timestamp}");
    }
    let world = World::new();
    let item = json!({"sender": {"id": PSID}, "message": {"mid": "m"}});
    let entry = json!({"id": PAGE, "time": at, "messaging": [item]});
    let notification = json!({"object": "page", "entry": [entry]});
    world.meta.observe(notification.to_string().as_bytes());
    assert_eq!(world.meta.last_opening(PAGE, PSID), Some(at), "the entry's time");
}

#[test]
fn the_record_never_goes_back_and_never_runs_ahead() {
    let world = World::new();
    let said_at = |at: i64| json!({"timestamp": at, "message": {"mid": "m", "text": "hi"}});
    world.meta.person_does(PAGE, PSID, said_at(NOW - 5));
    world.meta.person_does(PAGE, PSID, said_at(NOW - 9));
    assert_eq!(world.meta.last_opening(PAGE, PSID), Some(NOW - 5));
    world.meta.person_does(PAGE, PSID, said_at(NOW + DAY));
    assert_eq!(world.meta.last_opening(PAGE, PSID), Some(NOW));
}

#[test]
fn every_entry_and_item_counts_for_its_own_page() {
    let world = World::new();
    let said = |psid: &str, at: i64| json!({"sender": {"id": psid}, "timestamp": at, "message": {"mid": "m"}});
    let notification = json!({"object": "page", "entry": [
        {"id": PAGE, "messaging": [said("a", NOW - 1), said("b", NOW - 2)]},
        {"id": "9", "standby": [said("a", NOW - 3)]},
        {"id": PAGE, "calls": [{"from": "c", "to": PAGE, "timestamp": NOW / 1_000}]},
        {"unknown": true},
        7,
    ]});
    world.meta.observe(notification.to_string().as_bytes());
    assert_eq!(world.meta.last_opening(PAGE, "a"), Some(NOW - 1));
    assert_eq!(world.meta.last_opening(PAGE, "b"), Some(NOW - 2));
    assert_eq!(world.meta.last_opening("9", "a"), Some(NOW - 3));
    assert_eq!(world.meta.last_opening(PAGE, "c"), None, "a call opens nothing");
    world.meta.observe(b"not JSON");
    world.meta.observe(br#"{"object":"user","entry":[]}"#);
}

#[test]
fn an_echo_makes_the_person_known_but_opens_nothing() {
    let world = World::new();
    let item = json!({
        "sender": {"id": PAGE},
        "recipient": {"id": PSID},
        "timestamp": NOW,
        "message": {"mid": "m", "is_echo": true, "app_id": 26_390_203_743_090_i64, "text": "hi"},
    });
    observe_item(&world, &item);
    assert_eq!(world.send(PAGE, &text_as("RESPONSE", None)).error(), (10, Some(2_018_278)));
    assert_eq!(world.meta.last_opening(PAGE, PAGE), None);
}
