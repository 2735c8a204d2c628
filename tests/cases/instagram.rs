//! Instagram, through the same functions: its own limits, and one tag.

use messenger::decision::Decision;
use messenger::decision::Replies;
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::meta::Outcome;
use simulator::platform::Platform;
use simulator::samples::{self, IGSID, INSTAGRAM};

use crate::sample_events::with_instagram;
use crate::support::*;

const SILENT: Replies = |_, _, _| Ok(Decision::nothing());

async fn account(replies: Replies) -> std::sync::Arc<Platform> {
    platform_with(|options| {
        with_instagram(options);
        options.replies = replies;
    })
    .await
}

async fn say(platform: &Platform, text: &str) {
    let body = platform.meta.person_says(INSTAGRAM, IGSID, text);
    assert_eq!(platform.deliver(&body).await, 200);
}

/// Label and text of what was delivered.
fn sent(platform: &Platform) -> Vec<String> {
    let requests = platform.meta.delivered(INSTAGRAM, IGSID).into_iter();
    let requests = requests.filter(|r| matches!(r.outcome, Outcome::Delivered { .. }));
    let label = |tag: Option<String>, kind: Option<String>| tag.or(kind).unwrap_or_default();
    requests
        .map(|r| {
            format!("{} {}", label(r.tag, r.messaging_type), r.message["text"].as_str().unwrap())
        })
        .collect()
}

/// Asks for a message and lets the schedule send it: the reason if it was refused.
async fn ask(platform: &Platform, request: &Value) -> Option<String> {
    let stored = platform.invoke_follow_ups(request.clone()).await;
    platform.advance(3 * MINUTE).await;
    match stored {
        Ok(stored) => stored["forecast"]["reason"].as_str().map(str::to_owned),
        Err(error) => Some(error),
    }
}

#[tokio::test]
async fn a_message_is_answered() {
    let platform = account(|_, _, _| Ok(Decision::nothing().say(Message::text("hi")?))).await;
    say(&platform, "hello").await;
    assert_eq!(sent(&platform), ["RESPONSE hi"]);
}

#[tokio::test]
async fn a_text_has_a_thousand_bytes_at_most() {
    let platform = account(|event, _, _| {
        let count = if event.raw.contains("more") { 501 } else { 500 };
        Ok(Decision::nothing().say(Message::text("é".repeat(count))?))
    })
    .await;
    say(&platform, "just so many").await;
    say(&platform, "one more").await;
    assert_eq!(sent(&platform), [format!("RESPONSE {}", "é".repeat(500))]);
    let items = platform.items().await.unwrap();
    assert!(items.iter().any(|item| {
        item.get("reason").and_then(Value::as_str).is_some_and(|reason| reason.contains("1,000"))
    }));
}

#[tokio::test]
async fn people_answer_for_seven_days_under_the_only_tag() {
    let platform = account(SILENT).await;
    say(&platform, "hello").await;
    platform.advance(2 * DAY).await;
    let human = samples::read("follow-ups/instagram-human").unwrap();
    assert_eq!(ask(&platform, &human).await, None);
    let text = human["message"]["text"].as_str().unwrap();
    assert_eq!(sent(&platform), [format!("HUMAN_AGENT {text}")]);
}

#[tokio::test]
async fn there_is_no_utility_message_and_no_survey() {
    let platform = account(SILENT).await;
    say(&platform, "hello").await;
    let utility = json!({"page_id": INSTAGRAM, "psid": IGSID, "purpose": "utility",
        "message": {"template": {"name": "order", "language": {"code": "en_US"}}}});
    let reason = ask(&platform, &utility).await.unwrap();
    assert!(
        reason.contains("only available on Messenger") || reason.contains("not_on_instagram"),
        "{reason}"
    );
    assert_eq!(sent(&platform), Vec::<String>::new());
}
