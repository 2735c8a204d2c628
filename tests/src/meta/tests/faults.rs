//! Injected faults: the client's view, and the outcome on Meta's side.

use super::nodes::call;
use super::*;
use crate::meta::FaultRule;

fn sent(world: &World) -> usize {
    world.meta.delivered(PAGE, PSID).len()
}

#[test]
fn a_lost_answer_delivers_but_gives_no_response() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::LostAnswer);
    let message = json!({"text": "hello", "metadata": "entry#1"});
    assert!(world.try_send(PAGE, &response(&message)).is_none());
    assert_eq!(sent(&world), 1);
    let webhooks = world.meta.pending_webhooks();
    assert_eq!(webhooks.len(), 3);
    let echo: Value = serde_json::from_slice(&webhooks[0]).expect("an echo");
    assert_eq!(echo["entry"][0]["messaging"][0]["message"]["metadata"], json!("entry#1"));
    world.send(PAGE, &response(&message)).mid();
    assert_eq!(sent(&world), 2, "the next request is answered again");
}

#[test]
fn a_lost_answer_does_not_deliver_a_refused_message() {
    let world = World::with_open_windows();
    world.set_clock(NOW + DAY + 1);
    world.meta.fail_next(Fault::LostAnswer);
    assert!(world.try_send(PAGE, &text_as("RESPONSE", None)).is_none());
    assert_eq!(sent(&world), 0);
    assert!(world.meta.pending_webhooks().is_empty());
    assert!(matches!(world.last_request().outcome, Outcome::Refused { code: 10, .. }));
}

#[test]
fn a_lost_request_delivers_nothing_and_gives_no_response() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::LostRequest);
    assert!(world.try_send(PAGE, &text_as("RESPONSE", None)).is_none());
    assert_eq!(sent(&world), 0);
    assert!(world.meta.pending_webhooks().is_empty());
    let request = world.last_request();
    assert_eq!(request.psid.as_deref(), Some(PSID), "it was read");
    assert!(matches!(request.outcome, Outcome::Failed { .. }));
}

#[test]
fn an_unknown_error_may_follow_a_delivery() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::UnknownDelivered);
    let reply = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!((reply.status, reply.error()), (500, (1, Some(1_357_046))));
    assert_eq!(sent(&world), 1);
    assert_eq!(world.meta.pending_webhooks().len(), 3);

    world.set_clock(NOW + DAY + 1);
    world.meta.fail_next(Fault::UnknownDelivered);
    let reply = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!(reply.error(), (10, Some(2_018_278)), "nothing was delivered");
}

#[test]
fn a_server_error_is_html_and_delivers_nothing() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::Http5xx);
    let reply = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!(reply.status, 503);
    assert!(reply.headers["content-type"].starts_with("text/html"));
    assert!(serde_json::from_str::<Value>(&reply.text).is_err());
    assert_eq!(sent(&world), 0);
}

#[test]
fn an_error_is_answered_as_injected() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::Error { http: 400, code: 368, subcode: None });
    world.meta.fail_next(Fault::Error { http: 403, code: 10, subcode: Some(1_893_063) });
    let first = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!((first.status, first.error()), (400, (368, None)));
    assert!(first.json()["error"].get("error_subcode").is_none());
    let second = world.send(PAGE, &text_as("RESPONSE", None));
    assert_eq!((second.status, second.error()), (403, (10, Some(1_893_063))));
    assert_eq!(sent(&world), 0);
    assert!(matches!(
        world.last_request().outcome,
        Outcome::Refused { code: 10, subcode: Some(1_893_063), .. }
    ));
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
}

#[test]
fn throttling_says_when_access_returns() {
    let world = World::with_open_windows();
    for (page_id, code, kind) in [(PAGE, 80_006, "messenger"), (INSTAGRAM, 613, "instagram")] {
        world.meta.fail_next(Fault::Throttled { regain_minutes: 17 });
        let reply = world.send(page_id, &text_as("RESPONSE", None));
        assert_eq!((reply.status, reply.error()), (400, (code, None)));
        let usage: Value =
            serde_json::from_str(&reply.headers["x-business-use-case-usage"]).expect("JSON");
        let limits = &usage[page_id][0];
        assert_eq!(limits["estimated_time_to_regain_access"], json!(17));
        assert_eq!(limits["type"], json!(kind));
        assert_eq!(limits["call_count"], json!(100));
    }
    assert_eq!(sent(&world), 0);
}

