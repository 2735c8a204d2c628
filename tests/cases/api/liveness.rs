//! Nobody waits for somebody else's work: bounds on how long a message that is due stays.

use std::sync::Arc;

use backend::store::{EVENT_PROCESSOR, EntryKey, Heard, LastMessage, Lease};
use messenger::clock::{SharedClock, Timestamp};
use messenger::decision::{Decision, FollowUp};
use messenger::event::{Platform as Network, TimeSource, split};
use messenger::message::Message;
use simulator::gate::{GRAPH, Verdict};

use super::erased_midway::{process, request};
use super::midway::take_turns;
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
        let platform = platform_with(|options| {
            options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("the bot")?));
        })
        .await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        let send_at = (platform.clock.now() + 2 * MINUTE).millis();
        assert_eq!(post(&platform, None, &message(json!({"send_at": send_at}))).await.status, 202);
        platform.clock.forward(2 * MINUTE + 9 * SECOND);
        let behind: SharedClock = Arc::new(Off(Arc::clone(&platform.clock), -8_000));
        let exact: SharedClock = Arc::clone(&platform.clock) as _;
        let (sender, processor) =
            (platform.instance(2, &behind).unwrap(), platform.instance(1, &exact).unwrap());
        platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let sweep = Box::pin(async {
            let tick = json!({"source": "schedule"});
            let deadline = platform.clock.now() + 50 * SECOND;
            sender.follow_ups.handle(tick, "behind", deadline).await.map(drop).unwrap();
        });
        let turns = [(2, swept), (1, recorded), (2, seen), (1, 3), (2, 1), (1, usize::MAX)];
        let processing = Box::pin(process(&platform, &processor));
        let calls = take_turns(&platform, processing, sweep, &turns).await.calls;
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
        let platform = platform_with(|options| {
            options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("the bot")?));
        })
        .await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        platform.clock.forward(MINUTE);
        platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let clock: SharedClock = Arc::clone(&platform.clock) as _;
        let (api, processor) =
            (platform.instance(2, &clock).unwrap(), platform.instance(1, &clock).unwrap());
        let body = by_an_agent();
        let asking = Box::pin(request(&platform, &api, "api/create-message", Some(&body)));
        let processing = Box::pin(process(&platform, &processor));
        let turns = [(2, requested), (1, decided), (2, usize::MAX)];
        take_turns(&platform, processing, asking, &turns).await;
        let is_sent = delivered(&platform, PSID).contains(&"RESPONSE hi".to_owned());
        let conversation = conversation(&platform, PSID).await;
        let waiting = conversation["waiting"].as_object().unwrap();
        let is_listed = waiting.keys().any(|id| id.starts_with("request-"));
        assert!(is_sent || is_listed, "after {requested} and {decided} calls");
        waited += usize::from(!is_sent);
    }
    assert!(waited > 0, "the message never waited");
}

/// An event lets a message go first that is due, and an agent answers meanwhile: there is one sender at a
/// time, so the older message is the first, and the agent's answer does not wait for the next run.
#[tokio::test]
async fn an_agents_answer_goes_after_what_an_event_lets_go_first() {
    for processed in 0..25 {
        let platform = silent().await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        let send_at = (platform.clock.now() + 2 * MINUTE).millis();
        let first = message(json!({"send_at": send_at, "message": "first"}));
        assert_eq!(post(&platform, None, &first).await.status, 202);
        platform.clock.forward(2 * MINUTE + SECOND);
        platform.post(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let clock: SharedClock = Arc::clone(&platform.clock) as _;
        let (api, processor) =
            (platform.instance(2, &clock).unwrap(), platform.instance(1, &clock).unwrap());
        let body = by_an_agent();
        let asking = Box::pin(request(&platform, &api, "api/create-message", Some(&body)));
        let processing = Box::pin(process(&platform, &processor));
        let turns = [(1, processed), (2, usize::MAX)];
        let was_midway = take_turns(&platform, processing, asking, &turns).await.was_midway;
        let all = ["UPDATE first", "RESPONSE hi"];
        assert_eq!(delivered(&platform, PSID), all, "after {processed} calls");
        if !was_midway {
            return assert!(processed > 6, "an event takes {processed} calls");
        }
    }
    panic!("an event takes too many calls");
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
