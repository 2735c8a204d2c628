//! The feed, read while events are written: nothing is lost, nothing comes twice, all in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend::feed::{Feed, FeedError, FeedPage, SETTLE_TIME};
use backend::store::ConversationKey;
use messenger::clock::{Clock, SharedClock};
use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::functions::Functions;
use simulator::gate::Verdict;
use simulator::platform::{EVENTS, Options, Platform, batch};

use crate::crash::survive_with;
use crate::support::*;

fn feed_on(options: &mut Options) {
    options.replies = |_, _, _| Ok(Decision::nothing());
    options.variables.insert("FEED".to_owned(), "on".to_owned());
}

fn shared_clock(platform: &Platform) -> SharedClock {
    Arc::<simulator::clock::VirtualClock>::clone(&platform.clock)
}

fn feed(platform: &Platform) -> Feed {
    Feed::new(&platform.containers().environment())
}

async fn pull(platform: &Platform, after: Option<&str>) -> FeedPage {
    feed(platform).after(PAGE, after, 100).await.unwrap()
}

/// What the events of a part of the feed say: the person's text, or the kind.
fn said(page: &FeedPage) -> Vec<String> {
    let said = page.results.iter().map(|item| {
        let event: Value = serde_json::from_str(item.inbound.event.get()).unwrap();
        event["message"]["text"].as_str().unwrap_or(&item.inbound.kind).to_owned()
    });
    said.collect()
}

async fn say(platform: &Platform, psid: &str, text: &str) {
    platform.deliver(&platform.meta.person_says(PAGE, psid, text)).await;
}

#[tokio::test]
async fn every_inbound_event_is_there_in_order_and_what_only_confirms_is_not() {
    let platform = platform_with(|options| {
        feed_on(options);
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hi")?));
    })
    .await;
    say(&platform, PSID, "hello").await;
    for item in [
        json!({"message_edit": {"mid": "m_1", "text": "b", "num_edit": 1}}),
        json!({"reaction": {"mid": "m_1", "action": "react", "reaction": "love"}}),
        json!({"referral": {"ref": "a", "source": "SHORTLINK", "type": "OPEN_THREAD"}}),
        json!({"optin": {"type": "notification_messages", "payload": "p"}}),
        json!({"novelty": 1}),
    ] {
        platform.deliver(&platform.meta.person_does(PAGE, PSID, item)).await;
    }
    platform.deliver(&platform.meta.person_taps(PAGE, PSID, "HOURS", "Hours")).await;
    platform.advance(SETTLE_TIME + SECOND).await;
    let page = pull(&platform, None).await;
    let kinds = ["hello", "edit", "reaction", "referral", "optin", "unknown", "postback"];
    assert_eq!(said(&page), kinds);
    let first = serde_json::to_value(&page).unwrap()["results"][0].clone();
    let cursor = first["cursor"].as_str().unwrap();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{cursor}");
    assert_eq!(first["event"]["sender"]["id"], PSID);
    assert_eq!((&first["kind"], &first["psid"]), (&json!("message"), &json!(PSID)));
    assert_eq!((&first["page_id"], &first["platform"]), (&json!(PAGE), &json!("messenger")));
    assert_eq!(first["at"], first["event"]["timestamp"]);
}

#[tokio::test]
async fn a_repeated_pull_gives_the_same_and_what_has_come_since() {
    let platform = platform_with(feed_on).await;
    assert_eq!(pull(&platform, None).await.next, None);
    say(&platform, PSID, "one").await;
    say(&platform, OTHER_PSID, "two").await;
    platform.advance(MINUTE).await;
    let first = pull(&platform, None).await;
    assert_eq!(said(&first), ["one", "two"]);
    assert_eq!(said(&pull(&platform, None).await), ["one", "two"]);
    let after = first.next.as_deref();
    let nothing = pull(&platform, after).await;
    assert_eq!((nothing.results.len(), nothing.next.as_deref(), nothing.more), (0, after, false));
    say(&platform, PSID, "three").await;
    platform.advance(MINUTE).await;
    assert_eq!(said(&pull(&platform, after).await), ["three"]);
    assert_eq!(said(&pull(&platform, Some(&first.results[0].cursor)).await), ["two", "three"]);
    assert_eq!(said(&pull(&platform, None).await), ["one", "two", "three"]);
}

