//! The bot is asked about an event: with a time limit, again after failures that may pass, and for what to do instead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backend::around::Surroundings;
use backend::aws::CALL_TIMEOUT;
use backend::outbox::{OutboxError, SendContext, Thinking, entry_id};
use backend::store::{ConversationItem, ConversationKey, EntryKey, FailedTry};
use backend::telemetry::Metric;
use futures_util::future::{BoxFuture, Either, select};
use messenger::bot::patience::{self, Failures, Next};
use messenger::bot::{Trouble, TurnData, Verdict};
use messenger::clock::Timestamp;
use messenger::decision::{Conversation, Decision};
use messenger::event::{Event, Kind, RESUMED};
use messenger::message::Invalid;
use messenger::profile::Profile;
use messenger::window::Standing;
use serde_json::Value;

use crate::batch::Lanes;
use crate::driver::Work;
use crate::suspects::Delivery;
use crate::{Processor, RecordError};

/// How long the bot may take to say what to do instead of a decision.
const GIVING_UP: Duration = Duration::from_secs(1);

/// After how long a bot that thinks is shown to be typing, and after how long again: Meta shows it for 20 s.
/// Source: Meta's Send API, sender actions.
const FIRST_TYPING: Duration = Duration::from_secs(1);
const NEXT_TYPING: Duration = Duration::from_secs(15);

/// How long it may take to show that.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// What the bot is asked about.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) event: &'a Event,
    pub(crate) conversation_key: &'a ConversationKey,
    pub(crate) conversation: &'a ConversationItem,
    pub(crate) profile: Option<Profile>,
    pub(crate) delivery: &'a Delivery,
    /// Until when the lease for the event is ours; absent if it is not.
    pub(crate) leased_until: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The decision, or the limit that it breaks.
    pub(crate) decision: Result<Decision, Invalid>,
    /// Whether the bot has decided after it failed for the person.
    pub(crate) trouble_is_over: bool,
}

impl Processor {
    /// Lets the bot decide, unless it is quiet.
    pub(crate) async fn ask_bot(
        &self,
        question: &Question<'_>,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Result<Answer, RecordError> {
        let Question { event, conversation, delivery, now, .. } = question;
        if conversation.is_quiet(*now) {
            return Ok(Answer { decision: Ok(Decision::nothing()), trouble_is_over: false });
        }
        self.begin_trial(event, delivery).await?;
        let failures = failures_before(question);
        let turn = self.turn(question, failures);
        let asked = {
            let (bot, turn) = (Arc::clone(&self.bot), turn.clone());
            let work: Work = Box::new(move |runner| bot.decide_here(turn, runner));
            let _thinking = lanes.begin_thinking();
            self.typing(self.driver.drive(work, self.settings.bot_timeout), question, context).await
        };
        match self.checked(event, asked) {
            Ok(decision) => {
                Ok(Answer { decision: Ok(decision), trouble_is_over: conversation.is_in_trouble() })
            }
            Err(trouble) => self.after_failure(question, failures, trouble, turn, context).await,
        }
    }

    /// Waits for the bot, and shows the person meanwhile that it is at work.
    async fn typing(
        &self,
        mut asked: BoxFuture<'static, Verdict>,
        question: &Question<'_>,
        context: &SendContext,
    ) -> Verdict {
        let Question { event, conversation_key, conversation, leased_until, .. } = *question;
        if !self.settings.shows_typing || is_public(event) || event.is_own() {
            return asked.await;
        }
        let thinking = Thinking { event, conversation_key, conversation, leased_until };
        let mut pause = FIRST_TYPING;
        loop {
            match select(asked, self.driver.pause(pause)).await {
                Either::Left((verdict, _)) => return verdict,
                Either::Right(((), still)) => asked = still,
            }
            // No reply is sent before it has ended: typing must not be shown after the answer.
            let shown = Box::pin(self.outbox.show_typing(thinking, context));
            if let Either::Left((Err(error), _)) =
                select(shown, self.driver.pause(SHOWN_WITHIN)).await
            {
                tracing::warn!(%error, "typing was not shown");
            }
            pause = NEXT_TYPING;
        }
    }

    async fn after_failure(
        &self,
        question: &Question<'_>,
        before: Failures,
        trouble: Trouble,
        turn: TurnData,
        context: &SendContext,
    ) -> Result<Answer, RecordError> {
        let event = question.event;
        let failures = Failures { tries: before.tries + 1, ..before };
        let (kind, label) = (trouble.name(), trouble.label());
        tracing::warn!(kind, label, tries = failures.tries, "the bot did not decide");
        self.count_trouble(Metric::BotFailed, event, &trouble);
        let (now, patience) = (self.clock.now(), self.settings.bot_patience);
        let chance = chance(&event.id, failures.tries);
        if let Next::Again(after) = patience::next(&trouble, failures, now, patience, chance) {
            self.note_failure(question, failures, &trouble, context).await?;
            return Err(RecordError::PutOff(after));
        }
        let instead = self.give_up(event, &trouble, turn).await;
        let decision = match (instead, trouble) {
            (Some(decision), _) => Ok(decision),
            (None, Trouble::Bot(messenger::bot::BotError::Invalid(invalid))) => Err(invalid),
            (None, trouble) => return Err(RecordError::GivenUp(trouble)),
        };
        Ok(Answer { decision, trouble_is_over: false })
    }

