//! An echo confirms what this deployment sent, and nothing else.

use std::sync::Arc;

use messenger::event::{METADATA_MARK, digest};
use serde_json::{Value, json};
use simulator::meta::{Fault, Outcome};
use simulator::platform::{Application, Platform, page_token};
use simulator::samples::{APP_ID, APP_SECRET};

use crate::acts::{EVERYWHERE, Ends, ON_PAGE, naming};
use crate::processor::{PARROT, say};
use crate::support::*;

const SHOP_PAGE: &str = "100000000000007";
const SHOP_APP: &str = "300000000000007";
const INBOX: &str = "263902037430900";

/// A platform with two applications, and a message of the first one that may have been delivered: its
/// metadata.
async fn with_an_unclear_message() -> (Arc<Platform>, String) {
    let shop = Application {
        key: "shop".to_owned(),
        app_id: SHOP_APP.to_owned(),
        app_secret: "secret-of-the-shop".to_owned(),
        verify_token: "verify-token-of-the-shop".to_owned(),
        pages: vec![SHOP_PAGE.to_owned()],
    };
    let platform = platform_with(|options| {
        options.replies = PARROT;
        options.applications = vec![shop];
    })
    .await;
    platform.meta.fail_next(Fault::LostRequest);
    say(&platform, PSID, "hi").await;
    let metadata = platform.meta.requests()[0].metadata.clone().unwrap();
    (platform, metadata)
}

/// Meta tells the app of a Page that a message was sent.
async fn echo(platform: &Platform, page_id: &str, psid: &str, app_id: Value, metadata: &str) {
    // An echo is one per mid.
    let mid = format!("m_{}", digest(&[psid, &app_id.to_string(), metadata]));
    let echo = json!({"sender": {"id": page_id}, "recipient": {"id": psid},
        "message": {"mid": mid, "is_echo": true, "app_id": app_id, "metadata": metadata, "text": "x"}});
    assert_eq!(platform.deliver(&platform.meta.person_does(page_id, psid, echo)).await, 200);
}

async fn state_of_step(platform: &Platform) -> Value {
    entries(platform, PSID).await[0]["steps"][0]["state"].clone()
}

#[tokio::test]
async fn the_echo_of_what_was_sent_confirms_it_with_and_without_an_app_id() {
    for app_id in [APP_ID.into(), Value::Null] {
        let (platform, metadata) = with_an_unclear_message().await;
        assert_eq!(state_of_step(&platform).await, "unconfirmed");
        echo(&platform, PAGE, PSID, app_id, &metadata).await;
        assert_eq!(ends(&platform, PSID).await, ["sent"]);
    }
}

#[tokio::test]
async fn an_echo_of_another_page_person_or_app_changes_nothing() {
    let (platform, metadata) = with_an_unclear_message().await;
    for (page_id, psid, app_id) in [
        (SHOP_PAGE, PSID, json!(SHOP_APP)),
        (SHOP_PAGE, PSID, json!(APP_ID)),
        (SHOP_PAGE, PSID, Value::Null),
        (PAGE, PSID, json!("999999")),
        (PAGE, PSID, json!(SHOP_APP)),
        (PAGE, OTHER_PSID, json!(APP_ID)),
    ] {
        echo(&platform, page_id, psid, app_id.clone(), &metadata).await;
        assert_eq!(state_of_step(&platform).await, "unconfirmed", "{page_id} {psid} {app_id}");
        assert_eq!(ends(&platform, PSID).await, ["open unclear"], "{page_id} {psid} {app_id}");
    }
}

#[tokio::test]
async fn metadata_that_was_made_or_changed_elsewhere_changes_nothing() {
    let (platform, metadata) = with_an_unclear_message().await;
    let (unsigned, tag) = metadata.rsplit_once('.').unwrap();
    let last = tag.chars().last().unwrap();
    let other = if last == 'A' { 'Q' } else { 'A' };
    let changed = format!("{}{other}", &metadata[..metadata.len() - 1]);
    for forged in [unsigned, &format!("{unsigned}."), &format!("{unsigned}.AAAA"), &changed] {
        echo(&platform, PAGE, PSID, json!(APP_ID), forged).await;
        assert_eq!(state_of_step(&platform).await, "unconfirmed", "{forged}");
    }
}

