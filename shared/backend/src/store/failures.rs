//! What a conversation holds of events that failed: trials that may kill the process, and the bot's failures.

use serde::Deserialize;

use super::conversation::SORT_KEY;
use super::erasure::UNLESS_MARK;
use super::{ConversationItem, ConversationKey, Store, StoreError, Update, Updated};
use messenger::clock::Timestamp;

/// What a conversation holds of an event's trials: a conversation that cannot be read can be tried.
#[derive(Deserialize)]
struct Trial {
    #[serde(default)]
    trial_count: u64,
}

/// A try at which the bot did not decide.
#[derive(Clone, Copy, Debug)]
pub struct FailedTry<'a> {
    /// The entry of the event.
    pub entry_id: &'a str,
    /// When the event happened.
    pub happened_at: Timestamp,
    /// How often the bot has failed at it, this time included.
    pub tries: u64,
    /// Since when it has failed for the person by something that passes, if it does.
    pub since: Option<Timestamp>,
    /// Who has the lease for the event, and gives it back.
    pub by: &'a str,
}

impl Store {
    /// Counts a trial of an event, or a failure of its own: how many there were, with this one; `None` if
    /// the person was erased after the event.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn begin_trial(
        &self,
        conversation_key: &ConversationKey,
        entry_id: &str,
        happened_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let pk = conversation_key.pk();
        let again = Update::default()
            .set("#trial_count = #trial_count + :one")
            .when("#trial_for = :entry")
            .value("one", 1_u64)
            .value("entry", entry_id);
        if let Updated::Now(trial) = self.update::<Trial>(&pk, SORT_KEY, again).await? {
            return Ok(Some(trial.trial_count));
        }
        let first = Update::default()
            .set("#trial_for = :entry, #trial_count = :one")
            .when(UNLESS_MARK)
            .value("one", 1_u64)
            .value("entry", entry_id);
        Ok(match self.update::<ConversationItem>(&pk, SORT_KEY, first).await? {
            Updated::Unmet(Some(there)) if there.was_erased_after(happened_at) => None,
            Updated::Now(_) | Updated::Unmet(_) => Some(1),
        })
    }

    /// Forgets an event's trials: it did not fail by itself.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn end_trial(
        &self,
        conversation_key: &ConversationKey,
        entry_id: &str,
    ) -> Result<(), StoreError> {
        let update = Update::default()
            .remove("#trial_for, #trial_count")
            .when("#trial_for = :entry")
            .value("entry", entry_id);
        self.update::<Trial>(&conversation_key.pk(), SORT_KEY, update).await.map(drop)
    }

    /// Notes that the bot did not decide about an event, and gives the event's lease back, so that it is not
    /// taken for one that killed the process: whether the person was not erased after the event.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn note_failed_try(
        &self,
        conversation_key: &ConversationKey,
        failed: &FailedTry<'_>,
    ) -> Result<bool, StoreError> {
        let note = || {
            let update = Update::default()
                .set("#trouble_for = :entry, #trouble_tries = :tries")
                .when(UNLESS_MARK)
                .value("entry", failed.entry_id)
                .value("tries", failed.tries);
            match failed.since {
                Some(since) => update.set("#trouble_since = :since").value("since", since),
                None => update,
            }
        };
        let pk = conversation_key.pk();
        let given_back = note()
            .remove("#busy_until, #busy_by, #busy_for")
            .when("#busy_by = :by AND #busy_for = :entry")
            .value("by", failed.by);
        for update in [given_back, note()] {
            match self.update::<ConversationItem>(&pk, SORT_KEY, update).await? {
                Updated::Now(_) => return Ok(true),
                Updated::Unmet(Some(there)) if there.was_erased_after(failed.happened_at) => {
                    return Ok(false);
                }
                Updated::Unmet(_) => {}
            }
        }
        Ok(false)
    }
}
