//! The bot wakes itself, hands over to people, and is told when it may speak again.

use std::time::Duration;

use messenger::bot::{Bot, BotError, Stateless, Turn, bot_fn};
use messenger::chat::Chat;
use messenger::decision::{Decision, FollowUp, HandOver, Timer};
use messenger::event::Kind;
use messenger::message::Message;

use super::bots::say;
use super::{HOUR, MINUTE, failure};

/// Does what each word of a message says: `remind:2` sets the timer `remind` for two hours, `ask:1` does so unless the
/// person answers, `cancel:remind` cancels one. Tells what it is woken for.
fn waking() -> impl Bot {
    bot_fn(async |turn: &Turn<Stateless>| {
        let timers = || turn.timers().keys().cloned().collect::<Vec<_>>().join(", ");
        match &turn.event().kind {
            Kind::Timer(timer) if timer.payload == "again" => {
                let again = Timer::after(HOUR, timer.key.as_str(), &"again")?;
                return Ok(say("Again")?.wake_me(again));
            }
            Kind::Timer(timer) => {
                return say(&format!("{} {}, left [{}]", timer.key, timer.payload, timers()));
            }
            Kind::Resumed => return say("I am back"),
            _ => {}
        }
        let mut decision = Decision::nothing();
        for word in turn.text().split(' ') {
            decision = does(decision, word, &timers)?;
        }
        Ok(decision)
    })
}

fn does(
    decision: Decision,
    word: &str,
    timers: &impl Fn() -> String,
) -> Result<Decision, BotError> {
    let (word, argument) = word.split_once(':').unwrap_or((word, ""));
    let timer = || Timer::after(argument.parse().unwrap_or(1) * HOUR, word, &argument);
    let people = HandOver::because("asked\nfor one");
    Ok(match word {
        "later" => decision.later(FollowUp::after(HOUR, Message::text("Later")?)),
        "twenty" => (0..20).fold(decision, |decision, _| {
            decision.later(FollowUp::after(HOUR, Message::text("x").unwrap()))
        }),
        "cancel" => decision.cancel_timer(argument),
        "timers" => decision.say(Message::text(format!("[{}]", timers()))?),
        "again" => decision.wake_me(Timer::after(HOUR, "again", &"again")?),
        "ask" => decision.wake_me(timer()?.unless_answered()),
        "long" => {
            let people = HandOver::because("a week").quiet_for(Duration::from_hours(8 * 24));
            decision.hand_over(people.and_wake_me())
        }
        "people" => decision.say(Message::text("Somebody comes")?).hand_over(people),
        "silently" => decision.hand_over(people),
        "inbox" => decision.say(Message::text("They come")?).hand_over(people.to_inbox()),
        "shortly" => decision.hand_over(people.quiet_for(Duration::from_hours(2)).and_wake_me()),
        "woken" => decision.hand_over(people.and_wake_me()),
        _ => decision.wake_me(timer()?),
    })
}

fn plays(text: &str) {
    let report = Chat::with(waking()).play(text).unwrap();
    assert!(report.is_as_written(), "{report}");
}

#[test]
fn a_timer_asks_the_bot_when_it_is_due() {
    Chat::with(waking())
        .says("remind:2")
        .after(119 * MINUTE)
        .expect_nothing()
        .after(MINUTE)
        .expect_exactly("remind \"2\", left []")
        .after(24 * HOUR)
        .expect_nothing();
    plays(
        "guest> remind:2 other:3\n~ waiting +2h (timer remind)\n~ waiting +3h (timer other)\n\
           + due\n< UPDATE remind \"2\", left [other]\n~ waiting +1h (timer other)\n\
           guest> timers\n< RESPONSE [other]",
    );
}

#[test]
fn a_timer_can_set_itself_again() {
    plays(
        "guest> again\n+ 3h\n< UPDATE Again\n< UPDATE Again\n< UPDATE Again\n~ waiting +1h (timer again)\n\
           + 20h\n< anything\n+ 1h\nx refused window_closed Again\n~ waiting +1h (timer again)",
    );
}

