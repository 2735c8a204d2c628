//! Splitting notifications and queueing their events.

use super::*;

#[tokio::test]
async fn every_item_of_every_container_is_a_message_of_its_own() {
    let platform = platform().await;
    let mut sent = Vec::new();
    let mut entries = Vec::new();
    for entry in 0..3 {
        let mut fields = json!({"id": PAGE, "time": samples::BEGINNING.millis()});
        for container in ["messaging", "standby", "changes", "calls", "novelty"] {
            let items: Vec<_> =
                (0..4).map(|n| message(PSID, &format!("m_{entry}_{n}"), "hi")).collect();
            sent.extend(items.iter().map(|item| (container.to_owned(), item.to_string())));
            fields[container] = items.into();
        }
        entries.push(fields);
    }
    let body = json!({"object": "page", "entry": entries}).to_string();
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    let mut kept: Vec<_> =
        events(&platform).into_iter().map(|event| (event.container, event.raw)).collect();
    sent.sort();
    kept.sort();
    assert_eq!(kept, sent);
}

#[tokio::test]
async fn a_message_in_the_queue_is_deduplicated_by_its_event_and_grouped_by_its_person() {
    let platform = platform().await;
    assert_eq!(receive(&platform, &samples::body("webhook/batch").unwrap()).await, 200);
    let received = platform.sqs.receive(EVENTS, 100);
    assert_eq!(received.len(), 8);
    for message in &received {
        let event = event(&message.body);
        assert_eq!(message.deduplication_id.as_ref(), Some(&event.id));
        assert_eq!(message.group_id.as_ref(), Some(&event.group()));
    }
    let distinct: BTreeSet<_> = received.iter().map(|message| &message.deduplication_id).collect();
    assert_eq!(distinct.len(), received.len());
}

#[tokio::test]
async fn the_queue_shows_nobody_in_ids_and_groups() {
    let platform = platform().await;
    assert_eq!(receive(&platform, &samples::body("webhook/batch").unwrap()).await, 200);
    for Received { group_id, deduplication_id, .. } in platform.sqs.receive(EVENTS, 100) {
        let shown = format!("{group_id:?} {deduplication_id:?}");
        for hidden in [PSID, OTHER_PSID, PAGE, "m_sample"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

#[tokio::test]
async fn each_person_has_a_group_and_in_it_the_order_is_kept() {
    let platform = platform().await;
    let people = ["1001", "1002", "1003"];
    let items: Vec<_> = (0..75)
        .map(|n| message(people[n % 3], &format!("m_{n}"), &format!("{:02}", n / 3)))
        .collect();
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    let groups = by_group(&platform);
    assert_eq!(groups.len(), 3);
    let in_order: Vec<_> = (0..25).map(|n| format!("{n:02}")).collect();
    for (group, events) in groups {
        let persons: BTreeSet<_> = events.iter().map(|event| event.person.clone()).collect();
        assert_eq!(persons.len(), 1, "{group}");
        assert_eq!(events.iter().map(text_of).collect::<Vec<_>>(), in_order, "{group}");
    }
}

#[tokio::test]
async fn the_same_person_at_two_pages_is_two_groups() {
    let platform = platform_with(|options| options.pages.push(ANOTHER_PAGE.to_owned())).await;
    for page in [PAGE, ANOTHER_PAGE] {
        let body = notification_to(page, &[message(PSID, "m_1", page)]);
        assert_eq!(receive(&platform, &body).await, 200);
    }
    assert_eq!(by_group(&platform).len(), 2);
    assert_eq!(texts(&platform), [PAGE, ANOTHER_PAGE]);
}

#[tokio::test]
async fn confirmations_and_own_echoes_wait_behind_nothing_else() {
    let platform = platform().await;
    let ends = json!({"sender": {"id": PSID}, "recipient": {"id": PAGE}});
    let back = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID}});
    let echo = json!({"mid": "m_echo", "is_echo": true, "metadata": "mb2.x", "text": "echo"});
    let items = [
        message(PSID, "m_1", "hi"),
        with(&ends, "delivery", json!({"watermark": 1})),
        with(&ends, "read", json!({"watermark": 2})),
        with(&back, "message", echo),
    ];
    assert_eq!(receive(&platform, &notification(&items)).await, 200);
    let groups = by_group(&platform);
    let kinds: BTreeMap<_, _> = groups
        .iter()
        .map(|(group, events)| {
            let kinds: Vec<_> = events.iter().map(Event::kind_name).collect();
            (kinds.join(" "), group.contains(".receipts."))
        })
        .collect();
    let expected = [("message", false), ("delivery", true), ("read", true), ("echo", true)];
    assert_eq!(kinds, expected.map(|(kind, apart)| (kind.to_owned(), apart)).into());
}

#[tokio::test]
async fn a_notification_that_comes_twice_gives_each_event_once() {
    let platform = platform().await;
    let body = samples::body("webhook/batch").unwrap();
    assert_eq!(receive(&platform, &body).await, 200);
    platform.clock.forward(4 * MINUTE);
    assert_eq!(receive(&platform, &body).await, 200);
    assert_eq!(events(&platform).len(), 8);
}

