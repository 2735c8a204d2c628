//! The bot is silenced and let speak again through the API.

use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use simulator::gate::Moment;

use super::*;

const PARROT_WITH_REMINDER: Replies = |event, _, _| {
    if event.is_own() {
        return Ok(Decision::nothing());
    }
    if event.raw.contains("remind") {
        let later = FollowUp::after(HOUR, Message::text("reminder")?);
        return Ok(Decision::nothing().say(Message::text("will do")?).later(later));
    }
    Ok(Decision::nothing().say(Message::text("hello")?))
};
use simulator::platform::Replies;

fn bot() -> String {
    format!("/people/{PSID}/bot?page_id={PAGE}")
}

async fn answering() -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| options.replies = PARROT_WITH_REMINDER).await;
    say(&platform, "remind me").await;
    platform.advance(MINUTE).await;
    platform
}

async fn say(platform: &Platform, text: &str) {
    platform.deliver(&platform.meta.person_says(PAGE, PSID, text)).await;
}

#[tokio::test]
async fn the_bot_is_silent_until_the_time_that_is_set_and_no_longer() {
    let platform = answering().await;
    let until = platform.clock.now() + 30 * MINUTE;
    let set = put(&platform, &bot(), &json!({"quiet_until": until.to_string()})).await;
    assert_eq!((set.status, &set.body["quiet_until"]), (200, &json!(until.to_string())));
    say(&platform, "are you there?").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do"]);
    // Sooner than was set before.
    let sooner = platform.clock.now() + 10 * MINUTE;
    assert_eq!(put(&platform, &bot(), &json!({"quiet_until": sooner.millis()})).await.status, 200);
    platform.advance(11 * MINUTE).await;
    say(&platform, "and now?").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do", "RESPONSE hello"]);
}

#[tokio::test]
async fn what_was_due_while_the_bot_was_silent_is_sent_once_it_is_active() {
    let platform = answering().await;
    let until = platform.clock.now() + 10 * HOUR;
    assert_eq!(put(&platform, &bot(), &json!({"quiet_until": until.millis()})).await.status, 200);
    platform.advance(2 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do"]);
    assert_eq!(ends(&platform, PSID).await, ["sent", "open quiet"]);
    let active = put(&platform, &bot(), &json!({"active": true})).await;
    assert_eq!((active.status, &active.body["quiet_until"]), (200, &Value::Null));
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do", "UPDATE reminder"]);
    assert_eq!(put(&platform, &bot(), &json!({"active": true})).await.status, 200);
    platform.advance(DAY).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do", "UPDATE reminder"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_hand_back_of_the_thread_sends_what_waited_for_the_end_of_the_silence_too() {
    let platform = answering().await;
    let until = platform.clock.now() + 10 * HOUR;
    assert_eq!(put(&platform, &bot(), &json!({"quiet_until": until.millis()})).await.status, 200);
    platform.advance(2 * HOUR).await;
    let back = json!({"pass_thread_control": {"new_owner_app_id": samples::APP_ID}});
    platform.deliver(&platform.meta.person_does(PAGE, PSID, back)).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do", "UPDATE reminder"]);
    platform.advance(DAY).await;
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_request_that_says_neither_or_both_changes_nothing_and_says_why() {
    let platform = answering().await;
    let now = platform.clock.now();
    for (body, field) in [
        (json!({}), Value::Null),
        (json!({"active": true, "quiet_until": (now + HOUR).millis()}), Value::Null),
        (json!({"active": false}), json!("active")),
        (json!({"quiet_until": (now - HOUR).millis()}), json!("quiet_until")),
        (json!({"quiet_until": (now + 31 * DAY).millis()}), json!("quiet_until")),
        (json!({"quiet_until": "soon"}), json!("quiet_until")),
        (json!({"silent": true}), json!("silent")),
    ] {
        let answer = put(&platform, &bot(), &body).await;
        assert_eq!((answer.status, &answer.body["error"]["field"]), (422, &field), "{body}");
    }
    let unknown = format!("/people/{OTHER_PSID}/bot?page_id={PAGE}");
    assert_eq!(put(&platform, &unknown, &json!({"active": true})).await.code(), "unknown_person");
    say(&platform, "still there?").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do", "RESPONSE hello"]);
}

#[tokio::test]
async fn what_was_due_in_the_silence_goes_before_what_is_said_after_it_although_its_end_is_cut_short()
 {
    let mut in_order = 0;
    for number in 0..24 {
        let moment = if number % 2 == 0 { Moment::Before } else { Moment::After };
        let call = 1 + number / 2;
        let platform = answering().await;
        let until = (platform.clock.now() + 10 * HOUR).millis();
        assert_eq!(put(&platform, &bot(), &json!({"quiet_until": until})).await.status, 200);
        platform.advance(2 * HOUR).await;
        platform.gate.crash_at(call, moment);
        let (bot, active) = (bot(), json!({"active": true}));
        tokio::select! {
            _ = put(&platform, &bot, &active) => {}
            () = platform.gate.crashed() => {}
        }
        let is_complete = platform.gate.spare();
        let due_at = entries(&platform, PSID).await[1].get("due_at").and_then(Value::as_i64);
        let is_due = due_at <= Some(platform.clock.now().millis());
        say(&platform, "hello").await;
        assert_eq!(put(&platform, &bot, &active).await.status, 200);
        platform.advance(DAY).await;
        let got = delivered(&platform, PSID);
        assert!(got.contains(&"UPDATE reminder".to_owned()), "{moment:?} {call}: {got:?}");
        if !is_complete && is_due && got.len() == 3 {
            assert_eq!(got[1..], ["UPDATE reminder", "RESPONSE hello"], "{moment:?} {call}");
            in_order += 1;
        }
        assert_no_leftovers(&platform, PSID).await;
    }
    assert!(in_order > 2);
}

#[tokio::test]
async fn what_waits_for_the_silence_is_due_when_a_sooner_end_comes() {
    let platform = answering().await;
    let until = platform.clock.now() + 10 * HOUR;
    assert_eq!(put(&platform, &bot(), &json!({"quiet_until": until.millis()})).await.status, 200);
    platform.advance(2 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["sent", "open quiet"]);
    let sooner = platform.clock.now() + 10 * MINUTE;
    assert_eq!(put(&platform, &bot(), &json!({"quiet_until": sooner.millis()})).await.status, 200);
    platform.advance(11 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE will do", "UPDATE reminder"]);
    platform.advance(DAY).await;
    assert_no_leftovers(&platform, PSID).await;
}