#[tokio::test]
async fn the_mark_of_our_metadata_does_not_hide_that_another_app_has_taken_over() {
    let platform = platform_with(|options| {
        options.replies = PARROT;
        options.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    say(&platform, PSID, "one").await;
    echo(&platform, PAGE, PSID, json!(INBOX), &format!("{METADATA_MARK}x")).await;
    say(&platform, PSID, "two").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE you said one"]);
    let items = platform.items().await.unwrap();
    let published = items.iter().filter(|item| item["pk"] == *format!("feed#{PAGE}"));
    let kinds: Vec<_> = published
        .map(|item| {
            let event: Value = serde_json::from_str(item["event"].as_str().unwrap()).unwrap();
            event["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["message", "echo", "message"], "our own echo is not published");
}

#[tokio::test]
async fn in_a_rotation_an_echo_is_known_by_both_app_secrets() {
    // Signed with the previous app secret, by a container that has not read the newer secret.
    let (platform, metadata) = with_an_unclear_message().await;
    rotate(&platform);
    echo(&platform, PAGE, PSID, json!(APP_ID), &metadata).await;
    assert_eq!(ends(&platform, PSID).await, ["sent"]);

    // Signed with the new one, and heard by a container that has not read it.
    let (platform, _) = with_an_unclear_message().await;
    say(&platform, OTHER_PSID, "hi").await;
    rotate(&platform);
    platform.clock.forward(2 * MINUTE);
    platform.meta.fail_next_for(OTHER_PSID, Fault::LostRequest);
    let update =
        json!({"page_id": PAGE, "psid": OTHER_PSID, "message": "later", "purpose": "update"});
    platform.invoke_follow_ups(update).await.unwrap();
    platform.tick().await.unwrap();
    let unclear = requested(&platform, OTHER_PSID).pop().unwrap().metadata.unwrap();
    assert_eq!(ends(&platform, OTHER_PSID).await, ["sent", "open unclear"]);
    echo(&platform, PAGE, OTHER_PSID, json!(APP_ID), &unclear).await;
    assert_eq!(ends(&platform, OTHER_PSID).await, ["sent", "sent"]);
}

fn rotate(platform: &Platform) {
    platform.put_secret(|secret| {
        secret["app_secret"] = "the-new-app-secret".into();
        secret["previous_app_secret"] = APP_SECRET.into();
        secret["pages"][PAGE]["access_token"] = page_token(PAGE).into();
    });
    platform.meta.set_app_secret("the-new-app-secret");
    // The webhook rereads the secret; the event processor still has the older one.
    platform.clock.forward(MINUTE);
}

/// An echo on a Page or an account, as Meta sends it now.
pub(crate) fn echo_of(ends: Ends, message: &Value) -> Vec<u8> {
    let mut item = ends.by_page(&json!({"message": {"mid": "m_foreign", "is_echo": true}}));
    item["message"].as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
    ends.entry(&json!({"messaging": [item]}))
}

#[tokio::test]
async fn an_echo_that_names_no_app_silences_the_bot_unless_it_shows_a_post() {
    let media = |kind: &str| json!([{"type": kind, "payload": {"url": "https://example.com/a"}}]);
    let post = |kind: &str, url: Value| json!([{"title": "Spring sale", "url": url, "type": kind, "payload": null}]);
    for ends in EVERYWHERE {
        for (message, is_silenced) in [
            (json!({"text": "It is me"}), true),
            (json!({"text": "It is me", "app_id": null}), true),
            (json!({"text": "It is me", "app_id": INBOX}), true),
            (json!({"text": "It is me", "metadata": "of another system"}), true),
            (
                json!({"text": "Look", "attachments": post("fallback", "https://example.com".into())}),
                true,
            ),
            (json!({"attachments": media("image")}), true),
            (json!({"attachments": media("ig_post")}), true),
            (json!({"attachments": [{"type": "audio", "payload": null}]}), true),
            (json!({"is_unsupported": true}), true),
            (json!({}), true),
            (json!({"attachments": post("template", Value::Null)}), false),
            (json!({"attachments": post("fallback", "https://example.com/posts/1".into())}), false),
            (json!({"attachments": post("post", Value::Null), "app_id": INBOX}), false),
            (json!({"is_deleted": true}), false),
            (json!({"text": "Sent by us", "app_id": APP_ID}), false),
            (json!({"text": "Sent by us", "app_id": APP_ID.parse::<u64>().unwrap()}), false),
        ] {
            let platform = naming().await;
            assert_eq!(platform.deliver(&echo_of(ends, &message)).await, 200);
            platform.clock.forward(SECOND);
            platform.deliver(&platform.meta.person_says(ends.page, ends.psid, "hello")).await;
            assert_eq!(ends.got(&platform).is_empty(), is_silenced, "{message}");
        }
    }
}

#[tokio::test]
async fn an_own_echo_is_known_by_its_mid_although_metadata_and_app_id_are_missing_or_other() {
    for ends in EVERYWHERE {
        for app_id in [Value::Null, json!("999999")] {
            let platform = naming().await;
            platform.meta.set_echoes(false);
            platform.deliver(&platform.meta.person_says(ends.page, ends.psid, "hello")).await;
            let Outcome::Delivered { mid } = platform.meta.requests()[0].outcome.clone() else {
                panic!("it is delivered");
            };
            let echo = json!({"mid": mid, "text": "message", "app_id": app_id});
            platform.deliver(&echo_of(ends, &echo)).await;
            platform.deliver(&platform.meta.person_says(ends.page, ends.psid, "again")).await;
            assert_eq!(ends.got(&platform), ["message", "message"], "{app_id}");
        }
    }
}

#[tokio::test]
async fn an_echo_without_metadata_confirms_an_unclear_message_that_says_the_same() {
    for (text, is_ours) in [("message", true), ("It is me", false)] {
        let platform = naming().await;
        platform.meta.set_echoes(false);
        platform.meta.fail_next(Fault::LostAnswer);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
        platform.deliver(&echo_of(ON_PAGE, &json!({"text": text}))).await;
        let expected = if is_ours { "sent" } else { "open unclear" };
        assert_eq!(ends(&platform, PSID).await, [expected]);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "again")).await;
        assert_eq!(ON_PAGE.got(&platform).len(), 1 + usize::from(is_ours), "{text}");
    }
}