#[test]
fn a_timer_of_the_same_key_replaces_the_older_one_and_can_be_cancelled() {
    plays(
        "guest> remind:2\nguest> remind:5\n~ waiting +5h (timer remind)\n+ 5h\n\
           < UPDATE remind \"5\", left []\nguest> remind:2 other:2\nguest> cancel:remind\n\
           ~ waiting +2h (timer other)\nguest> cancel:other other:1\n~ waiting +1h (timer other)",
    );
}

#[test]
fn an_answer_cancels_silently_the_timers_that_say_so() {
    plays(
        "guest> ask:1 remind:2\nguest> timers\n< RESPONSE [remind]\n~ waiting +2h (timer remind)\n\
           guest> ask:1\n+ 1h\n< UPDATE ask \"1\", left [remind]",
    );
}

#[test]
fn a_timer_counts_among_what_waits() {
    plays("guest> twenty remind\nx failed too_many_waiting x\n");
    plays("guest> twenty\nguest> remind\nx failed too_many_waiting (timer remind)\n");
    plays("guest> remind\nguest> twenty\nx failed too_many_waiting x\n");
    // What is cancelled or replaced makes room in the same decision.
    plays("guest> remind\nguest> twenty cancel:remind\n+ 1h\n< anything\n~ nothing");
}

#[test]
fn at_most_eight_timers_wait_and_that_of_a_hand_over_always_finds_a_place() {
    plays(
        "guest> a b c d e f g h\nguest> i\nx failed too_many_waiting (timer i)\n\
         guest> cancel:a i h\nguest> timers\n< RESPONSE [b, c, d, e, f, g, h, i]\n\
         guest> woken\n< (hands over: asked\\nfor one)",
    );
    plays(
        "guest> a b c d e f g woken\n< anything\n@inbox> (returns control)\n< UPDATE I am back\n\
         guest> h\nguest> timers\n< RESPONSE [a, b, c, d, e, f, g, h]",
    );
}

#[test]
fn what_is_due_at_the_same_time_leaves_before_the_bot_is_woken() {
    plays(
        "guest> remind later\n~ waiting +1h UPDATE Later\n~ waiting +1h (timer remind)\n+ 1h\n\
         < UPDATE Later\n< UPDATE remind \"\", left []",
    );
}

#[test]
fn a_timer_that_waits_for_too_long_is_given_up() {
    plays(
        "guest> remind\n@inbox> Hi\n+ 12h\n< UPDATE remind \"\", left []\nguest> week long\n\
         < (hands over: a week)\n? quiet 8d\n+ 8d\nx failed gave_up (timer week)\nx refused window_closed I am back",
    );
}

#[test]
fn a_timer_waits_while_people_answer() {
    plays(
        "guest> remind:1\n@inbox> Hello\n+ 2h\n~ waiting +10h (timer remind)\n+ 10h\n\
           < UPDATE remind \"1\", left []",
    );
    plays(
        "guest> remind:1\n@inbox> Hello\n+ 2h\n@inbox> (returns control)\n\
           < UPDATE remind \"1\", left []\n< UPDATE I am back\n~ nothing",
    );
}

#[test]
fn a_timer_waits_behind_what_the_bot_is_asked_about() {
    let bot = || {
        bot_fn(async |turn: &Turn<Stateless>| match &turn.event().kind {
            Kind::Timer(_) => say(&format!("woken at {}", turn.now())),
            _ if turn.text() != "slow" => {
                let timer = Timer::after(Duration::from_secs(5), "soon", &())?;
                Ok(Decision::nothing().wake_me(timer))
            }
            _ if turn.attempt() < 3 => Err(BotError::temporary("model")),
            _ => say("Now"),
        })
    };
    Chat::with(bot())
        .says("set")
        .says("slow")
        .expect_exactly("Now")
        .expect_exactly("woken at 2026-11-22T09:00:10.001Z");
}

