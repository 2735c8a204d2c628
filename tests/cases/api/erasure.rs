//! Erasure, and Meta's data deletion callback.

use super::*;

#[tokio::test]
async fn an_erased_person_does_not_come_back_with_what_was_queued() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
    let later = (platform.clock.now() + HOUR).millis();
    assert_eq!(post(&platform, None, &message(json!({"send_at": later}))).await.status, 202);
    let queued = platform.meta.person_says(PAGE, PSID, "queued before");
    assert_eq!(platform.post(&queued).await, 200);
    assert!(!platform.sqs.is_empty(EVENTS));
    let requests = requested(&platform, PSID).len();

    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    platform.settle().await;
    platform.advance(2 * HOUR).await;
    assert_eq!(requested(&platform, PSID).len(), requests, "nothing more was sent");
    assert!(entries(&platform, PSID).await.is_empty());
    assert_only_the_mark(&platform).await;
    let mark = conversation(&platform, PSID).await;
    let kept = mark["expires_at"].as_i64().unwrap() - mark["erased_at"].as_i64().unwrap() / 1000;
    let queued = 3 * simulator::platform::QUEUE_RETENTION.as_secs();
    assert!(kept > i64::try_from(queued).unwrap(), "two queues and a redrive: {kept} s");
    assert_eq!(ask(&platform, "GET", &person()).await.status, 404);

    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello again")).await;
    assert_eq!(requested(&platform, PSID).len(), requests + 1, "a new beginning");
    assert!(!conversation(&platform, PSID).await.contains_key("expires_at"));
    assert_eq!(ask(&platform, "GET", &person()).await.status, 200);
}

/// What a mark may hold: nothing about the person, and what keeps two senders apart.
const OF_A_MARK: [&str; 5] = ["pk", "sk", "erased_at", "expires_at", "waiting"];

/// Asserts that the table holds nothing of the person but the mark of the erasure, and until its second
/// pass the job that names them.
pub(super) async fn assert_only_the_mark(platform: &Platform) {
    let now = platform.clock.now().millis();
    let mut left = left_of(platform, PSID).await;
    left.retain(|item| item["sk"] != "erasure" || item["due_at"].as_i64().unwrap() <= now);
    let [mark] = &left[..] else { panic!("not only the mark is left: {left:?}") };
    let is_lease = |name: &str| name.starts_with("busy_") || name.starts_with("lease_");
    let is_of_a_mark = |name: &String| OF_A_MARK.contains(&name.as_str()) || is_lease(name);
    assert!(mark.contains_key("erased_at") && mark.keys().all(is_of_a_mark), "{mark:?}");
    assert!(mark.get("waiting").is_none_or(|waiting| *waiting == json!({})), "{mark:?}");
}

/// What the table holds of a person.
async fn left_of(platform: &Platform, psid: &str) -> Vec<serde_json::Map<String, Value>> {
    let items = platform.items().await.unwrap().into_iter();
    items.filter(|item| json!(item).to_string().contains(psid)).collect()
}

#[tokio::test]
async fn an_erasure_does_not_wait_for_a_sender() {
    let platform = heard_from().await;
    let later = (platform.clock.now() + HOUR).millis();
    assert_eq!(post(&platform, None, &message(json!({"send_at": later}))).await.status, 202);
    let conversation_key =
        backend::store::ConversationKey { page_id: PAGE.to_owned(), person: PSID.parse().unwrap() };
    let now = platform.clock.now();
    let lease = backend::store::Lease { by: "dead".into(), until: now + HOUR, for_entry: None };
    let seen = platform.store().conversation(&conversation_key).await.unwrap().unwrap();
    let taken = platform.store().take_lease(&conversation_key, &seen, &lease, None).await;
    assert!(taken.unwrap().is_some());
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    assert_eq!(platform.clock.now(), now);
    platform.advance(2 * HOUR).await;
    assert_only_the_mark(&platform).await;
    assert!(requested(&platform, PSID).is_empty());
}

#[tokio::test]
async fn an_erased_person_does_not_come_back_with_meta_s_retry() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
    let retried = platform.meta.person_says(PAGE, PSID, "written before");
    platform.clock.forward(MINUTE);
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    let requests = requested(&platform, PSID).len();
    for _ in 0..5 {
        platform.advance(10 * MINUTE).await;
        platform.deliver(&retried).await;
        assert_only_the_mark(&platform).await;
    }
    assert_eq!(requested(&platform, PSID).len(), requests);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello again")).await;
    platform.deliver(&retried).await;
    assert_eq!(requested(&platform, PSID).len(), requests + 1, "only the new message is answered");
}

#[tokio::test]
async fn what_begins_right_after_the_erasure_survives_its_second_pass() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
    platform.clock.forward(MINUTE);
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    platform.clock.forward(SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello again")).await;
    let (before, entries_before) =
        (conversation(&platform, PSID).await, entries(&platform, PSID).await);
    assert!(!entries_before.is_empty());
    platform.advance(10 * MINUTE).await;
    assert_eq!(entries(&platform, PSID).await, entries_before);
    let after = conversation(&platform, PSID).await;
    assert_eq!(after["last_message_at"], before["last_message_at"]);
    assert_eq!(platform.next_due().await, None, "the erasure is done");
}

