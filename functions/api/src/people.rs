//! People: look up their conversation, erase them.

use backend::store::{ConversationItem, ConversationKey, EntryKey};
use futures_util::future::try_join_all;
use lambda_http::http::StatusCode;
use messenger::event::{Platform, TimeSource};
use messenger::profile::Profile;
use messenger::window::{self, Purpose};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::Answer;
use crate::api::Api;
use crate::problem::Problem;
use crate::route::Call;

/// A conversation with a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Person {
    /// The Page's id.
    page_id: String,
    /// The person's PSID.
    psid: String,
    platform: Platform,
    /// What Meta shows of the person. Absent if Meta shows nothing, or unless `USER_PROFILES` is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
    /// When the person last did something that opens the standard window.
    #[schema(required, format = DateTime)]
    last_message_at: Option<String>,
    /// Which time that is: `event` if Meta gave the message a time; else `entry`, the time of the entry
    /// that it came in, or `receipt`. The windows that Meta counts may then end sooner.
    last_message_source: TimeSource,
    /// The end of the standard messaging window, or of that of an ad if it is tried (`AD_WINDOWS`); null if
    /// it is closed.
    #[schema(required, format = DateTime)]
    window_until: Option<String>,
    /// The last time at which a message for the purpose `human` may be sent; null if none may.
    #[schema(required, format = DateTime)]
    human_until: Option<String>,
    /// The time until which the bot is silent, because a person of the business took over.
    #[schema(required, format = DateTime)]
    quiet_until: Option<String>,
    /// The app that controls the thread, if it is another one: `unknown` if it is not known which. The
    /// messages wait for it.
    #[schema(required)]
    thread_owner: Option<String>,
    /// The time at which that control ends if nothing else happens in the thread.
    #[schema(required, format = DateTime)]
    thread_until: Option<String>,
    /// The time until which the Page's messages have reached the person; null if receipts are not tracked.
    #[schema(required, format = DateTime)]
    delivered_until: Option<String>,
    /// The time until which the person has read the Page's messages; null if receipts are not tracked.
    #[schema(required, format = DateTime)]
    read_until: Option<String>,
    /// Other recipients that are this person, such as `user_ref:…` or `comment:…`.
    known_as: Vec<String>,
    /// The pending messages, in the order in which they will be sent.
    waiting: Vec<WaitingMessage>,
    /// The timers that the bot has set, in the order in which they are due.
    timers: Vec<WaitingTimer>,
}

/// A timer of the bot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingTimer {
    /// The key under which the bot set it; `_resumed` if the bot is to be told that it speaks again.
    key: String,
    /// When it is due; it waits while people answer.
    #[schema(format = DateTime)]
    due_at: String,
}

/// A pending message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingMessage {
    /// Identifies the message.
    id: String,
    /// When the message will be sent.
    #[schema(required, format = DateTime)]
    send_at: Option<String>,
    /// Why the message is sent.
    purpose: Purpose,
}

pub(crate) struct Read;

/// Returns a conversation: its windows and its pending messages
#[utoipa::path(
    get,
    path = "/people/{psid}",
    impl_for = Read,
    params(
        ("psid" = String, Path, description = "The person's PSID, or another recipient such as `user_ref:…`."),
        ("page_id" = String, Query, min_length = 1, description = "The Page's id."),
    ),
    responses(
        (status = 200, description = "The conversation.", body = Person),
        (status = 404, description = "The person is unknown, or the secret does not contain the Page.", body = Problem),
        (status = 422, description = "A parameter is invalid.", body = Problem),
    ),
)]
pub(crate) async fn read(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let conversation_key = api.conversation_key(&call).await?;
    let conversation = api.known(&conversation_key).await?;
    let profile = api.profile(&conversation_key, &conversation, &call).await;
    let person = api.person(conversation_key, conversation).await?;
    Ok(Answer::ok(&Person { profile, ..person })?)
}

pub(crate) struct Erase;

