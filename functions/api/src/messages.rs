//! Messages: send, look up, cancel.

use std::time::Duration;

use backend::answer::Message;
use backend::correlation::about;
use backend::outbox::{Scheduled, ToSchedule};
use backend::request::{self, SendRequest};
use backend::store::{CancelOutcome, Cancellation, EntryKey, Status};
use lambda_http::http::StatusCode;
use messenger::event::digest;
use messenger::window::Allowed;
use serde_json::Value;

use crate::answer::Answer;
use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::route::Call;

/// The header that identifies a request, so that a repeated one is the same message.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long a message that is due now waits for a sender who is in the middle of a step.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most characters of an idempotency key.
const LONGEST_KEY: usize = 128;

pub(crate) struct Create;

/// Sends a message, now or later, if the windows allow it
#[utoipa::path(
    post,
    path = "/messages",
    impl_for = Create,
    params((
        "idempotency-key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "Identifies the request at its Page: a repeated one is the same message. 1 to 128 visible characters.",
    )),
    request_body = SendRequest,
    responses(
        (status = 200, description = "The request was made before. The message as it is now.", body = Message),
        (status = 201, description = "An attempt was made at once. The message after it.", body = Message),
        (status = 202, description = "The message waits for its time, or for another attempt.", body = Message),
        (status = 400, description = "The body is not valid JSON.", body = Problem),
        (status = 404, description = "The secret does not contain the Page.", body = Problem),
        (status = 409, description = "The windows refuse the message: nothing is stored, and `allowed` lists the purposes that they allow. Or too many messages are pending for this person, or the comment already has its reply.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not declared as JSON.", body = Problem),
        (status = 422, description = "A field is invalid, or the key was used for another request.", body = Problem),
    ),
)]
pub(crate) async fn create(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let body = call.json()?;
    let key = idempotency_key(&call, &body)?;
    let name =
        key.map_or_else(|| call.invocation.to_owned(), |key| format!("{IDEMPOTENCY_KEY} {key}"));
    let wanted = request::read(&body, &name, api.clock.now())?;
    let page_id = &wanted.conversation_key.page_id;
    api.check_page(&call.caller, page_id).await?;
    let entry_key =
        EntryKey { conversation_key: wanted.conversation_key.clone(), id: wanted.id.clone() };
    let there = api.outbox.store().entry(&entry_key).await?;
    if let Some(key) = key {
        // A message for much later outlives the name of its request.
        if there.as_ref().is_some_and(|there| !wanted.is_of(there)) {
            return Err(key_reused());
        }
        api.claim_key(key, page_id, &body).await?;
    }
    if let Some(there) = there {
        return Ok(Answer::ok(&Message::new(&entry_key, there))?);
    }
    let stored = about(&entry_key.correlation_id(), Box::pin(api.schedule(&call, wanted))).await?;
    let message = api.message(&stored.key).await?;
    if !stored.is_new {
        return Ok(Answer::ok(&message)?);
    }
    let message = message.with_forecast(stored.forecast);
    let status = if message.is_open() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok(Answer::json(status, &message)?)
}

pub(crate) struct Read;

/// Returns a message and its status
#[utoipa::path(
    get,
    path = "/messages/{id}",
    impl_for = Read,
    params(("id" = String, Path, description = "The message's id.")),
    responses(
        (status = 200, description = "The message.", body = Message),
        (status = 404, description = "There is no such message, or it has expired.", body = Problem),
    ),
)]
pub(crate) async fn read(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let key = api.key_of(&call).await?;
    Ok(Answer::ok(&api.message(&key).await?)?)
}

pub(crate) struct Cancel;

