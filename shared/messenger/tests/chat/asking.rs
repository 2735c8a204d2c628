//! How the bot is asked: again after failures that may pass, and for what to do instead.

use std::cell::Cell;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use messenger::bot::{BotError, NoAnswer, Setup, Stateless, Turn, bot_fn};
use messenger::chat::Chat;
use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::Value;

use super::bots::{
    Count, always, answering, assistant, careless, obedient, say, settings, with_fallback,
};
use super::{HOUR, failure};

/// A model that is busy for so many calls.
fn busy(times: u64) -> impl FnMut(http::Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
    let mut left = times;
    move |request| {
        if left == 0 {
            return answering(request);
        }
        left -= 1;
        let mut busy = Response::new(Vec::new());
        *busy.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        Ok(busy)
    }
}

#[test]
fn a_service_is_called_with_its_key() {
    let chat = Chat::built(settings(), assistant).world("llm", answering);
    let chat = chat.says("Hi").expect_exactly("as nobody").knowing("llm_key", "s3cret");
    chat.says("Hi").expect_exactly("as Bearer s3cret");
}

#[test]
fn a_bot_that_fails_for_now_is_asked_again_while_there_is_patience() {
    let chat = |times| Chat::built(settings(), with_fallback).world("llm", busy(times));
    chat(5).says("Hi").expect_text("as nobody");
    let told = chat(6).says("Hi").expect_exactly("Please try again later (llm)");
    // Patience is the person's: it is over for the next message as well, and back after a success.
    told.says("Hi").expect_text("as nobody");
    let chat = chat(7).says("Hi").expect_text("later").says("Hi").expect_text("later");
    chat.says("Hi").expect_text("as nobody");
}

#[test]
fn time_passes_while_a_bot_is_asked_again() {
    let tries = AtomicU64::new(0);
    let bot = bot_fn(async move |turn: &Turn<Count>| {
        let attempt = turn.attempt();
        assert_eq!(attempt, tries.fetch_add(1, Ordering::Relaxed) + 1);
        if attempt < 3 {
            let pause = Some(Duration::from_secs(20));
            return Err(BotError::Temporary { label: "shop", pause });
        }
        say(&turn.now().to_string())
    });
    Chat::with(bot).says("Hi").expect_exactly("2026-11-22T09:00:40Z");
}

#[test]
fn without_something_to_do_instead_the_event_ends() {
    let failed = || Err(BotError::Failed("order"));
    Chat::with(always(failed)).says("Hi").expect_failed("bot_failed").expect_nothing();
    let down = || Err(BotError::temporary("shop"));
    Chat::with(always(down)).says("Hi").expect_failed("bot_unavailable");
    Chat::with(always(down)).comments("Hi").expect_failed("bot_unavailable");
    let invalid = || Ok(Decision::nothing().remember(&"x".repeat(600))?);
    Chat::with(always(invalid)).says("Hi").expect_failed("invalid");
}

#[test]
fn a_panic_is_tried_twice() {
    let calls = Arc::new(AtomicU64::new(0));
    let bot = |survives: u64| {
        let calls = Arc::clone(&calls);
        calls.store(0, Ordering::Relaxed);
        always(move || {
            assert!(calls.fetch_add(1, Ordering::Relaxed) >= survives, "as the test wants it");
            say("Well")
        })
    };
    Chat::with(bot(1)).says("Hi").expect_text("Well");
    Chat::with(bot(2)).says("Hi").expect_failed("panic");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_bot_that_waits_for_something_real_fails_the_test() {
    let bot = bot_fn(async |_: &Turn<Stateless>| {
        pending::<()>().await;
        Ok(Decision::nothing())
    });
    let told = failure(|| drop(Chat::with(bot).says("Hi")));
    assert!(told.contains("the bot waits for something real"), "{told}");
}

#[test]
fn a_bot_may_pause_for_itself() {
    let bot = bot_fn(async |_: &Turn<Stateless>| {
        let has_paused = Cell::new(false);
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            if has_paused.replace(true) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        Ok(Decision::nothing().say(Message::text("Well")?))
    });
    Chat::with(bot).says("Hi").expect_text("Well");
}

#[test]
fn a_service_that_the_test_does_not_have_fails_it() {
    let told = failure(|| drop(Chat::built(settings(), assistant).says("Hi")));
    assert!(told.contains("add it with `.world(\"llm\", …)`"), "{told}");
}

#[test]
fn a_service_of_the_test_that_panics_fails_it_whatever_the_bot_makes_of_it() {
    let chat = Chat::built(settings(), with_fallback);
    let chat = chat.world("llm", |_| panic!("this call was not expected"));
    let told = failure(|| drop(chat.says("Hi").expect_text("later")));
    assert!(told.contains("the service llm of this chat panicked"), "{told}");
}

#[test]
fn what_a_service_does_not_have_is_no_failure_of_it() {
    let build = async |setup: &Setup| {
        let shop = setup.service("llm")?;
        Ok(bot_fn(async move |turn: &Turn<Stateless>| {
            let found: Option<Value> = shop.get(format!("/{}", turn.text())).find(turn).await?;
            say(if found.is_some() { "found" } else { "not found" })
        }))
    };
    let chat = Chat::built(settings(), build).world("llm", |request| {
        let mut response = Response::new(b"{}".to_vec());
        let status = request.uri().path().trim_start_matches('/').parse().unwrap();
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    });
    let chat = chat.says("200").expect_text("found").says("404").expect_text("not found");
    chat.says("410").expect_failed("bot_failed");
}

#[test]
fn a_bot_that_is_asked_again_changes_nothing_twice() {
    let chat = Chat::built(settings(), assistant).world("llm", busy(1)).says("Hi");
    chat.expect_text("as nobody").dies_before_writing().expect_nothing();
    let chat = Chat::built(settings(), careless).world("llm", answering).says("Hi");
    let told = failure(|| drop(chat.expect_text("as").dies_before_writing()));
    assert!(told.contains("POST /chat of llm came with another Idempotency-Key"), "{told}");
    let chat = Chat::with(obedient()).says("be quiet").expect_text("quiet").says("Hi");
    let told = failure(|| drop(chat.dies_before_writing()));
    assert!(told.contains("the bot was not asked about the last event"), "{told}");
}

#[test]
fn a_conversation_can_begin_with_a_state() {
    Chat::with(obedient()).remembering(&Count(4)).says("Hi").expect_text("5: Hi");
    Chat::with(obedient()).says("Hi").expect_text("1: Hi").after(HOUR).expect_state(&1);
}
