//! The bot wakes itself: timers, replaced, cancelled, held back while people answer, and what a hand-over leaves.

use std::sync::Arc;

use messenger::bot::{BotError, Stateless, Turn, bot_fn, shared};
use messenger::clock::{Clock, SharedClock};
use messenger::decision::{Decision, HandOver, Timer};
use messenger::event::Kind;
use messenger::message::Message;
use serde_json::json;
use simulator::gate::{Call, Verdict};
use simulator::platform::{Options, Platform};

use crate::api::{get, put_to};
use crate::crash::{say, survive_with};
use crate::support::*;

/// A bot that sets and cancels timers as it is told, and says which one woke it.
async fn decide(turn: &Turn<Stateless>) -> Result<Decision, BotError> {
    let said = |text: String| Ok::<_, BotError>(Decision::nothing().say(Message::text(text)?));
    match &turn.event().kind {
        Kind::Timer(timer) => return said(format!("{} {}", timer.key, timer.payload)),
        Kind::Resumed => return said("back again".to_owned()),
        Kind::Message(_) => {}
        _ => return Ok(Decision::nothing()),
    }
    let text = turn.text();
    let remind = |key: &str| Timer::after(10 * MINUTE, key, &text);
    Ok(match text.as_str() {
        "timers" => said(format!("{:?}", turn.timers().keys().collect::<Vec<_>>()))?,
        "cancel" => Decision::nothing().cancel_timer("remind"),
        "waits" => Decision::nothing().wake_me(remind("remind")?.unless_answered()),
        "many" => (0..8).try_fold(Decision::nothing(), |decision, number| {
            Ok::<_, BotError>(decision.wake_me(remind(&format!("t-{number}"))?))
        })?,
        "person" => said("Somebody will be here.".to_owned())?
            .hand_over(HandOver::because("asked for a person").quiet_for(HOUR).and_wake_me()),
        "later" => Decision::nothing().wake_me(remind("other")?),
        _ => Decision::nothing().wake_me(remind("remind")?),
    })
}

fn options(options: &mut Options) {
    options.bot = Some(shared(bot_fn(decide)));
}

async fn platform() -> Arc<Platform> {
    platform_with(options).await
}

