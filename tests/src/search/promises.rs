//! What must hold at the end of every run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use backend::store::{ConversationItem, ConversationKey, Entry, EntryKey, Reason, Status, StepKey};
use messenger::clock::Timestamp;
use messenger::person::Person;
use messenger::window::{Purpose, SEVEN_DAYS, STANDARD_WINDOW};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::history::{Attempt, History, Point, Said};
use super::latency;
use super::world::World;

/// How far the machines' clocks may be from each other, and what a call may take.
pub(super) const TOLERANCE: Duration = Duration::from_secs(55);

/// The margin that is kept from a window's edge.
const MARGIN: Duration = Duration::from_mins(1);

/// After an unclear send this much time must pass before another one, by any two clocks.
const SHORTEST_GRACE: Duration = Duration::from_secs(8);

/// How long a message may wait for its sender while nothing fails, where calls take up to 0.3 s, one
/// after the other: less than until the schedule's next run.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// For how long a takeover keeps the bot quiet.
const QUIET: Duration = Duration::from_hours(12);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The promise.
    pub promise: &'static str,
    /// How it was broken.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.how)
    }
}

/// Everything that is looked at.
pub(super) struct Onlooker<'a> {
    pub(super) history: &'a History,
    pub(super) entries: BTreeMap<EntryKey, Entry>,
    /// Which entry holds the decision about an event that was answered together with others.
    pub(super) covered_by: BTreeMap<EntryKey, EntryKey>,
    conversations: BTreeMap<ConversationKey, ConversationItem>,
    /// What is in the table.
    pub(super) items: Vec<Map<String, Value>>,
    broken: RefCell<Vec<Broken>>,
}

/// Checks every promise.
pub(super) async fn check(
    world: &World,
    rests: bool,
) -> Result<(Vec<Broken>, (usize, Duration)), Box<dyn Error>> {
    let mut onlooker = Onlooker {
        history: &world.history,
        entries: BTreeMap::new(),
        covered_by: BTreeMap::new(),
        conversations: BTreeMap::new(),
        items: world.platform.items().await?,
        broken: RefCell::default(),
    };
    for item in onlooker.items.clone().iter().chain(&world.history.expired) {
        onlooker.take(item.clone())?;
    }
    if !rests {
        onlooker.breaks("everything comes to rest", "it went on and on".to_owned());
    }
    let queue = world.platform.sqs.messages(crate::platform::EVENTS);
    if !queue.is_empty() {
        onlooker.breaks("nothing is lost", format!("{} events are left", queue.len()));
    }
    onlooker.nothing_is_refused_by_meta();
    onlooker.nothing_is_lost();
    onlooker.nothing_is_doubled();
    onlooker.steps_and_replies_are_in_order();
    onlooker.entries_are_in_order();
    onlooker.people_go_before_campaigns();
    onlooker.every_entry_has_ended();
    onlooker.every_end_is_true();
    onlooker.the_state_changed_once_for_each_event();
    onlooker.nothing_is_left_over();
    onlooker.nothing_is_answered_twice();
    onlooker.timers_wake_the_bot_once();
    onlooker.what_was_done_is_not_done_again();
    onlooker.typing_is_shown_while_the_bot_thinks();
    onlooker.one_fault_loses_no_outcome();
    onlooker.one_sender_at_a_time();
    onlooker.what_is_erased_is_gone();
    onlooker.nothing_is_sent_to_the_erased();
    onlooker.nothing_is_posted_about_the_erased();
    onlooker.every_erasure_is_completed();
    if world.publishes() {
        onlooker.everything_is_passed_on();
    }
    let waits = onlooker.nobody_waits();
    Ok((onlooker.broken.into_inner(), waits))
}

