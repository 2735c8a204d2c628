//! The event processor: decided once, in order, and one bad event harms no other.

use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use serde_json::json;
use simulator::gate::{Call, Moment};
use simulator::meta::Fault;
use simulator::platform::{DEAD_LETTERS, EVENTS, Platform, Replies};

use crate::support::*;

pub(crate) async fn say(platform: &Platform, psid: &str, text: &str) {
    let body = platform.meta.person_says(PAGE, psid, text);
    assert_eq!(platform.deliver(&body).await, 200);
}

fn text_of(raw: &str) -> String {
    let item: serde_json::Value = serde_json::from_str(raw).unwrap();
    item["message"]["text"].as_str().unwrap_or_default().to_owned()
}

pub(crate) const PARROT: Replies = |event, _, _| {
    Ok(Decision::nothing().say(Message::text(format!("you said {}", text_of(&event.raw)))?))
};

#[tokio::test]
async fn a_panic_harms_no_other_person_and_ends_in_the_dead_letter_queue() {
    let replies: Replies = |event, conversation, now| {
        assert!(!event.raw.contains("poison"), "the words of a person");
        PARROT(event, conversation, now)
    };
    let platform = platform_with(|options| options.replies = replies).await;
    for (psid, text) in [(PSID, "poison"), (OTHER_PSID, "hello"), (PSID, "after")] {
        let body = platform.meta.person_says(PAGE, psid, text);
        assert_eq!(platform.post(&body).await, 200);
    }
    platform.settle().await;
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE you said hello"]);
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new(), "the group waits in order");
    platform.advance(4 * VISIBILITY).await;
    let dead = platform.sqs.messages(DEAD_LETTERS);
    assert_eq!(dead.len(), 1);
    assert!(dead[0].body.contains("poison"), "the event can be put back as it was");
    assert_eq!(dead[0].attributes["reason"].value, "panic");
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said after"]);
    assert!(platform.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn an_event_that_kills_the_process_delays_others_once_and_ends_in_the_dead_letter_queue() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    let others: Vec<_> = (0..8).map(|other| format!("70000000000006{other:02}")).collect();
    for (place, other) in others.iter().enumerate() {
        if place == 4 {
            platform.post(&platform.meta.person_says(PAGE, PSID, "poison")).await;
        }
        platform.post(&platform.meta.person_says(PAGE, other, "hello")).await;
    }
    // It dies where the bot is called: between the event's record and its decision.
    platform
        .gate
        .crash_at_each(|call| call.target.ends_with("PutItem") && call.body.contains(PSID));
    platform.settle().await;
    // One visibility timeout; what was being sent when it died waits for its echo as well.
    platform.advance((VISIBILITY + SECOND) + 2 * MINUTE).await;
    for other in &others {
        assert_eq!(delivered(&platform, other), ["RESPONSE you said hello"]);
    }
    platform.advance(7 * (VISIBILITY + SECOND)).await;
    let dead = platform.sqs.messages(DEAD_LETTERS);
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].attributes["reason"].value, "died");
    assert!(requested(&platform, PSID).is_empty());
    platform.gate.spare();
    say(&platform, PSID, "after").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said after"]);
}