#[test]
fn a_fault_for_one_person_waits_for_that_person() {
    let world = World::with_open_windows();
    world.meta.person_says(PAGE, "7002", "hi");
    world.meta.fail_next_for("7002", Fault::Http5xx);
    world.meta.fail_next_for("7002", Fault::LostRequest);
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    let mut other = text_as("RESPONSE", None);
    other["recipient"]["id"] = json!("7002");
    assert_eq!(world.send(PAGE, &other).status, 503);
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    assert!(world.try_send(PAGE, &other).is_none());
    world.send(PAGE, &other).mid();
}

#[test]
fn a_fault_for_one_person_applies_to_a_private_reply() {
    let world = World::new();
    world.meta.add_comment(PAGE, "c1", PSID, NOW);
    world.meta.fail_next_for(PSID, Fault::LostAnswer);
    let mut body = text_as("RESPONSE", None);
    body["recipient"] = json!({"comment_id": "c1"});
    assert!(world.try_send(PAGE, &body).is_none());
    assert_eq!(sent(&world), 1);
    assert_eq!(world.send(PAGE, &body).error(), (10_900, None), "it was delivered");
}

#[test]
fn a_lasting_fault_lasts_until_it_is_ended() {
    let world = World::with_open_windows();
    world.meta.set_fault(Some(Fault::Http5xx));
    world.meta.fail_next(Fault::LostRequest);
    assert!(
        world.try_send(PAGE, &text_as("RESPONSE", None)).is_none(),
        "a waiting fault goes first"
    );
    for _ in 0..3 {
        assert_eq!(world.send(PAGE, &text_as("RESPONSE", None)).status, 503);
    }
    world.meta.set_fault(None);
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    assert_eq!(world.meta.requests().len(), 5);
}

#[test]
fn every_row_of_the_error_table_can_be_answered() {
    let world = World::with_open_windows();
    for known in crate::meta::KNOWN {
        world.meta.fail_next(Fault::of_code(known.code, known.subcode));
        let reply = world.send(PAGE, &text_as("RESPONSE", None));
        let expected = (known.http, (known.code, known.subcode));
        assert_eq!((reply.status, reply.error()), expected);
        let body = reply.json();
        let message = body["error"]["message"].as_str().expect("a message");
        assert_eq!(message, format!("(#{}) {}", known.code, known.message));
    }
    assert_eq!(sent(&world), 0);
}

#[test]
fn a_fault_hits_the_edge_that_it_is_for() {
    let world = World::with_open_windows();
    let rule =
        |edge: &str, fault| FaultRule { fault, psid: None, edge: edge.to_owned(), times: None };
    world.meta.add_fault(rule("thread_owner", Fault::of_code(200, None)));
    world.meta.add_fault(rule("node", Fault::Edge { http: 502 }));
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    let owner = format!("{PAGE}/thread_owner?recipient={PSID}");
    assert_eq!(call(&world, "GET", &owner, "token-1", &Value::Null).error(), (200, None));
    let profile = call(&world, "GET", PSID, "token-1", &Value::Null);
    assert!(profile.status == 502 && profile.text.starts_with("<html>"), "{}", profile.text);
    world.meta.clear_faults();
    assert_eq!(call(&world, "GET", PSID, "token-1", &Value::Null).status, 200);
}

#[test]
fn counted_faults_come_before_lasting_ones_and_a_person_s_before_those_of_all() {
    let world = World::with_open_windows();
    world.meta.set_fault(Some(Fault::of_code(4, None)));
    world.meta.set_fault_for(PSID, Some(Fault::of_code(551, None)));
    let twice = FaultRule {
        fault: Fault::of_code(2, None),
        psid: None,
        edge: "messages".to_owned(),
        times: Some(2),
    };
    world.meta.add_fault(twice);
    let codes = [2, 2, 551, 551].map(|_| world.send(PAGE, &text_as("RESPONSE", None)).error().0);
    assert_eq!(codes, [2, 2, 551, 551]);
    world.meta.set_fault_for(PSID, None);
    assert_eq!(world.send(PAGE, &text_as("RESPONSE", None)).error().0, 4);
}

#[test]
fn a_slow_answer_comes_later_and_the_request_is_processed_at_once() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::Slow { millis: 20 });
    let began = std::time::Instant::now();
    world.send(PAGE, &text_as("RESPONSE", None)).mid();
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_proof_can_be_refused_on_demand() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::WrongProof);
    let body = world.send(PAGE, &text_as("RESPONSE", None)).json();
    assert_eq!(body["error"]["type"], "GraphMethodException");
}