#[tokio::test]
async fn a_timer_wakes_the_bot_with_its_payload_and_once() {
    let platform = platform().await;
    say(&platform, "one").await;
    say(&platform, "timers").await;
    platform.advance(9 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), [r#"RESPONSE ["remind"]"#]);
    platform.advance(2 * MINUTE).await;
    say(&platform, "timers").await;
    let expected = [r#"RESPONSE ["remind"]"#, r#"UPDATE remind "one""#, "RESPONSE []"];
    assert_eq!(delivered(&platform, PSID), expected);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn another_timer_of_the_same_key_replaces_it_and_the_bot_cancels_it() {
    let platform = platform().await;
    say(&platform, "one").await;
    platform.advance(5 * MINUTE).await;
    say(&platform, "two").await;
    platform.advance(6 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
    platform.advance(5 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), [r#"UPDATE remind "two""#]);
    say(&platform, "three").await;
    say(&platform, "cancel").await;
    platform.advance(HOUR).await;
    assert_eq!(delivered(&platform, PSID).len(), 1);
    let ends = ends(&platform, PSID).await;
    for end in ["cancelled replaced", "cancelled withdrawn", "sent fired"] {
        assert!(ends.iter().any(|found| found == end), "{end}: {ends:?}");
    }
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_answer_cancels_a_timer_even_when_it_has_been_fired() {
    for is_fired in [false, true] {
        let platform = platform().await;
        say(&platform, "waits").await;
        if is_fired {
            // The answer overtakes nothing: it stands before the timer's event in the queue.
            platform.clock.forward(11 * MINUTE);
            assert_eq!(platform.post(&platform.meta.person_says(PAGE, PSID, "cancel")).await, 200);
            platform.tick().await.unwrap();
            assert!(ends(&platform, PSID).await.contains(&"sent fired".to_owned()));
        } else {
            platform.advance(5 * MINUTE).await;
            say(&platform, "nothing else").await;
            say(&platform, "cancel").await;
        }
        platform.advance(HOUR).await;
        assert_eq!(delivered(&platform, PSID), Vec::<String>::new(), "{is_fired}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn a_timer_that_was_fired_and_replaced_says_nothing() {
    let platform = platform().await;
    say(&platform, "one").await;
    platform.clock.forward(11 * MINUTE);
    assert_eq!(platform.post(&platform.meta.person_says(PAGE, PSID, "two")).await, 200);
    platform.tick().await.unwrap();
    platform.settle().await;
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
    platform.advance(11 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), [r#"UPDATE remind "two""#]);
    assert_no_leftovers(&platform, PSID).await;
}

/// Somebody answers in the Page's inbox.
fn answered_in_inbox(platform: &Platform) -> Vec<u8> {
    let message = json!({"mid": "m_inbox", "is_echo": true, "app_id": 263_902_037_430_900_i64, "text": "It is me"});
    let item = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID}, "message": message});
    platform.meta.person_does(PAGE, PSID, item)
}

#[tokio::test]
async fn a_timer_waits_while_people_answer() {
    for fires_first in [false, true] {
        let platform = platform().await;
        say(&platform, "one").await;
        if fires_first {
            platform.clock.forward(11 * MINUTE);
            assert_eq!(platform.post(&answered_in_inbox(&platform)).await, 200);
            platform.tick().await.unwrap();
        } else {
            assert_eq!(platform.post(&answered_in_inbox(&platform)).await, 200);
        }
        platform.settle().await;
        platform.advance(11 * HOUR).await;
        assert_eq!(delivered(&platform, PSID), Vec::<String>::new(), "{fires_first}");
        platform.advance(2 * HOUR).await;
        assert_eq!(delivered(&platform, PSID), [r#"UPDATE remind "one""#], "{fires_first}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

/// The event processor may be faster than the sweep that put the event into the queue.
#[tokio::test]
async fn a_timer_whose_event_comes_before_the_end_of_its_sweep_waits_while_people_answer() {
    let platform = platform().await;
    say(&platform, "one").await;
    platform.clock.forward(11 * MINUTE);
    assert_eq!(platform.post(&answered_in_inbox(&platform)).await, 200);
    let clock: SharedClock = platform.clock.clone();
    let sweeper = platform.instance(1, &clock).unwrap();
    platform.gate.close();
    let deadline = clock.now() + MINUTE;
    let sweep = sweeper.follow_ups.handle(json!({"source": "schedule"}), "sweep", deadline);
    tokio::pin!(sweep);
    let ends = |call: &Call| call.target.ends_with(".UpdateItem") && call.body.contains("fired");
    let until_its_end = async {
        while !platform.gate.held().iter().any(ends) {
            if !platform.gate.held().is_empty() {
                platform.gate.release(0, Verdict::Go);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut sweep => panic!("its last write is held"),
        () = until_its_end => {}
    }
    // The agent's echo, and then the timer's event, which comes again.
    platform.settle().await;
    let through = async {
        loop {
            platform.gate.release(0, Verdict::Go);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        swept = &mut sweep => assert!(swept.is_ok(), "{swept:?}"),
        () = through => {}
    }
    platform.advance(11 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
    platform.advance(2 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), [r#"UPDATE remind "one""#]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_person_has_few_timers() {
    let platform = platform().await;
    say(&platform, "many").await;
    say(&platform, "later").await;
    assert!(ends(&platform, PSID).await.contains(&"failed too_many_waiting".to_owned()));
    // One of the same key takes the other's place.
    say(&platform, "many").await;
    let person = get(&platform, &format!("/people/{PSID}?page_id={PAGE}")).await;
    let timers = person["timers"].as_array().unwrap();
    let keys: Vec<_> = timers.iter().filter_map(|timer| timer["key"].as_str()).collect();
    assert_eq!(keys, ["t-0", "t-1", "t-2", "t-3", "t-4", "t-5", "t-6", "t-7"]);
    assert_eq!(person["waiting"], json!([]));
    platform.advance(HOUR).await;
    assert_eq!(delivered(&platform, PSID).len(), 8);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn timers_are_set_fired_and_handled_once_whatever_dies() {
    survive_with(
        options,
        async |_| {},
        async |platform| {
            say(platform, "one").await;
            platform.advance(11 * MINUTE).await;
        },
        async |platform, when| {
            assert_eq!(delivered(platform, PSID), [r#"UPDATE remind "one""#], "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_replaced_timer_never_comes_back_whatever_dies() {
    survive_with(
        options,
        async |platform| say(platform, "one").await,
        async |platform| {
            platform.advance(5 * MINUTE).await;
            say(platform, "two").await;
        },
        async |platform, when| {
            assert_eq!(delivered(platform, PSID), [r#"UPDATE remind "two""#], "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn after_a_hand_over_the_bot_is_told_when_it_speaks_again() {
    let said = "RESPONSE Somebody will be here.".to_owned();
    let back = "UPDATE back again".to_owned();
    // The time runs out.
    let platform = platform().await;
    say(&platform, "person").await;
    say(&platform, "unanswered by the bot").await;
    platform.advance(59 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), std::slice::from_ref(&said));
    platform.advance(2 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), [said.clone(), back.clone()]);
    assert_no_leftovers(&platform, PSID).await;

    // An agent's desk gives the control back before.
    let platform = self::platform().await;
    say(&platform, "person").await;
    let path = format!("/people/{PSID}/bot?page_id={PAGE}");
    for _ in 0..2 {
        assert_eq!(put_to(&platform, &path, &json!({"active": true})).await.0, 200);
        platform.advance(2 * MINUTE).await;
        assert_eq!(delivered(&platform, PSID), [said.clone(), back.clone()]);
    }
    platform.advance(2 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), [said.clone(), back.clone()]);
    assert_no_leftovers(&platform, PSID).await;

    // The Page's inbox does.
    let platform = self::platform().await;
    say(&platform, "person").await;
    platform.clock.forward(SECOND);
    let body = platform.meta.inbox_passes(PAGE, PSID);
    assert_eq!(platform.post(&body).await, 200);
    platform.settle().await;
    platform.advance(2 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), [said, back]);
    let began = platform.clock.now();
    platform.advance(2 * HOUR).await;
    assert_eq!(platform.meta.delivered(PAGE, PSID).len(), 2, "since {began}");
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_hand_over_is_told_to_other_systems_with_its_reason() {
    let platform = platform_with(|changed| {
        options(changed);
        changed.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    say(&platform, "person").await;
    platform.advance(MINUTE).await;
    let fed = get(&platform, &format!("/events?page_id={PAGE}")).await;
    let events = fed["results"].as_array().unwrap();
    let told: Vec<_> = events.iter().filter(|event| event["kind"] == "handed_over").collect();
    assert_eq!(told.len(), 1, "{events:?}");
    assert_eq!(told[0]["psid"], PSID);
    assert_eq!(told[0]["event"], json!({"reason": "asked for a person"}));
    platform.advance(2 * HOUR).await;
    let fed = get(&platform, &format!("/events?page_id={PAGE}")).await;
    let events = fed["results"].as_array().unwrap();
    assert!(events.iter().all(|event| event["kind"] != "timer" && event["kind"] != "resumed"));
}
