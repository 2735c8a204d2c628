//! Instagram, through the same functions: both logins, its own limits, and one tag.

use backend::signature::{SIGNATURE_HEADER, sign};
use lambda_http::Body;
use lambda_http::http::Request;
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::meta::{Fault, Outcome};
use simulator::platform::{Platform, Replies};
use simulator::samples::{
    self, APP_SECRET, IGSID, INSTAGRAM, INSTAGRAM_APP_SECRET, INSTAGRAM_LOGIN,
};

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

/// Asks the API to send a person's message: the answer's status.
async fn send_as_agent(platform: &Platform, account: &str, text: &str) -> u16 {
    let mut event = samples::read("api/create-message").unwrap();
    let body = json!({"page_id": account, "psid": IGSID, "purpose": "human", "author": "front-desk",
        "message": {"text": text}});
    event["body"] = body.to_string().into();
    event["headers"]["idempotency-key"] = format!("{account} {text}").into();
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    platform.invoke_api(&request).await.status().as_u16()
}

#[tokio::test]
async fn a_conversation_works_through_webhook_bot_agent_and_follow_up_with_either_login() {
    for (account, node) in [(INSTAGRAM, PAGE), (INSTAGRAM_LOGIN, INSTAGRAM_LOGIN)] {
        let platform = platform_with(|options| {
            with_instagram(options);
            options.replies = |event, _, now| {
                if !event.raw.contains("hello") {
                    return Ok(Decision::nothing());
                }
                let later = FollowUp::at(now + HOUR, Message::text("still there?")?);
                Ok(Decision::nothing().say(Message::text("hi")?).later(later))
            };
        })
        .await;
        platform.meta.person_says(PAGE, PSID, "on Messenger");
        let body = platform.meta.person_says(account, IGSID, "hello");
        assert_eq!(platform.deliver(&body).await, 200, "{account}");
        platform.advance(2 * HOUR).await;
        assert_eq!(
            send_as_agent(&platform, account, "the front desk here").await,
            201,
            "{account}"
        );
        platform.advance(2 * DAY).await;
        assert_eq!(send_as_agent(&platform, account, "still me").await, 201, "{account}");
        platform.settle().await;

        let requests = platform.meta.requests();
        let said: Vec<_> = requests.iter().map(|r| r.message["text"].as_str().unwrap()).collect();
        assert_eq!(said, ["hi", "still there?", "the front desk here", "still me"], "{account}");
        for request in &requests {
            assert!(matches!(request.outcome, Outcome::Delivered { .. }), "{request:?}");
            assert_eq!((&*request.page_id, request.node.as_deref()), (account, Some(node)));
        }
        assert_eq!(requests[3].tag.as_deref(), Some("HUMAN_AGENT"));
        let items = platform.items().await.unwrap();
        let kept: Vec<_> = items.iter().filter(|item| item["sk"] == "conversation").collect();
        assert_eq!(kept.len(), 1, "{account}: {kept:?}");
        assert_eq!(kept[0]["pk"], format!("{account}#{IGSID}"), "keyed by the account");
        assert_eq!(counted(&platform, "ForeignEvents"), 0);
    }
}

#[tokio::test]
async fn a_thread_is_looked_at_and_taken_through_the_sender_node_with_either_login() {
    for (account, node) in [(INSTAGRAM, PAGE), (INSTAGRAM_LOGIN, INSTAGRAM_LOGIN)] {
        let platform = self::account(SILENT).await;
        platform.deliver(&platform.meta.person_says(account, IGSID, "hello")).await;
        platform.meta.inbox_takes(account, IGSID);
        assert_eq!(send_as_agent(&platform, account, "it is me").await, 202, "it waits");
        platform.advance(HOUR).await;
        assert_eq!(platform.meta.delivered(account, IGSID).len(), 0, "{account}");
        let calls = platform.meta.take_calls();
        assert!(calls.contains(&format!("GET /{node}/thread_owner")), "{account}: {calls:?}");
        let path = format!("/people/{IGSID}/thread?page_id={account}");
        let (status, person) =
            crate::api::post_to(&platform, &path, &json!({"action": "take"})).await;
        assert_eq!((status, &person["thread_owner"]), (200, &Value::Null), "{person}");
        let calls = platform.meta.take_calls();
        assert!(calls.contains(&format!("POST /{node}/take_thread_control")), "{calls:?}");
        assert_eq!(platform.meta.delivered(account, IGSID).len(), 1, "{account}: what waited left");
        assert_eq!(counted(&platform, "PermissionMissing"), 0);
    }
}