/// Erases all data about a person
#[utoipa::path(
    delete,
    path = "/people/{psid}",
    impl_for = Erase,
    params(
        ("psid" = String, Path, description = "The person's PSID, or another recipient such as `user_ref:…`."),
        ("page_id" = String, Query, min_length = 1, description = "The Page's id."),
    ),
    responses(
        (status = 204, description = "The person is erased: pending messages are not sent, and events from before are ignored. What could not be deleted at once is deleted within minutes."),
        (status = 404, description = "The secret does not contain the Page.", body = Problem),
        (status = 422, description = "A parameter is invalid.", body = Problem),
    ),
)]
pub(crate) async fn erase(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let conversation_key = api.conversation_key(&call).await?;
    api.erasures.erase(&conversation_key, call.deadline).await?;
    Ok(Answer::no_content())
}

fn timers(conversation: &ConversationItem) -> Vec<WaitingTimer> {
    let timers = conversation.waiting.iter().filter_map(|waiting| {
        Some(WaitingTimer { key: waiting.timer.clone()?, due_at: waiting.first_due.to_string() })
    });
    timers.collect()
}

impl Api {
    /// The conversation with a person who is known.
    pub(crate) async fn known(
        &self,
        conversation_key: &ConversationKey,
    ) -> Result<ConversationItem, Problem> {
        let conversation = self.outbox.store().conversation(conversation_key).await?;
        conversation.filter(|conversation| !conversation.is_erased()).ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "unknown_person", "the person is unknown")
        })
    }

    pub(crate) async fn person(
        &self,
        conversation_key: ConversationKey,
        conversation: ConversationItem,
    ) -> Result<Person, Problem> {
        let now = self.clock.now();
        let policy = &self.outbox.settings().policy;
        let allowed = window::allowed_purposes(&conversation.standing(), now, policy);
        let until = |purpose| {
            let found = allowed.iter().find(|allowed| allowed.purpose == purpose);
            found.and_then(|allowed| allowed.until).map(|until| until.to_string())
        };
        let messages = conversation.waiting.iter().filter(|waiting| waiting.timer.is_none());
        let waiting = messages.map(async |waiting| {
            let key =
                EntryKey { conversation_key: conversation_key.clone(), id: waiting.id.clone() };
            let entry = self.outbox.store().entry(&key).await?;
            Ok::<_, Problem>(entry.filter(backend::store::Entry::is_open).map(|entry| {
                WaitingMessage {
                    id: key.to_string(),
                    send_at: entry.due_at.map(|at| at.to_string()),
                    purpose: entry.purpose,
                }
            }))
        });
        let thread_until = conversation.thread_taken_until(now);
        let thread_owner =
            conversation.thread_owner.clone().unwrap_or_else(|| "unknown".to_owned());
        let waiting = try_join_all(waiting).await?.into_iter().flatten().collect();
        Ok(Person {
            platform: conversation.platform,
            profile: None,
            last_message_at: conversation.last_message_at.map(|at| at.to_string()),
            last_message_source: conversation.last_message_source,
            window_until: until(Purpose::Update),
            human_until: until(Purpose::Human),
            quiet_until: conversation.quiet_until.filter(|at| now <= *at).map(|at| at.to_string()),
            thread_owner: thread_until.and(Some(thread_owner)),
            thread_until: thread_until.map(|at| at.to_string()),
            delivered_until: conversation.delivered_until.map(|at| at.to_string()),
            read_until: conversation.read_until.map(|at| at.to_string()),
            known_as: conversation.known_as.iter().map(ToString::to_string).collect(),
            waiting,
            timers: timers(&conversation),
            page_id: conversation_key.page_id,
            psid: conversation_key.person.to_string(),
        })
    }

    /// What Meta shows of a person, if that is wanted.
    async fn profile(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
        call: &Call<'_>,
    ) -> Option<Profile> {
        if !self.reads_profiles {
            return None;
        }
        let context = self.outbox.context(call.invocation, call.deadline);
        let platform = conversation.platform;
        self.outbox.profile(conversation_key, conversation, platform, None, &context).await
    }

    /// The person of the path, at the Page of the query.
    pub(crate) async fn conversation_key(
        &self,
        call: &Call<'_>,
    ) -> Result<ConversationKey, Problem> {
        let page_id = call.query("page_id")?;
        let person = call.parameter("psid").parse();
        let person = person.map_err(|_| Problem::wrong("psid", "is not a valid id"))?;
        self.check_page(&call.caller, &page_id).await?;
        Ok(ConversationKey { page_id, person })
    }
}
