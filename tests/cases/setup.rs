//! Setup from outside: each action through the real function, against the stand-in for Meta.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use backend::aws::Aws;
use backend::settings::Variables;
use backend::telemetry::Telemetry;
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

/// The findings in one state, as `about: finding`.
fn findings(report: &Value, state: &str) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let told = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{}: {}", text("about"), text("finding"))
    };
    all.filter(|finding| finding["state"] == state).map(told).collect()
}

#[track_caller]
fn assert_finds(report: &Value, state: &str, part: &str) {
    assert!(findings(report, state).iter().any(|finding| finding.contains(part)), "{report:#}");
    assert_eq!(report["ok"], findings(report, "wrong").is_empty());
}

#[track_caller]
fn assert_hides_secrets(told: &Value) {
    let told = told.to_string();
    for secret in [APP_SECRET, VERIFY_TOKEN, &page_token(PAGE), "secret-of-the-shop"] {
        assert!(!told.contains(secret), "{secret} is in {told}");
    }
}

// Register

#[tokio::test]
async fn registering_subscribes_both_levels_and_writes_the_profile() {
    let platform = with_shop().await;
    assert!(!platform.meta.fires(PAGE, "messages"));
    let report = act(&platform, "register").await;
    assert_eq!(report["ok"], true, "{report:#}");
    for page_id in [PAGE, SHOP_PAGE] {
        for field in ["messages", "messaging_postbacks", "message_echoes", "standby"] {
            assert!(platform.meta.fires(page_id, field), "{page_id} {field}");
        }
    }
    let shop = format!("callback {}/shop/webhook", platform.url());
    assert_finds(&report, "done", &shop);
    assert_finds(&report, "done", "get_started");
    assert_hides_secrets(&report);
    assert_eq!(act(&platform, "status").await["ok"], true);
}

#[tokio::test]
async fn registering_again_only_reads() {
    let platform = with_shop().await;
    act(&platform, "register").await;
    platform.meta.take_calls();
    let report = act(&platform, "register").await;
    assert!(findings(&report, "done").is_empty(), "{report:#}");
    let calls = platform.meta.take_calls();
    assert!(calls.len() == 6 && calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");
}

#[tokio::test]
async fn only_what_differs_is_written() {
    let platform = platform().await;
    act(&platform, "register").await;
    platform.meta.drop_app_field(APP_ID, "message_echoes");
    platform.meta.take_calls();
    let report = act(&platform, "register").await;
    assert_eq!(findings(&report, "done").len(), 1, "{report:#}");
    let calls = platform.meta.take_calls();
    let written: Vec<_> = calls.iter().filter(|call| !call.starts_with("GET ")).collect();
    assert_eq!(written, [&format!("POST /{APP_ID}/subscriptions")]);
    assert!(platform.meta.fires(PAGE, "message_echoes"));
}

#[tokio::test]
async fn an_empty_secret_is_told_part_by_part() {
    let platform = platform().await;
    platform.put_secret(|secret| *secret = json!({}));
    let report = act(&platform, "register").await;
    assert_eq!(report["ok"], false);
    for part in ["app_id", "app_secret", "verify_token", "pages"] {
        assert_finds(&report, "wrong", &format!("lacks {part}"));
    }
    assert!(platform.meta.take_calls().is_empty());
}

#[tokio::test]
async fn a_secret_filled_after_a_failed_run_is_used_at_once() {
    let platform = platform().await;
    platform.put_secret(|secret| *secret = json!({}));
    assert_eq!(act(&platform, "register").await["ok"], false);
    platform.put_secret(|_| {});
    // The webhook has not read the secret yet, so Meta's call finds it fresh.
    assert_eq!(act(&platform, "register").await["ok"], true);
}

#[tokio::test]
async fn a_callback_that_gives_no_challenge_back_is_not_subscribed() {
    let platform = platform_with(|options| {
        let elsewhere = "http://127.0.0.1:1/webhook".to_owned();
        options.variables.insert("WEBHOOK_URL".to_owned(), elsewhere);
    })
    .await;
    let report = act(&platform, "register").await;
    assert_finds(&report, "wrong", "Meta's error 2200");
    assert_finds(&report, "done", "subscribed");
    assert!(!platform.meta.fires(PAGE, "messages"), "the app's level is missing");
}

#[tokio::test]
async fn a_wrong_app_secret_or_token_names_what_to_mend() {
    let platform = platform().await;
    platform.put_secret(|secret| {
        secret["app_secret"] = "wrong".into();
        secret["pages"][PAGE]["access_token"] = "wrong".into();
    });
    let report = act(&platform, "register").await;
    assert_finds(&report, "wrong", "subscriptions cannot be read: token_dead: Meta's error 190");
    assert_finds(&report, "wrong", "not subscribed: Meta: token_dead");
    let mends: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| &f["mend"]).collect();
    assert!(mends[0].as_str().unwrap().contains("app_secret"), "{report:#}");
    assert!(mends[1].as_str().unwrap().contains("new Page token"), "{report:#}");
}

