//! A bot that calls something: what it needs is down, slow or broken, and everybody is served all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use messenger::bot::{Bot, BotError, Stateless, Trouble, Turn, shared};
use messenger::clock::{Clock, SharedClock};
use messenger::decision::Decision;
use messenger::message::{Invalid, Message};
use simulator::clock::VirtualClock;
use simulator::driver::{gets_stuck, takes};
use simulator::platform::{DEAD_LETTERS, EVENTS, Options, Platform, batch};

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

pub(crate) fn repeat(text: &str) -> Result<Decision, BotError> {
    Ok(Decision::nothing().say(Message::text(format!("you said {text}"))?))
}

pub(crate) async fn post(platform: &Platform, psid: &str, text: &str) {
    assert_eq!(platform.post(&platform.meta.person_says(PAGE, psid, text)).await, 200);
}

pub(crate) fn reasons(platform: &Platform) -> Vec<String> {
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
async fn an_hours_outage_costs_each_of_many_people_two_minutes_once() {
    const PEOPLE: u64 = 20;
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let platform = platform_with(|options| {
        options.bot = Some(shared(Model { is_down: down }));
    })
    .await;
    let began = platform.clock.now();
    let person = |number: u64| format!("70000000000002{number:02}");
    // Each writes three times during the hour, and once after it.
    for minute in 0..70 {
        if minute == 60 {
            is_down.store(false, Ordering::Relaxed);
        }
        for number in 0..PEOPLE {
            if [0, 20, 40, 60].contains(&(minute - i64::try_from(number % 8).unwrap())) {
                post(&platform, &person(number), &format!("at {minute}")).await;
            }
        }
        platform.settle().await;
        platform.advance(MINUTE).await;
    }
    for number in 0..PEOPLE {
        let answers = platform.meta.delivered(PAGE, &person(number));
        let written = [0, 20, 40, 60].map(|minute| minute + i64::try_from(number % 8).unwrap());
        assert_eq!(answers.len(), written.len(), "nothing is lost");
        for (place, (answer, minute)) in answers.iter().zip(written).enumerate() {
            let waited = answer.at - began.millis() - minute * 60_000;
            let most = if place == 0 { 123_000 } else { 2_000 };
            assert!((0..=most).contains(&waited), "message {place} of {number}: {waited} ms");
            let text = if place < 3 { "Sorry".to_owned() } else { format!("you said at {minute}") };
            assert_eq!(answer.message["text"], text);
        }
        assert_no_leftovers(&platform, &person(number)).await;
    }
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
}

/// A bot whose model may be down.
struct Model {
    is_down: Arc<AtomicBool>,
}

impl Bot for Model {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(BotError::temporary("model"));
        }
        repeat(&turn.text())
    }

    fn give_up(&self, _: &Turn<Stateless>, _: &Trouble) -> Option<Decision> {
        Some(Decision::nothing().say(Message::text("Sorry").unwrap()))
    }
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
