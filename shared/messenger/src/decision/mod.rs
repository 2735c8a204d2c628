//! What the bot decides about an event: messages now, messages later, timers, a new state, a hand-over.

mod hand_over;
mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::{Event, Platform};
use crate::message::{Invalid, MAX_BYTES, MAX_MESSAGES, Outgoing, UtilityTemplate};
use crate::person::Person;
use crate::profile::Profile;
use crate::window::{Purpose, Standing};

pub use hand_over::HandOver;
pub use timer::{MAX_TIMERS, Timer};

/// A conversation as the bot sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// The bot's own state, `null` at first.
    pub state: Value,
    /// The version of the state's form, 0 if none was stored with it.
    pub state_version: u32,
    /// Under what else the person was written to, such as a comment of theirs.
    pub known_as: BTreeSet<Person>,
    /// The platform, the person's last message, the window's end.
    pub standing: Standing,
    /// When each of the timers that wait is due, by its key.
    pub timers: BTreeMap<String, Timestamp>,
    /// What Meta shows of the person; absent unless it is asked for (`USER_PROFILES`) and Meta shows it.
    pub profile: Option<Profile>,
}

impl Conversation {
    /// The bot's state, deserialized; the type's default if it is absent or has another form.
    pub fn state<T: serde::de::DeserializeOwned + Default>(&self) -> T {
        T::deserialize(&self.state).unwrap_or_default()
    }
}

/// A bot's decision; empty unless something is added.
///
/// About a comment or a visitor's post it is one message, the private reply, or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What to send now, in order.
    pub say: Vec<Outgoing>,
    /// What to send later.
    pub follow_ups: Vec<FollowUp>,
    /// When to ask the bot again.
    pub timers: Vec<Timer>,
    /// The keys of timers that are not wanted any more.
    pub cancel_timers: Vec<String>,
    /// The new state; unchanged if absent.
    pub state: Option<Value>,
    /// The version of the new state's form.
    pub state_version: u32,
    /// How long the bot stays quiet for this person.
    pub quiet_for: Option<Duration>,
    /// The hand-over to people of the business.
    pub hand_over: Option<HandOver>,
}

/// A message that is due later.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowUp {
    /// What to send, in order.
    pub messages: Vec<Outgoing>,
    /// When to send it.
    pub when: When,
    /// Why it is sent; decides the window and the label.
    pub purpose: Purpose,
    /// Whether a new message from the person cancels it.
    pub cancelled_by_answer: bool,
    /// What is sent instead if the windows refuse it.
    pub fallback: Option<UtilityTemplate>,
}

/// When something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This many milliseconds after the decision.
    AfterMillis(u64),
    /// At an instant.
    At(Timestamp),
}

impl When {
    /// The instant, for what was decided then.
    pub fn after(self, decided_at: Timestamp) -> Timestamp {
        match self {
            Self::AfterMillis(millis) => decided_at + Duration::from_millis(millis),
            Self::At(instant) => instant,
        }
    }
}

impl FollowUp {
    /// An update to send after a while, whether or not the person writes in the meantime.
    pub fn after(delay: Duration, say: impl Into<Outgoing>) -> Self {
        Self::new(When::AfterMillis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)), say)
    }

    /// An update to send at an instant, whether or not the person writes in the meantime.
    pub fn at(instant: Timestamp, say: impl Into<Outgoing>) -> Self {
        Self::new(When::At(instant), say)
    }

    /// Cancels it as soon as the person answers: any event that opens the window counts.
    #[must_use]
    pub fn unless_answered(mut self) -> Self {
        self.cancelled_by_answer = true;
        self
    }

    /// Sends it for another purpose than `update`.
    #[must_use]
    pub fn for_purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Sends a utility template instead if the windows refuse it when it is due: they have closed, or
    /// the person has never written. Messenger only; on Instagram the follow-up is refused anyway.
    #[must_use]
    pub fn or_template(mut self, template: UtilityTemplate) -> Self {
        self.fallback = Some(template);
        self
    }

    /// Sends something more after it.
    #[must_use]
    pub fn then(mut self, say: impl Into<Outgoing>) -> Self {
        self.messages.push(say.into());
        self
    }

    fn new(when: When, say: impl Into<Outgoing>) -> Self {
        Self {
            messages: vec![say.into()],
            when,
            purpose: Purpose::Update,
            cancelled_by_answer: false,
            fallback: None,
        }
    }
}

impl Decision {
    /// Sends, schedules and changes nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Sends a message, or a sender action, now.
    #[must_use]
    pub fn say(mut self, say: impl Into<Outgoing>) -> Self {
        self.say.push(say.into());
        self
    }

    /// Sends something later.
    #[must_use]
    pub fn later(mut self, follow_up: FollowUp) -> Self {
        self.follow_ups.push(follow_up);
        self
    }

    /// Stores a new state; by default at most 512 bytes as JSON.
    ///
    /// # Errors
    /// [`Invalid`] if the value cannot be serialized.
    pub fn remember(mut self, state: &impl Serialize) -> Result<Self, Invalid> {
        let value = serde_json::to_value(state)
            .map_err(|error| Invalid::new("state", format!("cannot be serialized: {error}")))?;
        self.state = Some(value);
        Ok(self)
    }

