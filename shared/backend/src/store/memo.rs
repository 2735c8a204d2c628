//! Memos of what the bot did for an event, for its next try.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;
use serde_json::Value;

use super::{EntryKey, ExpiresAt, Store, StoreError, key, unavailable};
use messenger::clock::Timestamp;
use messenger::event::digest;

const MARK: &str = "once#";

/// What the table holds of a memo.
#[derive(Deserialize)]
struct MemoItem {
    /// The result, as JSON.
    result: String,
}

impl Store {
    /// What the bot did under this name for the event of an entry, if that was kept.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn memo(&self, entry: &EntryKey, name: &str) -> Result<Option<Value>, StoreError> {
        let pk = entry.conversation_key.pk();
        let item = self.get::<MemoItem>(&pk, &sort_key(entry, name)).await?;
        let read = |item: MemoItem| {
            serde_json::from_str(&item.result)
                .map_err(|_| StoreError::Malformed("a memo that is not JSON".to_owned()))
        };
        item.map(read).transpose()
    }

    /// Keeps what the bot did, in the place of what was kept before. An erasure meanwhile deletes it in its second
    /// pass.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn keep_memo(
        &self,
        entry: &EntryKey,
        name: &str,
        result: &Value,
        after_erasure: Option<Timestamp>,
        expires_at: ExpiresAt,
    ) -> Result<(), StoreError> {
        let mut item = key(&entry.conversation_key.pk(), &sort_key(entry, name));
        item.insert("result".to_owned(), AttributeValue::S(result.to_string()));
        item.insert("expires_at".to_owned(), expires_at.into_attribute());
        if let Some(erased_at) = after_erasure {
            let erased_at = AttributeValue::N(erased_at.millis().to_string());
            item.insert("after_erasure".to_owned(), erased_at);
        }
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(|error| unavailable(&error))
    }
}

/// Names are of any form and length, so a digest stands for them.
fn sort_key(entry: &EntryKey, name: &str) -> String {
    let name = digest(&["once", name]);
    format!("{MARK}{}#{}", entry.id, name.get(..32).unwrap_or(&name))
}
