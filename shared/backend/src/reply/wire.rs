//! A turn and a decision as JSON.

use std::time::Duration;

use messenger::bot::Turn;
use messenger::clock::Timestamp;
use messenger::decision::{Decision, FollowUp, HandOver, Timer, When};
use messenger::event::{Event, Inbound, Kind, Platform};
use messenger::message::{Invalid, Outgoing, UtilityTemplate};
use messenger::profile::Profile;
use messenger::window::Purpose;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::payload;
use crate::request::instant;
use crate::schema;

/// A turn: what a bot behind a URL is asked with.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplyTurn {
    /// The version of this form.
    version: u32,
    /// The same whenever the bot is asked about the same event; also the header `Idempotency-Key`.
    pub(super) key: String,
    /// How often the bot has been asked about the event, this time included, as far as that is known.
    attempt: u64,
    /// The present time, ms since the epoch.
    #[schema(value_type = i64)]
    now: Timestamp,
    /// Until when the answer must be there, ms since the epoch.
    #[schema(value_type = i64)]
    answer_by: Timestamp,
    conversation: ReplyConversation,
    /// What Meta shows of the person; absent unless that is asked for (`UserProfiles`) and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
    /// What happened, oldest first.
    #[schema(min_items = 1)]
    events: Vec<ReplyEvent>,
}

/// The conversation that a turn belongs to.
#[derive(Debug, Serialize, ToSchema)]
struct ReplyConversation {
    /// The Page, or the Instagram account.
    page_id: String,
    /// The person: a PSID, or `comment:…` or `post:…`.
    psid: String,
    /// The platform of the Page or account.
    platform: Platform,
    /// What the bot remembers of the person; null if nothing.
    state: Value,
    /// The version that the bot gave its state.
    state_version: u32,
    /// When the person last did something that opens the window, ms since the epoch.
    #[schema(required, value_type = Option<i64>)]
    last_message_at: Option<Timestamp>,
    /// The end of the standard window, ms since the epoch.
    #[schema(required, value_type = Option<i64>)]
    free_until: Option<Timestamp>,
    /// For what the windows allow something now.
    allowed: Vec<ReplyAllowed>,
    /// The keys of the timers that wait.
    timers: Vec<String>,
    /// By which comments, posts and check boxes the person came.
    came_from: Vec<String>,
}

/// A purpose for which the windows allow something.
#[derive(Debug, Serialize, ToSchema)]
struct ReplyAllowed {
    purpose: Purpose,
    /// Until when, ms since the epoch, if the person does not write; for ever if null.
    #[schema(required, value_type = Option<i64>)]
    until: Option<Timestamp>,
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
struct ReplyEvent {
    /// What the person wrote.
    #[schema(required)]
    text: Option<String>,
    /// The payload of the button or the choice that they pressed.
    #[schema(required)]
    payload: Option<String>,
    #[serde(flatten)]
    inbound: Inbound,
}

impl ReplyTurn {
    pub(super) fn new(turn: &Turn<Value>, now: Timestamp) -> Self {
        let (event, conversation) = (turn.event(), turn.conversation());
        let standing = &conversation.standing;
        Self {
            version: 1,
            key: turn.key("turn"),
            attempt: turn.attempt(),
            now: turn.now(),
            answer_by: now + turn.time_left(),
            conversation: ReplyConversation {
                page_id: event.page_id.clone(),
                psid: event.person.as_ref().map(ToString::to_string).unwrap_or_default(),
                platform: turn.platform(),
                state: turn.state().clone(),
                state_version: conversation.state_version,
                last_message_at: standing.last_message_at,
                free_until: standing.free_until,
                allowed: turn
                    .allowed()
                    .into_iter()
                    .map(|it| ReplyAllowed { purpose: it.purpose, until: it.until })
                    .collect(),
                timers: turn.timers().keys().cloned().collect(),
                came_from: turn.came_from().map(ToString::to_string).collect(),
            },
            profile: turn.profile().cloned(),
            events: turn.events().iter().filter_map(ReplyEvent::new).collect(),
        }
    }
}

impl ReplyEvent {
    fn new(event: &Event) -> Option<Self> {
        let (text, payload) = match &event.kind {
            Kind::Message(message) => (message.text.clone(), message.quick_reply.clone()),
            Kind::Postback(postback) => (postback.title.clone(), postback.payload.clone()),
            Kind::Comment(comment) => (comment.text.clone(), None),
            _ => (None, None),
        };
        Some(Self { text, payload, inbound: Inbound::from_event(event).ok()? })
    }
}

/// A decision: what a bot behind a URL answers. Every field is optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplyDecision {
    /// What is sent now, in order.
    #[schema(schema_with = schema::say)]
    #[serde(default)]
    say: Vec<Value>,
    /// What is sent later.
    #[serde(default)]
    later: Vec<ReplyLater>,
    /// What the bot remembers of the person from now on, at most 512 bytes as JSON; unchanged if absent or null.
    state: Option<Value>,
    /// The version of the state's form, which comes back with it.
    #[serde(default)]
    state_version: u32,
    /// For how many seconds the bot is quiet for this person, because people answer.
    #[serde(default)]
    quiet_seconds: u64,
    /// When the bot is asked again; at most 8 wait for a person.
    #[serde(default)]
    #[schema(max_items = 8)]
    timers: Vec<ReplyTimer>,
    /// The keys of timers that are not wanted any more.
    #[serde(default)]
    cancel_timers: Vec<String>,
    hand_over: Option<ReplyHandOver>,
}

