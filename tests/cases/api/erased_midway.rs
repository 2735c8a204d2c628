//! Erasures in the middle of other work: whatever the work was about to write, only the mark is left.

use std::future::Future;
use std::sync::Arc;

use messenger::clock::{SharedClock, Timestamp};
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use simulator::clock::VirtualClock;
use simulator::functions::Functions;
use simulator::gate::{GRAPH, Verdict};

use super::erasure::assert_only_the_mark;
use super::midway::{die_processing, interrupt_after, process, request, sweep};
use super::*;

/// More calls than any of the pieces of work here makes.
const MOST_CALLS: usize = 32;

/// A platform whose bot sees a profile, answers, promises two follow-ups and remembers something.
pub(super) async fn promising() -> Arc<Platform> {
    platform_with(|options| {
        options.replies = |_, _, _| {
            let later = |hours| Ok(FollowUp::after(hours * HOUR, Message::text("later")?));
            Decision::nothing()
                .say(Message::text("hi")?)
                .later(later(1)?)
                .later(later(2)?)
                .remember(&"state")
        };
        options.variables.insert("FEED".to_owned(), "on".to_owned());
        options.variables.insert("USER_PROFILES".to_owned(), "on".to_owned());
    })
    .await
}

/// The functions on a machine whose clock is ahead, so that what they do before an erasure seems to come
/// after it.
pub(super) fn beside(platform: &Platform) -> Functions {
    let clock: SharedClock = Arc::new(Off(Arc::clone(&platform.clock), 4_000));
    platform.instance(1, &clock).unwrap()
}

/// How a piece of work stood when its person was erased.
pub(super) struct Stand {
    /// It had not ended.
    pub(super) is_midway: bool,
    /// An entry was in the table.
    is_written: bool,
    erased_at: Timestamp,
}

/// Lets a piece of work make so many calls, erases the person, and lets it go on unless it dies then.
pub(super) async fn erase_after<T>(
    platform: &Platform,
    calls: usize,
    dies: bool,
    work: impl Future<Output = T>,
) -> Stand {
    let erasing = async || {
        platform.clock.forward(SECOND);
        let is_written = !entries(platform, PSID).await.is_empty();
        assert_eq!(ask(platform, "DELETE", &person()).await.status, 204);
        (is_written, platform.clock.now())
    };
    let (is_midway, (is_written, erased_at)) =
        interrupt_after(platform, calls, dies, work, erasing).await;
    Stand { is_midway, is_written, erased_at }
}

/// Erases a person after each of the calls that a piece of work makes, which leaves the mark only, and
/// sends nothing any more once the second pass of the erasure is over.
async fn assert_it_leaves_nothing(
    prepare: impl AsyncFn() -> Arc<Platform>,
    work: impl AsyncFn(&Platform, &Functions),
    check: impl AsyncFn(&Platform, &Stand),
    at_least: usize,
) {
    for calls in 0..MOST_CALLS {
        let platform = prepare().await;
        let functions = beside(&platform);
        let work = Box::pin(work(&platform, &functions));
        let midway = erase_after(&platform, calls, false, work).await;
        check(&platform, &midway).await;
        platform.advance(12 * MINUTE).await;
        assert_only_the_mark(&platform).await;
        let sent = requested(&platform, PSID).len();
        platform.advance(2 * HOUR).await;
        assert_eq!(requested(&platform, PSID).len(), sent, "after {calls} calls");
        if !midway.is_midway {
            return assert!(calls >= at_least, "it takes {calls} calls");
        }
    }
    panic!("it takes more than {MOST_CALLS} calls");
}

/// A person has written to a silent bot, and what happens is in the feed.
async fn heard_from_with_a_feed() -> Arc<Platform> {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing());
        options.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    platform.advance(SINCE_HEARD).await;
    platform
}

pub(super) async fn pulled(platform: &Platform) -> Value {
    let feed = ask(platform, "GET", &format!("/events?page_id={PAGE}")).await;
    feed.body["results"].clone()
}

