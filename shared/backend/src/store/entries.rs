//! Entries in the table: put, read, changed, confirmed, cancelled.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use serde::de::IgnoredAny;

use super::change::set_optional;
use super::keys::ENTRY_MARK;
use super::{
    Change, ConversationKey, Entry, EntryKey, ExpiresAt, Guard, Reason, Status, StepKey, StepState,
    Store, StoreError, Update, Updated, parse, unavailable,
};
use messenger::clock::Timestamp;
use messenger::decision::MAX_TIMERS;
use messenger::limits::MOST_WAITING;

/// What came of putting an entry into the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now.
    New,
    /// An entry of this key was there before.
    Existing(Box<Entry>),
}

/// Why an entry is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The person answered at this instant; an entry that is younger stays.
    Answered(Timestamp),
    /// Whoever asked for it does not want it any more.
    Withdrawn,
    /// A timer: another one of its key was set.
    Replaced,
}

impl Cancellation {
    /// What the entry and the counts hold as the reason.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Answered(_) => Reason::Answered,
            Self::Withdrawn => Reason::Withdrawn,
            Self::Replaced => Reason::Replaced,
        }
    }
}

/// What came of cancelling an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is cancelled now.
    Cancelled(Box<Entry>),
    /// It stays: it is younger than the answer, or somebody is sending it.
    Kept,
    /// It was cancelled before, and its conversation has not forgotten it yet.
    Unforgotten(Box<Entry>),
    /// It had ended, or is gone.
    EndedBefore,
}

