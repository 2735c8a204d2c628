//! The conversation item: when the person last wrote, whose turn it is, what waits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use super::{Cause, ExpiresAt, Update};
use messenger::clock::Timestamp;
use messenger::event::{Platform, TimeSource};
use messenger::limits::MOST_WAITING;
use messenger::person::Person;
use messenger::window::{SEVEN_DAYS, Standing};

pub(super) const SORT_KEY: &str = "conversation";

/// What the table holds about a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ConversationItem {
    /// The platform.
    #[serde(default)]
    pub platform: Platform,
    /// The person's last window-opening action, ms since the epoch; never goes back.
    #[serde(default)]
    pub last_message_at: Option<Timestamp>,
    /// Which time that is.
    #[serde(default)]
    pub last_message_source: TimeSource,
    /// The end of the standard window, ms since the epoch.
    #[serde(default)]
    pub free_until: Option<Timestamp>,
    /// When the person last came by an ad, ms since the epoch, if the windows of ads are tried.
    #[serde(default)]
    pub ad_clicked_at: Option<Timestamp>,
    /// The end of the ad's window: seven days after the first message since, or when Meta closed it. It
    /// means nothing unless the person came by an ad.
    #[serde(default)]
    pub ad_until: Option<Timestamp>,
    /// The author's state as JSON.
    #[serde(default)]
    pub state: Option<String>,
    /// The version of the state's form; 0 if none was stored with it.
    #[serde(default)]
    pub state_version: u32,
    /// How often the state has changed.
    #[serde(default)]
    pub state_revision: u64,
    /// Until when somebody has the lease, ms since the epoch.
    #[serde(default)]
    pub busy_until: Option<Timestamp>,
    /// The holder.
    #[serde(default)]
    pub busy_by: Option<String>,
    /// The entry that the decision of the event processor which has the lease will become.
    #[serde(default)]
    pub busy_for: Option<String>,
    /// The entry of the event that failed by itself last, or is tried alone.
    #[serde(default)]
    pub trial_for: Option<String>,
    /// How often that event failed by itself, a trial that has not ended included.
    #[serde(default)]
    pub trial_count: u64,
    /// The entry of the event that the bot failed to decide last.
    #[serde(default)]
    pub trouble_for: Option<String>,
    /// How often it failed at that event.
    #[serde(default)]
    pub trouble_tries: u64,
    /// When the bot began to fail for the person, by something that passes, and has not decided since, ms
    /// since the epoch.
    #[serde(default)]
    pub trouble_since: Option<Timestamp>,
    /// The entries that wait, in the order in which they go.
    #[serde(default, deserialize_with = "read_waiting")]
    pub waiting: Vec<PendingEntry>,
    /// Until when the bot says nothing, because people took over.
    #[serde(default)]
    pub quiet_until: Option<Timestamp>,
    /// When the latest event happened that began or ended the bot's silence, ms since the epoch.
    #[serde(default)]
    pub control_at: Option<Timestamp>,
    /// The app that controls the thread instead of ours, if it is known which.
    #[serde(default)]
    pub thread_owner: Option<String>,
    /// Until when another app controls the thread, if it does, ms since the epoch.
    #[serde(default)]
    pub thread_until: Option<Timestamp>,
    /// When the latest event happened that says who controls the thread, ms since the epoch.
    #[serde(default)]
    pub thread_at: Option<Timestamp>,
    /// The last message whose seven days Meta holds ended, ms since the epoch.
    #[serde(default)]
    pub human_closed_for: Option<Timestamp>,
    /// Until when the Page's messages have reached the person, ms since the epoch, if that is tracked.
    #[serde(default)]
    pub delivered_until: Option<Timestamp>,
    /// Until when the person has read the Page's messages, ms since the epoch, if that is tracked.
    #[serde(default)]
    pub read_until: Option<Timestamp>,
    /// Under what else the person was written to: `user_ref:…`, `comment:…`, `post:…`.
    #[serde(default)]
    pub known_as: BTreeSet<Person>,
    /// When everything about the person was erased; what happened until then changes nothing.
    #[serde(default)]
    pub erased_at: Option<Timestamp>,
    /// When the table drops it: only the mark of an erased person expires.
    #[serde(default)]
    pub expires_at: Option<ExpiresAt>,
}

