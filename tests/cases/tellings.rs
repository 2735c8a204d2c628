//! The test kit of bots tells the outbox a second time: both tellings agree, conversation by conversation.

use messenger::bot::{Bot, BotError, State, Turn, plain, shared};
use messenger::chat::Chat;
use messenger::chat::transcript::{
    Act, Desk, Driver, Happening, Passing, Refused, SOMEBODY, Scene, StaffAct, Step, play,
};
use messenger::decision::{Decision, FollowUp, HandOver, Timer};
use messenger::event::Kind;
use messenger::message::{Message, QuickReply, UtilityTemplate};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde::{Deserialize, Serialize};
use simulator::platform::Options;
use simulator::stage::Stage;

use crate::support::*;

#[tokio::test]
async fn the_sample_s_nine_days_happen_on_the_real_functions_as_in_the_test_kit() {
    let written = include_str!("../bots/booking/scenarios/booking.chat");
    let mut stage = Stage::new(Options { replies: booking::reply, ..Options::default() });
    let real = play(written, &mut stage).await.unwrap();
    assert!(real.is_as_written(), "{real}");
    let mut kit = Chat::with(plain(booking::reply));
    assert_eq!(kit.play(written).unwrap().accepted, real.accepted);
}

/// A bot that does what a word says.
struct Obedient;

#[derive(Default, Serialize, Deserialize)]
struct Count(u64);

impl State for Count {}

impl Bot for Obedient {
    type State = Count;

    async fn decide(&self, turn: &Turn<Count>) -> Result<Decision, BotError> {
        let word = match &turn.event().kind {
            Kind::Timer(timer) => format!("timer {}", timer.key),
            Kind::Resumed => "resumed".to_owned(),
            _ => turn.text().replace('\n', " and "),
        };
        let count = turn.state().0 + 1;
        let say = |text: &str| Message::text(format!("{text} {count}"));
        let decision = Decision::nothing();
        let decision = match word.as_str() {
            "" | "nothing" => return Ok(decision),
            "twice" => decision.say(say("first")?).say(say("second")?),
            "remind" => {
                let reminder = FollowUp::after(HOUR, say("reminder")?).unless_answered();
                decision.say(say("reminded")?).later(reminder)
            }
            "later" => decision.later(FollowUp::after(2 * HOUR, say("later")?)),
            "tomorrow" => {
                let template = UtilityTemplate::new("still_free", "en_US");
                let later = FollowUp::after(30 * HOUR, say("tomorrow")?);
                decision.later(later.or_template(template))
            }
            "wake" => decision.wake_me(Timer::after(HOUR, "wake", &count)?),
            "wake unless" => {
                decision.wake_me(Timer::after(30 * MINUTE, "wake", &count)?.unless_answered())
            }
            "forget" => decision.cancel_timer("wake"),
            "many" => (0..6).try_fold(decision, |decision, number| {
                let timer = Timer::after(2 * HOUR, format!("many-{}-{number}", count % 3), &())?;
                Ok::<_, BotError>(decision.wake_me(timer))
            })?,
            "person" => decision.say(say("a person")?).hand_over(HandOver::because("asked")),
            "person soon" => {
                let hand_over = HandOver::because("soon").quiet_for(HOUR).and_wake_me();
                decision.say(say("a person")?).hand_over(hand_over)
            }
            "quiet" => decision.say(say("quiet")?).quiet_for(3 * HOUR),
            "ask" => {
                let choices = ["remind", "twice"].map(|title| QuickReply::text(title, title));
                decision.say(say("which?")?.with_quick_replies(&choices)?)
            }
            "down" if turn.attempt() < 3 => return Err(BotError::temporary("service")),
            "broken" => return Err(BotError::Failed("service")),
            "long" => decision.say(Message::text("x".repeat(2001))?),
            _ => decision.say(say(&word)?),
        };
        Ok(decision.remember(&Count(count))?)
    }
}

fn person() -> impl Strategy<Value = Step> {
    let words = [
        "wake",
        "wake unless",
        "forget",
        "many",
        "person",
        "person soon",
        "hello",
        "nothing",
        "twice",
        "remind",
        "later",
        "tomorrow",
        "quiet",
        "ask",
        "down",
        "broken",
        "long",
    ];
    let says = prop::sample::select(words.to_vec()).prop_map(|word| Act::Says(word.to_owned()));
    let taps =
        prop::sample::select(vec!["remind", "twice"]).prop_map(|it| Act::Taps(it.to_owned()));
    let others = prop::sample::select(vec![Act::SendsImage, Act::Reacts("love".to_owned())]);
    let quickly = prop::sample::select(vec![["hello", "there"], ["wake", "hello"]]);
    let quickly = quickly.prop_map(|texts| Act::Quickly(texts.map(str::to_owned).to_vec()));
    let act = prop_oneof![1 => quickly, 8 => says, 2 => taps, 1 => others];
    act.prop_map(|act| Step::Person { who: SOMEBODY.to_owned(), act })
}

fn staff() -> impl Strategy<Value = Step> {
    let desk = Desk::Api("desk".to_owned());
    let writes = |desk: Desk| (desk, StaffAct::Says("It is me".to_owned()));
    let acts = vec![writes(desk), writes(Desk::Inbox), (Desk::Inbox, StaffAct::ReturnsControl)];
    let step = |(desk, act)| Step::Staff { desk, to: Some(SOMEBODY.to_owned()), act };
    prop::sample::select(acts).prop_map(step)
}

fn time() -> impl Strategy<Value = Step> {
    let spans = [10 * MINUTE, HOUR, 12 * HOUR, 25 * HOUR].map(Passing::For);
    let edge = |offset| Passing::Edge { who: SOMEBODY.to_owned(), window: DAY, offset };
    let edges = [-120_000, 1_000].map(edge);
    let all = spans.into_iter().chain(edges).chain([Passing::UntilDue]).collect::<Vec<_>>();
    prop::sample::select(all).prop_map(Step::Time)
}

/// What came of a step; whether it was refused, if it was.
type Told = Result<Vec<Happening>, ()>;

async fn tell(driver: &mut impl Driver, steps: &[Step]) -> Vec<Told> {
    let scene = Scene { people: vec![(SOMEBODY.to_owned(), None)], start: None };
    driver.begin(&scene).await.unwrap();
    let mut told = Vec::new();
    for step in steps {
        told.push(driver.act(step).await.map_err(|Refused(_)| ()));
    }
    told
}

#[test]
fn what_happens_on_the_real_functions_happens_in_the_test_kit() {
    let steps = prop_oneof![4 => person(), 1 => staff(), 3 => time()];
    let scripts = prop::collection::vec(steps, 1..12);
    let config =
        Config { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, deterministic());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let agree = |script: Vec<Step>| {
        let real = runtime.block_on(async {
            let bot = Some(shared(Obedient));
            tell(&mut Stage::new(Options { bot, ..Options::default() }), &script).await
        });
        let kit = runtime.block_on(tell(&mut Chat::with(Obedient), &script));
        for ((step, real), kit) in script.iter().zip(&real).zip(&kit) {
            if real != kit {
                let all = script.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                let why = format!("{all}\n\nat {step}\nreal {real:?}\nkit  {kit:?}");
                return Err(TestCaseError::fail(why));
            }
        }
        Ok(())
    };
    runner.run(&scripts, agree).unwrap_or_else(|error| panic!("{error}"));
}

fn deterministic() -> proptest::test_runner::TestRng {
    let algorithm = proptest::test_runner::RngAlgorithm::ChaCha;
    proptest::test_runner::TestRng::deterministic_rng(algorithm)
}