#[tokio::test]
async fn media_are_saved_for_the_account_through_its_sender_node_with_either_login() {
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        let platform = self::account(SILENT).await;
        platform.deliver(&platform.meta.person_says(account, IGSID, "hello")).await;
        let body =
            json!({"page_id": account, "type": "image", "url": "https://example.com/menu.png"});
        let (status, saved) = crate::api::post_to(&platform, "/attachments", &body).await;
        assert_eq!(status, 201, "{account}: {saved}");
        let payload = json!({"attachment_id": saved["attachment_id"]});
        let message = json!({"attachment": {"type": "image", "payload": payload}});
        let wanted = json!({"page_id": account, "psid": IGSID, "purpose": "human",
            "author": "front-desk", "message": message});
        platform.invoke_follow_ups(wanted).await.unwrap();
        platform.advance(2 * MINUTE).await;
        let requests = platform.meta.requests();
        assert_eq!(requests.len(), 1, "{account}");
        assert!(matches!(requests[0].outcome, Outcome::Delivered { .. }), "{requests:?}");
    }
}

#[tokio::test]
async fn a_limit_of_the_sender_node_pauses_the_account_for_as_long_as_meta_says() {
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        let platform =
            self::account(|_, _, _| Ok(Decision::nothing().say(Message::text("hi")?))).await;
        platform.meta.fail_next(Fault::Throttled { regain_minutes: 7 });
        platform.deliver(&platform.meta.person_says(account, IGSID, "hello")).await;
        platform.advance(6 * MINUTE).await;
        assert_eq!(platform.meta.delivered(account, IGSID).len(), 0, "{account}");
        platform.advance(3 * MINUTE).await;
        assert_eq!(platform.meta.delivered(account, IGSID).len(), 1, "{account}");
    }
}

#[tokio::test]
async fn an_unclear_message_is_confirmed_by_its_echo_with_either_login() {
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        let platform =
            self::account(|_, _, _| Ok(Decision::nothing().say(Message::text("hi")?))).await;
        platform.meta.fail_next(Fault::UnknownDelivered);
        platform.deliver(&platform.meta.person_says(account, IGSID, "hello")).await;
        platform.advance(10 * MINUTE).await;
        assert_eq!(platform.meta.delivered(account, IGSID).len(), 1, "{account}");
        assert_eq!(counted(&platform, "ConfirmedByEcho"), 1, "{account}");
    }
}

#[tokio::test]
async fn the_secret_of_the_page_s_app_signs_nothing_for_the_instagram_app() {
    let platform = account(SILENT).await;
    for (path, secret, status) in [
        ("/instagram/webhook", APP_SECRET, 401),
        ("/webhook", INSTAGRAM_APP_SECRET, 401),
        ("/instagram/webhook", INSTAGRAM_APP_SECRET, 200),
    ] {
        let body = platform.meta.person_says(INSTAGRAM_LOGIN, IGSID, "hello");
        let signature = sign(&body, &SecretString::from(secret));
        let request = Request::post(path).header(SIGNATURE_HEADER, signature);
        let answer = platform.invoke_webhook(request.body(Body::Binary(body)).unwrap()).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {secret}");
    }
}

#[tokio::test]
async fn a_token_that_was_renewed_elsewhere_is_read_at_once() {
    let platform = account(|_, _, _| Ok(Decision::nothing().say(Message::text("hi")?))).await;
    platform.deliver(&platform.meta.person_says(INSTAGRAM_LOGIN, IGSID, "hello")).await;
    platform.clock.forward(DAY);
    let renewed = platform.invoke_setup(json!({"action": "renew-tokens"})).await.unwrap();
    assert_eq!(renewed["ok"], true, "{renewed:#}");
    platform.deliver(&platform.meta.person_says(INSTAGRAM_LOGIN, IGSID, "hello again")).await;
    assert_eq!(platform.meta.delivered(INSTAGRAM_LOGIN, IGSID).len(), 2);
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
