//! Timers of the bot in the table, apart from what they have in common with other entries.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::conversation::SORT_KEY;
use super::erasure::UNLESS_MARK;
use super::{
    ConversationKey, DueClass, EntryKey, ExpiresAt, Reason, Status, Store, StoreError, Update,
};
use messenger::clock::Timestamp;
use messenger::window::Purpose;

impl Store {
    /// Makes a place for what waits for a person who has never written, unless only the mark of an erasure is there.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn make_places(&self, conversation_key: &ConversationKey) -> Result<(), StoreError> {
        let update = Update::default()
            .set("#waiting = if_not_exists(#waiting, :none)")
            .when("attribute_exists(pk)")
            .when(UNLESS_MARK)
            .value("none", BTreeMap::new());
        self.update::<IgnoredAny>(&conversation_key.pk(), SORT_KEY, update).await.map(drop)
    }

    /// Lets a timer that was fired wait again, because people answer: whether it had been fired.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn rearm_timer(
        &self,
        key: &EntryKey,
        due_at: Timestamp,
        expires_at: ExpiresAt,
    ) -> Result<bool, StoreError> {
        let partition = DueClass::of(Purpose::Update).partition(&key.conversation_key.page_id);
        let update = Update::default()
            .set("#status = :open, #reason = :quiet, #due_at = :due, #first_due = :due")
            .set("#due_page = :partition, #expires_at = :expires")
            .remove("#ended_at")
            .when("#status = :sent AND #reason = :fired")
            .value("open", Status::Open.name())
            .value("sent", Status::Sent.name())
            .value("quiet", &Reason::Quiet)
            .value("fired", &Reason::Fired)
            .value("due", due_at)
            .value("expires", expires_at)
            .value("partition", partition.as_str());
        let (pk, sk) = (key.conversation_key.pk(), key.sk());
        Ok(self.update::<IgnoredAny>(&pk, &sk, update).await?.is_made())
    }
}
