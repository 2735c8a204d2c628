//! People: how their conversation stands, and forgetting them.

use std::time::Duration;

use backend::store::{ConversationItem, EntryKey, Hold, Who};
use backend::telemetry::Metric;
use futures_util::future::try_join_all;
use lambda_http::http::StatusCode;
use messenger::clock::Timestamp;
use messenger::window::SEVEN_DAYS;
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{About, Gives};
use crate::problem::Problem;
use crate::routes::Call;
use crate::{Answer, Api};

/// How often erasing waits for whoever is sending to the person.
const PATIENCE: usize = 5;

/// For how long an erasure may hold a conversation.
const ERASING: Duration = Duration::from_secs(30);

const PAGE_ID: (&str, &str) = ("page_id", "The Page.");

pub(crate) const READ: About = About {
    summary: "Tells how a conversation stands",
    query: &[PAGE_ID],
    answers: &[
        (200, "The conversation.", Gives::Schema("Person")),
        (404, "Nothing is known of the person, or the secret names no such Page.", Gives::Problem),
        (422, "A parameter is wrong.", Gives::Problem),
    ],
    ..About::NOTHING
};

pub(crate) const ERASE: About = About {
    summary: "Erases everything about a person",
    query: &[PAGE_ID],
    answers: &[
        (204, "Nothing is left of the person, and nothing that waits comes back.", Gives::Nothing),
        (404, "The secret names no such Page.", Gives::Problem),
        (422, "A parameter is wrong.", Gives::Problem),
    ],
    ..About::NOTHING
};

/// A conversation with a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Person {
    /// The Page.
    page_id: String,
    /// The person.
    psid: String,
    /// `messenger` or `instagram`.
    platform: &'static str,
    /// When the person last did what opens the window.
    #[schema(required, format = DateTime)]
    last_message_at: Option<String>,
    /// Until when anything may be sent; absent if the standard window is closed.
    #[schema(required, format = DateTime)]
    window_until: Option<String>,
    /// Until when a person's message may be sent; absent if that is over.
    #[schema(required, format = DateTime)]
    human_until: Option<String>,
    /// Until when the bot says nothing, because people took over.
    #[schema(required, format = DateTime)]
    quiet_until: Option<String>,
    /// Under what else the person was written to: `user_ref:…`, `comment:…`, `post:…`.
    known_as: Vec<String>,
    /// What waits, in the order in which it goes.
    waiting: Vec<WaitingMessage>,
}

/// A message that waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingMessage {
    /// Names it.
    id: String,
    /// When it is due.
    #[schema(required, format = DateTime)]
    due_at: Option<String>,
    /// Why it is sent.
    #[schema(schema_with = crate::openapi::purpose)]
    purpose: &'static str,
}

impl Api {
    /// Tells how a conversation stands.
    pub(crate) async fn read_person(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let who = self.who(&call).await?;
        let conversation = self.outbox.store().conversation(&who).await?;
        let Some(conversation) = conversation.filter(|conversation| !conversation.is_erased())
        else {
            let message = "nothing is known of this person";
            return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_person", message));
        };
        Answer::ok(&self.person(who, conversation).await?)
    }

    async fn person(&self, who: Who, conversation: ConversationItem) -> Result<Person, Problem> {
        let now = self.clock.now();
        let margin = self.outbox.settings().policy.margin;
        let ahead = |at: Option<Timestamp>| at.filter(|at| now <= *at).map(|at| at.to_string());
        let week = conversation.last_message_at.map(|at| at + SEVEN_DAYS);
        let waiting = conversation.waiting.iter().map(async |waiting| {
            let key = EntryKey { who: who.clone(), id: waiting.id.clone() };
            let entry = self.outbox.store().entry(&key).await?;
            Ok::<_, Problem>(entry.filter(backend::store::Entry::is_open).map(|entry| {
                WaitingMessage {
                    id: key.to_string(),
                    due_at: entry.due_at.map(|at| at.to_string()),
                    purpose: entry.purpose.name(),
                }
            }))
        });
        let waiting = try_join_all(waiting).await?.into_iter().flatten().collect();
        Ok(Person {
            platform: conversation.platform.name(),
            last_message_at: conversation.last_message_at.map(|at| at.to_string()),
            window_until: ahead(conversation.free_until.map(|at| at - margin)),
            human_until: ahead(week.max(conversation.free_until).map(|at| at - margin)),
            quiet_until: ahead(conversation.quiet_until),
            known_as: conversation.known_as.into_iter().collect(),
            waiting,
            page_id: who.page_id,
            psid: who.person,
        })
    }

    /// Erases everything about a person.
    pub(crate) async fn erase_person(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let who = self.who(&call).await?;
        self.erase(&who, call.invocation).await?;
        Ok(Answer::nothing())
    }

    /// Erases a person, and what was sent to them before their PSID was known.
    pub(crate) async fn erase(&self, who: &Who, invocation: &str) -> Result<(), Problem> {
        let conversation = self.outbox.store().conversation(who).await?.unwrap_or_default();
        let before = conversation.known_as.into_iter();
        let before = before.map(|person| Who { page_id: who.page_id.clone(), person });
        for who in before.chain([who.clone()]) {
            self.wait_for_senders(&who, invocation).await?;
            // Before the person's own items: among those are the marks by which the feed's are found.
            self.feed.erase(&who).await?;
            self.outbox.store().erase(&who, self.clock.now()).await?;
        }
        self.telemetry.count(Metric::Erased, &who.page_id, &[]);
        Ok(())
    }

    /// Lets whoever is sending to a person finish. One who died must not keep the data, so this ends.
    async fn wait_for_senders(&self, who: &Who, invocation: &str) -> Result<(), Problem> {
        for _ in 0..PATIENCE {
            let now = self.clock.now();
            let hold = Hold { by: invocation.to_owned(), until: now + ERASING, for_entry: None };
            if self.outbox.store().take_conversation(who, &hold, now).await?.is_some() {
                break;
            }
            self.clock.sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// The person of the path, at the Page of the query.
    async fn who(&self, call: &Call<'_>) -> Result<Who, Problem> {
        let page_id = call.query("page_id")?;
        let person = call.parameter("psid").to_owned();
        if person.contains(['#', ' ']) || person.len() > 200 {
            return Err(Problem::wrong("psid", "is no such id"));
        }
        if !self.secrets.current().await?.has_page(&page_id) {
            return Err(Problem::unknown_page());
        }
        Ok(Who { page_id, person })
    }
}
