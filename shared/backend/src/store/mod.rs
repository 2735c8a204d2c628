//! The table: conversations, outbox entries and Pages.
//!
//! Every change is one conditional `UpdateItem` or `PutItem`, so that its cost can be counted and
//! two functions can never both win.

mod change;
mod conversation;
mod conversations;
mod delete;
mod deletion;
mod entries;
mod entry;
mod erasure;
mod expiry;
mod failures;
mod keys;
mod lease;
mod memo;
mod page;
mod profile;
mod reason;
mod request;
mod thread;
mod timers;
mod update;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::DeserializeOwned;

pub use change::{Change, Guard, NextState, StepChange};
pub use conversation::{
    Acquired, AdWindow, AddedWaiting, ConversationItem, ConversationUpdate, Heard, LastMessage,
    NewState, PendingEntry, Receipt,
};
pub use deletion::{Deletion, DeletionState};
pub use entries::{CancelOutcome, Cancellation, Created};
pub use entry::{Entry, Status, Step, StepState, StoredTimer};
pub use erasure::{Cause, ERASED_FOR, ErasureJob, ErasureWork, PersonErasure, Unmarked};
pub use expiry::ExpiresAt;
pub use failures::FailedTry;
pub use keys::{EntryKey, StepKey};
pub(crate) use keys::{PRIVATE_REPLY, REQUESTED};
pub use lease::{EVENT_PROCESSOR, Lease, LeaseState, lease_state};
pub use page::{Due, DueClass, DueEntries, DueRest, PageItem, Pause};
pub use profile::KnownProfile;
pub use reason::Reason;
pub use thread::ClosedWindow;
use update::Update;

use crate::aws::describe;
use messenger::person::Person;

/// The index of the entries that wait.
pub const DUE_INDEX: &str = "due";

/// An item as the SDK hands it over.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Why the table did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `DynamoDB` did not answer, or refused.
    #[error("the table did not answer as it should: {0}")]
    Unavailable(String),
    /// `DynamoDB` refuses the request however often it is made: an item would be too large, for
    /// example.
    #[error("the table refuses a request: {0}")]
    Rejected(String),
    /// An item is not of the form that this version writes.
    #[error("an item of the table is not of the form that this version writes: {0}")]
    Malformed(String),
}

/// The person whose conversation it is, and the Page.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationKey {
    /// The Page's id.
    pub page_id: String,
    /// The person.
    pub person: Person,
}

impl ConversationKey {
    pub(crate) fn pk(&self) -> String {
        format!("{}#{}", self.page_id, self.person)
    }

    fn from_pk(pk: &str) -> Option<Self> {
        let (page_id, person) = pk.split_once('#')?;
        Some(Self { page_id: page_id.to_owned(), person: person.parse().ok()? })
    }
}

/// What came of a conditional update.
#[derive(Clone, Debug)]
pub(crate) enum Updated<T> {
    /// It is made: the item as it is now.
    Now(T),
    /// Its condition does not hold: the item as it is, if there is one.
    Unmet(Option<T>),
}

impl<T> Updated<T> {
    /// The item, if the update is made.
    fn now(self) -> Option<T> {
        match self {
            Self::Now(item) => Some(item),
            Self::Unmet(_) => None,
        }
    }

    /// The item, whether or not the update is made.
    fn item(self) -> Option<T> {
        match self {
            Self::Now(item) => Some(item),
            Self::Unmet(item) => item,
        }
    }

    /// Whether the update is made.
    const fn is_made(&self) -> bool {
        matches!(self, Self::Now(_))
    }
}

/// The table.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// Works on the table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    async fn get<T: DeserializeOwned>(&self, pk: &str, sk: &str) -> Result<Option<T>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(pk, sk)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        answer.item.map(parse).transpose()
    }

    /// Updates an item if the update's condition holds.
    async fn update<T: DeserializeOwned>(
        &self,
        pk: &str,
        sk: &str,
        update: Update,
    ) -> Result<Updated<T>, StoreError> {
        match update.send(&self.client, &self.table, key(pk, sk)).await {
            Ok(item) => parse(item).map(Updated::Now),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    failed.item.clone().map(parse).transpose().map(Updated::Unmet)
                }
                _ => Err(unavailable(&error)),
            },
        }
    }
}

pub(crate) fn key(pk: &str, sk: &str) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(pk.to_owned())),
        ("sk".to_owned(), AttributeValue::S(sk.to_owned())),
    ])
}

pub(crate) fn parse<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    // The reader's own words repeat the value that it stumbled over.
    serde_dynamo::from_item(item)
        .map_err(|_| StoreError::Malformed(format!("a {}", std::any::type_name::<T>())))
}

pub(crate) fn unavailable<E: ProvideErrorMetadata>(error: &SdkError<E>) -> StoreError {
    match error.code() {
        Some("ValidationException" | "ItemCollectionSizeLimitExceededException") => {
            StoreError::Rejected(describe(error))
        }
        _ => StoreError::Unavailable(describe(error)),
    }
}

impl StoreError {
    /// Whether the same request fails again, however often it is made.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Malformed(_))
    }
}
