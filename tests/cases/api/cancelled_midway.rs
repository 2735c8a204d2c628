//! Cancellations in the middle of other work on the same message: whatever the work was about to list again,
//! nothing is left in the conversation.

use std::sync::Arc;

use backend::store::{ConversationKey, EntryKey};
use messenger::clock::SharedClock;
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use simulator::clock::VirtualClock;
use simulator::functions::Functions;
use simulator::gate::{GRAPH, Moment};
use simulator::platform::batch;

use super::midway::{interrupt_after, sweep};
use super::*;

/// More calls than any of the pieces of work here makes.
const MOST_CALLS: usize = 24;

fn beside(platform: &Platform) -> Functions {
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    platform.instance(1, &clock).unwrap()
}

/// Cancels what a person is to get later: whether there is anything.
pub(super) async fn cancel_what_waits(platform: &Platform) -> bool {
    let is_later = |entry: &serde_json::Map<String, Value>| {
        entry["status"] == "open" && entry["purpose"] != "reply"
    };
    let found = entries(platform, PSID).await.into_iter().find(is_later);
    let Some(entry) = found else { return false };
    let id = entry["sk"].as_str().unwrap().strip_prefix("outbox#").unwrap().to_owned();
    let person = PSID.parse().unwrap();
    let conversation_key = ConversationKey { page_id: PAGE.to_owned(), person };
    let key = EntryKey { conversation_key, id };
    let status = delete(platform, &format!("/messages/{key}")).await;
    assert!(matches!(status, 200 | 409), "{status}");
    true
}

/// Cancels a message after each of the calls that a piece of work makes: how many those are.
async fn assert_it_leaves_nothing(
    prepare: impl AsyncFn() -> Arc<Platform>,
    work: impl AsyncFn(&Platform, &Functions),
) -> usize {
    let mut cancelled = 0;
    for calls in 0..MOST_CALLS {
        let platform = prepare().await;
        let functions = beside(&platform);
        let work = Box::pin(work(&platform, &functions));
        let cancelling = async || cancel_what_waits(&platform).await;
        let (is_midway, is_cancelled) =
            interrupt_after(&platform, calls, false, work, cancelling).await;
        cancelled += usize::from(is_cancelled);
        platform.advance(DAY).await;
        assert_no_leftovers(&platform, PSID).await;
        if !is_midway {
            assert!(cancelled > 0, "there was nothing to cancel");
            return calls;
        }
    }
    panic!("it takes more than {MOST_CALLS} calls");
}

/// A person has written to a silent bot, and a message to them is due in an hour.
async fn with_a_message_for_later() -> Arc<Platform> {
    let platform = heard_from().await;
    let send_at = (platform.clock.now() + HOUR).millis();
    let wanted = message(json!({"send_at": send_at}));
    assert_eq!(post(&platform, Some("one"), &wanted).await.status, 202);
    platform
}

fn bot() -> String {
    format!("/people/{PSID}/bot?page_id={PAGE}")
}

/// The bot was silenced for long, and the message became due.
async fn with_a_message_that_waits_for_the_silence() -> Arc<Platform> {
    let platform = with_a_message_for_later().await;
    let until = (platform.clock.now() + 10 * HOUR).millis();
    assert_eq!(put(&platform, &bot(), &json!({"quiet_until": until})).await.status, 200);
    platform.advance(2 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["open quiet"]);
    platform
}

async fn request(platform: &Platform, functions: &Functions, sample: &str, body: &Value) {
    let mut sample = samples::read(sample).unwrap();
    sample["body"] = body.to_string().into();
    sample["headers"]["idempotency-key"] = "one".into();
    let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
    functions.api.handle(&request, "midway", platform.clock.now() + 29 * SECOND).await;
}

#[tokio::test]
async fn while_the_silence_that_it_waits_for_ends() {
    for active in [true, false] {
        assert_it_leaves_nothing(
            with_a_message_that_waits_for_the_silence,
            async |platform, functions| {
                let sooner = (platform.clock.now() + HOUR).millis();
                let body =
                    if active { json!({"active": true}) } else { json!({"quiet_until": sooner}) };
                request(platform, functions, "api/change-bot", &body).await;
            },
        )
        .await;
    }
}

/// The same request comes twice at once, and the message of the first is cancelled before the second ends.
#[tokio::test]
async fn while_it_is_requested_again() {
    for calls in 0..MOST_CALLS {
        let platform = heard_from().await;
        let functions = beside(&platform);
        let send_at = (platform.clock.now() + HOUR).millis();
        let wanted = message(json!({"send_at": send_at}));
        let work = Box::pin(request(&platform, &functions, "api/create-message", &wanted));
        let other = async || {
            let status = post(&platform, Some("one"), &wanted).await.status;
            assert!(matches!(status, 200 | 202), "{status}");
            assert!(cancel_what_waits(&platform).await);
        };
        let (is_midway, ()) = interrupt_after(&platform, calls, false, work, other).await;
        platform.advance(DAY).await;
        assert_no_leftovers(&platform, PSID).await;
        assert!(requested(&platform, PSID).is_empty());
        if !is_midway {
            return assert!(calls >= 3, "it takes {calls} calls");
        }
    }
    panic!("it takes more than {MOST_CALLS} calls");
}

#[tokio::test]
async fn while_it_is_put_off() {
    assert_it_leaves_nothing(
        async || {
            let platform = with_a_message_for_later().await;
            let until = (platform.clock.now() + 10 * HOUR).millis();
            assert_eq!(put(&platform, &bot(), &json!({"quiet_until": until})).await.status, 200);
            platform.clock.forward(HOUR + MINUTE);
            platform
        },
        sweep,
    )
    .await;
}

#[tokio::test]
async fn while_somebody_finds_that_its_sender_died() {
    assert_it_leaves_nothing(
        async || {
            let platform = with_a_message_for_later().await;
            platform.clock.forward(HOUR + MINUTE);
            platform.gate.crash_at_each(|call| call.target == GRAPH);
            assert!(platform.tick().await.is_err());
            platform.gate.spare();
            // Longer than its leases.
            platform.clock.forward(10 * MINUTE);
            platform
        },
        sweep,
    )
    .await;
}

#[tokio::test]
async fn while_the_event_that_promised_it_is_processed_again() {
    let promising = async |call: usize| {
        let platform = platform_with(|options| {
            options.replies = |_, _, _| {
                let later = FollowUp::after(HOUR, Message::text("later")?);
                Ok(Decision::nothing().say(Message::text("hi")?).later(later))
            };
        })
        .await;
        platform.meta.set_echoes(false);
        platform.post(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        platform.gate.crash_at(call, Moment::After);
        let received = platform.sqs.receive(EVENTS, 1);
        let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
        let functions = platform.instance(0, &clock).unwrap();
        let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
        let first = functions.processor.handle(batch(&received), "first", deadline);
        tokio::select! {
            _ = first => {}
            () = platform.gate.crashed() => {}
        }
        let died = !platform.gate.spare();
        platform.clock.forward(6 * MINUTE);
        (platform, died)
    };
    for call in 4.. {
        if !promising(call).await.1 {
            return assert!(call > 8, "the event takes {call} calls");
        }
        Box::pin(assert_it_leaves_nothing(
            async || promising(call).await.0,
            async |platform, functions| {
                let received = platform.sqs.receive(EVENTS, 1);
                let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
                let answer = functions.processor.handle(batch(&received), "again", deadline).await;
                if answer.batch_item_failures.is_empty() {
                    platform.sqs.delete(EVENTS, &received[0].receipt_handle);
                }
            },
        ))
        .await;
    }
}
