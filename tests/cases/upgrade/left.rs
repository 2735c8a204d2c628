//! What a version leaves in AWS: the table's items and the queues' messages, as a file that a later
//! version takes over.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::types::AttributeValue;
use messenger::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use simulator::platform::{
    DEAD_LETTERS, EVENTS, FORWARD, FORWARD_DEAD_LETTERS, Platform, TABLE, UNREADABLE,
};
use simulator::sqs::{MessageAttribute, Received};

use super::people::BEING_ERASED;
use crate::support::PSID;

const QUEUES: [&str; 5] = [EVENTS, DEAD_LETTERS, UNREADABLE, FORWARD, FORWARD_DEAD_LETTERS];

/// Messages of a Page that has a past have numbers beyond this one.
const LAST_NUMBER: u64 = 1_000;

/// The file that holds what the version before left.
pub(super) fn of_the_version_before() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("upgrade/state.json")
}

/// What a version leaves.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Left {
    /// The version that wrote all this, and how the file is made anew.
    about: String,
    /// The instant, ms since the epoch.
    pub(super) at: i64,
    /// The secret's version that the pauses of Pages name.
    pub(super) secret_version: String,
    /// What callers of the API remember: ids, codes and cursors.
    pub(super) remembered: BTreeMap<String, String>,
    /// The notifications that Meta has sent, so that a stand-in knows the people.
    pub(super) sent: Vec<Value>,
    /// Those that Meta sends next: echoes of what arrived a moment ago.
    pub(super) coming: Vec<Value>,
    /// The messages of each queue.
    queues: BTreeMap<String, Vec<Queued>>,
    /// The table, in the JSON of `DynamoDB`.
    items: Vec<Map<String, Value>>,
}

/// A message of a queue.
#[derive(Debug, Serialize, Deserialize)]
struct Queued {
    body: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deduplication: Option<String>,
    /// When it was sent, ms since the epoch.
    sent_at: i64,
    /// How often it was received.
    receives: u32,
}

impl Left {
    /// Everything that a platform's AWS holds at this instant.
    pub(super) async fn by(platform: &Platform, sent: Vec<Value>) -> Self {
        let queued = |message: Received| Queued {
            body: message.body,
            attributes: message.attributes.into_iter().map(|(name, it)| (name, it.value)).collect(),
            group: message.group_id,
            deduplication: message.deduplication_id,
            sent_at: message.sent_at_ms,
            receives: message.receive_count,
        };
        let queue = |name: &&str| {
            let messages = platform.sqs.messages(name).into_iter().map(queued).collect();
            ((*name).to_owned(), messages)
        };
        let coming = platform.meta.pending_webhooks();
        let secret = platform.containers().environment().secrets.current().await.unwrap();
        Self {
            about: "Not written.".to_owned(),
            at: platform.clock.now().millis(),
            secret_version: secret.version.clone(),
            remembered: BTreeMap::new(),
            sent,
            coming: coming.iter().map(|body| serde_json::from_slice(body).unwrap()).collect(),
            queues: QUEUES.iter().map(queue).collect(),
            items: items(platform).await,
        }
    }

    /// Puts everything into a platform whose clock stands at the instant. Forwarded events go to
    /// `receiver` instead of `former`.
    pub(super) async fn put_into(&self, platform: &Platform, former: &str, receiver: &str) {
        assert_eq!(platform.clock.now(), Timestamp::from_millis(self.at));
        platform.meta.number_from(LAST_NUMBER);
        for body in &self.sent {
            platform.meta.observe(body.to_string().as_bytes());
        }
        let table = platform.containers().environment().aws.dynamodb();
        for item in &self.items {
            let item = item.iter().map(|(name, it)| (name.clone(), to_attribute(it)));
            let item: HashMap<_, _> = item.collect();
            table.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
        }
        for (name, messages) in &self.queues {
            for message in messages {
                let attribute = |(name, value): (&String, &String)| {
                    let value = if value == former { receiver.to_owned() } else { value.clone() };
                    let attribute = MessageAttribute { data_type: "String".to_owned(), value };
                    (name.clone(), attribute)
                };
                let taken = Received {
                    message_id: String::new(),
                    receipt_handle: String::new(),
                    body: message.body.clone(),
                    attributes: message.attributes.iter().map(attribute).collect(),
                    group_id: message.group.clone(),
                    deduplication_id: message.deduplication.clone(),
                    sequence_number: None,
                    sent_at_ms: message.sent_at,
                    receive_count: message.receives,
                };
                platform.sqs.restore(name, taken);
            }
        }
    }

