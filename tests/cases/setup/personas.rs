//! Personas.

use simulator::samples::PERSONA;

use super::*;

fn create(change: &Value) -> Value {
    let mut create = json!({"action": "create-persona", "page_id": PAGE, "name": "Ada L.",
        "profile_picture_url": "https://example.com/ada.png"});
    create.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    create
}

async fn listed(platform: &Platform) -> Vec<Value> {
    let list = json!({"action": "personas", "page_id": PAGE});
    let listed = platform.invoke_setup(list).await.unwrap();
    listed["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_persona_is_made_sends_and_is_deleted() {
    let platform = platform().await;
    let made = platform.invoke_setup(create(&json!({}))).await.unwrap();
    let id = made["id"].as_str().unwrap();
    let all = listed(&platform).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0]["id"], PERSONA);
    assert_eq!(
        all[1],
        json!({"id": id, "name": "Ada L.", "profile_picture_url": "https://example.com/ada.png"})
    );

    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let speak = json!({"page_id": PAGE, "psid": PSID, "purpose": "human", "author": "ada",
        "message": "hello", "persona_id": id});
    platform.invoke_follow_ups(speak.clone()).await.unwrap();
    platform.advance(2 * MINUTE).await;
    assert_eq!(ends(&platform, PSID).await.last().unwrap(), "sent");

    let delete = json!({"action": "delete-persona", "page_id": PAGE, "persona_id": id});
    let deleted = platform.invoke_setup(delete.clone()).await.unwrap();
    assert_eq!(deleted, json!({"id": id, "deleted": true}));
    assert_eq!(listed(&platform).await.len(), 1);
    platform.invoke_follow_ups(speak).await.unwrap();
    platform.advance(2 * MINUTE).await;
    assert_eq!(ends(&platform, PSID).await.last().unwrap(), "failed invalid");
    let error = platform.invoke_setup(delete).await.unwrap_err();
    assert!(error.contains("Meta's error"), "it is gone: {error}");
}

#[tokio::test]
async fn a_persona_of_another_form_is_refused_before_the_network() {
    let platform = platform().await;
    for (change, field) in [
        (json!({"name": "x".repeat(51)}), "name"),
        (json!({"name": " "}), "name"),
        (json!({"profile_picture_url": "http://example.com/a.png"}), "profile_picture_url"),
        (json!({"page_id": "me"}), "page_id"),
        (json!({"picture": "x"}), "picture"),
    ] {
        let error = platform.invoke_setup(create(&change)).await.unwrap_err();
        assert!(error.starts_with(&format!("bad request: {field}: ")), "{error}");
    }
    assert!(platform.meta.take_calls().is_empty());
    platform.invoke_setup(create(&json!({"name": "é".repeat(50)}))).await.unwrap();
}
