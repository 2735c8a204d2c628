//! The write budget, counted at the `DynamoDB` API: capacity units in the table and its index.

use messenger::decision::{Decision, FollowUp};
use messenger::message::{Action, Message};
use simulator::platform::{Platform, Replies};

use crate::support::*;

/// Reads and writes that a second message of the person costs, the Page's state being known.
async fn cost(replies: Replies) -> (f64, f64) {
    let platform = platform_with(|options| options.replies = replies).await;
    platform.meta.set_echoes(false);
    platform.meta.set_receipts(false);
    say(&platform, "first").await;
    platform.clock.forward(SECOND);
    platform.aws.take_calls();
    say(&platform, "second").await;
    taken(&platform)
}

async fn say(platform: &Platform, text: &str) {
    let body = platform.meta.person_says(PAGE, PSID, text);
    assert_eq!(platform.deliver(&body).await, 200);
}

fn taken(platform: &Platform) -> (f64, f64) {
    let calls = platform.aws.take_calls();
    (calls.iter().map(|call| call.reads).sum(), calls.iter().map(|call| call.writes).sum())
}

#[tokio::test]
async fn a_message_without_an_answer_costs_one_write() {
    assert_eq!(cost(|_, _, _| Ok(Decision::nothing())).await, (0.0, 1.0));
}

#[tokio::test]
async fn a_message_with_one_reply_costs_three_writes_and_no_read() {
    assert_eq!(cost(|_, _, _| Ok(Decision::nothing().say(Message::text("hi")?))).await, (0.0, 3.0));
}

/// The costs of two messages with a reply each on two days: reads and writes.
#[tokio::test]
async fn a_profile_costs_a_read_and_once_a_day_a_read_and_a_write_more() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hi")?));
        options.variables.insert("USER_PROFILES".to_owned(), "on".to_owned());
    })
    .await;
    platform.meta.set_echoes(false);
    platform.meta.set_receipts(false);
    let mut costs = Vec::new();
    for (psid, text) in [(OTHER_PSID, "the Page is known"), (PSID, "first"), (PSID, "second")] {
        platform.aws.take_calls();
        let body = platform.meta.person_says(PAGE, psid, text);
        assert_eq!(platform.deliver(&body).await, 200);
        platform.clock.forward(SECOND);
        costs.push(taken(&platform));
    }
    assert_eq!(costs[1..], [(2.0, 4.0), (1.0, 3.0)]);
}

#[tokio::test]
async fn each_further_reply_costs_one_write() {
    let replies: Replies = |_, _, _| {
        let hi = Message::text("hi")?;
        Ok(Decision::nothing().say(hi.clone()).say(hi.clone()).say(hi))
    };
    // The read is the look at the mark of an erasure.
    assert_eq!(cost(replies).await, (2.0, 5.0));
}

#[tokio::test]
async fn a_sender_action_costs_one_write() {
    let replies: Replies =
        |_, _, _| Ok(Decision::nothing().say(Action::TypingOn).say(Message::text("hi")?));
    assert_eq!(cost(replies).await, (1.0, 4.0));
}

#[tokio::test]
async fn a_changed_state_costs_one_write_more() {
    let replies: Replies =
        |_, _, _| Decision::nothing().say(Message::text("hi")?).remember(&"state");
    assert_eq!(cost(replies).await, (0.0, 4.0));
}

#[tokio::test]
async fn a_follow_up_costs_two_writes_and_one_for_the_conversation() {
    let replies: Replies = |_, _, _| {
        let later = FollowUp::after(DAY, Message::text("later")?);
        Ok(Decision::nothing().say(Message::text("hi")?).later(later))
    };
    assert_eq!(cost(replies).await, (0.0, 6.0));
}

/// A follow-up that an event without an answer lets go first: what the event and sending cost, and the
/// lease for it, with that for the decision again.
#[tokio::test]
async fn what_an_event_lets_go_first_costs_two_writes_for_the_lease() {
    let replies: Replies = |event, _, _| {
        if event.raw.contains("second") {
            return Ok(Decision::nothing());
        }
        Ok(Decision::nothing().later(FollowUp::after(MINUTE, Message::text("later")?)))
    };
    let platform = platform_with(|options| options.replies = replies).await;
    platform.meta.set_echoes(false);
    platform.meta.set_receipts(false);
    say(&platform, "first").await;
    platform.clock.forward(MINUTE);
    platform.aws.take_calls();
    say(&platform, "second").await;
    let cost = taken(&platform);
    assert_eq!(delivered(&platform, PSID), ["UPDATE later"]);
    // The reads are the entry and the Page.
    assert_eq!(cost, (2.0, 1.0 + 5.0 + 2.0));
}

#[tokio::test]
async fn a_delivery_and_a_read_cost_nothing() {
    let platform = platform().await;
    say(&platform, "hello").await;
    platform.aws.take_calls();
    let watermark = serde_json::json!({"watermark": 1});
    for kind in ["delivery", "read"] {
        let item = serde_json::json!({kind: watermark});
        let body = platform.meta.person_does(PAGE, PSID, item);
        assert_eq!(platform.deliver(&body).await, 200);
    }
    assert_eq!(taken(&platform), (0.0, 0.0));
}

#[tokio::test]
async fn an_own_echo_that_tells_nothing_new_costs_a_read() {
    let platform = platform().await;
    platform.meta.set_receipts(false);
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    platform.meta.set_echoes(false);
    platform.deliver(&body).await;
    let metadata = requested(&platform, PSID)[0].metadata.clone().unwrap();
    platform.aws.take_calls();
    let echo = serde_json::json!({"sender": {"id": PAGE}, "recipient": {"id": PSID},
        "message": {"mid": "m_e", "is_echo": true, "app_id": simulator::samples::APP_ID, "metadata": metadata}});
    platform.deliver(&platform.meta.person_does(PAGE, PSID, echo)).await;
    assert_eq!(taken(&platform), (1.0, 0.0));
}

#[tokio::test]
async fn what_people_write_costs_one_write_more_than_what_systems_write() {
    let mut costs = Vec::new();
    for (purpose, author) in [("update", None), ("human", Some("front-desk"))] {
        let platform = platform().await;
        platform.meta.set_echoes(false);
        say(&platform, "first").await;
        platform.aws.take_calls();
        let request = serde_json::json!({"page_id": PAGE, "psid": PSID, "message": "hi",
            "purpose": purpose, "author": author});
        platform.invoke_follow_ups(request).await.unwrap();
        platform.tick().await.unwrap();
        costs.push(taken(&platform).1);
        assert_eq!(requested(&platform, PSID).len(), 2);
    }
    assert!((costs[1] - costs[0] - 1.0).abs() < f64::EPSILON, "{costs:?}");
}

#[tokio::test]
async fn a_page_with_nothing_due_costs_two_calls_a_minute_and_erasures_one() {
    let platform = platform().await;
    platform.tick().await.unwrap();
    platform.clock.forward(MINUTE);
    platform.aws.take_calls();
    platform.tick().await.unwrap();
    assert_eq!(taken(&platform), (1.5, 0.0));
}