impl Onlooker<'_> {
    fn take(&mut self, item: Map<String, Value>) -> Result<(), Box<dyn Error>> {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let sk = text("sk").to_owned();
        if sk == "conversation" {
            let (page_id, person) = text("pk").split_once('#').unwrap_or_default();
            let conversation_key =
                ConversationKey { page_id: page_id.to_owned(), person: person.parse()? };
            self.conversations
                .insert(conversation_key, ConversationItem::deserialize(Value::Object(item))?);
        } else if sk.starts_with("outbox#") {
            let entry = Entry::deserialize(Value::Object(item))?;
            // What keeps a place for a decision of nothing is no message.
            if !entry.is_placeholder {
                let key = entry.key()?;
                for id in &entry.covers {
                    let covered = EntryKey { id: id.clone(), ..key.clone() };
                    self.covered_by.insert(covered, key.clone());
                }
                self.entries.insert(key, entry);
            }
        }
        Ok(())
    }

    pub(super) fn breaks(&self, promise: &'static str, how: String) {
        self.broken.borrow_mut().push(Broken { promise, how });
    }

    /// No send that Meta refuses, its windows above all, unless the fault was ordered.
    fn nothing_is_refused_by_meta(&self) {
        for attempt in &self.history.attempts {
            let Some((code, subcode)) = attempt.refused.filter(|_| !attempt.faulty) else {
                continue;
            };
            // A token or an app secret that was just replaced is noticed by its first use.
            if attempt.of_credentials {
                continue;
            }
            let promise = match subcode {
                Some(2_018_278) => "the windows are never broken",
                _ => "nothing is sent that Meta refuses",
            };
            let how = format!("{} at {}: {code}/{subcode:?}", name(&attempt.key), attempt.point.at);
            self.breaks(promise, how);
        }
    }

    fn nothing_is_lost(&self) {
        for (event_id, said) in &self.history.said {
            let Some(accepted) = said.accepted else {
                self.breaks(
                    "nothing is lost",
                    format!("event {} was never accepted", said.script.number),
                );
                continue;
            };
            let Some(processed) = said.processed else {
                self.breaks(
                    "nothing is lost",
                    format!("event {} was never processed", said.script.number),
                );
                continue;
            };
            if self.may_be_erased(said) {
                continue;
            }
            let script = &said.script;
            let is_there = self.decision_about(&entry_key(said, event_id)).is_some();
            if script.says_nothing() {
                continue;
            }
            if !is_there && !self.may_be_quiet(said, accepted.at, processed) {
                self.breaks("nothing is lost", format!("event {} was not decided", script.number));
            }
        }
        self.nothing_of_a_decision_is_lost();
    }

    /// Whether people may have answered in the bot's place when an event was processed: what happened
    /// last decides, whenever it arrived.
    fn may_be_quiet(&self, said: &Said, from: Timestamp, processed: Point) -> bool {
        let to = processed.at;
        let is_near = |at: Timestamp| at <= to && from <= at + QUIET + TOLERANCE;
        let received = said.received.unwrap_or(processed);
        let was_given_back = |since: Timestamp| {
            let mut controls = self.history.controls_of(&said.page_id, &said.psid);
            controls.any(|control| {
                control.is_given_back
                    && since < control.at
                    && control.processed.is_some_and(|processed| processed < received)
            })
        };
        let mut taken_over = self.history.taken_over(&said.page_id, &said.psid);
        let is_taken_over = taken_over.any(|at| is_near(at) && !was_given_back(at));
        // Silence begins just before an agent's message is first tried.
        let written = self.entries.iter().any(|(key, entry)| {
            let until = entry.ended_at.unwrap_or(to);
            key.conversation_key == said.conversation_key()
                && self.is_of_people(key)
                && entry.decided_at <= to + TOLERANCE
                && from <= until + QUIET + TOLERANCE
                && !was_given_back(until + TOLERANCE)
        });
        is_taken_over || written
    }

    fn is_of_people(&self, key: &EntryKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.purpose == Purpose::Human)
    }

    /// Whether people wrote to the person of an entry, so that the bot was quiet.
    pub(super) fn people_wrote(&self, key: &EntryKey) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(other, entry)| {
            other.conversation_key == key.conversation_key && entry.purpose == Purpose::Human
        })
    }

    fn deliveries(&self, key: &StepKey) -> Vec<&Attempt> {
        self.history.attempts.iter().filter(|a| a.delivered && a.key == *key).collect()
    }

    fn nothing_is_doubled(&self) {
        let mut keys: Vec<&StepKey> = Vec::new();
        for attempt in &self.history.attempts {
            if !keys.contains(&&attempt.key) {
                keys.push(&attempt.key);
            }
        }
        let promise = "nothing is sent twice";
        for key in keys {
            let attempts: Vec<_> = self
                .history
                .attempts
                .iter()
                .filter(|a| a.key == *key && a.refused.is_none())
                .collect();
            let delivered = self.deliveries(key);
            if delivered.len() > 2 {
                let how = format!("{} was delivered {} times", name(key), delivered.len());
                self.breaks(promise, how);
            }
            for pair in attempts.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                if !first.delivered {
                    continue;
                }
                let twice = format!(
                    "{} went out at {} and at {}",
                    name(key),
                    first.point.at,
                    second.point.at
                );
                if !first.unclear {
                    let how = format!("{twice}, although the first was known to be delivered");
                    self.breaks(promise, how);
                }
                if second.point.at.since(first.point.at) < SHORTEST_GRACE {
                    let how = format!("{twice}: the echo had no time to come");
                    self.breaks(promise, how);
                }
                if self.history.has_lost_secret {
                    continue;
                }
                let echo = self.history.echoes.get(&key.to_string()).cloned().unwrap_or_default();
                if echo.processed.is_some_and(|processed| processed < second.began) {
                    let how = format!("{twice}, although its echo had been processed");
                    self.breaks(promise, how);
                }
                let in_time = echo.accepted.is_some_and(|accepted| {
                    second.began.at.since(accepted.at) > Duration::from_secs(20)
                });
                if in_time && !echo.hindered {
                    let how = format!("{twice}, although its echo had come in time");
                    self.breaks(promise, how);
                }
            }
        }
    }

    /// When each step was first delivered, as the number of the point.
    pub(super) fn first_deliveries(&self, key: &EntryKey, steps: usize) -> Vec<Option<&Attempt>> {
        let step = |step| self.deliveries(&StepKey { entry: key.clone(), step }).into_iter().next();
        (0..steps).map(step).collect()
    }

    /// The number of messages that were delivered while nothing failed, and the longest of their waits.
    fn nobody_waits(&self) -> (usize, Duration) {
        let mut longest = (0, Duration::ZERO);
        for (key, entry) in &self.entries {
            if self.was_taken_over(key)
                || (self.people_wrote(key) && !self.is_of_people(key))
                || Self::is_of_campaign(key)
            {
                continue;
            }
            let first =
                self.deliveries(&StepKey { entry: key.clone(), step: 0 }).into_iter().next();
            let wait = first.and_then(|first| {
                let delivered_at = first.point.at;
                // A request waits for the schedule; a reply and an agent's answer go at once.
                let body = entry.steps.first().map_or("", |step| step.body.as_str());
                let at_once = entry.purpose == Purpose::Reply || body.contains(" answered");
                latency::wait(self.history, entry, at_once, delivered_at)
            });
            let Some(wait) = wait else { continue };
            longest = (longest.0 + 1, longest.1.max(wait));
            if wait > LONGEST_WAIT {
                let how = format!("{} waited {} s", key.id, wait.as_secs());
                self.breaks("nobody waits", how);
            }
        }
        longest
    }

    /// People who take over put automated entries off.
    pub(super) fn was_taken_over(&self, key: &EntryKey) -> bool {
        let ConversationKey { page_id, person } = &key.conversation_key;
        self.history.taken_over(page_id, &person.to_string()).next().is_some()
    }

    fn every_entry_has_ended(&self) {
        for (key, entry) in &self.entries {
            let has_ended =
                !entry.is_open() && entry.ended_at.is_some() && entry.expires_at.is_some();

            if !has_ended {
                let how = format!("{} is {:?}, due {:?}", key.id, entry.status, entry.due_at);
                self.breaks("every entry ends", how);
            }
        }
    }

    fn every_end_is_true(&self) {
        let promise = "every end is true";
        for (key, entry) in &self.entries {
            let reason = entry.reason.as_ref().map(Reason::to_string).unwrap_or_default();
            let delivered = self.first_deliveries(key, entry.steps.len());
            let all = delivered.iter().all(Option::is_some);
            let mut attempts = self.history.attempts.iter().filter(|a| a.key.entry == *key);
            let unclear = attempts.any(|a| a.unclear);
            let say = |how: String| self.breaks(promise, format!("{}: {how}", key.id));
            match entry.status {
                Status::Sent if !all => say("is sent, but not delivered".to_owned()),
                Status::Refused | Status::Failed | Status::Cancelled
                    if all && !entry.steps.is_empty() && !unclear =>
                {
                    say(format!("is {reason}, but was delivered"));
                }
                Status::Failed if entry.reason != Some(Reason::OutcomeUnknown) => {
                    say(format!("failed: {reason}"));
                }
                Status::Failed
                    if self.was_confirmed(key, entry) && !self.history.has_lost_secret =>
                {
                    say(format!("failed: {reason}, but an echo had confirmed the delivery"));
                }
                Status::Refused => {
                    if let Some(how) = self.wrongly_refused(&key.conversation_key, entry) {
                        say(how);
                    }
                }
                Status::Cancelled
                    if entry.reason == Some(Reason::Answered)
                        && !self.was_answered(&key.conversation_key, entry) =>
                {
                    say("is cancelled by an answer that nobody gave".to_owned());
                }
                _ => {}
            }
        }
    }

    /// Whether the echoes of all steps had been processed well before the entry's end.
    fn was_confirmed(&self, key: &EntryKey, entry: &Entry) -> bool {
        (0..entry.steps.len()).all(|step| {
            let metadata = StepKey { entry: key.clone(), step }.to_string();
            let processed = self.history.echoes.get(&metadata).and_then(|echo| echo.processed);
            processed.is_some_and(|point| {
                entry.ended_at.is_some_and(|ended_at| point.at + TOLERANCE < ended_at)
            })
        })
    }

    /// A window that was open for longer than clocks can differ, by events that were processed.
    fn wrongly_refused(&self, conversation_key: &ConversationKey, entry: &Entry) -> Option<String> {
        let ended_at = entry.ended_at?;
        let window = match entry.purpose {
            Purpose::Human => SEVEN_DAYS,
            _ => STANDARD_WINDOW,
        };
        let said = self.history.said.values().filter(|said| {
            said.page_id == conversation_key.page_id
                && conversation_key.person == Person::Psid(said.psid.clone())
                && !self.may_be_erased(said)
                && said.processed.is_some_and(|point| point.at + TOLERANCE < ended_at)
        });
        let last = said.map(|said| said.at).max()?;
        (ended_at + MARGIN + TOLERANCE < last + window)
            .then(|| format!("is refused at {ended_at}, but the person wrote at {last}"))
    }

    fn was_answered(&self, conversation_key: &ConversationKey, entry: &Entry) -> bool {
        let after = entry.cancelled_by_answer_after;
        let mut said = self.history.said.values();
        said.any(|said| {
            said.page_id == conversation_key.page_id
                && conversation_key.person == Person::Psid(said.psid.clone())
                && said.accepted.is_some()
                && after.is_some_and(|after| after <= said.at + TOLERANCE)
        })
    }

    fn the_state_changed_once_for_each_event(&self) {
        let mut counts = BTreeMap::<ConversationKey, (u64, u64)>::new();
        for (key, entry) in &self.entries {
            let conversation = self.conversations.get(&key.conversation_key);
            let began = conversation.and_then(|conversation| conversation.erased_at);
            let remembered =
                self.decided_in(key, entry).filter(|said| said.script.remember).count();
            // An entry that had expired when its person was erased is still among the entries.
            if remembered > 0 && entry.after_erasure == began {
                let (events, decisions) = counts.entry(key.conversation_key.clone()).or_default();
                *events += remembered as u64;
                *decisions += 1;
            }
        }
        for (conversation_key, conversation) in &self.conversations {
            let wanted = counts.get(conversation_key).copied().unwrap_or_default();
            let state = conversation.state.as_deref().and_then(|state| state.parse().ok());
            let found = (state.unwrap_or(0), conversation.state_revision);
            if found != wanted {
                self.breaks(
                    "a state changes once",
                    format!(
                        "events and decisions changed it {wanted:?} times, it is {found:?} for {}",
                        conversation_key.person
                    ),
                );
            }
        }
    }

    fn nothing_is_left_over(&self) {
        for (conversation_key, conversation) in &self.conversations {
            if !conversation.waiting.is_empty() {
                self.breaks(
                    "nothing is left over",
                    format!(
                        "{:?} still wait for {}",
                        conversation.waiting, conversation_key.person
                    ),
                );
            }
        }
        for (key, entry) in &self.entries {
            if entry.due_at.is_some() || entry.lease_until.is_some() {
                self.breaks(
                    "nothing is left over",
                    format!("{} is still in the index or held", key.id),
                );
            }
        }
    }
}

pub(super) fn entry_key(said: &Said, event_id: &str) -> EntryKey {
    EntryKey { conversation_key: said.conversation_key(), id: event_id.chars().take(32).collect() }
}

pub(super) fn name(key: &StepKey) -> String {
    let id: String = key.entry.id.chars().take(8).collect();
    let rest: String = key.entry.id.chars().skip(32).collect();
    format!("{id}{rest} step {}", key.step)
}