    /// What the bot wants to do instead of a decision, if it keeps to the limits.
    async fn give_up(&self, event: &Event, trouble: &Trouble, turn: TurnData) -> Option<Decision> {
        let (bot, why) = (Arc::clone(&self.bot), trouble.clone());
        let work: Work = Box::new(move |_| bot.give_up_here(turn, &why).ok_or(why));
        let given_up = self.checked(event, self.driver.drive(work, GIVING_UP).await);
        match given_up {
            Ok(decision) => {
                self.count_trouble(Metric::BotGaveUp, event, trouble);
                Some(decision)
            }
            Err(same) if same == *trouble => None,
            Err(other) => {
                tracing::error!(kind = other.name(), "the bot failed at giving up");
                None
            }
        }
    }

    fn checked(&self, event: &Event, asked: Verdict) -> Verdict {
        let decision = asked?;
        self.outbox.check(event, &decision).map_err(|invalid| Trouble::Bot(invalid.into()))?;
        Ok(decision)
    }

    /// Writes down that the bot failed at an event. A comment has no conversation to write it into: how often
    /// it was received stands for it.
    async fn note_failure(
        &self,
        question: &Question<'_>,
        failures: Failures,
        trouble: &Trouble,
        context: &SendContext,
    ) -> Result<(), RecordError> {
        let event = question.event;
        if is_public(event) {
            return Ok(());
        }
        let failed = FailedTry {
            entry_id: &entry_id(event),
            happened_at: event.happened_at(),
            tries: failures.tries,
            since: patience::may_pass(trouble).then_some(failures.since),
            by: &context.by,
        };
        let store = self.outbox.store();
        let noted = store.note_failed_try(question.conversation_key, &failed).await;
        if noted.map_err(OutboxError::from)? {
            Ok(())
        } else {
            Err(OutboxError::PersonErased.into())
        }
    }

    fn count_trouble(&self, metric: Metric, event: &Event, trouble: &Trouble) {
        let details = [("kind", trouble.name()), ("label", trouble.label())];
        self.telemetry.count(metric, event.page_id.as_str(), &details);
    }

    fn turn(&self, question: &Question<'_>, failures: Failures) -> TurnData {
        let Question { event, conversation, profile, delivery, now, .. } = question;
        TurnData {
            events: std::iter::once(*event).chain(&delivery.more).cloned().collect(),
            conversation: seen_by_author(event, conversation, profile.clone()),
            now: *now,
            ends_at: self.clock.now() + self.settings.bot_timeout,
            clock: Arc::clone(&self.clock),
            attempt: failures.tries + 1,
            policy: self.outbox.settings().policy,
            outside: Arc::clone(&self.outside),
            around: Arc::new(Surroundings {
                outbox: Arc::clone(&self.outbox),
                entry: EntryKey {
                    conversation_key: question.conversation_key.clone(),
                    id: entry_id(event),
                },
                platform: event.platform,
                erased_at: conversation.erased_at,
            }),
        }
    }

    /// The time that an event needs at least: to be opened, for the bot, and to be recorded.
    pub(crate) fn event_budget(&self) -> Duration {
        let published = if self.outbox.publisher().is_off() { 0 } else { 2 };
        self.settings.bot_timeout + (3 + published) * CALL_TIMEOUT
    }
}

/// How the bot has failed at an event before, and for its person.
fn failures_before(question: &Question<'_>) -> Failures {
    let Question { event, conversation, delivery, now, .. } = question;
    if is_public(event) {
        return Failures { tries: delivery.times_before, since: event.received_at.min(*now) };
    }
    let is_same = conversation.trouble_for.as_deref() == Some(&*entry_id(event));
    let tries = if is_same { conversation.trouble_tries } else { 0 };
    Failures { tries, since: conversation.trouble_since.unwrap_or(*now) }
}

/// Whether an event is a comment or a post: its answer is a private reply.
fn is_public(event: &Event) -> bool {
    matches!(event.kind, Kind::Comment(_) | Kind::Post(_))
}

/// A number from 0 to 1 that differs from event to event and from try to try.
fn chance(event_id: &str, tries: u64) -> f64 {
    let of_event = event_id.get(..4).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let mixed = (of_event.unwrap_or_default() + tries * 7919) % 1000;
    f64::from(u32::try_from(mixed).unwrap_or_default()) / 999.0
}

/// The timers that wait and that the bot has set itself.
fn timers(conversation: &ConversationItem) -> BTreeMap<String, Timestamp> {
    let own = conversation.waiting.iter().filter_map(|it| Some((it.timer.clone()?, it.first_due)));
    own.filter(|(key, _)| key != RESUMED).collect()
}

fn seen_by_author(
    event: &Event,
    conversation: &ConversationItem,
    profile: Option<Profile>,
) -> Conversation {
    let state = conversation.state.as_deref().map(serde_json::from_str::<Value>);
    Conversation {
        state: state.and_then(Result::ok).unwrap_or_default(),
        state_version: conversation.state_version,
        known_as: conversation.known_as.clone(),
        standing: Standing { platform: event.platform, ..conversation.standing() },
        timers: timers(conversation),
        profile,
    }
}
