//! The table, in an embedded `DynamoDB` that the functions call over HTTP with the real SDK.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};
use backend::store::DUE_INDEX;
use dynoxide::Database;
use messenger::clock::Clock;
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::clock::VirtualClock;

struct TtlClock(Arc<VirtualClock>);

impl dynoxide::storage_backend::Clock for TtlClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.0.now().millis() / 1000).unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
    fn now_unix_secs_f64(&self) -> f64 {
        self.0.now().millis() as f64 / 1000.0
    }
}

/// Opens the database: in memory, or in a file.
///
/// # Errors
/// If the file cannot be used.
pub fn open(data: Option<&Path>, clock: &Arc<VirtualClock>) -> Result<Database, Box<dyn Error>> {
    Ok(match data {
        Some(path) => Database::new(&path.to_string_lossy())?,
        None => Database::memory_with_clock(Arc::new(TtlClock(Arc::clone(clock))))?,
    })
}

/// Serves the database until the task is aborted.
pub async fn serve(listener: TcpListener, database: Database) {
    let never = std::future::pending();
    let _ = dynoxide::server::serve_with_shutdown(listener, database, never).await;
}

/// Creates the table as in `template.yaml`, unless it exists.
///
/// # Errors
/// If the database refuses.
pub async fn create_table(client: &Client, name: &str) -> Result<(), Box<dyn Error>> {
    let existing = client.list_tables().send().await?;
    if existing.table_names().iter().any(|table| table == name) {
        return Ok(());
    }
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
    };
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(DUE_INDEX)
        .key_schema(key("due_page", KeyType::Hash)?)
        .key_schema(key("due_at", KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()?;
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("due_page", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N)?)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .global_secondary_indexes(index)
        .send()
        .await?;
    let ttl =
        TimeToLiveSpecification::builder().attribute_name("expires_at").enabled(true).build()?;
    client.update_time_to_live().table_name(name).time_to_live_specification(ttl).send().await?;
    Ok(())
}

/// When the first item in a partition of the index is due, ms since the epoch.
///
/// # Errors
/// If the database does not answer.
pub async fn next_due(
    client: &Client,
    table: &str,
    partition: &str,
) -> Result<Option<i64>, Box<dyn Error>> {
    let query = client.query().table_name(table).index_name(DUE_INDEX).limit(1);
    let answer = query
        .key_condition_expression("due_page = :partition")
        .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
        .send()
        .await?;
    let first = answer.items().first().and_then(|item| item["due_at"].as_n().ok());
    Ok(first.map(|at| at.parse()).transpose()?)
}

/// Deletes the items whose time to live has passed, as AWS does within days, and that are `wanted`; the
/// items as they were.
///
/// # Errors
/// If the database does not answer.
pub async fn expire(
    client: &Client,
    table: &str,
    now_secs: i64,
    wanted: impl Fn(&Map<String, Value>) -> bool,
) -> Result<Vec<Map<String, Value>>, Box<dyn Error>> {
    let has_expired = |item: &Map<String, Value>| {
        item.get("expires_at").and_then(Value::as_i64).is_some_and(|at| at <= now_secs)
    };
    let mut expired = items(client, table).await?;
    expired.retain(|item| has_expired(item) && wanted(item));
    for item in &expired {
        let name = |key: &str| AttributeValue::S(item[key].as_str().unwrap_or_default().into());
        let delete = client.delete_item().table_name(table);
        delete.key("pk", name("pk")).key("sk", name("sk")).send().await?;
    }
    Ok(expired)
}

/// Everything in the table, as JSON.
///
/// # Errors
/// If the database does not answer.
pub async fn items(
    client: &Client,
    table: &str,
) -> Result<Vec<Map<String, Value>>, Box<dyn Error>> {
    let mut items = Vec::new();
    let mut from: Option<std::collections::HashMap<String, AttributeValue>> = None;
    loop {
        let scan = client.scan().table_name(table).consistent_read(true);
        let page = scan.set_exclusive_start_key(from).send().await?;
        for item in page.items.unwrap_or_default() {
            items.push(serde_dynamo::from_item(item)?);
        }
        from = page.last_evaluated_key;
        if from.is_none() {
            return Ok(items);
        }
    }
}