/// A timer: the bot is asked again when it is due, with an event of kind `timer`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplyTimer {
    /// Its name: another one of the same name replaces it.
    #[schema(pattern = "^[a-z0-9-]{1,40}$")]
    key: String,
    /// In how many seconds it is due. Either this or `at` is required.
    after_seconds: Option<u64>,
    #[serde(default, deserialize_with = "instant")]
    #[schema(schema_with = schema::due_at)]
    at: Option<Timestamp>,
    /// What comes with it, at most 256 bytes as JSON.
    #[serde(default)]
    payload: Value,
    /// Whether it is cancelled as soon as the person does something that opens the window.
    #[serde(default)]
    unless_answered: bool,
}

/// People of the business answer from now on: what is said now still leaves, then the bot is quiet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplyHandOver {
    /// Why, for the people who answer; it is in the event of kind `handed_over`.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
    /// For how many seconds the bot is quiet; for `QuietHours` if absent.
    #[schema(minimum = 1, maximum = 2_592_000)]
    quiet_seconds: Option<u64>,
    /// Whether the Page's inbox gets the control of the thread, with the last message that is said.
    #[serde(default)]
    to_inbox: bool,
    /// Whether the bot is asked again when that time is over, with an event of kind `resumed`.
    #[serde(default)]
    wake_me: bool,
}

/// Something that is sent later.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplyLater {
    /// In how many seconds it is due. Either this or `at` is required.
    after_seconds: Option<u64>,
    #[serde(default, deserialize_with = "instant")]
    #[schema(schema_with = schema::due_at)]
    at: Option<Timestamp>,
    #[schema(schema_with = schema::messages)]
    messages: Vec<Value>,
    /// Why it is sent, which decides the window that applies; `update` if absent.
    purpose: Option<Purpose>,
    /// Whether it is cancelled as soon as the person does something that opens the window.
    #[serde(default)]
    unless_answered: bool,
    #[schema(schema_with = schema::fallback_template)]
    fallback_template: Option<Value>,
}

/// Reads a decision.
///
/// # Errors
/// [`Invalid`] with the path of the field that is wrong.
pub(super) fn decision(value: &Value) -> Result<Decision, Invalid> {
    payload::read::<ReplyDecision>(value)?.into_decision()
}

impl ReplyDecision {
    fn into_decision(self) -> Result<Decision, Invalid> {
        let follow_ups = self.later.into_iter().enumerate().map(|(index, later)| {
            later.into_follow_up().map_err(|invalid| invalid.within(&format!("later[{index}]")))
        });
        let timers = self.timers.into_iter().enumerate().map(|(index, timer)| {
            timer.into_timer().map_err(|invalid| invalid.within(&format!("timers[{index}]")))
        });
        Ok(Decision {
            say: messages("say", &self.say)?,
            follow_ups: follow_ups.collect::<Result<_, _>>()?,
            state: self.state,
            state_version: self.state_version,
            quiet_for: (self.quiet_seconds > 0).then(|| Duration::from_secs(self.quiet_seconds)),
            timers: timers.collect::<Result<_, _>>()?,
            cancel_timers: self.cancel_timers,
            hand_over: self.hand_over.map(ReplyHandOver::into_hand_over),
        })
    }
}

/// When something is due, of which one field is given.
fn when(after_seconds: Option<u64>, at: Option<Timestamp>) -> Result<When, Invalid> {
    match (after_seconds, at) {
        (Some(seconds), None) => Ok(When::AfterMillis(seconds.saturating_mul(1000))),
        (None, Some(instant)) => Ok(When::At(instant)),
        (None, None) => Err(Invalid::new("after_seconds", "is missing, and so is at")),
        (Some(_), Some(_)) => Err(Invalid::new("at", "cannot be combined with after_seconds")),
    }
}

