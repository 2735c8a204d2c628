//! Follow-ups that are asked for, and the sweep that sends them.

use backend::store::Lease;
use messenger::clock::Clock;
use serde_json::{Value, json};
use simulator::platform::Platform;

use crate::support::*;

fn request(id: &str, mut change: Value) -> Value {
    let mut request = json!({"id": id, "page_id": PAGE, "psid": PSID, "message": {"text": id}, "purpose": "update"});
    request.as_object_mut().unwrap().append(change.as_object_mut().unwrap());
    request
}

async fn heard_from() -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(3 * MINUTE).await;
    platform
}

#[tokio::test]
async fn the_same_id_twice_is_one() {
    let platform = heard_from().await;
    let first = platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    let second = platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    assert_eq!(first, second);
    platform.tick().await.unwrap();
    let third = platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    assert_eq!((&third["id"], &third["status"]), (&first["id"], &json!("sent")));
    platform.advance(HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE x"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn the_answer_forecasts_what_the_windows_will_allow() {
    let platform = heard_from().await;
    let forecast = async |change: Value| {
        let id = change.to_string();
        let stored =
            platform.invoke_follow_ups(request(&id[..id.len().min(100)], change)).await.unwrap();
        stored["forecast"]["label"].as_str().unwrap_or("refused").to_owned()
    };
    let in_two_days = (platform.clock.now() + 2 * DAY).millis();
    assert_eq!(forecast(json!({})).await, "UPDATE");
    assert_eq!(forecast(json!({"send_at": in_two_days})).await, "refused");
    let human = json!({"send_at": in_two_days, "purpose": "human", "author": "desk"});
    assert_eq!(forecast(human).await, "HUMAN_AGENT");
}

#[tokio::test]
async fn a_bad_request_names_the_field_and_stores_nothing() {
    let platform = heard_from().await;
    for (change, field) in [
        (json!({"purpose": "human"}), "author"),
        (json!({"page_id": "42"}), "page_id"),
        (json!({"message": {"text": "x".repeat(2001)}}), "message.text"),
        (json!({"send_at": "tomorrow"}), "send_at"),
        (json!({"purpose": "utility"}), "message"),
        (json!({"due_at": 1}), "due_at"),
        (json!({"source": "schedule"}), "source"),
    ] {
        let error = platform.invoke_follow_ups(request("x", change)).await.unwrap_err();
        assert!(error.starts_with(&format!("bad request: {field}: ")), "{error}");
    }
    assert!(entries(&platform, PSID).await.is_empty());
}

#[tokio::test]
async fn a_request_with_a_source_is_no_tick() {
    let platform = heard_from().await;
    let request = json!({"user_ref": "u1", "page_id": PAGE, "source": "crm", "message": "hi"});
    let error = platform.invoke_follow_ups(request).await.unwrap_err();
    assert!(error.starts_with("bad request: source: unknown field"), "{error}");
}

#[tokio::test]
async fn no_more_than_twenty_wait_for_one_person() {
    let platform = heard_from().await;
    let later = (platform.clock.now() + DAY).millis();
    for index in 0..20 {
        let wanted = request(&format!("n{index}"), json!({"send_at": later}));
        platform.invoke_follow_ups(wanted).await.unwrap();
    }
    let wanted = || request("n20", json!({"send_at": later}));
    let error = platform.invoke_follow_ups(wanted()).await.unwrap_err();
    assert!(error.contains("psid: too many pending messages"), "{error}");
    assert_eq!(entries(&platform, PSID).await.len(), 20, "a refused request leaves nothing behind");

    let by_people = json!({"purpose": "human", "author": "Ann"});
    let answer = platform.invoke_follow_ups(request("answer", by_people)).await.unwrap();
    assert_eq!(answer["status"], "open", "what people write and is due now has no quota");

    let first = entries(&platform, PSID).await.remove(0);
    let first: backend::store::Entry = serde_json::from_value(Value::Object(first)).unwrap();
    let withdrawn = backend::store::Cancellation::Withdrawn;
    let id = first.key().unwrap();
    let now = platform.clock.now();
    let expires_at = backend::store::ExpiresAt::after(now, DAY);
    platform.store().cancel_entry(&id, withdrawn, now, expires_at).await.unwrap();
    let forget = vec![first.waiting()];
    let changes = backend::store::ConversationUpdate { forget, ..Default::default() };
    platform.store().settle(&id.conversation_key, &changes).await.unwrap();
    let stored = platform.invoke_follow_ups(wanted()).await.unwrap();
    assert_eq!(stored["status"], "open", "the same request, after room was made");
}

#[tokio::test]
async fn requests_to_a_person_leave_in_the_order_of_their_due_times() {
    let platform = heard_from().await;
    let start = platform.clock.now().millis();
    for (id, minutes) in [("third", 30), ("first", 10), ("second", 20)] {
        let due_at = json!({"send_at": start + minutes * 60_000});
        platform.invoke_follow_ups(request(id, due_at)).await.unwrap();
    }
    platform.clock.forward(HOUR);
    platform.tick().await.unwrap();
    assert_eq!(delivered(&platform, PSID), ["UPDATE first", "UPDATE second", "UPDATE third"]);
}

#[tokio::test]
async fn the_sweep_tells_what_it_did() {
    let platform = heard_from().await;
    platform.invoke_follow_ups(request("good", json!({}))).await.unwrap();
    let stranger = json!({"psid": OTHER_PSID});
    platform.invoke_follow_ups(request("never heard", stranger)).await.unwrap();
    let summary = platform.tick().await.unwrap();
    assert_eq!(
        summary,
        json!({"pages": 1, "paused": 0, "claimed": 2, "sent": 1, "refused": {"never_heard_from": 1},
            "rescheduled": 0, "failed": {}, "cancelled": {}, "fired": 0, "skipped": 0,
            "errors": 0})
    );
}

#[tokio::test]
async fn two_sweeps_at_once_send_once() {
    let platform = heard_from().await;
    for id in ["a", "b", "c"] {
        platform.invoke_follow_ups(request(id, json!({}))).await.unwrap();
    }
    let (one, other) = tokio::join!(platform.tick(), platform.tick());
    let claimed =
        [one.unwrap(), other.unwrap()].iter().map(|s| s["claimed"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(claimed, 3);
    assert_eq!(delivered(&platform, PSID), ["UPDATE a", "UPDATE b", "UPDATE c"]);
}

#[tokio::test]
async fn a_sweep_that_died_is_taken_over_when_its_lease_has_ended() {
    let platform = heard_from().await;
    platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    let now = platform.clock.now();
    let dead = Lease { by: "a dead sweep".to_owned(), until: now + MINUTE, for_entry: None };
    assert!(platform.store().take_page(PAGE, &dead, now).await.unwrap());
    assert_eq!(platform.tick().await.unwrap()["claimed"], 0);
    platform.clock.forward(MINUTE + SECOND);
    assert_eq!(platform.tick().await.unwrap()["sent"], 1);
}

#[tokio::test]
async fn whoever_finds_the_person_busy_leaves_its_entry_waiting() {
    let platform = heard_from().await;
    platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    let conversation_key =
        backend::store::ConversationKey { page_id: PAGE.to_owned(), person: PSID.parse().unwrap() };
    let now = platform.clock.now();
    let other = Lease { by: "another".to_owned(), until: now + MINUTE, for_entry: None };
    let seen = platform.store().conversation(&conversation_key).await.unwrap().unwrap();
    let taken = platform.store().take_lease(&conversation_key, &seen, &other, None).await;
    assert!(taken.unwrap().is_some());
    assert_eq!(platform.tick().await.unwrap()["skipped"], 1);
    assert!(requested(&platform, PSID).is_empty());
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE x"]);
}

#[tokio::test]
async fn the_page_s_rate_is_kept() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
        options.variables.insert("SEND_RATE_PER_SECOND".to_owned(), "4".to_owned());
    })
    .await;
    for person in 0..12 {
        let psid = format!("70000000000001{person:02}");
        platform.deliver(&platform.meta.person_says(PAGE, &psid, "hi")).await;
        platform.invoke_follow_ups(request("x", json!({"psid": psid}))).await.unwrap();
    }
    platform.clock.forward(3 * MINUTE);
    let start = platform.clock.now();
    platform.tick().await.unwrap();
    assert_eq!(platform.meta.requests().len(), 12);
    let took = platform.clock.now().since(start);
    assert!(took >= 11 * SECOND / 4, "twelve messages at 4 a second took {took:?}");
}

#[tokio::test]
async fn a_sweep_without_time_left_leaves_everything_waiting() {
    let platform = heard_from().await;
    platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    let summary = platform.sweep_until(platform.clock.now() + 10 * SECOND).await.unwrap();
    assert_eq!(summary["claimed"], 0);
    assert!(requested(&platform, PSID).is_empty());
    assert_eq!(platform.tick().await.unwrap()["sent"], 1);
}

#[tokio::test]
async fn ended_entries_are_readable_for_their_retention_time() {
    let platform = heard_from().await;
    platform.invoke_follow_ups(request("x", json!({}))).await.unwrap();
    platform.tick().await.unwrap();
    let entry = entries(&platform, PSID).await.remove(0);
    let kept = entry["expires_at"].as_i64().unwrap() - entry["ended_at"].as_i64().unwrap() / 1000;
    assert_eq!(kept, 15 * 24 * 60 * 60);
}
