//! Timers of the bot: entries without steps that wake it, fired by the sweep, handled by the event processor.
//!
//! A timer has its place among those that wait until the bot has been asked about it, so that whatever comes before
//! that can still cancel it: an answer, another timer of its key, the bot itself.

use crate::store::{
    CancelOutcome, Cancellation, Cause, Change, ConversationItem, ConversationKey,
    ConversationUpdate, Created, Entry, EntryKey, Guard, PendingEntry, Reason, Status, StoredTimer,
};
use messenger::clock::Timestamp;
use messenger::decision::MAX_TIMERS;
use messenger::event::{Event, Own, RESUMED, TimerDue};
use messenger::window::Purpose;

use super::attempt::{Attempt, Outcome};
use super::next::{Halt, LOOK_AT_THREAD};
use super::settle::LONGEST_PAUSE;
use super::{IncomingTurn, Outbox, OutboxError};

/// What becomes of an own event whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnEvent {
    /// The bot is asked about it.
    Asked,
    /// It means nothing any more, or waits for the end of the bot's silence.
    Over,
}

impl Outbox {
    /// Fires a timer that is due: puts its event into the queue, and then ends it. A death in between repeats the
    /// event, about which the bot is asked once.
    pub(super) async fn fire(
        &self,
        attempt: &Attempt<'_>,
        guard: Guard<'_>,
        timer: &StoredTimer,
    ) -> Result<Outcome, OutboxError> {
        let (entry, now) = (&attempt.entry, self.clock.now());
        if let Some(halt) = hinders(entry, attempt.conversation, now) {
            return self.halt(attempt, guard, halt).await;
        }
        // The sweep has the queue; it finds the timer in the index.
        let Some(intake) = &self.wakes else {
            return Ok(Outcome::Rescheduled(entry.first_due));
        };
        let due = TimerDue {
            key: timer.key.clone(),
            payload: serde_json::from_str(&timer.payload)?,
            set_at: entry.decided_at,
            due_at: entry.first_due,
            entry: attempt.key.id.clone(),
        };
        let ConversationKey { page_id, person } = &attempt.key.conversation_key;
        let platform = attempt.conversation.platform;
        let event = Event::of_timer(page_id, platform, person.clone(), due, now)?;
        intake.wake(event).await?;
        let ended = self.next_state(Halt::End(Status::Sent, Some(Reason::Fired)));
        let fired = self.store.change_entry(attempt.key, guard, Change::to(ended)).await?;
        Ok(if fired.is_some() { Outcome::Fired } else { Outcome::Lost })
    }

    /// Takes the place of an own event's timer, so that it is forgotten with the decision about it.
    ///
    /// One without a place was cancelled, replaced or handled before. While people answer it waits for their end.
    ///
    /// # Errors
    /// [`OutboxError`]; the event comes again.
    pub async fn take_own(
        &self,
        incoming: &mut IncomingTurn<'_>,
        timer: &Own,
    ) -> Result<OwnEvent, OutboxError> {
        let conversation = &incoming.conversation;
        let place = conversation.waiting.iter().find(|waiting| waiting.id == timer.entry).cloned();
        let Some(place) = place else { return Ok(OwnEvent::Over) };
        let now = self.clock.now();
        if let Some(due_at) = quiet_until(conversation, now) {
            let conversation_key = incoming.conversation_key.clone();
            let key = EntryKey { conversation_key, id: timer.entry.clone() };
            self.put_off(&key, place, timer, due_at).await?;
            return Ok(OwnEvent::Over);
        }
        incoming.conversation.forget(std::slice::from_ref(&place));
        incoming.forget.push(place);
        Ok(OwnEvent::Asked)
    }

    /// Lets a timer that was fired wait until people have answered.
    ///
    /// Its event may come before the sweep has ended its entry: then nothing can wait yet, and the event comes again.
    async fn put_off(
        &self,
        key: &EntryKey,
        place: PendingEntry,
        fired: &Own,
        due_at: Timestamp,
    ) -> Result<(), OutboxError> {
        let expires_at = self.expires_at(due_at + LONGEST_PAUSE);
        let waits_until = if self.store.rearm_timer(key, due_at, expires_at).await? {
            due_at
        } else {
            let Some(entry) = self.store.entry(key).await? else { return Ok(()) };
            let is_put_off = entry.first_due > fired.due_at;
            match entry.status {
                Status::Open if is_put_off => entry.first_due,
                Status::Open => return Err(OutboxError::HeldElsewhere),
                Status::Sent if !is_put_off => return Err(OutboxError::HeldElsewhere),
                _ => return Ok(()),
            }
        };
        let later = PendingEntry { first_due: waits_until, ..place };
        self.list(&key.conversation_key, vec![later]).await
    }

