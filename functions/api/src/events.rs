//! Inbound events, for systems that fetch them.

use backend::feed::MAX_LIMIT;
use lambda_http::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::openapi::{About, Gives};
use crate::problem::Problem;
use crate::routes::Call;
use crate::{Answer, Api};

pub(crate) const PULL: About = About {
    summary: "Gives a Page's inbound events in order, after a cursor or from the beginning",
    query: &[("page_id", "The Page.")],
    optional: &[
        ("after", "The `next` of an earlier answer."),
        ("limit", "How many events at most, 1 to 100; 100 if absent."),
    ],
    answers: &[
        (200, "The events, and where to go on.", Gives::Schema("Events")),
        (404, "The secret names no such Page, or the feed is off.", Gives::Problem),
        (422, "A parameter is wrong.", Gives::Problem),
    ],
    ..About::NOTHING
};

/// A part of a Page's feed.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what the library gives")]
pub(crate) struct Events {
    /// The events in order.
    results: Vec<FeedEvent>,
    /// The cursor to go on after.
    #[schema(required)]
    next: Option<String>,
    /// Whether there is more right now.
    more: bool,
}

/// An inbound event.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what the library gives")]
pub(crate) struct FeedEvent {
    /// The event's place in the feed.
    cursor: String,
    /// Names the event.
    id: String,
    /// `message`, `postback` and so on.
    kind: String,
    /// The Page.
    page_id: String,
    /// The person.
    #[schema(required)]
    psid: Option<String>,
    /// When it happened, ms since the epoch.
    #[schema(required)]
    at: Option<i64>,
    /// When it was received, ms since the epoch.
    received_at: i64,
    /// `messenger` or `instagram`.
    platform: String,
    /// Whether the event was too large and only its envelope is left.
    truncated: Option<bool>,
    /// The event as Meta sent it.
    #[schema(schema_with = crate::openapi::any_object)]
    event: Value,
}

impl Api {
    /// Gives a part of a Page's feed.
    pub(crate) async fn pull_events(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let page_id = call.query("page_id")?;
        let after = call.optional_query("after");
        let limit = match call.optional_query("limit") {
            None => MAX_LIMIT,
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Problem::wrong("limit", "is no number from 1 to 100"))?,
        };
        if !self.secrets.current().await?.has_page(&page_id) {
            return Err(Problem::unknown_page());
        }
        if !self.feed_is_on {
            let message = "the feed is off: set the template parameter EventFeed to on";
            return Err(Problem::new(StatusCode::NOT_FOUND, "feed_off", message));
        }
        Answer::ok(&self.feed.after(&page_id, after.as_deref(), limit).await?)
    }
}
