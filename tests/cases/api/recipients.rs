//! Recipients that are a permission to send: the tokens of opt-ins, and phone numbers.

use super::*;

const TOKEN: &str = "6640234389316104612";

fn to(field: &str, id: &str, change: Value) -> Value {
    with(with(json!({"page_id": PAGE, "message": "hi"}), json!({field: id})), change)
}

/// What reached Meta: recipient, messaging type and text.
fn arrived(platform: &Platform) -> Vec<(Value, String, Value)> {
    let requests = platform.meta.requests().into_iter();
    let each = requests
        .map(|r| (r.recipient, r.messaging_type.unwrap_or_default(), r.message["text"].clone()));
    each.collect()
}

#[tokio::test]
async fn a_token_for_notifications_takes_messages_whatever_the_window_says() {
    let platform = silent().await;
    let optin = json!({"optin": {"type": "notification_messages", "payload": "p",
        "notification_messages_token": TOKEN,
        "token_expiry_timestamp": (platform.clock.now() + 30 * DAY).millis()}});
    platform.deliver(&platform.meta.person_does(PAGE, PSID, optin)).await;
    let by_psid = post(&platform, None, &message(json!({}))).await;
    assert_eq!((by_psid.status, by_psid.code()), (409, "never_heard_from"), "no window is open");

    platform.advance(10 * DAY).await;
    let field = "notification_messages_token";
    let sent = post(&platform, None, &to(field, TOKEN, json!({}))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
    assert_eq!((&sent.body["purpose"], &sent.body["psid"]), (&json!("update"), &json!(PSID)));
    let second = post(&platform, None, &to(field, TOKEN, json!({"message": "more"}))).await;
    assert_eq!(second.body["status"], "sent", "{}", second.body);
    let recipient = json!({field: TOKEN});
    let update = |text: &str| (recipient.clone(), "UPDATE".to_owned(), json!(text));
    assert_eq!(arrived(&platform), [update("hi"), update("more")]);

    platform.settle().await;
    let path = format!("/messages/{}", sent.body["id"].as_str().unwrap());
    assert_eq!(ask(&platform, "GET", &path).await.body["psid"], PSID);
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    assert_eq!(ask(&platform, "GET", &path).await.status, 404, "erased with the person");

    let erased = post(&platform, None, &to(field, TOKEN, json!({"message": "more"}))).await;
    assert_eq!((erased.status, erased.code()), (409, "person_erased"), "{}", erased.body);
}

#[tokio::test]
async fn an_expired_token_fails_the_message() {
    let platform = silent().await;
    let end = platform.clock.now() + DAY;
    platform.meta.add_notification_token(PAGE, TOKEN, PSID, Some(end.millis()));
    platform.advance(DAY).await;
    let late = to("notification_messages_token", TOKEN, json!({}));
    let expired = post(&platform, None, &late).await;
    assert_eq!((expired.status, &expired.body["status"]), (201, &json!("failed")));
    assert!(expired.body["reason"].as_str().unwrap().starts_with("invalid"), "{}", expired.body);
}

#[tokio::test]
async fn a_one_time_token_takes_one_message() {
    let platform = silent().await;
    let optin = json!({"optin": {"type": "one_time_notif_req", "payload": "p",
        "one_time_notif_token": TOKEN}});
    platform.deliver(&platform.meta.person_does(PAGE, PSID, optin)).await;
    platform.advance(100 * DAY).await;
    let field = "one_time_notif_token";
    for (change, wrong) in [
        (json!({"message": null, "messages": ["a", "b"]}), "messages"),
        (json!({"message": null, "sender_action": "typing_on"}), "messages"),
        (json!({"purpose": "private_reply"}), "purpose"),
        (
            json!({"fallback_template": {"name": "n", "language": {"code": "en"}}}),
            "fallback_template",
        ),
    ] {
        let refused = post(&platform, None, &to(field, TOKEN, change)).await;
        assert_eq!((refused.status, &refused.body["error"]["field"]), (422, &json!(wrong)));
    }
    let sent = post(&platform, None, &to(field, TOKEN, json!({}))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
    assert_eq!(post(&platform, None, &to(field, TOKEN, json!({}))).await.status, 200, "the same");
    let other = post(&platform, None, &to(field, TOKEN, json!({"message": "more"}))).await;
    assert_eq!((other.status, other.code()), (409, "token_used"));
    let recipient = json!({field: TOKEN});
    assert_eq!(arrived(&platform), [(recipient, "UPDATE".to_owned(), json!("hi"))]);
}

#[tokio::test]
async fn a_phone_number_is_sent_in_one_form_and_names_nobody() {
    let platform = silent().await;
    let sent = post(&platform, None, &to("phone_number", "+1 (212) 555-0123", json!({}))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
    assert_eq!(sent.body["psid"], Value::Null);
    let recipient = json!({"phone_number": "+12125550123"});
    assert_eq!(arrived(&platform), [(recipient, "UPDATE".to_owned(), json!("hi"))]);
    let person_of_number = "9000012125550123";
    platform.settle().await;
    let path = format!("/messages/{}", sent.body["id"].as_str().unwrap());
    assert_eq!(ask(&platform, "GET", &path).await.body["psid"], person_of_number);

    let nobody = post(&platform, None, &to("phone_number", "+99912345678", json!({}))).await;
    assert_eq!(nobody.body["status"], "failed", "{}", nobody.body);
    assert!(nobody.body["reason"].as_str().unwrap().starts_with("person_unreachable"));
    let malformed = post(&platform, None, &to("phone_number", "212 555 0123", json!({}))).await;
    assert_eq!(
        (malformed.status, &malformed.body["error"]["field"]),
        (422, &json!("phone_number"))
    );
    let two = to("phone_number", "+12125550123", json!({"psid": PSID}));
    assert_eq!(post(&platform, None, &two).await.body["error"]["field"], "phone_number");
}

#[tokio::test]
async fn a_persons_answer_to_a_token_needs_its_author() {
    let platform = silent().await;
    platform.meta.add_notification_token(PAGE, TOKEN, PSID, None);
    let field = "notification_messages_token";
    let human = to(field, TOKEN, json!({"purpose": "human"}));
    assert_eq!(post(&platform, None, &human).await.body["error"]["field"], "author");
    let sent = post(&platform, None, &with(human, json!({"author": "front-desk"}))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
    assert_eq!(arrived(&platform)[0].1, "RESPONSE");
}
