//! Inbound events, for systems that fetch them.

use backend::feed::{FeedPage, MAX_LIMIT};
use lambda_http::http::StatusCode;

use crate::answer::Answer;
use crate::api::Api;
use crate::problem::Problem;
use crate::route::Call;

pub(crate) struct Pull;

/// Returns a Page's inbound events in order, from the beginning or after a cursor
#[utoipa::path(
    get,
    path = "/events",
    impl_for = Pull,
    params(
        ("page_id" = String, Query, min_length = 1, description = "The Page's id."),
        ("after" = Option<String>, Query, min_length = 1, description = "The `next` of an earlier answer."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 100, description = "The maximum number of events, from 1 to 100; 100 by default."),
    ),
    responses(
        (status = 200, description = "The events, and the cursor to continue after.", body = FeedPage),
        (status = 404, description = "The secret does not contain the Page, or the feed is off.", body = Problem),
        (status = 422, description = "A parameter is invalid.", body = Problem),
    ),
)]
pub(crate) async fn pull(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let page_id = call.query("page_id")?;
    let after = call.optional_query("after");
    let limit = match call.optional_query("limit") {
        None => MAX_LIMIT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Problem::wrong("limit", "must be a number from 1 to 100"))?,
    };
    api.check_page(&call.caller, &page_id).await?;
    if !api.feed_is_on {
        let message = "the feed is off; set the template parameter EventFeed to on";
        return Err(Problem::new(StatusCode::NOT_FOUND, "feed_off", message));
    }
    Ok(Answer::ok(&api.feed.after(&page_id, after.as_deref(), limit).await?)?)
}