#[test]
fn a_bot_that_fails_about_a_timer_is_asked_again() {
    let bot = bot_fn(async |turn: &Turn<Stateless>| match &turn.event().kind {
        Kind::Timer(_) if turn.attempt() < 3 => Err(BotError::temporary("model")),
        Kind::Timer(timer) => say(&format!("{} {}", timer.set_at, timer.due_at)),
        _ => Ok(Decision::nothing().wake_me(Timer::after(HOUR, "a", &())?)),
    });
    let told = "2026-11-22T09:00:00Z 2026-11-22T10:00:00Z";
    Chat::with(bot).says("Hi").after(HOUR).expect_exactly(told);
}

#[test]
fn a_bot_that_waits_for_something_real_about_a_timer_fails_the_test() {
    let bot = bot_fn(async |turn: &Turn<Stateless>| {
        if let Kind::Timer(_) = turn.event().kind {
            std::future::pending::<()>().await;
        }
        Ok(Decision::nothing().wake_me(Timer::after(HOUR, "a", &())?))
    });
    let told = failure(|| drop(Chat::with(bot).says("Hi").after(HOUR)));
    assert!(told.contains("the bot waits for something real"), "{told}");
}

#[test]
fn a_bot_that_wakes_itself_without_end_fails_the_test() {
    let bot = bot_fn(async |_: &Turn<Stateless>| {
        Ok(Decision::nothing().wake_me(Timer::after(Duration::ZERO, "at-once", &())?))
    });
    let told = failure(|| drop(Chat::with(bot).says("Hi")));
    assert!(
        told.starts_with("more than 10000 timers were due in this step, such as at-once"),
        "{told}"
    );
}

#[test]
fn after_a_hand_over_the_bot_is_quiet() {
    let chat = Chat::with(waking()).says("people").expect_exactly("Somebody comes");
    let chat = chat.expect_handed_over().expect_quiet().says("timers").after(12 * HOUR);
    chat.expect_nothing().says("timers").expect_exactly("[]");
    let chat = Chat::with(waking()).says("people").expect_text("Somebody");
    let told = failure(|| drop(chat.expect_text("")));
    assert!(told.contains("there is: < guest (hands over: asked\\nfor one)"), "{told}");
    let told = failure(|| drop(Chat::with(waking()).says("timers").expect_handed_over()));
    assert!(told.starts_with("expected a hand-over, there is: < guest RESPONSE []"), "{told}");
}

#[test]
fn a_hand_over_is_told_after_what_is_said() {
    plays(
        "guest> people\n< RESPONSE Somebody comes\n< (hands over: asked\\nfor one)\n? quiet 12h\n~ nothing\n\
           guest> later\n+ 12h\n~ nothing",
    );
    plays("guest> inbox\n< RESPONSE They come\n< (hands over: asked\\nfor one)\n? quiet 12h");
    plays("guest> silently\n< (hands over: asked\\nfor one)\n? quiet 12h");
}

#[test]
fn the_bot_is_woken_when_the_time_of_a_hand_over_is_over_if_it_asked_for_that() {
    plays(
        "guest> shortly\n< (hands over: asked\\nfor one)\n? quiet 2h\n~ waiting +2h (timer _resumed)\n\
           + 2h\n< UPDATE I am back\n~ nothing\nguest> timers\n< RESPONSE []",
    );
    plays(
        "guest> shortly\n< anything\n+ 1h\n@inbox> We look into it\n+ 1h\n~ waiting +11h (timer _resumed)\n\
           + 11h\n< UPDATE I am back",
    );
    plays("guest> shortly\n< anything\n@inbox> Hi\n+ 12h\n< UPDATE I am back\n~ nothing");
}

#[test]
fn control_that_returns_wakes_a_bot_that_was_quiet_once() {
    plays(
        "guest> woken\n< anything\n@inbox> (returns control)\n< UPDATE I am back\n~ nothing\n? quiet 0s\n\
           @inbox> (returns control)\n+ 1d\nguest> timers\n< RESPONSE []",
    );
    plays(
        "guest> later\n@inbox> Hi\n+ 2h\n@inbox> (returns control)\n< UPDATE Later\n< UPDATE I am back",
    );
    plays("guest> timers\n< RESPONSE []\n@inbox> (returns control)");
}
