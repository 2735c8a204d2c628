//! What must hold about what a bot does beside answering each message: turns of several messages, timers, memos, and
//! the typing that is shown while it thinks.

use std::collections::BTreeSet;

use backend::store::{ConversationKey, Entry, EntryKey, Reason, Status, StepKey};
use messenger::event::{Event, RESUMED, TimerDue};

use super::history::Said;
use super::promises::{Onlooker, TOLERANCE, entry_key};

impl Onlooker<'_> {
    /// The decision about the event that an entry is named after.
    pub(super) fn decision_about(&self, key: &EntryKey) -> Option<(&EntryKey, &Entry)> {
        let own = self.entries.get_key_value(key).filter(|(_, entry)| !is_mark(entry));
        own.or_else(|| self.entries.get_key_value(self.covered_by.get(key)?))
    }

    /// The events that an entry decides about.
    pub(super) fn decided_in<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: &'a Entry,
    ) -> impl Iterator<Item = &'a Said> {
        self.history.said.iter().filter_map(move |(event_id, said)| {
            let own = entry_key(said, event_id);
            let is_first = own == *key && !is_mark(entry);
            let is_here =
                own.conversation_key == key.conversation_key && entry.covers.contains(&own.id);
            (is_first || is_here).then_some(said)
        })
    }

    pub(super) fn nothing_of_a_decision_is_lost(&self) {
        for (key, entry) in &self.entries {
            let (mut later, mut timers) = (0, BTreeSet::new());
            for said in self.decided_in(key, entry).filter(|said| !self.may_be_erased(said)) {
                later += said.script.later.len();
                timers.extend(said.script.wake.iter().map(|_| said.script.timer_key()));
            }
            let timers = timers.len();
            let parts = (1..=later).map(|index| format!("{}.{index}", key.id));
            for id in parts.chain((1..=timers).map(|index| format!("{}.t{index}", key.id))) {
                let part = EntryKey { id, conversation_key: key.conversation_key.clone() };
                if !self.entries.contains_key(&part) {
                    self.breaks("nothing is lost", format!("{} is missing", part.id));
                }
            }
        }
    }

    /// An event belongs to one decision.
    pub(super) fn nothing_is_answered_twice(&self) {
        for (covered, by) in &self.covered_by {
            if self.entries.get(covered).is_some_and(|entry| !is_mark(entry)) {
                let how = format!("{} was answered with {}, and by itself", covered.id, by.id);
                self.breaks("nothing is answered twice", how);
            }
        }
    }

    /// The bot is asked about each timer that was fired, and about none that an answer cancelled.
    pub(super) fn timers_wake_the_bot_once(&self) {
        for (key, entry) in &self.entries {
            let Some(timer) = entry.timer.as_ref().filter(|timer| timer.key != RESUMED) else {
                continue;
            };
            let Some(woken) = woken(key, entry) else { continue };
            let is_asked = self.entries.contains_key(&woken);
            let is_fired = entry.status == Status::Sent && entry.reason == Some(Reason::Fired);
            let erased_until = self.erased_until(&key.conversation_key);
            let may_be_erased =
                erased_until.is_some_and(|until| entry.decided_at <= until + TOLERANCE);
            if is_fired && !is_asked && !may_be_erased && !self.may_be_cancelled(key, entry) {
                let how = format!("{} of {} was fired, and the bot not asked", timer.key, key.id);
                self.breaks("a timer wakes the bot once", how);
            }
            if is_asked && entry.status == Status::Cancelled {
                let how = format!("{} of {} was cancelled, and the bot asked", timer.key, key.id);
                self.breaks("a timer wakes the bot once", how);
            }
            if is_asked && self.was_answered_before(&woken, entry) {
                let how = format!("{} of {} was answered, and the bot asked", timer.key, key.id);
                self.breaks("an answered timer is silent", how);
            }
        }
    }

    /// Whether a timer that was fired may have been cancelled before the bot could be asked: by an answer, or by
    /// another one of its key.
    fn may_be_cancelled(&self, key: &EntryKey, entry: &Entry) -> bool {
        let of_person = |other: &&Said| other.conversation_key() == key.conversation_key;
        let since = entry.cancelled_by_answer_after;
        let mut said = self.history.said.values().filter(of_person);
        let is_answered =
            said.any(|said| since.is_some_and(|since| since <= said.at + said.ahead + TOLERANCE));
        let is_replaced = self.entries.iter().any(|(other, it)| {
            other.conversation_key == key.conversation_key
                && other != key
                && it.decided_at >= entry.decided_at
                && it.timer.as_ref().map(|timer| &timer.key)
                    == entry.timer.as_ref().map(|it| &it.key)
        });
        is_answered || is_replaced
    }

    /// Whether what cancels a timer had been processed when the bot was asked about it.
    fn was_answered_before(&self, woken: &EntryKey, timer: &Entry) -> bool {
        let Some(since) = timer.cancelled_by_answer_after else { return false };
        let put = self.history.put.get(woken).and_then(|put| put.checked);
        let of_person = |said: &&Said| said.conversation_key() == woken.conversation_key;
        let mut said = self.history.said.values().filter(of_person);
        said.any(|said| {
            since + TOLERANCE < said.at
                && said.processed.is_some_and(|done| put.is_some_and(|asked| done < asked))
        })
    }

    /// What was done before an invocation began, and kept, is not done by it again.
    pub(super) fn what_was_done_is_not_done_again(&self) {
        for (place, again) in self.history.kept.iter().enumerate() {
            let mut before = self.history.kept[..place].iter();
            if before.any(|first| first.key == again.key && first.point < again.began) {
                let how = format!("{} at {}", again.key, again.point.at);
                self.breaks("what was done once is not done again", how);
            }
        }
    }

    pub(super) fn typing_is_shown_while_the_bot_thinks(&self) {
        for typed in &self.history.typed {
            let how = || format!("typing at {} for {}", typed.at, typed.psid);
            if let Some((code, subcode)) = typed.refused {
                let how = format!("{}: {code}/{subcode:?}", how());
                self.breaks("nothing is sent that Meta refuses", how);
            }
            // It also goes ahead of a message whose sending was unclear, to hear whether Graph answers.
            let to_person =
                |step: &StepKey| step.entry.conversation_key.person.to_string() == typed.psid;
            let is_unclear = |(invocation, step): &(u64, StepKey)| {
                self.history.hindered.contains(invocation) && to_person(step)
            };
            let attempts = &self.history.attempts;
            let is_probe = self.history.claims.iter().any(is_unclear)
                || attempts.iter().any(|attempt| attempt.unclear && to_person(&attempt.key));
            if !typed.is_thinking && !is_probe {
                self.breaks("typing is shown while the bot thinks", how());
            }
        }
    }
}

/// Whether an entry only says that its event was answered together with others.
fn is_mark(entry: &Entry) -> bool {
    entry.reason == Some(Reason::AnsweredWith)
}

/// The entry of what the bot decides when a timer has woken it.
fn woken(key: &EntryKey, entry: &Entry) -> Option<EntryKey> {
    let ConversationKey { page_id, person } = &key.conversation_key;
    let timer = entry.timer.as_ref()?;
    let due = TimerDue {
        key: timer.key.clone(),
        payload: serde_json::from_str(&timer.payload).ok()?,
        set_at: entry.decided_at,
        due_at: entry.first_due,
        entry: key.id.clone(),
    };
    let platform = messenger::event::Platform::Messenger;
    let event = Event::of_timer(page_id, platform, person.clone(), due, entry.first_due).ok()?;
    Some(EntryKey { id: backend::outbox::entry_id(&event), ..key.clone() })
}
