//! Setup from outside: each action through the real function, against the stand-in for Meta.

mod broken;
mod cloudformation;
mod discovery;
mod instagram;
mod personas;
mod profile;
mod queues;
mod register;
mod renewal;
mod requeue;
mod standing;
mod status;
mod templates;
mod whatsapp;

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use messenger::clock::{Clock, SharedClock, Timestamp};
use serde_json::{Value, json};
use setup::Setup;
use simulator::meta::UserToken;
use simulator::platform::{Application, Platform, page_token};
use simulator::samples::{APP_ID, APP_SECRET, VERIFY_TOKEN};
use tokio::net::TcpListener;

use crate::support::*;

const SHOP: &str = "300000000000007";
const SHOP_PAGE: &str = "100000000000007";
const ACCOUNT: &str = "400000000000004";

async fn with_shop() -> Arc<Platform> {
    platform_with(|options| {
        options.applications = vec![Application {
            key: "shop".to_owned(),
            app_id: SHOP.to_owned(),
            app_secret: "secret-of-the-shop".to_owned(),
            verify_token: "verify-token-of-the-shop".to_owned(),
            pages: vec![SHOP_PAGE.to_owned()],
        }];
    })
    .await
}

async fn act(platform: &Platform, action: &str) -> Value {
    platform.invoke_setup(json!({"action": action})).await.unwrap()
}

/// A report as JSON, without the port that the platform was given.
fn shown(platform: &Platform, report: &Value) -> String {
    format!("{report:#}").replace(platform.url(), "https://backend.example")
}

#[tokio::test]
async fn the_reports_read_as_recorded() {
    let platform = with_shop().await;
    let register = act(&platform, "register").await;
    insta::assert_snapshot!("register", shown(&platform, &register));
    let status = act(&platform, "status").await;
    insta::assert_snapshot!("status", shown(&platform, &status));
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = "wrong".into());
    let status = act(&platform, "status").await;
    insta::assert_snapshot!("status_with_a_dead_token", shown(&platform, &status));
}

/// The findings of one level, as `about: finding`.
fn findings(report: &Value, level: &str) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let shown = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{}: {}", text("about"), text("finding"))
    };
    all.filter(|finding| finding["level"] == level).map(shown).collect()
}

#[track_caller]
fn assert_finds(report: &Value, level: &str, part: &str) {
    assert!(findings(report, level).iter().any(|finding| finding.contains(part)), "{report:#}");
    assert_eq!(report["ok"], findings(report, "error").is_empty());
}

#[track_caller]
fn assert_hides_secrets(shown: &Value) {
    let shown = shown.to_string();
    for secret in [APP_SECRET, VERIFY_TOKEN, &page_token(PAGE), "secret-of-the-shop"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

fn user() -> UserToken {
    UserToken {
        user_id: "600000000000006".to_owned(),
        app_id: APP_ID.to_owned(),
        is_system_user: false,
        expires_at: 0,
        scopes: vec!["pages_show_list".to_owned()],
        targets: Vec::new(),
        pages: vec![PAGE.to_owned(), SHOP_PAGE.to_owned()],
    }
}

/// Setup as the platform builds it, with another clock and another address of the webhook.
fn setup_with(platform: &Platform, clock: SharedClock, webhook_url: &str) -> Setup {
    let mut containers = platform.containers();
    containers.variables.insert("WEBHOOK_URL".to_owned(), webhook_url.to_owned());
    containers.clock = clock;
    containers.start("setup", Setup::new).unwrap()
}

async fn with_account() -> Arc<Platform> {
    let platform = platform().await;
    let account = json!({
        "id": ACCOUNT,
        "name": "A business",
        "timezone_id": "1",
        "message_template_namespace": "05155c78_261e_4b2f_82b3_d7958d4cf75f",
        "message_templates": {"data": [{"name": "hello_world", "language": "en_US",
            "status": "APPROVED", "category": "UTILITY", "id": "307191531401674",
            "components": [{"type": "BODY", "text": "Hello"}]}],
            "paging": {"next": "https://graph.facebook.com/x?access_token=system-token"}},
        "phone_numbers": {"data": [{"id": "1", "display_phone_number": "+1 555 0100",
            "verified_name": "A business", "quality_rating": "GREEN"}]},
    });
    platform.meta.add_whatsapp_account(account, &["system-token", "customer-token", "user-token"]);
    let scopes = vec!["whatsapp_business_management".to_owned()];
    let token = UserToken { scopes, is_system_user: true, ..user() };
    platform.meta.add_user_token("system-token", token.clone());
    platform.meta.add_user_token("employee-token", token.clone());
    let targets = vec![ACCOUNT.to_owned()];
    platform.meta.add_user_token("customer-token", UserToken { targets, ..token.clone() });
    let expires_at = (platform.clock.now() + HOUR).millis() / 1000;
    let short = UserToken { is_system_user: false, expires_at, ..token };
    platform.meta.add_user_token("user-token", short);
    platform
}

async fn account(platform: &Platform, token: &str) -> Result<Value, String> {
    let request = json!({"action": "whatsapp-account", "account_id": ACCOUNT, "token": token});
    platform.invoke_setup(request).await
}

// Applications

#[tokio::test]
async fn the_applications_are_listed_without_their_secrets() {
    let platform = with_shop().await;
    platform.put_secret(|secret| {
        secret["applications"]["shop"]["verify_token"] = "".into();
        secret["applications"]["shop"]["api_key"] = "the-key-of-the-shop".into();
    });
    let listed = act(&platform, "applications").await;
    let url = platform.url();
    assert_eq!(
        listed,
        json!({"applications": [
            {"key": "default", "app_id": APP_ID, "webhook": format!("{url}/webhook"), "pages": [PAGE],
                "instagram_accounts": [], "has_api_key": false, "missing": []},
            {"key": "shop", "app_id": SHOP, "webhook": format!("{url}/shop/webhook"),
                "pages": [SHOP_PAGE], "instagram_accounts": [], "has_api_key": true, "missing": ["verify_token"]},
        ]})
    );
}

// Requests

#[tokio::test]
async fn a_wrong_request_names_the_field() {
    let platform = platform().await;
    for (request, problem) in [
        (json!({}), "action: is missing"),
        (json!({"action": "deploy"}), "action: must be one of register, unregister, status"),
        (json!({"action": "status", "page_id": "1"}), "page_id: unknown field"),
        (
            json!({"action": "templates", "page_id": "../me"}),
            "page_id: must be an id of at most 40 digits",
        ),
        (json!({"action": "first-message", "page_id": PAGE, "psid": PSID}), "author: is missing"),
        (json!([]), "payload: must be a JSON object"),
    ] {
        let error = platform.invoke_setup(request).await.unwrap_err();
        assert!(error.starts_with(&format!("bad request: {problem}")), "{error}");
    }
}

#[tokio::test]
async fn no_token_and_no_person_is_in_a_url() {
    let platform = with_account().await;
    act(&platform, "register").await;
    act(&platform, "status").await;
    account(&platform, "system-token").await.unwrap();
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let request = json!({"action": "conversations", "page_id": PAGE, "psid": PSID});
    platform.invoke_setup(request).await.unwrap();
    for url in platform.meta.urls() {
        for secret in [&page_token(PAGE), "system-token", APP_SECRET, VERIFY_TOKEN, PSID] {
            assert!(!url.contains(secret), "{url}");
        }
    }
}
