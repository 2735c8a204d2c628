//! Thread control: who may write, what others are refused, and how it ends.

use super::super::threads::{BUSINESS_AI, INBOX, INSTAGRAM_INBOX};
use super::*;

const OWN: &str = "4004";

fn control(world: &World, edge: &str, more: Value) -> Reply {
    let proof = proof("app-secret-1", "token-1");
    let path = format!("/v24.0/{PAGE}/{edge}?appsecret_proof={proof}");
    let mut body = json!({"recipient": {"id": PSID}});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    world.post(&path, Some("token-1"), &body)
}

fn owner(world: &World) -> Value {
    let proof = proof("app-secret-1", "token-1");
    let path = format!("/v24.0/{PAGE}/thread_owner?recipient={PSID}&appsecret_proof={proof}");
    world.request("GET", &path, Some("token-1"), "").expect("an answer").json()["data"].clone()
}

#[test]
fn who_does_not_control_a_thread_is_refused() {
    let world = World::with_open_windows();
    let text = text_as("RESPONSE", None);
    world.send(PAGE, &text).mid();
    let taken: Value = serde_json::from_slice(&world.meta.inbox_takes(PAGE, PSID)).expect("JSON");
    let item = &taken["entry"][0]["messaging"][0];
    assert_eq!(item["take_thread_control"]["new_owner_app_id"], INBOX);
    assert_eq!(world.send(PAGE, &text).error(), (10, Some(2_018_300)));
    let typing = json!({"recipient": {"id": PSID}, "sender_action": "typing_on"});
    assert_eq!(world.send(PAGE, &typing).error(), (10, Some(2_018_300)));
    world.meta.inbox_takes(INSTAGRAM, PSID);
    assert_eq!(world.meta.holder_of(INSTAGRAM, PSID).as_deref(), Some(INSTAGRAM_INBOX));
    assert_eq!(world.send(INSTAGRAM, &text).error(), (100, Some(2_534_037)));

    world.meta.inbox_passes(PAGE, PSID);
    world.send(PAGE, &text).mid();
    world.meta.business_ai_takes(PAGE, PSID);
    assert_eq!(owner(&world)[0]["thread_owner"]["app_id"], BUSINESS_AI);
    assert_eq!(world.send(PAGE, &text).error(), (10, Some(2_018_300)));
    world.meta.thread_is_released(PAGE, PSID);
    assert_eq!(owner(&world), json!([]));
    world.send(PAGE, &text).mid();
}

#[test]
fn control_ends_after_a_day_in_which_nothing_happens() {
    let world = World::with_open_windows();
    world.meta.inbox_takes(PAGE, PSID);
    world.set_clock(NOW + DAY - SECOND);
    let heard: Value =
        serde_json::from_slice(&world.meta.person_taps(PAGE, PSID, "P", "Tap")).expect("JSON");
    let item = &heard["entry"][0]["standby"][0];
    assert_eq!(item["postback"]["title"], "Tap", "it is heard in standby");
    assert_eq!(item["postback"]["payload"], Value::Null);
    world.set_clock(NOW + DAY + SECOND);
    assert_eq!(world.meta.holder_of(PAGE, PSID).as_deref(), Some(INBOX));
    world.set_clock(NOW + 2 * DAY);
    assert_eq!(world.meta.holder_of(PAGE, PSID), None);
}

#[test]
fn an_app_passes_takes_releases_asks_and_extends() {
    let world = World::with_open_windows();
    let is_done = |reply: Reply| assert_eq!(reply.json(), json!({"success": true}));
    is_done(control(&world, "take_thread_control", json!({})));
    assert_eq!(world.meta.holder_of(PAGE, PSID).as_deref(), Some(OWN));
    is_done(control(&world, "extend_thread_control", json!({"duration": 259_200})));
    world.set_clock(NOW + 3 * DAY - SECOND);
    assert_eq!(world.meta.holder_of(PAGE, PSID).as_deref(), Some(OWN));
    assert_eq!(
        control(&world, "extend_thread_control", json!({"duration": 604_801})).error(),
        (100, None)
    );
    assert_eq!(control(&world, "pass_thread_control", json!({})).error(), (100, None));
    is_done(control(&world, "pass_thread_control", json!({"target_app_id": INBOX})));
    is_done(control(&world, "request_thread_control", json!({"metadata": "please"})));
    assert_eq!(world.meta.holder_of(PAGE, PSID).as_deref(), Some(INBOX), "asking is not having");
    assert_eq!(
        control(&world, "release_thread_control", json!({})).error(),
        (100, Some(2_534_037))
    );
    is_done(control(&world, "take_thread_control", json!({})));
    is_done(control(&world, "release_thread_control", json!({})));
    assert_eq!(world.meta.holder_of(PAGE, PSID), None);
}

#[test]
fn a_message_may_hand_the_thread_over() {
    let world = World::with_open_windows();
    let mut text = text_as("RESPONSE", None);
    text["thread_control"] = json!({"control_type": "keep"});
    assert_eq!(world.send(PAGE, &text).error(), (100, None));
    assert!(world.meta.delivered(PAGE, PSID).is_empty());
    text["thread_control"] = json!({"control_type": "pass", "app_id": BUSINESS_AI});
    world.send(PAGE, &text).mid();
    assert_eq!(world.meta.holder_of(PAGE, PSID).as_deref(), Some(BUSINESS_AI));
    world.meta.inbox_passes(PAGE, PSID);
    text["thread_control"] = json!({"control_type": "release"});
    world.send(PAGE, &text).mid();
    assert_eq!(world.meta.holder_of(PAGE, PSID), None);
}

#[test]
fn limits_of_other_objects_are_reported_beside_the_page_s() {
    let world = World::with_open_windows();
    world.meta.report_limit("999", "messenger", 7);
    world.meta.report_limit(PAGE, "pages", 8);
    let reply = world.send(PAGE, &text_as("RESPONSE", None));
    let usage: Value =
        serde_json::from_str(&reply.headers["x-business-use-case-usage"]).expect("JSON");
    assert_eq!(usage["999"][0]["estimated_time_to_regain_access"], 7);
    assert_eq!(usage[PAGE][0]["estimated_time_to_regain_access"], 0);
    assert_eq!(usage[PAGE][1]["type"], "pages");
}
