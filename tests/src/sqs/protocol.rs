//! Requests, their checks, and answers of the JSON protocol.

use std::collections::{BTreeMap, HashSet};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{MessageAttribute, Received};

/// The size limit of a message, and of all messages of a batch together.
const MAX_BYTES: usize = 1_048_576;

/// A message of `SendMessage`, or an entry of `SendMessageBatch`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct SendCall {
    #[serde(default)]
    pub(super) queue_url: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    pub(super) message_body: String,
    pub(super) message_group_id: Option<String>,
    pub(super) message_deduplication_id: Option<String>,
    #[serde(default)]
    pub(super) message_attributes: BTreeMap<String, MessageAttribute>,
}

/// The parameters of every other operation.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct Request {
    pub(super) queue_url: String,
    pub(super) entries: Vec<SendCall>,
    pub(super) receipt_handle: String,
    /// In seconds.
    pub(super) visibility_timeout: Option<i64>,
    pub(super) source_arn: String,
    pub(super) destination_arn: Option<String>,
    pub(super) max_number_of_messages: Option<usize>,
    #[serde(rename = "WaitTimeSeconds")]
    _wait_time_seconds: Option<i64>,
    attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    message_attribute_names: Vec<String>,
}

impl SendCall {
    /// Checks everything that does not depend on other messages or on the queue.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let ids = [&self.message_group_id, &self.message_deduplication_id];
        let is_id =
            |id: &String| (1..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
        let mut attributes = self.message_attributes.values();
        let is_attribute = |it: &MessageAttribute| {
            it.data_type == "String" && !it.value.is_empty() && is_allowed(&it.value)
        };
        if self.message_body.is_empty() {
            Err(Refusal::missing("MessageBody"))
        } else if self.bytes() > MAX_BYTES {
            Err(Refusal::invalid(format!("Message must be shorter than {MAX_BYTES} bytes.")))
        } else if !is_allowed(&self.message_body) {
            Err(Refusal::new("InvalidMessageContents", "Invalid characters found."))
        } else if !ids.into_iter().flatten().all(is_id) {
            Err(Refusal::invalid(
                "MessageGroupId and MessageDeduplicationId can only include alphanumeric and \
                 punctuation characters. 1 to 128 in length.",
            ))
        } else if attributes.len() > 10 {
            Err(Refusal::invalid("Number of message attributes exceeds the allowed maximum [10]."))
        } else if !attributes.all(is_attribute) {
            Err(Refusal::invalid(
                "Message attributes must be of type String, not empty, of valid characters.",
            ))
        } else {
            Ok(())
        }
    }

    /// The size that counts towards the limits of a message and of a batch.
    fn bytes(&self) -> usize {
        let attributes = self.message_attributes.iter();
        let attributes = attributes.map(|(n, a)| n.len() + a.data_type.len() + a.value.len());
        self.message_body.len() + attributes.sum::<usize>()
    }
}

/// Checks what makes a batch fail as a whole.
pub(super) fn check_batch(entries: &[SendCall]) -> Result<(), Refusal> {
    let ids: HashSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    let bytes: usize = entries.iter().map(SendCall::bytes).sum();
    let problem = if entries.is_empty() {
        "AWS.SimpleQueueService.EmptyBatchRequest"
    } else if entries.len() > 10 {
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
    } else if ids.len() < entries.len() {
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
    } else if bytes > MAX_BYTES {
        "AWS.SimpleQueueService.BatchRequestTooLong"
    } else {
        return Ok(());
    };
    Err(Refusal::new(problem, format!("{} entries of {bytes} bytes", entries.len())))
}

/// Carries out a batch entry by entry: a failed one does not stop the others.
pub(super) fn each(
    entries: &[SendCall],
    failing: &[usize],
    mut act: impl FnMut(&SendCall) -> Result<Value, Refusal>,
) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let fails = failing.contains(&index);
        match if fails { Err(Refusal::internal_error()) } else { act(entry) } {
            Ok(mut success) => {
                success["Id"] = json!(entry.id);
                successful.push(success);
            }
            Err(refusal) => failed.push(json!({
                "Id": entry.id,
                "SenderFault": refusal.status.is_client_error(),
                "Code": refusal.code,
                "Message": refusal.message,
            })),
        }
    }
    json!({ "Successful": successful, "Failed": failed })
}

