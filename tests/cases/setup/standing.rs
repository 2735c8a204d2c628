//! What Meta thinks of a Page and an app: policy enforcement, the review of templates, being live.

use super::*;

/// Meta tells what it did about a breach of its policies, at a time.
async fn enforce(platform: &Platform, action: &str, at: Timestamp) {
    let body = json!({"object": "page", "entry": [{"id": PAGE, "time": at.millis(), "messaging": [{
        "recipient": {"id": PAGE}, "timestamp": at.millis(),
        "policy_enforcement": {"action": action, "reason": "Spam in messages"}}]}]});
    let body = body.to_string().into_bytes();
    assert_eq!(platform.deliver(&body).await, 200);
}

#[tokio::test]
async fn what_meta_did_about_a_breach_is_reported_until_it_is_over() {
    let platform = platform().await;
    act(&platform, "register").await;
    let begin = platform.clock.now();
    enforce(&platform, "warning", begin).await;
    let report = act(&platform, "status").await;
    assert_finds(&report, "warning", "Meta warned it on 2026-11-22T09:00:00Z (warning): Spam");
    assert_eq!(report["ok"], true);

    platform.clock.forward(HOUR);
    enforce(&platform, "block", begin + HOUR).await;
    let report = act(&platform, "status").await;
    assert_finds(&report, "error", "Meta blocked it on 2026-11-22T10:00:00Z: Spam in messages");
    assert!(report.to_string().contains("Page Quality tab"), "{report:#}");

    platform.clock.forward(HOUR);
    enforce(&platform, "unblock", begin + 2 * HOUR).await;
    enforce(&platform, "block", begin + HOUR + MINUTE).await;
    let report = act(&platform, "status").await;
    assert_finds(&report, "ok", "Meta ended its block on 2026-11-22T11:00:00Z");
    assert_eq!(report["ok"], true, "an older event changes nothing: {report:#}");
}

#[tokio::test]
async fn a_warning_is_reported_for_a_month() {
    let platform = platform().await;
    act(&platform, "register").await;
    enforce(&platform, "warning", platform.clock.now()).await;
    for (days, is_shown) in [(29, true), (2, false)] {
        platform.clock.forward(days * DAY);
        let report = act(&platform, "status").await;
        assert_eq!(!findings(&report, "warning").is_empty(), is_shown, "{report:#}");
    }
}

#[tokio::test]
async fn a_template_that_meta_s_review_ended_is_reported() {
    let platform = platform().await;
    act(&platform, "register").await;
    for name in ["order_shipped", "order_paid"] {
        let template = json!({"name": name, "language": "en",
            "components": [{"type": "BODY", "text": "It is on its way."}]});
        let create = json!({"action": "create-template", "page_id": PAGE, "template": template});
        platform.invoke_setup(create).await.unwrap();
    }
    let sound = "utility templates that can be sent or are in review: ";
    assert_finds(&act(&platform, "status").await, "ok", &format!("{sound}2"));
    for status in ["REJECTED", "PAUSED", "DISABLED"] {
        platform.meta.review_template(PAGE, "order_paid", status);
        let report = act(&platform, "status").await;
        let lost = format!("its utility template order_paid (en) is {status}");
        assert_finds(&report, "warning", &lost);
        assert_finds(&report, "ok", &format!("{sound}1"));
        assert_eq!(report["ok"], true, "{report:#}");
    }
}

#[tokio::test]
async fn an_app_that_cannot_be_live_is_reported() {
    let platform = platform().await;
    act(&platform, "register").await;
    assert!(findings(&act(&platform, "status").await, "warning").is_empty());
    platform.meta.drop_privacy_policy(APP_ID);
    let report = act(&platform, "status").await;
    assert_finds(&report, "warning", "application default: it has no privacy policy URL");
    assert!(report.to_string().contains("publish the app"), "{report:#}");
}

#[tokio::test]
async fn whether_conversations_are_routed_is_reported() {
    let platform = platform().await;
    act(&platform, "register").await;
    assert_finds(&act(&platform, "status").await, "ok", "its conversations are routed");
    platform.meta.set_routing(PAGE, false);
    assert_finds(&act(&platform, "status").await, "note", "its conversations are not routed");
}