#[tokio::test]
async fn a_limit_cuts_the_feed_into_parts_without_a_seam() {
    let platform = platform_with(feed_on).await;
    for number in 0..7 {
        say(&platform, PSID, &number.to_string()).await;
    }
    platform.advance(MINUTE).await;
    let (feed, mut seen, mut after) = (feed(&platform), Vec::new(), None);
    for (count, more) in [(3, true), (3, true), (1, false)] {
        let page = feed.after(PAGE, after.as_deref(), 3).await.unwrap();
        assert_eq!((page.results.len(), page.more), (count, more));
        seen.extend(said(&page));
        after = page.next;
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"]);
    let whole = feed.after(PAGE, None, 7).await.unwrap();
    assert_eq!(
        (whole.results.len(), whole.more),
        (7, false),
        "more is reported only if there is more"
    );
}

#[tokio::test]
async fn what_is_no_cursor_is_refused_and_one_of_the_future_finds_nothing() {
    let platform = platform_with(feed_on).await;
    say(&platform, PSID, "one").await;
    platform.advance(MINUTE).await;
    let feed = feed(&platform);
    for bad in ["", "1", ".", "0000000000000", "000000000000x.a", "0000000000000.a b", "page#1"] {
        let error = feed.after(PAGE, Some(bad), 10).await.unwrap_err();
        assert!(matches!(error, FeedError::BadCursor), "{bad}");
    }
    let future = feed.after(PAGE, Some("9999999999999.a"), 10).await.unwrap();
    assert_eq!((future.results.len(), future.more), (0, false));
    assert_eq!(feed.after("another page", None, 10).await.unwrap().results.len(), 0);
}

#[tokio::test]
async fn an_event_that_is_written_late_is_not_lost_behind_a_cursor() {
    let platform = platform_with(feed_on).await;
    say(&platform, "7000000000000003", "before").await;
    platform.clock.forward(SECOND);
    let clock = shared_clock(&platform);
    let slow = platform.instance(1, &clock).unwrap();
    let fast = platform.instance(2, &clock).unwrap();
    platform.gate.close();

    platform.post(&platform.meta.person_says(PAGE, PSID, "slow")).await;
    let slow = process_next(&platform, &slow);
    tokio::pin!(slow);
    let is_write = |call: &simulator::gate::Call| call.target.ends_with("TransactWriteItems");
    tokio::select! {
        () = &mut slow => panic!("its write is held"),
        () = release(&platform, |call| !is_write(call), || platform.gate.held().iter().any(is_write)) => {}
    }
    platform.clock.forward(SECOND);
    platform.post(&platform.meta.person_says(PAGE, OTHER_PSID, "fast")).await;
    tokio::select! {
        () = process_next(&platform, &fast) => {}
        () = release(&platform, |call| call.instance == 2, || false) => {}
    }
    platform.clock.forward(SETTLE_TIME.checked_sub(SECOND).unwrap());
    let first = pull(&platform, None).await;
    assert_eq!(said(&first), ["before"], "what may still be overtaken is held back");

    tokio::select! {
        () = &mut slow => {}
        () = release(&platform, |_| true, || false) => {}
    }
    platform.clock.forward(MINUTE);
    assert_eq!(said(&pull(&platform, first.next.as_deref()).await), ["slow", "fast"]);
}

/// Processes the next event of the queue with one of several sets of functions.
async fn process_next(platform: &Platform, functions: &Functions) {
    let received = platform.sqs.receive(EVENTS, 1);
    let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
    let answer = functions.processor.handle(batch(&received), "invocation", deadline).await;
    assert!(answer.batch_item_failures.is_empty());
    platform.sqs.delete(EVENTS, &received[0].receipt_handle);
}

/// Lets calls through the closed gate until there is nothing more to wait for.
async fn release(
    platform: &Platform,
    may_pass: impl Fn(&simulator::gate::Call) -> bool,
    is_done: impl Fn() -> bool,
) {
    while !is_done() {
        if let Some(place) = platform.gate.held().iter().position(&may_pass) {
            platform.gate.release(place, Verdict::Go);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn concurrent_processors_lose_nothing_and_keep_each_persons_order() {
    const ROUNDS: usize = 12;
    let people: Vec<_> = (0..9).map(|number| format!("700000000000010{number}")).collect();
    let platform = platform_with(feed_on).await;
    let clock = shared_clock(&platform);
    let processors = [1, 2, 3].map(|number| platform.instance(number, &clock).unwrap());
    let work = async |functions: &Functions| {
        while !platform.sqs.is_empty(EVENTS) {
            let received = platform.sqs.receive(EVENTS, 1);
            if received.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
            functions.processor.handle(batch(&received), "invocation", deadline).await;
            platform.sqs.delete(EVENTS, &received[0].receipt_handle);
        }
    };
    let (mut seen, mut after) = (Vec::new(), None);
    for round in 0..ROUNDS {
        for person in &people {
            platform.post(&platform.meta.person_says(PAGE, person, &round.to_string())).await;
        }
        let pulled = async { pull(&platform, after.as_deref()).await };
        let [one, two, three] = &processors;
        let (page, ..) = tokio::join!(pulled, work(one), work(two), work(three));
        seen.extend(page.results);
        after = page.next;
        platform.clock.forward(5 * SECOND);
    }
    platform.clock.forward(MINUTE);
    seen.extend(pull(&platform, after.as_deref()).await.results);
    let mut by_person = BTreeMap::<_, Vec<_>>::new();
    for item in seen {
        let event: Value = serde_json::from_str(item.inbound.event.get()).unwrap();
        let text = event["message"]["text"].as_str().unwrap().to_owned();
        by_person.entry(item.inbound.psid.unwrap()).or_default().push(text);
    }
    let rounds: Vec<_> = (0..ROUNDS).map(|round| round.to_string()).collect();
    assert_eq!(by_person.len(), people.len());
    assert!(by_person.values().all(|texts| *texts == rounds), "{by_person:?}");
}

#[tokio::test]
async fn an_event_is_there_once_wherever_its_processor_dies() {
    survive_with(
        |options| {
            feed_on(options);
            options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hi")?));
        },
        async |_| {},
        async |platform| crate::crash::say(platform, "hello").await,
        async |platform, when| {
            assert_eq!(said(&pull(platform, None).await), ["hello"], "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn an_event_that_meta_repeats_for_a_day_is_there_once() {
    let platform = platform_with(feed_on).await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    for _ in 0..24 {
        platform.deliver(&body).await;
        platform.advance(HOUR).await;
    }
    assert_eq!(said(&pull(&platform, None).await), ["hello"]);
}

#[tokio::test]
async fn an_event_that_the_bot_fails_on_is_there_all_the_same() {
    let platform = platform_with(|options| {
        feed_on(options);
        options.replies = |_, _, _| panic!("a mistake of the bot");
    })
    .await;
    say(&platform, PSID, "poison").await;
    platform.advance(HOUR).await;
    assert_eq!(said(&pull(&platform, None).await), ["poison"]);
}

#[tokio::test]
async fn an_event_as_large_as_the_queue_takes_keeps_its_envelope() {
    let platform = platform_with(feed_on).await;
    say(&platform, PSID, &"x".repeat(900_000)).await;
    platform.advance(MINUTE).await;
    let page = pull(&platform, None).await;
    assert!(page.results[0].inbound.truncated);
    assert_eq!(page.results[0].inbound.psid.as_deref(), Some(PSID));
}

#[tokio::test]
async fn what_is_in_the_feed_expires() {
    let platform = platform_with(feed_on).await;
    say(&platform, PSID, "hello").await;
    let expected = platform.clock.now().millis() / 1000 + 7 * 86_400;
    let items = platform.items().await.unwrap();
    let of_feed = items.iter().filter(|i| i["sk"] != "conversation").collect::<Vec<_>>();
    assert_eq!(of_feed.len(), 2);
    assert!(of_feed.iter().all(|item| item["expires_at"] == expected), "{of_feed:?}");
}

#[tokio::test]
async fn what_has_expired_is_not_returned_although_the_table_still_holds_it() {
    let platform = platform_with(feed_on).await;
    say(&platform, PSID, "old").await;
    platform.advance(7 * DAY + MINUTE).await;
    say(&platform, PSID, "new").await;
    platform.advance(MINUTE).await;
    assert_eq!(said(&pull(&platform, None).await), ["new"]);
}

#[tokio::test]
async fn an_erased_persons_events_leave_the_feed_and_nobody_elses() {
    let platform = platform_with(feed_on).await;
    for text in ["one", "two"] {
        say(&platform, PSID, text).await;
        say(&platform, OTHER_PSID, &format!("other {text}")).await;
    }
    platform.advance(MINUTE).await;
    let conversation_key =
        ConversationKey { page_id: PAGE.to_owned(), person: PSID.parse().unwrap() };
    let now = platform.clock.now();
    feed(&platform).erase(&conversation_key, now).await.unwrap();
    assert_eq!(said(&pull(&platform, None).await), ["other one", "other two"]);
    let items = platform.items().await.unwrap();
    let left = items.iter().filter(|i| i["pk"] == format!("{PAGE}#{PSID}"));
    assert_eq!(left.map(|i| i["sk"].clone()).collect::<Vec<_>>(), ["conversation"]);
}

/// The calls and write units that a message costs that the bot does not answer.
async fn cost(options: impl Fn(&mut Options)) -> (Vec<String>, f64) {
    let platform = platform_with(|platform| {
        platform.replies = |_, _, _| Ok(Decision::nothing());
        options(platform);
    })
    .await;
    say(&platform, PSID, "first").await;
    platform.clock.forward(SECOND);
    platform.aws.take_calls();
    say(&platform, PSID, "second").await;
    let calls = platform.aws.take_calls();
    let writes = calls.iter().map(|call| call.writes).sum();
    let targets = calls.into_iter().map(|call| call.target);
    (targets.filter(|target| target.starts_with("DynamoDB")).collect(), writes)
}

#[tokio::test]
async fn the_feed_costs_nothing_when_off_and_two_calls_with_four_units_and_a_read_when_on() {
    const UPDATE: &str = "DynamoDB_20120810.UpdateItem";
    let off = |options: &mut Options| {
        options.variables.insert("FEED".to_owned(), "off".to_owned());
    };
    for (calls, writes) in [cost(|_| {}).await, cost(off).await] {
        assert_eq!(calls, [UPDATE]);
        assert!((writes - 1.0).abs() < 0.01);
    }
    let (calls, writes) = cost(feed_on).await;
    let [write, read] =
        ["TransactWriteItems", "GetItem"].map(|of| format!("DynamoDB_20120810.{of}"));
    assert_eq!(calls, [UPDATE, &write, &read]);
    assert!((writes - 5.0).abs() < 0.01, "{writes}");
}

#[tokio::test]
async fn a_setting_that_is_neither_on_nor_off_starts_nothing() {
    let mut options = Options::default();
    options.variables.insert("FEED".to_owned(), "true".to_owned());
    let error = Platform::start(options).await.err().unwrap().to_string();
    assert!(error.contains("FEED"), "{error}");
}
