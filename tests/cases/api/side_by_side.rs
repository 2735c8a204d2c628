//! Functions that work for one person at a time, call by call: one sender, the right order, and nothing left
//! to the next run of the schedule.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use messenger::clock::SharedClock;
use messenger::decision::Decision;
use messenger::message::Message;
use simulator::functions::Functions;
use simulator::gate::{Call, GRAPH};
use simulator::meta::Fault;

use super::cancelled_midway::cancel_what_waits;
use super::midway::{die_processing, process, request, sweep, take_turns};
use super::*;

const PROCESSING: u64 = 1;
const OTHER: u64 = 2;
const ASKING: u64 = 3;

/// A platform whose bot answers.
async fn answering() -> Arc<Platform> {
    platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("the bot")?));
    })
    .await
}

/// An instance of the functions whose clock is exact.
fn instance(platform: &Platform, number: u64) -> Functions {
    let clock: SharedClock = Arc::clone(&platform.clock) as _;
    platform.instance(number, &clock).unwrap()
}

/// Stores a message that is due in two minutes, and waits until it is due.
async fn let_a_message_be_due(platform: &Platform) {
    let send_at = (platform.clock.now() + 2 * MINUTE).millis();
    let first = message(json!({"send_at": send_at, "message": "first"}));
    assert_eq!(post(platform, None, &first).await.status, 202);
    platform.clock.forward(2 * MINUTE + SECOND);
}

/// An agent answers.
async fn ask_to_answer(platform: &Platform, functions: &Functions) {
    let body = message(json!({"purpose": "human", "author": "desk"}));
    request(platform, functions, "api/create-message", Some(&body)).await;
}

/// The place of the first call of an instance that is of a kind.
fn first(calls: &[Call], instance: u64, mut is_meant: impl FnMut(&Call) -> bool) -> Option<usize> {
    calls.iter().position(|call| call.instance == instance && is_meant(call))
}

