//! What a bot remembers, read by a later or an earlier version of it.

use std::time::Duration;

use messenger::bot::{Bot, BotError, State, Trouble, Turn, shared};
use messenger::decision::Decision;
use messenger::message::Message;
use serde::{Deserialize, Serialize};
use simulator::platform::Platform;

use crate::support::*;
use crate::thinking::{post, reasons};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Count {
    count: u64,
}

impl State for Count {
    const VERSION: u32 = 2;

    fn upgrade(from: u32, old: serde_json::Value) -> Result<Self, BotError> {
        let count = if from == 1 { old["n"].as_u64() } else { old.as_u64() };
        count.map(|count| Self { count }).ok_or(BotError::Failed("an old count"))
    }
}

struct Counting;

impl Bot for Counting {
    type State = Count;

    async fn decide(&self, turn: &Turn<Count>) -> Result<Decision, BotError> {
        let count = turn.state().count + 1;
        let said = Message::text(format!("{count}"))?;
        Ok(Decision::nothing().say(said).remember(&Count { count })?)
    }

    fn give_up(&self, turn: &Turn<Count>, why: &Trouble) -> Option<Decision> {
        (*why == Trouble::StateUnreadable).then(|| {
            let said = Message::text(format!("begins at {}", turn.state().count)).unwrap();
            Decision::nothing().say(said)
        })
    }
}

/// Lets a bot remember something of a person, as an earlier or a later version of it did.
async fn remember(platform: &Platform, json: &str, version: Option<u32>) {
    post(platform, PSID, "first").await;
    platform.settle().await;
    let table = platform.containers().environment().aws.dynamodb();
    let attribute = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = table.update_item().table_name(simulator::platform::TABLE);
    let update = update.key("pk", attribute(&format!("{PAGE}#{PSID}")));
    let update = update.key("sk", attribute("conversation"));
    let update = update.expression_attribute_names("#state", "state");
    let update = update.expression_attribute_values(":state", attribute(json));
    let update = match version {
        Some(version) => {
            let version = aws_sdk_dynamodb::types::AttributeValue::N(version.to_string());
            let set = "SET #state = :state, state_version = :version";
            update.update_expression(set).expression_attribute_values(":version", version)
        }
        None => update.update_expression("SET #state = :state REMOVE state_version"),
    };
    update.send().await.unwrap();
}

#[tokio::test]
async fn a_state_is_upgraded_kept_and_never_silently_replaced() {
    for (stored, version, said, dead) in [
        ("5", None, Some("RESPONSE 6"), 0),
        (r#"{"n":6}"#, Some(1), Some("RESPONSE 7"), 0),
        (r#"{"count":7}"#, Some(2), Some("RESPONSE 8"), 0),
        (r#"{"m":7}"#, Some(1), Some("RESPONSE begins at 0"), 0),
        (r#"{"m":7}"#, Some(2), Some("RESPONSE begins at 0"), 0),
        (r#"{"later":7}"#, Some(3), None, 1),
    ] {
        let platform = platform_with(|options| options.bot = Some(shared(Counting))).await;
        remember(&platform, stored, version).await;
        post(&platform, PSID, "hello").await;
        platform.advance(4 * MINUTE).await;
        let arrived = delivered(&platform, PSID);
        let arrived = arrived.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(arrived, ["RESPONSE 1"].into_iter().chain(said).collect::<Vec<_>>(), "{stored}");
        assert_eq!(reasons(&platform).len(), dead, "{stored}");
        let kept = conversation(&platform, PSID).await;
        let is_replaced = said.is_some_and(|said| !said.contains("begins"));
        assert_eq!(kept["state"].as_str() != Some(stored), is_replaced, "{stored}: {kept:?}");
        if is_replaced {
            assert_eq!(kept["state_version"], 2);
        }
    }
}

/// While a deployment runs, the version before it meets what the new one stored, and waits for it.
#[tokio::test]
async fn a_state_of_a_later_version_waits_for_that_version() {
    let platform = platform_with(|options| options.bot = Some(shared(Counting))).await;
    remember(&platform, r#"{"count":7}"#, Some(3)).await;
    post(&platform, PSID, "hello").await;
    platform.settle().await;
    assert_eq!(counted(&platform, "BotFailed"), 1);
    let table = Duration::from_secs(3);
    remember_version(&platform, 2).await;
    platform.advance(table).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE 1", "RESPONSE 8"]);
}

async fn remember_version(platform: &Platform, version: u32) {
    let table = platform.containers().environment().aws.dynamodb();
    let attribute = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = table.update_item().table_name(simulator::platform::TABLE);
    let update = update.key("pk", attribute(&format!("{PAGE}#{PSID}")));
    let update = update.key("sk", attribute("conversation"));
    let version = aws_sdk_dynamodb::types::AttributeValue::N(version.to_string());
    let update = update.update_expression("SET state_version = :version");
    update.expression_attribute_values(":version", version).send().await.unwrap();
}
