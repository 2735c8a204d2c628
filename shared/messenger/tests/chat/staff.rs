//! People of the business answer, and the bot is quiet.

use messenger::chat::Chat;
use messenger::decision::FollowUp;

use super::bots::{always, later, obedient, say, text};
use super::{HOUR, MINUTE, failure};

#[test]
fn the_bot_is_quiet_for_twelve_hours_after_people_wrote() {
    for write in [Chat::agent_says, Chat::inbox_says] {
        let chat = Chat::with(obedient()).says("Hello").expect_text("1: Hello");
        let chat = write(chat, "I am here").expect_quiet().says("Thank you").after(12 * HOUR);
        chat.expect_nothing().says("Hello").expect_text("2: Hello");
    }
}

#[test]
fn the_bot_is_quiet_for_as_long_as_it_decides() {
    let chat = Chat::with(obedient()).says("be quiet").expect_text("I am quiet").expect_quiet();
    let chat = chat.says("Hello").after(2 * HOUR).says("Hello").expect_text("2: Hello");
    let told = failure(|| drop(chat.expect_quiet()));
    assert!(told.contains("expected the bot to be quiet"), "{told}");
}

#[test]
fn no_silence_gets_shorter() {
    let long = || Ok(say("I am quiet")?.quiet_for(48 * HOUR));
    let chat = Chat::with(always(long)).says("Hello").expect_text("I am quiet").inbox_says("Hm");
    let chat = chat.after(47 * HOUR).expect_quiet().after(HOUR).says("Hello");
    chat.expect_text("I am quiet");
}

#[test]
fn control_returns_and_what_waited_for_that_leaves() {
    let chat = || Chat::with(obedient()).says("remind").expect_text("I will").agent_says("Hm");
    chat().after(2 * HOUR).expect_nothing().control_returns().expect_exactly("Now");
    chat().after(12 * HOUR).expect_exactly("Now");
    chat().control_returns().says("Hello").expect_text("2: Hello").after(HOUR).expect_text("Now");
}

#[test]
fn silence_that_outlasts_the_window_ends_what_waits() {
    let chat = Chat::with(later(|| FollowUp::after(HOUR, text("Late")))).says("Hello");
    let chat = chat.expect_text("yes").agent_says("Hm").after(11 * HOUR + 59 * MINUTE);
    chat.inbox_says("Hm").after(13 * HOUR).expect_refused("window_closed");
}

#[test]
fn what_waits_for_too_long_is_given_up() {
    let long = || {
        let follow_up = FollowUp::after(HOUR, text("Now"));
        Ok(say("I am quiet")?.quiet_for(8 * 24 * HOUR).later(follow_up))
    };
    let chat = Chat::with(always(long)).says("Hello").expect_text("I am quiet");
    chat.after(8 * 24 * HOUR).expect_failed("gave_up");
}

#[test]
fn people_may_write_for_seven_days_and_to_nobody_who_never_wrote() {
    let chat = Chat::with(obedient()).says("Hello").expect_text("Hello");
    let chat = chat.after(167 * HOUR + 58 * MINUTE).agent_says("In time").after(2 * MINUTE);
    chat.agent_says("Too late").expect_refused("seven_days_passed");
    Chat::with(obedient()).agent_says("Hello?").expect_refused("never_heard_from");
}
