//! What a fault may cost, and who may send at the same time.

use std::collections::BTreeSet;

use backend::store::{EntryKey, Reason, StepKey, StepState};

use super::promises::{Onlooker, name};

impl Onlooker<'_> {
    /// An outcome is unknown for good only if two separate faults hit the step. An outage is one fault,
    /// however long it lasts.
    pub(super) fn one_fault_loses_no_outcome(&self) {
        for (key, entry) in &self.entries {
            if entry.reason != Some(Reason::OutcomeUnknown) {
                continue;
            }
            let is_unknown = |step: &usize| entry.steps[*step].state == StepState::Unconfirmed;
            for step in (0..entry.steps.len()).filter(is_unknown) {
                let key = StepKey { entry: key.clone(), step };
                let faults = self.faults_of(&key);
                if faults.len() < 2 {
                    let how = format!("{} met {faults:?}", name(&key));
                    self.breaks("one fault loses no outcome", how);
                }
            }
        }
    }

    /// The faults that hit a step: what Graph did, and what befell the functions that had the step.
    fn faults_of(&self, key: &StepKey) -> BTreeSet<String> {
        let attempts = self.history.attempts.iter().filter(|attempt| attempt.key == *key);
        let at_graph =
            attempts.clone().filter(|attempt| attempt.faulty).map(|attempt| match attempt.outage {
                Some(outage) => format!("outage {outage}"),
                None => format!("a fault at {}", attempt.point.at),
            });
        let claims = self.history.claims.iter().filter(|(_, claimed)| claimed == key);
        let senders = attempts.map(|it| it.invocation).chain(claims.map(|(by, _)| *by));
        let hindered = senders
            .filter(|by| self.history.hindered.contains(by))
            .map(|by| format!("what befell {by}"));
        at_graph.chain(hindered).collect()
    }

    pub(super) fn one_sender_at_a_time(&self) {
        for overlap in &self.history.overlaps {
            self.breaks("one sender at a time", format!("two functions were sending {overlap}"));
        }
    }

    /// Whether an entry belongs to a campaign.
    pub(super) fn is_of_campaign(key: &EntryKey) -> bool {
        key.id.starts_with("campaign-")
    }
}