#[tokio::test]
async fn failures_of_aws_never_count_against_an_event() {
    for moment in [Moment::Before, Moment::After] {
        let platform = platform_with(|options| options.replies = PARROT).await;
        let body = platform.meta.person_says(PAGE, PSID, "hello");
        platform.post(&body).await;
        // Before any work, and after more and more of it.
        for call in [1, 1, 1, 1, 1, 1, 2, 3] {
            platform.gate.crash_at(call, moment);
            platform.settle().await;
            platform.clock.forward(VISIBILITY);
        }
        platform.gate.spare();
        platform.advance(10 * MINUTE).await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"], "{moment:?}");
        assert!(platform.sqs.is_empty(DEAD_LETTERS), "{moment:?}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn what_fails_before_the_bot_is_asked_never_counts_against_an_event() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    platform.post(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    // It dies with its decision once, so it is suspect.
    platform
        .gate
        .crash_at_each(|call| call.target.ends_with("PutItem") && call.body.contains(PSID));
    platform.settle().await;
    let takes_the_lease = |call: &Call| {
        call.target.ends_with("UpdateItem")
            && call.body.contains(PSID)
            && call.body.contains("busy_for")
    };
    for delivery in 0..9 {
        platform.clock.forward(VISIBILITY + SECOND);
        if delivery < 7 {
            platform.gate.crash_at_each(takes_the_lease);
        } else {
            platform.gate.refuse_each(takes_the_lease);
        }
        platform.settle().await;
    }
    platform.gate.spare();
    platform.advance(10 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"]);
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_table_that_fails_after_the_bot_was_asked_never_counts_against_an_event() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    platform.post(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    for _ in 0..8 {
        // Neither the decision nor the trial's end can be written at once.
        let mut ends = 0;
        platform.gate.refuse_each(move |call| {
            let is_end = call.body.contains("REMOVE #trial_for");
            let is_decision = call.target.ends_with("PutItem") && call.body.contains(PSID);
            ends += usize::from(is_end);
            is_decision || (is_end && ends < 8)
        });
        platform.settle().await;
        platform.clock.forward(VISIBILITY + SECOND);
    }
    platform.gate.spare();
    platform.advance(10 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"]);
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_event_is_given_up_for_its_own_failures_alone() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| panic!("a fault of the bot");
    })
    .await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    platform.post(&body).await;
    for _ in 0..4 {
        platform.gate.crash_at(1, Moment::Before);
        platform.settle().await;
        platform.clock.forward(VISIBILITY);
    }
    platform.settle().await;
    assert!(platform.sqs.is_empty(DEAD_LETTERS), "given up at its first own failure");
}

#[tokio::test]
async fn a_decision_that_breaks_a_limit_ends_as_failed_and_says_which() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("x".repeat(2001))?));
    })
    .await;
    say(&platform, PSID, "hello").await;
    assert_eq!(ends(&platform, PSID).await, ["failed invalid"]);
    let reason = entries(&platform, PSID).await[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("text") && reason.contains("2000"), "{reason}");
    assert!(requested(&platform, PSID).is_empty());
    assert!(platform.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn messages_too_large_for_the_table_are_refused() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let receipt = json!({"template_type": "receipt", "recipient_name": "A", "order_number": "1",
                "currency": "EUR", "payment_method": "Card", "summary": {"total_cost": 1},
                "note": "x".repeat(70_000)});
            let receipt = Message::template(&receipt)?;
            let later = FollowUp::after(HOUR, receipt.clone());
            Ok(Decision::nothing().say(receipt.clone()).say(receipt).later(later))
        };
    })
    .await;
    say(&platform, PSID, "hello").await;
    assert_eq!(ends(&platform, PSID).await, ["failed invalid"]);
    assert!(platform.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn a_state_too_large_for_the_table_is_refused() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Decision::nothing().remember(&"x".repeat(600));
    })
    .await;
    say(&platform, PSID, "hello").await;
    assert_eq!(ends(&platform, PSID).await, ["failed invalid"]);
    assert!(!conversation(&platform, PSID).await.contains_key("state"));
}

#[tokio::test]
async fn an_edit_and_a_reaction_with_the_messages_mid_are_no_duplicates() {
    let platform = platform_with(|options| {
        options.replies = |event, _, _| {
            Ok(Decision::nothing().say(Message::text(format!("kind {}", event.kind_name()))?))
        };
    })
    .await;
    for item in [
        json!({"message": {"mid": "m_1", "text": "a"}}),
        json!({"message_edit": {"mid": "m_1", "text": "b", "num_edit": 1}}),
        json!({"reaction": {"mid": "m_1", "action": "react", "reaction": "love"}}),
        json!({"reaction": {"mid": "m_1", "action": "unreact"}}),
        json!({"message": {"mid": "m_1", "text": "a"}}),
    ] {
        platform.clock.forward(MINUTE);
        platform.deliver(&platform.meta.person_does(PAGE, PSID, item)).await;
    }
    let kinds = [
        "RESPONSE kind message",
        "RESPONSE kind edit",
        "RESPONSE kind reaction",
        "RESPONSE kind reaction",
    ];
    assert_eq!(delivered(&platform, PSID), kinds);
}

#[tokio::test]
async fn a_notification_that_meta_repeats_for_a_day_is_answered_once() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    for _ in 0..24 {
        platform.deliver(&body).await;
        platform.advance(HOUR).await;
    }
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"]);
}

#[tokio::test]
async fn a_notification_that_is_older_than_what_is_remembered_is_not_answered_again() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    platform.deliver(&body).await;
    for days in [9, 2, 5, 24] {
        platform.advance(days * DAY).await;
        platform.expire().await.unwrap();
        say(&platform, PSID, "again").await;
        platform.deliver(&body).await;
    }
    let hello = delivered(&platform, PSID).iter().filter(|text| text.ends_with("hello")).count();
    assert_eq!(hello, 1);
}

