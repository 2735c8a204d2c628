//! Registering and unregistering.

use super::*;

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
    assert_finds(&report, "changed", &shop);
    assert_finds(&report, "changed", "get_started");
    assert_hides_secrets(&report);
    assert_eq!(act(&platform, "status").await["ok"], true);
}

#[tokio::test]
async fn registering_again_only_reads() {
    let platform = with_shop().await;
    act(&platform, "register").await;
    platform.meta.take_calls();
    let report = act(&platform, "register").await;
    assert!(findings(&report, "changed").is_empty(), "{report:#}");
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
    assert_eq!(findings(&report, "changed").len(), 1, "{report:#}");
    let calls = platform.meta.take_calls();
    let written: Vec<_> = calls.iter().filter(|call| !call.starts_with("GET ")).collect();
    assert_eq!(written, [&format!("POST /{APP_ID}/subscriptions")]);
    assert!(platform.meta.fires(PAGE, "message_echoes"));
}

#[tokio::test]
async fn an_empty_secret_is_reported_part_by_part() {
    let platform = platform().await;
    platform.put_secret(|secret| *secret = json!({}));
    let report = act(&platform, "register").await;
    assert_eq!(report["ok"], false);
    for part in ["app_id", "app_secret", "verify_token", "pages"] {
        assert_finds(&report, "error", &format!("missing in the secret: {part}"));
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
    assert_finds(&report, "error", "Meta's error 2200");
    assert_finds(&report, "changed", "subscribed");
    assert!(!platform.meta.fires(PAGE, "messages"), "the app's level is missing");
}

#[tokio::test]
async fn a_wrong_app_secret_or_token_names_the_fix() {
    let platform = platform().await;
    platform.put_secret(|secret| {
        secret["app_secret"] = "wrong".into();
        secret["pages"][PAGE]["access_token"] = "wrong".into();
    });
    let report = act(&platform, "register").await;
    assert_finds(&report, "error", "cannot read its subscriptions: token_dead: Meta's error 190");
    assert_finds(&report, "error", "not subscribed: Meta: token_dead");
    let fixes: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| &f["fix"]).collect();
    assert!(fixes[0].as_str().unwrap().contains("app_secret"), "{report:#}");
    assert!(fixes[1].as_str().unwrap().contains("new Page token"), "{report:#}");
}

#[tokio::test]
async fn instagram_is_subscribed_on_request() {
    let platform = platform_with(|options| {
        options.variables.insert("SUBSCRIBE_INSTAGRAM".to_owned(), "true".to_owned());
    })
    .await;
    let report = act(&platform, "register").await;
    assert_finds(&report, "changed", "instagram: subscribed");
    assert_finds(&act(&platform, "status").await, "ok", "instagram: subscribed");
}

#[tokio::test]
async fn unregistering_ends_both_levels() {
    let platform = platform().await;
    act(&platform, "register").await;
    let report = act(&platform, "unregister").await;
    assert_eq!(findings(&report, "changed").len(), 2, "{report:#}");
    assert!(!platform.meta.fires(PAGE, "messages"));
    assert_finds(&act(&platform, "status").await, "error", "page: not subscribed");
}

#[tokio::test]
async fn an_app_that_another_stack_serves_stays_subscribed() {
    let platform = platform().await;
    act(&platform, "register").await;
    let other = setup_with(&platform, platform.clock.clone(), "http://127.0.0.1:1/webhook");
    let deadline = platform.clock.now() + 5 * MINUTE;
    let report = other.handle(json!({"action": "unregister"}), "x", deadline).await.unwrap();
    assert_finds(&report, "ok", "not subscribed with this stack's callback");
    assert!(platform.meta.fires(PAGE, "messages"));
}
