//! People take over from the bot, and give back.

use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::platform::Platform;
use simulator::samples::APP_ID;

use crate::processor::{PARROT, say};
use crate::support::*;

const INBOX: &str = "263902037430900";

async fn control(platform: &Platform, item: Value) {
    platform.deliver(&platform.meta.person_does(PAGE, PSID, item)).await;
    platform.clock.forward(SECOND);
}

fn passed_to(app: &str) -> Value {
    json!({"pass_thread_control": {"previous_owner_app_id": "1", "new_owner_app_id": app}})
}

fn taken_by(app: &str) -> Value {
    json!({"take_thread_control": {"previous_owner_app_id": "1", "new_owner_app_id": app}})
}

fn requested_by(app: &str) -> Value {
    json!({"request_thread_control": {"requested_owner_app_id": app}})
}

#[tokio::test]
async fn the_bot_is_quiet_from_losing_control_until_it_has_it_back() {
    for (away, back) in [(passed_to(INBOX), passed_to(APP_ID)), (taken_by(INBOX), taken_by(APP_ID))]
    {
        let platform = platform_with(|options| options.replies = PARROT).await;
        say(&platform, PSID, "one").await;
        control(&platform, away).await;
        say(&platform, PSID, "two").await;
        control(&platform, requested_by(INBOX)).await;
        control(&platform, requested_by(APP_ID)).await;
        say(&platform, PSID, "three").await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one"]);
        control(&platform, back).await;
        say(&platform, PSID, "four").await;
        assert_eq!(delivered(&platform, PSID)[1..], ["RESPONSE you said four"]);
    }
}

#[tokio::test]
async fn the_silence_ends_after_its_time() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    control(&platform, passed_to(INBOX)).await;
    platform.advance((12 * HOUR).checked_sub(2 * SECOND).unwrap()).await;
    say(&platform, PSID, "still quiet").await;
    platform.clock.forward(2 * SECOND);
    say(&platform, PSID, "over").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said over"]);
}

#[tokio::test]
async fn people_s_messages_go_out_and_the_bot_s_follow_ups_wait() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let later = FollowUp::after(HOUR, Message::text("later")?);
            Ok(Decision::nothing().later(later))
        };
    })
    .await;
    say(&platform, PSID, "hello").await;
    control(&platform, passed_to(INBOX)).await;
    let request = json!({"page_id": PAGE, "psid": PSID, "message": "It is me", "purpose": "human", "author": "front-desk"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.advance(3 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE It is me"]);
    assert_eq!(ends(&platform, PSID).await[1..], ["open quiet", "sent"]);
    platform.advance(10 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE It is me", "UPDATE later"]);
    assert_no_leftovers(&platform, PSID).await;
}

/// A message that people wrote in the inbox, as Meta reports it now.
fn inbox_echo(platform: &Platform, mid: &str) -> Vec<u8> {
    let message = json!({"mid": mid, "is_echo": true, "app_id": INBOX, "text": "hello"});
    let item = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID}, "message": message});
    platform.meta.person_does(PAGE, PSID, item)
}

#[tokio::test]
async fn an_echo_that_meta_repeats_after_the_hand_back_does_not_silence_the_bot() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    let echo = inbox_echo(&platform, "m_inbox");
    platform.deliver(&echo).await;
    platform.clock.forward(HOUR);
    control(&platform, passed_to(APP_ID)).await;
    platform.clock.forward(10 * MINUTE);
    platform.deliver(&echo).await;
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one", "RESPONSE you said two"]);
}

#[tokio::test]
async fn a_hand_back_that_comes_late_ends_no_later_silence() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    let back = platform.meta.person_does(PAGE, PSID, passed_to(APP_ID));
    platform.clock.forward(MINUTE);
    platform.deliver(&inbox_echo(&platform, "m_inbox")).await;
    platform.deliver(&back).await;
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one"]);
}

#[tokio::test]
async fn an_inbox_message_does_not_shorten_a_silence_that_was_promised() {
    let platform = platform_with(|options| {
        options.replies = |event, conversation, now| {
            if event.raw.contains("promise") {
                return Ok(Decision::nothing().quiet_for(48 * HOUR));
            }
            PARROT(event, conversation, now)
        };
    })
    .await;
    say(&platform, PSID, "promise").await;
    let echo = inbox_echo(&platform, "m_inbox");
    platform.deliver(&echo).await;
    platform.advance(13 * HOUR).await;
    say(&platform, PSID, "still quiet").await;
    platform.deliver(&echo).await;
    platform.advance(20 * HOUR).await;
    say(&platform, PSID, "quiet even now").await;
    assert!(requested(&platform, PSID).is_empty());
    platform.advance(16 * HOUR).await;
    say(&platform, PSID, "over").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said over"]);
}

#[tokio::test]
async fn what_people_write_through_the_api_silences_the_bot() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    say(&platform, PSID, "one").await;
    let request = json!({"page_id": PAGE, "psid": PSID, "message": "It is me", "purpose": "human", "author": "front-desk"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.advance(2 * MINUTE).await;
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one", "RESPONSE It is me"]);
    platform.advance(12 * HOUR).await;
    say(&platform, PSID, "three").await;
    assert_eq!(delivered(&platform, PSID)[2..], ["RESPONSE you said three"]);
}
