//! Nobody waits for somebody else's work: bounds on how long a message that is due stays.

use std::sync::Arc;

use backend::store::{EVENT_PROCESSOR, EntryKey, Heard, LastMessage, Lease};
use messenger::clock::{SharedClock, Timestamp};
use messenger::decision::{Decision, FollowUp};
use messenger::event::{Platform as Network, TimeSource, split};
use messenger::message::Message;
use simulator::gate::{GRAPH, Verdict};

use super::*;

fn by_an_agent() -> Value {
    message(json!({"purpose": "human", "author": "desk"}))
}

#[tokio::test]
async fn an_agents_answer_is_sent_at_once_while_the_person_keeps_writing() {
    let platform = silent().await;
    for answers in 1..=6 {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let asked_at = platform.clock.now();
        assert_eq!(post(&platform, None, &by_an_agent()).await.status, 201);
        assert!(platform.clock.now().since(asked_at) <= 5 * SECOND);
        assert_eq!(requested(&platform, PSID).len(), answers);
        platform.advance(10 * SECOND).await;
    }
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_follow_up_leaves_with_the_next_run_while_the_person_keeps_writing() {
    let platform = silent().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    let send_at = platform.clock.now() + 2 * MINUTE;
    assert_eq!(
        post(&platform, None, &message(json!({"send_at": send_at.millis()}))).await.status,
        202
    );
    while platform.clock.now() < send_at + MINUTE {
        platform.advance(10 * SECOND).await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
    }
    assert_eq!(delivered(&platform, PSID), ["UPDATE hi"]);
    let left_at = Timestamp::from_millis(requested(&platform, PSID)[0].at);
    assert!(left_at <= send_at + MINUTE + 10 * SECOND, "sent at {left_at}, due at {send_at}");
}

#[tokio::test]
async fn a_reply_does_not_wait_for_the_next_run_although_its_senders_clock_is_behind() {
    let platform = platform_with(|options| {
        options.replies = |event, _, _| {
            if !event.raw.contains("there") {
                return Ok(Decision::nothing());
            }
            Ok(Decision::nothing().say(Message::text("the bot")?))
        };
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    let send_at = (platform.clock.now() + 2 * MINUTE).millis();
    assert_eq!(post(&platform, None, &message(json!({"send_at": send_at}))).await.status, 202);
    platform.clock.forward(2 * MINUTE + 5 * SECOND);
    let clock: SharedClock = Arc::new(Off(Arc::clone(&platform.clock), -4_000));
    let sender = platform.instance(1, &clock).unwrap();
    platform.gate.close();
    let tick = json!({"source": "schedule"});
    let run = sender.follow_ups.handle(tick, "behind", platform.clock.now() + 50 * SECOND);
    tokio::pin!(run);
    let mut is_answered = false;
    loop {
        tokio::select! {
            ended = &mut run => break ended.map(drop).unwrap(),
            () = tokio::task::yield_now() => {}
        }
        let Some(call) = platform.gate.held().into_iter().next() else { continue };
        if call.target == GRAPH && !is_answered {
            // The reply finds the person's lease taken.
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
            assert_eq!(requested(&platform, PSID).len(), 0);
            is_answered = true;
        }
        platform.gate.release(0, Verdict::Go);
    }
    assert_eq!(delivered(&platform, PSID), ["UPDATE hi", "RESPONSE the bot"]);
}

/// An event processor has recorded an event and its bot has not decided: the entry that it would write.
async fn a_bot_that_thinks(platform: &Platform, body: &[u8]) -> EntryKey {
    let event = split(body, platform.clock.now()).unwrap().remove(0);
    let conversation_key = backend::store::ConversationKey {
        page_id: PAGE.to_owned(),
        person: event.person.clone().unwrap(),
    };
    let now = platform.clock.now();
    let id = backend::outbox::entry_id(&event);
    let by = format!("{EVENT_PROCESSOR}another");
    let lease = Lease { by, until: now + 20 * SECOND, for_entry: Some(id.clone()) };
    let free_until = now + DAY;
    let heard = LastMessage {
        platform: Network::Messenger,
        at: now,
        source: TimeSource::Event,
        free_until,
        ad_window: None,
    };
    let heard = Heard::Opening(heard);
    let store = platform.store();
    store.open_conversation(&conversation_key, Some(&heard), now, &lease, now).await.unwrap();
    EntryKey { conversation_key, id }
}

#[tokio::test]
async fn a_message_does_not_wait_for_the_bot_to_think() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("the bot")?));
    })
    .await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    a_bot_that_thinks(&platform, &body).await;
    let asked_at = platform.clock.now();
    assert_eq!(post(&platform, None, &message(json!({}))).await.status, 201);
    assert_eq!(platform.clock.now(), asked_at);

    // The bot decides in the end: its answer goes once, after the message.
    platform.deliver(&body).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE hi", "RESPONSE the bot"]);
    platform.advance(HOUR).await;
    assert_eq!(requested(&platform, PSID).len(), 2);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_bot_that_thinks_while_people_answer_says_nothing_any_more() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("the bot")?));
    })
    .await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    a_bot_that_thinks(&platform, &body).await;
    assert_eq!(post(&platform, None, &by_an_agent()).await.status, 201);
    platform.deliver(&body).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hi"]);
}