impl ConversationItem {
    /// Whether it is only the mark of an erased person, who has done nothing since.
    pub fn is_erased(&self) -> bool {
        self.erased_at.is_some() && self.expires_at.is_some()
    }

    /// Whether the person was erased after this instant, at which an event happened.
    pub fn was_erased_after(&self, happened_at: Timestamp) -> bool {
        self.erased_at.is_some_and(|erased_at| happened_at <= erased_at)
    }

    /// Whether the person was erased after what this comes from.
    pub fn was_erased_since(&self, cause: Cause) -> bool {
        match cause {
            Cause::Event(happened_at) => self.was_erased_after(happened_at),
            Cause::Own { erased_at, .. } => erased_at < self.erased_at,
        }
    }

    /// How many more entries that are counted may wait.
    pub fn room(&self) -> usize {
        let counted = self.waiting.iter().filter(|waiting| waiting.is_counted).count();
        MOST_WAITING.saturating_sub(counted)
    }

    /// The timer of this key, if one waits.
    pub fn timer(&self, key: &str) -> Option<&PendingEntry> {
        self.waiting.iter().find(|waiting| waiting.timer.as_deref() == Some(key))
    }

    /// Takes entries from the list of those that wait, as it was read.
    pub fn forget(&mut self, forget: &[PendingEntry]) {
        self.waiting.retain(|waiting| forget.iter().all(|other| other.id != waiting.id));
    }

    /// What the windows depend on.
    ///
    /// Where Meta holds even the seven days ended, the person's last message counts as that old.
    pub fn standing(&self) -> Standing {
        let heard = self.last_message_at;
        let is_closed = heard.is_some() && heard == self.human_closed_for;
        let as_meta_counts = |at: Timestamp| if is_closed { at - SEVEN_DAYS } else { at };
        Standing {
            platform: self.platform,
            last_message_at: heard.map(as_meta_counts),
            free_until: self.free_until.map(as_meta_counts),
            ad_until: self.ad_until.filter(|_| self.ad_clicked_at.is_some() && !is_closed),
        }
    }

    /// Whether the bot has failed for the person, and not decided since.
    pub fn is_in_trouble(&self) -> bool {
        self.trouble_for.is_some() || self.trouble_since.is_some()
    }

    /// Whether the bot is quiet: people have taken over, or another app controls the thread.
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_until.is_some_and(|until| now < until) || self.thread_taken_until(now).is_some()
    }

    /// Until when another app controls the thread, if it does.
    pub fn thread_taken_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.thread_until.filter(|until| now < *until)
    }
}

/// What the conversation item knows about an entry that waits.
///
/// It shows without a read whether the entry goes before another one, and whether the person's
/// answer cancels it. In the table it is one member of a map, by the entry's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEntry {
    /// When it was first due.
    pub first_due: Timestamp,
    /// When it was decided; later than that of any entry which waited then.
    pub decided_at: Timestamp,
    /// Whether the person's answer cancels it.
    pub cancelled_by_answer: bool,
    /// Whether it counts towards [`MOST_WAITING`](messenger::limits::MOST_WAITING).
    pub is_counted: bool,
    /// The key of the timer that it is, if it is one.
    pub timer: Option<String>,
    /// The entry's id.
    pub id: String,
}

impl PendingEntry {
    /// Whether it goes before whatever is decided now.
    ///
    /// What was due when it was decided is due for good: the clock that says so now may be behind
    /// the one that said so then. A timer goes before nothing: it only wakes the bot.
    pub fn goes_first(&self, now: Timestamp) -> bool {
        self.timer.is_none() && (self.first_due <= now || self.first_due <= self.decided_at)
    }

    fn member(&self) -> String {
        let flag = u8::from(self.cancelled_by_answer) | u8::from(self.is_counted) << 1;
        let member = format!("{}.{}.{flag}", self.first_due.millis(), self.decided_at.millis());
        match &self.timer {
            Some(key) => format!("{member}.{key}"),
            None => member,
        }
    }