impl Request {
    /// Checks the limits of a receive call.
    ///
    /// Source: the API reference of `ReceiveMessage`.
    pub(super) fn check_receive(&self) -> Result<(), Refusal> {
        let out_of = |name: &str, from: i64, to: i64, value: i64| {
            Refusal::invalid(format!(
                "Value {value} for parameter {name} is invalid. Reason: Must be between {from} and {to}, if provided."
            ))
        };
        if let Some(max) = self.max_number_of_messages.filter(|max| !(1..=10).contains(max)) {
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            return Err(out_of("MaxNumberOfMessages", 1, 10, max));
        }
        match self.visibility_timeout.filter(|seconds| !(0..=43_200).contains(seconds)) {
            Some(seconds) => Err(out_of("VisibilityTimeout", 0, 43_200, seconds)),
            None => Ok(()),
        }
    }

    /// Checks that every attribute of a queue that is asked for is one that is simulated.
    ///
    /// Source: the API reference of `GetQueueAttributes`.
    pub(super) fn check_attributes(&self, known: &Map<String, Value>) -> Result<(), Refusal> {
        let mut names = self.attribute_names.iter();
        match names.find(|name| *name != "All" && !known.contains_key(*name)) {
            Some(name) => {
                let message = format!("Unknown Attribute {name}, or not simulated.");
                Err(Refusal::new("InvalidAttributeName", message))
            }
            None => Ok(()),
        }
    }

    pub(super) fn received(&self, received: &[Received]) -> Value {
        let messages = received.iter().map(|message| {
            let attributes = message.attributes.iter().map(|(name, it)| (name.clone(), json!(it)));
            json!({
                "MessageId": message.message_id,
                "ReceiptHandle": message.receipt_handle,
                "MD5OfBody": md5_hex(&message.body),
                "Body": message.body,
                "Attributes": self.chosen(message.system_attributes()),
                "MessageAttributes": chosen(attributes.collect(), &self.message_attribute_names),
            })
        });
        json!({ "Messages": messages.collect::<Vec<_>>() })
    }

    /// The requested ones of a queue's attributes, or of a message's system attributes.
    pub(super) fn chosen(&self, attributes: Map<String, Value>) -> Map<String, Value> {
        chosen(
            attributes,
            &[&self.attribute_names[..], &self.message_system_attribute_names].concat(),
        )
    }
}

impl Received {
    fn system_attributes(&self) -> Map<String, Value> {
        let attributes = [
            ("SentTimestamp", Some(self.sent_at_ms.to_string())),
            ("ApproximateReceiveCount", Some(self.receive_count.to_string())),
            ("MessageGroupId", self.group_id.clone()),
            ("MessageDeduplicationId", self.deduplication_id.clone()),
            ("SequenceNumber", self.sequence_number.clone()),
        ];
        let present = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
        present.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

fn chosen(mut attributes: Map<String, Value>, wanted: &[String]) -> Map<String, Value> {
    if !wanted.iter().any(|name| name == "All") {
        attributes.retain(|name, _| wanted.contains(name));
    }
    attributes
}

/// Why a call, or one entry of a batch, is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    /// The error's name in AWS's service model.
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let message = format!("The request must contain the parameter {parameter}.");
        Self::new("MissingParameter", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    pub(super) fn unavailable() -> Self {
        let refusal = Self::new("ServiceUnavailable", "The service is unavailable.");
        Self { status: StatusCode::SERVICE_UNAVAILABLE, ..refusal }
    }

    /// The error's name in the older query protocol, and whose fault it is. SDKs go by that name.
    ///
    /// Source: `awsQueryCompatible` and the error codes of AWS's service model of SQS.
    fn query_error(&self) -> String {
        let code = match self.code {
            "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
            code => code,
        };
        let fault = if self.status.is_server_error() { "Receiver" } else { "Sender" };
        format!("{code};{fault}")
    }

    fn internal_error() -> Self {
        let refusal = Self::new("InternalError", "We encountered an internal error.");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..refusal }
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

pub(super) fn answer(result: Result<Value, Refusal>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/x-amz-json-1.0")];
    match result {
        Ok(content) => (content_type, content.to_string()).into_response(),
        Err(refusal) => {
            let kind = format!("com.amazonaws.sqs#{}", refusal.code);
            let content = json!({ "__type": kind, "message": refusal.message }).to_string();
            let query_error = [("x-amzn-query-error", refusal.query_error())];
            (refusal.status, content_type, query_error, content).into_response()
        }
    }
}

pub(super) fn md5_hex(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// Whether SQS takes every character of a text.
fn is_allowed(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(
            c,
            '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..
        )
    })
}
