//! Publishes events to other systems: in the feed, and to the forward queue.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::MessageAttributeValue;
use futures_util::future::{try_join, try_join_all};
use messenger::clock::Timestamp;
use messenger::event::{
    Event, Inbound, MAX_RECORD_BYTES, Platform, TimeSource, WriteError, digest,
};
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::answer::Message;
use crate::aws::describe;
use crate::correlation::{CORRELATION_ID, of_event};
use crate::feed::{Feed, FeedError};
use crate::forward::{Destinations, URL_ATTRIBUTE};
use crate::runtime::Environment;
use crate::store::{ConversationKey, Entry, EntryKey};

/// The kind of the event that says how a message ended.
const ENDED: &str = "message_ended";

/// The kind of the event that says that the bot handed over.
const HANDED_OVER: &str = "handed_over";

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It may not be in the feed.
    #[error("the feed was not written: {0}")]
    Feed(#[from] FeedError),
    /// It may not be in the forward queue.
    #[error("the forward queue did not answer as it should: {0}")]
    Queue(String),
    /// A message for the forward queue cannot be built.
    #[error("a message cannot be built: {0}")]
    Unbuildable(#[from] BuildError),
    /// It cannot be written as JSON.
    #[error("an event cannot be written: {0}")]
    Unwritable(#[from] WriteError),
}

impl PublishError {
    /// Whether the same event fails again, however often it is published.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Feed(FeedError::Store(error)) => error.is_permanent(),
            Self::Feed(FeedError::Unwritable(_)) | Self::Unwritable(_) => true,
            Self::Feed(_) | Self::Queue(_) | Self::Unbuildable(_) => false,
        }
    }
}

/// Publishes events, if that is switched on.
#[derive(Debug)]
pub struct Publisher {
    feed: Option<Feed>,
    forward: Option<ForwardQueue>,
}

/// The queue of what is forwarded, with one message for each event and URL.
#[derive(Debug)]
struct ForwardQueue {
    sqs: Client,
    url: String,
    destinations: Destinations,
}

impl Publisher {
    /// Reads `FEED`, `FORWARD_URLS` and, if they name any, `FORWARD_QUEUE_URL`.
    pub fn new(environment: &Environment) -> Self {
        let forward = Destinations::new(&environment.variables).map(|destinations| ForwardQueue {
            sqs: environment.aws.sqs(),
            url: environment.variables.required("FORWARD_QUEUE_URL"),
            destinations,
        });
        Self { feed: Feed::if_on(environment), forward }
    }

    /// Whether publishing is switched off.
    pub fn is_off(&self) -> bool {
        self.feed.is_none() && self.forward.is_none()
    }