    /// Reads a member. One that cannot be read counts as due, so that its entry is looked at.
    fn from_member(id: String, member: &str) -> Self {
        let timer = member.splitn(4, '.').nth(3).map(str::to_owned);
        let mut numbers = member.split('.').map(|part| part.parse::<i64>().unwrap_or_default());
        let mut number = || numbers.next().unwrap_or_default();
        let (first_due, decided_at, flags) = (number(), number(), number());
        Self {
            first_due: Timestamp::from_millis(first_due),
            decided_at: Timestamp::from_millis(decided_at),
            cancelled_by_answer: flags & 1 != 0,
            is_counted: flags & 2 != 0,
            timer,
            id,
        }
    }
}

fn read_waiting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PendingEntry>, D::Error> {
    let members = BTreeMap::<String, String>::deserialize(deserializer)?;
    let waiting = members.into_iter().map(|(id, member)| PendingEntry::from_member(id, &member));
    let mut waiting = waiting.collect::<Vec<_>>();
    waiting.sort();
    Ok(waiting)
}

/// A person's latest window-opening action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// The platform.
    pub platform: Platform,
    /// When it happened.
    pub at: Timestamp,
    /// Which time that is.
    pub source: TimeSource,
    /// The end of the standard window that it opens.
    pub free_until: Timestamp,
    /// What it does to the window of an ad, if such windows are tried.
    pub ad_window: Option<AdWindow>,
}

/// What a message does to the window of an ad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdWindow {
    /// It begins: the message answers an ad.
    Begins,
    /// It begins if the person came by an ad, and has not written since.
    MayBegin,
}

/// What an event says about the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The person did something that opens the standard window.
    Opening(LastMessage),
    /// The person came by an ad at this instant, which alone opens nothing.
    AdClick(Timestamp),
}

/// What a receipt confirms about all messages up to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// They have reached the person.
    Delivered,
    /// The person has read them.
    Read,
}

/// A conversation after its event has been recorded.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The conversation as it is now.
    pub conversation: ConversationItem,
    /// Whether the lease is ours; if not, nothing may be sent now.
    pub exclusive: bool,
    /// Whether something that happened then or later had been recorded before: Meta may have repeated itself.
    pub is_old: bool,
}

/// Changes to a conversation that follow from a decision or from deliveries.
#[derive(Clone, Debug, Default)]
pub struct ConversationUpdate {
    /// The author's new state.
    pub state: Option<NewState>,
    /// Whether the bot decides again.
    pub trouble_is_over: bool,
    /// Entries that now wait.
    pub add: Vec<PendingEntry>,
    /// Entries that no longer wait.
    pub forget: Vec<PendingEntry>,
}

/// A state that replaces another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewState {
    /// The state as JSON.
    pub json: String,
    /// The version of its form.
    pub version: u32,
    /// The revision of the state that it replaces.
    pub replaces: u64,
}

/// What came of adding an entry to those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedWaiting {
    /// It waits.
    Yes,
    /// [`MOST_WAITING`](messenger::limits::MOST_WAITING) wait already.
    Full,
    /// Only the mark of an erased person is there.
    Erased,
}

impl ConversationUpdate {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.state.is_none()
            && !self.trouble_is_over
            && self.add.is_empty()
            && self.forget.is_empty()
    }
}

pub(super) fn forgetting(update: Update, forget: &[PendingEntry]) -> Update {
    forget.iter().enumerate().fold(update, |update, (index, waiting)| {
        let name = format!("forgotten{index}");
        update.remove(format!("#waiting.#{name}")).name(&name, &waiting.id)
    })
}

pub(super) fn adding(update: Update, add: &[PendingEntry]) -> Update {
    add.iter().enumerate().fold(update, |update, (index, waiting)| {
        let name = format!("added{index}");
        update
            .set(format!("#waiting.#{name} = :{name}"))
            .name(&name, &waiting.id)
            .value(&name, &waiting.member())
    })
}
