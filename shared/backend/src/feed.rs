//! The feed: a Page's events in order, for systems that fetch them.
//!
//! A reader continues after the last cursor that it received, so no event may ever become visible
//! before that cursor. A cursor begins with the clock's time of the write, and the reader receives only
//! events older than [`SETTLE_TIME`]: the time is taken right before a call that ends within
//! [`CALL_TIMEOUT`], and the rest of the span allows for a request still in flight and for differing
//! clocks. A counter per Page would need no such span, but every event of a Page would wait for all the
//! others' transactions; an index by time may lag by any span. The order is that of processing: a
//! person's events can change places only if two functions process them within the difference of their
//! clocks, which is milliseconds on AWS.
//!
//! A repeated event must be recognized although its time differs: next to the event there is a mark,
//! `<page>#<person>` / `feed#<event id>`, which contains the event's cursor. Both are written in one
//! transaction that fails if the mark exists. The mark is also how a person's events are found when the
//! person is erased ([`Feed::erase`]). An event costs four write units (two items, twice each because of the
//! transaction), more if it is larger than 1 KB, and a read of its person's conversation.
//!
//! That read comes after the write: an erasure marks the conversation first and then deletes what it finds
//! in the feed, so either it finds the event, or the event's writer finds the mark and deletes the event
//! itself, within the span in which no reader receives it. A condition in the transaction would cost two
//! write units more, and would conflict with whoever writes to the conversation at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::aws::CALL_TIMEOUT;
use crate::runtime::Environment;
use crate::store::{ConversationKey, ExpiresAt, Item, Store, StoreError, key, parse, unavailable};
use messenger::clock::{SharedClock, Timestamp};
use messenger::event::{Inbound, WriteError};

/// The age at which an event becomes visible; nothing can become visible before it afterwards.
pub const SETTLE_TIME: Duration = Duration::from_secs(20);

// The write, and then the read of the conversation and the deletion of an erased person's event.
const _: () = assert!(SETTLE_TIME.as_secs() >= 3 * CALL_TIMEOUT.as_secs());

/// The switch of the feed: `on` or `off`.
pub const FEED: &str = "FEED";

/// The maximum number of events in one answer, which also ends at 1 MB.
pub const MAX_LIMIT: u16 = 100;

/// The maximum size of an event in bytes: an item of the table holds 400 KB.
const MAX_EVENT_BYTES: usize = 390 * 1024;

/// The prefix of a mark's sort key, before the event's id.
pub(crate) const MARK: &str = "feed#";

/// Why the feed was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The cursor is not one that the feed returned.
    #[error("after: is not a cursor of this feed; give the next of an earlier answer, or omit it")]
    BadCursor,
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event cannot be serialized.
    #[error("cannot serialize an event: {0}")]
    Unwritable(#[from] WriteError),
    /// A request to the table cannot be built.
    #[error("cannot build a request to the table: {0}")]
    Unbuildable(#[from] BuildError),
}

/// A slice of a Page's feed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Events)]
pub struct FeedPage {
    /// The events after the cursor, in the order in which they were processed.
    pub results: Vec<FeedItem>,
    /// The cursor to continue after: the given one if there is no event, null at the start of the feed.
    #[schema(required)]
    pub next: Option<String>,
    /// Whether more events are available now.
    pub more: bool,
}

/// An event of the feed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FeedEvent)]
pub struct FeedItem {
    /// The event's position in the Page's feed: digits, letters and a dot.
    pub cursor: String,
    /// The event.
    #[serde(flatten)]
    pub inbound: Inbound,
}

#[derive(Deserialize)]
struct StoredItem {
    sk: String,
    event: String,
}

#[derive(Deserialize)]
struct Mark {
    sk: String,
    cursor: String,
    #[serde(default)]
    happened_at: Option<Timestamp>,
}

/// The feeds of all Pages.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    store: Store,
    table: String,
    clock: SharedClock,
    retention: Duration,
    latest: AtomicI64,
}

