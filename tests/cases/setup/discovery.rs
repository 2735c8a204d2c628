//! Pages, conversations, and the first message.

use super::*;

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