    /// Asks the bot again later; another timer of the same key is replaced.
    #[must_use]
    pub fn wake_me(mut self, timer: Timer) -> Self {
        self.timers.push(timer);
        self
    }

    /// Cancels the timer of this key, if it waits.
    #[must_use]
    pub fn cancel_timer(mut self, key: impl Into<String>) -> Self {
        self.cancel_timers.push(key.into());
        self
    }

    /// Lets people of the business answer from now on: see [`HandOver`].
    #[must_use]
    pub fn hand_over(mut self, hand_over: HandOver) -> Self {
        self.hand_over = Some(hand_over);
        self
    }

    /// Keeps the bot quiet for this person for a while, without telling anybody why.
    #[must_use]
    pub fn quiet_for(mut self, span: Duration) -> Self {
        self.quiet_for = Some(span);
        self
    }

    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self { state_version: self.state_version, ..Self::default() }
    }

    /// Checks, as the decision about an event, the limits of the platform and of the table.
    ///
    /// # Errors
    /// [`Invalid`] names the limit that is exceeded.
    pub fn check(&self, event: &Event, max_state_bytes: usize) -> Result<(), Invalid> {
        let (purpose, platform) = (event.purpose_of_answer(), event.platform);
        check_messages(&self.say, purpose, platform)?;
        for follow_up in &self.follow_ups {
            if follow_up.messages.is_empty() {
                return Err(Invalid::new("follow_up.messages", "is empty"));
            }
            check_messages(&follow_up.messages, follow_up.purpose, platform)?;
            check_fallback(follow_up.fallback.as_ref())?;
        }
        timer::check(&self.timers, &self.cancel_timers)?;
        self.hand_over.as_ref().map_or(Ok(()), |hand_over| hand_over.check(&self.say))?;
        let later = self.follow_ups.iter().flat_map(|follow_up| &follow_up.messages);
        let fallbacks = self.follow_ups.iter().filter_map(|follow_up| follow_up.fallback.as_ref());
        check_size(self.say.iter().chain(later), fallbacks)?;
        let state_bytes = self.state.as_ref().map_or(0, |state| state.to_string().len());
        if state_bytes > max_state_bytes {
            let problem =
                format!("has {state_bytes} bytes as JSON; at most {max_state_bytes} are allowed");
            return Err(Invalid::new("state", problem));
        }
        if purpose == Purpose::PrivateReply { self.check_private_reply() } else { Ok(()) }
    }

    /// Checks that it can be the answer to a comment or a visitor's post: one message and nothing else, or
    /// nothing.
    fn check_private_reply(&self) -> Result<(), Invalid> {
        const ONE: &str = "a comment or post gets one private reply, of one message";
        let field = match self {
            _ if self.is_nothing() => return Ok(()),
            Self { follow_ups, .. } if !follow_ups.is_empty() => "follow_ups",
            Self { timers, .. } if !timers.is_empty() => "timers",
            Self { cancel_timers, .. } if !cancel_timers.is_empty() => "cancel_timers",
            Self { state: Some(_), .. } => "state",
            Self { quiet_for: Some(_), .. } => "quiet_for",
            Self { hand_over: Some(_), .. } => "hand_over",
            Self { say, .. } => match &say[..] {
                [say] if say.message().is_some() => return Ok(()),
                _ => "say",
            },
        };
        Err(Invalid::new(field, ONE))
    }
}

/// Checks the messages of one reply or follow-up.
///
/// # Errors
/// [`Invalid`] names the limit that is exceeded.
pub fn check_messages(
    messages: &[Outgoing],
    purpose: Purpose,
    platform: Platform,
) -> Result<(), Invalid> {
    if messages.len() > MAX_MESSAGES {
        let problem =
            format!("has {} messages; at most {MAX_MESSAGES} are allowed", messages.len());
        return Err(Invalid::new("messages", problem));
    }
    check_size(messages.iter(), None)?;
    for (index, say) in messages.iter().enumerate() {
        let checked = purpose.check_content(say).and_then(|()| say.check(platform));
        checked.map_err(|invalid| match messages {
            [_] => invalid,
            _ => invalid.within(&format!("messages[{index}]")),
        })?;
    }
    Ok(())
}

/// Checks that an item of the table can hold messages and the templates that may go instead.
///
/// # Errors
/// [`Invalid`] says by how much they are too large.
pub fn check_size<'a>(
    messages: impl IntoIterator<Item = &'a Outgoing>,
    fallbacks: impl IntoIterator<Item = &'a UtilityTemplate>,
) -> Result<(), Invalid> {
    let templates = fallbacks.into_iter().map(|template| Outgoing::from(template.clone()).bytes());
    let bytes: usize = messages.into_iter().map(Outgoing::bytes).chain(templates).sum();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let problem = format!("have {bytes} bytes as JSON; at most {MAX_BYTES} are allowed");
    Err(Invalid::new("messages", problem))
}

/// Checks the fallback template of a follow-up.
///
/// # Errors
/// [`Invalid`] names the limit that is exceeded.
pub fn check_fallback(fallback: Option<&UtilityTemplate>) -> Result<(), Invalid> {
    let Some(template) = fallback else { return Ok(()) };
    let checked = Outgoing::from(template.clone()).check(Platform::Messenger);
    checked.map_err(|invalid| invalid.within("fallback_template"))
}
