//! What must hold about people who were erased.
//!
//! A mark counts from the instant at which its write was carried out. A message whose sender had looked
//! at the person before that may still leave, and so may an event whose forwarder had: nothing can take
//! back what is already under way. Each further message of an entry is looked at again.
//!
//! A run of the follow-ups sends and erases side by side: a look at a person whom it erases may be
//! either's, so it does not count as its sender's.

use std::time::Duration;

use backend::store::{ConversationKey, EntryKey};
use messenger::clock::Timestamp;
use serde_json::{Map, Value};

use super::history::{Attempt, Mark, Said};
use super::plan::Cast;
use super::promises::{Onlooker, name};

/// What a conversation may hold about nobody: the mark itself, and the lease on sending.
const NOT_ABOUT_THE_PERSON: [&str; 8] =
    ["pk", "sk", "erased_at", "expires_at", "waiting", "busy_until", "busy_by", "busy_for"];

/// How far a webhook's clock may be behind Meta's, so that an event counts as earlier.
pub(super) const SKEW: Duration = Duration::from_secs(5);

impl Onlooker<'_> {
    fn marks_of<'a>(&'a self, key: &'a ConversationKey) -> impl Iterator<Item = &'a Mark> + 'a {
        self.history.marks.iter().filter(move |mark| mark.conversation_key == *key)
    }

    /// When everything until then was erased last.
    pub(super) fn erased_until(&self, key: &ConversationKey) -> Option<Timestamp> {
        self.marks_of(key).map(|mark| mark.erased_at).max()
    }

    /// Whether what a person did may have been erased.
    pub(super) fn may_be_erased(&self, said: &Said) -> bool {
        self.erased_until(&said.conversation_key()).is_some_and(|until| said.at <= until + SKEW)
    }

    /// Whether an entry was decided about what a mark erases.
    fn is_from_before(&self, key: &EntryKey, mark: &Mark) -> bool {
        let decision: String = key.id.chars().take(32).collect();
        let mut said = self.history.said.iter();
        match said.find(|(event_id, _)| event_id.starts_with(&decision)) {
            Some((_, said)) => said.at + said.ahead <= mark.erased_at,
            None => self.history.put.get(key).is_some_and(|put| {
                put.checked.is_none_or(|checked| checked < mark.point) && put.point < mark.again
            }),
        }
    }

    pub(super) fn what_is_erased_is_gone(&self) {
        let promise = "erased stays erased";
        for item in &self.items {
            let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
            let (page_id, person) = text("pk").split_once('#').unwrap_or_default();
            let Ok(person) = person.parse() else { continue };
            let conversation_key = ConversationKey { page_id: page_id.to_owned(), person };
            let Some(until) = self.erased_until(&conversation_key) else { continue };
            if text("sk") == "conversation" {
                if let Some(what) = self.left_in_conversation(&conversation_key, item, until) {
                    self.breaks(promise, what);
                }
            } else if let Some(id) = text("sk").strip_prefix("outbox#") {
                let key = EntryKey { conversation_key, id: id.to_owned() };
                let mut marks = self.marks_of(&key.conversation_key);
                if marks.any(|mark| self.is_from_before(&key, mark)) {
                    self.breaks(promise, format!("entry {id} is from before {until}"));
                }
            } else if let Some(id) = text("sk").strip_prefix("feed#") {
                let happened_at = item.get("happened_at").and_then(Value::as_i64);
                if happened_at.is_some_and(|at| at <= until.millis()) {
                    self.breaks(promise, format!("event {id} is in the feed"));
                }
            }
        }
    }

    /// What a conversation holds from before an erasure, or without anything after it.
    fn left_in_conversation(
        &self,
        key: &ConversationKey,
        item: &Map<String, Value>,
        until: Timestamp,
    ) -> Option<String> {
        let about: Vec<_> =
            item.keys().filter(|name| !NOT_ABOUT_THE_PERSON.contains(&name.as_str())).collect();
        let last = item.get("last_message_at").and_then(Value::as_i64);
        if last.is_some_and(|at| at <= until.millis()) {
            return Some(format!("the conversation knows of {last:?}, before {until}"));
        }
        let mut inbound = self.history.inbound.values();
        let began_anew =
            inbound.any(|inbound| inbound.conversation_key == *key && until < inbound.happened_at);
        (!about.is_empty() && !began_anew)
            .then(|| format!("the conversation has {about:?}, and nothing happened after {until}"))
    }

    pub(super) fn nothing_is_sent_to_the_erased(&self) {
        for attempt in &self.history.attempts {
            let entry = &attempt.key.entry;
            for mark in self.marks_of(&entry.conversation_key) {
                let is_forbidden = self.was_checked_after(attempt, mark)
                    || (mark.point < attempt.point && self.was_not_checked_again(attempt));
                if self.is_from_before(entry, mark) && is_forbidden {
                    let how = format!(
                        "{} went out at {}, the mark is of {}",
                        name(&attempt.key),
                        attempt.point.at,
                        mark.point.at
                    );
                    self.breaks("nothing is sent to the erased", how);
                }
            }
        }
    }

    /// Whether a message's sender looked at the person, for this message, when the mark was there. A run
    /// that carries out their erasure too has looked at them for that.
    fn was_checked_after(&self, attempt: &Attempt, mark: &Mark) -> bool {
        let mut marks = self.marks_of(&attempt.key.entry.conversation_key);
        let erases = marks.any(|mark| mark.by.contains(&attempt.invocation));
        let checked = attempt.checked.filter(|_| !erases);
        mark.point < checked.unwrap_or(attempt.began) && mark.point < attempt.point
    }

    /// A message of an entry that its sender went on with, without a look at the person in between.
    fn was_not_checked_again(&self, attempt: &Attempt) -> bool {
        let mut others = self.history.attempts.iter().filter(|other| {
            other.invocation == attempt.invocation && other.key.entry == attempt.key.entry
        });
        others.any(|other| {
            other.key.step < attempt.key.step && attempt.checked.is_none_or(|at| at < other.point)
        })
    }

    pub(super) fn nothing_is_posted_about_the_erased(&self) {
        for post in &self.history.posts {
            let Some(inbound) = self.history.inbound.get(&post.event_id) else { continue };
            for mark in self.marks_of(&inbound.conversation_key) {
                let came_later = mark.point < post.point
                    && post.checked.is_none_or(|checked| mark.point < checked);
                if came_later && inbound.happened_by <= mark.erased_at {
                    let how = format!("event {} was posted at {}", post.event_id, post.point.at);
                    self.breaks("nothing is passed on about the erased", how);
                }
            }
        }
    }

    pub(super) fn every_erasure_is_completed(&self) {
        let promise = "an accepted erasure is completed";
        for (key, accepted) in &self.history.erased {
            if !self.marks_of(key).any(|mark| mark.point < *accepted) {
                self.breaks(promise, format!("{} was not marked", key.person));
            }
        }
        for deletion in &self.history.deletions {
            let is_theirs = |mark: &&Mark| {
                Cast::user_id(&mark.conversation_key.person.to_string()) == deletion.user_id
            };
            // A request that failed may have begun it.
            let was_marked = self
                .history
                .marks
                .iter()
                .filter(is_theirs)
                .any(|mark| deletion.asked_at <= mark.point.at);
            let pk = format!("deletion#{}", deletion.code);
            let state = self.items.iter().find(|item| item["pk"] == *pk);
            let state = state.and_then(|item| item.get("state")).and_then(Value::as_str);
            if !was_marked || state != Some("erased") {
                let how = format!("deletion {} is {state:?}, marked: {was_marked}", deletion.code);
                self.breaks(promise, how);
            }
        }
        for item in self.items.iter().filter(|item| item["sk"] == "erasure") {
            self.breaks(promise, format!("a job is left: {item:?}"));
        }
    }
}
