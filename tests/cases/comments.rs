//! Comments and visitors' posts: the bot's answer is the one private reply.

use messenger::decision::{Decision, FollowUp};
use messenger::message::{Action, Message};
use serde_json::{Value, json};
use simulator::meta::Outcome;
use simulator::platform::{DEAD_LETTERS, EVENTS, Platform, Replies};
use simulator::samples::{BEGINNING, INSTAGRAM};

use crate::acts::{EVERYWHERE, Ends, ON_INSTAGRAM, ON_PAGE, naming, published};
use crate::echoes::echo_of;
use crate::sample_events::with_instagram;
use crate::support::*;

const COMMENT: &str = "100000000000001_5";

/// Every entry of the outbox under a recipient: status and reason's code.
async fn ends_of(platform: &Platform, page: &str, person: &str) -> Vec<String> {
    let pk = format!("{page}#{person}");
    let items = platform.items().await.unwrap();
    let entries = items.iter().filter(|item| {
        item["pk"] == *pk && item["sk"].as_str().is_some_and(|sk| sk.starts_with("outbox#"))
    });
    let end = |entry: &serde_json::Map<String, Value>| {
        let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
        let code = reason.split(':').next().unwrap_or_default();
        format!("{} {code}", entry["status"].as_str().unwrap()).trim().to_owned()
    };
    entries.map(end).collect()
}

fn comment(ends: Ends, author: &str) -> Value {
    match ends.object {
        "page" => json!({"field": "feed", "value": {"item": "comment", "verb": "add",
            "comment_id": COMMENT, "post_id": "100000000000001_1", "parent_id": "100000000000001_1",
            "from": {"id": author, "name": "A person"}, "message": "How much?",
            "created_time": BEGINNING.millis() / 1000}}),
        _ => json!({"field": "comments", "value": {"id": COMMENT, "text": "How much?",
            "from": {"id": author, "username": "a_person"},
            "media": {"id": "18000000000000001", "media_product_type": "FEED"}}}),
    }
}

#[tokio::test]
async fn a_new_comment_or_post_gets_the_bots_answer_as_its_private_reply() {
    for ends in EVERYWHERE {
        let change = comment(ends, ends.psid);
        for place in [
            json!({"changes": [change]}),
            json!({"time": BEGINNING.millis() / 1000, "changes": [change]}),
            json!({"field": change["field"], "value": change["value"]}),
        ] {
            let platform = naming().await;
            assert_eq!(platform.deliver(&ends.entry(&place)).await, 200);
            assert_eq!(ends.got(&platform), ["comment"], "{place}");
            let request = &platform.meta.requests()[0];
            assert_eq!(request.recipient, json!({"comment_id": COMMENT}));
            let person = format!("comment:{COMMENT}");
            assert_eq!(ends_of(&platform, ends.page, &person).await, ["sent"]);
        }
    }
    let platform = naming().await;
    let post = platform.meta.person_posts(PAGE, PSID, "100000000000001_9", "Are you open?");
    platform.deliver(&post).await;
    assert_eq!(ON_PAGE.got(&platform), ["post"]);
    assert_eq!(platform.meta.requests()[0].recipient, json!({"post_id": "100000000000001_9"}));
}

#[tokio::test]
async fn a_comment_gets_one_reply_however_often_it_comes_and_whoever_replied_before() {
    let platform = naming().await;
    let body = platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?");
    for _ in 0..3 {
        platform.deliver(&body).await;
        platform.clock.forward(10 * MINUTE);
    }
    assert_eq!(ON_PAGE.got(&platform), ["comment"]);

    let platform = naming().await;
    let body = platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?");
    let reply = json!({"page_id": PAGE, "comment_id": COMMENT, "message": "By hand"});
    platform.invoke_follow_ups(reply).await.unwrap();
    platform.tick().await.unwrap();
    platform.deliver(&body).await;
    platform.advance(HOUR).await;
    assert_eq!(ON_PAGE.got(&platform), ["By hand"]);
    assert!(platform.sqs.is_empty(EVENTS) && platform.sqs.is_empty(DEAD_LETTERS));
}

