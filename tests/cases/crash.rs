//! A function dies at any of its calls, to AWS or to Graph; what was promised holds all the same.

use messenger::clock::Clock;
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use serde_json::json;
use simulator::gate::{Call, Moment};
use simulator::meta::Fault;
use simulator::platform::{Options, Platform, Replies};

use crate::support::*;

/// Runs a scenario, and again with a death at each call and on both sides of it.
///
/// `prepare` comes before, `act` is what is done; whatever a death left undone is done by the queue
/// and the schedule in the hours after it. `holds` is then checked, and that nothing is left over.
pub(crate) async fn survive(
    replies: Replies,
    prepare: impl AsyncFn(&Platform),
    act: impl AsyncFn(&Platform),
    holds: impl AsyncFn(&Platform, &str),
) {
    survive_with(|options| options.replies = replies, prepare, act, holds).await;
}

/// The same on a platform with other options.
pub(crate) async fn survive_with(
    options: impl Fn(&mut Options),
    prepare: impl AsyncFn(&Platform),
    act: impl AsyncFn(&Platform),
    holds: impl AsyncFn(&Platform, &str),
) {
    for moment in [Moment::Before, Moment::After] {
        for call in 1.. {
            let platform = platform_with(&options).await;
            prepare(&platform).await;
            platform.gate.crash_at(call, moment);
            act(&platform).await;
            let survived = platform.gate.spare();
            platform.advance(2 * HOUR).await;
            let when = format!("death {moment:?} call {call}");
            holds(&platform, &when).await;
            assert_no_leftovers(&platform, PSID).await;
            if survived {
                assert!(call > 4, "the scenario made {call} calls only");
                break;
            }
        }
    }
}

/// A person writes, and Meta posts until it is answered with 200.
pub(crate) async fn say(platform: &Platform, text: &str) {
    let body = platform.meta.person_says(PAGE, PSID, text);
    while platform.post(&body).await != 200 {}
    platform.settle().await;
}

#[tokio::test]
async fn one_reply_is_delivered_once() {
    survive(
        |_, _, _| Ok(Decision::nothing().say(Message::text("one")?)),
        async |_| {},
        async |platform| say(platform, "hello").await,
        async |platform, when| assert_eq!(delivered(platform, PSID), ["RESPONSE one"], "{when}"),
    )
    .await;
}

