//! Unusual events: too large, malformed, unknown.

use super::*;

#[tokio::test]
async fn an_event_too_large_for_the_queue_is_queued_as_its_envelope_and_counted() {
    let platform = platform().await;
    let large = message(PSID, "m_large", &"x".repeat(2 * MAX_RECORD_BYTES));
    assert_eq!(receive_patiently(&platform, &notification(&[large])).await, 200);
    let [event] = &events(&platform)[..] else { panic!("one event is expected") };
    assert!(event.truncated);
    assert_eq!(describe(event), "messaging message A");
    let left = json!({
        "sender": {"id": PSID},
        "recipient": {"id": PAGE},
        "timestamp": samples::BEGINNING.millis(),
        "message": {"mid": "m_large"},
    });
    assert_eq!(serde_json::from_str::<Value>(&event.raw).unwrap(), left);
    assert_eq!(event.at, Some(samples::BEGINNING));
    assert_eq!(
        (counted(&platform, "TruncatedEvents"), counted(&platform, "EventsReceived")),
        (1, 1)
    );
}

#[tokio::test]
async fn the_envelope_of_a_large_event_is_known_by_the_events_id() {
    let platform = platform().await;
    let large = message(PSID, "m_1", &"x".repeat(2 * MAX_RECORD_BYTES));
    assert_eq!(
        receive_patiently(&platform, &notification(&[message(PSID, "m_1", "small")])).await,
        200
    );
    let id = events(&platform)[0].id.clone();
    assert_eq!(receive_patiently(&platform, &notification(&[&large])).await, 200);
    assert_eq!(texts(&platform), ["small"]);
    platform.clock.forward(6 * MINUTE);
    assert_eq!(receive_patiently(&platform, &notification(&[&large])).await, 200);
    assert_eq!(events(&platform).iter().map(|event| &event.id).collect::<Vec<_>>(), [&id, &id]);
}

#[tokio::test]
async fn a_large_event_leaves_its_neighbours_whole() {
    let platform = platform().await;
    let items = [
        message(PSID, "m_1", "before"),
        message(PSID, "m_2", &"x".repeat(2 * MAX_RECORD_BYTES)),
        message(PSID, "m_3", "after"),
    ];
    assert_eq!(receive_patiently(&platform, &notification(&items)).await, 200);
    assert_eq!(texts(&platform), ["before", "", "after"]);
    let truncated: Vec<_> = events(&platform).iter().map(|event| event.truncated).collect();
    assert_eq!(truncated, [false, true, false]);
}

#[tokio::test]
async fn an_event_as_large_as_the_queue_takes_is_whole_and_one_byte_more_is_not() {
    let platform = platform().await;
    let post_of = async |mid: &str, length: usize| {
        let item = message(PSID, mid, &"x".repeat(length));
        assert_eq!(receive_patiently(&platform, &notification(&[item])).await, 200);
        let last = platform.sqs.messages(EVENTS).pop().unwrap().body;
        (last.len(), event(&last).truncated)
    };
    let (of_nothing, _) = post_of("m_0", 0).await;
    let room = MAX_RECORD_BYTES - of_nothing;
    assert_eq!(post_of("m_1", room).await, (MAX_RECORD_BYTES, false));
    let (bytes, truncated) = post_of("m_2", room + 1).await;
    assert!(truncated && bytes < 1000);
}

#[tokio::test]
async fn lone_surrogates_lose_no_event() {
    let platform = platform().await;
    let item = |mid: &str, text: &str| message(PSID, mid, "?").to_string().replace('?', text);
    let items = [
        item("m_1", "cut \\ud83d"),
        item("m_2", "\\ude00 end"),
        item("m_3", "\\ud83d\\ude00 whole"),
        item("m_4", "plain"),
    ];
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    assert_eq!(texts(&platform), ["cut \u{FFFD}", "\u{FFFD} end", "\u{1F600} whole", "plain"]);
}

#[tokio::test]
async fn numbers_where_strings_are_expected_lose_no_event() {
    let platform = platform().await;
    let body = format!(
        r#"{{"object":"page","entry":[{{"id":{PAGE},"time":"1795338000","messaging":[
            {{"sender":{{"id":{PSID}}},"recipient":{{"id":{PAGE}}},"timestamp":"1795337990000",
              "message":{{"mid":17,"text":42}}}},
            {{"sender":{{"id":{PSID}}},"recipient":{{"id":{PAGE}}},"timestamp":1795337990.5,
              "message":{{"mid":18,"text":true}}}}]}}]}}"#
    );
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    assert_eq!(texts(&platform), ["42", "true"]);
    assert_eq!(by_group(&platform).len(), 1);
    let answer: Vec<_> = events(&platform).iter().map(describe).collect();
    assert_eq!(answer, ["messaging message A 42", "messaging message A true"]);
}

#[tokio::test]
async fn deep_nesting_loses_no_event() {
    let platform = platform().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let in_message = message(PSID, "m_1", "?").to_string().replace("\"?\"", &deep);
    let beside_it =
        message(PSID, "m_2", "beside").to_string().replacen('{', &format!("{{\"deep\":{deep},"), 1);
    let items = [in_message, beside_it, message(PSID, "m_3", "plain").to_string(), deep];
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    let mut kept = raws(&platform);
    kept.sort();
    let mut sent = items.to_vec();
    sent.sort();
    assert_eq!(kept, sent);
    let of_person: Vec<_> = events(&platform)
        .into_iter()
        .filter(|event| event.person == PSID.parse().ok())
        .map(|event| text_of(&event))
        .collect();
    assert_eq!(of_person, ["", "beside", "plain"]);
}

#[tokio::test]
async fn items_that_are_no_objects_lose_no_event() {
    let platform = platform().await;
    let items = ["null", "5", "\"text\"", "[1,2]", "{}"];
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    assert_eq!(raws(&platform), items);
}

#[tokio::test]
async fn characters_that_the_queue_refuses_lose_no_event() {
    let platform = platform().await;
    let text = "a\u{FFFE}b\u{FFFF}c\u{7F}\u{1}\u{0}";
    assert_eq!(receive(&platform, &notification(&[message(PSID, "m_1", text)])).await, 200);
    assert_eq!(texts(&platform), [text]);
}

#[tokio::test]
async fn unknown_containers_and_kinds_are_kept_as_events_and_counted() {
    let platform = platform().await;
    let unknown =
        json!({"sender": {"id": PSID}, "recipient": {"id": PAGE}, "brand_new": {"a": [1]}});
    let entry = json!({"id": PAGE, "messaging": [unknown], "hovercraft": [{"eels": true}]});
    let body = json!({"object": "page", "entry": [entry]}).to_string();
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    let mut answer: Vec<_> = events(&platform)
        .iter()
        .map(|event| format!("{}: {}", describe(event), event.raw))
        .collect();
    answer.sort();
    assert_eq!(
        answer,
        [
            "hovercraft unknown - hovercraft: {\"eels\":true}".to_owned(),
            format!("messaging unknown A brand_new: {unknown}"),
        ]
    );
    assert_eq!(counted(&platform, "UnknownEvents"), 2);
}

#[tokio::test]
async fn an_entry_without_a_container_is_kept_as_a_whole() {
    let platform = platform().await;
    let entry = json!({"id": PAGE, "time": 1_795_338_000, "something": {"new": true}});
    let body = json!({"object": "page", "entry": [entry]}).to_string();
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    assert_eq!(raws(&platform), [entry.to_string()]);
}
