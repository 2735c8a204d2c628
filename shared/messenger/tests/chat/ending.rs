//! How a test fails.

use messenger::bot::BotError;
use messenger::chat::Chat;

use super::bots::{always, obedient};
use super::failure;

#[test]
fn what_nobody_expected_fails_the_test_at_its_end() {
    let told = failure(|| drop(Chat::with(obedient()).says("Hello")));
    assert!(told.starts_with("nobody expected: < guest RESPONSE 1: Hello\n"), "{told}");
    assert!(told.contains("so far:\nguest> Hello\n< RESPONSE 1: Hello\n"), "{told}");
    let failed = always(|| Err(BotError::Failed("order")));
    let told = failure(|| drop(Chat::with(failed).says("Hello")));
    assert!(told.starts_with("nobody expected: x guest failed bot_failed order\n"), "{told}");
}

#[test]
fn a_test_that_fails_already_does_not_fail_again() {
    let told = failure(|| {
        let _chat = Chat::with(obedient()).says("Hello");
        panic!("the test's own");
    });
    assert_eq!(told, "the test's own");
}

type Expect = fn(Chat) -> Chat;

#[test]
fn expectations_say_what_there_is_instead() {
    let chat = || Chat::with(obedient()).says("Hello");
    let cases: [(Expect, &str); 8] = [
        (|chat| chat.expect_exactly("Hello"), "expected the message \"Hello\", there is: <"),
        (|chat| chat.expect_text("Bye"), "expected a message with \"Bye\", there is: <"),
        (Chat::expect_nothing, "expected nothing, there is: < guest RESPONSE 1: Hello"),
        (|chat| chat.expect_failed("panic"), "expected something to end as failed (panic), there"),
        (|chat| chat.expect_refused("x"), "expected something to end as refused (x), there is"),
        (|chat| chat.expect_choices(&[]), "no message was expected yet"),
        (
            |chat| chat.expect_text("1").expect_choices(&["A"]),
            "expected the choices [\"A\"], there are []",
        ),
        (|chat| chat.expect_text("1").expect_state(&2), "expected state 2, there is state 1"),
    ];
    for (expect, problem) in cases {
        let told = failure(|| drop(expect(chat())));
        assert!(told.starts_with(problem), "{told}");
        assert!(told.contains("guest> Hello"), "{told}");
    }
    let told = failure(|| drop(chat().expect_text("1").expect_text("2")));
    assert!(told.starts_with("expected a message with \"2\", nothing happened"), "{told}");
}