#[tokio::test]
async fn three_replies_are_delivered_once_and_in_order() {
    survive(
        |_, _, _| {
            let text = |text: &str| Message::text(text);
            Ok(Decision::nothing().say(text("one")?).say(text("two")?).say(text("three")?))
        },
        async |_| {},
        async |platform| say(platform, "hello").await,
        async |platform, when| {
            assert_eq!(
                delivered(platform, PSID),
                ["RESPONSE one", "RESPONSE two", "RESPONSE three"],
                "{when}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_reply_a_state_and_a_follow_up_happen_once() {
    let replies: Replies = |_, conversation, _| {
        let count = conversation.state.as_u64().unwrap_or(0) + 1;
        Decision::nothing()
            .say(Message::text(format!("reply {count}"))?)
            .later(FollowUp::after(5 * MINUTE, Message::text(format!("later {count}"))?))
            .remember(&count)
    };
    survive(
        replies,
        async |_| {},
        async |platform| say(platform, "hello").await,
        async |platform, when| {
            let mut got = delivered(platform, PSID);
            got.sort();
            assert_eq!(got, ["RESPONSE reply 1", "UPDATE later 1"], "{when}");
            assert_eq!(conversation(platform, PSID).await["state"], "1", "{when}");
            assert_eq!(conversation(platform, PSID).await["state_revision"], 1, "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn an_answer_cancels_the_reminder_once_and_for_all() {
    let replies: Replies = |event, _, _| {
        if event.raw.contains("start") {
            let reminder =
                FollowUp::after(10 * MINUTE, Message::text("reminder")?).unless_answered();
            return Ok(Decision::nothing().say(Message::text("question")?).later(reminder));
        }
        Ok(Decision::nothing().say(Message::text("thanks")?))
    };
    survive(
        replies,
        async |platform| {
            say(platform, "start").await;
            platform.clock.forward(SECOND);
        },
        async |platform| {
            say(platform, "answer").await;
        },
        async |platform, when| {
            assert_eq!(
                delivered(platform, PSID),
                ["RESPONSE question", "RESPONSE thanks"],
                "{when}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_follow_up_is_sent_once() {
    survive(
        |_, _, _| Ok(Decision::nothing()),
        async |platform| {
            say(platform, "hello").await;
            platform.advance(3 * MINUTE).await;
        },
        async |platform| {
            let request = json!({"id": "x", "page_id": PAGE, "psid": PSID, "message": "later", "purpose": "update"});
            while platform.invoke_follow_ups(request.clone()).await.is_err() {}
            platform.clock.forward(MINUTE);
            let _ = platform.tick().await;
        },
        async |platform, when| assert_eq!(delivered(platform, PSID), ["UPDATE later"], "{when}"),
    )
    .await;
}

#[tokio::test]
async fn a_pause_of_the_page_loses_and_doubles_nothing() {
    survive(
        |_, _, _| {
            let text = |text: &str| Message::text(text);
            Ok(Decision::nothing().say(text("one")?).say(text("two")?))
        },
        async |_| {},
        async |platform| {
            platform.meta.fail_next(Fault::Throttled { regain_minutes: 20 });
            say(platform, "hello").await;
            platform.advance(3 * MINUTE).await;
        },
        async |platform, when| {
            assert_eq!(delivered(platform, PSID), ["RESPONSE one", "RESPONSE two"], "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_was_recorded_stops_the_reminder_although_its_processing_died() {
    let replies: Replies = |_, _, _| {
        let reminder = FollowUp::after(2 * MINUTE, Message::text("reminder")?).unless_answered();
        Ok(Decision::nothing().later(reminder))
    };
    let platform = platform_with(|options| options.replies = replies).await;
    say(&platform, "start").await;
    platform.clock.forward(SECOND);
    let body = platform.meta.person_says(PAGE, PSID, "answer");
    assert_eq!(platform.post(&body).await, 200);
    platform.aws.take_calls();
    platform.gate.crash_at(1, Moment::After);
    platform.settle().await;
    assert_eq!(platform.aws.take_calls()[0].target, "DynamoDB_20120810.UpdateItem");
    platform.advance((3 * MINUTE).checked_sub(2 * SECOND).unwrap()).await;
    assert_eq!(ends(&platform, PSID).await, ["sent nothing_to_say", "cancelled answered"]);
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
}

/// The sender dies once its first message has reached Meta, and the echo of that message comes before
/// anybody looks at the entry again.
#[tokio::test]
async fn the_rest_of_a_reply_goes_before_what_is_due_later_although_its_sender_died() {
    let replies: Replies = |_, _, _| {
        let later = FollowUp::after(30 * SECOND, Message::text("later")?);
        let reply = Decision::nothing().say(Message::text("one")?).say(Message::text("two")?);
        Ok(reply.later(later))
    };
    let mut deaths_after_a_delivery = 0;
    for call in 1..20 {
        let platform = platform_with(|options| options.replies = replies).await;
        platform.gate.crash_at(call, Moment::After);
        say(&platform, "hello").await;
        let survived = platform.gate.spare();
        deaths_after_a_delivery += usize::from(delivered(&platform, PSID).len() == 1);
        platform.advance(2 * HOUR).await;
        let all = ["RESPONSE one", "RESPONSE two", "UPDATE later"];
        assert_eq!(delivered(&platform, PSID), all, "death after call {call}");
        assert_no_leftovers(&platform, PSID).await;
        if survived {
            break;
        }
    }
    assert!(deaths_after_a_delivery > 0);
}

/// The sender dies with its reply under way, and whoever takes its lease next dies at any of its calls.
#[tokio::test]
async fn a_reply_goes_before_what_is_due_later_although_two_senders_died() {
    let replies: Replies = |event, _, _| {
        let text = if event.raw.contains("hello") { "reply" } else { "welcome" };
        Ok(Decision::nothing().say(Message::text(text)?))
    };
    let mut deaths = 0;
    for call in 1..30 {
        let platform = platform_with(|options| options.replies = replies).await;
        say(&platform, "first").await;
        let due = json!({"page_id": PAGE, "psid": PSID, "message": "later", "purpose": "update",
            "send_at": (platform.clock.now() + 5 * SECOND).millis()});
        platform.invoke_follow_ups(due).await.unwrap();
        platform.gate.crash_at_each(|call| call.body.contains("\"text\":\"reply\""));
        say(&platform, "hello").await;
        platform.gate.spare();
        // The reply's lease is over, and the event does not come again within three minutes.
        platform.clock.forward(40 * SECOND);
        platform.gate.crash_at(call, Moment::After);
        deaths += usize::from(platform.tick().await.is_err());
        let survived = platform.gate.spare();
        // The dead sweep's lease on the Page is over as well.
        platform.clock.forward(125 * SECOND);
        let _ = platform.tick().await;
        platform.advance(2 * HOUR).await;
        let all = ["RESPONSE welcome", "RESPONSE reply", "UPDATE later"];
        assert_eq!(delivered(&platform, PSID), all, "death after call {call}");
        assert_no_leftovers(&platform, PSID).await;
        if survived {
            break;
        }
    }
    assert!(deaths > 4, "the sweep died {deaths} times only");
}

/// The sender dies with its reply not yet under way and a follow-up stored. When its batch comes again, the
/// older event takes the lease, and that run dies at any of its calls: the lease names another entry then.
#[tokio::test]
async fn a_reply_goes_before_its_follow_up_although_an_older_event_took_its_lease() {
    let replies: Replies = |event, _, _| {
        if event.raw.contains("first") {
            return Ok(Decision::nothing().say(Message::text("welcome")?));
        }
        let later = FollowUp::after(7 * MINUTE, Message::text("later")?);
        Ok(Decision::nothing().say(Message::text("reply")?).later(later))
    };
    for call in 1..30 {
        let platform = platform_with(|options| options.replies = replies).await;
        for text in ["first", "second"] {
            let body = platform.meta.person_says(PAGE, PSID, text);
            assert_eq!(platform.post(&body).await, 200);
            platform.clock.forward(SECOND);
        }
        let lists = |call: &Call| call.body.contains("#added0");
        platform.gate.crash_at_each(lists);
        platform.settle().await;
        platform.gate.spare();
        platform.clock.forward(VISIBILITY + 5 * SECOND);
        platform.gate.crash_at(call, Moment::After);
        platform.settle().await;
        let survived = platform.gate.spare();
        platform.clock.forward(MINUTE);
        let _ = platform.tick().await;
        platform.advance(2 * HOUR).await;
        let all = ["RESPONSE welcome", "RESPONSE reply", "UPDATE later"];
        assert_eq!(delivered(&platform, PSID), all, "death after call {call}");
        assert_no_leftovers(&platform, PSID).await;
        if survived {
            return assert!(call > 8, "the batch took {call} calls");
        }
    }
    panic!("the batch took too many calls");
}
