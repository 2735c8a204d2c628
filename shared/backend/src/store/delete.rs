//! Deletes items: one, one that still is as expected, or many side by side.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use futures_util::{TryStreamExt, stream};

use super::{Item, Store, StoreError, unavailable};

/// The most items that one call writes. Source: the quota of `BatchWriteItem`.
const AT_ONCE: usize = 25;

/// How many calls are made side by side.
const SIDE_BY_SIDE: usize = 8;

/// How often what the table left unprocessed is tried again, before it is left to a later run.
const MOST_TRIES: usize = 5;

impl Store {
    /// Deletes an item; one that is gone changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub(crate) async fn delete(&self, key: Item) -> Result<(), StoreError> {
        let request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
        request.send().await.map(drop).map_err(|error| unavailable(&error))
    }

    /// Deletes an item if a condition holds; otherwise it stays, and that is no error.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub(super) async fn delete_when(
        &self,
        key: Item,
        condition: &str,
        values: &[(&str, AttributeValue)],
    ) -> Result<(), StoreError> {
        let mut request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
        for (name, value) in values {
            request = request.expression_attribute_values(*name, value.clone());
        }
        match request.condition_expression(condition).send().await {
            Err(error)
                if !matches!(
                    error.as_service_error(),
                    Some(DeleteItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Err(unavailable(&error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Deletes items by their keys; deleting one that is gone changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] if some may remain.
    pub(crate) async fn delete_all(&self, keys: Vec<Item>) -> Result<(), StoreError> {
        let requests: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let delete = DeleteRequest::builder().set_key(Some(key)).build();
                delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
            })
            .collect::<Result<_, _>>()
            .map_err(|_| StoreError::Malformed("a key".to_owned()))?;
        let batches: Vec<_> = requests.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
        stream::iter(batches.into_iter().map(Ok))
            .try_for_each_concurrent(SIDE_BY_SIDE, |batch| self.write_batch(batch))
            .await
    }

    async fn write_batch(&self, mut batch: Vec<WriteRequest>) -> Result<(), StoreError> {
        for _ in 0..MOST_TRIES {
            let request = self.client.batch_write_item().request_items(&self.table, batch);
            let answer = request.send().await.map_err(|error| unavailable(&error))?;
            let left = answer.unprocessed_items.and_then(|mut left| left.remove(&self.table));
            batch = left.unwrap_or_default();
            if batch.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("items are left unprocessed".to_owned()))
    }
}
