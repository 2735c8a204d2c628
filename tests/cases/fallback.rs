//! The utility template that goes instead of a follow-up which the windows refuse.

use messenger::clock::Clock;
use messenger::decision::{Decision, FollowUp};
use messenger::message::{Message, UtilityTemplate};
use serde_json::{Value, json};
use simulator::meta::{Fault, GraphRequest};
use simulator::platform::{Platform, Replies};

use crate::crash::{say, survive};
use crate::support::*;

const SILENT: Replies = |_, _, _| Ok(Decision::nothing());

/// The margin to the window's end.
const MARGIN: std::time::Duration = MINUTE;

async fn heard_from() -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| options.replies = SILENT).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform
}

fn request(change: Value) -> Value {
    let mut request = json!({"id": "x", "page_id": PAGE, "psid": PSID, "purpose": "update", "message": "later",
        "fallback_template": {"name": "still_free", "language": {"code": "en_US"}}});
    let Value::Object(mut change) = change else { panic!("a request is an object") };
    request.as_object_mut().unwrap().append(&mut change);
    request
}

/// What reached Meta: label, and text or template.
fn said(platform: &Platform) -> Vec<String> {
    let word = |request: &GraphRequest| {
        let message = &request.message;
        let text = message["text"].as_str().or(message["template"]["name"].as_str());
        let label = request.tag.as_deref().or(request.messaging_type.as_deref());
        let label = label.or(request.sender_action.as_deref());
        format!("{} {}", label.unwrap_or_default(), text.unwrap_or_default()).trim_end().to_owned()
    };
    requested(platform, PSID).iter().map(word).collect()
}

