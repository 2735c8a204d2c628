//! Several messages in quick succession are one turn, if the bot wants that.

use std::sync::Arc;
use std::time::Duration;

use messenger::bot::{Bot, BotError, Gather, Stateless, Turn, shared};
use messenger::decision::{Decision, FollowUp};
use messenger::message::{Message, QuickReply};
use serde_json::{Value, json};
use simulator::platform::{Options, Platform};

use crate::crash::survive_with;
use crate::support::*;

/// A bot that says which messages were one turn.
struct Gathers(Gather);

impl Bot for Gathers {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        let said = turn.text().replace('\n', "+");
        if said.contains("nothing") {
            return Ok(Decision::nothing());
        }
        if said.contains("broken") && turn.attempt() < 2 {
            return Err(BotError::temporary("model"));
        }
        let reminder = FollowUp::after(HOUR, Message::text("still there?")?).unless_answered();
        let choice = QuickReply::text("Yes", "YES");
        let say = Message::text(format!("[{said}]"))?.with_quick_replies(&[choice])?;
        let decision = Decision::nothing().say(say);
        Ok(if said.contains("remind") { decision.later(reminder) } else { decision })
    }

    fn gather(&self) -> Gather {
        self.0
    }
}

fn options(gather: Gather) -> impl Fn(&mut Options) {
    move |options| options.bot = Some(shared(Gathers(gather)))
}

async fn platform(gather: Gather) -> Arc<Platform> {
    platform_with(options(gather)).await
}

/// Messages arrive, and nobody has looked into the queue yet.
async fn arrive(platform: &Platform, texts: &[&str]) {
    for text in texts {
        platform.clock.forward(Duration::from_millis(1));
        let body = match text.strip_prefix("tap ") {
            Some(title) => platform.meta.person_sends(
                PAGE,
                PSID,
                json!({"text": title, "quick_reply": {"payload": title}}),
            ),
            None => platform.meta.person_says(PAGE, PSID, text),
        };
        while platform.post(&body).await != 200 {}
    }
}

const THREE_SECONDS: Gather = Gather::For(SECOND.saturating_mul(3));

#[tokio::test]
async fn messages_that_have_arrived_are_one_turn_or_each_is_its_own() {
    for (gather, texts, expected) in [
        (Gather::Off, &["one", "two"][..], &["[one]", "[two]"][..]),
        (Gather::Waiting, &["one"], &["[one]"]),
        (Gather::Waiting, &["one", "two", "three"], &["[one+two+three]"]),
        (Gather::Waiting, &["one", "tap YES", "two", "three"], &["[one]", "[YES]", "[two+three]"]),
    ] {
        let platform = platform(gather).await;
        arrive(&platform, texts).await;
        platform.settle().await;
        let expected: Vec<_> = expected.iter().map(|it| format!("RESPONSE {it}")).collect();
        assert_eq!(delivered(&platform, PSID), expected, "{gather:?} {texts:?}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn the_bot_waits_until_the_person_pauses_but_not_for_ever() {
    let platform = platform(THREE_SECONDS).await;
    arrive(&platform, &["one"]).await;
    platform.advance(2 * SECOND).await;
    arrive(&platform, &["two"]).await;
    platform.advance(2 * SECOND).await;
    assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
    platform.advance(2 * SECOND).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE [one+two]"]);
    // A tap is its own turn, and ends the one before.
    arrive(&platform, &["three", "tap YES"]).await;
    platform.settle().await;
    let said = delivered(&platform, PSID);
    assert_eq!(said[1..], ["RESPONSE [three]", "RESPONSE [YES]"]);
    // Somebody who never pauses is answered all the same.
    for number in 0..8 {
        arrive(&platform, &[&format!("{number}")]).await;
        platform.advance(2 * SECOND).await;
    }
    assert!(delivered(&platform, PSID).len() > 3, "{:?}", delivered(&platform, PSID));
    platform.advance(MINUTE).await;
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn windows_and_what_an_answer_cancels_depend_on_the_newest_message() {
    let platform = platform(Gather::Waiting).await;
    arrive(&platform, &["remind"]).await;
    platform.settle().await;
    platform.advance(30 * MINUTE).await;
    arrive(&platform, &["one", "two"]).await;
    platform.settle().await;
    let newest = platform.meta.last_opening(PAGE, PSID).unwrap();
    assert_eq!(conversation(&platform, PSID).await["last_message_at"], newest);
    platform.advance(2 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE [remind]", "RESPONSE [one+two]"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn each_of_several_messages_is_handled_once_whatever_dies() {
    for decision in ["one", "nothing", "broken"] {
        survive_with(
            |changed| {
                options(Gather::Waiting)(changed);
                changed.variables.insert("FEED".to_owned(), "on".to_owned());
            },
            async |_| {},
            async |platform| {
                arrive(platform, &[decision, "two", "three"]).await;
                platform.settle().await;
            },
            async |platform, when| {
                let said = delivered(platform, PSID).concat();
                let times = |text: &str| said.matches(text).count();
                if decision == "nothing" {
                    // Who dies before anything is written may leave the others to turns of their own.
                    assert!(times("two") <= 1 && times("three") <= 1, "{when}: {said}");
                    return;
                }
                for text in [decision, "two", "three"] {
                    assert_eq!(times(text), 1, "{when}: {said}");
                }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn what_is_answered_together_costs_one_write_each_and_is_passed_on() {
    let platform = platform_with(|changed| {
        options(Gather::Waiting)(changed);
        changed.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    arrive(&platform, &["one", "two", "three"]).await;
    platform.settle().await;
    let ends = ends(&platform, PSID).await;
    assert_eq!(ends.iter().filter(|it| *it == "sent answered_with").count(), 2);
    platform.advance(MINUTE).await;
    let fed = crate::api::get(&platform, &format!("/events?page_id={PAGE}")).await;
    let kinds: Vec<_> =
        fed["results"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, [&Value::from("message"); 3]);
}
