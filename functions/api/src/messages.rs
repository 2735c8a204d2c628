//! Messages: asked for, looked up, cancelled.

use backend::outbox::{ToSchedule, Turn};
use backend::request;
use backend::store::{CancelOutcome, Cancellation, Entry, EntryKey, Status, Step};
use lambda_http::http::StatusCode;
use messenger::clock::Timestamp;
use messenger::event::digest;
use messenger::window::Allowed;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::openapi::{About, Gives, Takes};
use crate::problem::Problem;
use crate::routes::Call;
use crate::{Answer, Api};

/// The header that names a request, so that a repeated one is the same message.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The most characters of an idempotency key.
const LONGEST_KEY: usize = 128;

pub(crate) const CREATE: About = About {
    summary: "Sends a message, now or later, if the windows allow it",
    headers: &[(
        IDEMPOTENCY_KEY,
        "Names the request: the same again is the same message. At most 128 visible characters.",
    )],
    takes: Takes::Message,
    answers: &[
        (200, "This request was made before: the message as it is now.", Gives::Schema("Message")),
        (201, "It was tried at once: the message after that.", Gives::Schema("Message")),
        (202, "It waits until it is due, or to be tried again.", Gives::Schema("Message")),
        (400, "The body is not JSON.", Gives::Problem),
        (404, "The secret names no such Page.", Gives::Problem),
        (
            409,
            "Refused by the windows: nothing is stored, and `allowed` tells what would be. Or too many wait, or the comment has its reply.",
            Gives::Problem,
        ),
        (413, "The body is too large.", Gives::Problem),
        (415, "The body is not declared as JSON.", Gives::Problem),
        (422, "A field is wrong, or the key stood for another request.", Gives::Problem),
    ],
    ..About::NOTHING
};

pub(crate) const READ: About = About {
    summary: "Tells how a message stands",
    answers: &[
        (200, "The message.", Gives::Schema("Message")),
        (404, "There is no such message, or it has expired.", Gives::Problem),
    ],
    ..About::NOTHING
};

pub(crate) const CANCEL: About = About {
    summary: "Cancels a message that waits",
    answers: &[
        (200, "The message, cancelled.", Gives::Schema("Message")),
        (404, "There is no such message, or it has expired.", Gives::Problem),
        (409, "It is being sent, or has ended.", Gives::Problem),
    ],
    ..About::NOTHING
};

/// A message of the outbox.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    /// Names it; opaque, but an encoding and no secret.
    id: String,
    /// The Page.
    page_id: String,
    /// The person; of a `user_ref`, a comment or a post once an echo has named them.
    #[schema(required)]
    psid: Option<String>,
    /// How it stands.
    #[schema(schema_with = crate::openapi::status)]
    status: &'static str,
    /// Why it ended, or why it still waits.
    #[schema(required)]
    reason: Option<String>,
    /// Why it is sent.
    #[schema(schema_with = crate::openapi::purpose)]
    purpose: &'static str,
    /// Who wrote it.
    #[schema(required)]
    author: Option<String>,
    /// When it is due, while it waits.
    #[schema(required, format = DateTime)]
    due_at: Option<String>,
    /// When it was asked for.
    #[schema(format = DateTime)]
    decided_at: String,
    /// When trying ends.
    #[schema(format = DateTime)]
    give_up_at: String,
    /// When it ended.
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    /// How often sending was begun.
    attempts: u64,
    /// Why the fallback template goes instead, if it does.
    #[schema(required)]
    fallback_reason: Option<String>,
    /// What it consists of, in order.
    steps: Vec<MessageStep>,
}

/// One message, or sender action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageStep {
    /// How it stands.
    #[schema(schema_with = crate::openapi::step_state)]
    state: &'static str,
    /// How often it was, or may have been, given to Meta.
    sends: u64,
    /// Meta's id of it.
    #[schema(required)]
    mid: Option<String>,
}

impl Message {
    fn of(key: &EntryKey, entry: Entry) -> Self {
        let instant = |at: Timestamp| at.to_string();
        let own = key.who.is_psid().then(|| key.who.person.clone());
        let step =
            |step: Step| MessageStep { state: step.state.name(), sends: step.sends, mid: step.mid };
        Self {
            id: key.to_string(),
            page_id: key.who.page_id.clone(),
            psid: own.or(entry.psid),
            status: entry.status.name(),
            reason: entry.reason.map(|reason| reason.to_string()),
            purpose: entry.purpose.name(),
            author: entry.author,
            due_at: entry.due_at.filter(|_| entry.status == Status::Open).map(instant),
            decided_at: instant(entry.decided_at),
            give_up_at: instant(entry.give_up_at),
            ended_at: entry.ended_at.map(instant),
            attempts: entry.attempts,
            fallback_reason: entry.fallback_reason.map(|reason| reason.to_string()),
            steps: entry.steps.into_iter().map(step).collect(),
        }
    }
}