#[tokio::test]
async fn the_last_message_time_never_goes_back() {
    let platform =
        platform_with(|options| options.replies = |_, _, _| Ok(Decision::nothing())).await;
    let early = platform.meta.person_says(PAGE, PSID, "early");
    platform.clock.forward(HOUR);
    let late = platform.meta.person_says(PAGE, PSID, "late");
    let now = messenger::clock::Clock::now(&*platform.clock).millis();
    for body in [&late, &early, &late] {
        platform.clock.forward(10 * MINUTE);
        platform.deliver(body).await;
        assert_eq!(conversation(&platform, PSID).await["last_message_at"], now);
    }
}

#[tokio::test]
async fn standby_and_echoes_are_recorded_and_never_answered() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    let standby = json!({"object": "page", "entry": [{"id": PAGE, "time": 1_795_338_000_000_i64, "standby": [
        {"sender": {"id": PSID}, "recipient": {"id": PAGE}, "timestamp": 1_795_338_000_000_i64, "message": {"mid": "m_s", "text": "to another app"}}]}]});
    platform.deliver(standby.to_string().as_bytes()).await;
    assert_eq!(conversation(&platform, PSID).await["last_message_at"], 1_795_338_000_000_i64);
    let echo = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID}, "message": {"mid": "m_e", "is_echo": true, "text": "x"}});
    platform.deliver(&platform.meta.person_does(PAGE, PSID, echo)).await;
    assert!(requested(&platform, PSID).is_empty());
    assert_eq!(entries(&platform, PSID).await.len(), 0);
}

#[tokio::test]
async fn talking_to_a_person_makes_the_bot_quiet_until_its_time_has_passed() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_taps(PAGE, PSID, "PERSON", "Talk to a person")).await;
    assert_eq!(delivered(&platform, PSID).len(), 1);
    platform.advance(11 * HOUR).await;
    say(&platform, PSID, "hello?").await;
    assert_eq!(delivered(&platform, PSID).len(), 1);
    platform.advance(HOUR).await;
    say(&platform, PSID, "hello again").await;
    assert_eq!(delivered(&platform, PSID).len(), 2);
}

#[tokio::test]
async fn a_message_in_the_page_inbox_makes_the_bot_quiet() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    let echo = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID},
        "message": {"mid": "m_e", "is_echo": true, "app_id": 26_390_203_743_090_i64, "text": "Hello, I am the owner"}});
    say(&platform, PSID, "one").await;
    platform.deliver(&platform.meta.person_does(PAGE, PSID, echo)).await;
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one"]);
}

#[tokio::test]
async fn a_reply_waits_behind_what_was_due_before_it() {
    let replies: Replies = |event, conversation, now| {
        if event.raw.contains("start") {
            let later = FollowUp::after(MINUTE, Message::text("later")?);
            return Ok(Decision::nothing().later(later));
        }
        PARROT(event, conversation, now)
    };
    let platform = platform_with(|options| options.replies = replies).await;
    say(&platform, PSID, "start").await;
    platform.clock.forward(2 * MINUTE);
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE later", "RESPONSE you said two"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn retries_do_not_change_the_order() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    platform.meta.fail_next(Fault::Error { http: 500, code: 2, subcode: None });
    say(&platform, PSID, "one").await;
    platform.clock.forward(SECOND);
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one", "RESPONSE you said two"]);
    platform.advance(5 * MINUTE).await;
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_entry_whose_sender_died_is_taken_over() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    platform.meta.set_echoes(false);
    platform.meta.set_receipts(false);
    say(&platform, PSID, "warm up").await;
    platform.clock.forward(SECOND);
    let body = platform.meta.person_says(PAGE, PSID, "one");
    platform.post(&body).await;
    // The conversation, the entry, and then death before the result of the sent message is written.
    platform.gate.crash_at(4, Moment::Before);
    platform.settle().await;
    let held = entries(&platform, PSID).await.pop().unwrap();
    assert_eq!(held["steps"][0]["state"], "sending");
    assert!(held.contains_key("lease_by"));
    platform.clock.forward(VISIBILITY);
    platform.settle().await;
    let waiting = entries(&platform, PSID).await.pop().unwrap();
    assert_eq!(waiting["steps"][0]["state"], "unconfirmed");
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID)[1..], ["RESPONSE you said one", "RESPONSE you said one"]);
    assert_eq!(
        counted(&platform, "SentAgain"),
        1,
        "twice at most, where no echo confirmed the outcome"
    );
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_echo_saves_the_second_send() {
    let platform = platform_with(|options| options.replies = PARROT).await;
    platform.meta.fail_next(Fault::LostAnswer);
    say(&platform, PSID, "one").await;
    platform.advance(5 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one"]);
    assert_eq!(ends(&platform, PSID).await, ["sent"]);
    assert!(entries(&platform, PSID).await[0]["steps"][0]["mid"].is_string());
    assert_no_leftovers(&platform, PSID).await;
}