#[tokio::test]
async fn instagram_is_subscribed_on_request() {
    let platform = platform_with(|options| {
        options.variables.insert("SUBSCRIBE_INSTAGRAM".to_owned(), "true".to_owned());
    })
    .await;
    let report = act(&platform, "register").await;
    assert_finds(&report, "done", "instagram: subscribed");
    assert_finds(&act(&platform, "status").await, "good", "instagram: subscribed");
}

#[tokio::test]
async fn unregistering_ends_both_levels() {
    let platform = platform().await;
    act(&platform, "register").await;
    let report = act(&platform, "unregister").await;
    assert_eq!(findings(&report, "done").len(), 2, "{report:#}");
    assert!(!platform.meta.fires(PAGE, "messages"));
    assert_finds(&act(&platform, "status").await, "wrong", "page: not subscribed");
}

#[tokio::test]
async fn an_app_that_another_stack_serves_stays_subscribed() {
    let platform = platform().await;
    act(&platform, "register").await;
    let other = setup_with(&platform, platform.clock.clone(), "http://127.0.0.1:1/webhook");
    let deadline = platform.clock.now() + 5 * MINUTE;
    let report = other.handle(json!({"action": "unregister"}), "x", deadline).await.unwrap();
    assert_finds(&report, "good", "not subscribed to this stack's address");
    assert!(platform.meta.fires(PAGE, "messages"));
}

// Status

#[tokio::test]
async fn the_status_of_a_sound_installation_has_nothing_wrong() {
    let platform = platform().await;
    act(&platform, "register").await;
    let report = act(&platform, "status").await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert!(findings(&report, "warning").is_empty(), "{report:#}");
    for part in [
        "Graph v25.0 is served until 2028-07-29",
        "our clock agrees with Meta's",
        "its token is valid and does not expire",
        "its token has pages_messaging",
        "subscribed at both levels",
        "its profile is as wanted",
        "not paused",
    ] {
        assert_finds(&report, "good", part);
    }
    assert_finds(&report, "note", "HUMAN_AGENT");
    assert_hides_secrets(&report);
}

#[tokio::test]
async fn an_event_that_lacks_one_level_is_told_with_its_level() {
    let platform = platform().await;
    act(&platform, "register").await;
    platform.meta.drop_app_field(APP_ID, "message_echoes");
    let report = act(&platform, "status").await;
    assert_finds(&report, "wrong", "for lack at the app: message_echoes");
    assert!(!platform.meta.fires(PAGE, "message_echoes"));
}

#[tokio::test]
async fn a_field_without_its_second_level_brings_no_event() {
    let platform = platform().await;
    platform.meta.heed_subscriptions();
    let echoes = async || {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
        counted(&platform, "EventsReceived")
    };
    assert_eq!(echoes().await, 1, "neither echo nor receipt");
    act(&platform, "register").await;
    assert_eq!(echoes().await, 1 + 4, "message, echo, delivery, read");
}

#[tokio::test]
async fn a_token_that_ends_or_lacks_something_is_told() {
    let platform = platform().await;
    act(&platform, "register").await;
    let in_three_days = (platform.clock.now() + 3 * DAY).millis() / 1000;
    platform.meta.set_token_end(PAGE, in_three_days);
    assert_finds(&act(&platform, "status").await, "warning", "valid until 2026-11-25T09:00:00Z");
    platform.meta.set_scopes(PAGE, &["pages_manage_metadata"]);
    let report = act(&platform, "status").await;
    assert_finds(&report, "wrong", "lacks pages_messaging");
    assert_finds(&report, "note", "lacks page_utility_messaging");
    platform.meta.kill_token(PAGE);
    assert_finds(&act(&platform, "status").await, "wrong", "its token is dead");
}

