//! While the bot thinks about one person's message, everybody else is served, and the person sees that it is at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backend::runtime::Environment;
use event_processor::{Driver, Processor, Threads, Work};
use futures_util::future::{BoxFuture, join_all};
use messenger::bot::{Stateless, Turn, Verdict, bot_fn, shared};
use messenger::clock::{Clock, SharedClock};
use serde_json::json;
use simulator::clock::VirtualClock;
use simulator::meta::Fault;
use simulator::platform::{EVENTS, Options, Platform, batch};
use tokio::sync::Notify;

use crate::api::post_to;
use crate::support::*;
use crate::template::number;
use crate::thinking::{post, repeat};

/// A bot that waits for the test when it is asked about `think`.
fn waiting(options: &mut Options) -> Arc<Notify> {
    let released = Arc::new(Notify::new());
    let wait = Arc::clone(&released);
    options.has_threads = true;
    options.bot = Some(shared(bot_fn(async move |turn: &Turn<Stateless>| {
        if turn.text() == "think" {
            wait.notified().await;
        }
        repeat(&turn.text())
    })));
    released
}

#[tokio::test]
async fn nobody_waits_for_another_ones_bot() {
    let mut released = Arc::default();
    let platform = platform_with(|options| released = waiting(options)).await;
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    post(&platform, PSID, "think").await;
    post(&platform, OTHER_PSID, "hello").await;
    let received = platform.sqs.receive(EVENTS, 10);
    assert_eq!(received.len(), 2);
    let began = platform.clock.now();
    let work = functions.processor.handle(batch(&received), "slow", began + PROCESSOR_TIMEOUT);
    let meanwhile = async {
        while platform.sqs.messages(EVENTS).len() > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE you said hello"]);
        assert!(platform.clock.now().since(began) <= 2 * SECOND);
        // The next message of the one is processed while the other one's bot still thinks.
        post(&platform, OTHER_PSID, "again").await;
        platform.settle().await;
        assert_eq!(delivered(&platform, OTHER_PSID).len(), 2);
        assert!(delivered(&platform, PSID).is_empty());
        released.notify_one();
    };
    let (answer, ()) = tokio::join!(work, meanwhile);
    assert!(answer.batch_item_failures.is_empty());
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said think"]);
}

/// As many people as there are invocations, and as many as there is room in each: the defaults of the template.
#[tokio::test]
async fn one_more_waits_for_the_longest_answer_when_as_many_people_think_as_there_is_room_for() {
    const LONGEST_ANSWER: Duration = Duration::from_secs(15);
    let invocations = number("MaximumConcurrency", "Default");
    let room = usize::try_from(number("BatchSize", "Default")).unwrap();
    let (thinking, released) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let platform = platform_with(|options| {
        let (thinking, released) = (Arc::clone(&thinking), Arc::clone(&released));
        options.has_threads = true;
        options.variables.insert("BOT_TIMEOUT_SECONDS".to_owned(), "30".to_owned());
        options.bot = Some(shared(bot_fn(async move |turn: &Turn<Stateless>| {
            if turn.text() == "think" {
                let is_released = released.notified();
                thinking.fetch_add(1, Ordering::SeqCst);
                is_released.await;
            }
            repeat(&turn.text())
        })));
    })
    .await;
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    let people = (0..invocations * room as u64).map(|it| format!("70000000000001{it:02}"));
    let people: Vec<_> = people.collect();
    for person in &people {
        post(&platform, person, "think").await;
    }
    let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
    let containers: Vec<_> =
        (1..=invocations).map(|it| platform.instance(it, &clock).unwrap()).collect();
    let works = containers.iter().map(|functions| {
        let received = platform.sqs.receive(EVENTS, room);
        assert_eq!(received.len(), room);
        functions.processor.handle(batch(&received), "full", deadline)
    });
    let works = join_all(works.collect::<Vec<_>>());
    let posted_at = platform.clock.now();
    let meanwhile = async {
        while thinking.load(Ordering::SeqCst) < people.len() {
            tokio::task::yield_now().await;
        }
        post(&platform, PSID, "hello").await;
        platform.clock.forward(LONGEST_ANSWER);
        released.notify_waiters();
    };
    tokio::pin!(works);
    tokio::select! {
        answers = &mut works => panic!("not all of them think at once: {answers:?}"),
        () = meanwhile => {}
    }
    let answers = works.await;
    assert!(answers.iter().all(|answer| answer.batch_item_failures.is_empty()));
    platform.settle().await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said hello"]);
    assert!(platform.clock.now().since(posted_at) <= LONGEST_ANSWER + 2 * SECOND);
    for person in &people {
        assert_eq!(delivered(&platform, person), ["RESPONSE you said think"], "{person}");
    }
}