async fn states(platform: &Platform) -> Vec<String> {
    let entry = entries(platform, PSID).await.remove(0);
    let steps = entry["steps"].as_array().unwrap();
    steps.iter().map(|step| step["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_goes_from_the_first_millisecond_beyond_the_window_on() {
    for (beyond, expected) in [(0, "UPDATE later"), (1, "UTILITY still_free")] {
        let platform = heard_from().await;
        let edge = platform.clock.now() + DAY;
        platform.invoke_follow_ups(request(json!({}))).await.unwrap();
        let at = (edge.millis() - i64::try_from(MARGIN.as_millis()).unwrap()) + beyond;
        platform.clock.move_forward_to(messenger::clock::Timestamp::from_millis(at));
        let summary = platform.tick().await.unwrap();
        assert_eq!((&summary["sent"], &summary["refused"]), (&json!(1), &json!({})));
        assert_eq!(said(&platform), [expected]);
        assert_eq!(counted(&platform, "FallbackUsed"), u64::from(beyond == 1));
        assert_eq!(ends(&platform, PSID).await, ["sent"]);
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn the_entry_tells_that_it_went_and_why() {
    let platform = heard_from().await;
    let mut wanted = request(json!({"messages": ["one", "two"]}));
    wanted.as_object_mut().unwrap().remove("message");
    platform.invoke_follow_ups(wanted).await.unwrap();
    platform.clock.forward(25 * HOUR);
    platform.tick().await.unwrap();
    assert_eq!(said(&platform), ["UTILITY still_free"]);
    assert_eq!(states(&platform).await, ["passed_over", "passed_over", "sent"]);
    let entry = entries(&platform, PSID).await.remove(0);
    assert_eq!(entry["purpose"], "utility");
    assert!(entry["fallback_reason"].as_str().unwrap().starts_with("window_closed: "));
}

#[tokio::test]
async fn it_stays_where_it_is_while_the_window_is_open() {
    let platform = heard_from().await;
    platform.invoke_follow_ups(request(json!({}))).await.unwrap();
    platform.advance(3 * DAY).await;
    assert_eq!(said(&platform), ["UPDATE later"]);
    assert_eq!(states(&platform).await, ["sent", "fallback"]);
}

#[tokio::test]
async fn it_goes_for_each_refusal_of_the_windows() {
    let human = json!({"purpose": "human", "author": "front-desk"});
    for (change, days, reason) in [
        (json!({}), 2, "window_closed"),
        (human, 8, "seven_days_passed"),
        (json!({"purpose": "account_update"}), 2, "tag_retired"),
    ] {
        let platform = heard_from().await;
        platform.advance(days * DAY).await;
        let answer = platform.invoke_follow_ups(request(change)).await.unwrap();
        assert_eq!(answer["forecast"]["label"], "UTILITY");
        let forecast = answer["forecast"]["reason"].as_str().unwrap();
        assert!(forecast.contains("fallback") && forecast.contains(reason), "{forecast}");
        platform.tick().await.unwrap();
        assert_eq!(said(&platform), ["UTILITY still_free"], "{reason}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn it_goes_to_somebody_who_was_never_heard_from() {
    let platform = platform_with(|options| options.replies = SILENT).await;
    platform.meta.add_person(PAGE, PSID);
    platform.invoke_follow_ups(request(json!({}))).await.unwrap();
    platform.tick().await.unwrap();
    assert_eq!(said(&platform), ["UTILITY still_free"]);
}

#[tokio::test]
async fn once_a_message_was_sent_the_rest_is_refused() {
    let platform = heard_from().await;
    // Off the minute, so that the next sweep comes after the window.
    platform.clock.forward(30 * SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi again")).await;
    platform.clock.forward(DAY.checked_sub(70 * SECOND).unwrap());
    let mut wanted = request(json!({"messages": ["one", "two"]}));
    wanted.as_object_mut().unwrap().remove("message");
    platform.invoke_follow_ups(wanted).await.unwrap();
    // Its echo confirms that the first was delivered; the second waits for the next sweep.
    platform.meta.fail_next(Fault::LostAnswer);
    platform.tick().await.unwrap();
    platform.advance(HOUR).await;
    assert_eq!(said(&platform), ["UPDATE one"]);
    assert_eq!(ends(&platform, PSID).await, ["refused window_closed"]);
    assert_eq!(states(&platform).await, ["sent", "planned", "fallback"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_message_that_may_have_been_delivered_keeps_it_back() {
    let platform = heard_from().await;
    platform.clock.forward(DAY.checked_sub(90 * SECOND).unwrap());
    platform.invoke_follow_ups(request(json!({}))).await.unwrap();
    platform.meta.fail_next(Fault::LostRequest);
    platform.tick().await.unwrap();
    platform.advance(HOUR).await;
    assert_eq!(said(&platform), ["UPDATE later"]);
    assert_eq!(ends(&platform, PSID).await, ["refused window_closed"]);
}

#[tokio::test]
async fn a_typing_indicator_does_not_keep_it_back() {
    let platform = heard_from().await;
    let typing = json!({"sender_action": "typing_on"});
    let mut wanted = request(json!({"messages": [typing, "later"]}));
    wanted.as_object_mut().unwrap().remove("message");
    platform.clock.forward(DAY.checked_sub(2 * MINUTE).unwrap());
    platform.invoke_follow_ups(wanted).await.unwrap();
    platform.meta.fail_next(Fault::Throttled { regain_minutes: 30 });
    platform.tick().await.unwrap();
    platform.advance(HOUR).await;
    assert_eq!(said(&platform), ["typing_on", "UTILITY still_free"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn it_is_tried_again_and_never_sent_twice() {
    for fault in [Fault::Error { http: 500, code: 2, subcode: None }, Fault::LostAnswer] {
        let platform = heard_from().await;
        platform.advance(2 * DAY).await;
        platform.invoke_follow_ups(request(json!({}))).await.unwrap();
        platform.meta.fail_next(fault.clone());
        platform.tick().await.unwrap();
        platform.advance(HOUR).await;
        assert_eq!(platform.meta.delivered(PAGE, PSID).len(), 1, "{fault:?}");
        assert_eq!(counted(&platform, "FallbackUsed"), 1);
        assert_eq!(ends(&platform, PSID).await, ["sent"]);
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn the_bot_s_follow_up_falls_back_unless_it_was_answered() {
    let replies: Replies = |event, _, _| {
        if !event.raw.contains("start") {
            return Ok(Decision::nothing());
        }
        let later = FollowUp::after(2 * DAY, Message::text("later")?);
        let template = UtilityTemplate::new("still_free", "en_US");
        Ok(Decision::nothing().later(later.or_template(template).unless_answered()))
    };
    for (answers, expected) in [(false, vec!["UTILITY still_free"]), (true, vec![])] {
        let platform = platform_with(|options| options.replies = replies).await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "start")).await;
        platform.clock.forward(HOUR);
        if answers {
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "answer")).await;
        }
        platform.advance(3 * DAY).await;
        assert_eq!(said(&platform), expected);
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn a_death_around_it_loses_and_doubles_nothing() {
    survive(
        SILENT,
        async |platform| {
            say(platform, "hello").await;
            platform.advance(26 * HOUR).await;
        },
        async |platform| {
            while platform.invoke_follow_ups(request(json!({}))).await.is_err() {}
            platform.clock.forward(MINUTE);
            let _ = platform.tick().await;
        },
        async |platform, when| {
            let sent = platform.meta.delivered(PAGE, PSID);
            assert_eq!(sent.len(), 1, "{when}");
            assert_eq!(sent[0].messaging_type.as_deref(), Some("UTILITY"), "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn it_costs_no_more_writes_than_the_message() {
    let cost = async |days: u32| {
        let platform = heard_from().await;
        platform.meta.set_echoes(false);
        platform.meta.set_receipts(false);
        platform.advance(days * DAY).await;
        platform.invoke_follow_ups(request(json!({}))).await.unwrap();
        platform.clock.forward(3 * MINUTE);
        platform.aws.take_calls();
        platform.tick().await.unwrap();
        assert_eq!(platform.meta.delivered(PAGE, PSID).len(), 1);
        platform.aws.take_calls().iter().map(|call| call.writes).sum::<f64>()
    };
    assert!(cost(2).await <= cost(0).await);
}

#[tokio::test]
async fn a_template_that_meta_would_refuse_is_named() {
    let platform = heard_from().await;
    for (template, field) in [
        (json!("still_free"), "fallback_template: "),
        (json!({"name": "", "language": {"code": "en"}}), "fallback_template.name: "),
        (json!({"name": "n"}), "fallback_template.language: "),
        (
            json!({"name": "n", "language": {"code": "en"}, "components": "x"}),
            "fallback_template.components: ",
        ),
    ] {
        let wanted = request(json!({"fallback_template": template}));
        let error = platform.invoke_follow_ups(wanted).await.unwrap_err();
        assert!(error.starts_with(&format!("bad request: {field}")), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_known_of_a_template_is_kept_and_named() {
    let platform = heard_from().await;
    let template = json!({"name": "n", "language": {"code": "en"}, "namespace": "x"});
    let stored =
        platform.invoke_follow_ups(request(json!({"fallback_template": template}))).await.unwrap();
    let warning = "fallback_template.namespace: is not known here; it is sent as it is";
    assert_eq!(stored["warnings"], json!([warning]));
    let steps = entries(&platform, PSID).await.remove(0)["steps"].clone();
    assert!(steps[1]["body"].as_str().unwrap().contains("\"namespace\":\"x\""), "{steps}");
}
