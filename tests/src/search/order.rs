//! What must hold about the order of messages.

use std::collections::BTreeMap;

use backend::store::{ConversationKey, Entry, EntryKey};
use messenger::clock::Timestamp;

use super::promises::{Onlooker, TOLERANCE, entry_key, name};

/// What the agent writes whose message is due in the middle of a campaign.
const AMID_A_CAMPAIGN: &str = "2001 answers";

/// How many messages of a campaign may be sent before an agent's: eight people are served at once, in an
/// order that is left to chance.
const MOST_BEFORE_PEOPLE: usize = 16;

impl Onlooker<'_> {
    pub(super) fn steps_and_replies_are_in_order(&self) {
        let mut said: Vec<_> = self.history.said.iter().collect();
        said.sort_by_key(|(_, said)| said.received);
        let mut last = BTreeMap::<ConversationKey, (u64, String)>::new();
        for (event_id, said) in said {
            let key = entry_key(said, event_id);
            let Some(entry) = self.entries.get(&key) else { continue };
            for first in self.first_deliveries(&key, entry.steps.len()).into_iter().flatten() {
                let number = first.point.number;
                let before = last.insert(key.conversation_key.clone(), (number, name(&first.key)));
                if let Some((before, what)) = before.filter(|(before, _)| *before > number) {
                    let how =
                        format!("{what} ({before}) went after {} ({number})", name(&first.key));
                    self.breaks("replies are in order", how);
                }
            }
        }
    }

    pub(super) fn entries_are_in_order(&self) {
        for (key, entry) in &self.entries {
            let earlier = self.entries.iter().filter(|(other, earlier)| {
                other.conversation_key == key.conversation_key
                    && (earlier.first_due, earlier.decided_at) < (entry.first_due, entry.decided_at)
            });
            for (other, earlier) in earlier {
                if self.was_rescheduled(other) || self.was_rescheduled(key) {
                    continue;
                }
                for first in self.first_deliveries(key, entry.steps.len()).into_iter().flatten() {
                    let at = first.point.at;
                    let known_from = self.known_from(other, earlier);
                    let was_due = earlier.first_due + TOLERANCE <= at
                        && known_from.is_some_and(|known_from| known_from + TOLERANCE <= at);
                    let later = self.first_deliveries(other, earlier.steps.len());
                    let after = later.into_iter().flatten().find(|a| a.point > first.point);
                    if let Some(after) = after.filter(|_| was_due) {
                        self.breaks(
                            "entries are in order",
                            format!(
                                "{} at {} went before {} at {}",
                                name(&first.key),
                                at,
                                name(&after.key),
                                after.point.at
                            ),
                        );
                    }
                }
            }
        }
    }

    /// What an agent wrote goes before a campaign that was due first.
    pub(super) fn people_go_before_campaigns(&self) {
        let is_answer = |entry: &Entry| {
            entry.steps.first().is_some_and(|step| step.body.contains(AMID_A_CAMPAIGN))
        };
        for key in self.entries.iter().filter(|(_, entry)| is_answer(entry)).map(|(key, _)| key) {
            let Some(Some(answer)) = self.first_deliveries(key, 1).into_iter().next() else {
                continue;
            };
            let before = self.history.attempts.iter().filter(|attempt| {
                attempt.delivered
                    && attempt.point < answer.point
                    && Self::is_of_campaign(&attempt.key.entry)
            });
            let before = before.count();
            if before > MOST_BEFORE_PEOPLE {
                let how = format!("{before} messages of a campaign went before {}", key.id);
                self.breaks("people go first", how);
            }
        }
    }

    /// People who take over put automated entries off; a request that was hindered may be unknown
    /// to the conversation until it is asked for again.
    fn was_rescheduled(&self, key: &EntryKey) -> bool {
        let is_in = |page_id: &str, psid: &str| {
            page_id == key.conversation_key.page_id
                && psid == key.conversation_key.person.to_string()
        };
        self.was_taken_over(key)
            || self.history.hindered_requests.iter().any(|(page_id, psid)| is_in(page_id, psid))
            || self.people_wrote(key)
    }

    /// Since when an entry is in the table: a follow-up since its event was processed.
    fn known_from(&self, key: &EntryKey, entry: &Entry) -> Option<Timestamp> {
        let Some((decision, _)) = key.id.split_once('.') else { return Some(entry.decided_at) };
        let mut said = self.history.said.iter();
        let (_, said) = said.find(|(event_id, _)| event_id.starts_with(decision))?;
        Some(said.processed?.at)
    }
}