impl Api {
    /// Stores a message that the windows allow, and tries it at once if it is due.
    pub(crate) async fn create_message(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let body = call.json()?;
        let named = self.name_request(&call, &body).await?;
        let wanted = request::read(&body, &named, self.clock.now())?;
        let store = self.outbox.store();
        let key = EntryKey { who: wanted.who.clone(), id: wanted.id.clone() };
        if let Some(there) = store.entry(&key).await? {
            return Answer::ok(&Message::of(&key, there));
        }
        let key = match self.schedule(&call, wanted).await? {
            (key, true) => key,
            (key, false) => return Answer::ok(&self.message(&key).await?),
        };
        let message = self.message(&key).await?;
        let is_open = message.status == Status::Open.name();
        let status = if is_open { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        Answer::json(status, &message)
    }

    /// The name of a request, which makes its message: the caller's, or this invocation's.
    async fn name_request(&self, call: &Call<'_>, body: &Value) -> Result<String, Problem> {
        let Some(given) = call.request.headers().get(IDEMPOTENCY_KEY) else {
            return Ok(call.invocation.to_owned());
        };
        let key = given.to_str().ok().map(str::trim);
        let Some(key) = key.filter(|key| (1..=LONGEST_KEY).contains(&key.len())) else {
            return Err(Problem::wrong(IDEMPOTENCY_KEY, "must be 1 to 128 visible characters"));
        };
        if !body["id"].is_null() {
            return Err(Problem::wrong("id", "stands beside the header; give one of them"));
        }
        let name = digest(&["idempotency-key", key]);
        let fingerprint = digest(&[&body.to_string()]);
        if self.outbox.store().claim_name(&name, &fingerprint, self.clock.now()).await? {
            return Ok(format!("idempotency-key {key}"));
        }
        let message = "this key stood for another request";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Err(Problem::new(status, "key_reused", message).at(IDEMPOTENCY_KEY))
    }

    /// Stores a message and serves the person if it is due: where it is, and whether it is new.
    async fn schedule(
        &self,
        call: &Call<'_>,
        wanted: ToSchedule,
    ) -> Result<(EntryKey, bool), Problem> {
        let policy = &self.outbox.settings().policy;
        let outlook = self.outbox.outlook(&wanted).await?;
        if let Err(refusal) = outlook.allowed {
            return Err(Problem::refused(refusal, &outlook, policy));
        }
        if let Ok(Allowed::Fallback(refusal)) = outlook.allowed {
            tracing::info!(reason = refusal.name(), "the fallback template will go");
        }
        let stored = self.outbox.schedule(wanted).await?;
        if stored.is_new && stored.due_at <= self.clock.now() {
            let turn = Turn::until(call.deadline, call.invocation, policy);
            let ids = std::slice::from_ref(&stored.key.id);
            // It is stored, so the schedule tries it again.
            if let Err(error) = self.outbox.serve(&stored.key.who, ids, &turn).await {
                tracing::error!(%error, "a message was stored and not tried");
            }
        }
        Ok((stored.key, stored.is_new))
    }

    /// Tells how a message stands.
    pub(crate) async fn read_message(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let key = key_of(&call)?;
        Answer::ok(&self.message(&key).await?)
    }

    /// Cancels a message that waits.
    pub(crate) async fn cancel_message(&self, call: Call<'_>) -> Result<Answer, Problem> {
        let key = key_of(&call)?;
        let entry = self.outbox.store().entry(&key).await?.ok_or_else(unknown)?;
        let conflict = |code, message| Problem::new(StatusCode::CONFLICT, code, message);
        let outcome = match entry.status {
            Status::Open => self.outbox.cancel(&key, Cancellation::Withdrawn).await?,
            _ => CancelOutcome::EndedBefore,
        };
        match outcome {
            CancelOutcome::Cancelled(_) => Answer::ok(&self.message(&key).await?),
            CancelOutcome::Kept => Err(conflict("being_sent", "it is being sent")),
            CancelOutcome::EndedBefore => Err(conflict("ended", "it has ended")),
        }
    }

    async fn message(&self, key: &EntryKey) -> Result<Message, Problem> {
        let entry = self.outbox.store().entry(key).await?.ok_or_else(unknown)?;
        Ok(Message::of(key, entry))
    }
}

fn key_of(call: &Call<'_>) -> Result<EntryKey, Problem> {
    call.parameter("id").parse().map_err(|()| unknown())
}

fn unknown() -> Problem {
    let message = "there is no such message, or it has expired";
    Problem::new(StatusCode::NOT_FOUND, "unknown_message", message)
}