/// The sender actions that reached a person, and their messages.
fn shown(platform: &Platform, psid: &str) -> Vec<String> {
    let requests = requested(platform, psid).into_iter();
    let name = |request: simulator::meta::GraphRequest| {
        request
            .sender_action
            .unwrap_or_else(|| request.message["text"].as_str().unwrap().to_owned())
    };
    requests.map(name).collect()
}

/// Threads on which time passes when the test says so.
#[derive(Debug, Default)]
struct Stepped {
    threads: Threads,
    passed: Arc<Notify>,
}

impl Driver for Stepped {
    fn drive(&self, work: Work, limit: Duration) -> BoxFuture<'static, Verdict> {
        self.threads.drive(work, limit)
    }

    fn pause(&self, span: Duration) -> BoxFuture<'static, ()> {
        let passed = Arc::clone(&self.passed);
        let is_limit_of_showing = span == 2 * SECOND;
        Box::pin(async move {
            if is_limit_of_showing {
                std::future::pending::<()>().await;
            }
            passed.notified().await;
        })
    }
}

#[tokio::test]
async fn a_person_sees_that_the_bot_is_typing_once_it_has_thought_for_a_while() {
    for (setting, expected) in
        [("on", &["typing_on", "typing_on", "you said think"][..]), ("off", &["you said think"])]
    {
        let mut options = Options::default();
        let (released, driver) = (waiting(&mut options), Arc::new(Stepped::default()));
        options.variables.insert("BOT_TYPING".to_owned(), setting.to_owned());
        let bot = options.bot();
        let platform = Platform::start(options).await.unwrap();
        let passed = Arc::clone(&driver.passed);
        let new = |environment: &Environment| Processor::new(environment, bot, driver);
        let processor = platform.containers().start("event-processor", new).unwrap();
        post(&platform, PSID, "think").await;
        let received = platform.sqs.receive(EVENTS, 10);
        let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
        let meanwhile = async {
            for count in 1..expected.len() {
                passed.notify_one();
                while shown(&platform, PSID).len() < count {
                    tokio::task::yield_now().await;
                }
            }
            released.notify_one();
        };
        let work = processor.handle(batch(&received), "slow", deadline);
        let (answer, ()) = tokio::join!(work, meanwhile);
        assert!(answer.batch_item_failures.is_empty());
        assert_eq!(shown(&platform, PSID), expected);
        assert_eq!(entries(&platform, PSID).await.len(), 1, "typing has no entry");
    }
}

#[tokio::test]
async fn nobody_is_shown_typing_while_people_answer_or_the_page_is_paused() {
    for silence in [true, false] {
        let mut options = Options::default();
        let (released, driver) = (waiting(&mut options), Arc::new(Stepped::default()));
        let bot = options.bot();
        let platform = Platform::start(options).await.unwrap();
        let passed = Arc::clone(&driver.passed);
        let new = |environment: &Environment| Processor::new(environment, bot, driver);
        let processor = platform.containers().start("event-processor", new).unwrap();
        if silence {
            let echo = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID},
                "message": {"mid": "m_e", "is_echo": true, "app_id": 26_390_203_743_090_i64, "text": "It is me"}});
            platform.deliver(&platform.meta.person_does(PAGE, PSID, echo)).await;
        } else {
            platform.meta.fail_next(Fault::Throttled { regain_minutes: 60 });
            post(&platform, OTHER_PSID, "hello").await;
            platform.settle().await;
        }
        post(&platform, PSID, "think").await;
        let received = platform.sqs.receive(EVENTS, 10);
        let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
        let work = processor.handle(batch(&received), "slow", deadline);
        let meanwhile = async {
            passed.notify_one();
            while !conversation(&platform, PSID).await.contains_key("last_message_at") {}
            released.notify_one();
        };
        tokio::join!(work, meanwhile);
        assert!(shown(&platform, PSID).is_empty(), "{:?}", shown(&platform, PSID));
    }
}

#[tokio::test]
async fn an_agent_does_not_wait_for_a_bot_that_thinks() {
    let mut released = Arc::default();
    let platform = platform_with(|options| released = waiting(options)).await;
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    post(&platform, PSID, "think").await;
    let received = platform.sqs.receive(EVENTS, 10);
    let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
    let work = functions.processor.handle(batch(&received), "slow", deadline);
    let meanwhile = async {
        while !conversation(&platform, PSID).await.contains_key("busy_for") {}
        let wanted = json!({"page_id": PAGE, "psid": PSID, "message": "It is me",
            "purpose": "human", "author": "front-desk"});
        assert_eq!(post_to(&platform, "/messages", &wanted).await.0, 201);
        assert_eq!(delivered(&platform, PSID), ["RESPONSE It is me"]);
        released.notify_one();
    };
    let (answer, ()) = tokio::join!(work, meanwhile);
    assert!(answer.batch_item_failures.is_empty());
    platform.advance(MINUTE).await;
    assert_eq!(delivered(&platform, PSID)[..1], ["RESPONSE It is me"]);
    assert_eq!(ends(&platform, PSID).await.len(), 2);
}