#[tokio::test]
async fn an_event_that_is_being_processed_leaves_nothing() {
    for dies in [false, true] {
        let mut calls = 0;
        loop {
            let platform = promising().await;
            platform.meta.set_echoes(false);
            platform.post(&platform.meta.person_says(PAGE, PSID, "book")).await;
            let functions = beside(&platform);
            let work = Box::pin(process(&platform, &functions));
            let Stand { is_midway, .. } = erase_after(&platform, calls, dies, work).await;
            platform.clock.forward(backend::feed::SETTLE_TIME + SECOND);
            if !dies {
                assert_eq!(pulled(&platform).await, json!([]), "after {calls} calls");
                assert!(!has_profile(&platform).await, "after {calls} calls");
            }
            platform.advance(12 * MINUTE).await;
            assert_only_the_mark(&platform).await;
            assert_eq!(pulled(&platform).await, json!([]), "after {calls} calls");
            platform.advance(DAY).await;
            assert!(requested(&platform, PSID).len() <= 1, "after {calls} calls");
            assert_only_the_mark(&platform).await;
            if !is_midway {
                break;
            }
            calls += 1;
            assert!(calls < MOST_CALLS);
        }
        assert!(calls >= 10, "a profile and a reply with two follow-ups take {calls} calls");
    }
}

/// The lease of the event is taken anew around what goes first, and the mark keeps it.
#[tokio::test]
async fn an_event_that_lets_something_go_first_leaves_nothing() {
    assert_it_leaves_nothing(
        async || {
            let platform = promising().await;
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
            let send_at = (platform.clock.now() + 2 * MINUTE).millis();
            let stored = post(&platform, None, &message(json!({"send_at": send_at}))).await;
            assert_eq!(stored.status, 202);
            platform.clock.forward(2 * MINUTE + SECOND);
            platform.post(&platform.meta.person_says(PAGE, PSID, "book")).await;
            platform
        },
        process,
        async |platform, _| assert!(!has_profile(platform).await),
        12,
    )
    .await;
}

/// Whether the table holds a profile, before the second pass of an erasure.
async fn has_profile(platform: &Platform) -> bool {
    platform.items().await.unwrap().iter().any(|item| item["sk"] == "profile")
}

#[tokio::test]
async fn a_profile_that_the_api_asks_for_leaves_nothing() {
    assert_it_leaves_nothing(
        async || {
            let platform = promising().await;
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
            platform.advance(DAY).await;
            platform
        },
        async |platform, functions| request(platform, functions, "api/read-person", None).await,
        async |platform, _| assert!(!has_profile(platform).await),
        5,
    )
    .await;
}

/// What is being sent cannot be called back. So at most the step that was begun leaves after an erasure,
/// and none of a decision that was not written.
#[tokio::test]
async fn after_an_erasure_no_step_is_begun() {
    assert_it_leaves_nothing(
        async || {
            let platform = platform_with(|options| {
                options.replies = |_, _, _| {
                    let text = |text: &str| Message::text(text);
                    Ok(Decision::nothing().say(text("one")?).say(text("two")?).say(text("three")?))
                };
            })
            .await;
            platform.meta.set_echoes(false);
            platform.post(&platform.meta.person_says(PAGE, PSID, "hello")).await;
            platform
        },
        process,
        async |platform, midway| {
            let later = requested(platform, PSID).into_iter();
            let begun = later.filter(|step| step.at >= midway.erased_at.millis()).count();
            assert!(begun <= usize::from(midway.is_written), "{begun} steps");
        },
        8,
    )
    .await;
}

#[tokio::test]
async fn a_message_that_is_being_stored_leaves_nothing() {
    assert_it_leaves_nothing(
        heard_from_with_a_feed,
        async |platform, functions| {
            let send_at = (platform.clock.now() + HOUR).millis();
            let body = message(json!({"send_at": send_at}));
            request(platform, functions, "api/create-message", Some(&body)).await;
        },
        async |platform, _| assert!(requested(platform, PSID).is_empty()),
        3,
    )
    .await;
}

