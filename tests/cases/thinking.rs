//! A bot that calls something: what it needs is down, slow or broken, and everybody is served all the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::runtime::Environment;
use event_processor::{Driver, Processor, Threads, Work};
use futures_util::future::BoxFuture;
use messenger::bot::{Bot, BotError, State, Stateless, Trouble, Turn, Verdict, bot_fn, shared};
use messenger::clock::{Clock, SharedClock};
use messenger::decision::Decision;
use messenger::message::{Invalid, Message};
use serde::{Deserialize, Serialize};
use serde_json::json;
use simulator::clock::VirtualClock;
use simulator::driver::{gets_stuck, takes};
use simulator::meta::Fault;
use simulator::platform::{DEAD_LETTERS, EVENTS, Options, Platform, batch};
use tokio::sync::Notify;

use crate::api::post_to;
use crate::crash::{say, survive_with};
use crate::support::*;

/// What a bot does when it is asked about a text.
type Does = fn(&str, u64) -> Result<Decision, BotError>;

/// A bot that notes each time it is asked: the text, the attempt, an idempotency key.
struct Noting {
    does: Does,
    instead: Option<&'static str>,
    asked: Asked,
}

impl Bot for Noting {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        let (text, attempt, key) = (turn.text(), turn.attempt(), turn.key("order"));
        let psid = turn.event().person.as_ref().map(ToString::to_string).unwrap_or_default();
        self.asked.0.lock().unwrap().push(Question { psid, text: text.clone(), attempt, key });
        (self.does)(&text, attempt)
    }

    fn give_up(&self, _: &Turn<Stateless>, why: &Trouble) -> Option<Decision> {
        let cannot = Trouble::Bot(BotError::Failed("giving up"));
        assert_ne!(*why, cannot, "it cannot even give up");
        Some(Decision::nothing().say(Message::text(self.instead?).unwrap()))
    }
}

/// What a bot was asked.
#[derive(Clone)]
struct Question {
    psid: String,
    text: String,
    attempt: u64,
    key: String,
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Question>>>);

impl Asked {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn of(&self, psid: &str) -> Vec<Question> {
        self.0.lock().unwrap().iter().filter(|it| it.psid == psid).cloned().collect()
    }
}

fn options_of(options: &mut Options, does: Does, instead: Option<&'static str>) -> Asked {
    let asked = Asked::default();
    options.bot = Some(shared(Noting { does, instead, asked: asked.clone() }));
    asked
}

async fn platform_of(does: Does, instead: Option<&'static str>) -> (Arc<Platform>, Asked) {
    let mut asked = Asked::default();
    let platform = platform_with(|options| asked = options_of(options, does, instead)).await;
    (platform, asked)
}

fn repeat(text: &str) -> Result<Decision, BotError> {
    Ok(Decision::nothing().say(Message::text(format!("you said {text}"))?))
}

async fn post(platform: &Platform, psid: &str, text: &str) {
    assert_eq!(platform.post(&platform.meta.person_says(PAGE, psid, text)).await, 200);
}

fn reasons(platform: &Platform) -> Vec<String> {
    let dead = platform.sqs.messages(DEAD_LETTERS);
    dead.iter().map(|it| it.attributes["reason"].value.clone()).collect()
}

