//! Several messages in one turn, and what a turn remembers and sees of what was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use messenger::bot::{Bot, BotError, Gather, Stateless, Turn, Who, bot_fn};
use messenger::chat::Chat;
use messenger::decision::{Decision, FollowUp};
use messenger::message::{Button, Message, QuickReply};

use super::bots::{say, text};
use super::{HOUR, MINUTE};

/// Tells how many messages it answers, and which, and when; and asks again after an hour unless it is answered.
struct Listener(Gather);

impl Bot for Listener {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        let said = turn.text().replace('\n', " + ");
        let waited = turn.now().since(turn.event().happened_at()).as_millis();
        let told = Message::text(format!("{}: {said} after {waited}", turn.events().len()))?;
        let choices = Message::buttons("Or", &[Button::postback("Tap", "TAP")])?
            .with_quick_replies(&[QuickReply::text("Quick", "QUICK")])?;
        let reminder = FollowUp::after(HOUR, Message::text("Still there?")?).unless_answered();
        Ok(Decision::nothing().say(told).say(choices).later(reminder))
    }

    fn gather(&self) -> Gather {
        self.0
    }
}

fn plays(gather: Gather, text: &str) {
    let report = Chat::with(Listener(gather)).play(text).unwrap();
    assert!(report.is_as_written(), "{report}");
}

#[test]
fn messages_that_came_quickly_are_one_turn_if_the_bot_gathers() {
    plays(
        Gather::Off,
        "guest> (quickly \"a\" \"b\")\n< RESPONSE 1: a after 1\n< RESPONSE Or*\nx cancelled answered Still*\n\
         < RESPONSE 1: b after 0\n< RESPONSE Or*\n~ waiting +1h UPDATE Still*",
    );
    plays(
        Gather::Waiting,
        "guest> (quickly \"a\" \"b\")\n< RESPONSE 2: a + b after 0\n< RESPONSE Or*\n~ waiting +1h UPDATE Still*\n\
         guest> c\nx cancelled answered Still*\n< RESPONSE 1: c after 0\n< RESPONSE Or*",
    );
    plays(
        Gather::For(Duration::from_secs(3)),
        "guest> (quickly \"a\" \"b\")\n< RESPONSE 2: a + b after 3000\n< RESPONSE Or*\n~ waiting +1h UPDATE Still*",
    );
    Chat::with(Listener(Gather::Waiting))
        .quickly(["a", "b"])
        .expect_exactly("2: a + b after 0")
        .expect_text("Or");
}

#[test]
fn what_is_set_for_several_messages_is_cancelled_by_what_came_after_the_last() {
    let text = "= 2026-11-22 09:00\nguest> (quickly \"a\" \"b\")\n< anything\n\
                guest> (raw {\"timestamp\":1795338000001,\"message\":{\"mid\":\"late\",\"text\":\"c\"}})\n\
                < RESPONSE 1: c after 1\n< RESPONSE Or*\n\
                ~ waiting +1h UPDATE Still*\n~ waiting +1h UPDATE Still*";
    plays(Gather::Waiting, text);
}

#[test]
fn a_turn_has_at_most_ten_messages() {
    let twelve: Vec<_> = (1..=12).map(|n| format!("\"{n}\"")).collect();
    let first = (1..=10).map(|n| n.to_string()).collect::<Vec<_>>().join(" + ");
    let text = format!(
        "guest> (quickly {})\n< RESPONSE 10: {first} after 2\n< RESPONSE Or*\nx cancelled answered Still*\n\
         < RESPONSE 2: 11 + 12 after 0\n< RESPONSE Or*",
        twelve.join(" ")
    );
    plays(Gather::Waiting, &text);
}

#[test]
fn a_bot_that_gathers_for_a_while_waits_also_for_a_message_alone_but_not_for_a_tap() {
    plays(
        Gather::For(Duration::from_secs(3)),
        "= 2026-11-22 09:00\nguest> a\n< RESPONSE 1: a after 3000\n< RESPONSE Or*\n~ waiting +1h UPDATE Still*\n\
         guest> [Tap]\nx cancelled answered Still*\n< RESPONSE 1: TAP after 0\n< RESPONSE Or*\n\
         guest> [Quick]\nx cancelled answered Still*\n< RESPONSE 1: QUICK after 0\n< RESPONSE Or*",
    );
    // No longer than ten seconds.
    plays(Gather::For(HOUR), "guest> (image)\n< RESPONSE 1:  after 10000\n< RESPONSE Or*");
}

