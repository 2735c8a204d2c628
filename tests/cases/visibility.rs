//! When an event comes again that AWS or Meta made fail.

use std::sync::Arc;

use messenger::clock::{Clock, SharedClock};
use simulator::functions::Functions;
use simulator::gate::{Call, Verdict};
use simulator::platform::{DEAD_LETTERS, EVENTS, Platform, batch};

use crate::processor::PARROT;
use crate::support::*;

const CHANGE_VISIBILITY: &str = "AmazonSQS.ChangeMessageVisibility";

fn is_of_table(call: &Call) -> bool {
    call.target.starts_with("DynamoDB")
}

/// A platform with a container of the event processor beside it.
async fn beside() -> (Arc<Platform>, Functions) {
    let platform = platform_with(|options| options.replies = PARROT).await;
    let clock: SharedClock = Arc::<simulator::clock::VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    (platform, functions)
}

/// Processes what the queue gives, while some calls fail: the number of messages that failed.
async fn process_while(
    platform: &Platform,
    functions: &Functions,
    fails: impl Fn(&Call) -> bool,
) -> usize {
    let received = platform.sqs.receive(EVENTS, 10);
    let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
    platform.gate.close();
    let work = functions.processor.handle(batch(&received), "again", deadline);
    let drive = async {
        loop {
            if let Some(call) = platform.gate.held().first() {
                let verdict = if fails(call) { Verdict::Refused } else { Verdict::Go };
                platform.gate.release(0, verdict);
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::select! {
        answer = work => answer,
        () = drive => unreachable!(),
    };
    let failed = answer.batch_item_failures.iter().map(|it| it.item_identifier.clone());
    let failed = failed.collect::<Vec<_>>();
    for message in received.iter().filter(|message| !failed.contains(&message.message_id)) {
        platform.sqs.delete(EVENTS, &message.receipt_handle);
    }
    failed.len()
}

/// In how many seconds the queue gives an event again.
fn comes_again_in(platform: &Platform) -> i64 {
    (platform.sqs.next_visible_at(EVENTS).unwrap() - platform.clock.now().millis()) / 1000
}

async fn post(platform: &Platform, psid: &str, text: &str) {
    assert_eq!(platform.post(&platform.meta.person_says(PAGE, psid, text)).await, 200);
}

#[tokio::test]
async fn an_event_that_aws_made_fail_comes_again_soon_and_then_less_often() {
    let (platform, functions) = beside().await;
    post(&platform, PSID, "hello").await;
    for seconds in [5, 10, 20, 40, 80, 160, 180, 180] {
        assert_eq!(process_while(&platform, &functions, is_of_table).await, 1);
        assert_eq!(comes_again_in(&platform), seconds);
        platform.clock.forward(u32::try_from(seconds).unwrap() * SECOND);
    }
    assert_eq!(process_while(&platform, &functions, |_| false).await, 0);
    platform.advance(MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"]);
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn what_follows_an_event_that_failed_stays_behind_it_and_others_go_on() {
    let (platform, functions) = beside().await;
    for text in ["one", "two", "three"] {
        post(&platform, PSID, text).await;
        platform.clock.forward(SECOND);
    }
    post(&platform, OTHER_PSID, "beside").await;
    let of_one = |call: &Call| is_of_table(call) && call.body.contains(PSID);
    assert_eq!(process_while(&platform, &functions, of_one).await, 3);
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE you said beside"]);
    platform.clock.forward(5 * SECOND);
    assert_eq!(process_while(&platform, &functions, |_| false).await, 0);
    platform.advance(MINUTE).await;
    assert_eq!(
        delivered(&platform, PSID),
        ["RESPONSE you said one", "RESPONSE you said two", "RESPONSE you said three"]
    );
}

#[tokio::test]
async fn if_the_queue_fails_too_an_event_comes_again_after_its_visibility_timeout() {
    let (platform, functions) = beside().await;
    post(&platform, PSID, "one").await;
    post(&platform, PSID, "two").await;
    let fails = |call: &Call| is_of_table(call) || call.target == CHANGE_VISIBILITY;
    assert_eq!(process_while(&platform, &functions, fails).await, 2);
    assert_eq!(comes_again_in(&platform), 360);
    platform.clock.forward(VISIBILITY);
    // The queue takes the second message's time and not the first one's.
    let first = platform.sqs.messages(EVENTS)[0].message_id.clone();
    let fails = |call: &Call| {
        is_of_table(call) || (call.target == CHANGE_VISIBILITY && call.body.contains(&first))
    };
    assert_eq!(process_while(&platform, &functions, fails).await, 2);
    platform.advance(VISIBILITY + MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one", "RESPONSE you said two"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn what_there_was_no_time_for_comes_again_at_once() {
    let (platform, functions) = beside().await;
    post(&platform, PSID, "hello").await;
    let received = platform.sqs.receive(EVENTS, 10);
    let deadline = platform.clock.now() + 20 * SECOND;
    let answer = functions.processor.handle(batch(&received), "late", deadline).await;
    assert_eq!(answer.batch_item_failures.len(), 1);
    assert_eq!(comes_again_in(&platform), 0);
    assert!(conversation(&platform, PSID).await.is_empty(), "nothing of it was begun");
    assert_eq!(counted(&platform, "EventsFailed"), 0);
    platform.settle().await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"]);
}
