//! Setup's first message to a person for whom something else is due that the API was asked to send.

use std::sync::Arc;

use messenger::clock::SharedClock;
use messenger::decision::Decision;
use simulator::functions::Functions;

use super::erased_midway::{erase_after, pulled};
use super::erasure::assert_only_the_mark;
use super::*;
use crate::forward::Receiver;

/// A platform where a requested message has just become due; what happens is in the feed, and forwarded.
async fn something_is_due() -> (Arc<Platform>, Receiver) {
    let receiver = Receiver::start().await;
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing());
        for (name, value) in
            [("FEED", "on"), ("FORWARD_URLS", &receiver.url), ("FORWARD_ALLOW_LOCAL", "true")]
        {
            options.variables.insert(name.to_owned(), value.to_owned());
        }
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    let send_at = (platform.clock.now() + 2 * MINUTE).millis();
    let body = message(json!({"message": "due", "send_at": send_at}));
    assert_eq!(post(&platform, None, &body).await.status, 202);
    platform.clock.forward(2 * MINUTE + SECOND);
    (platform, receiver)
}

fn first_message() -> Value {
    json!({"action": "first-message", "page_id": PAGE, "psid": PSID, "author": "desk"})
}

#[tokio::test]
async fn what_leaves_before_the_first_message_is_told_to_other_systems() {
    let (platform, receiver) = something_is_due().await;
    platform.invoke_setup(first_message()).await.unwrap();
    assert_eq!(delivered(&platform, PSID), ["UPDATE due", "RESPONSE You did it!"]);
    platform.advance(backend::feed::SETTLE_TIME + SECOND).await;
    let events = pulled(&platform).await;
    let is_end = |event: &&Value| event["kind"] == "message_ended";
    let told = events.as_array().unwrap().iter().filter(is_end).count();
    assert_eq!(told, 1, "in the feed: {events}");
    assert_eq!(receiver.bodies().iter().filter(is_end).count(), 1);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_erasure_while_the_first_message_is_sent_leaves_nothing() {
    for calls in 0..32 {
        let (platform, _receiver) = something_is_due().await;
        let ahead: SharedClock = Arc::new(Off(Arc::clone(&platform.clock), 4_000));
        let setup = Functions::start_setup(&platform.containers_of(1, &ahead)).unwrap();
        let deadline = platform.clock.now() + 5 * MINUTE;
        let work = Box::pin(setup.handle(first_message(), "midway", deadline));
        let is_midway = erase_after(&platform, calls, false, work).await.is_midway;
        platform.advance(12 * MINUTE).await;
        assert_only_the_mark(&platform).await;
        assert_eq!(pulled(&platform).await, json!([]), "after {calls} calls");
        if !is_midway {
            return assert!(calls >= 12, "it takes {calls} calls");
        }
    }
    panic!("it takes more than 32 calls");
}