#[test]
fn a_gathered_answer_comes_as_late_as_the_bot_waits() {
    let chat = Chat::with(Listener(Gather::For(Duration::from_secs(2)))).says("a");
    let chat = chat.expect_text("1: a").expect_text("Or").after(59 * MINUTE);
    chat.expect_nothing().after(MINUTE).expect_text("Still there?");
}

/// What happens elsewhere, counted.
fn counting() -> (Arc<AtomicU64>, impl Fn() -> u64) {
    let count = Arc::new(AtomicU64::new(0));
    (Arc::clone(&count), move || count.load(Ordering::Relaxed))
}

#[test]
fn what_is_done_once_is_done_once_however_often_the_bot_is_asked() {
    let (count, done) = counting();
    let bot = bot_fn(async move |turn: &Turn<Stateless>| {
        let first = async { Ok(count.fetch_add(1, Ordering::Relaxed)) };
        let number = turn.once("order", first).await?;
        let other = turn.once("other", async { Ok("other".to_owned()) }).await?;
        if turn.attempt() < 3 {
            return Err(BotError::temporary("model"));
        }
        say(&format!("order {number}, {other}"))
    });
    let chat = Chat::with(bot).says("Hi").expect_exactly("order 0, other");
    assert_eq!(done(), 1, "three tries");
    let chat = chat.dies_before_writing().says("Hi").expect_exactly("order 1, other");
    assert_eq!(done(), 2, "another event");
    drop(chat);
}

#[test]
fn what_failed_is_done_again() {
    let (count, done) = counting();
    let bot = bot_fn(async move |turn: &Turn<Stateless>| {
        let work = async {
            match count.fetch_add(1, Ordering::Relaxed) {
                0 => Err(BotError::temporary("shop")),
                number => Ok(number),
            }
        };
        say(&turn.once("order", work).await?.to_string())
    });
    Chat::with(bot).says("Hi").expect_exactly("1");
    assert_eq!(done(), 2);
}

#[test]
fn the_history_has_the_newest_of_what_both_sides_said() {
    let bot = bot_fn(async |turn: &Turn<Stateless>| {
        let history = turn.history(4).await?;
        let lines: Vec<_> = history
            .iter()
            .map(|said| {
                assert!(said.at <= Some(turn.now()));
                let who = if said.who == Who::Person { '>' } else { '<' };
                format!("{who}{}", said.text)
            })
            .collect();
        match turn.text().as_str() {
            "tell" => say(&lines.join(" ")),
            "" if lines.last().is_some_and(|line| line == ">") => say("seen"),
            "button" => {
                let buttons = [Button::postback("Tell", "tell")];
                Ok(Decision::nothing().say(Message::buttons("There", &buttons)?))
            }
            said => Ok(Decision::nothing().say(text(&format!("no {said}"))).say(text("none"))),
        }
    });
    let chat = Chat::with(bot).says("tell").expect_exactly(">tell");
    let chat = chat.says("a").expect_exactly("no a").expect_exactly("none").says("tell");
    let chat = chat.expect_exactly(">a <no a <none >tell").sends_image().expect_exactly("seen");
    let chat = chat.says("button").expect_text("There").taps("Tell");
    let chat = chat.expect_exactly("<seen >button < >Tell").inbox_says("Hi").agent_says("Ho");
    let chat = chat.after(12 * HOUR).says("tell");
    chat.expect_exactly("<<seen >button < >Tell <Hi <Ho >tell");
}

#[test]
fn what_is_taken_back_is_not_in_the_history() {
    let bot = bot_fn(async |turn: &Turn<Stateless>| {
        let texts: Vec<_> = turn.history(20).await?.into_iter().map(|said| said.text).collect();
        if turn.text() == "tell" { say(&texts.join(" ")) } else { Ok(Decision::nothing()) }
    });
    let text = "guest> a\nguest> b\nguest> (unsend)\nguest> (quickly \"c\" \"d\")\nguest> (unsend)\n\
                guest> tell\n< RESPONSE a c tell";
    let report = Chat::with(bot).play(text).unwrap();
    assert!(report.is_as_written(), "{report}");
}