impl Feed {
    /// Reads `TABLE_NAME` and `FEED_RETENTION_DAYS`.
    pub fn new(environment: &Environment) -> Self {
        let variables = &environment.variables;
        let (client, table) = (environment.aws.dynamodb(), variables.required("TABLE_NAME"));
        Self {
            store: Store::new(client.clone(), table.clone()),
            client,
            table,
            clock: Arc::clone(&environment.clock),
            retention: variables.days("FEED_RETENTION_DAYS", 7, 2..=365),
            latest: AtomicI64::new(0),
        }
    }

    /// The feed if the variable [`FEED`] is on.
    pub fn if_on(environment: &Environment) -> Option<Self> {
        environment.variables.is_on(FEED).then(|| Self::new(environment))
    }

    /// Adds an event to its Page's feed, unless it is already there or its person was erased after it
    /// happened.
    ///
    /// # Errors
    /// [`FeedError`] if it may not have been added; adding it again is safe.
    pub async fn add(
        &self,
        event: Inbound,
        whose: Option<&ConversationKey>,
        happened_at: Timestamp,
    ) -> Result<(), FeedError> {
        let page_id = event.page_id.clone();
        let at = self.next_instant();
        let cursor = format!("{:013}.{}", at.millis(), event.id);
        let expires_at = ExpiresAt::after(at, self.retention);
        // An event without a person has its mark in a partition that no person's key can name.
        let pk = whose.map_or_else(|| format!("{page_id}#"), ConversationKey::pk);
        let mark_key = key(&pk, &format!("{MARK}{}", event.id));
        let mut mark = mark_key.clone();
        mark.insert("cursor".to_owned(), AttributeValue::S(cursor.clone()));
        let millis = happened_at.millis().to_string();
        mark.insert("happened_at".to_owned(), AttributeValue::N(millis));
        let mut item = key(&feed_pk(&page_id), &cursor);
        item.insert("event".to_owned(), AttributeValue::S(event.into_text(MAX_EVENT_BYTES)?));
        let put = |mut item: Item| {
            item.insert("expires_at".to_owned(), expires_at.into_attribute());
            Put::builder().table_name(&self.table).set_item(Some(item))
        };
        let mark = put(mark).condition_expression("attribute_not_exists(pk)").build()?;
        let write = |put: Put| TransactWriteItem::builder().put(put).build();
        let request = self.client.transact_write_items();
        let request = request.transact_items(write(mark)).transact_items(write(put(item).build()?));
        let cursor = match request.send().await {
            Ok(_) => Some(cursor),
            Err(error) if error.as_service_error().is_some_and(is_there) => None,
            Err(error) => return Err(unavailable(&error).into()),
        };
        let Some(conversation_key) = whose else { return Ok(()) };
        if self.store.was_erased_after(conversation_key, happened_at).await? {
            self.take_back(&page_id, cursor, mark_key).await?;
        }
        Ok(())
    }

    /// Deletes an event; its cursor is not known if it had been added before.
    async fn take_back(
        &self,
        page_id: &str,
        cursor: Option<String>,
        mark_key: Item,
    ) -> Result<(), FeedError> {
        let cursor = if let Some(cursor) = cursor {
            cursor
        } else {
            let request = self.client.get_item().table_name(&self.table).consistent_read(true);
            let answer = request.set_key(Some(mark_key.clone())).send().await;
            let mark = answer.map_err(|error| unavailable(&error))?.item;
            let Some(mark) = mark.map(parse::<Mark>).transpose()? else { return Ok(()) };
            mark.cursor
        };
        // The mark last: without it the event would not be found again.
        self.store.delete(key(&feed_pk(page_id), &cursor)).await?;
        Ok(self.store.delete(mark_key).await?)
    }