/// Cancels a message that has not been sent
#[utoipa::path(
    delete,
    path = "/messages/{id}",
    impl_for = Cancel,
    params(("id" = String, Path, description = "The message's id.")),
    responses(
        (status = 200, description = "The message, cancelled.", body = Message),
        (status = 404, description = "There is no such message, or it has expired.", body = Problem),
        (status = 409, description = "The message is being sent, or has ended.", body = Problem),
    ),
)]
pub(crate) async fn cancel(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let key = api.key_of(&call).await?;
    let entry = api.outbox.store().entry(&key).await?.ok_or_else(unknown)?;
    let conflict = |code, message| Problem::new(StatusCode::CONFLICT, code, message);
    let outcome = match entry.status {
        // A cancellation that was interrupted is completed.
        Status::Open | Status::Cancelled => {
            let cancelled = Box::pin(api.outbox.cancel(&key, Cancellation::Withdrawn));
            about(&key.correlation_id(), cancelled).await?
        }
        _ => CancelOutcome::EndedBefore,
    };
    match outcome {
        CancelOutcome::Cancelled(_) | CancelOutcome::Unforgotten(_) => {
            Ok(Answer::ok(&api.message(&key).await?)?)
        }
        CancelOutcome::Kept => Err(conflict("being_sent", "the message is being sent")),
        CancelOutcome::EndedBefore => Err(conflict("ended", "the message has ended")),
    }
}

impl Api {
    /// Claims an idempotency key of a Page for a request.
    async fn claim_key(&self, key: &str, page_id: &str, body: &Value) -> Result<(), Problem> {
        let name = digest(&[IDEMPOTENCY_KEY, page_id, key]);
        let fingerprint = digest(&[&body.to_string()]);
        if self.outbox.store().claim_name(&name, &fingerprint, self.clock.now()).await? {
            return Ok(());
        }
        Err(key_reused())
    }

    /// The message that a path names, if its Page is the caller's.
    async fn key_of(&self, call: &Call<'_>) -> Result<EntryKey, Problem> {
        let key: EntryKey = call.parameter("id").parse().map_err(|()| unknown())?;
        // Who reaches all applications also reads what was sent for a Page that is no longer one.
        if call.caller == Caller::Deployment {
            return Ok(key);
        }
        let secret = self.secrets.current().await?;
        let is_reached = call.caller.has_page(&key.conversation_key.page_id, &secret);
        if is_reached { Ok(key) } else { Err(unknown()) }
    }

    /// Stores a message, and tries to send it if it is due.
    async fn schedule(&self, call: &Call<'_>, wanted: ToSchedule) -> Result<Scheduled, Problem> {
        let policy = &self.outbox.settings().policy;
        let forecast = self.outbox.forecast(&wanted).await?;
        if let Err(refusal) = forecast.allowed {
            return Err(Problem::refused(refusal, &forecast, policy));
        }
        if let Ok(Allowed::Fallback(refusal)) = forecast.allowed {
            tracing::info!(reason = refusal.name(), "the fallback template will be sent");
        }
        let stored = self.outbox.schedule(wanted).await?;
        if stored.is_new && stored.due_at <= self.clock.now() {
            let context = self.outbox.context(call.invocation, call.deadline);
            let ids = std::slice::from_ref(&stored.key.id);
            // It is stored, so the schedule tries it again.
            let key = &stored.key.conversation_key;
            if let Err(error) = self.outbox.serve(key, ids, &context, PATIENCE).await {
                tracing::error!(%error, "a message was stored, but no attempt was made");
            }
        }
        Ok(stored)
    }

    async fn message(&self, key: &EntryKey) -> Result<Message, Problem> {
        let entry = self.outbox.store().entry(key).await?.ok_or_else(unknown)?;
        Ok(Message::new(key, entry))
    }
}

/// The caller's own name for a request, by which a repeated one is the same message.
fn idempotency_key<'a>(call: &'a Call<'_>, body: &Value) -> Result<Option<&'a str>, Problem> {
    let Some(given) = call.request.headers().get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = given.to_str().ok().map(str::trim);
    let Some(key) = key.filter(|key| (1..=LONGEST_KEY).contains(&key.len())) else {
        return Err(Problem::wrong(IDEMPOTENCY_KEY, "must be 1 to 128 visible characters"));
    };
    if !body["id"].is_null() {
        return Err(Problem::wrong("id", "cannot be combined with the Idempotency-Key header"));
    }
    Ok(Some(key))
}

fn key_reused() -> Problem {
    let message = "the key was used for another request";
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Problem::new(status, "key_reused", message).at(IDEMPOTENCY_KEY)
}

fn unknown() -> Problem {
    let message = "there is no such message, or it has expired";
    Problem::new(StatusCode::NOT_FOUND, "unknown_message", message)
}