#[tokio::test]
async fn every_entry_expires_even_if_nobody_is_left_to_end_it() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_taps(PAGE, PSID, "BOOK", "Book")).await;
    platform.clock.forward(SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "table")).await;
    let entries = entries(&platform, PSID).await;
    let is_open = |entry: &&serde_json::Map<String, Value>| entry["status"] == "open";
    assert!(entries.iter().any(|entry| is_open(&entry)), "a reminder waits");
    for entry in &entries {
        let expires_at = entry["expires_at"].as_i64().unwrap();
        assert!(expires_at > entry["give_up_at"].as_i64().unwrap() / 1000, "{entry:?}");
    }
}

#[tokio::test]
async fn nothing_about_the_person_is_left_when_everything_has_expired() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    platform.advance(46 * DAY).await;
    platform.expire().await.unwrap();
    assert_eq!(left_of(&platform, PSID).await, []);
}

/// Events of kinds that are not answered, all from before an erasure.
fn unanswered(platform: &Platform) -> Vec<Vec<u8>> {
    let at = platform.clock.now().millis();
    let body = |container: &str, item: Value| {
        let entry = json!({"id": PAGE, "time": at, container: [item]});
        json!({"object": "page", "entry": [entry]}).to_string().into_bytes()
    };
    let of_person = |change: Value| {
        let ends = json!({"sender": {"id": PSID}, "recipient": {"id": PAGE}, "timestamp": at});
        with(ends, change)
    };
    let echo = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID},
        "message": {"mid": "m_echo", "is_echo": true, "app_id": 1, "text": "an agent"}});
    let change = json!({"field": "mention", "value": {"sender": {"id": PSID}, "created_time": at}});
    vec![
        body("standby", of_person(json!({"message": {"mid": "m_standby", "text": "aside"}}))),
        body("messaging", of_person(echo)),
        body("messaging", of_person(json!({"pass_thread_control": {"new_owner_app_id": 1}}))),
        body("messaging", of_person(json!({"take_thread_control": {"new_owner_app_id": 1}}))),
        body("changes", change),
    ]
}

#[tokio::test]
async fn queued_events_of_every_kind_are_neither_kept_nor_passed_on() {
    let receiver = crate::forward::Receiver::start().await;
    let platform = platform_with(|options| {
        crate::forward::forward_to(options, &[&receiver.url]);
        options.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    let queued = unanswered(&platform);
    for event in &queued {
        assert_eq!(platform.post(event).await, 200);
    }
    platform.clock.forward(SECOND);
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    platform.settle().await;
    assert_only_the_mark(&platform).await;
    platform.advance(2 * HOUR).await;
    assert_eq!(receiver.texts(), Vec::<String>::new());
    let feed = ask(&platform, "GET", &format!("/events?page_id={PAGE}")).await;
    assert_eq!(feed.body["results"], json!([]));
    assert_only_the_mark(&platform).await;
    let new = unanswered(&platform);
    for event in &new {
        platform.deliver(event).await;
    }
    assert_eq!(receiver.texts().len(), new.len(), "what is newer is passed on");
}

#[tokio::test]
async fn what_waits_to_be_forwarded_is_dropped() {
    let receiver = crate::forward::Receiver::answering(Some(503)).await;
    let platform =
        platform_with(|options| crate::forward::forward_to(options, &[&receiver.url])).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "before")).await;
    platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "another's")).await;
    let tried = receiver.texts().len();
    platform.clock.forward(SECOND);
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    platform.advance(2 * DAY).await;
    let after = receiver.texts().split_off(tried);
    assert!(!after.is_empty() && after.iter().all(|text| text == "another's"), "{after:?}");
    assert_eq!(counted(&platform, "ForwardDropped"), 1);
}

/// Adds events of the person to the feed.
async fn fill_feed(platform: &Platform, count: usize) {
    let message = |number: usize| {
        json!({"sender": {"id": PSID}, "recipient": {"id": PAGE},
            "timestamp": platform.clock.now().millis(), "message": {"mid": format!("m_{number}")}})
    };
    let messages: Vec<_> = (0..count).map(message).collect();
    let feed = backend::feed::Feed::new(&platform.containers().environment());
    for messages in messages.chunks(1000) {
        let body = json!({"object": "page", "entry": [{"id": PAGE, "messaging": messages}]});
        let limits = messenger::event::Limits { events: 1000, in_order: 1000 };
        let now = platform.clock.now();
        let events = messenger::event::split_within(body.to_string().as_bytes(), now, limits);
        for event in events.unwrap() {
            let person = event.person.clone().unwrap();
            let whose = backend::store::ConversationKey { page_id: PAGE.to_owned(), person };
            let inbound = messenger::event::Inbound::from_event(&event).unwrap();
            feed.add(inbound, Some(&whose), event.happened_at()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_erasure_takes_thousands_of_events_out_of_the_feed() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
        options.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    fill_feed(&platform, 3000).await;
    platform.clock.forward(MINUTE);
    platform.aws.take_calls();
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    let calls = platform.aws.take_calls().len();
    assert!(calls < 300, "{calls} calls, of which each takes some milliseconds");
    let items = platform.items().await.unwrap();
    assert!(!items.iter().any(|item| item["pk"] == format!("feed#{PAGE}")));
    assert_only_the_mark(&platform).await;
}
