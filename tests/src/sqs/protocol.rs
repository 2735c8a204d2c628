//! The requests and answers of the JSON protocol.

use std::collections::{BTreeMap, HashSet};

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::attributes::{OutgoingAttribute, attributes_md5};
use super::{ACCOUNT, MAX_VISIBILITY_S, QueueSettings, Received, hex};

const MAX_BATCH_ENTRIES: usize = 10;
const MAX_ID_CHARS: usize = 128;
const MAX_DELAY_S: i64 = 15 * 60;
const MAX_WAIT_S: i64 = 20;

pub(super) const INVALID_CHARACTERS: &str = "Invalid characters found. Valid unicode characters \
     are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Single<T> {
    #[serde(default)]
    pub(super) queue_url: String,
    #[serde(flatten)]
    pub(super) content: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<T> {
    #[serde(default)]
    pub(super) queue_url: String,
    #[serde(default = "Vec::new")]
    pub(super) entries: Vec<Entry<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry<T> {
    #[serde(default)]
    id: String,
    #[serde(flatten)]
    pub(super) content: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Outgoing {
    #[serde(default)]
    pub(super) message_body: String,
    pub(super) message_group_id: Option<String>,
    pub(super) message_deduplication_id: Option<String>,
    delay_seconds: Option<i64>,
    #[serde(default)]
    pub(super) message_attributes: BTreeMap<String, OutgoingAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receive {
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receipt {
    #[serde(default)]
    pub(super) receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeVisibility {
    #[serde(default)]
    pub(super) receipt_handle: String,
    pub(super) visibility_timeout: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueName {
    #[serde(default)]
    pub(super) queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttributeNames {
    #[serde(default)]
    pub(super) attribute_names: Vec<String>,
}

impl Outgoing {
    /// Checks what does not depend on other messages, and returns the delay in ms.
    pub(super) fn check(&self, settings: &QueueSettings) -> Result<i64, Refusal> {
        if self.message_body.is_empty() {
            return Err(Refusal::missing("MessageBody"));
        }
        let max = settings.max_message_bytes;
        if self.bytes() > max {
            return Err(Refusal::invalid(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {max} \
                 bytes."
            )));
        }
        if !self.message_body.chars().all(is_allowed_in_text) {
            return Err(Refusal::sqs(
                "InvalidMessageContents",
                "InvalidMessageContents",
                INVALID_CHARACTERS,
            ));
        }
        check_id("MessageGroupId", self.message_group_id.as_deref())?;
        check_id("MessageDeduplicationId", self.message_deduplication_id.as_deref())?;
        match self.delay_seconds {
            None | Some(0) => Ok(0),
            Some(delay) if settings.fifo => Err(Refusal::invalid(format!(
                "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include \
                 parameter that is not valid for this queue type."
            ))),
            Some(delay) if (0..=MAX_DELAY_S).contains(&delay) => Ok(delay * 1000),
            Some(delay) => Err(Refusal::invalid(format!(
                "Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must \
                 be >= 0 and <= {MAX_DELAY_S}."
            ))),
        }
    }

    /// What counts towards the limits of a message and of a batch.
    pub(super) fn bytes(&self) -> usize {
        let attributes = self.message_attributes.iter();
        let attributes = attributes.map(|(name, attribute)| name.len() + attribute.bytes());
        self.message_body.len() + attributes.sum::<usize>()
    }
}

impl Receive {
    /// How many messages at most, and their visibility timeout in ms if the queue's is not meant.
    pub(super) fn checked(&self) -> Result<(usize, Option<i64>), Refusal> {
        let max = self.max_number_of_messages.unwrap_or(1);
        let max =
            usize::try_from(max).ok().filter(|max| (1..=10).contains(max)).ok_or_else(|| {
                Refusal::invalid(format!(
                    "Value {max} for parameter MaxNumberOfMessages is invalid. Reason: Must be \
                     between 1 and 10, if provided."
                ))
            })?;
        let wait = self.wait_time_seconds.unwrap_or(0);
        if !(0..=MAX_WAIT_S).contains(&wait) {
            return Err(Refusal::invalid(format!(
                "Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and \
                 <= {MAX_WAIT_S}, if provided."
            )));
        }
        let visibility_ms = self.visibility_timeout.map(checked_visibility_ms);
        Ok((max, visibility_ms.transpose()?))
    }

    pub(super) fn answer(&self, received: &[Received]) -> Value {
        if received.is_empty() {
            return json!({});
        }
        let mut wanted = self.attribute_names.clone();
        wanted.extend_from_slice(&self.message_system_attribute_names);
        let messages: Vec<Value> = received
            .iter()
            .map(|message| {
                let mut answer = json!({
                    "MessageId": message.message_id,
                    "ReceiptHandle": message.receipt_handle,
                    "MD5OfBody": hex(&Md5::digest(message.body.as_bytes())),
                    "Body": message.body,
                });
                let attributes = chosen(message.system_attributes(), &wanted);
                if !attributes.is_empty() {
                    answer["Attributes"] = Value::Object(attributes);
                }
                let mut attributes = message.attributes.clone();
                attributes.retain(|name, _| self.wants(name));
                if !attributes.is_empty() {
                    answer["MD5OfMessageAttributes"] = json!(attributes_md5(&attributes));
                    answer["MessageAttributes"] = attributes
                        .iter()
                        .map(|(name, attribute)| (name.clone(), attribute.answer()))
                        .collect();
                }
                answer
            })
            .collect();
        json!({ "Messages": messages })
    }

    /// Whether a message attribute of this name is asked for.
    fn wants(&self, name: &str) -> bool {
        let mut patterns = self.message_attribute_names.iter();
        patterns.any(|pattern| match pattern.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => ["All", "*", name].contains(&pattern.as_str()),
        })
    }
}

impl Received {
    fn system_attributes(&self) -> Map<String, Value> {
        let always = [
            ("SenderId", Some(ACCOUNT.to_owned())),
            ("SentTimestamp", Some(self.sent_at_ms.to_string())),
            ("ApproximateFirstReceiveTimestamp", Some(self.first_received_at_ms.to_string())),
            ("ApproximateReceiveCount", Some(self.receive_count.to_string())),
            ("MessageGroupId", self.group_id.clone()),
            ("MessageDeduplicationId", self.deduplication_id.clone()),
            ("SequenceNumber", self.sequence_number.clone()),
            ("DeadLetterQueueSourceArn", self.dead_letter_source.clone()),
        ];
        always
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
            .collect()
    }
}

/// Why a call, or one entry of a batch, is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    /// The error's name in the JSON protocol.
    shape: &'static str,
    /// Its name in the older query protocol, by which SDKs still tell errors apart.
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn sqs(shape: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, shape, code, message: message.into() }
    }

    pub(super) fn no_such_queue() -> Self {
        Self::sqs(
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist.",
        )
    }

    pub(super) fn missing(parameter: &str) -> Self {
        Self::sqs(
            "MissingRequiredParameterException",
            "MissingParameter",
            format!("The request must contain the parameter {parameter}."),
        )
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::sqs("InvalidParameterValueException", "InvalidParameterValue", message)
    }

    pub(super) fn missing_deduplication_id() -> Self {
        Self::invalid(
            "The queue should either have ContentBasedDeduplication enabled or \
             MessageDeduplicationId provided explicitly",
        )
    }

    pub(super) fn receipt_handle_is_invalid() -> Self {
        Self::sqs(
            "ReceiptHandleIsInvalid",
            "ReceiptHandleIsInvalid",
            "The input receipt handle is invalid.",
        )
    }

    fn malformed(error: &serde_json::Error) -> Self {
        Self::sqs("SerializationException", "SerializationException", error.to_string())
    }

    pub(super) fn unknown_operation() -> Self {
        Self::sqs(
            "UnknownOperationException",
            "UnknownOperationException",
            "The operation is unknown or not simulated.",
        )
    }

    pub(super) fn unavailable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            shape: "ServiceUnavailable",
            code: "ServiceUnavailable",
            message: "The service is unavailable. Please try again.".to_owned(),
        }
    }

    fn internal_error() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            shape: "InternalError",
            code: "InternalError",
            message: "We encountered an internal error. Please try again.".to_owned(),
        }
    }

    fn is_senders_fault(&self) -> bool {
        self.status.is_client_error()
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::malformed(&error))
}

