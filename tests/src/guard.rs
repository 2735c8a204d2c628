//! Guards that the functions rely on, and how each is removed at the door to AWS, so that a test can show
//! that it is needed.
//!
//! The functions are unchanged: the door alters their requests, or the answers.

use clap::ValueEnum;
use serde_json::{Value, json};

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
}

impl Guard {
    /// Removes the guard from a request.
    pub(crate) fn take_from_request(self, request: &mut Value) {
        match self {
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
            Self::Condition | Self::Grace | Self::Order => {}
        }
    }

    /// Removes the guard from an answer.
    pub(crate) fn take_from_answer(self, answer: &mut Value) {
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

/// Makes a condition always true; its names and values stay in use, as `DynamoDB` demands.
fn void(request: &mut Value, condition: &str) {
    if let Some(text) = request["ConditionExpression"].as_str() {
        let always = format!("{condition} OR attribute_exists(pk)");
        request["ConditionExpression"] = text.replace(condition, &always).into();
    }
}

fn each_message(request: &mut Value, change: impl Fn(&mut Value)) {
    if let Some(entries) = request.get_mut("Entries").and_then(Value::as_array_mut) {
        entries.iter_mut().for_each(change);
    }
}