#[tokio::test]
async fn a_bot_whose_service_is_down_for_a_moment_is_asked_again_with_the_same_key() {
    let does: Does = |text, attempt| match (text, attempt) {
        ("one", 1 | 2) => Err(BotError::temporary("model")),
        _ => repeat(text),
    };
    let (platform, asked) = platform_of(does, Some("Sorry")).await;
    for (psid, text) in [(PSID, "one"), (PSID, "two"), (OTHER_PSID, "beside")] {
        post(&platform, psid, text).await;
    }
    let began = platform.clock.now();
    platform.settle().await;
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE you said beside"]);
    assert_eq!(
        delivered(&platform, PSID),
        Vec::<String>::new(),
        "the second waits behind the first"
    );
    while delivered(&platform, PSID).len() < 2 {
        platform.advance(SECOND).await;
        assert!(
            platform.clock.now().since(began) <= 15 * SECOND,
            "after 2 and 8 s, and a fifth more"
        );
    }
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one", "RESPONSE you said two"]);
    let of_first = asked.of(PSID);
    assert_eq!(
        of_first.iter().map(|it| (&*it.text, it.attempt)).collect::<Vec<_>>(),
        [("one", 1), ("one", 2), ("one", 3), ("two", 1)]
    );
    let keys: Vec<_> = of_first.iter().map(|it| &it.key).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3], "{keys:?}");
    assert_ne!(keys[0], &asked.of(OTHER_PSID)[0].key);
    assert_eq!(counted(&platform, "BotFailed"), 2);
    assert!(!conversation(&platform, PSID).await.contains_key("trouble_since"));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_outage_costs_each_person_two_minutes_once_and_loses_nothing() {
    let down: Does = |_, _| Err(BotError::temporary("model"));
    let (platform, asked) = platform_of(down, Some("We will come back to you")).await;
    let began = platform.clock.now();
    post(&platform, PSID, "one").await;
    while delivered(&platform, PSID).is_empty() {
        platform.advance(SECOND).await;
    }
    let took = platform.clock.now().since(began);
    assert!((2 * MINUTE..=2 * MINUTE + 3 * SECOND).contains(&took), "{took:?}");
    let tries = asked.count();
    assert!(tries <= 7, "{tries} tries");
    post(&platform, PSID, "two").await;
    platform.settle().await;
    assert_eq!(asked.count(), tries + 1, "one try for the next message");
    platform.advance(HOUR).await;
    post(&platform, PSID, "three").await;
    platform.settle().await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE We will come back to you"; 3]);
    assert_eq!(counted(&platform, "BotGaveUp"), 3);
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn once_the_bot_decides_a_person_has_patience_again() {
    let does: Does = |text, attempt| match text {
        "down" => Err(BotError::temporary("model")),
        "once" if attempt == 1 => Err(BotError::temporary("model")),
        _ => repeat(text),
    };
    let (platform, _) = platform_of(does, Some("Sorry")).await;
    post(&platform, PSID, "down").await;
    platform.advance(3 * MINUTE).await;
    for text in ["fine", "once"] {
        post(&platform, PSID, text).await;
        platform.advance(MINUTE).await;
    }
    let expected = ["RESPONSE Sorry", "RESPONSE you said fine", "RESPONSE you said once"];
    assert_eq!(delivered(&platform, PSID), expected);
}

#[tokio::test]
async fn a_bot_that_has_nothing_to_do_instead_leaves_the_event_for_a_redrive() {
    for (does, reason, tries) in [
        ((|_, _| Err(BotError::temporary("model"))) as Does, "bot_unavailable: model", 6),
        (|_, _| Err(BotError::Failed("order")), "bot_failed: order", 1),
        (|_, _| Err(BotError::Failed("giving up")), "bot_failed: giving up", 1),
        (|_, _| panic!("a fault of the bot"), "panic", 2),
        (
            |text, _| {
                gets_stuck();
                repeat(text)
            },
            "bot_stuck",
            2,
        ),
        (
            |text, _| {
                takes(16 * SECOND);
                repeat(text)
            },
            "bot_timed_out",
            5,
        ),
    ] {
        let does: Does = does;
        let (platform, asked) = platform_of(does, None).await;
        post(&platform, PSID, "poison").await;
        platform.advance(5 * MINUTE).await;
        assert_eq!(reasons(&platform), [reason]);
        assert_eq!(asked.count(), tries, "{reason}");
        assert!(platform.sqs.is_empty(EVENTS), "{reason}");
        assert!(requested(&platform, PSID).is_empty(), "{reason}");
        assert_eq!(counted(&platform, "BotFailed"), tries as u64, "{reason}");
    }
}

#[tokio::test]
async fn what_breaks_a_limit_has_a_fallback_too() {
    let too_long: Does = |_, _| Ok(Decision::nothing().say(Message::text("x".repeat(2001))?));
    let too_many: Does = |_, _| {
        let ten = (0..11).try_fold(Decision::nothing(), |decision, _| {
            Ok::<_, Invalid>(decision.say(Message::text("x")?))
        });
        Ok(ten?)
    };
    for does in [too_long, too_many] {
        for (instead, arrives, ends_as) in [
            (Some("Let me ask a colleague"), &["RESPONSE Let me ask a colleague"][..], "sent"),
            (None, &[], "failed invalid"),
        ] {
            let (platform, asked) = platform_of(does, instead).await;
            post(&platform, PSID, "hello").await;
            platform.settle().await;
            assert_eq!(delivered(&platform, PSID), arrives);
            assert_eq!(ends(&platform, PSID).await, [ends_as]);
            assert_eq!(asked.count(), 1);
            assert!(platform.sqs.is_empty(DEAD_LETTERS));
        }
    }
}

#[tokio::test]
async fn a_panic_is_tried_twice_and_holds_up_nobody() {
    let does: Does = |text, _| {
        assert!(!text.contains("poison"), "the words of a person");
        repeat(text)
    };
    let (platform, asked) = platform_of(does, Some("Sorry")).await;
    for (psid, text) in [(PSID, "poison"), (OTHER_PSID, "hello"), (PSID, "after")] {
        post(&platform, psid, text).await;
    }
    platform.settle().await;
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE you said hello"]);
    platform.advance(3 * SECOND).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE Sorry", "RESPONSE you said after"]);
    let texts: Vec<_> = asked.of(PSID).into_iter().map(|it| it.text).collect();
    assert_eq!(texts, ["poison", "poison", "after"]);
}

#[tokio::test]
async fn an_event_that_failed_in_good_order_is_not_taken_for_one_that_kills() {
    let does: Does = |text, attempt| match (text, attempt) {
        ("one", 1..=3) => Err(BotError::temporary("model")),
        _ => repeat(text),
    };
    let (platform, asked) = platform_of(does, None).await;
    post(&platform, PSID, "one").await;
    platform.settle().await;
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    platform.clock.forward(3 * SECOND);
    post(&platform, OTHER_PSID, "beside").await;
    let received = platform.sqs.receive(EVENTS, 10);
    assert_eq!(received.len(), 2);
    let deadline = platform.clock.now() + PROCESSOR_TIMEOUT;
    let answer = functions.processor.handle(batch(&received), "both", deadline).await;
    assert_eq!(answer.batch_item_failures.len(), 1, "both were begun in one batch");
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE you said beside"]);
    assert_eq!(asked.count(), 3);
}

#[tokio::test]
async fn a_death_at_any_call_while_the_bot_fails_loses_and_repeats_nothing() {
    let does: Does = |text, attempt| {
        if attempt == 1 { Err(BotError::temporary("model")) } else { repeat(text) }
    };
    survive_with(
        |options| drop(options_of(options, does, None)),
        async |_| {},
        async |platform| {
            say(platform, "hello").await;
            platform.advance(MINUTE).await;
        },
        async |platform, when| {
            assert_eq!(delivered(platform, PSID), ["RESPONSE you said hello"], "{when}");
            assert!(platform.sqs.is_empty(DEAD_LETTERS), "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_comment_has_the_same_patience() {
    let does: Does = |_, _| Err(BotError::temporary("model"));
    for (instead, expected) in [(Some("Sorry"), 1), (None, 0)] {
        let (platform, _) = platform_of(does, instead).await;
        let comment = platform.meta.person_comments(PAGE, PSID, "100_200", "How much?");
        assert_eq!(platform.post(&comment).await, 200);
        platform.advance(4 * MINUTE).await;
        let replies = platform.meta.requests().into_iter().filter(|it| !it.message.is_null());
        assert_eq!(replies.count(), expected);
        assert_eq!(platform.sqs.messages(DEAD_LETTERS).len(), 1 - expected);
        assert!(platform.sqs.is_empty(EVENTS));
    }
}

// ---------------------------------------------------------------------------------------- side by side

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

// ---------------------------------------------------------------------------------------- what is remembered

#[derive(Debug, Default, Serialize, Deserialize)]
struct Count {
    count: u64,
}

impl State for Count {
    const VERSION: u32 = 2;

    fn upgrade(from: u32, old: serde_json::Value) -> Result<Self, BotError> {
        let count = if from == 1 { old["n"].as_u64() } else { old.as_u64() };
        count.map(|count| Self { count }).ok_or(BotError::Failed("an old count"))
    }
}

struct Counting;

impl Bot for Counting {
    type State = Count;

    async fn decide(&self, turn: &Turn<Count>) -> Result<Decision, BotError> {
        let count = turn.state().count + 1;
        let said = Message::text(format!("{count}"))?;
        Ok(Decision::nothing().say(said).remember(&Count { count })?)
    }

    fn give_up(&self, turn: &Turn<Count>, why: &Trouble) -> Option<Decision> {
        (*why == Trouble::StateUnreadable).then(|| {
            let said = Message::text(format!("begins at {}", turn.state().count)).unwrap();
            Decision::nothing().say(said)
        })
    }
}

/// Lets a bot remember something of a person, as an earlier or a later version of it did.
async fn remember(platform: &Platform, json: &str, version: Option<u32>) {
    post(platform, PSID, "first").await;
    platform.settle().await;
    let table = platform.containers().environment().aws.dynamodb();
    let attribute = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = table.update_item().table_name(simulator::platform::TABLE);
    let update = update.key("pk", attribute(&format!("{PAGE}#{PSID}")));
    let update = update.key("sk", attribute("conversation"));
    let update = update.expression_attribute_names("#state", "state");
    let update = update.expression_attribute_values(":state", attribute(json));
    let update = match version {
        Some(version) => {
            let version = aws_sdk_dynamodb::types::AttributeValue::N(version.to_string());
            let set = "SET #state = :state, state_version = :version";
            update.update_expression(set).expression_attribute_values(":version", version)
        }
        None => update.update_expression("SET #state = :state REMOVE state_version"),
    };
    update.send().await.unwrap();
}

#[tokio::test]
async fn a_state_is_upgraded_kept_and_never_silently_replaced() {
    for (stored, version, said, dead) in [
        ("5", None, Some("RESPONSE 6"), 0),
        (r#"{"n":6}"#, Some(1), Some("RESPONSE 7"), 0),
        (r#"{"count":7}"#, Some(2), Some("RESPONSE 8"), 0),
        (r#"{"m":7}"#, Some(1), Some("RESPONSE begins at 0"), 0),
        (r#"{"m":7}"#, Some(2), Some("RESPONSE begins at 0"), 0),
        (r#"{"later":7}"#, Some(3), None, 1),
    ] {
        let platform = platform_with(|options| options.bot = Some(shared(Counting))).await;
        remember(&platform, stored, version).await;
        post(&platform, PSID, "hello").await;
        platform.advance(4 * MINUTE).await;
        let arrived = delivered(&platform, PSID);
        let arrived = arrived.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(arrived, ["RESPONSE 1"].into_iter().chain(said).collect::<Vec<_>>(), "{stored}");
        assert_eq!(reasons(&platform).len(), dead, "{stored}");
        let kept = conversation(&platform, PSID).await;
        let is_replaced = said.is_some_and(|said| !said.contains("begins"));
        assert_eq!(kept["state"].as_str() != Some(stored), is_replaced, "{stored}: {kept:?}");
        if is_replaced {
            assert_eq!(kept["state_version"], 2);
        }
    }
}

/// While a deployment runs, the version before it meets what the new one stored, and waits for it.
#[tokio::test]
async fn a_state_of_a_later_version_waits_for_that_version() {
    let platform = platform_with(|options| options.bot = Some(shared(Counting))).await;
    remember(&platform, r#"{"count":7}"#, Some(3)).await;
    post(&platform, PSID, "hello").await;
    platform.settle().await;
    assert_eq!(counted(&platform, "BotFailed"), 1);
    let table = Duration::from_secs(3);
    remember_version(&platform, 2).await;
    platform.advance(table).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE 1", "RESPONSE 8"]);
}

async fn remember_version(platform: &Platform, version: u32) {
    let table = platform.containers().environment().aws.dynamodb();
    let attribute = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = table.update_item().table_name(simulator::platform::TABLE);
    let update = update.key("pk", attribute(&format!("{PAGE}#{PSID}")));
    let update = update.key("sk", attribute("conversation"));
    let version = aws_sdk_dynamodb::types::AttributeValue::N(version.to_string());
    let update = update.update_expression("SET state_version = :version");
    update.expression_attribute_values(":version", version).send().await.unwrap();
}