    /// Stores the timers of a decision, and cancels those that it does not want any more: what the conversation has to
    /// change. What was decided later stays.
    pub(super) async fn set_timers(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
        timers: Vec<(EntryKey, Entry)>,
        cancelled: &[String],
        decided_at: Timestamp,
    ) -> Result<ConversationUpdate, OutboxError> {
        let mut changes = ConversationUpdate::default();
        let mut left = conversation.clone();
        for key in cancelled {
            let earlier = left.timer(key).filter(|it| it.decided_at <= decided_at).cloned();
            if let Some(earlier) = earlier
                && self.cancel_timer(conversation_key, &earlier, Cancellation::Withdrawn).await?
            {
                left.forget(std::slice::from_ref(&earlier));
                changes.forget.push(earlier);
            }
        }
        for (key, entry) in timers {
            self.set_timer(&key, entry, &mut left, &mut changes).await?;
        }
        Ok(changes)
    }

    async fn set_timer(
        &self,
        key: &EntryKey,
        mut entry: Entry,
        left: &mut ConversationItem,
        changes: &mut ConversationUpdate,
    ) -> Result<(), OutboxError> {
        let waiting = entry.waiting();
        let other = left.timer(waiting.timer.as_deref().unwrap_or_default()).cloned();
        let other = other.filter(|other| other.id != key.id);
        let now = self.clock.now();
        let mut end = |status, reason| {
            let expires_at = self.expires_at(now);
            entry.ended_from_start(status, Some(reason), now, expires_at);
        };
        match other {
            Some(later) if later.decided_at > waiting.decided_at => {
                end(Status::Cancelled, Reason::Replaced);
            }
            Some(earlier) => {
                let conversation_key = &key.conversation_key;
                if self.cancel_timer(conversation_key, &earlier, Cancellation::Replaced).await? {
                    left.forget(std::slice::from_ref(&earlier));
                    changes.forget.push(earlier);
                }
            }
            None => {
                let timers = left.waiting.iter().filter(|it| it.timer.is_some()).count();
                let has_place = left.waiting.iter().any(|it| it.id == key.id);
                let is_set_by_bot = waiting.timer.as_deref() != Some(RESUMED);
                if is_set_by_bot && !has_place && (timers >= MAX_TIMERS || left.room() == 0) {
                    tracing::error!(timer = waiting.timer, "a timer finds no place");
                    end(Status::Failed, Reason::TooManyWaiting);
                }
            }
        }
        let stored = match self.create(&mut entry).await? {
            Created::New => entry,
            Created::Existing(there) => *there,
        };
        if stored.is_open() {
            left.waiting.push(stored.waiting());
            changes.add.push(stored.waiting());
        }
        Ok(())
    }

    /// Cancels a timer, whether or not it was fired: whether it is over.
    async fn cancel_timer(
        &self,
        conversation_key: &ConversationKey,
        timer: &PendingEntry,
        why: Cancellation,
    ) -> Result<bool, OutboxError> {
        let key = EntryKey { conversation_key: conversation_key.clone(), id: timer.id.clone() };
        let now = self.clock.now();
        let outcome = self.store.cancel_entry(&key, why, now, self.expires_at(now)).await?;
        if outcome == CancelOutcome::Kept {
            return Ok(false);
        }
        self.store.unlist_entry(&key).await?;
        Ok(true)
    }

    /// Tells the bot that it speaks again, if it was quiet until now: as a timer that is due at once.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn tell_resumed(
        &self,
        conversation_key: &ConversationKey,
        before: &ConversationItem,
        cause: Cause,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        if !before.is_quiet(now) || before.was_erased_since(cause) || before.is_erased() {
            return Ok(());
        }
        let id = format!("resumed-{}", cause.at().millis());
        let key = EntryKey { conversation_key: conversation_key.clone(), id };
        let timer = StoredTimer { key: RESUMED.to_owned(), payload: "null".to_owned() };
        let give_up_at = now + self.settings.give_up_after;
        let entry = of_timer(&key, timer, now, now, give_up_at, before.erased_at);
        let changes =
            self.set_timers(conversation_key, before, vec![(key, entry)], &[], now).await?;
        self.store.make_places(conversation_key).await?;
        self.store.settle(conversation_key, &changes).await?;
        self.forget_ended(conversation_key, &changes.add).await
    }
}

