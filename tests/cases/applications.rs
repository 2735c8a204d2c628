//! Several Meta apps on one deployment: each has its path, its secret and its Pages.

use backend::signature::{SIGNATURE_HEADER, sign};
use lambda_http::Body;
use lambda_http::http::Request;
use secrecy::SecretString;
use serde_json::json;
use simulator::platform::{Application, EVENTS, Platform, UNREADABLE, page_token};
use simulator::samples::{APP_SECRET, VERIFY_TOKEN};

use crate::support::*;

const SHOP_PAGE: &str = "100000000000007";

fn shop() -> Application {
    Application {
        key: "shop".to_owned(),
        app_id: "300000000000007".to_owned(),
        app_secret: "secret-of-the-shop".to_owned(),
        verify_token: "verify-token-of-the-shop".to_owned(),
        pages: vec![SHOP_PAGE.to_owned()],
    }
}

async fn with_shop() -> std::sync::Arc<Platform> {
    platform_with(|options| options.applications = vec![shop()]).await
}

async fn verify(platform: &Platform, path: &str, token: &str) -> u16 {
    let url = format!("{path}?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1");
    let mut event = simulator::samples::read("webhook/verification").unwrap();
    event["rawPath"] = path.into();
    event["rawQueryString"] = url.split_once('?').unwrap().1.into();
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    platform.invoke_webhook(request).await.status().as_u16()
}

/// Posts what a person wrote to a Page, signed with an app secret: the answer's status.
async fn post(platform: &Platform, path: &str, app_secret: &str, page_id: &str) -> u16 {
    let body = platform.meta.person_says(page_id, PSID, "hi");
    let signature = sign(&body, &SecretString::from(app_secret));
    let request = Request::post(path).header(SIGNATURE_HEADER, signature).body(Body::Binary(body));
    platform.invoke_webhook(request.unwrap()).await.status().as_u16()
}

#[tokio::test]
async fn each_application_has_a_verify_token_of_its_own() {
    let platform = with_shop().await;
    for (path, token, status) in [
        ("/webhook", VERIFY_TOKEN, 200),
        ("/shop/webhook", "verify-token-of-the-shop", 200),
        ("/webhook", "verify-token-of-the-shop", 403),
        ("/shop/webhook", VERIFY_TOKEN, 403),
        ("/bakery/webhook", VERIFY_TOKEN, 404),
        ("/default/webhook", VERIFY_TOKEN, 404),
    ] {
        assert_eq!(verify(&platform, path, token).await, status, "{path} {token}");
    }
}

#[tokio::test]
async fn a_signature_counts_on_the_path_of_its_own_application_only() {
    let platform = with_shop().await;
    let shop = "secret-of-the-shop";
    for (path, app_secret, page_id, status) in [
        ("/shop/webhook", APP_SECRET, SHOP_PAGE, 401),
        ("/webhook", shop, PAGE, 401),
        ("/bakery/webhook", shop, SHOP_PAGE, 404),
        ("/default/webhook", APP_SECRET, PAGE, 404),
        ("/shop/webhook/more", shop, SHOP_PAGE, 404),
    ] {
        assert_eq!(post(&platform, path, app_secret, page_id).await, status, "{path}");
        assert!(platform.sqs.is_empty(EVENTS) && platform.sqs.is_empty(UNREADABLE));
    }
    assert_eq!(post(&platform, "/shop/webhook", shop, SHOP_PAGE).await, 200);
    assert_eq!(post(&platform, "/webhook", APP_SECRET, PAGE).await, 200);
    assert_eq!(platform.sqs.messages(EVENTS).len(), 2);
}

