//! The answer to whoever asks for a message or about one.

use messenger::clock::Timestamp;
use messenger::message::Unknown;
use messenger::window::{Allowed, Purpose, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

use crate::schema;
use crate::store::{Entry, EntryKey, Status, Step};

/// A message of the outbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    /// Identifies the message. Opaque, but an encoding and not a secret.
    id: String,
    /// The id under which everything about the message is logged: the first 32 characters of the id of the
    /// event that it follows from, or its own if it was requested.
    correlation_id: String,
    /// The Page's id.
    page_id: String,
    /// The recipient's PSID. For any other recipient it is known once an echo has named it.
    #[schema(required)]
    psid: Option<String>,
    #[schema(schema_with = schema::status)]
    status: &'static str,
    /// Why the message ended, or why it is still open.
    #[schema(required)]
    reason: Option<String>,
    /// Why the message is sent.
    purpose: Purpose,
    /// The person of the business who wrote the message.
    #[schema(required)]
    author: Option<String>,
    /// When the message will be sent, while it is open.
    #[schema(required, format = DateTime)]
    send_at: Option<String>,
    /// When the event happened that the message answers.
    #[schema(required, format = DateTime)]
    caused_at: Option<String>,
    /// When the message was first due.
    #[schema(format = DateTime)]
    first_due: String,
    /// When the message was requested.
    #[schema(format = DateTime)]
    decided_at: String,
    /// When attempts to send the message end.
    #[schema(format = DateTime)]
    give_up_at: String,
    /// When the message ended.
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    /// The number of attempts to send the message.
    attempts: u64,
    /// Why the fallback template is sent instead, if it is.
    #[schema(required)]
    fallback_reason: Option<String>,
    /// The parts of the message, in order.
    steps: Vec<MessageStep>,
    /// Parts that this version does not know, with their paths; they are sent as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// In the answer to a request that leaves the message open: what the windows will allow at its
    /// time if the person does not write before.
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<Forecast>,
}

/// A single message or sender action.
#[derive(Debug, Serialize, ToSchema)]
struct MessageStep {
    #[schema(schema_with = schema::step_state)]
    state: &'static str,
    /// How many times it was, or may have been, sent to Meta.
    sends: u64,
    /// Meta's id of the message.
    #[schema(required)]
    mid: Option<String>,
    /// Meta's id of the media, if the message asked to save them (`is_reusable`); valid for 90 days.
    #[schema(required)]
    attachment_id: Option<String>,
}

/// What the windows will allow at the message's time if the person does not write before.
#[derive(Debug, Serialize, ToSchema)]
struct Forecast {
    /// The message tag or messaging type; null if the message will be refused.
    #[schema(required)]
    label: Option<&'static str>,
    /// Why the message will be refused, or why its fallback template will be sent instead.
    #[schema(required)]
    reason: Option<String>,
}

impl Message {
    /// The message of an entry.
    pub fn new(key: &EntryKey, entry: Entry) -> Self {
        let instant = |at: Timestamp| at.to_string();
        let own = Some(&key.conversation_key.person)
            .filter(|person| person.is_psid())
            .map(ToString::to_string);
        let step = |step: Step| MessageStep {
            state: step.state.name(),
            sends: step.sends,
            mid: step.mid,
            attachment_id: step.attachment_id,
        };
        let warnings = warnings(&entry);
        Self {
            id: key.to_string(),
            correlation_id: key.correlation_id(),
            page_id: key.conversation_key.page_id.clone(),
            psid: own.or(entry.psid),
            status: entry.status.name(),
            reason: entry.reason.map(|reason| reason.to_string()),
            purpose: entry.purpose,
            author: entry.author,
            send_at: entry.due_at.filter(|_| entry.status == Status::Open).map(instant),
            caused_at: entry.caused_at.map(instant),
            first_due: instant(entry.first_due),
            decided_at: instant(entry.decided_at),
            give_up_at: instant(entry.give_up_at),
            ended_at: entry.ended_at.map(instant),
            attempts: entry.attempts,
            fallback_reason: entry.fallback_reason.map(|reason| reason.to_string()),
            steps: entry.steps.into_iter().map(step).collect(),
            warnings,
            forecast: None,
        }
    }

    /// Adds what the windows will allow, if the message is open.
    #[must_use]
    pub fn with_forecast(mut self, allowed: Result<Allowed, Refusal>) -> Self {
        self.forecast = self.is_open().then(|| Forecast {
            label: allowed.ok().map(|allowed| {
                let label = allowed.label();
                label.tag().unwrap_or(label.messaging_type())
            }),
            reason: match allowed {
                Ok(Allowed::AsMeant(_)) => None,
                Ok(Allowed::Fallback(refusal)) => {
                    Some(format!("the fallback template will be sent instead: {refusal}"))
                }
                Err(refusal) => Some(refusal.to_string()),
            },
        });
        self
    }

    /// Whether the message is still to be sent.
    pub fn is_open(&self) -> bool {
        self.status == Status::Open.name()
    }
}

/// What of an entry is not known here, by the paths of the request.
fn warnings(entry: &Entry) -> Vec<String> {
    let fallback = entry.fallback_step();
    let messages = entry.steps.len() - usize::from(fallback.is_some());
    let of_step = |(index, step): (usize, &Step)| {
        let of_list = (messages > 1).then(|| format!("messages[{index}]"));
        let is_fallback = fallback == Some(index);
        step.say().unknown().into_iter().map(move |unknown| {
            let unknown = match &of_list {
                _ if is_fallback => in_fallback(unknown),
                Some(message) => unknown.within(message),
                None => unknown,
            };
            unknown.to_string()
        })
    };
    entry.steps.iter().enumerate().flat_map(of_step).collect()
}

/// The path of a part of a fallback template, which the request holds by itself.
fn in_fallback(unknown: Unknown) -> Unknown {
    let field = unknown.field.replacen("message.template", "fallback_template", 1);
    Unknown { field, ..unknown }
}