/// The entry of a timer.
pub(super) fn of_timer(
    key: &EntryKey,
    timer: StoredTimer,
    due_at: Timestamp,
    decided_at: Timestamp,
    give_up_at: Timestamp,
    after_erasure: Option<Timestamp>,
) -> Entry {
    let mut entry = Entry::new(key, Purpose::Update, Vec::new(), due_at, decided_at, give_up_at);
    entry.timer = Some(timer);
    entry.after_erasure = after_erasure;
    entry
}

/// What hinders a timer that is due.
fn hinders(entry: &Entry, conversation: &ConversationItem, now: Timestamp) -> Option<Halt> {
    if now >= entry.give_up_at {
        return Some(Halt::End(Status::Failed, Some(Reason::GaveUp(None))));
    }
    if conversation.erased_at > entry.after_erasure {
        return Some(Halt::ERASED);
    }
    let answer = entry.cancelled_by_answer_after;
    if answer.is_some_and(|after| conversation.last_message_at > Some(after)) {
        return Some(Halt::End(Status::Cancelled, Some(Reason::Answered)));
    }
    Some(Halt::Reschedule(quiet_until(conversation, now)?, Reason::Quiet))
}

/// Until when the bot is quiet, if it is: how long another app keeps the thread is not known, so that is looked at
/// anew.
fn quiet_until(conversation: &ConversationItem, now: Timestamp) -> Option<Timestamp> {
    let thread = conversation.thread_taken_until(now).map(|until| until.min(now + LOOK_AT_THREAD));
    conversation.quiet_until.filter(|until| now < *until).max(thread)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use messenger::person::Person;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    type Change = fn(&mut Entry, &mut ConversationItem);

    #[test]
    fn a_timer_is_hindered_by_what_made_it_needless_and_waits_while_people_answer() {
        let quiet = |until| Some(Halt::Reschedule(until, Reason::Quiet));
        let cancelled = Some(Halt::End(Status::Cancelled, Some(Reason::Answered)));
        let rows: [(&str, Change, Option<Halt>); 9] = [
            ("due", |_, _| {}, None),
            ("answered", |_, talk| talk.last_message_at = Some(NOW), None),
            (
                "answered, and that cancels it",
                |timer, talk| {
                    timer.cancelled_by_answer_after = Some(NOW - HOUR);
                    talk.last_message_at = Some(NOW);
                },
                cancelled,
            ),
            (
                "set by the last answer",
                |timer, talk| {
                    timer.cancelled_by_answer_after = Some(NOW);
                    talk.last_message_at = Some(NOW);
                },
                None,
            ),
            ("people answer", |_, talk| talk.quiet_until = Some(NOW + HOUR), quiet(NOW + HOUR)),
            ("people have answered", |_, talk| talk.quiet_until = Some(NOW), None),
            (
                "another app has the thread",
                |_, talk| talk.thread_until = Some(NOW + HOUR),
                quiet(NOW + LOOK_AT_THREAD),
            ),
            ("erased", |_, talk| talk.erased_at = Some(NOW), Some(Halt::ERASED)),
            (
                "never fired",
                |timer, _| timer.give_up_at = NOW,
                Some(Halt::End(Status::Failed, Some(Reason::GaveUp(None)))),
            ),
        ];
        for (what, change, expected) in rows {
            let conversation_key =
                ConversationKey { page_id: "1".into(), person: Person::Psid("2".into()) };
            let key = EntryKey { conversation_key, id: "e.t1".into() };
            let timer = StoredTimer { key: "remind".into(), payload: "null".into() };
            let mut entry = of_timer(&key, timer, NOW, NOW - HOUR, NOW + HOUR, None);
            let mut conversation = ConversationItem::default();
            change(&mut entry, &mut conversation);
            assert_eq!(hinders(&entry, &conversation, NOW), expected, "{what}");
        }
    }
}
