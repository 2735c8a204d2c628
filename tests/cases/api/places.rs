//! Places among those that wait: whoever changes an entry and its conversation may die between the two.

use backend::store::{Change, ConversationKey, EntryKey, Guard, NextState, PendingEntry, Reason};
use messenger::clock::Timestamp;
use messenger::decision::{Decision, FollowUp};
use messenger::limits::MOST_WAITING;
use messenger::message::Message;
use messenger::person::Person;
use simulator::gate::Moment;

use super::*;

fn conversation_key() -> ConversationKey {
    ConversationKey { page_id: PAGE.to_owned(), person: Person::psid(PSID).unwrap() }
}

/// A message for in 20 hours, by its path.
async fn for_later(platform: &Platform) -> String {
    let send_at = (platform.clock.now() + 20 * HOUR).millis();
    let stored = post(platform, None, &message(json!({"send_at": send_at}))).await;
    assert_eq!(stored.status, 202, "{}", stored.body);
    format!("/messages/{}", stored.body["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_cancellation_that_is_interrupted_is_completed_by_the_next_run_or_by_repeating_it() {
    for (moment, is_repeated) in
        [Moment::Before, Moment::After].into_iter().flat_map(|it| [(it, false), (it, true)])
    {
        for call in 1.. {
            let platform = heard_from().await;
            let path = for_later(&platform).await;
            platform.gate.crash_at(call, moment);
            tokio::select! {
                _ = ask(&platform, "DELETE", &path) => {}
                () = platform.gate.crashed() => {}
            }
            let survived = platform.gate.spare();
            let when = format!("death {moment:?} call {call}");
            let is_cancelled = entries(&platform, PSID).await[0]["status"] == "cancelled";
            if is_repeated {
                let is_complete = is_cancelled && platform.next_due().await.is_none();
                let again = ask(&platform, "DELETE", &path).await;
                assert_eq!(again.status, if is_complete { 409 } else { 200 }, "{when}");
                assert_no_leftovers(&platform, PSID).await;
            } else if is_cancelled {
                platform.advance(MINUTE).await;
                assert_no_leftovers(&platform, PSID).await;
            }
            platform.advance(DAY).await;
            let is_sent = !is_repeated && !is_cancelled;
            assert_eq!(requested(&platform, PSID).len(), usize::from(is_sent), "{when}");
            if survived {
                assert!(call > 3, "a cancellation made {call} calls only");
                break;
            }
        }
    }
}

/// Reserves places for requests whose functions die before they write their entries.
async fn reserve(platform: &Platform, places: usize) {
    let now = platform.clock.now();
    for number in 0..places {
        let key = conversation_key();
        let seen = platform.store().conversation(&key).await.unwrap().unwrap();
        let waiting = PendingEntry {
            first_due: now + 20 * HOUR,
            decided_at: now,
            cancelled_by_answer: false,
            is_counted: true,
            timer: None,
            id: format!("request-{number}"),
        };
        platform.store().reserve(&key, &seen, &waiting).await.unwrap();
    }
}

#[tokio::test]
async fn a_place_whose_function_died_is_free_again() {
    let platform = heard_from().await;
    reserve(&platform, MOST_WAITING).await;
    let send_at = (platform.clock.now() + HOUR).millis();
    let wanted = message(json!({"send_at": send_at}));
    assert_eq!(post(&platform, None, &wanted).await.code(), "too_many_waiting");
    platform.advance(14 * MINUTE).await;
    assert_eq!(
        post(&platform, None, &wanted).await.code(),
        "too_many_waiting",
        "they may be alive"
    );
    platform.advance(2 * MINUTE).await;
    assert_eq!(post(&platform, None, &wanted).await.status, 202);
    platform.advance(2 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE hi"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_follow_up_finds_the_place_of_a_function_that_died() {
    let platform = platform_with(|options| {
        options.replies = |event, _, _| {
            let later = FollowUp::after(HOUR, Message::text("later")?);
            let nothing = Decision::nothing();
            Ok(if event.raw.contains("book") { nothing.later(later) } else { nothing })
        };
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    reserve(&platform, MOST_WAITING).await;
    platform.clock.forward(16 * MINUTE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "book")).await;
    platform.advance(2 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE later"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn who_has_the_last_place_may_repeat_the_request() {
    for call in 1.. {
        let platform = heard_from().await;
        reserve(&platform, MOST_WAITING - 1).await;
        let send_at = (platform.clock.now() + HOUR).millis();
        let wanted = message(json!({"send_at": send_at}));
        platform.gate.crash_at(call, Moment::Before);
        tokio::select! {
            _ = post(&platform, Some("key"), &wanted) => {}
            () = platform.gate.crashed() => {}
        }
        let survived = platform.gate.spare();
        let again = post(&platform, Some("key"), &wanted).await;
        assert!(matches!(again.status, 200 | 202), "death at call {call}: {}", again.body);
        assert_eq!(post(&platform, Some("another"), &wanted).await.code(), "too_many_waiting");
        if survived {
            assert!(call > 4, "a request made {call} calls only");
            return;
        }
    }
}

/// Whoever reschedules an entry dies before its conversation knows.
#[tokio::test]
async fn an_entry_that_was_rescheduled_holds_up_nothing_although_its_conversation_does_not_know() {
    let platform = platform_with(|options| options.replies = crate::processor::PARROT).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    platform.clock.forward(SINCE_HEARD);
    let path = for_later(&platform).await;
    let key: EntryKey = path.trim_start_matches("/messages/").parse().unwrap();
    let store = platform.store();
    let now = platform.clock.now();
    let waits_until = async |due_at: Timestamp| {
        let seen = store.entry(&key).await.unwrap().unwrap();
        let guard = Guard::Free { due_at: seen.due_at, now };
        let reason = Some(Reason::Quiet);
        let next = NextState::Waits { due_at, reason, rescheduled: true };
        store.change_entry(&key, guard, Change::to(next)).await.unwrap().unwrap()
    };
    let due = waits_until(now).await;
    let listed = backend::store::ConversationUpdate {
        add: vec![due.waiting()],
        ..backend::store::ConversationUpdate::default()
    };
    store.settle(&key.conversation_key, &listed).await.unwrap();
    waits_until(now + 12 * HOUR).await;

    platform.clock.forward(SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "again")).await;
    let mut all = vec!["RESPONSE you said hello", "RESPONSE you said again"];
    assert_eq!(delivered(&platform, PSID), all);
    platform.advance(13 * HOUR).await;
    all.push("UPDATE hi");
    assert_eq!(delivered(&platform, PSID), all);
    assert_no_leftovers(&platform, PSID).await;
}