/// The sender finds the reply that is being decided, or just stored, at any point of its run. Its clock is
/// so far behind that the reply seems to be due later.
#[tokio::test]
async fn a_reply_does_not_wait_for_the_next_run_whenever_its_sender_meets_it() {
    let mut met = 0;
    for (swept, recorded, seen) in (0..10).flat_map(|swept| {
        [1, 4, 7]
            .into_iter()
            .flat_map(move |recorded| (0..4).map(move |seen| (swept, recorded, seen)))
    }) {
        let platform = answering().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        let_a_message_be_due(&platform).await;
        platform.clock.forward(8 * SECOND);
        let behind: SharedClock = Arc::new(Off(Arc::clone(&platform.clock), -8_000));
        let sender = platform.instance(OTHER, &behind).unwrap();
        let processor = instance(&platform, PROCESSING);
        platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let works: [LocalBoxFuture<'_, ()>; 2] =
            [Box::pin(process(&platform, &processor)), Box::pin(sweep(&platform, &sender))];
        let turns = [
            (OTHER, swept),
            (PROCESSING, recorded),
            (OTHER, seen),
            (PROCESSING, 3),
            (OTHER, 1),
            (PROCESSING, usize::MAX),
        ];
        let calls = take_turns(&platform, works, &turns).await.calls;
        let sent = delivered(&platform, PSID);
        assert_eq!(sent.len(), 3, "{sent:?} after {swept}, {recorded} and {seen} calls");
        met += usize::from(calls.iter().any(|call| call.body.contains("is_placeholder")));
    }
    assert!(met > 0, "the sender never met the reply");
}

/// A message has a place among those that wait before it is stored. Whoever serves the person in between
/// leaves the place alone, so that the next one finds the message.
#[tokio::test]
async fn a_message_that_is_being_stored_keeps_its_place() {
    let mut waited = 0;
    for (requested, decided) in (0..16).flat_map(|requested| (4..9).map(move |it| (requested, it)))
    {
        let platform = answering().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        platform.clock.forward(MINUTE);
        platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let (api, processor) = (instance(&platform, OTHER), instance(&platform, PROCESSING));
        let works: [LocalBoxFuture<'_, ()>; 2] =
            [Box::pin(process(&platform, &processor)), Box::pin(ask_to_answer(&platform, &api))];
        let turns = [(OTHER, requested), (PROCESSING, decided), (OTHER, usize::MAX)];
        take_turns(&platform, works, &turns).await;
        let is_sent = delivered(&platform, PSID).contains(&"RESPONSE hi".to_owned());
        let conversation = conversation(&platform, PSID).await;
        let waiting = conversation["waiting"].as_object().unwrap();
        let is_listed = waiting.keys().any(|id| id.starts_with("request-"));
        assert!(is_sent || is_listed, "after {requested} and {decided} calls");
        waited += usize::from(!is_sent);
    }
    assert!(waited > 0, "the message never waited");
}

/// The run meets a place whose message is not stored yet, and sends another message. What is stored
/// meanwhile relies on it.
#[tokio::test]
async fn a_message_that_is_stored_while_another_is_sent_does_not_wait_for_the_next_run() {
    let mut met = 0;
    for (requested, swept) in (4..9).flat_map(|requested| (5..16).map(move |it| (requested, it))) {
        let platform = silent().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        let_a_message_be_due(&platform).await;
        let (api, sender) = (instance(&platform, PROCESSING), instance(&platform, OTHER));
        let works: [LocalBoxFuture<'_, ()>; 2] =
            [Box::pin(ask_to_answer(&platform, &api)), Box::pin(sweep(&platform, &sender))];
        let turns = [(PROCESSING, requested), (OTHER, swept), (PROCESSING, usize::MAX)];
        let calls = take_turns(&platform, works, &turns).await.calls;
        let when = format!("after {requested} and {swept} calls");
        assert_eq!(delivered(&platform, PSID), ["UPDATE first", "RESPONSE hi"], "{when}");
        let graph = |call: &Call| call.target == GRAPH;
        met += calls.iter().filter(|call| call.instance == OTHER && graph(call)).count() / 2;
    }
    assert!(met > 0, "the run never sent both");
}

/// An event lets a message go first that is due, and an agent answers meanwhile: there is one sender at a
/// time, so the older message is the first, and the agent's answer does not wait for the next run. If the
/// older message cannot be sent yet, the answer waits behind it.
#[tokio::test]
async fn an_agents_answer_goes_after_what_an_event_lets_go_first() {
    for fault in [None, Some(Fault::of_code(2, None))] {
        let mut processed = 0;
        loop {
            let platform = silent().await;
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
            let_a_message_be_due(&platform).await;
            platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
            if let Some(fault) = fault.clone() {
                platform.meta.fail_next(fault);
            }
            let (api, processor) = (instance(&platform, OTHER), instance(&platform, PROCESSING));
            let works: [LocalBoxFuture<'_, ()>; 2] = [
                Box::pin(process(&platform, &processor)),
                Box::pin(ask_to_answer(&platform, &api)),
            ];
            let turns = [(PROCESSING, processed), (OTHER, usize::MAX)];
            let was_midway = take_turns(&platform, works, &turns).await.was_midway;
            if fault.is_some() {
                platform.advance(3 * MINUTE).await;
            }
            let all = ["UPDATE first", "RESPONSE hi"];
            assert_eq!(delivered(&platform, PSID), all, "{fault:?} after {processed} calls");
            if !was_midway {
                break assert!(processed > 6, "an event takes {processed} calls");
            }
            processed += 1;
            assert!(processed < 30, "an event takes too many calls");
        }
    }
}

/// The first message is refused for a moment, so the reply waits behind it. If it is cancelled while the bot
/// thinks for so long that its lease is taken anew, the reply waits no more.
#[tokio::test]
async fn a_slow_bots_reply_does_not_wait_behind_what_was_cancelled() {
    let mut cancelled = 0;
    for processed in 0.. {
        let platform = answering().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        let_a_message_be_due(&platform).await;
        platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        platform.meta.fail_next(Fault::of_code(2, None));
        let processor = instance(&platform, PROCESSING);
        let meanwhile = async {
            platform.clock.forward(12 * SECOND);
            cancel_what_waits(&platform).await;
        };
        let works: [LocalBoxFuture<'_, ()>; 2] =
            [Box::pin(process(&platform, &processor)), Box::pin(meanwhile)];
        let turns = [(PROCESSING, processed), (OTHER, usize::MAX)];
        let turns = take_turns(&platform, works, &turns).await;
        let decided = first(&turns.calls, PROCESSING, |call| call.target.ends_with("PutItem"));
        let ends = ends(&platform, PSID).await;
        if decided >= Some(processed) && ends[1] == "cancelled withdrawn" {
            let reply = ends.last().unwrap();
            assert_ne!(reply, "open earlier_messages_wait", "after {processed} calls");
            cancelled += 1;
        }
        if !turns.was_midway {
            break;
        }
    }
    assert!(cancelled > 4, "it was cancelled in time {cancelled} times");
}

/// A person was erased and writes again, and the erasure goes on while the bot thinks and the API sends a
/// message. Its sender tells the event processor by a placeholder, which the erasure leaves there.
#[tokio::test]
async fn an_erasure_lets_nobody_take_themselves_for_the_only_sender() {
    let mut met = 0;
    for (erased, recorded, asked) in (4..10).flat_map(|erased| {
        (1..4).flat_map(move |recorded| (5..18).map(move |asked| (erased, recorded, asked)))
    }) {
        let platform = answering().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        platform.clock.forward(MINUTE);
        let (processor, eraser, api) = (
            instance(&platform, PROCESSING),
            instance(&platform, OTHER),
            instance(&platform, ASKING),
        );
        let again = async {
            platform.clock.forward(SECOND);
            platform.post(&platform.meta.person_says(PAGE, PSID, "again")).await;
            process(&platform, &processor).await;
        };
        let body = message(json!({}));
        let works: [LocalBoxFuture<'_, ()>; 3] = [
            Box::pin(again),
            Box::pin(request(&platform, &eraser, "api/erase-person", None)),
            Box::pin(request(&platform, &api, "api/create-message", Some(&body))),
        ];
        let turns = [
            (OTHER, erased),
            (PROCESSING, recorded),
            (ASKING, asked),
            (OTHER, usize::MAX),
            (PROCESSING, usize::MAX),
        ];
        let calls = take_turns(&platform, works, &turns).await.calls;
        let is_put = |call: &Call| call.target.ends_with("PutItem");
        let decided = first(&calls, PROCESSING, is_put);
        let mut is_placed = false;
        // The lease is taken after the placeholder.
        let leased = first(&calls, ASKING, |call| {
            let is_next = is_placed;
            is_placed = is_put(call) && call.body.contains("is_placeholder");
            is_next
        });
        if leased.is_some() && leased < decided {
            let when = format!("after {erased}, {recorded} and {asked} calls");
            let sent = delivered(&platform, PSID);
            assert_eq!(sent[1..], ["UPDATE hi", "RESPONSE the bot"], "{when}");
            met += 1;
        }
    }
    assert!(met > 0, "the sender never met the event");
}

/// An event whose processing died is on trial when it comes again. The write that begins the trial finds the
/// mark, so nothing is decided.
#[tokio::test]
async fn an_event_on_trial_is_not_answered_once_the_mark_is_there() {
    let mut met = 0;
    for (erased, recorded) in (3..7).flat_map(|erased| (0..10).map(move |it| (erased, it))) {
        let platform = answering().await;
        platform.post(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        die_processing(&platform, |call| call.target.ends_with("PutItem")).await;
        platform.clock.forward(6 * MINUTE);
        let (processor, eraser) = (instance(&platform, PROCESSING), instance(&platform, OTHER));
        let works: [LocalBoxFuture<'_, ()>; 2] = [
            Box::pin(process(&platform, &processor)),
            Box::pin(request(&platform, &eraser, "api/erase-person", None)),
        ];
        let turns = [(PROCESSING, recorded), (OTHER, erased), (PROCESSING, usize::MAX)];
        let calls = take_turns(&platform, works, &turns).await.calls;
        let marked = first(&calls, OTHER, |call| call.body.contains("#waiting = :none"));
        let tried = first(&calls, PROCESSING, |call| call.body.contains("#trial_for = :entry,"));
        if tried.is_some() && marked < tried {
            let sent = delivered(&platform, PSID);
            assert!(sent.is_empty(), "{sent:?} after {recorded} and {erased} calls");
            met += 1;
        }
    }
    assert!(met > 0, "the trial never met the mark");
}