#[tokio::test]
async fn a_comment_opens_no_window_and_its_author_is_known_by_the_reply() {
    let platform = naming().await;
    platform.deliver(&platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?")).await;
    let item = ON_PAGE.conversation(&platform).await.unwrap();
    assert_eq!(item["known_as"], json!([format!("comment:{COMMENT}")]));
    assert!(item["last_message_at"].is_null() && item["free_until"].is_null(), "{item}");
    let request = json!({"page_id": PAGE, "psid": PSID, "message": "More", "purpose": "update"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.advance(2 * MINUTE).await;
    assert_eq!(ON_PAGE.got(&platform), ["comment"]);
}

#[tokio::test]
async fn the_echo_of_a_private_reply_is_known_by_its_mid_although_it_carries_nothing_else() {
    for ends in EVERYWHERE {
        let platform = naming().await;
        platform.meta.set_echoes(false);
        platform.deliver(&ends.entry(&json!({"changes": [comment(ends, ends.psid)]}))).await;
        let Outcome::Delivered { mid } = platform.meta.requests()[0].outcome.clone() else {
            panic!("it is delivered");
        };
        platform.deliver(&echo_of(ends, &json!({"mid": mid, "text": "comment"}))).await;
        platform.deliver(&platform.meta.person_says(ends.page, ends.psid, "hello")).await;
        assert_eq!(ends.got(&platform), ["comment", "message"]);
    }
}

#[tokio::test]
async fn a_comment_that_kills_the_process_ends_in_the_dead_letter_queue_and_holds_up_nobody() {
    let platform = naming().await;
    platform.post(&platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?")).await;
    platform.post(&platform.meta.person_says(PAGE, OTHER_PSID, "hello")).await;
    platform
        .gate
        .crash_at_each(|call| call.target.ends_with("PutItem") && call.body.contains(COMMENT));
    platform.settle().await;
    platform.advance(183 * SECOND + 2 * MINUTE).await;
    assert_eq!(delivered(&platform, OTHER_PSID).len(), 1);
    platform.advance(7 * (VISIBILITY + SECOND)).await;
    let dead = platform.sqs.messages(DEAD_LETTERS);
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].attributes["reason"].value, "died");
    assert!(platform.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn what_the_page_says_itself_and_what_is_no_new_comment_gets_no_reply() {
    let own = [
        (ON_PAGE, comment(ON_PAGE, PAGE)),
        (ON_INSTAGRAM, comment(ON_INSTAGRAM, INSTAGRAM)),
        (
            ON_PAGE,
            json!({"field": "feed", "value": {"item": "status", "verb": "add", "post_id": "1_2",
                "from": {"id": PAGE}, "message": "News", "created_time": 1}}),
        ),
    ];
    let mut scoped = comment(ON_INSTAGRAM, "7890000000000001");
    scoped["value"]["from"]["self_ig_scoped_id"] = "7890000000000001".into();
    let own = [&own[..], &[(ON_INSTAGRAM, scoped)]].concat();
    let feed = |change: Value| {
        let mut value = comment(ON_PAGE, PSID);
        value["value"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        (ON_PAGE, value)
    };
    let others = [
        feed(json!({"verb": "edited"})),
        feed(json!({"verb": "remove"})),
        feed(json!({"verb": "hide"})),
        feed(json!({"verb": null})),
        feed(json!({"item": "reaction", "comment_id": null, "reaction_type": "love"})),
        feed(json!({"item": "like"})),
    ];
    for (kind, changes) in
        [(&["comment", "comment", "post", "comment"][..], &own[..]), (&["feed_change"; 6], &others)]
    {
        for ((ends, change), kind) in changes.iter().zip(kind) {
            let platform = platform_with(|options| {
                with_instagram(options);
                options.replies = crate::acts::NAMING;
                options.variables.insert("FEED".to_owned(), "on".to_owned());
            })
            .await;
            platform.deliver(&ends.entry(&json!({"changes": [change]}))).await;
            assert!(platform.meta.requests().is_empty(), "{change}");
            assert_eq!(published(&platform, ends.page).await, [*kind], "{change}");
            let items = platform.items().await.unwrap();
            assert!(items.iter().all(|item| item["sk"] != "conversation"), "{change}");
        }
    }
}

#[tokio::test]
async fn a_comment_that_is_not_answered_costs_no_write() {
    let platform =
        platform_with(|options| options.replies = |_, _, _| Ok(Decision::nothing())).await;
    let body = platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?");
    platform.aws.take_calls();
    platform.deliver(&body).await;
    let writes: f64 = platform.aws.take_calls().iter().map(|call| call.writes).sum();
    assert!(writes == 0.0, "{writes}");
}

#[tokio::test]
async fn a_comment_older_than_seven_days_gets_no_reply() {
    for (age, answer, ends) in [
        (6 * DAY + 23 * HOUR, &["comment"][..], &["sent"][..]),
        (6 * DAY + 23 * HOUR + 59 * MINUTE + 30 * SECOND, &[], &["refused comment_too_old"]),
        (7 * DAY + SECOND, &[], &[]),
    ] {
        let platform = naming().await;
        let body = platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?");
        platform.clock.forward(age);
        platform.deliver(&body).await;
        assert_eq!(ON_PAGE.got(&platform), answer);
        let person = format!("comment:{COMMENT}");
        assert_eq!(ends_of(&platform, PAGE, &person).await, ends);
    }
}

#[tokio::test]
async fn a_decision_of_more_than_one_message_about_a_comment_ends_as_failed() {
    let bots: [Replies; 4] = [
        |_, _, _| Ok(Decision::nothing().say(Message::text("a")?).say(Message::text("b")?)),
        |_, _, _| Ok(Decision::nothing().say(Action::TypingOn)),
        |_, _, _| {
            let later = FollowUp::after(HOUR, Message::text("later")?);
            Ok(Decision::nothing().say(Message::text("a")?).later(later))
        },
        |_, _, _| Decision::nothing().say(Message::text("a")?).remember(&1),
    ];
    for replies in bots {
        let platform = platform_with(|options| options.replies = replies).await;
        platform.deliver(&platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?")).await;
        assert!(platform.meta.requests().is_empty());
        let person = format!("comment:{COMMENT}");
        assert_eq!(ends_of(&platform, PAGE, &person).await, ["failed invalid"]);
        assert_eq!(counted(&platform, "Failed"), 1);
    }
}

#[tokio::test]
async fn a_panic_about_a_comment_ends_that_event_alone() {
    let platform = platform_with(|options| {
        options.replies = |event, conversation, now| {
            assert!(event.container == "messaging", "a comment");
            crate::acts::NAMING(event, conversation, now)
        };
    })
    .await;
    platform.post(&platform.meta.person_comments(PAGE, PSID, COMMENT, "How much?")).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    platform.advance(HOUR).await;
    assert_eq!(ON_PAGE.got(&platform), ["message"]);
    assert_eq!(platform.sqs.messages(DEAD_LETTERS).len(), 1);
}