/// The eraser's clock is behind, and Meta's may be ahead of the webhook's.
#[tokio::test]
async fn what_came_just_before_an_erasure_is_not_new_when_it_comes_again_although_clocks_differ() {
    for ahead in [0, 3_000] {
        let platform = promising().await;
        let said = platform.meta.person_says(PAGE, PSID, "book");
        let now = platform.clock.now().millis();
        let said = String::from_utf8(said).unwrap();
        let said = said.replace(&now.to_string(), &(now + ahead).to_string()).into_bytes();
        platform.deliver(&said).await;
        platform.clock.forward(SECOND);
        let clock: SharedClock = Arc::new(Off(Arc::clone(&platform.clock), -4_000));
        let eraser = platform.instance(1, &clock).unwrap();
        let sample = samples::read("api/erase-person").unwrap();
        let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
        let deadline = platform.clock.now() + 29 * SECOND;
        assert_eq!(read(eraser.api.handle(&request, "behind", deadline).await).status, 204);
        platform.advance(HOUR).await;
        assert_only_the_mark(&platform).await;
        platform.deliver(&said).await;
        platform.advance(HOUR).await;
        assert_only_the_mark(&platform).await;
        assert_eq!(requested(&platform, PSID).len(), 1);
    }
}

#[tokio::test]
async fn what_people_of_the_business_do_at_once_leaves_nothing() {
    let until = (heard_from().await.clock.now() + 3 * HOUR).millis();
    let human = message(json!({"purpose": "human", "author": "front-desk"}));
    for (sample, body, at_least) in [
        ("api/create-message", human, 8),
        ("api/change-bot", json!({"quiet_until": until}), 3),
        ("api/change-bot", json!({"active": true}), 3),
        ("api/change-thread", json!({"action": "pass", "app_id": simulator::meta::INBOX}), 3),
        ("api/change-thread", json!({"action": "take"}), 3),
    ] {
        assert_it_leaves_nothing(
            heard_from_with_a_feed,
            async |platform, functions| request(platform, functions, sample, Some(&body)).await,
            async |_, _| {},
            at_least,
        )
        .await;
    }
}

/// The last look at the person is the silence of the bot: then the entry is taken, and the message leaves.
/// The table fails when entries are to be deleted, so that only the mark can stop the sender.
#[tokio::test]
async fn an_agents_message_is_held_back_by_the_mark_until_the_bot_is_silent() {
    let human = message(json!({"purpose": "human", "author": "front-desk"}));
    let mut late = 0;
    for calls in 0..MOST_CALLS {
        let platform = heard_from().await;
        let functions = beside(&platform);
        let work = request(&platform, &functions, "api/create-message", Some(&human));
        let erasing = async || {
            platform.clock.forward(SECOND);
            platform.gate.refuse_each(|call| call.target.ends_with("BatchWriteItem"));
            ask(&platform, "DELETE", &person()).await;
            platform.gate.spare();
            platform.clock.now().millis()
        };
        let (is_midway, erased_at) =
            interrupt_after(&platform, calls, false, Box::pin(work), erasing).await;
        late += requested(&platform, PSID).iter().filter(|sent| sent.at >= erased_at).count();
        if !is_midway {
            return assert_eq!(late, 2);
        }
    }
    panic!("it takes more than {MOST_CALLS} calls");
}

#[tokio::test]
async fn a_message_that_is_being_sent_when_it_is_due_leaves_nothing() {
    assert_it_leaves_nothing(
        async || {
            let platform = heard_from_with_a_feed().await;
            let send_at = (platform.clock.now() + HOUR).millis();
            let stored = post(&platform, None, &message(json!({"send_at": send_at}))).await;
            assert_eq!(stored.status, 202);
            platform.clock.forward(HOUR + MINUTE);
            platform
        },
        sweep,
        async |platform, _| assert!(requested(platform, PSID).len() <= 1),
        5,
    )
    .await;
}

/// The reply's sender has died, and only its lease names the reply.
async fn with_a_reply_whose_sender_died() -> Arc<Platform> {
    let platform = promising().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    platform.clock.forward(59 * MINUTE + 50 * SECOND);
    platform.post(&platform.meta.person_says(PAGE, PSID, "book")).await;
    die_processing(&platform, |call| call.target == GRAPH).await;
    platform.clock.forward(MINUTE);
    platform
}

/// The run lists the reply as it takes the lease.
#[tokio::test]
async fn what_a_sender_that_died_was_sending_leaves_nothing() {
    assert_it_leaves_nothing(with_a_reply_whose_sender_died, sweep, async |_, _| {}, 8).await;
}

