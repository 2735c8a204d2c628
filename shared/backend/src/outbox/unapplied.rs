//! What a decision changes beside what it says now, as its entry holds it until that is applied.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{ConversationUpdate, Entry, EntryKey, NewState, StoredTimer};
use messenger::clock::Timestamp;
use messenger::decision::{Decision, When};
use messenger::event::RESUMED;
use messenger::message::{Outgoing, UtilityTemplate};
use messenger::window::Purpose;

use super::OutboxSettings;
use super::plan::{TICK, steps};
use super::timer::of_timer;

/// What a decision changes beside what it says now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Unapplied {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    follow_ups: Vec<PlannedFollowUp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// The version of the state's form.
    #[serde(default, skip_serializing_if = "is_zero")]
    version: u32,
    #[serde(default)]
    revision: u64,
    /// Until when the bot is quiet, and when what was decided about happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quiet: Option<(Timestamp, Timestamp)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timers: Vec<PlannedTimer>,
    /// The keys of timers that are not wanted any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) cancel_timers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PlannedTimer {
    key: String,
    payload: Value,
    due_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelled_by_answer_after: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PlannedFollowUp {
    messages: Vec<Outgoing>,
    due_at: Timestamp,
    purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelled_by_answer_after: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<UtilityTemplate>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(version: &u32) -> bool {
    *version == 0
}

impl Unapplied {
    /// What an entry still holds of its decision.
    pub(super) fn of(entry: &Entry) -> Result<Option<Self>, serde_json::Error> {
        entry.unapplied.as_deref().map(serde_json::from_str).transpose()
    }

    pub(super) fn from_decision(
        decision: Decision,
        caused_at: Timestamp,
        revision: u64,
        now: Timestamp,
        settings: &OutboxSettings,
    ) -> Self {
        let due_at = |when: When| when.after(now);
        let follow_ups = decision.follow_ups.into_iter().map(|follow_up| PlannedFollowUp {
            messages: follow_up.messages,
            due_at: due_at(follow_up.when),
            purpose: follow_up.purpose,
            cancelled_by_answer_after: follow_up.cancelled_by_answer.then_some(caused_at),
            fallback: follow_up.fallback,
        });
        let timers = decision.timers.into_iter().map(|timer| PlannedTimer {
            key: timer.key,
            payload: timer.payload,
            due_at: due_at(timer.when),
            cancelled_by_answer_after: timer.cancelled_by_answer.then_some(caused_at),
        });
        let mut timers: Vec<_> = timers.collect();
        let handed_over = decision.hand_over;
        let quiet_for = handed_over.as_ref().map(|it| it.quiet_for.unwrap_or(settings.quiet_for));
        let quiet_until = decision.quiet_for.max(quiet_for).map(|span| now + span);
        if let Some(due_at) =
            quiet_until.filter(|_| handed_over.as_ref().is_some_and(|it| it.wakes))
        {
            let (key, payload) = (RESUMED.to_owned(), Value::Null);
            timers.push(PlannedTimer { key, payload, due_at, cancelled_by_answer_after: None });
        }
        Self {
            follow_ups: follow_ups.collect(),
            timers,
            cancel_timers: decision.cancel_timers,
            version: if decision.state.is_some() { decision.state_version } else { 0 },
            state: decision.state.map(|state| state.to_string()),
            revision,
            quiet: quiet_until.map(|until| (until, caused_at)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self { revision: self.revision, ..Self::default() }
    }

    /// The entries of the follow-ups, decided just after the entry that holds them.
    pub(super) fn follow_ups(
        &self,
        key: &EntryKey,
        entry: &Entry,
        give_up_after: Duration,
    ) -> Result<Vec<(EntryKey, Entry)>, serde_json::Error> {
        let mut decided_at = entry.decided_at;
        let numbered = (1..).zip(&self.follow_ups);
        numbered
            .map(|(number, follow_up)| {
                decided_at = decided_at + TICK;
                let key = EntryKey {
                    conversation_key: key.conversation_key.clone(),
                    id: format!("{}.{number}", key.id),
                };
                let mut later = Entry::new(
                    &key,
                    follow_up.purpose,
                    steps(&follow_up.messages, follow_up.fallback.clone())?,
                    follow_up.due_at,
                    decided_at,
                    follow_up.due_at + give_up_after,
                );
                later.cancelled_by_answer_after = follow_up.cancelled_by_answer_after;
                later.after_erasure = entry.after_erasure;
                Ok((key, later))
            })
            .collect()
    }

    /// The entries of the timers, decided with the entry that holds them.
    pub(super) fn timers(
        &self,
        key: &EntryKey,
        entry: &Entry,
        give_up_after: Duration,
    ) -> Vec<(EntryKey, Entry)> {
        let numbered = (1..).zip(&self.timers).map(|(number, planned)| {
            let PlannedTimer { key: name, payload, due_at, cancelled_by_answer_after } = planned;
            let id = format!("{}.t{number}", key.id);
            let key = EntryKey { conversation_key: key.conversation_key.clone(), id };
            let timer = StoredTimer { key: name.clone(), payload: payload.to_string() };
            let give_up_at = *due_at + give_up_after;
            let decided_at = entry.decided_at;
            let mut timer =
                of_timer(&key, timer, *due_at, decided_at, give_up_at, entry.after_erasure);
            timer.cancelled_by_answer_after = *cancelled_by_answer_after;
            (key, timer)
        });
        numbered.collect()
    }

    /// What the conversation has to change, the follow-ups and timers apart.
    pub(super) fn into_update(self) -> ConversationUpdate {
        let Self { state, version, revision, .. } = self;
        ConversationUpdate {
            state: state.map(|json| NewState { json, version, replaces: revision }),
            ..ConversationUpdate::default()
        }
    }
}
