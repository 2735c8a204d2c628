//! Guards that the functions rely on, and how each is removed at the door to AWS, so that a test can show
//! that it is needed.
//!
//! The functions are unchanged: the door alters their requests, or the answers.

use backend::store::StepKey;
use clap::ValueEnum;
use messenger::event::{Event, Kind};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::samples;

/// The beginning of a memo's sort key.
pub(crate) const MEMO: &str = "once#";

/// Something without which a promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Guard {
    /// Only one function has an entry at a time.
    Lease,
    /// An entry is put into the table only if it is not there.
    Condition,
    /// An unclear message waits for its echo before it is sent again.
    Grace,
    /// The last message time never goes back.
    MonotonicUpdate,
    /// An event's time is never later than its receipt.
    Clamp,
    /// A person's entries go in the order of first due time and decision.
    Order,
    /// Only one function sends to a person at a time.
    BusyMark,
    /// Receipts do not wait behind the person's other events.
    ReceiptsGroup,
    /// A state is written only over the one that its decision saw.
    StateRevision,
    /// The one resend of an unclear message is held back until Graph has answered clearly.
    HeldResend,
    /// Who takes the lease from a bot that has not decided leaves a placeholder for its decision.
    Placeholder,
    /// An erasure writes its mark before it deletes anything.
    MarkFirst,
    /// An echo confirms a message only if its metadata carries a tag that the app secret made.
    EchoTag,
    /// What people wrote waits in a partition of the index of its own, and goes before campaigns.
    PeopleFirst,
    /// Whoever has the lease looks for what was stored meanwhile before giving it back.
    ServeBeforeRelease,
    /// Who answers, people or the bot, follows from when it happened, not from when it arrived.
    EventTime,
    /// A message leaves the queue when its event is done, and not when its bot has failed.
    KeptUntilDone,
    /// An answer cancels a timer whose event is already in the queue.
    SecondCheck,
    /// Messages that are answered together are marked as answered, each by itself.
    CoveredMarks,
    /// What a bot did is kept for its next try.
    Memo,
}

impl Guard {
    /// What is called instead of something, if that removes the guard.
    pub(crate) fn instead_of(self, target: &str) -> Option<String> {
        (self == Self::KeptUntilDone && target.ends_with(".ChangeMessageVisibility"))
            .then(|| target.replace("ChangeMessageVisibility", "DeleteMessage"))
    }

    /// Removes the guard from a request.
    pub(crate) fn take_from_request(self, request: &mut Value) {
        match self {
            Self::EventTime => void(request, "#control_at < :happened"),
            Self::Placeholder if request["Item"]["is_placeholder"]["BOOL"] == true => lose(request),
            Self::CoveredMarks if request["Item"]["reason"]["S"] == "answered_with" => {
                lose(request);
            }
            Self::Memo => {
                if let Some(sk) = request["Item"]["sk"]["S"].as_str()
                    && sk.starts_with(MEMO)
                {
                    request["Item"]["sk"]["S"] = format!("{sk}#nowhere").into();
                }
            }
            Self::PeopleFirst => {
                if let Some(partition) = request.pointer_mut("/Item/due_page/S")
                    && let Some(page_id) =
                        partition.as_str().and_then(|it| it.strip_suffix("#people"))
                {
                    *partition = format!("{page_id}#bot").into();
                }
            }
            Self::EchoTag => each_message(request, |message| {
                let body = message["MessageBody"].as_str().unwrap_or_default();
                if let Some(tagged) = with_true_tag(body) {
                    message["MessageBody"] = tagged.into();
                }
            }),
            Self::Lease => void(request, "attribute_not_exists(#lease_until)"),
            Self::MonotonicUpdate => void(request, "#last_message_at < :at"),
            Self::BusyMark => {
                void(request, "attribute_not_exists(#busy_until)");
                void(request, "#busy_by = :by");
            }
            Self::StateRevision => void(request, "#state_revision = :read"),
            Self::Condition if request.get("Item").is_some() => {
                if let Some(fields) = request.as_object_mut() {
                    fields.remove("ConditionExpression");
                }
            }
            Self::ReceiptsGroup => each_message(request, |message| {
                let group = message["MessageGroupId"].as_str().unwrap_or_default();
                let whose = group.split('.').next().unwrap_or_default().to_owned();
                message["MessageGroupId"] = whose.into();
            }),
            Self::Clamp => each_message(request, |message| {
                let body = message["MessageBody"].as_str().unwrap_or_default();
                if let Ok(mut record) = serde_json::from_str::<Value>(body) {
                    record["received_at"] = json!(i64::MAX / 2);
                    message["MessageBody"] = record.to_string().into();
                }
            }),
            Self::Condition
            | Self::Grace
            | Self::Order
            | Self::HeldResend
            | Self::Placeholder
            | Self::MarkFirst
            | Self::ServeBeforeRelease
            | Self::KeptUntilDone
            | Self::SecondCheck
            | Self::CoveredMarks => {}
        }
    }

