//! Items of the table that cannot be read or applied end by themselves; everything else goes on.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use backend::runtime::Environment;
use messenger::decision::{Decision, FollowUp};
use messenger::message::{Message, UtilityTemplate};
use serde_json::{Value, json};
use simulator::platform::{DEAD_LETTERS, EVENTS, Platform, TABLE};

use crate::support::*;

async fn heard_from(people: &[&str]) -> std::sync::Arc<Platform> {
    let platform =
        platform_with(|options| options.replies = |_, _, _| Ok(Decision::nothing())).await;
    for psid in people {
        platform.deliver(&platform.meta.person_says(PAGE, psid, "hi")).await;
    }
    platform
}

async fn ask_for(platform: &Platform, psid: &str, text: &str) {
    let wanted = json!({"id": format!("{psid}-{text}"), "page_id": PAGE, "psid": psid, "message": text, "purpose": "update",
        "send_at": (now(platform) + MINUTE).millis()});
    platform.invoke_follow_ups(wanted).await.unwrap();
}

fn now(platform: &Platform) -> messenger::clock::Timestamp {
    messenger::clock::Clock::now(&*platform.clock)
}

fn table(platform: &Platform) -> Client {
    let environment: Environment = platform.containers().environment();
    environment.aws.dynamodb()
}

/// Sets an attribute of an item to something that no version writes.
async fn spoil(platform: &Platform, pk: &str, sk: &str, attribute: &str, value: AttributeValue) {
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let update =
        table(platform).update_item().table_name(TABLE).key("pk", key(pk)).key("sk", key(sk));
    let update = update.update_expression(format!("SET {attribute} = :odd"));
    update.expression_attribute_values(":odd", value).send().await.unwrap();
}

async fn first_entry(platform: &Platform, psid: &str) -> (String, String) {
    let entry = entries(platform, psid).await.remove(0);
    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
    (text("pk"), text("sk"))
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_or_applied_ends_and_holds_up_nobody() {
    let odd = || AttributeValue::S("not what it was".to_owned());
    for attribute in ["steps", "unapplied", "purpose"] {
        let platform = heard_from(&[PSID, OTHER_PSID]).await;
        ask_for(&platform, PSID, "one").await;
        platform.clock.forward(SECOND);
        ask_for(&platform, PSID, "two").await;
        ask_for(&platform, OTHER_PSID, "three").await;
        let (pk, sk) = first_entry(&platform, PSID).await;
        spoil(&platform, &pk, &sk, attribute, odd()).await;
        platform.advance(3 * MINUTE).await;
        assert_eq!(delivered(&platform, PSID), ["UPDATE two"], "{attribute}");
        assert_eq!(delivered(&platform, OTHER_PSID), ["UPDATE three"], "{attribute}");
        assert_eq!(ends(&platform, PSID).await, ["failed malformed", "sent"], "{attribute}");
        assert_no_leftovers(&platform, PSID).await;
        assert_eq!(counted(&platform, "Failed"), 1);
    }
}

#[tokio::test]
async fn an_event_that_the_table_itself_rejects_ends_and_holds_up_nobody() {
    let platform = platform_with(|options| {
        options.replies = |_, _, _| {
            let later = FollowUp::after(HOUR, Message::text("later")?);
            Ok(Decision::nothing().say(Message::text("now")?).later(later))
        };
    })
    .await;
    // The list of what waits is of a type into which nothing can be written.
    platform.post(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let pk = format!("{PAGE}#{PSID}");
    spoil(&platform, &pk, "conversation", "waiting", AttributeValue::N("1".to_owned())).await;
    platform.post(&platform.meta.person_says(PAGE, OTHER_PSID, "hi")).await;
    platform.settle().await;
    platform.advance(30 * MINUTE).await;
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE now"]);
    let dead = platform.sqs.messages(DEAD_LETTERS);
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].attributes["reason"].value, "rejected_by_table");
    assert!(platform.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn what_a_conversation_holds_of_an_entry_need_not_be_readable() {
    let platform = heard_from(&[PSID]).await;
    ask_for(&platform, PSID, "one").await;
    let (pk, sk) = first_entry(&platform, PSID).await;
    let id = sk.trim_start_matches("outbox#").to_owned();
    let member = HashMap::from([(id, AttributeValue::S("odd".to_owned()))]);
    spoil(&platform, &pk, "conversation", "waiting", AttributeValue::M(member)).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "again")).await;
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE one"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn an_item_in_the_index_that_is_not_an_entry_leaves_it() {
    let platform = heard_from(&[PSID]).await;
    ask_for(&platform, PSID, "one").await;
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let put =
        table(&platform).put_item().table_name(TABLE).item("pk", key("odd")).item("sk", key("odd"));
    let put = put.item("due_page", key(&format!("{PAGE}#bot")));
    put.item("due_at", AttributeValue::N("1".to_owned())).send().await.unwrap();
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["UPDATE one"]);
    assert_eq!(platform.next_due().await, None);
}

#[tokio::test]
async fn a_decision_that_the_table_cannot_hold_ends_as_invalid() {
    let platform = platform_with(|options| {
        options.replies = |_, _, now| {
            let parameter = json!({"type": "text", "text": "x".repeat(300_000)});
            let components = vec![json!({"type": "body", "parameters": [parameter]})];
            let template = UtilityTemplate::new("large", "en").with_components(components);
            let later = FollowUp::at(now + MINUTE, Message::text("later")?).or_template(template);
            Ok(Decision::nothing().say(Message::text("now")?).later(later))
        };
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let entry: Value = Value::Object(entries(&platform, PSID).await.remove(0));
    assert_eq!(entry["status"], "failed");
    assert!(entry["reason"].as_str().unwrap().starts_with("invalid: messages: have "), "{entry}");
    assert_no_leftovers(&platform, PSID).await;
}
