//! What leaves, and when.

use std::time::Duration;

use messenger::chat::Chat;
use messenger::clock::Timestamp;
use messenger::decision::{Decision, FollowUp};
use messenger::event::Platform;
use messenger::message::{Action, UtilityTemplate};
use messenger::window::Purpose;
use serde_json::json;

use super::bots::{always, later, obedient, say, text};
use super::{HOUR, MINUTE, failure};

#[test]
fn a_reply_leaves_at_once_and_changes_the_state() {
    Chat::with(obedient())
        .says("Hello")
        .expect_exactly("1: Hello")
        .expect_state(&json!(1))
        .sends_image()
        .expect_text("an image")
        .reacts("love")
        .expect_text("3: love")
        .expect_nothing();
}

#[test]
fn what_is_on_the_screen_can_be_pressed() {
    let chat = Chat::with(obedient())
        .taps("Get Started")
        .expect_exactly("1: GET_STARTED")
        .says("choose")
        .expect_exactly("Which?")
        .expect_choices(&["Red", "Blue"])
        .expect_exactly("Or")
        .expect_choices(&["More", "The site"])
        .taps("More")
        .expect_exactly("3: MORE");
    let told = failure(|| drop(chat.taps("Red")));
    assert!(told.contains("[Red] is not on the screen, which has [More], [The site]"), "{told}");
    assert!(told.contains("guest> choose\n< RESPONSE Which? [Red | Blue]"), "{told}");
}

#[test]
fn quick_replies_are_there_until_something_newer_is() {
    let one = || {
        let reply = messenger::message::QuickReply::text("Red", "RED");
        Ok(Decision::nothing().say(text("Which?").with_quick_replies(&[reply])?))
    };
    let chat = || Chat::with(always(one)).says("a").expect_text("Which");
    chat()
        .taps("Red")
        .expect_text("Which")
        .reacts("love")
        .expect_text("Which")
        .taps("Red")
        .expect_text("Which");
    let told = failure(|| drop(chat().inbox_says("I am here").taps("Red")));
    assert!(told.contains("[Red] is not on the screen, which has nothing to press"), "{told}");
    let told = failure(|| drop(chat().agent_says("I am here").taps("Red")));
    assert!(told.contains("[Red] is not on the screen"), "{told}");
    let told = failure(|| drop(chat().agent_says("I am here").says("b").taps("Red")));
    assert!(told.contains("[Red] is not on the screen"), "{told}");
}

#[test]
fn a_link_cannot_be_pressed() {
    let chat = Chat::with(obedient()).says("choose").expect_text("Which").expect_text("Or");
    let told = failure(|| drop(chat.taps("The site")));
    assert!(told.contains("[The site] leads elsewhere"), "{told}");
}

#[test]
fn a_follow_up_leaves_when_it_is_due_unless_an_answer_cancels_it() {
    let reminder = || FollowUp::after(HOUR, text("Still there?")).unless_answered();
    Chat::with(later(reminder))
        .says("Hello")
        .expect_text("yes")
        .after(59 * MINUTE)
        .expect_nothing()
        .after(MINUTE)
        .expect_exactly("Still there?")
        .says("Yes")
        .expect_text("yes")
        .says("I am")
        .expect_text("yes")
        .after(2 * HOUR)
        .expect_exactly("Still there?")
        .expect_nothing();
    let told = || FollowUp::after(HOUR, text("Anyway"));
    Chat::with(later(told))
        .says("Hello")
        .expect_text("yes")
        .says("Hello")
        .expect_text("yes")
        .after(HOUR)
        .expect_text("Anyway")
        .expect_text("Anyway");
}

#[test]
fn the_window_is_decided_when_a_message_is_due() {
    let in_time = 23 * HOUR + 59 * MINUTE;
    for (delay, is_in_time) in [(in_time, true), (in_time + Duration::from_millis(1), false)] {
        let chat = Chat::with(later(move || FollowUp::after(delay, text("Late"))));
        let chat = chat.says("Hello").expect_text("yes").after(delay);
        if is_in_time {
            chat.expect_text("Late");
        } else {
            chat.expect_refused("window_closed");
        }
    }
}

#[test]
fn a_template_goes_where_the_window_is_closed_but_not_on_instagram() {
    let template = || UtilityTemplate::new("room_still_free", "en_US");
    let follow_up = move || FollowUp::after(30 * HOUR, text("Late")).or_template(template());
    let chat = || Chat::with(later(follow_up));
    chat().says("Hello").expect_text("yes").after(30 * HOUR).expect_text("room_still_free");
    let chat = chat().on(Platform::Instagram).says("Hello").expect_text("yes");
    chat.after(30 * HOUR).expect_refused("window_closed");
}

#[test]
fn what_instagram_does_not_take_is_invalid_there() {
    Chat::with(obedient()).says("long").expect_text("éé");
    Chat::with(obedient()).on(Platform::Instagram).says("long").expect_failed("invalid");
}

#[test]
fn at_most_twenty_wait() {
    let many = || {
        let follow_up = || FollowUp::after(HOUR, text("One of many"));
        Ok((0..21).fold(say("yes")?, |decision, _| decision.later(follow_up())))
    };
    let chat = Chat::with(always(many)).says("Hello").expect_failed("too_many_waiting");
    let mut chat = chat.expect_text("yes").after(HOUR);
    for _ in 0..20 {
        chat = chat.expect_text("One of many");
    }
    chat.expect_nothing();
}

#[test]
fn a_sender_action_is_shown_and_needs_not_be_expected() {
    let bot = || {
        let typing = FollowUp::after(HOUR, Action::TypingOn).then(text("Later"));
        let late = FollowUp::after(30 * HOUR, Action::TypingOn).for_purpose(Purpose::Utility);
        let decision = Decision::nothing().say(Action::MarkSeen).say(text("Now"));
        always(move || Ok(decision.clone().later(typing.clone()).later(late.clone())))
    };
    let chat = Chat::with(bot()).says("Hello").expect_text("Now").after(HOUR);
    chat.expect_text("Later").after(30 * HOUR).expect_nothing();
    let text = "guest> Hello\n< (mark_seen)\n< RESPONSE Now\n+ 1h\n< (typing_on)\n< UPDATE Later\n\
                ~ waiting +29h UTILITY (typing_on)\n+ due\n~ nothing";
    let report = Chat::with(bot()).play(text).unwrap();
    assert!(report.is_as_written(), "{report}");
}

#[test]
fn the_clock_can_be_set() {
    let retired = Timestamp::from_rfc3339("2026-04-26T12:00:00Z").unwrap();
    let update = || FollowUp::after(30 * HOUR, text("Changed")).for_purpose(Purpose::AccountUpdate);
    let chat = || Chat::with(later(update)).at(retired);
    chat().says("Hello").expect_text("yes").after(30 * HOUR).expect_refused("tag_retired");
    let chat = Chat::with(later(update)).at(retired - 48 * HOUR);
    chat.says("Hello").expect_text("yes").after(30 * HOUR).expect_text("Changed");
}

#[test]
fn a_comment_gets_one_private_reply() {
    Chat::with(obedient()).comments("How much?").expect_exactly("in private: How much?");
    let two = || Ok(say("one")?.say(text("two")));
    Chat::with(always(two)).comments("How much?").expect_failed("invalid");
}
