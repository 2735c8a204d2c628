//! Thread control: what the inbox or the Business AI holds waits, and leaves when it is back.

use messenger::decision::{Decision, FollowUp};
use messenger::message::{Message, Outgoing};
use serde_json::{Value, json};
use simulator::meta::{BUSINESS_AI, INBOX, Outcome};
use simulator::platform::{Platform, Replies};
use simulator::samples::APP_ID;

use crate::processor::{PARROT, say};
use crate::support::*;

const SILENT: Replies = |_, _, _| Ok(Decision::nothing());

fn refused(platform: &Platform) -> usize {
    let requests = requested(platform, PSID).into_iter();
    let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused { .. });
    requests.filter(|request| is_refused(&request.outcome)).count()
}

fn looks(platform: &Platform) -> usize {
    platform.meta.calls().iter().filter(|call| call.ends_with("/thread_owner")).count()
}

async fn write_as_person_of_the_business(platform: &Platform, text: &str) {
    let request = json!({"page_id": PAGE, "psid": PSID, "message": text, "purpose": "human", "author": "front-desk"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.advance(2 * MINUTE).await;
}

/// A person wrote, the inbox took the thread without a word, and an answer waits for it.
async fn waiting() -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| options.replies = SILENT).await;
    say(&platform, PSID, "hi").await;
    platform.meta.inbox_takes(PAGE, PSID);
    write_as_person_of_the_business(&platform, "It is me").await;
    assert_eq!(ends(&platform, PSID).await, ["open thread_taken"]);
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
    platform
}