pub(super) fn answer(result: Result<Value, Refusal>) -> Response {
    let content_type = (header::CONTENT_TYPE, "application/x-amz-json-1.0".to_owned());
    match result {
        Ok(content) => ([content_type], content.to_string()).into_response(),
        Err(refusal) => {
            let fault = if refusal.is_senders_fault() { "Sender" } else { "Receiver" };
            let query_error = (
                HeaderName::from_static("x-amzn-query-error"),
                format!("{};{fault}", refusal.code),
            );
            let content = json!({
                "__type": format!("com.amazonaws.sqs#{}", refusal.shape),
                "message": refusal.message,
            });
            (refusal.status, [content_type, query_error], content.to_string()).into_response()
        }
    }
}

pub(super) fn check_entries<T>(operation: &str, entries: &[Entry<T>]) -> Result<(), Refusal> {
    if entries.is_empty() {
        return Err(Refusal::sqs(
            "EmptyBatchRequest",
            "AWS.SimpleQueueService.EmptyBatchRequest",
            format!(
                "There should be at least one {operation}MessageBatchRequestEntry in the request."
            ),
        ));
    }
    if entries.len() > MAX_BATCH_ENTRIES {
        return Err(Refusal::sqs(
            "TooManyEntriesInBatchRequest",
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            format!(
                "Maximum number of entries per request are {MAX_BATCH_ENTRIES}. You have sent {}.",
                entries.len()
            ),
        ));
    }
    let mut ids = HashSet::new();
    for Entry { id, .. } in entries {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 80 || !id.chars().all(allowed) {
            return Err(Refusal::sqs(
                "InvalidBatchEntryId",
                "AWS.SimpleQueueService.InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and \
                 underscores. It can be at most 80 letters long.",
            ));
        }
        if !ids.insert(id) {
            return Err(Refusal::sqs(
                "BatchEntryIdsNotDistinct",
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                format!("Id {id} repeated."),
            ));
        }
    }
    Ok(())
}

