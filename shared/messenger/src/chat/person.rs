//! What the kit knows of a person: the conversation, what waits for them, and what is on their screen.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::shown::{Choice, LeadsTo, choices};
use super::transcript::{Account, Ending};
use crate::clock::Timestamp;
use crate::decision::Conversation;
use crate::event::{Event, Platform};
use crate::message::{Outgoing, UtilityTemplate};
use crate::window::{Allowed, Policy, Purpose, STANDARD_WINDOW, Standing, decide_with_fallback};

/// The most messages that wait for a person; further ones end as failed.
pub(super) const MOST_WAITING: usize = 20;

/// How long the bot is quiet after people took over (`QUIET_HOURS`).
pub(super) const QUIET: Duration = Duration::from_hours(12);

/// How long a message is tried after it was first due (`GIVE_UP_DAYS`).
const GIVE_UP_AFTER: Duration = Duration::from_hours(7 * 24);

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
    /// Since when the bot has failed for them, by something that passes.
    pub(super) trouble_since: Option<Timestamp>,
    pub(super) screen: Screen,
}

impl Known {
    pub(super) fn new(account: Account, psid: String) -> Self {
        let mut known = Self {
            account,
            psid,
            conversation: Conversation::default(),
            quiet_until: None,
            waiting: Vec::new(),
            trouble_since: None,
            screen: Screen::default(),
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
    }

    /// Takes away what an answer cancels.
    pub(super) fn take_answered(&mut self, answered_at: Timestamp) -> Vec<Entry> {
        let is_answered = |entry: &mut Entry| {
            entry.cancelled_by_answer_after.is_some_and(|after| answered_at > after)
        };
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

/// What a person sees of the conversation, as far as it can be pressed or reacted to.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    /// The quick replies under the newest message.
    replies: Vec<Choice>,
    /// The buttons, the newest message's first.
    buttons: Vec<Choice>,
    newest_of_page: Option<String>,
    newest_of_person: Option<String>,
}

impl Screen {
    /// A message of the Page appears.
    pub(super) fn show(&mut self, mid: String, message: &Value) {
        let is_reply = |choice: &Choice| matches!(choice.leads_to, LeadsTo::QuickReply(_));
        let (replies, buttons) = choices(message).into_iter().partition(is_reply);
        self.replies = replies;
        self.buttons.splice(0..0, buttons);
        self.newest_of_page = Some(mid);
    }

    /// A message of the person appears; their quick replies go.
    pub(super) fn write(&mut self, mid: &str) {
        self.replies.clear();
        self.newest_of_person = Some(mid.to_owned());
    }

    /// The message that a reaction is about.
    pub(super) fn newest_of_page(&self) -> Option<&str> {
        self.newest_of_page.as_deref()
    }

    /// The message that is taken back.
    pub(super) fn newest_of_person(&self) -> Option<&str> {
        self.newest_of_person.as_deref()
    }

    /// The fields of the messaging item that pressing something causes, or what is wrong with pressing it.
    pub(super) fn tap(
        &self,
        title: &str,
        mid: &str,
        platform: Platform,
    ) -> Result<Map<String, Value>, String> {
        let mut choices = self.replies.iter().chain(&self.buttons);
        let leads_to = choices.find(|choice| choice.title == title).map(|choice| &choice.leads_to);
        let is_new = self.newest_of_page.is_none() && self.newest_of_person.is_none();
        let (field, value) = match leads_to {
            Some(LeadsTo::QuickReply(payload)) => {
                ("message", json!({"mid": mid, "text": title, "quick_reply": {"payload": payload}}))
            }
            Some(LeadsTo::Postback(payload)) => {
                ("postback", json!({"mid": mid, "title": title, "payload": payload}))
            }
            Some(LeadsTo::Elsewhere) => {
                return Err(format!("[{title}] leads elsewhere: nothing of it reaches the bot"));
            }
            None if is_new && platform == Platform::Messenger && title == GET_STARTED => {
                ("postback", json!({"mid": mid, "title": title, "payload": "GET_STARTED"}))
            }
            None => return Err(format!("[{title}] is not on the screen, which has {self}")),
        };
        Ok(Map::from_iter([(field.to_owned(), value)]))
    }
}

/// The button that a new conversation of Messenger has, with the payload of `functions/setup/profile.json`.
const GET_STARTED: &str = "Get Started";

impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles = self.replies.iter().chain(&self.buttons).map(|choice| choice.title.as_str());
        match titles.collect::<Vec<_>>()[..] {
            [] => f.write_str("nothing to press"),
            ref titles => write!(f, "[{}]", titles.join("], [")),
        }
    }
}