#[tokio::test]
async fn a_message_into_a_thread_that_the_inbox_holds_leaves_when_it_is_passed_back() {
    let platform = waiting().await;
    platform.advance(5 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["open thread_taken"]);
    assert_eq!(refused(&platform), 1, "it is asked who has the thread, instead of trying");
    assert!((20..=40).contains(&looks(&platform)), "{}", looks(&platform));
    assert_eq!(counted(&platform, "PermissionMissing") + counted(&platform, "AttentionNeeded"), 0);
    assert_eq!(counted(&platform, "PagePaused"), 0);
    assert_eq!(counted(&platform, "ThreadTaken"), 1);
    let back = platform.meta.inbox_passes(PAGE, PSID);
    platform.deliver(&back).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE It is me"]);
    // The bot is told that it may speak again.
    platform.advance(MINUTE).await;
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_release_sends_no_event_and_is_found_out() {
    let platform = waiting().await;
    platform.meta.thread_is_released(PAGE, PSID);
    platform.advance(11 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE It is me"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn control_ends_after_a_day_of_inactivity() {
    let platform = waiting().await;
    platform.advance(23 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
    platform.advance(2 * HOUR).await;
    let [answer] = &delivered(&platform, PSID)[..] else { panic!("it was lost, or doubled") };
    assert!(answer.ends_with("It is me"), "{answer}");
}

#[tokio::test]
async fn what_waits_for_a_thread_is_lost_with_its_window_only() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    platform.meta.business_ai_takes(PAGE, PSID);
    platform.clock.forward(MINUTE);
    let body = platform.meta.person_says(PAGE, PSID, "two");
    let body = String::from_utf8(body).unwrap().replace("standby", "messaging");
    platform.deliver(body.as_bytes()).await;
    assert_eq!(ends(&platform, PSID).await, ["sent", "open thread_taken"]);
    platform.advance(23 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["sent", "open thread_taken"]);
    platform.advance(2 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["sent", "refused window_closed"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn the_bot_is_quiet_while_another_app_has_the_thread_and_messages_keep_their_order() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    platform.meta.business_ai_takes(PAGE, PSID);
    let as_if_ours = |text: &str| {
        let body = platform.meta.person_says(PAGE, PSID, text);
        String::from_utf8(body).unwrap().replace("standby", "messaging")
    };
    platform.clock.forward(MINUTE);
    platform.deliver(as_if_ours("two").as_bytes()).await;
    assert_eq!(refused(&platform), 1);
    platform.clock.forward(MINUTE);
    platform.deliver(as_if_ours("three").as_bytes()).await;
    assert_eq!(refused(&platform), 1, "the bot is quiet");
    write_as_person_of_the_business(&platform, "It is me").await;
    assert_eq!(
        ends(&platform, PSID).await[1..],
        ["open thread_taken", "open earlier_messages_wait"]
    );
    platform.meta.thread_is_released(PAGE, PSID);
    say(&platform, PSID, "four").await;
    // Somebody has answered by now, so the bot is quiet about the fourth.
    let answers = delivered(&platform, PSID);
    assert_eq!(answers[1..], ["RESPONSE you said two", "RESPONSE It is me"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn events_in_standby_say_that_another_app_has_the_thread() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    platform.meta.business_ai_takes(PAGE, PSID);
    platform.clock.forward(MINUTE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "two")).await;
    write_as_person_of_the_business(&platform, "It is me").await;
    assert_eq!(refused(&platform), 0, "it is known without a try");
    assert_eq!(ends(&platform, PSID).await[1..], ["open thread_taken"]);
    let person = crate::api::get(&platform, &format!("/people/{PSID}?page_id={PAGE}")).await;
    assert_eq!(person["thread_owner"], BUSINESS_AI);
    platform.meta.thread_is_released(PAGE, PSID);
    platform.advance(11 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID)[1..], ["RESPONSE It is me"]);
    let person = crate::api::get(&platform, &format!("/people/{PSID}?page_id={PAGE}")).await;
    assert_eq!(person["thread_owner"], json!(null));
}

#[tokio::test]
async fn a_late_handover_does_not_undo_a_newer_one() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    let taken = platform.meta.inbox_takes(PAGE, PSID);
    platform.clock.forward(MINUTE);
    let back = platform.meta.inbox_passes(PAGE, PSID);
    platform.deliver(&back).await;
    platform.deliver(&taken).await;
    platform.clock.forward(SECOND);
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID)[1..], ["RESPONSE you said two"]);
    assert_eq!(looks(&platform), 0);
    assert_eq!(platform.meta.holder_of(PAGE, PSID).as_deref(), Some(APP_ID));
}

#[tokio::test]
async fn follow_ups_wait_for_the_thread_too() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let later = FollowUp::after(HOUR, Message::text("later")?);
            Ok(Decision::nothing().later(later))
        };
    })
    .await;
    say(&platform, PSID, "hello").await;
    platform.deliver(&platform.meta.inbox_takes(PAGE, PSID)).await;
    platform.advance(14 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await[1..], ["open thread_taken"], "the silence is over");
    assert_eq!(platform.meta.holder_of(PAGE, PSID).as_deref(), Some(INBOX));
    platform.meta.thread_is_released(PAGE, PSID);
    platform.advance(11 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE later"]);
    assert_no_leftovers(&platform, PSID).await;
}

async fn change_thread(platform: &Platform, body: Value) -> (u16, Value) {
    let path = format!("/people/{PSID}/thread?page_id={PAGE}");
    crate::api::post_to(platform, &path, &body).await
}

#[tokio::test]
async fn the_api_takes_a_thread_and_what_waited_leaves() {
    let platform = waiting().await;
    let (status, _) = change_thread(&platform, json!({"action": "request"})).await;
    assert_eq!((status, delivered(&platform, PSID).len()), (200, 0), "to ask is not to have");
    let (status, person) = change_thread(&platform, json!({"action": "take"})).await;
    assert_eq!((status, &person["thread_owner"]), (200, &json!(null)), "{person}");
    assert_eq!(delivered(&platform, PSID), ["RESPONSE It is me"]);
    assert_no_leftovers(&platform, PSID).await;
    let (status, person) =
        change_thread(&platform, json!({"action": "pass", "app_id": INBOX})).await;
    assert_eq!((status, &person["thread_owner"]), (200, &json!(INBOX)), "{person}");
    let (status, problem) = change_thread(&platform, json!({"action": "release"})).await;
    assert_eq!((status, &problem["error"]["code"]), (409, &json!("thread_taken")));
    change_thread(&platform, json!({"action": "take"})).await;
    let (status, _) =
        change_thread(&platform, json!({"action": "extend", "seconds": 172_800})).await;
    assert_eq!(status, 200);
    platform.advance(30 * HOUR).await;
    assert_eq!(platform.meta.holder_of(PAGE, PSID).as_deref(), Some(APP_ID));
    let (status, _) = change_thread(&platform, json!({"action": "release"})).await;
    assert_eq!((status, platform.meta.holder_of(PAGE, PSID)), (200, None));
}

