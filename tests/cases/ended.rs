//! How requested messages ended is told to other systems, in the feed and by forwarding.

use std::sync::Arc;

use backend::feed::{Feed, SETTLE_TIME};
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::meta::Fault;
use simulator::platform::{Options, Platform};

use crate::crash::survive_with;
use crate::forward::Receiver;
use crate::support::*;

fn feed_on(options: &mut Options) {
    options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("reply")?));
    options.variables.insert("FEED".to_owned(), "on".to_owned());
}

/// A platform that tells it in the feed and to a receiver.
async fn forwarding() -> (Arc<Platform>, Receiver) {
    let receiver = Receiver::start().await;
    let platform = platform_with(|options| {
        feed_on(options);
        options.variables.insert("FORWARD_URLS".to_owned(), receiver.url.clone());
        options.variables.insert("FORWARD_ALLOW_LOCAL".to_owned(), "true".to_owned());
    })
    .await;
    (platform, receiver)
}

/// What the feed says about how messages ended.
async fn ended(platform: &Platform) -> Vec<Value> {
    platform.advance(SETTLE_TIME + SECOND).await;
    let feed = Feed::new(&platform.containers().environment());
    let page = feed.after(PAGE, None, 100).await.unwrap();
    let ends = page.results.into_iter().filter(|item| item.inbound.kind == "message_ended");
    ends.map(|item| serde_json::from_str(item.inbound.event.get()).unwrap()).collect()
}

fn ends_of(events: &[Value]) -> Vec<String> {
    let end = |event: &Value| {
        let reason = event["reason"].as_str().unwrap_or_default();
        let code = reason.split(':').next().unwrap_or_default();
        format!("{} {code}", event["status"].as_str().unwrap()).trim().to_owned()
    };
    events.iter().map(end).collect()
}

async fn request(platform: &Platform, id: &str, change: Value) -> Value {
    let mut wanted =
        json!({"id": id, "page_id": PAGE, "psid": PSID, "message": "hi", "purpose": "update"});
    wanted.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    platform.invoke_follow_ups(wanted).await.unwrap()
}

