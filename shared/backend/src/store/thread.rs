//! Who controls the thread with a person, as far as the conversation knows.
//!
//! Each change bears the time of its cause, and one that is older than what is known changes nothing.

use super::conversation::SORT_KEY;
use super::erasure::unless_erased;
use super::{Cause, ConversationItem, ConversationKey, Store, StoreError, Update};
use messenger::clock::Timestamp;

impl Store {
    /// Records that another app controls the thread from its cause on until `until`: whether the person
    /// was not erased since. An `owner` that is not known leaves the known one.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn lose_thread(
        &self,
        conversation_key: &ConversationKey,
        owner: Option<&str>,
        until: Timestamp,
        cause: Cause,
    ) -> Result<bool, StoreError> {
        let update = latest(cause).set("#thread_until = :until").value("until", until);
        let update = match owner {
            Some(owner) => update.set("#thread_owner = :owner").value("owner", owner),
            None => update,
        };
        self.update_thread(conversation_key, update, cause).await
    }

    /// Records that no other app controls the thread from its cause on: whether the person was not
    /// erased since.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn regain_thread(
        &self,
        conversation_key: &ConversationKey,
        cause: Cause,
    ) -> Result<bool, StoreError> {
        let update = latest(cause).remove("#thread_owner, #thread_until");
        self.update_thread(conversation_key, update, cause).await
    }

    async fn update_thread(
        &self,
        conversation_key: &ConversationKey,
        update: Update,
        cause: Cause,
    ) -> Result<bool, StoreError> {
        let updated =
            self.update::<ConversationItem>(&conversation_key.pk(), SORT_KEY, update).await?;
        Ok(!updated.item().is_some_and(|there| there.was_erased_since(cause)))
    }

    /// Closes a window that Meta holds closed, unless the person has written since `seen` was read.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn close_window(
        &self,
        conversation_key: &ConversationKey,
        seen: &ConversationItem,
        window: ClosedWindow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(last_message_at) = seen.last_message_at else { return Ok(()) };
        let update =
            Update::default().when("#last_message_at = :seen").value("seen", last_message_at);
        let update = match window {
            ClosedWindow::Standard => {
                let standing = seen.standing();
                let ends = [("free_until", standing.free_until), ("ad_until", standing.ad_until)];
                let is_open = |end: Option<Timestamp>| end.is_some_and(|end| now < end);
                let open: Vec<_> = ends.into_iter().filter(|(_, end)| is_open(*end)).collect();
                if open.is_empty() {
                    return Ok(());
                }
                open.into_iter().fold(update.value("now", now), |update, (name, _)| {
                    update.set(format!("#{name} = :now")).when(format!("#{name} > :now"))
                })
            }
            ClosedWindow::HumanAgent => update.set("#human_closed_for = :seen"),
        };
        let pk = conversation_key.pk();
        self.update::<ConversationItem>(&pk, SORT_KEY, update).await.map(drop)
    }
}

/// A window that Meta holds closed, against our record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedWindow {
    /// The standard messaging window, and with it that of an ad.
    Standard,
    /// The seven days of the tag `HUMAN_AGENT`, and with them the standard window.
    HumanAgent,
}

/// Notes that the control of the thread changed, unless something later did that.
fn latest(cause: Cause) -> Update {
    unless_erased(Update::default(), cause)
        .set("#thread_at = :happened")
        .when("attribute_not_exists(#thread_at) OR #thread_at <= :happened")
}