#[tokio::test]
async fn a_wrong_change_of_a_thread_names_its_field() {
    let platform = platform_with(|options| options.replies = SILENT).await;
    say(&platform, PSID, "hi").await;
    for (body, field) in [
        (json!({}), "action"),
        (json!({"action": "steal"}), "action"),
        (json!({"action": "pass"}), "app_id"),
        (json!({"action": "pass", "app_id": "inbox"}), "app_id"),
        (json!({"action": "take", "app_id": "15"}), "app_id"),
        (json!({"action": "extend"}), "seconds"),
        (json!({"action": "extend", "seconds": 604_801}), "seconds"),
        (json!({"action": "take", "seconds": 1}), "seconds"),
    ] {
        let (status, problem) = change_thread(&platform, body.clone()).await;
        assert_eq!((status, &problem["error"]["field"]), (422, &json!(field)), "{body}");
    }
    assert_eq!(platform.meta.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn the_last_words_and_the_hand_over_are_one_call() {
    let replies: Replies = |event, conversation, now| {
        if event.raw.contains("a person please") {
            let words = Outgoing::from(Message::text("One moment.")?);
            return Ok(Decision::nothing().say(words.passing_thread_to(INBOX)));
        }
        PARROT(event, conversation, now)
    };
    let platform = platform_with(|options| options.replies = replies).await;
    say(&platform, PSID, "a person please").await;
    assert_eq!(platform.meta.holder_of(PAGE, PSID).as_deref(), Some(INBOX));
    platform.clock.forward(SECOND);
    say(&platform, PSID, "hello?").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE One moment."]);
    platform.clock.forward(MINUTE);
    platform.deliver(&platform.meta.inbox_passes(PAGE, PSID)).await;
    platform.clock.forward(SECOND);
    say(&platform, PSID, "back").await;
    assert_eq!(delivered(&platform, PSID)[1..], ["RESPONSE you said back"]);
}

#[tokio::test]
async fn a_request_may_hand_the_thread_over() {
    let platform = platform_with(|options| options.replies = SILENT).await;
    say(&platform, PSID, "hi").await;
    let mut request = json!({
        "page_id": PAGE, "psid": PSID, "message": "Bye", "purpose": "update",
        "thread_control": {"control_type": "release"},
    });
    platform.invoke_follow_ups(request.clone()).await.unwrap();
    request["thread_control"] = json!({"control_type": "pass", "app_id": INBOX});
    request["message"] = "Over to them".into();
    platform.invoke_follow_ups(request.clone()).await.unwrap();
    platform.advance(2 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE Bye", "UPDATE Over to them"]);
    assert_eq!(platform.meta.holder_of(PAGE, PSID).as_deref(), Some(INBOX));
    for (control, field) in [
        (json!({"control_type": "take"}), "thread_control.control_type"),
        (json!({"control_type": "pass", "app_id": "inbox"}), "thread_control.app_id"),
        (json!({"control_type": "pass", "to": "1"}), "thread_control.to"),
    ] {
        request["thread_control"] = control;
        let problem = platform.invoke_follow_ups(request.clone()).await.unwrap_err();
        assert!(problem.contains(field), "{problem}");
    }
}