#[tokio::test]
async fn an_app_secret_does_not_speak_for_the_page_of_another_application() {
    let platform = with_shop().await;
    assert_eq!(post(&platform, "/shop/webhook", "secret-of-the-shop", PAGE).await, 200);
    assert_eq!(post(&platform, "/webhook", APP_SECRET, SHOP_PAGE).await, 200);
    platform.settle().await;
    assert!(platform.items().await.unwrap().is_empty() && platform.meta.requests().is_empty());
    let kept = platform.sqs.messages(UNREADABLE);
    assert_eq!(kept.len(), 2);
    for (message, page_id) in kept.iter().zip([PAGE, SHOP_PAGE]) {
        assert_eq!(message.attributes["reason"].value, "another_application");
        assert!(message.body.contains(&format!("\"page_id\":\"{page_id}\"")), "{}", message.body);
    }
    assert_eq!((counted(&platform, "ForeignEvents"), counted(&platform, "EventsReceived")), (2, 0));
}

#[tokio::test]
async fn an_unknown_application_causes_one_reread_a_minute() {
    let platform = with_shop().await;
    for (minute, calls) in [(0, 1), (1, 2), (2, 3)] {
        for _ in 0..3 {
            assert_eq!(verify(&platform, "/bakery/webhook", "any").await, 404);
            assert_eq!(post(&platform, "/bakery/webhook", "any", PAGE).await, 404);
        }
        assert_eq!(platform.secrets_manager.calls(), calls, "minute {minute}");
        platform.clock.forward(MINUTE);
    }
}

#[tokio::test]
async fn an_application_that_was_added_to_the_secret_works_without_a_deployment() {
    let platform = platform().await;
    assert_eq!(verify(&platform, "/shop/webhook", "verify-token-of-the-shop").await, 404);
    platform.put_secret(|secret| {
        secret["applications"]["shop"] = json!({
            "app_id": shop().app_id,
            "app_secret": shop().app_secret,
            "verify_token": shop().verify_token,
            "pages": {SHOP_PAGE: {"access_token": page_token(SHOP_PAGE)}},
        });
    });
    platform.clock.forward(MINUTE);
    assert_eq!(verify(&platform, "/shop/webhook", "verify-token-of-the-shop").await, 200);
    assert_eq!(post(&platform, "/shop/webhook", "secret-of-the-shop", SHOP_PAGE).await, 200);
    assert_eq!(platform.sqs.messages(EVENTS).len(), 1);
}

#[tokio::test]
async fn the_answer_leaves_with_the_token_and_the_proof_of_the_pages_own_application() {
    let platform = with_shop().await;
    platform.deliver(&platform.meta.person_says(SHOP_PAGE, PSID, "opening hours?")).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
    for page_id in [SHOP_PAGE, PAGE] {
        assert_eq!(platform.meta.delivered(page_id, PSID).len(), 1, "{page_id}");
    }
    assert_eq!(platform.meta.requests().len(), 2, "nothing was refused");
}

#[tokio::test]
async fn the_echo_of_the_pages_own_app_does_not_silence_the_bot_and_that_of_another_app_does() {
    let platform = with_shop().await;
    let say = async |app_id: &str| {
        let echo = json!({"sender": {"id": SHOP_PAGE}, "recipient": {"id": PSID},
            "message": {"mid": format!("m_{app_id}"), "is_echo": true, "app_id": app_id, "text": "x"}});
        platform.deliver(&platform.meta.person_does(SHOP_PAGE, PSID, echo)).await;
        platform.deliver(&platform.meta.person_says(SHOP_PAGE, PSID, "opening hours?")).await;
        platform.meta.delivered(SHOP_PAGE, PSID).len()
    };
    assert_eq!(say(&shop().app_id).await, 1);
    assert_eq!(say(simulator::samples::APP_ID).await, 1, "people of another app have taken over");
}

#[tokio::test]
async fn a_secret_with_a_page_in_two_applications_is_refused_whole() {
    let platform = platform_with(|options| {
        options.applications = vec![Application { pages: vec![PAGE.to_owned()], ..shop() }];
    })
    .await;
    assert_eq!(verify(&platform, "/webhook", VERIFY_TOKEN).await, 403);
    assert_eq!(post(&platform, "/webhook", APP_SECRET, PAGE).await, 500);
    assert_eq!(post(&platform, "/shop/webhook", "secret-of-the-shop", PAGE).await, 500);
    assert!(platform.sqs.is_empty(EVENTS) && platform.sqs.is_empty(UNREADABLE));
}