    /// The ids of the events that were to be forwarded, except those of the person who is erased.
    pub(super) fn forwarded(&self) -> Vec<String> {
        let messages = self.queues[FORWARD].iter().chain(&self.queues[FORWARD_DEAD_LETTERS]);
        let bodies = messages.map(|message| serde_json::from_str::<Value>(&message.body).unwrap());
        let kept = bodies.filter(|body| body["psid"] != BEING_ERASED && body["psid"] != PSID);
        kept.map(|body| body["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether an echo of a message to a person is to come.
    pub(super) fn has_echo(&self, psid: &str) -> bool {
        self.coming.iter().any(|body| body["entry"][0]["messaging"][0]["recipient"]["id"] == psid)
    }

    /// What a caller of the API remembers.
    pub(super) fn remembered(&self, name: &str) -> &str {
        &self.remembered[name]
    }

    pub(super) fn read(path: &Path) -> Self {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Writes the file, a line for each item and message.
    pub(super) fn write(&self, path: &Path, about: &str) {
        let Value::Object(mut parts) = json!(self) else { panic!("it is an object") };
        parts["about"] = about.into();
        let lines = |list: &[Value], indent: &str| {
            let lines: Vec<_> = list.iter().map(|line| format!("\n{indent}  {line}")).collect();
            if lines.is_empty() {
                "[]".to_owned()
            } else {
                format!("[{}\n{indent}]", lines.join(","))
            }
        };
        let part = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::Array(list) => lines(list, "  "),
                Value::Object(fields) if fields.values().all(Value::is_array) => {
                    let queue = |(name, list): (&String, &Value)| {
                        format!("\n    {:?}: {}", name, lines(list.as_array().unwrap(), "    "))
                    };
                    format!("{{{}\n  }}", fields.iter().map(queue).collect::<Vec<_>>().join(","))
                }
                other => other.to_string(),
            };
            format!("\n  {name:?}: {value}")
        };
        let text = parts.iter().map(part).collect::<Vec<_>>().join(",");
        std::fs::write(path, format!("{{{text}\n}}\n")).unwrap();
    }
}

/// Everything in the table, in the order of its keys.
async fn items(platform: &Platform) -> Vec<Map<String, Value>> {
    let table = platform.containers().environment().aws.dynamodb();
    let (mut items, mut from) = (Vec::new(), None);
    loop {
        let scan = table.scan().table_name(TABLE).consistent_read(true);
        let page = scan.set_exclusive_start_key(from).send().await.unwrap();
        items.extend(page.items.unwrap_or_default());
        from = page.last_evaluated_key;
        if from.is_none() {
            break;
        }
    }
    let in_json = |item: HashMap<String, AttributeValue>| {
        item.into_iter().map(|(name, it)| (name, from_attribute(&it))).collect()
    };
    let mut items: Vec<Map<String, Value>> = items.into_iter().map(in_json).collect();
    items.sort_by_key(|item| (item["pk"].to_string(), item["sk"].to_string()));
    items
}

fn from_attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::Ss(set) => json!({"SS": set}),
        AttributeValue::L(list) => {
            json!({"L": list.iter().map(from_attribute).collect::<Vec<_>>()})
        }
        AttributeValue::M(map) => {
            let map = map.iter().map(|(name, it)| (name.clone(), from_attribute(it)));
            json!({"M": map.collect::<Map<_, _>>()})
        }
        other => panic!("an attribute that no version writes: {other:?}"),
    }
}

fn to_attribute(value: &Value) -> AttributeValue {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "SS" => AttributeValue::Ss(value.as_array().unwrap().iter().map(text).collect()),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(to_attribute).collect()),
        "M" => {
            let map = value.as_object().unwrap().iter();
            AttributeValue::M(map.map(|(name, it)| (name.clone(), to_attribute(it))).collect())
        }
        other => panic!("an attribute that no version writes: {other}"),
    }
}
