//! Media that Meta saves: uploaded by URL, or with a message.

use simulator::meta::Outcome;

use super::*;

const URL: &str = "https://example.com/menu.png";

async fn upload(platform: &Platform, change: Value) -> Answer {
    let body = with(json!({"page_id": PAGE, "type": "image", "url": URL}), change);
    with_sample(platform, "api/upload-attachment", |event| event["body"] = body.to_string().into())
        .await
}

fn image(id: &Value) -> Value {
    json!({"message": {"attachment": {"type": "image", "payload": {"attachment_id": id}}}})
}

#[tokio::test]
async fn an_upload_is_sent_by_its_id_until_it_expires() {
    let platform = heard_from().await;
    let saved = upload(&platform, json!({})).await;
    assert_eq!((saved.status, &saved.body["page_id"]), (201, &json!(PAGE)), "{}", saved.body);
    let expires_at = platform.clock.now() + 90 * DAY;
    assert_eq!(saved.body["expires_at"], expires_at.to_string());
    let id = &saved.body["attachment_id"];
    let sent = post(&platform, None, &message(image(id))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);

    platform.clock.forward(90 * DAY);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "again")).await;
    let late = post(&platform, None, &message(image(id))).await;
    assert_eq!((late.status, &late.body["status"]), (201, &json!("failed")), "{}", late.body);
    assert!(late.body["reason"].as_str().unwrap().contains("100/2018074"), "{}", late.body);
}

#[tokio::test]
async fn media_of_nobody_are_refused() {
    let platform = heard_from().await;
    let sent = post(&platform, None, &message(image(&json!("123")))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("failed")), "{}", sent.body);
    let requests = requested(&platform, PSID);
    assert!(matches!(requests[0].outcome, Outcome::Refused { subcode: Some(2_018_074), .. }));
}

#[tokio::test]
async fn media_that_a_message_saves_are_named_with_its_step() {
    let platform = heard_from().await;
    let reusable =
        json!({"attachment": {"type": "image", "payload": {"url": URL, "is_reusable": true}}});
    let wanted = json!({"page_id": PAGE, "psid": PSID, "purpose": "update",
        "messages": ["look", reusable]});
    let sent = post(&platform, None, &wanted).await;
    assert_eq!(sent.body["steps"][0]["attachment_id"], Value::Null);
    let path = format!("/messages/{}", sent.body["id"].as_str().unwrap());
    let read = ask(&platform, "GET", &path).await;
    assert_eq!(read.body["steps"], sent.body["steps"]);
    let id = &read.body["steps"][1]["attachment_id"];
    assert!(id.is_string(), "{}", read.body);
    let again = post(&platform, None, &message(image(id))).await;
    assert_eq!(again.body["status"], "sent", "{}", again.body);
}

#[tokio::test]
async fn a_bad_upload_names_its_field_and_reaches_nobody() {
    let platform = heard_from().await;
    platform.meta.take_calls();
    for (change, status, code, field) in [
        (json!({"url": "http://example.com/a.png"}), 422, "invalid", "url"),
        (json!({"url": ""}), 422, "invalid", "url"),
        (json!({"url": format!("https://{}", "a".repeat(2041))}), 422, "invalid", "url"),
        (json!({"type": "sticker"}), 422, "invalid", "type"),
        (json!({"page_id": "../me"}), 422, "invalid", "page_id"),
        (json!({"page_id": "42"}), 404, "unknown_page", "page_id"),
        (json!({"platform": "telegram"}), 422, "invalid", "platform"),
        (json!({"is_reusable": true}), 422, "invalid", "is_reusable"),
    ] {
        let refused = upload(&platform, change).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{}", refused.body);
        assert_eq!(refused.body["error"]["field"], field, "{}", refused.body);
    }
    assert!(platform.meta.take_calls().is_empty());
    let largest = json!({"url": format!("https://{}", "a".repeat(2040))});
    assert_eq!(upload(&platform, largest).await.status, 201);
}

#[tokio::test]
async fn what_meta_says_of_an_upload_is_passed_on() {
    let platform = heard_from().await;
    let unfetchable = upload(&platform, json!({"url": "https://nowhere.invalid/a.png"})).await;
    assert_eq!((unfetchable.status, unfetchable.code()), (422, "media_unavailable"));
    assert_eq!(unfetchable.body["error"]["field"], "url");

    platform.meta.set_scopes(PAGE, &[]);
    let forbidden = upload(&platform, json!({})).await;
    assert_eq!((forbidden.status, forbidden.code()), (409, "permission_missing"));

    platform.meta.kill_token(PAGE);
    let dead = upload(&platform, json!({})).await;
    assert_eq!((dead.status, dead.code()), (409, "token_dead"));
    for answer in [unfetchable, forbidden, dead] {
        assert!(!answer.body.to_string().contains("example.com"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_replaced_token_is_read_anew_for_an_upload() {
    let platform = heard_from().await;
    assert_eq!(upload(&platform, json!({})).await.status, 201);
    platform.meta.set_token(PAGE, "a-new-token");
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = "a-new-token".into());
    assert_eq!(upload(&platform, json!({})).await.status, 201);
}