    /// Publishes an event: once in the feed, and to the forward queue at every call.
    ///
    /// # Errors
    /// [`PublishError`] if it may not be published everywhere; publishing it again is safe.
    pub async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        let person = event.person.clone();
        let page_id = &event.page_id;
        let whose = person.map(|person| ConversationKey { page_id: page_id.clone(), person });
        let correlation_id = of_event(&event.id);
        let inbound = Inbound::from_event(event)?;
        self.spread(inbound, whose.as_ref(), event.happened_at(), correlation_id).await
    }

    /// Publishes how a message ended, as `GET /messages/{id}` shows it; without the entry, because it
    /// cannot be read, that it failed.
    ///
    /// # Errors
    /// [`PublishError`] if it may not be published everywhere; publishing it again is safe.
    pub(crate) async fn publish_end(
        &self,
        key: &EntryKey,
        entry: Option<Entry>,
        platform: Platform,
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let whose = &key.conversation_key;
        let ended_at = entry.as_ref().and_then(|entry| entry.ended_at).unwrap_or(now);
        let requested_at = entry.as_ref().map_or(ended_at, |entry| entry.decided_at.min(ended_at));
        // It belongs to what came after the erasure that the entry knows of, whatever the clocks say, and
        // goes with the next one.
        let known = entry.as_ref().and_then(|entry| entry.after_erasure);
        let judged_by = known.map_or(BEFORE_ALL, |erased_at| erased_at + Duration::from_millis(1));
        let event = match entry {
            Some(entry) => to_raw_value(&Message::new(key, entry)),
            None => to_raw_value(&Unreadable {
                id: key.to_string(),
                status: "failed",
                reason: "malformed",
            }),
        };
        let inbound = Inbound {
            id: end_id(key),
            kind: ENDED.to_owned(),
            page_id: whose.page_id.clone(),
            psid: Some(whose.person.to_string()),
            at: Some(ended_at),
            time_source: TimeSource::Event,
            received_at: requested_at,
            platform,
            truncated: false,
            event: event?,
        };
        self.spread(inbound, Some(whose), judged_by, &key.correlation_id()).await
    }

    /// Publishes that the bot handed a conversation over to people, and why.
    ///
    /// # Errors
    /// [`PublishError`] if it may not be published everywhere; publishing it again is safe.
    pub(crate) async fn publish_hand_over(
        &self,
        key: &EntryKey,
        entry: &Entry,
        reason: &str,
        platform: Platform,
    ) -> Result<(), PublishError> {
        let whose = &key.conversation_key;
        let inbound = Inbound {
            id: digest(&[HANDED_OVER, &key.to_string()]),
            kind: HANDED_OVER.to_owned(),
            page_id: whose.page_id.clone(),
            psid: Some(whose.person.to_string()),
            at: Some(entry.decided_at),
            time_source: TimeSource::Event,
            received_at: entry.decided_at,
            platform,
            truncated: false,
            event: to_raw_value(&HandedOver { reason })?,
        };
        let happened_at = entry.caused_at.unwrap_or(entry.decided_at);
        self.spread(inbound, Some(whose), happened_at, &key.correlation_id()).await
    }

    async fn spread(
        &self,
        inbound: Inbound,
        whose: Option<&ConversationKey>,
        happened_at: Timestamp,
        correlation_id: &str,
    ) -> Result<(), PublishError> {
        let feed = async {
            match &self.feed {
                Some(feed) => Ok(feed.add(inbound.clone(), whose, happened_at).await?),
                None => Ok(()),
            }
        };
        let forward = async {
            match &self.forward {
                Some(queue) => queue.send(inbound.clone(), correlation_id).await,
                None => Ok(()),
            }
        };
        try_join(feed, forward).await.map(drop)
    }
}

/// Before every erasure.
const BEFORE_ALL: Timestamp = Timestamp::from_millis(0);

/// The id of the event that says how a message ended.
pub fn end_id(key: &EntryKey) -> String {
    digest(&[ENDED, &key.to_string()])
}

/// Why people answer from now on.
#[derive(Serialize)]
struct HandedOver<'a> {
    reason: &'a str,
}

/// What is left of a message that cannot be read.
#[derive(Serialize)]
struct Unreadable {
    id: String,
    status: &'static str,
    reason: &'static str,
}

impl ForwardQueue {
    async fn send(&self, inbound: Inbound, correlation_id: &str) -> Result<(), PublishError> {
        let text = inbound.into_text(MAX_RECORD_BYTES)?;
        let urls = self.destinations.urls.iter();
        let messages = urls.map(|url| self.send_to(url.as_str(), &text, correlation_id));
        try_join_all(messages).await.map(drop)
    }

    async fn send_to(
        &self,
        url: &str,
        text: &str,
        correlation_id: &str,
    ) -> Result<(), PublishError> {
        let mut message = self.sqs.send_message().queue_url(&self.url).message_body(text);
        for (name, value) in [(URL_ATTRIBUTE, url), (CORRELATION_ID, correlation_id)] {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            message = message.message_attributes(name, value.build()?);
        }
        let answer = message.send().await;
        answer.map(drop).map_err(|error| PublishError::Queue(describe(&error)))
    }
}
