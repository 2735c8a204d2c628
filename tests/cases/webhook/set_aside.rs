//! Unreadable notifications, and events of other Pages.

use super::*;

#[tokio::test]
async fn what_is_no_notification_is_kept_whole_with_its_reason() {
    let cases: [(&[u8], &str); 14] = [
        (b"this is not JSON", "not_json"),
        (b"", "not_json"),
        (b"{\"object\":\"page\",\"entry\":[", "not_json"),
        (b"{\"object\":\"page\",\"entry\":[]} more", "not_json"),
        (b"\xFF\xFE\x00\x01", "not_json"),
        (b"{\"object\":\"page\",\"entry\":[{\"id\":\"\xC3\x28\"}]}", "not_json"),
        ("\u{FEFF}{}".as_bytes(), "not_json"),
        (b"\x00\x07\x1B", "not_json"),
        (b"{}", "no_notification"),
        (b"[1,2,3]", "no_notification"),
        (b"{\"object\":\"page\",\"entry\":[]}", "no_notification"),
        (b"\"text\"", "no_notification"),
        (b"null", "no_notification"),
        (b"{\"object\":\"page\",\"entry\":{\"id\":\"1\"}}", "no_notification"),
    ];
    for (body, reason) in cases {
        let platform = platform().await;
        let answer = invoke(&platform, signed(&platform, body)).await;
        assert_eq!(answer, (200, RECEIVED.to_owned()), "{body:?}");
        assert_eq!(unreadable_body(&platform, reason), body);
        assert!(events(&platform).is_empty());
    }
}

#[tokio::test]
async fn an_unreadable_body_of_three_megabytes_is_kept_in_parts() {
    let platform = platform().await;
    let body: Vec<_> =
        (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    assert_eq!(receive_patiently(&platform, &body).await, 200);
    assert_eq!(platform.sqs.messages(UNREADABLE).len(), 4);
    assert!(unreadable_body(&platform, "not_json") == body, "other bytes");
}

#[tokio::test]
async fn an_event_of_another_page_is_set_aside_whole() {
    let platform = platform().await;
    let item = message(PSID, "m_1", "hi");
    assert_eq!(receive(&platform, &notification_to(ANOTHER_PAGE, &[&item])).await, 200);
    assert_eq!(reasons(&platform), ["unknown_page"]);
    let kept = event(&platform.sqs.messages(UNREADABLE)[0].body);
    assert_eq!((kept.page_id.as_str(), kept.raw), (ANOTHER_PAGE, item.to_string()));
    assert!(events(&platform).is_empty());
}

#[tokio::test]
async fn an_entry_that_names_no_page_is_set_aside_whole() {
    let platform = platform().await;
    let body =
        json!({"object": "page", "entry": [{"messaging": [message(PSID, "m_1", "hi")]}, "odd"]});
    assert_eq!(receive(&platform, body.to_string().as_bytes()).await, 200);
    let mut kept: Vec<_> =
        platform.sqs.messages(UNREADABLE).iter().map(|view| event(&view.body).raw).collect();
    kept.sort();
    assert_eq!(kept, ["\"odd\"".to_owned(), message(PSID, "m_1", "hi").to_string()]);
    assert_eq!(reasons(&platform), ["unknown_page"; 2]);
}

#[tokio::test]
async fn events_of_our_page_are_queued_despite_another_pages() {
    let platform = platform().await;
    let entry = |page: &str| json!({"id": page, "messaging": [message(PSID, page, page)]});
    let body = json!({"object": "page", "entry": [entry(ANOTHER_PAGE), entry(PAGE)]});
    assert_eq!(receive(&platform, body.to_string().as_bytes()).await, 200);
    assert_eq!(texts(&platform), [PAGE]);
    assert_eq!(reasons(&platform), ["unknown_page"]);
    assert_eq!(counted(&platform, "EventsReceived"), 1);
}

#[tokio::test]
async fn a_page_that_was_added_to_the_secret_a_moment_ago_is_known() {
    for age in [Duration::ZERO, 20 * SECOND, MINUTE] {
        let platform = with_kept_secret().await;
        put_another_page(&platform);
        platform.clock.forward(age);
        let body = notification_to(ANOTHER_PAGE, &[message(PSID, "m_1", "hi")]);
        assert_eq!(receive(&platform, &body).await, 200);
        assert_eq!(texts(&platform), ["hi"], "{age:?}");
        assert!(platform.sqs.is_empty(UNREADABLE));
    }
}

#[tokio::test]
async fn while_the_secret_cannot_be_read_nothing_is_set_aside_and_our_pages_events_are_queued() {
    let platform = with_kept_secret().await;
    put_another_page(&platform);
    platform.secrets_manager.set_down(true);
    let entry = |page: &str| json!({"id": page, "messaging": [message(PSID, page, page)]});
    let body = json!({"object": "page", "entry": [entry(ANOTHER_PAGE), entry(PAGE)]}).to_string();
    for _ in 0..3 {
        platform.clock.forward(20 * SECOND);
        let answer = invoke(&platform, signed(&platform, body.as_bytes())).await;
        assert_eq!(answer, (500, "NOT_QUEUED".to_owned()));
        assert_eq!(texts(&platform), [PAGE]);
        assert!(platform.sqs.is_empty(UNREADABLE));
    }
    platform.secrets_manager.set_down(false);
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    assert_eq!(texts(&platform), [PAGE, ANOTHER_PAGE]);
    assert!(platform.sqs.is_empty(UNREADABLE));
}

#[tokio::test]
async fn a_notification_about_other_pages_causes_one_reread_and_a_forged_one_none() {
    let platform = with_kept_secret().await;
    let entry = |page: &str| json!({"id": page, "messaging": [message(PSID, page, page)]});
    let body = json!({"object": "page", "entry": [entry("1"), entry("2"), entry("3")]}).to_string();
    for calls in 2..5 {
        assert_eq!(receive(&platform, body.as_bytes()).await, 200);
        assert_eq!(platform.secrets_manager.calls(), calls);
    }
    let forged = sign_with("another-secret", body.as_bytes());
    assert_eq!(invoke(&platform, post(body.as_bytes(), Some(&forged))).await.0, 401);
    assert_eq!(platform.secrets_manager.calls(), 4);
}

#[tokio::test]
async fn other_pages_make_no_metrics_of_their_own() {
    let platform = platform().await;
    let entry = |page: usize| json!({"id": format!("{page}"), "messaging": [{"x": page}]});
    let entries: Vec<_> = (70_000..70_030).map(entry).collect();
    let body = json!({"object": "page", "entry": entries}).to_string();
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    let metrics = platform.metrics.lock().unwrap().clone();
    assert_eq!(counted(&platform, "ForeignEvents"), 30);
    // Each names its events, and so not all of them at once.
    assert_eq!(metrics.len(), 2);
    for line in metrics {
        assert_eq!((&line["reason"], line.get("page")), (&"unknown_page".into(), None));
    }
}

fn put_another_page(platform: &Platform) {
    platform.put_secret(|secret| {
        secret["pages"][ANOTHER_PAGE] = json!({"access_token": page_token(ANOTHER_PAGE)});
    });
}
