//! How the bot is asked, in memory: again after failures that may pass, and for what to do instead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::at_once::AtOnce;
use super::kit::Kit;
use super::nearby::Nearby;
use super::person::Entry;
use super::timers::SetBy;
use super::transcript::{Ending, Refused, What, escaped};
use crate::bot::patience::{DEFAULT_PATIENCE, Failures, Next, may_pass, next};
use crate::bot::{BotError, Gather, Outside, Trouble, TurnData, Verdict};
use crate::clock::SharedClock;
use crate::decision::{Conversation, Decision};
use crate::event::Event;
use crate::limits::{DEFAULT_BOT_TIMEOUT_SECONDS, DEFAULT_STATE_BYTES, MOST_WAITING};
use crate::window::{Policy, Purpose, Standing};

/// The middle of the range by which pauses are spread.
const NO_SPREAD: f64 = 0.5;

/// Something that the bot is asked about.
struct Question<'a> {
    who: &'a str,
    /// Oldest first; never empty.
    events: &'a [Event],
    /// Whether it is a comment or a visitor's post.
    is_public: bool,
}

impl Question<'_> {
    fn newest(&self) -> &Event {
        &self.events[self.events.len() - 1]
    }
}

impl Kit {
    /// A person did something, or a timer is due: the bot decides about it, and what it decides is done.
    pub(super) fn answer(&mut self, who: &str, events: &[Event]) -> Result<(), Refused> {
        self.person(who).is_in_turn = true;
        let answered = self.answer_in_turn(&Question { who, events, is_public: false });
        self.person(who).is_in_turn = false;
        answered
    }

    fn answer_in_turn(&mut self, question: &Question<'_>) -> Result<(), Refused> {
        let newest = question.newest();
        if let Some(pause) = self.bot.gather().pause().filter(|_| Gather::takes(newest)) {
            self.pass_to(newest.happened_at() + pause)?;
        }
        for event in question.events {
            self.hear(question.who, event);
        }
        self.pass_to(self.now())?;
        if let Some(decision) = self.decide(question)? {
            self.apply(question, decision);
        }
        Ok(())
    }

    /// Somebody commented or posted: what the bot decides is the one private reply.
    pub(super) fn answer_in_private(&mut self, who: &str, event: &Event) -> Result<(), Refused> {
        let events = std::slice::from_ref(event);
        let question = Question { who, events, is_public: true };
        let Some(decision) = self.decide(&question)?.filter(|it| !it.is_nothing()) else {
            return Ok(());
        };
        let (now, number) = (self.now(), self.next_number());
        let mut entry = Entry::new(decision.say, Purpose::PrivateReply, now, number);
        entry.standing = Some(Standing {
            platform: event.platform,
            last_message_at: Some(event.happened_at()),
            ..Standing::default()
        });
        self.person(who).conversation.known_as.extend(event.person.clone());
        self.deliver(who, entry);
        Ok(())
    }

    /// Does what the bot decided.
    fn apply(&mut self, question: &Question<'_>, decision: Decision) {
        let (who, now) = (question.who, self.now());
        let newest = question.newest();
        let by = SetBy { id: &question.events[0].id, happened_at: newest.happened_at() };
        let purpose = newest.purpose_of_answer();
        let mut reply = Entry::new(decision.say, purpose, now, self.next_number());
        reply.despite_quiet = decision.quiet_for.is_some() || decision.hand_over.is_some();
        if let Some(span) = decision.quiet_for {
            self.person(who).silence(now + span);
        }
        // What is not wanted any more makes room for what is.
        for key in &decision.cancel_timers {
            self.person(who).cancel_timer(key);
        }
        self.set_timers(who, by, decision.timers);
        if let Some(hand_over) = &decision.hand_over {
            self.hand_over(who, by, hand_over);
        }
        for follow_up in decision.follow_ups {
            let due_at = follow_up.when.after(now);
            let number = self.next_number();
            let mut entry = Entry::new(follow_up.messages, follow_up.purpose, due_at, number);
            entry.fallback = follow_up.fallback;
            entry.cancelled_by_answer_after =
                follow_up.cancelled_by_answer.then_some(by.happened_at);
            if self.person(who).count_waiting() < MOST_WAITING {
                self.person(who).waiting.push(entry);
            } else {
                self.end(who, Ending::Failed, "too_many_waiting", entry.messages.first());
            }
        }
        let known = self.person(who);
        if let Some(state) = decision.state {
            known.conversation.state = state;
            known.conversation.state_version = decision.state_version;
        }
        if !reply.messages.is_empty() {
            self.deliver(who, reply);
        }
        if let Some(hand_over) = decision.hand_over {
            let text = format!("(hands over: {})", escaped(&hand_over.reason));
            self.happen(who, What::Sent { label: None, text }, true);
        }
    }

