//! When the table drops an item.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::update::IntoValue;
use messenger::clock::Timestamp;

/// When the table drops an item, in **seconds** since the epoch, as `DynamoDB`'s TTL wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExpiresAt(i64);

impl ExpiresAt {
    /// The expiry of what is kept for `retention` from `at` on.
    pub fn after(at: Timestamp, retention: Duration) -> Self {
        Self((at + retention).millis() / 1000)
    }

    /// Whether it has come: the table may take days to drop an item.
    pub fn is_over(self, now: Timestamp) -> bool {
        self.0.saturating_mul(1000) <= now.millis()
    }

    /// The expiry as an attribute of an item.
    pub(crate) fn into_attribute(self) -> AttributeValue {
        AttributeValue::N(self.0.to_string())
    }
}

impl IntoValue for ExpiresAt {
    fn into_value(self) -> AttributeValue {
        self.into_attribute()
    }
}