impl Store {
    /// Puts a new entry into the table; one that is there stays as it is and is returned.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn create_entry(&self, entry: &Entry) -> Result<Created, StoreError> {
        self.put_entry(entry, "attribute_not_exists(pk)").await
    }

    /// Puts a new entry into the table, in the place of a placeholder too.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn replace_placeholder(&self, entry: &Entry) -> Result<Created, StoreError> {
        self.put_entry(entry, "attribute_not_exists(pk) OR attribute_exists(is_placeholder)").await
    }

    async fn put_entry(&self, entry: &Entry, condition: &str) -> Result<Created, StoreError> {
        let item: super::Item = serde_dynamo::to_item(entry)
            .map_err(|error| StoreError::Malformed(error.to_string()))?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Created::New),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let item = failed.item.clone().ok_or_else(|| {
                        StoreError::Malformed("a failed condition without its item".to_owned())
                    })?;
                    Ok(Created::Existing(Box::new(parse(item)?)))
                }
                _ => Err(unavailable(&error)),
            },
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn entry(&self, key: &EntryKey) -> Result<Option<Entry>, StoreError> {
        self.get(&key.conversation_key.pk(), &key.sk()).await
    }

    /// Reads a person's entries, in no order; at most 1 MB of them. One that cannot be read is left out.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn entries(
        &self,
        conversation_key: &ConversationKey,
    ) -> Result<Vec<Entry>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :person AND begins_with(sk, :entry)")
            .expression_attribute_values(":person", AttributeValue::S(conversation_key.pk()))
            .expression_attribute_values(":entry", AttributeValue::S(ENTRY_MARK.to_owned()))
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(answer
            .items
            .unwrap_or_default()
            .into_iter()
            .filter_map(|item| parse(item).ok())
            .collect())
    }

    /// Ends an entry that cannot be read or applied, whatever it holds: whether it had not ended.
    ///
    /// [`Self::unlist_entry`] takes it out of the index once its conversation has forgotten it.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn fail_malformed(
        &self,
        key: &EntryKey,
        now: Timestamp,
        expires_at: ExpiresAt,
    ) -> Result<bool, StoreError> {
        let update = Update::default()
            .set("#status = :failed, #reason = :reason, #ended_at = :now, #expires_at = :expires")
            .remove("#lease_until, #lease_by")
            .when("attribute_exists(pk)")
            .when("attribute_not_exists(#ended_at) OR #status = :open OR #ended_at = :now")
            .value("open", Status::Open.name())
            .value("failed", Status::Failed.name())
            .value("reason", &Reason::Malformed)
            .value("now", now)
            .value("expires", expires_at);
        let (pk, sk) = (key.conversation_key.pk(), key.sk());
        Ok(self.update::<IgnoredAny>(&pk, &sk, update).await?.is_made())
    }

    /// Deletes the entry of a decision and those of its follow-ups and timers.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn delete_decision(
        &self,
        conversation_key: &ConversationKey,
        id: &str,
    ) -> Result<(), StoreError> {
        let follow_ups = (1..=MOST_WAITING).map(|number| format!("{id}.{number}"));
        // One more than a decision may set: that of a hand-over.
        let timers = (1..=MAX_TIMERS + 1).map(|number| format!("{id}.t{number}"));
        let ids = std::iter::once(id.to_owned()).chain(follow_ups).chain(timers);
        let keys = ids.map(|id| EntryKey { conversation_key: conversation_key.clone(), id });
        self.delete_all(keys.map(|key| super::key(&conversation_key.pk(), &key.sk())).collect())
            .await
    }

    /// Changes an open entry if the guard holds: the entry afterwards, `None` if it did not hold.
    ///
    /// A change that is there already counts as made: the SDK asks again when an answer was lost.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn change_entry(
        &self,
        key: &EntryKey,
        guard: Guard<'_>,
        change: Change,
    ) -> Result<Option<Entry>, StoreError> {
        let update = change.update(guard);
        Ok(match self.update::<Entry>(&key.conversation_key.pk(), &key.sk(), update).await? {
            Updated::Now(entry) => Some(entry),
            Updated::Unmet(entry) => entry.filter(|entry| change.is_made(entry)),
        })
    }

    /// Marks a step as delivered because its echo, or a late answer, says so: the entry afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn confirm_step(
        &self,
        key: &StepKey,
        mid: Option<&str>,
    ) -> Result<Option<Entry>, StoreError> {
        let step = format!("#steps[{}]", key.step);
        let update = Update::default()
            .set(format!("{step}.#state = :sent"))
            .when(format!("{step}.#state IN (:sending, :unconfirmed)"))
            .value("sent", StepState::Sent.name())
            .value("sending", StepState::Sending.name())
            .value("unconfirmed", StepState::Unconfirmed.name());
        let update = set_optional(update, &format!("{step}.#mid"), "mid", mid);
        Ok(self.update(&key.entry.conversation_key.pk(), &key.entry.sk(), update).await?.now())
    }

    /// Notes the PSID of whom an entry went to.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn set_psid(&self, key: &EntryKey, psid: &str) -> Result<(), StoreError> {
        let update = Update::default()
            .set("#psid = :psid")
            .when("attribute_exists(#status)")
            .value("psid", psid);
        self.update::<Entry>(&key.conversation_key.pk(), &key.sk(), update).await.map(drop)
    }

    /// Takes an entry that has ended out of the index.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn unlist_entry(&self, key: &EntryKey) -> Result<(), StoreError> {
        let update = Update::default()
            .remove("#due_page, #due_at")
            .when("attribute_exists(#status) AND #status <> :open")
            .value("open", Status::Open.name());
        self.update::<IgnoredAny>(&key.conversation_key.pk(), &key.sk(), update).await.map(drop)
    }

    /// Cancels an entry that nobody has.
    ///
    /// What is withdrawn stays in the index, as due now, until [`Self::unlist_entry`]: if whoever
    /// withdraws it dies before the conversation has forgotten it, the next sweep finds it. After an
    /// answer, the event comes again then.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn cancel_entry(
        &self,
        key: &EntryKey,
        cancellation: Cancellation,
        now: Timestamp,
        expires_at: ExpiresAt,
    ) -> Result<CancelOutcome, StoreError> {
        let update = Update::default()
            .set(
                "#status = :cancelled, #reason = :reason, #ended_at = :now, #expires_at = :expires",
            )
            .remove("#lease_until, #lease_by")
            .when("#status = :open")
            .when("attribute_not_exists(#lease_until) OR #lease_until < :now")
            .value("cancelled", Status::Cancelled.name())
            .value("reason", &cancellation.reason())
            .value("now", now)
            .value("expires", expires_at)
            .value("open", Status::Open.name());
        let update = match cancellation {
            Cancellation::Answered(at) => update
                .remove("#due_page, #due_at")
                .when("#cancelled_by_answer_after < :answer")
                .value("answer", at),
            // What its decision had to change must not be lost with it.
            Cancellation::Withdrawn | Cancellation::Replaced => update
                .set("#due_at = :now")
                .when("attribute_exists(#due_at) AND attribute_not_exists(#unapplied)"),
        };
        Ok(match self.update::<Entry>(&key.conversation_key.pk(), &key.sk(), update).await? {
            Updated::Now(entry) => CancelOutcome::Cancelled(Box::new(entry)),
            Updated::Unmet(Some(entry)) if entry.is_open() => CancelOutcome::Kept,
            Updated::Unmet(Some(entry))
                if entry.status == Status::Cancelled && entry.due_at.is_some() =>
            {
                // The SDK asks again when an answer was lost.
                if entry.ended_at == Some(now) {
                    CancelOutcome::Cancelled(Box::new(entry))
                } else {
                    CancelOutcome::Unforgotten(Box::new(entry))
                }
            }
            Updated::Unmet(_) => CancelOutcome::EndedBefore,
        })
    }
}