    /// The events of a Page after a cursor, or from the beginning, at most `limit` of them.
    ///
    /// The same cursor returns the same events again, until they expire, followed by later ones. `limit`
    /// is clamped to 1 to [`MAX_LIMIT`].
    ///
    /// # Errors
    /// [`FeedError::BadCursor`] if the cursor is not valid; [`FeedError::Store`] if the table fails.
    pub async fn after(
        &self,
        page_id: &str,
        after: Option<&str>,
        limit: u16,
    ) -> Result<FeedPage, FeedError> {
        let from = match after {
            None => "0".to_owned(),
            // Right behind the cursor: no key is a longer form of another one.
            Some(cursor) if is_cursor(cursor) => format!("{cursor}~"),
            Some(_) => return Err(FeedError::BadCursor),
        };
        // The table drops what has expired within days, and not at once.
        let expired = (self.clock.now() - self.retention).millis();
        let from = from.max(format!("{expired:013}"));
        let nothing =
            || FeedPage { results: Vec::new(), next: after.map(str::to_owned), more: false };
        let settled = (self.clock.now() - SETTLE_TIME).millis();
        let settled = format!("{settled:013}");
        if from >= settled {
            return Ok(nothing());
        }
        let limit = limit.clamp(1, MAX_LIMIT);
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :page AND sk BETWEEN :from AND :settled")
            .expression_attribute_values(":page", AttributeValue::S(feed_pk(page_id)))
            .expression_attribute_values(":from", AttributeValue::S(from))
            .expression_attribute_values(":settled", AttributeValue::S(settled))
            .limit(i32::from(limit) + 1)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let mut items = answer.items.unwrap_or_default();
        let more = items.len() > usize::from(limit) || answer.last_evaluated_key.is_some();
        items.truncate(usize::from(limit));
        let results = items.into_iter().map(FeedItem::read).collect::<Result<Vec<_>, _>>()?;
        Ok(match results.last() {
            Some(last) => FeedPage { next: Some(last.cursor.clone()), results, more },
            None => nothing(),
        })
    }

    /// Deletes a person's events from the feed of their Page that happened until an erasure.
    ///
    /// # Errors
    /// [`FeedError`] if some may remain; calling it again completes the work.
    pub async fn erase(
        &self,
        conversation_key: &ConversationKey,
        erased_at: Timestamp,
    ) -> Result<(), FeedError> {
        let mut from = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :person AND begins_with(sk, :mark)")
                .expression_attribute_values(":person", AttributeValue::S(conversation_key.pk()))
                .expression_attribute_values(":mark", AttributeValue::S(MARK.to_owned()))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| unavailable(&error))?;
            let (mut events, mut marks) = (Vec::new(), Vec::new());
            for item in answer.items.unwrap_or_default() {
                let Mark { sk, cursor, happened_at } = parse(item)?;
                if happened_at.is_none_or(|at| at <= erased_at) {
                    events.push(key(&feed_pk(&conversation_key.page_id), &cursor));
                    marks.push(key(&conversation_key.pk(), &sk));
                }
            }
            // The marks last: without them the events would not be found again.
            self.store.delete_all(events).await?;
            self.store.delete_all(marks).await?;
            from = answer.last_evaluated_key;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// The current time, advanced so that no two events of this function have the same time.
    fn next_instant(&self) -> Timestamp {
        let now = self.clock.now().millis();
        let next = |latest: i64| now.max(latest + 1);
        let before = self
            .latest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |latest| Some(next(latest)));
        Timestamp::from_millis(next(before.unwrap_or_else(|latest| latest)))
    }
}

impl FeedItem {
    fn read(item: Item) -> Result<Self, StoreError> {
        let StoredItem { sk: cursor, event } = parse(item)?;
        let inbound = serde_json::from_str(&event)
            .map_err(|_| StoreError::Malformed("an event of the feed".to_owned()))?;
        Ok(Self { cursor, inbound })
    }
}

fn feed_pk(page_id: &str) -> String {
    format!("feed#{page_id}")
}

fn is_cursor(text: &str) -> bool {
    text.len() <= 200
        && text.split_once('.').is_some_and(|(millis, id)| {
            millis.len() == 13
                && millis.bytes().all(|byte| byte.is_ascii_digit())
                && !id.is_empty()
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// Whether the transaction failed because the mark exists.
fn is_there(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        return false;
    };
    let mut reasons = cancelled.cancellation_reasons().iter();
    reasons.any(|reason| reason.code() == Some("ConditionalCheckFailed"))
}