#[tokio::test]
async fn the_token_of_another_app_or_of_a_user_is_told() {
    let platform = with_shop().await;
    let user = UserToken { app_id: APP_ID.to_owned(), ..user() };
    platform.meta.add_user_token("a-user-token", user);
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = "a-user-token".into());
    assert_finds(&act(&platform, "status").await, "wrong", "its token is a user token");
    let of_shop = page_token(SHOP_PAGE);
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = of_shop.into());
    assert_finds(&act(&platform, "status").await, "wrong", "its token cannot be looked at");
}

#[tokio::test]
async fn a_paused_page_is_told_with_its_reason() {
    let platform = platform().await;
    platform.meta.kill_token(PAGE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
    assert_finds(
        &act(&platform, "status").await,
        "wrong",
        "paused until the secret changes (token_dead)",
    );
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let platform = platform().await;
    for (skew, state) in [(2_000, "good"), (-20_000, "warning"), (120_000, "wrong")] {
        platform.meta.set_skew(skew);
        assert_finds(&act(&platform, "status").await, state, "clock");
    }
}

#[tokio::test]
async fn a_graph_version_near_or_past_its_end_is_told() {
    for (version, state) in
        [("v21.0", "warning"), ("v22.0", "good"), ("v26.0", "good"), ("v19.0", "note")]
    {
        let platform = platform_with(|options| {
            options.variables.insert("GRAPH_VERSION".to_owned(), version.to_owned());
        })
        .await;
        assert_finds(&act(&platform, "status").await, state, &format!("Graph {version}"));
        if version == "v21.0" {
            platform.clock.forward(60 * DAY);
            assert_finds(&act(&platform, "status").await, "wrong", "Graph v21.0 ended");
        }
    }
}

// Applications

#[tokio::test]
async fn the_applications_are_listed_without_their_secrets() {
    let platform = with_shop().await;
    platform.put_secret(|secret| secret["applications"]["shop"]["verify_token"] = "".into());
    let listed = act(&platform, "applications").await;
    let url = platform.url();
    assert_eq!(
        listed,
        json!({"applications": [
            {"key": "default", "app_id": APP_ID, "webhook": format!("{url}/webhook"), "pages": [PAGE],
                "missing": []},
            {"key": "shop", "app_id": SHOP, "webhook": format!("{url}/shop/webhook"),
                "pages": [SHOP_PAGE], "missing": ["verify_token"]},
        ]})
    );
}

// The tutorial

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

#[tokio::test]
async fn the_pages_of_a_user_come_without_their_tokens_unless_asked_for() {
    let platform = with_shop().await;
    platform.meta.add_user_token("user-token", user());
    let mut request = json!({"action": "pages", "user_token": "user-token"});
    let pages = platform.invoke_setup(request.clone()).await.unwrap();
    assert_eq!(pages["data"].as_array().unwrap().len(), 2);
    assert_eq!(pages["data"][0]["id"], PAGE);
    assert_eq!(pages["data"][0]["tasks"][3], "MESSAGING");
    assert_eq!(pages["data"][0]["category_list"][0]["name"], "Restaurant");
    assert_hides_secrets(&pages);
    request["show_tokens"] = true.into();
    let pages = platform.invoke_setup(request).await.unwrap();
    assert_eq!(pages["data"][0]["access_token"], page_token(PAGE));
}

#[tokio::test]
async fn all_pages_of_a_user_come_and_no_link_with_a_token() {
    let platform = platform().await;
    let pages = (0..230).map(|n| format!("{}", 200_000_000_000_000_u64 + n)).collect();
    platform.meta.add_user_token("user-token", UserToken { pages, ..user() });
    let request = json!({"action": "pages", "user_token": "user-token"});
    let pages = platform.invoke_setup(request).await.unwrap();
    assert_eq!(pages["data"].as_array().unwrap().len(), 230);
    assert!(!pages.to_string().contains("user-token"));
}

#[tokio::test]
async fn pages_need_a_user_token() {
    let platform = platform().await;
    let request = json!({"action": "pages", "user_token": page_token(PAGE)});
    let error = platform.invoke_setup(request).await.unwrap_err();
    assert!(error.contains("Meta's error 100") && !error.contains(&page_token(PAGE)), "{error}");
    let error = platform.invoke_setup(json!({"action": "pages"})).await.unwrap_err();
    assert_eq!(error, "bad request: user_token: is missing");
}

#[tokio::test]
async fn the_conversations_have_participants_and_messages() {
    let platform = platform().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
    platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "hello")).await;
    let request = json!({"action": "conversations", "page_id": PAGE});
    let all = platform.invoke_setup(request).await.unwrap();
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    let request = json!({"action": "conversations", "page_id": PAGE, "psid": PSID});
    let one = platform.invoke_setup(request).await.unwrap();
    let conversation = &one["data"][0];
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(conversation["participants"]["data"][0]["id"], PSID);
    let messages = conversation["messages"]["data"].as_array().unwrap();
    assert_eq!(messages.last().unwrap()["message"], "opening hours?");
}