#[tokio::test]
async fn a_late_echo_names_nothing_on_the_mark_and_its_comment_is_erased_too() {
    let platform = silent().await;
    let now = platform.clock.now();
    platform.meta.set_echoes(false);
    platform.meta.add_comment(PAGE, "10_5", PSID, now.millis());
    let reply = json!({"page_id": PAGE, "comment_id": "10_5", "message": "thank you"});
    let sent = post(&platform, None, &reply).await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    let metadata = platform.meta.requests()[0].metadata.clone().unwrap();
    let echo = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID},
        "message": {"mid": "m_e", "is_echo": true, "app_id": samples::APP_ID, "metadata": metadata}});
    let echo = platform.meta.person_does(PAGE, PSID, echo);
    platform.clock.forward(MINUTE);
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    platform.deliver(&echo).await;
    assert_only_the_mark(&platform).await;
    assert!(conversation(&platform, PSID).await.contains_key("expires_at"));
    platform.advance(12 * MINUTE).await;
    assert_only_the_mark(&platform).await;
    let path = format!("/messages/{}", sent.body["id"].as_str().unwrap());
    assert_eq!(ask(&platform, "GET", &path).await.status, 404, "erased with the person");
}

#[tokio::test]
async fn an_erasure_goes_on_although_the_table_fails_after_the_mark() {
    for calls in 0..MOST_CALLS {
        let platform = promising().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
        platform.clock.forward(MINUTE);
        let functions = beside(&platform);
        let sample = samples::read("api/erase-person").unwrap();
        let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
        let deadline = platform.clock.now() + 29 * SECOND;
        platform.gate.close();
        let work = functions.api.handle(&request, "midway", deadline);
        tokio::pin!(work);
        let mut made = 0;
        let answer = loop {
            tokio::select! {
                answer = &mut work => break read(answer),
                () = tokio::task::yield_now() => {}
            }
            if !platform.gate.held().is_empty() {
                let verdict = if made < calls { Verdict::Go } else { Verdict::Refused };
                platform.gate.release(0, verdict);
                made += 1;
            }
        };
        assert!(matches!(answer.status, 204 | 401 | 503), "{}", answer.status);
        platform.advance(12 * MINUTE).await;
        if answer.status == 204 {
            assert_only_the_mark(&platform).await;
        }
        if made <= calls {
            return assert!(calls >= 5, "an erasure takes {calls} calls");
        }
    }
    panic!("an erasure takes more than {MOST_CALLS} calls");
}

/// The table fails when the entries are to be deleted, so that only the mark can stop a sender.
#[tokio::test]
async fn a_further_message_is_not_sent_once_the_mark_is_there() {
    let platform = platform_with(|options| {
        options.replies =
            |_, _, _| Ok(Decision::nothing().say(Message::text("one")?).say(Message::text("two")?));
    })
    .await;
    platform.post(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    let (sender, eraser) = (beside(&platform), platform.instance(2, &clock).unwrap());
    let sample = samples::read("api/erase-person").unwrap();
    let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
    let deadline = platform.clock.now() + 29 * SECOND;
    platform.gate.close();
    let mut sending = Box::pin(process(&platform, &sender));
    let mut erasing = Box::pin(eraser.api.handle(&request, "midway", deadline));
    let (mut is_erased, mut is_sent) = (false, false);
    while !(is_erased && is_sent) {
        tokio::select! {
            answer = &mut erasing, if !is_erased => {
                assert_eq!(read(answer).status, 204);
                is_erased = true;
            }
            () = &mut sending, if !is_sent => is_sent = true,
            () = tokio::task::yield_now() => {}
        }
        let held = platform.gate.held();
        // The first message leaves, then the person is erased, then the sender goes on.
        let turn = if requested(&platform, PSID).is_empty() || is_erased { 1 } else { 2 };
        if let Some(place) = held.iter().position(|call| call.instance == turn) {
            let fails = held[place].target.ends_with("BatchWriteItem");
            let verdict = if fails { Verdict::Refused } else { Verdict::Go };
            platform.gate.release(place, verdict);
        }
    }
    assert_eq!(requested(&platform, PSID).len(), 1, "the second message is not sent");
    platform.gate.forget(1);
    platform.advance(12 * MINUTE).await;
    assert_only_the_mark(&platform).await;
}
