//! The bot's timers, and its hand-overs, in memory.

use serde_json::Value;

use super::kit::{Kit, QUIET};
use super::person::{GIVE_UP_AFTER, Known};
use super::transcript::{Ending, Refused};
use crate::clock::Timestamp;
use crate::decision::{HandOver, MAX_TIMERS, Timer};
use crate::event::{Event, RESUMED, TimerDue};
use crate::limits::MOST_WAITING;
use crate::person::Person;

/// The most timers that one step fires: a bot that sets more would go on for ever.
const MOST_FIRED: u32 = 10_000;

/// A timer that waits.
#[derive(Clone, Debug)]
pub(super) struct SetTimer {
    pub(super) due: TimerDue,
    /// Its place among the timers that are due at the same time.
    pub(super) number: u64,
    pub(super) give_up_at: Timestamp,
    /// When what set it happened, if an answer cancels it.
    pub(super) cancelled_by_answer_after: Option<Timestamp>,
    /// Whether it waits for the end of the bot's silence.
    pub(super) waits_for_end_of_quiet: bool,
}

impl SetTimer {
    /// What it is called where messages show their text.
    pub(super) fn shown(&self) -> String {
        format!("(timer {})", self.due.key)
    }
}

impl Known {
    /// Takes away the timer of this key.
    pub(super) fn cancel_timer(&mut self, key: &str) {
        self.timers.retain(|timer| timer.due.key != key);
    }

    /// The timers that a bot sees.
    pub(super) fn timers_of_bot(&self) -> impl Iterator<Item = (String, Timestamp)> {
        // That of a hand-over is none of them.
        let of_bot = self.timers.iter().filter(|timer| timer.due.key != RESUMED);
        of_bot.map(|timer| (timer.due.key.clone(), timer.due.due_at))
    }

    /// Whether one more timer finds a place.
    fn has_room(&self) -> bool {
        self.count_waiting() < MOST_WAITING && self.timers.len() < MAX_TIMERS
    }
}

/// The event that a decision is about, as far as its timers need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetBy<'a> {
    /// The first event's id, after which the decision's entries are named.
    pub(super) id: &'a str,
    /// When the newest one happened.
    pub(super) happened_at: Timestamp,
}

impl Kit {
    /// Sets the timers of a decision; one that finds no place ends as failed.
    pub(super) fn set_timers(&mut self, who: &str, by: SetBy<'_>, timers: Vec<Timer>) {
        let now = self.now();
        for (index, timer) in timers.into_iter().enumerate() {
            let due = TimerDue {
                key: timer.key,
                payload: timer.payload,
                set_at: now,
                due_at: timer.when.after(now),
                entry: format!("{}.t{}", by.id, index + 1),
            };
            self.set_timer(who, due, timer.cancelled_by_answer.then_some(by.happened_at));
        }
    }

    fn set_timer(
        &mut self,
        who: &str,
        due: TimerDue,
        cancelled_by_answer_after: Option<Timestamp>,
    ) {
        let number = self.next_number();
        let timer = SetTimer {
            number,
            give_up_at: due.due_at + GIVE_UP_AFTER,
            due,
            cancelled_by_answer_after,
            waits_for_end_of_quiet: false,
        };
        let known = self.person(who);
        known.cancel_timer(&timer.due.key);
        if timer.due.key == RESUMED || known.has_room() {
            known.timers.push(timer);
        } else {
            self.end_as(who, Ending::Failed, "too_many_waiting", timer.shown());
        }
    }

    /// A timer is due: the bot is asked, unless people answer.
    pub(super) fn fire(&mut self, who: &str, mut timer: SetTimer) -> Result<(), Refused> {
        let now = self.now();
        if now >= timer.give_up_at {
            self.end_as(who, Ending::Failed, "gave_up", timer.shown());
            return Ok(());
        }
        let known = self.person(who);
        if let Some(until) = known.quiet_until.filter(|until| now < *until) {
            timer.due.due_at = until;
            timer.waits_for_end_of_quiet = true;
            known.timers.push(timer);
            return Ok(());
        }
        let (page_id, platform) = (known.account.page_id(), known.account.platform);
        let person = Person::Psid(known.psid.clone());
        self.fired += 1;
        if self.fired > MOST_FIRED {
            let key = &timer.due.key;
            return Err(Refused(format!(
                "more than {MOST_FIRED} timers were due in this step, such as {key}: the bot sets them too soon"
            )));
        }
        let event = Event::of_timer(&page_id, platform, person, timer.due, now)
            .map_err(|error| Refused(format!("the timer cannot be written: {error}")))?;
        self.forget_last_turn();
        self.answer(who, &[event])
    }

    /// Control came back: if the bot was quiet it may speak again, and is told so by a timer that is due at once.
    pub(super) fn resume(&mut self, who: &str, by: &Event) {
        let now = self.now();
        let known = self.person(who);
        let was_quiet = known.is_quiet(now);
        known.end_silence(by.happened_at());
        if was_quiet {
            self.set_timer(who, resumed(&by.id, now, now), None);
        }
    }

    /// People answer from now on.
    pub(super) fn hand_over(&mut self, who: &str, by: SetBy<'_>, hand_over: &HandOver) {
        let now = self.now();
        let known = self.person(who);
        known.silence(now + hand_over.quiet_for.unwrap_or(QUIET));
        if hand_over.wakes {
            let until = known.quiet_until.unwrap_or(now);
            self.set_timer(who, resumed(by.id, now, until), None);
        }
    }
}

fn resumed(event: &str, set_at: Timestamp, due_at: Timestamp) -> TimerDue {
    let (key, entry) = (RESUMED.to_owned(), format!("{event}.t{}", MAX_TIMERS + 1));
    TimerDue { key, payload: Value::Null, set_at, due_at, entry }
}