impl ReplyTimer {
    fn into_timer(self) -> Result<Timer, Invalid> {
        let when = when(self.after_seconds, self.at)?;
        let timer = match when {
            When::At(instant) => Timer::at(instant, self.key, &self.payload),
            When::AfterMillis(millis) => {
                Timer::after(Duration::from_millis(millis), self.key, &self.payload)
            }
        }?;
        Ok(if self.unless_answered { timer.unless_answered() } else { timer })
    }
}

impl ReplyHandOver {
    fn into_hand_over(self) -> HandOver {
        HandOver {
            reason: self.reason,
            quiet_for: self.quiet_seconds.map(Duration::from_secs),
            to_inbox: self.to_inbox,
            wakes: self.wake_me,
        }
    }
}

impl ReplyLater {
    fn into_follow_up(self) -> Result<FollowUp, Invalid> {
        let when = when(self.after_seconds, self.at)?;
        let fallback = self.fallback_template.as_ref();
        let fallback = fallback.map(|it| UtilityTemplate::from_json("fallback_template", it));
        Ok(FollowUp {
            messages: messages("messages", &self.messages)?,
            when,
            purpose: self.purpose.unwrap_or(Purpose::Update),
            cancelled_by_answer: self.unless_answered,
            fallback: fallback.transpose()?,
        })
    }
}

fn messages(field: &str, values: &[Value]) -> Result<Vec<Outgoing>, Invalid> {
    let read = |(index, value)| {
        Outgoing::from_json(value).map_err(|invalid| invalid.within(&format!("{field}[{index}]")))
    };
    values.iter().enumerate().map(read).collect()
}

/// The schemas of a turn and a decision, with those that they refer to, by their names.
pub fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (ReplyTurn::name().into_owned(), ReplyTurn::schema()),
        (ReplyDecision::name().into_owned(), ReplyDecision::schema()),
    ];
    ReplyTurn::schemas(&mut schemas);
    ReplyDecision::schemas(&mut schemas);
    schemas
}

#[cfg(test)]
mod tests {
    use messenger::message::Message;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_of_a_decision_is_optional_and_means_something() {
        assert!(decision(&json!({})).unwrap().is_nothing());
        let all = json!({
            "say": ["Hello", {"text": "there"}, {"message": "again", "persona_id": "5"}],
            "later": [
                {"after_seconds": 3600, "messages": ["Still there?"], "unless_answered": true},
                {"at": 1_800_000_000_000_i64, "messages": ["News"], "purpose": "utility",
                    "fallback_template": {"name": "news", "language": {"code": "en_US"}}},
            ],
            "state": {"step": 2}, "state_version": 3, "quiet_seconds": 60,
        });
        let read = decision(&all).unwrap();
        assert_eq!(read.say.len(), 3);
        assert_eq!(read.say[0], Message::text("Hello").unwrap().into());
        assert_eq!(read.follow_ups[0].when, When::AfterMillis(3_600_000));
        assert!(read.follow_ups[0].cancelled_by_answer && !read.follow_ups[1].cancelled_by_answer);
        assert_eq!(read.follow_ups[1].when, When::At(Timestamp::from_millis(1_800_000_000_000)));
        assert_eq!(read.follow_ups[1].purpose, Purpose::Utility);
        assert!(read.follow_ups[1].fallback.is_some());
        assert_eq!((read.state, read.state_version), (Some(json!({"step": 2})), 3));
        assert_eq!(read.quiet_for, Some(Duration::from_mins(1)));
    }

    #[test]
    fn what_is_wrong_with_a_decision_is_said_by_its_path() {
        for (value, field) in [
            (json!([]), "payload"),
            (json!({"says": []}), "says"),
            (json!({"say": "Hello"}), "say"),
            (json!({"say": [""]}), "say[0].message.text"),
            (json!({"say": ["x".repeat(2001)]}), "say[0].message.text"),
            (json!({"later": [{"messages": ["x"]}]}), "later[0].after_seconds"),
            (
                json!({"later": [{"after_seconds": 1, "at": 1_800_000_000, "messages": ["x"]}]}),
                "later[0].at",
            ),
            (
                json!({"later": [{"after_seconds": 1, "messages": [{}]}]}),
                "later[0].messages[0].message",
            ),
            (
                json!({"later": [{"after_seconds": 1, "messages": ["x"], "purpose": "fun"}]}),
                "later[0].purpose",
            ),
            (json!({"quiet_seconds": -1}), "quiet_seconds"),
        ] {
            let invalid = decision(&value).unwrap_err();
            assert!(invalid.to_string().starts_with(field), "{value}: {invalid}");
        }
    }
}