#[tokio::test]
async fn a_bot_that_decides_nothing_leaves_nothing_behind_either() {
    let platform = silent().await;
    let body = platform.meta.person_says(PAGE, PSID, "hello");
    let undecided = a_bot_that_thinks(&platform, &body).await;
    assert_eq!(post(&platform, None, &by_an_agent()).await.status, 201);
    let placeholder = platform.store().entry(&undecided).await.unwrap().unwrap();
    assert!(placeholder.is_placeholder && placeholder.expires_at.is_some());
    platform.deliver(&body).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hi"]);
}

/// Sixteen Pages are served at once, and each has more to send than its slice of the time takes.
#[tokio::test]
async fn the_message_of_one_page_does_not_wait_for_the_backlogs_of_others() {
    const PEOPLE: usize = 24;
    let pages: Vec<_> = (1..=17).map(|page| format!("1000000000000{page:02}")).collect();
    let last = pages[16].clone();
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let later = FollowUp::after(10 * MINUTE, Message::text("hi")?);
            Ok(Decision::nothing().later(later))
        };
        options.pages.clone_from(&pages);
        options.variables.insert("SEND_RATE_PER_SECOND".to_owned(), "1".to_owned());
    })
    .await;
    platform.meta.set_echoes(false);
    platform.meta.set_receipts(false);
    for page in &pages[..16] {
        for person in 0..PEOPLE {
            let psid = format!("70000000000003{person:02}");
            platform.deliver(&platform.meta.person_says(page, &psid, "hi")).await;
        }
    }
    platform.deliver(&platform.meta.person_says(&last, PSID, "hi")).await;
    platform.clock.forward(10 * MINUTE);
    let due_at = platform.clock.now();
    platform.tick().await.unwrap();
    let left_at = Timestamp::from_millis(requested(&platform, PSID)[0].at);
    assert_eq!(platform.meta.requests().len(), 16 * PEOPLE + 1);
    // A slice, and those of its people who wait for their turn by the Page's rate.
    assert!(left_at.since(due_at) <= 30 * SECOND, "sent after {:?}", left_at.since(due_at));
}

#[tokio::test]
async fn what_people_write_goes_before_a_campaign() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing());
        options.variables.insert("SEND_RATE_PER_SECOND".to_owned(), "1".to_owned());
    })
    .await;
    let send_at = platform.clock.now() + 10 * MINUTE;
    for person in 0..30 {
        let psid = format!("70000000000004{person:02}");
        platform.deliver(&platform.meta.person_says(PAGE, &psid, "hi")).await;
        let wanted = message(json!({"psid": psid, "send_at": send_at.millis()}));
        assert_eq!(post(&platform, None, &wanted).await.status, 202);
    }
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let later = (send_at + SECOND).millis();
    let answer = with(by_an_agent(), json!({"send_at": later}));
    assert_eq!(post(&platform, None, &answer).await.status, 202);
    platform.clock.forward(10 * MINUTE + 2 * SECOND);
    let due_at = platform.clock.now();
    platform.tick().await.unwrap();
    assert_eq!(platform.meta.requests().len(), 31);
    assert!(Timestamp::from_millis(requested(&platform, PSID)[0].at).since(due_at) <= 10 * SECOND);
}

/// The rate is reached while a call to Graph takes as long as 40 people's share of it: one second.
#[tokio::test]
async fn as_many_people_are_served_at_once_as_the_rate_needs() {
    let platform = silent().await;
    let send_at = platform.clock.now() + MINUTE;
    for person in 0..50 {
        let psid = format!("70000000000005{person:02}");
        platform.deliver(&platform.meta.person_says(PAGE, &psid, "hi")).await;
        let wanted = message(json!({"psid": psid, "send_at": send_at.millis()}));
        assert_eq!(post(&platform, None, &wanted).await.status, 202);
    }
    platform.clock.forward(MINUTE);
    let clock: messenger::clock::SharedClock =
        std::sync::Arc::<simulator::clock::VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    platform.gate.close();
    let deadline = platform.clock.now() + 5 * MINUTE;
    let tick = json!({"source": "schedule"});
    let sweep = functions.follow_ups.handle(tick, "sweep", deadline);
    let drive = async {
        let mut idle = 0;
        let mut at_graph = 0;
        while idle < 2_000 {
            tokio::task::yield_now().await;
            let held = platform.gate.held();
            at_graph = held.iter().filter(|call| call.target == simulator::gate::GRAPH).count();
            let other = held.iter().position(|call| call.target != simulator::gate::GRAPH);
            idle = if platform.gate.inside() > 0 || other.is_some() { 0 } else { idle + 1 };
            if let Some(place) = other {
                platform.gate.release(place, simulator::gate::Verdict::Go);
            }
        }
        at_graph
    };
    let at_graph = tokio::select! {
        _ = sweep => panic!("the sweep ended although Graph has not answered"),
        at_graph = drive => at_graph,
    };
    assert_eq!(at_graph, 40);
}
