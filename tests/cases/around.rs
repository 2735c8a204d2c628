//! What is around a bot's turn: what it did at an earlier try, and what was said before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use messenger::bot::{Bot, BotError, SharedBot, Stateless, Turn, Who, bot_fn, shared};
use messenger::decision::Decision;
use messenger::message::Message;
use simulator::meta::{Fault, FaultRule};
use simulator::platform::Platform;

use crate::api::delete;
use crate::crash::{say, survive_with};
use crate::support::*;

/// A bot that orders something from a shop which takes no idempotency key, and then needs a service that is down at
/// first.
struct Orders {
    orders: Arc<AtomicU64>,
    failures: u64,
}

impl Bot for Orders {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        let order = async { Ok(self.orders.fetch_add(1, Ordering::Relaxed) + 1) };
        let number: u64 = turn.once("order", order).await?;
        let other: u64 = turn.once("another", async { Ok(100 + number) }).await?;
        if turn.attempt() <= self.failures {
            return Err(BotError::temporary("mail"));
        }
        Ok(Decision::nothing().say(Message::text(format!("order {number}, {other}"))?))
    }
}

fn orders(failures: u64) -> (SharedBot, Arc<AtomicU64>) {
    let orders = Arc::new(AtomicU64::new(0));
    (shared(Orders { orders: Arc::clone(&orders), failures }), orders)
}

/// A platform whose bot may wait for something real.
async fn threaded(bot: SharedBot) -> Arc<Platform> {
    platform_with(|options| {
        options.bot = Some(bot);
        options.has_threads = true;
    })
    .await
}

async fn memos(platform: &Platform) -> usize {
    let items = platform.items().await.unwrap();
    items.iter().filter(|it| it["sk"].as_str().is_some_and(|sk| sk.starts_with("once#"))).count()
}

#[tokio::test]
async fn what_was_done_once_is_not_done_by_a_later_try() {
    let (bot, done) = orders(2);
    let platform = threaded(bot).await;
    say(&platform, "one").await;
    platform.advance(MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE order 1, 101"]);
    say(&platform, "two").await;
    platform.advance(MINUTE).await;
    assert_eq!(delivered(&platform, PSID)[1..], ["RESPONSE order 2, 102"]);
    assert_eq!(done.load(Ordering::Relaxed), 2);
    assert_eq!(memos(&platform).await, 4);
    assert_eq!(delete(&platform, &format!("/people/{PSID}?page_id={PAGE}")).await, 204);
    assert_eq!(memos(&platform).await, 0, "they go with the person");
}

/// Meta repeats a notification that it took for lost for up to a day and a half, long after the queue has forgotten it.
#[tokio::test]
async fn a_message_that_meta_repeats_is_not_thought_about_again() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let bot = bot_fn(async move |turn: &Turn<Stateless>| {
        count.fetch_add(1, Ordering::Relaxed);
        let done: u64 = turn.once("order", async { Ok(count.load(Ordering::Relaxed)) }).await?;
        let text = turn.text();
        let says = text != "silence";
        let said = Message::text(format!("{text} {done}"))?;
        Ok(if says { Decision::nothing().say(said) } else { Decision::nothing() })
    });
    let platform = threaded(shared(bot)).await;
    for (text, asked_again, memos_kept) in [("one", 0, 1), ("silence", 1, 2)] {
        let body = platform.meta.person_says(PAGE, PSID, text);
        let before = asked.load(Ordering::Relaxed) + 1;
        for pause in [MINUTE, HOUR, DAY] {
            assert_eq!(platform.deliver(&body).await, 200);
            platform.advance(pause).await;
        }
        // The queue drops what comes within five minutes. What decided nothing has no entry that tells, but what was
        // done has its memo.
        assert_eq!(asked.load(Ordering::Relaxed) - before, asked_again, "{text}");
        assert_eq!(memos(&platform).await, memos_kept, "{text}");
    }
    assert_eq!(delivered(&platform, PSID), ["RESPONSE one 1"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn memos_expire() {
    let (bot, _) = orders(0);
    let platform = threaded(bot).await;
    say(&platform, "one").await;
    platform.advance(14 * DAY).await;
    platform.expire().await.unwrap();
    assert_eq!(memos(&platform).await, 2);
    platform.advance(2 * DAY).await;
    platform.expire().await.unwrap();
    assert_eq!(memos(&platform).await, 0);
}

#[tokio::test]
async fn a_death_repeats_what_is_done_once_only_if_it_comes_before_the_memo() {
    let done = Arc::new(AtomicU64::new(0));
    let before = Arc::clone(&done);
    survive_with(
        |options| {
            let bot = Orders { orders: Arc::clone(&done), failures: 0 };
            done.store(0, Ordering::Relaxed);
            options.bot = Some(shared(bot));
            options.has_threads = true;
        },
        async |_| {},
        async |platform| say(platform, "one").await,
        async |platform, when| {
            let times = before.load(Ordering::Relaxed);
            assert!((1..=2).contains(&times), "{when}: {times}");
            let said = format!("RESPONSE order {times}, {}", 100 + times);
            assert_eq!(delivered(platform, PSID), [said], "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn the_history_has_the_newest_messages_of_both_sides() {
    let bot = bot_fn(async |turn: &Turn<Stateless>| {
        let said = turn.history(3).await?;
        let side = |who| if who == Who::Person { "they" } else { "we" };
        assert!(said.iter().all(|line| line.at <= Some(turn.now())));
        let lines: Vec<_> =
            said.iter().map(|it| format!("{}: {}", side(it.who), it.text)).collect();
        Ok(Decision::nothing().say(Message::text(format!("({})", lines.join(", ")))?))
    });
    let platform = threaded(shared(bot)).await;
    for text in ["one", "two", "three"] {
        say(&platform, text).await;
        platform.advance(MINUTE).await;
    }
    let said = delivered(&platform, PSID);
    assert_eq!(said[0], "RESPONSE (they: one)");
    assert_eq!(said[1], "RESPONSE (they: one, we: (they: one), they: two)");
    let newest =
        format!("RESPONSE (they: two, we: {}, they: three)", &said[1]["RESPONSE ".len()..]);
    assert_eq!(said[2], newest);
    // Meta does not show it now: the bot is asked again.
    let (fault, edge) = (Fault::of_code(2, None), "conversations".to_owned());
    platform.meta.add_fault(FaultRule { fault, psid: None, edge, times: Some(1) });
    say(&platform, "four").await;
    assert_eq!(delivered(&platform, PSID).len(), 3);
    platform.advance(MINUTE).await;
    assert_eq!(delivered(&platform, PSID).len(), 4);
}