#[tokio::test]
async fn a_message_that_comes_again_in_another_notification_is_queued_once() {
    let platform = platform().await;
    let first = [message(PSID, "m_1", "one"), message(PSID, "m_2", "two")];
    let second = [message(PSID, "m_2", "two"), message(PSID, "m_3", "three")];
    assert_eq!(receive(&platform, &notification(&first)).await, 200);
    assert_eq!(receive(&platform, &notification(&second)).await, 200);
    assert_eq!(texts(&platform), ["one", "two", "three"]);
}

#[tokio::test]
async fn edits_and_reactions_with_the_messages_mid_are_no_duplicates() {
    let platform = platform().await;
    let ends = json!({"sender": {"id": PSID}, "recipient": {"id": PAGE}});
    let items = [
        message(PSID, "m_1", "tables"),
        with(&ends, "message_edit", json!({"mid": "m_1", "text": "table", "num_edit": 1})),
        with(&ends, "message_edit", json!({"mid": "m_1", "text": "a table", "num_edit": 2})),
        with(&ends, "reaction", json!({"mid": "m_1", "action": "react", "reaction": "love"})),
        with(&ends, "reaction", json!({"mid": "m_1", "action": "unreact"})),
    ];
    for item in &items {
        assert_eq!(receive(&platform, &notification(&[item])).await, 200);
    }
    assert_eq!(raws(&platform), in_json(&items));
}

#[tokio::test]
async fn an_instagram_mid_too_long_for_the_queue_is_no_hindrance() {
    let platform = platform().await;
    let mids = ["a", "b"].map(|end| format!("{}{end}", "aWdfZAG1faXRlbToxOk".repeat(12)));
    let items = mids.each_ref().map(|mid| message(PSID, mid, mid));
    let body =
        String::from_utf8(notification(&items)).unwrap().replace("\"page\"", "\"instagram\"");
    assert_eq!(receive(&platform, body.as_bytes()).await, 200);
    assert_eq!(texts(&platform), mids);
    let platforms: Vec<_> = events(&platform).iter().map(|event| event.platform).collect();
    assert_eq!(platforms, [messenger::event::Platform::Instagram; 2]);
}

// The limit of time depends on the machine, the number of calls does not: at some milliseconds each it
// decides whether a backlog is queued within the limit.
#[tokio::test]
async fn a_thousand_people_cost_as_many_calls_as_full_batches() {
    for (people, each, calls) in [(1000, 1, 110), (400, 3, 150), (50, 20, 150)] {
        let platform = platform().await;
        assert_eq!(
            receive_patiently(&platform, &notification(&of_people(people, each))).await,
            200
        );
        assert_in_order_in_each_group(&platform, people, each);
        let made = platform.sqs.calls()["SendMessageBatch"];
        assert!(made <= calls, "{made} calls for {people} people");
    }
}

#[tokio::test]
async fn more_events_than_can_be_queued_in_time_are_kept_whole() {
    for items in [of_people(MAX_EVENTS + 1, 1), numbered(MAX_EVENTS_IN_ORDER + 1)] {
        let platform = platform().await;
        let body = notification(&items);
        assert_eq!(receive(&platform, &body).await, 200);
        assert!(unreadable_body(&platform, "too_many_events") == body, "other bytes");
        assert!(events(&platform).is_empty());
    }
}

#[tokio::test]
async fn foreign_events_are_set_aside_in_batches_too() {
    let platform = platform().await;
    let body = notification_to(ANOTHER_PAGE, &of_people(1000, 1));
    assert_eq!(receive_patiently(&platform, &body).await, 200);
    assert_eq!(platform.sqs.messages(UNREADABLE).len(), 1000);
    assert_eq!(platform.sqs.calls()["SendMessageBatch"], 100);
}

#[tokio::test]
async fn a_body_of_nearly_six_megabytes_is_taken() {
    let platform = platform().await;
    let text = |n: usize| format!("{n:03} {}", "x".repeat(99_000));
    let items: Vec<_> = (0..62).map(|n| message(PSID, &format!("m_{n}"), &text(n))).collect();
    let body = notification(&items);
    assert!(body.len() > 6_100_000 && body.len() < 6 * 1024 * 1024);
    assert_eq!(receive_patiently(&platform, &body).await, 200);
    assert_eq!(texts(&platform), (0..62).map(text).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_received_is_counted_by_page() {
    let platform = platform().await;
    assert_eq!(receive(&platform, &samples::body("webhook/batch").unwrap()).await, 200);
    let metrics = platform.metrics.lock().unwrap().clone();
    let [line] = &metrics[..] else { panic!("{metrics:?}") };
    assert_eq!((&line["page"], &line["EventsReceived"]), (&PAGE.into(), &8.into()));
    assert_eq!((&line["UnknownEvents"], line.get("TruncatedEvents")), (&3.into(), None));
}