    /// What the bot decides, within the limits; nothing if it is quiet, or came to no decision.
    fn decide(&mut self, question: &Question<'_>) -> Result<Option<Decision>, Refused> {
        let Question { who, is_public, .. } = *question;
        for tries in 1.. {
            let now = self.now();
            if !is_public && self.person(who).is_quiet(now) {
                return Ok(None);
            }
            let turn = self.turn(question, tries);
            let asked = self.ask(&turn, question)?;
            self.last_turn = Some(turn.clone());
            let trouble = match asked {
                Ok(decision) => {
                    self.person(who).trouble_since = None;
                    return Ok(Some(decision));
                }
                Err(trouble) => trouble,
            };
            let known = self.person(who);
            let since = known.trouble_since.unwrap_or(now);
            let since = if is_public { question.newest().received_at } else { since };
            if may_pass(&trouble) && !is_public {
                known.trouble_since = Some(since);
            }
            let failures = Failures { tries, since };
            match next(&trouble, failures, now, DEFAULT_PATIENCE, NO_SPREAD) {
                Next::Again(pause) => self.pass_to(now + pause)?,
                Next::GiveUp => return Ok(self.give_up(turn, &trouble, question)),
            }
        }
        Ok(None)
    }

    fn turn(&mut self, question: &Question<'_>, attempt: u64) -> TurnData {
        let Question { who, events, is_public } = *question;
        let known = self.person(who);
        let history = known.history.clone();
        let conversation = if is_public {
            let standing = Standing { platform: events[0].platform, ..Standing::default() };
            Conversation { standing, ..Conversation::default() }
        } else {
            let timers = known.timers_of_bot().collect();
            Conversation { timers, ..known.conversation.clone() }
        };
        let now = self.now();
        TurnData {
            events: events.to_vec(),
            conversation,
            now,
            ends_at: now + Duration::from_secs(DEFAULT_BOT_TIMEOUT_SECONDS),
            clock: Arc::clone(&self.clock) as SharedClock,
            attempt,
            policy: Policy::default(),
            outside: Arc::clone(&self.world) as Arc<dyn Outside>,
            around: Arc::new(Nearby {
                memos: Arc::clone(&self.memos),
                event: events[0].id.clone(),
                history,
            }),
        }
    }

    fn ask(&self, turn: &TurnData, question: &Question<'_>) -> Result<Verdict, Refused> {
        let decided = self.run(turn)?;
        Ok(decided.and_then(|decision| checked(decision, question)))
    }

    /// Lets the bot decide, whatever it decides.
    fn run(&self, turn: &TurnData) -> Result<Verdict, Refused> {
        let runner = AtOnce::default();
        let asked = catch_unwind(AssertUnwindSafe(|| self.bot.decide_here(turn.clone(), &runner)));
        if runner.has_waited.get() {
            return Err(Refused(
                "the bot waits for something real, such as a timer, a socket or a task: in a test all that is outside \
                 is a service of the chat's world"
                    .to_owned(),
            ));
        }
        if let Some(name) = self.world.take_broken() {
            return Err(Refused(format!("the service {name} of this chat panicked")));
        }
        if let Some(name) = self.world.take_missing() {
            return Err(Refused(format!(
                "the bot called the service {name}, which this chat does not have: add it with `.world(\"{name}\", …)`"
            )));
        }
        Ok(asked.unwrap_or(Err(Trouble::Panicked)))
    }

    /// What the bot does instead of a decision; without that the event ends.
    fn give_up(
        &mut self,
        turn: TurnData,
        trouble: &Trouble,
        question: &Question<'_>,
    ) -> Option<Decision> {
        let given_up = catch_unwind(AssertUnwindSafe(|| self.bot.give_up_here(turn, trouble)));
        let given_up = given_up.ok().flatten();
        if let Some(decision) = given_up.and_then(|decision| checked(decision, question).ok()) {
            return Some(decision);
        }
        match trouble {
            Trouble::Bot(BotError::Invalid(invalid)) => {
                self.fail(question.who, trouble.name(), &invalid.to_string());
            }
            _ => self.fail(question.who, trouble.name(), trouble.label()),
        }
        None
    }

    /// Asks the bot again about what it was asked last, as if its decision had not been written: what it then changes
    /// outside must have the keys of the first time.
    pub(super) fn ask_again(&mut self) -> Result<(), Refused> {
        let turn = self.last_turn.clone();
        let turn = turn.ok_or(Refused("the bot was not asked about the last event".to_owned()))?;
        let before = self.world.take_changes();
        self.run(&turn)?.ok();
        let after = self.world.take_changes();
        match after.into_iter().find(|change| change.key.is_none() || !before.contains(change)) {
            None => Ok(()),
            Some(change) => Err(Refused(format!(
                "{} came with another Idempotency-Key when the bot was asked again: it would be done twice",
                change.what
            ))),
        }
    }
}

fn checked(decision: Decision, question: &Question<'_>) -> Verdict {
    let checked = decision.check(question.newest(), DEFAULT_STATE_BYTES);
    checked.map_err(|invalid| Trouble::Bot(invalid.into()))?;
    Ok(decision)
}