/// Carries out a batch entry by entry: one that fails stops none of the others.
pub(super) fn each<T>(
    entries: &[Entry<T>],
    failing: &[usize],
    mut act: impl FnMut(&T) -> Result<Value, Refusal>,
) -> Value {
    let mut successful = Vec::new();
    let mut failed = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let result = if failing.contains(&index) {
            Err(Refusal::internal_error())
        } else {
            act(&entry.content)
        };
        match result {
            Ok(mut success) => {
                success["Id"] = json!(entry.id);
                successful.push(success);
            }
            Err(refusal) => failed.push(json!({
                "Id": entry.id,
                "SenderFault": refusal.is_senders_fault(),
                "Code": refusal.code,
                "Message": refusal.message,
            })),
        }
    }
    let mut answer = json!({});
    if !successful.is_empty() {
        answer["Successful"] = Value::Array(successful);
    }
    if !failed.is_empty() {
        answer["Failed"] = Value::Array(failed);
    }
    answer
}

fn check_id(parameter: &str, id: Option<&str>) -> Result<(), Refusal> {
    let Some(id) = id else { return Ok(()) };
    if (1..=MAX_ID_CHARS).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "Value {id} for parameter {parameter} is invalid. Reason: {parameter} can only include \
         alphanumeric and punctuation characters. 1 to {MAX_ID_CHARS} in length."
    )))
}

pub(super) fn checked_visibility_ms(seconds: i64) -> Result<i64, Refusal> {
    if (0..=MAX_VISIBILITY_S).contains(&seconds) {
        return Ok(seconds * 1000);
    }
    Err(Refusal::invalid(format!(
        "Value {seconds} for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout \
         must be an integer between 0 and {MAX_VISIBILITY_S}."
    )))
}

pub(super) fn is_allowed_in_text(c: char) -> bool {
    matches!(
        c,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..
    )
}

pub(super) fn chosen(mut attributes: Map<String, Value>, wanted: &[String]) -> Map<String, Value> {
    if !wanted.iter().any(|name| name == "All") {
        attributes.retain(|name, _| wanted.contains(name));
    }
    attributes
}
