//! Meta's data deletion callback.

use simulator::platform::Application;

use super::*;

/// What Meta posts: a form with what it signed.
fn signed(payload: &Value, app_secret: &str) -> String {
    format!("signed_request={}", samples::sign_request(payload, app_secret).unwrap())
}

/// What Meta signs at this instant.
fn request(platform: &Platform, change: Value) -> Value {
    let issued_at = platform.clock.now().millis() / 1000;
    let request = json!({"algorithm": "HMAC-SHA256", "expires": issued_at + 3600,
        "issued_at": issued_at, "user_id": APP_SCOPED_ID});
    with(request, change)
}

async fn begin(platform: &Platform, body: &str) -> Answer {
    with_sample(platform, "api/begin-deletion", |event| event["body"] = body.into()).await
}

async fn begin_now(platform: &Platform) -> Answer {
    begin(platform, &signed(&request(platform, json!({})), samples::APP_SECRET)).await
}

async fn state(platform: &Platform, begun: &Answer) -> Answer {
    let code = begun.body["confirmation_code"].as_str().unwrap();
    ask(platform, "GET", &format!("/data-deletion/{code}")).await
}

/// Whether the table holds anything with this text in it.
async fn holds(platform: &Platform, text: &str) -> bool {
    json!(platform.items().await.unwrap()).to_string().contains(text)
}

#[tokio::test]
async fn a_deletion_is_answered_at_once_and_completed_by_the_next_run() {
    let platform = heard_from().await;
    platform.meta.take_calls();
    let begun = begin_now(&platform).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let code = begun.body["confirmation_code"].as_str().unwrap();
    assert_eq!(begun.body["url"], format!("https://example.com/data-deletion/{code}"));
    assert_eq!(platform.meta.take_calls(), Vec::<String>::new(), "Meta is asked later");
    assert_eq!(state(&platform, &begun).await.body["state"], "begun");

    platform.advance(MINUTE).await;
    let done = state(&platform, &begun).await;
    assert_eq!((done.status, &done.body["state"]), (200, &json!("erased")));
    assert_eq!(ask(&platform, "GET", &person()).await.status, 404);
    assert!(!holds(&platform, APP_SCOPED_ID).await, "it is kept until it is done, and no longer");
    assert!(!done.body.to_string().contains(PSID));
    let urls = platform.meta.urls();
    assert!(!urls.iter().any(|url| url.contains(APP_SCOPED_ID)), "{urls:?}");
}

#[tokio::test]
async fn a_deletion_is_completed_although_graph_fails_for_hours() {
    let platform = heard_from().await;
    let begun = begin_now(&platform).await;
    platform.meta.set_app_secret("another one");
    platform.advance(3 * HOUR).await;
    assert_eq!(state(&platform, &begun).await.body["state"], "begun");
    assert!(conversation(&platform, PSID).await.contains_key("last_message_at"));
    let overdue = counted(&platform, "ErasureOverdue");
    assert!((110..=125).contains(&overdue), "each minute of the last two hours: {overdue}");
    assert!(crate::alarms::has_rung(&platform, "ErasureOverdueAlarm"));

    platform.meta.set_app_secret(samples::APP_SECRET);
    platform.advance(2 * MINUTE).await;
    assert_eq!(state(&platform, &begun).await.body["state"], "erased");
    assert_eq!(ask(&platform, "GET", &person()).await.status, 404);
    platform.advance(DAY).await;
    let overdue = counted(&platform, "ErasureOverdue");
    assert!(overdue <= 125, "nothing is overdue any more: {overdue}");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_code_and_a_completed_one_stays_completed() {
    let platform = heard_from().await;
    let body = signed(&request(&platform, json!({"expires": 0})), samples::APP_SECRET);
    let first = begin(&platform, &body).await;
    assert_eq!(begin(&platform, &body).await.body, first.body);
    platform.advance(MINUTE).await;
    let done = state(&platform, &first).await.body;
    assert_eq!(done["state"], "erased");
    platform.advance(HOUR).await;
    assert_eq!(begin(&platform, &body).await.body, first.body);
    assert_eq!(state(&platform, &first).await.body, done, "it never goes back");
    assert!(!holds(&platform, APP_SCOPED_ID).await);
}

#[tokio::test]
async fn a_stale_or_foreign_signed_request_is_refused() {
    let platform = heard_from().await;
    let now = platform.clock.now().millis() / 1000;
    for change in [
        json!({"issued_at": now - 24 * 60 * 60 - 1}),
        json!({"issued_at": now + 301}),
        json!({"issued_at": null}),
        json!({"expires": now - 1}),
        json!({"code": "AQD"}),
        json!({"oauth_token": "EAA"}),
        json!({"algorithm": "none"}),
        json!({"user_id": null}),
        json!({"user_id": "../me"}),
    ] {
        let body = signed(&request(&platform, change.clone()), samples::APP_SECRET);
        let refused = begin(&platform, &body).await;
        let field = &refused.body["error"]["field"];
        assert_eq!((refused.status, field), (422, &json!("signed_request")), "{change}");
    }
    for (secret, status) in [("another app's", 401), (samples::APP_SECRET, 200)] {
        let body = signed(&request(&platform, json!({"expires": 0})), secret);
        assert_eq!(begin(&platform, &body).await.status, status);
    }
}

#[tokio::test]
async fn a_forged_deletion_erases_nothing() {
    let platform = heard_from().await;
    let genuine = signed(&request(&platform, json!({})), samples::APP_SECRET);
    let (signature, payload) = genuine.split_once('.').unwrap();
    for (body, status) in [
        (format!("{signature}.{}", payload.replace('a', "b")), 401),
        (format!("signed_request=.{payload}"), 401),
        (format!("signed_request={payload}"), 401),
        ("other=1".to_owned(), 422),
    ] {
        assert_eq!(begin(&platform, &body).await.status, status);
    }
    platform.put_secret(|secret| secret["app_secret"] = "".into());
    platform.clock.forward(6 * MINUTE);
    assert_eq!(begin_now(&platform).await.status, 401);
    platform.advance(HOUR).await;
    assert!(conversation(&platform, PSID).await.contains_key("last_message_at"));
}

#[tokio::test]
async fn two_applications_of_one_app_are_both_erased() {
    const SECOND_PAGE: &str = "100000000000002";
    let platform = platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
        options.applications = vec![Application {
            key: "second".into(),
            app_id: samples::APP_ID.into(),
            app_secret: samples::APP_SECRET.into(),
            verify_token: "second".into(),
            pages: vec![SECOND_PAGE.into()],
        }];
    })
    .await;
    platform.meta.add_app_scoped_id(APP_SCOPED_ID, SECOND_PAGE, OTHER_PSID);
    for (page, psid) in [(PAGE, PSID), (SECOND_PAGE, OTHER_PSID)] {
        platform.deliver(&platform.meta.person_says(page, psid, "hello")).await;
    }
    begin_now(&platform).await;
    platform.advance(10 * MINUTE).await;
    let items = json!(platform.items().await.unwrap()).to_string();
    assert!(!items.contains("last_message_at"), "{items}");
}