#[tokio::test]
async fn each_end_of_a_requested_message_is_in_the_feed_once_and_replies_are_not() {
    let platform = platform_with(|options| {
        feed_on(options);
        // What the bot says later is listed as due like a request, unlike what it says at once.
        options.replies = |_, _, _| {
            let later = FollowUp::after(30 * SECOND, Message::text("later")?);
            Ok(Decision::nothing().say(Message::text("reply")?).later(later))
        };
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    let sent = request(&platform, "sent", json!({})).await;
    platform.advance(2 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE reply", "UPDATE hi", "UPDATE later"]);
    platform.meta.fail_next(Fault::Error { http: 400, code: 100, subcode: None });
    request(&platform, "failed", json!({})).await;
    platform.advance(2 * MINUTE).await;
    let later = (messenger::clock::Clock::now(&*platform.clock) + HOUR).millis();
    let cancelled = request(&platform, "cancelled", json!({"send_at": later})).await;
    let key = cancelled["id"].as_str().unwrap().parse().unwrap();
    let outbox = backend::outbox::Outbox::new(&platform.containers().environment());
    outbox.cancel(&key, backend::store::Cancellation::Withdrawn).await.unwrap();
    let beyond = (messenger::clock::Clock::now(&*platform.clock) + 23 * HOUR).millis();
    request(&platform, "refused", json!({"send_at": beyond})).await;
    // What was stored meanwhile is a message that Meta holds the window closed for.
    platform.meta.fail_next(Fault::Error { http: 400, code: 10, subcode: Some(2_018_278) });
    request(&platform, "closed", json!({})).await;
    platform.advance(2 * MINUTE).await;
    platform.advance(2 * DAY).await;
    let events = ended(&platform).await;
    let expected = [
        "sent",
        "failed invalid",
        "cancelled withdrawn",
        "failed outside_window",
        "refused window_closed",
    ];
    assert_eq!(ends_of(&events), expected);
    assert_eq!(events[0]["id"], sent["id"]);
    assert!(events[0]["steps"][0]["mid"].is_string());
    assert_eq!(events[0]["psid"], PSID);
}

#[tokio::test]
async fn an_end_is_told_whoever_dies_on_the_way() {
    let prepare = async |platform: &Platform| {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    };
    let act = async |platform: &Platform| {
        let wanted = json!({"id": "one", "page_id": PAGE, "psid": PSID, "message": "hi", "purpose": "update"});
        while platform.invoke_follow_ups(wanted.clone()).await.is_err() {}
        let _ = platform.tick().await;
    };
    let holds = async |platform: &Platform, when: &str| {
        assert_eq!(ends_of(&ended(platform).await), ["sent"], "{when}");
    };
    survive_with(feed_on, prepare, act, holds).await;
}

#[tokio::test]
async fn an_end_is_told_although_it_cannot_be_published_for_a_while() {
    let (platform, receiver) = forwarding().await;
    let told = || receiver.bodies().into_iter().filter(|it| it["kind"] == "message_ended").count();
    for (times, refused) in [(1, "DynamoDB"), (2, "SQS")] {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        platform.gate.refuse_each(move |call| {
            call.target.contains(refused) && call.body.contains("message_ended")
        });
        let wanted = json!({"id": refused, "page_id": PAGE, "psid": PSID, "message": "hi", "purpose": "update"});
        let _ = platform.invoke_follow_ups(wanted).await;
        for _ in 0..3 {
            platform.clock.forward(MINUTE);
            let _ = platform.tick().await;
        }
        assert_eq!(delivered(&platform, PSID).len(), 2 * times, "it is sent all the same");
        platform.gate.spare();
        platform.advance(2 * MINUTE).await;
        assert_eq!(ended(&platform).await.len(), times, "{refused}");
        assert!(told() >= times, "{refused}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn an_end_is_forwarded_and_nothing_is_told_about_the_erased() {
    let (platform, receiver) = forwarding().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    let sent = request(&platform, "one", json!({})).await;
    platform.advance(2 * MINUTE).await;
    let ends: Vec<Value> =
        receiver.bodies().into_iter().filter(|it| it["kind"] == "message_ended").collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!((&ends[0]["event"]["id"], &ends[0]["psid"]), (&sent["id"], &json!(PSID)));
    let later = (messenger::clock::Clock::now(&*platform.clock) + HOUR).millis();
    request(&platform, "two", json!({"send_at": later})).await;
    let erasures = backend::erasure::Erasures::new(&platform.containers().environment());
    let conversation_key =
        backend::store::ConversationKey { page_id: PAGE.to_owned(), person: PSID.parse().unwrap() };
    let deadline = messenger::clock::Clock::now(&*platform.clock) + MINUTE;
    erasures.erase(&conversation_key, deadline).await.unwrap();
    platform.advance(2 * HOUR).await;
    assert!(ended(&platform).await.is_empty());
    let told = receiver.bodies().into_iter().filter(|it| it["kind"] == "message_ended").count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn receipts_are_told_if_they_are_tracked() {
    for (tracks, kinds) in [("off", &["message"][..]), ("on", &["message", "delivery", "read"][..])]
    {
        let platform = platform_with(|options| {
            feed_on(options);
            options.variables.insert("TRACK_RECEIPTS".to_owned(), tracks.to_owned());
        })
        .await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        let watermark = messenger::clock::Clock::now(&*platform.clock).millis();
        for receipt in [
            json!({"delivery": {"mids": ["m_1"], "watermark": watermark}}),
            json!({"read": {"watermark": watermark}}),
        ] {
            platform.deliver(&platform.meta.person_does(PAGE, PSID, receipt)).await;
        }
        platform.advance(SETTLE_TIME + SECOND).await;
        let feed = Feed::new(&platform.containers().environment());
        let page = feed.after(PAGE, None, 100).await.unwrap();
        let mut seen: Vec<_> = page.results.iter().map(|item| item.inbound.kind.as_str()).collect();
        seen.dedup();
        assert_eq!(seen[..kinds.len()], *kinds, "{tracks}");
        assert!(tracks == "on" || seen.len() == 1, "{seen:?}");
    }
}
