//! Erasing a person: everything under their key goes, and a mark stays for what is still queued.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::update::IntoValue;
use super::{ConversationKey, ExpiresAt, Item, Store, StoreError, key, unavailable};
use messenger::clock::Timestamp;

/// For how long the mark stays: longer than an event can be queued, which is 14 days.
pub const ERASED_FOR: Duration = Duration::from_hours(24 * 15);

impl Store {
    /// Erases everything about a person; what arrived until `now` cannot bring it back.
    ///
    /// The conversation becomes a mark that holds nothing but the time, and expires. What is sent at
    /// this very moment loses its entry, so nothing comes after it.
    ///
    /// # Errors
    /// [`StoreError`]; calling it again completes the work.
    pub async fn erase(
        &self,
        conversation_key: &ConversationKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut mark = key(&conversation_key.pk(), super::conversation::SORT_KEY);
        mark.insert("erased_at".to_owned(), now.into_value());
        mark.insert("expires_at".to_owned(), ExpiresAt::after(now, ERASED_FOR).into_attribute());
        self.put(mark).await?;
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(conversation_key.pk()))
                .projection_expression("pk, sk")
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| unavailable(&error))?;
            for item in page.items.unwrap_or_default() {
                let is_mark = item.get("sk").and_then(|sk| sk.as_s().ok())
                    == Some(&super::conversation::SORT_KEY.to_owned());
                if !is_mark {
                    self.delete(item).await?;
                }
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn delete(&self, key: Item) -> Result<(), StoreError> {
        let request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
        request.send().await.map(drop).map_err(|error| unavailable(&error))
    }

    pub(super) async fn put(&self, item: Item) -> Result<(), StoreError> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(|error| unavailable(&error))
    }
}
