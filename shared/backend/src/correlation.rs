//! One id for everything that is logged about an event and about what follows from it.
//!
//! It is that of the event, shortened: an entry of the outbox is called by it, and so are the follow-ups
//! that were decided with it. A message that a caller requested has its own.

use futures_util::future::BoxFuture;
use tracing::Instrument;

/// How much of an event's id is enough.
const LENGTH: usize = 32;

/// The name of the field in log lines and metrics.
pub const CORRELATION_ID: &str = "correlation_id";

tokio::task_local! {
    static CURRENT: String;
}

/// The correlation id of an event.
pub fn of_event(event_id: &str) -> &str {
    event_id.get(..LENGTH).unwrap_or(event_id)
}

/// Does something about an event or a message: each log line and each metric meanwhile carries its id.
///
/// The work is boxed, because a deep nest of calls is more than the compiler lays out in one piece.
pub async fn about<T>(correlation_id: &str, work: BoxFuture<'_, T>) -> T {
    // At the highest level, so that no log level hides it.
    let span = tracing::error_span!("about", correlation_id);
    CURRENT.scope(correlation_id.to_owned(), work.instrument(span)).await
}

/// The id of what is being done, if it is about an event or a message.
pub(crate) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}
