//! The bot's conversations, around the booking bot, and around bots that fail.

use std::time::Duration;

use booking::reply;
use handover::HandsOver;
use messenger::bot::{Bot, BotError, Gather, Stateless, Trouble, Turn, plain};
use messenger::chat::{Chat, play_folder};
use messenger::decision::Decision;
use messenger::message::Message;

#[test]
fn the_scenarios_happen_as_they_are_written() {
    play_folder("scenarios", || Chat::with(HandsOver::around(plain(reply))));
}

#[test]
fn only_whole_words_count() {
    let chat = || {
        Chat::with(HandsOver::around(plain(reply)).on(["real person", "Agent"]).promising("Soon."))
    };
    for text in ["agent", "An AGENT, please!", "a real\n person?", "(Real-Person)"] {
        chat().says(text).expect_exactly("Soon.").expect_handed_over().expect_quiet();
    }
    for text in ["agency", "a person", "unreal personal", "reagent", "human", "real, nice person"] {
        chat().says(text).expect_text("Thank you");
    }
    chat()
        .quickly(["Hi", "agent"])
        .expect_text("Thank you")
        .expect_text("Soon")
        .expect_handed_over();
}

#[test]
fn a_word_of_nothing_is_none() {
    let chat = Chat::with(HandsOver::around(plain(reply)).on(["", "?!"]));
    chat.sends_image().expect_text("that has arrived").says("?!").expect_text("Thank you");
}

/// Fails; says something instead if it has it; gathers.
struct Fails(Option<&'static str>);

impl Bot for Fails {
    type State = Stateless;

    async fn decide(&self, _: &Turn<Stateless>) -> Result<Decision, BotError> {
        Err(BotError::Failed("shop"))
    }

    fn give_up(&self, _: &Turn<Stateless>, _: &Trouble) -> Option<Decision> {
        Some(Decision::nothing().say(Message::text(self.0?).ok()?))
    }

    fn gather(&self) -> Gather {
        Gather::For(Duration::from_secs(2))
    }
}

#[test]
fn people_answer_where_the_bot_inside_fails_and_says_nothing_instead() {
    let chat = Chat::with(HandsOver::around(Fails(None)));
    chat.says("Hi").expect_text("Somebody from our team").expect_handed_over();
    let chat = Chat::with(HandsOver::around(Fails(Some("Sorry"))));
    chat.says("Hi").expect_exactly("Sorry").reacts("love").expect_exactly("Sorry");
    let chat = Chat::with(HandsOver::around(Fails(None))).inbox_says("Hi").control_returns();
    chat.expect_failed("bot_failed");
}

#[test]
fn it_gathers_as_the_bot_inside_does() {
    let bot = HandsOver::around(Fails(Some("Sorry")));
    let chat = Chat::with(bot).quickly(["I want", "an agent"]);
    chat.expect_text("Somebody").expect_handed_over().expect_nothing();
}
