//! Publishes inbound events to other systems: in the feed, and to the forward queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::MessageAttributeValue;
use backend::aws::describe;
use backend::feed::{Feed, FeedError};
use backend::forward::{Destinations, URL_ATTRIBUTE};
use backend::runtime::Environment;
use futures_util::future::{try_join, try_join_all};
use messenger::event::{Event, Inbound, Kind, MAX_RECORD_BYTES, WriteError};

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
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

/// Publishes events, if that is switched on.
#[derive(Debug)]
pub(crate) struct Publisher {
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
    pub(crate) fn new(environment: &Environment) -> Self {
        let forward = Destinations::new(&environment.variables).map(|destinations| ForwardQueue {
            sqs: environment.aws.sqs(),
            url: environment.variables.required("FORWARD_QUEUE_URL"),
            destinations,
        });
        Self { feed: Feed::if_on(environment), forward }
    }

    /// Whether publishing is switched off.
    pub(crate) fn is_off(&self) -> bool {
        self.feed.is_none() && self.forward.is_none()
    }

    /// Publishes an event, unless it is a receipt: once in the feed, and to the forward queue at every
    /// call.
    pub(crate) async fn publish(&self, event: &Event) -> Result<(), PublishError> {
        if self.is_off() || matches!(event.kind, Kind::Delivery(_) | Kind::Read(_)) {
            return Ok(());
        }
        let feed = async {
            match &self.feed {
                Some(feed) => Ok(feed.add(event).await?),
                None => Ok(()),
            }
        };
        let forward = async {
            match &self.forward {
                Some(queue) => queue.send(event).await,
                None => Ok(()),
            }
        };
        try_join(feed, forward).await.map(drop)
    }
}

impl ForwardQueue {
    async fn send(&self, event: &Event) -> Result<(), PublishError> {
        let text = Inbound::from_event(event)?.into_text(MAX_RECORD_BYTES)?;
        let messages = self.destinations.urls.iter().map(|url| self.send_to(url.as_str(), &text));
        try_join_all(messages).await.map(drop)
    }

    async fn send_to(&self, url: &str, text: &str) -> Result<(), PublishError> {
        let url = MessageAttributeValue::builder().data_type("String").string_value(url).build()?;
        let message = self.sqs.send_message().queue_url(&self.url).message_body(text);
        let answer = message.message_attributes(URL_ATTRIBUTE, url).send().await;
        answer.map(drop).map_err(|error| PublishError::Queue(describe(&error)))
    }
}