#[tokio::test]
async fn the_first_message_leaves_through_the_outbox_and_returns_its_id() {
    let platform = heard_from().await;
    let request =
        json!({"action": "first-message", "page_id": PAGE, "psid": PSID, "author": "desk"});
    let sent = platform.invoke_setup(request).await.unwrap();
    assert_eq!(delivered(&platform, PSID), ["RESPONSE You did it!"]);
    assert_eq!(sent["recipient_id"], PSID);
    assert!(sent["message_id"].as_str().unwrap().starts_with("m_"));
    assert_eq!(sent["status"], "sent");
    assert_eq!(entries(&platform, PSID).await[0]["author"], "desk");
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_first_message_to_somebody_who_never_wrote_is_refused_and_says_why() {
    let platform = platform().await;
    let request =
        json!({"action": "first-message", "page_id": PAGE, "psid": PSID, "author": "desk"});
    let refused = platform.invoke_setup(request).await.unwrap();
    assert_eq!((&refused["status"], &refused["message_id"]), (&json!("refused"), &Value::Null));
    assert!(refused["reason"].as_str().unwrap().starts_with("never_heard_from"), "{refused}");
    assert!(platform.meta.requests().is_empty());
}

#[tokio::test]
async fn a_first_message_that_meets_an_outage_waits_for_the_schedule() {
    let platform = heard_from().await;
    let fault = simulator::meta::Fault::Error { http: 500, code: 2, subcode: None };
    platform.meta.fail_next(fault);
    let request = json!({"action": "first-message", "page_id": PAGE, "psid": PSID,
        "author": "desk", "text": "Hello"});
    let answer = platform.invoke_setup(request).await.unwrap();
    assert_eq!(answer["status"], "open");
    platform.advance(HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE Hello"]);
}

async fn heard_from() -> Arc<Platform> {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(3 * MINUTE).await;
    platform
}

// WhatsApp

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

#[tokio::test]
async fn a_whatsapp_account_comes_typed_and_without_links() {
    let platform = with_account().await;
    let answer = account(&platform, "system-token").await.unwrap();
    let account = &answer["account"];
    assert_eq!(account["id"], ACCOUNT);
    assert_eq!(account["message_template_namespace"], "05155c78_261e_4b2f_82b3_d7958d4cf75f");
    assert_eq!(account["message_templates"]["data"][0]["components"][0]["text"], "Hello");
    assert_eq!(account["phone_numbers"]["data"][0]["display_phone_number"], "+1 555 0100");
    assert!(!answer.to_string().contains("system-token"));
}

#[tokio::test]
async fn the_kinds_of_whatsapp_tokens_are_told_apart_and_one_that_ends_is_warned_of() {
    let platform = with_account().await;
    for (token, kind) in [
        ("system-token", "system_user"),
        ("customer-token", "business_integration_system_user"),
        ("user-token", "user"),
    ] {
        let told = account(&platform, token).await.unwrap()["token"].take();
        assert_eq!(told["kind"], kind);
        let warning = told["warning"].as_str().unwrap_or_default();
        assert_eq!(warning.contains("system user"), token == "user-token", "{told}");
        assert_eq!(told["expires"].is_string(), token == "user-token");
    }
}

#[tokio::test]
async fn a_token_without_access_to_the_account_is_told_what_to_do() {
    let platform = with_account().await;
    let error = account(&platform, "employee-token").await.unwrap_err();
    assert!(error.contains("error 200") && error.contains("partial or full access"), "{error}");
}

#[tokio::test]
async fn the_whatsapp_token_of_the_secret_serves_if_the_payload_has_none() {
    let platform = with_account().await;
    let request = json!({"action": "whatsapp-account", "account_id": ACCOUNT});
    let error = platform.invoke_setup(request.clone()).await.unwrap_err();
    assert!(error.contains("lacks whatsapp_token"), "{error}");
    platform.put_secret(|secret| secret["whatsapp_token"] = "system-token".into());
    assert_eq!(platform.invoke_setup(request).await.unwrap()["account"]["id"], ACCOUNT);
}

// Templates

fn template() -> Value {
    json!({"name": "order_shipped", "language": "en", "components": [
        {"type": "BODY", "text": "Order {{1}} is on its way.", "example": {"body_text": [["5"]]}}]})
}

#[tokio::test]
async fn a_utility_template_is_made_and_listed_with_its_state() {
    let platform = platform().await;
    let create = json!({"action": "create-template", "page_id": PAGE, "template": template()});
    let made = platform.invoke_setup(create.clone()).await.unwrap();
    assert_eq!((&made["status"], &made["category"]), (&json!("PENDING"), &json!("UTILITY")));
    let list = json!({"action": "templates", "page_id": PAGE});
    platform.clock.forward(10 * SECOND);
    let listed = platform.invoke_setup(list).await.unwrap();
    assert_eq!(listed["data"][0]["name"], "order_shipped");
    assert_eq!(listed["data"][0]["status"], "APPROVED");
    let error = platform.invoke_setup(create).await.unwrap_err();
    assert!(error.contains("Meta's error 100"), "there is one already: {error}");
}

#[tokio::test]
async fn a_template_of_another_form_is_refused_before_the_network() {
    let platform = platform().await;
    for (field, value) in [
        ("name", json!("Order shipped")),
        ("language", Value::Null),
        ("category", json!("MARKETING")),
        ("components", json!([])),
        ("text", json!("x")),
    ] {
        let mut template = template();
        template[field] = value;
        let create = json!({"action": "create-template", "page_id": PAGE, "template": template});
        let error = platform.invoke_setup(create).await.unwrap_err();
        assert!(error.starts_with("bad request: template: "), "{error}");
    }
    assert!(platform.meta.take_calls().is_empty());
}

#[tokio::test]
async fn templates_need_their_permission() {
    let platform = platform().await;
    platform.meta.set_scopes(PAGE, &["pages_messaging"]);
    let list = json!({"action": "templates", "page_id": PAGE});
    let error = platform.invoke_setup(list).await.unwrap_err();
    assert!(error.contains("permission_missing: Meta's error 200"), "{error}");
}

// CloudFormation

/// Where `CloudFormation` waits for answers.
#[derive(Clone, Default)]
struct Answers {
    url: String,
    taken: Arc<Mutex<Vec<Value>>>,
    content_types: Arc<Mutex<Vec<bool>>>,
}

impl Answers {
    /// Refuses so many answers before it takes one.
    async fn after(refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/answer?signature=hush", listener.local_addr().unwrap());
        let answers = Self { url, ..Self::default() };
        let (kept, left) = (answers.clone(), Arc::new(AtomicU32::new(refusals)));
        let take = async move |headers: HeaderMap, body: String| {
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            kept.content_types.lock().unwrap().push(headers.contains_key("content-type"));
            kept.taken.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            StatusCode::OK
        };
        let router = Router::new().route("/answer", put(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        answers
    }

    fn request(&self, request_type: &str) -> Value {
        let mut request = simulator::samples::read("setup/cloudformation-create").unwrap();
        request["RequestType"] = request_type.into();
        request["ResponseURL"] = self.url.as_str().into();
        if request_type != "Create" {
            request["PhysicalResourceId"] = "registration".into();
        }
        request
    }

    /// The only answer.
    #[track_caller]
    fn only(&self) -> Value {
        let taken = self.taken.lock().unwrap();
        assert_eq!(taken.len(), 1);
        assert!(taken[0].to_string().len() < 4096, "CloudFormation takes no more");
        taken[0].clone()
    }
}

#[tokio::test]
async fn a_deployment_registers_and_cloudformation_is_answered() {
    let platform = platform().await;
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    let answer = answers.only();
    let request = answers.request("Create");
    assert_eq!(answer["Status"], "SUCCESS");
    for name in ["StackId", "RequestId", "LogicalResourceId"] {
        assert_eq!(answer[name], request[name], "{name}");
    }
    assert_eq!(answer["PhysicalResourceId"], "registration");
    let report = answer["Data"]["Report"].as_str().unwrap();
    assert!(report.contains("subscribed, callback") && !report.contains("Wrong"), "{report}");
    assert!(platform.meta.fires(PAGE, "messages"));
    assert_eq!(*answers.content_types.lock().unwrap(), [false], "S3 signed none");
    assert_hides_secrets(&answer);
}

#[tokio::test]
async fn a_first_deployment_with_an_empty_secret_succeeds_and_says_what_is_missing() {
    let platform = platform().await;
    platform.put_secret(|secret| *secret = json!({}));
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    let answer = answers.only();
    assert_eq!(answer["Status"], "SUCCESS");
    let report = answer["Data"]["Report"].as_str().unwrap();
    assert!(report.contains("the secret lacks app_secret (fill it in"), "{report}");
}

#[tokio::test]
async fn an_update_registers_again_and_keeps_the_resource() {
    let platform = platform().await;
    let answers = Answers::after(0).await;
    let mut request = answers.request("Update");
    request["PhysicalResourceId"] = "of an older version".into();
    platform.invoke_setup(request).await.unwrap();
    assert_eq!(answers.only()["PhysicalResourceId"], "of an older version");
    assert!(platform.meta.fires(PAGE, "messages"));
}

#[tokio::test]
async fn a_deletion_unsubscribes_and_succeeds_even_if_meta_refuses() {
    let platform = platform().await;
    act(&platform, "register").await;
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Delete")).await.unwrap();
    assert_eq!(answers.only()["Status"], "SUCCESS");
    assert!(!platform.meta.fires(PAGE, "messages"));

    act(&platform, "register").await;
    platform.meta.kill_token(PAGE);
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Delete")).await.unwrap();
    let answer = answers.only();
    assert_eq!(answer["Status"], "SUCCESS");
    assert!(
        answer["Data"]["Report"].as_str().unwrap().contains("still subscribed: Meta: token_dead")
    );
}

#[tokio::test]
async fn cloudformation_is_answered_without_the_secret_and_without_time() {
    let platform = platform().await;
    platform.secrets_manager.set_down(true);
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    assert!(answers.only()["Data"]["Report"].as_str().unwrap().contains("cannot be read"));

    platform.secrets_manager.set_down(false);
    let answers = Answers::after(0).await;
    let soon = platform.clock.now() + 10 * SECOND;
    platform.invoke_setup_until(answers.request("Create"), soon).await.unwrap();
    assert!(answers.only()["Data"]["Report"].as_str().unwrap().contains("no time was left"));
}

/// Panics when it is read for the second time.
#[derive(Debug)]
struct PanickingClock(Timestamp, AtomicU32);

impl Clock for PanickingClock {
    fn now(&self) -> Timestamp {
        assert!(self.1.fetch_add(1, Ordering::SeqCst) == 0, "a panic on purpose");
        self.0
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(ready(()))
    }
}

#[tokio::test]
async fn cloudformation_is_answered_after_a_panic() {
    let platform = platform().await;
    let answers = Answers::after(0).await;
    let now = platform.clock.now();
    let clock = Arc::new(PanickingClock(now, AtomicU32::new(0)));
    let setup = setup_with(&platform, clock, "http://127.0.0.1:1/webhook");
    setup.handle(answers.request("Create"), "x", now + 5 * MINUTE).await.unwrap();
    assert!(answers.only()["Data"]["Report"].as_str().unwrap().contains("panicked"));
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_tried_again_and_its_url_is_never_logged() {
    let platform = platform().await;
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let answers = Answers::after(1).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    assert_eq!(answers.only()["Status"], "SUCCESS");
    let mut nowhere = answers.request("Create");
    nowhere["ResponseURL"] = "http://127.0.0.1:1/answer?signature=hush".into();
    platform.invoke_setup(nowhere).await.unwrap();
    drop(guard);
    let log = log.0.lock().unwrap();
    assert!(log.contains("the answer was refused") && log.contains("the answer was not taken"));
    assert!(!log.contains("hush") && !log.contains("/answer"), "{log}");
    assert_hides_secrets(&json!(*log));
}

/// Setup as the platform builds it, with another clock and another address of the webhook.
fn setup_with(platform: &Platform, clock: SharedClock, webhook_url: &str) -> Setup {
    let mut environment = platform.environment().clone();
    environment.insert("WEBHOOK_URL".to_owned(), webhook_url.to_owned());
    let vars = Variables::from_lookup(move |name| environment.get(name).cloned());
    let telemetry = Telemetry::to(Arc::clone(&clock), |_| {});
    let aws = Aws::from_variables(&vars).unwrap();
    Setup::from_variables(&vars, &aws, clock, telemetry).unwrap()
}

// Requests

#[tokio::test]
async fn a_wrong_request_names_the_field() {
    let platform = platform().await;
    for (request, told) in [
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
        assert!(error.starts_with(&format!("bad request: {told}")), "{error}");
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