    /// Whether a request is to be carried out only when it comes again: its name, if so.
    ///
    /// An erasure writes its mark twice, before its first pass and before its second one.
    pub(crate) fn put_off(self, request: &Value) -> Option<String> {
        let erased_at = request["ExpressionAttributeValues"][":erased"]["N"].as_str()?;
        let key = &request["Key"];
        (self == Self::MarkFirst && key["sk"]["S"] == "conversation")
            .then(|| format!("{} {erased_at}", key["pk"]["S"]))
    }

    /// Removes the guard from the answer to a request.
    pub(crate) fn take_from_answer(self, request: &Value, answer: &mut Value) {
        if self == Self::ServeBeforeRelease
            && gives_lease_back(request)
            && let Some(fields) = answer.get_mut("Attributes").and_then(Value::as_object_mut)
        {
            fields.remove("waiting");
        }
        if self == Self::SecondCheck
            && let Some(waiting) = answer.pointer_mut("/Attributes/waiting/M")
        {
            for (_, place) in waiting.as_object_mut().into_iter().flatten() {
                let member = place["S"].as_str().unwrap_or_default();
                // When it is due, when it was decided, whether an answer cancels it, and a timer's key.
                if let [due, decided, _, key] = member.splitn(4, '.').collect::<Vec<_>>()[..] {
                    place["S"] = format!("{due}.{decided}.0.{key}").into();
                }
            }
        }
        for part in ["Item", "Attributes"] {
            if self == Self::HeldResend
                && let Some(fields) = answer.get_mut(part).and_then(Value::as_object_mut)
            {
                fields.remove("unclear_at");
            }
        }
        let Some(item) = answer.get_mut("Item") else { return };
        if self == Self::BusyMark
            && let Some(fields) = item.as_object_mut()
        {
            for lease in ["busy_until", "busy_by", "busy_for"] {
                fields.remove(lease);
            }
        }
        if item.get("steps").is_none() {
            return;
        }
        match self {
            Self::Lease => {
                if let Some(fields) = item.as_object_mut() {
                    fields.remove("lease_until");
                    fields.remove("lease_by");
                }
            }
            Self::Order => {
                let first_due = item["first_due"]["N"].as_str().unwrap_or_default();
                let first_due = first_due.parse::<i64>().unwrap_or_default();
                item["first_due"]["N"] = (i64::MAX / 2 - first_due).to_string().into();
                let decided_at = item["decided_at"]["N"].as_str().unwrap_or_default();
                let decided_at = decided_at.parse::<i64>().unwrap_or_default();
                item["decided_at"]["N"] = (i64::MAX / 2 - decided_at).to_string().into();
            }
            _ => {}
        }
    }
}

/// Lets an item be put where nobody looks for it.
fn lose(request: &mut Value) {
    request["Item"]["sk"]["S"] = "nowhere".into();
}

/// Whether a request gives the lease on a conversation back.
fn gives_lease_back(request: &Value) -> bool {
    let update = request["UpdateExpression"].as_str().unwrap_or_default();
    update.contains("#busy_until, #busy_by, #busy_for")
}

/// Makes a condition always true; its names and values stay in use, as `DynamoDB` demands.
fn void(request: &mut Value, condition: &str) {
    if let Some(text) = request["ConditionExpression"].as_str() {
        let always = format!("{condition} OR attribute_exists(pk)");
        request["ConditionExpression"] = text.replace(condition, &always).into();
    }
}

/// A queued event whose metadata has the form of the outbox's, with the tag that it would need.
fn with_true_tag(text: &str) -> Option<String> {
    let event = Event::from_queue_text(text).ok()?;
    let Kind::Echo(echo) = &event.kind else { return None };
    let metadata = echo.metadata.as_deref()?;
    let step: StepKey = metadata.rsplit_once('.')?.0.parse().ok()?;
    let tagged = step.to_metadata(&SecretString::from(samples::APP_SECRET));
    Some(text.replace(metadata, &tagged))
}

fn each_message(request: &mut Value, change: impl Fn(&mut Value)) {
    if let Some(entries) = request.get_mut("Entries").and_then(Value::as_array_mut) {
        entries.iter_mut().for_each(change);
    } else if request.get("MessageBody").is_some() {
        change(request);
    }
}
