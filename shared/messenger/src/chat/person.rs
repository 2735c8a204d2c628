//! What the kit knows of a person: the conversation, what waits for them, and what is on their screen.

use std::time::Duration;

use super::nearby::History;
use super::screen::Screen;
use super::timers::SetTimer;
use super::transcript::{Account, Ending};
use crate::clock::Timestamp;
use crate::decision::Conversation;
use crate::event::Event;
use crate::limits::DEFAULT_GIVE_UP_DAYS;
use crate::message::{Outgoing, UtilityTemplate};
use crate::window::{Allowed, Policy, Purpose, STANDARD_WINDOW, Standing, decide_with_fallback};

/// How long a message or a timer is tried after it was first due.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_hours(24 * DEFAULT_GIVE_UP_DAYS);

/// An entry of the outbox.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) messages: Vec<Outgoing>,
    pub(super) purpose: Purpose,
    pub(super) author: Option<String>,
    pub(super) fallback: Option<UtilityTemplate>,
    pub(super) due_at: Timestamp,
    /// Its place among what is due at the same time.
    pub(super) number: u64,
    pub(super) give_up_at: Timestamp,
    /// When what it is a follow-up to happened, if an answer cancels it.
    pub(super) cancelled_by_answer_after: Option<Timestamp>,
    pub(super) despite_quiet: bool,
    /// Whether it waits for the end of the bot's silence.
    pub(super) waits_for_end_of_quiet: bool,
    /// What its window depends on, if that is not what the person did.
    pub(super) standing: Option<Standing>,
}

impl Entry {
    pub(super) fn new(
        messages: Vec<Outgoing>,
        purpose: Purpose,
        due_at: Timestamp,
        number: u64,
    ) -> Self {
        Self {
            messages,
            purpose,
            author: None,
            fallback: None,
            due_at,
            number,
            give_up_at: due_at + GIVE_UP_AFTER,
            cancelled_by_answer_after: None,
            despite_quiet: false,
            waits_for_end_of_quiet: false,
            standing: None,
        }
    }
}

/// What becomes of an entry now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send(Allowed),
    End(Ending, &'static str),
    WaitUntil(Timestamp),
}

/// A person, as the platform and their screen know them.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) account: Account,
    pub(super) psid: String,
    pub(super) conversation: Conversation,
    pub(super) quiet_until: Option<Timestamp>,
    pub(super) waiting: Vec<Entry>,
    pub(super) timers: Vec<SetTimer>,
    /// Whether the bot is being asked about them: their timers wait behind that, as in their lane of the queue.
    pub(super) is_in_turn: bool,
    /// Since when the bot has failed for them, by something that passes.
    pub(super) trouble_since: Option<Timestamp>,
    pub(super) screen: Screen,
    pub(super) history: History,
}

impl Known {
    pub(super) fn new(account: Account, psid: String) -> Self {
        let mut known = Self {
            account,
            psid,
            conversation: Conversation::default(),
            quiet_until: None,
            waiting: Vec::new(),
            timers: Vec::new(),
            is_in_turn: false,
            trouble_since: None,
            screen: Screen::default(),
            history: History::default(),
        };
        known.write_at(account);
        known
    }

    pub(super) fn write_at(&mut self, account: Account) {
        self.account = account;
        self.conversation.standing.platform = account.platform;
    }

    /// Records what the person did.
    pub(super) fn hear(&mut self, event: &Event) {
        let standing = &mut self.conversation.standing;
        let at = Some(event.happened_at());
        if event.opens_window() && at > standing.last_message_at {
            standing.last_message_at = at;
            standing.free_until = at.map(|at| at + STANDARD_WINDOW);
        }
    }

    pub(super) fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }

    /// Keeps the bot quiet; no silence gets shorter.
    pub(super) fn silence(&mut self, until: Timestamp) {
        self.quiet_until = self.quiet_until.max(Some(until));
    }

    /// Ends the bot's silence: what waits for that is due.
    pub(super) fn end_silence(&mut self, now: Timestamp) {
        self.quiet_until = None;
        for entry in self.waiting.iter_mut().filter(|entry| entry.waits_for_end_of_quiet) {
            entry.due_at = now;
        }
        for timer in self.timers.iter_mut().filter(|timer| timer.waits_for_end_of_quiet) {
            timer.due.due_at = now;
        }
    }

    /// How many messages and timers wait.
    pub(super) fn count_waiting(&self) -> usize {
        self.waiting.len() + self.timers.len()
    }

    /// Takes away what an answer cancels; of timers nobody hears.
    pub(super) fn take_answered(&mut self, answered_at: Timestamp) -> Vec<Entry> {
        let is_answered = |after: Option<Timestamp>| after.is_some_and(|it| answered_at > it);
        self.timers.retain(|timer| !is_answered(timer.cancelled_by_answer_after));
        let is_answered = |entry: &mut Entry| is_answered(entry.cancelled_by_answer_after);
        self.waiting.extract_if(.., is_answered).collect()
    }

    /// What becomes of an entry that is due.
    pub(super) fn next(&self, entry: &Entry, now: Timestamp) -> Next {
        if now >= entry.give_up_at {
            return Next::End(Ending::Failed, "gave_up");
        }
        let allowed = decide_with_fallback(
            entry.purpose,
            entry.author.as_deref(),
            entry.fallback.is_some(),
            &entry.standing.unwrap_or(self.conversation.standing),
            now,
            &Policy::default(),
        );
        let allowed = match allowed {
            Ok(allowed) => allowed,
            Err(refusal) => return Next::End(Ending::Refused, refusal.name()),
        };
        match (entry.purpose, self.quiet_until.filter(|until| now < *until)) {
            (_, None) | (Purpose::Human | Purpose::PrivateReply, _) => Next::Send(allowed),
            _ if entry.despite_quiet => Next::Send(allowed),
            (Purpose::Reply, _) if !entry.waits_for_end_of_quiet => {
                Next::End(Ending::Cancelled, "taken_over")
            }
            (_, Some(until)) => Next::WaitUntil(until),
        }
    }
}
