#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName as Attribute, SendMessageBatchRequestEntry,
};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use backend::aws::Aws;
use backend::settings::Variables;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;

use super::queue::DEDUPLICATION_INTERVAL_MS;
use super::*;

mod limits;

const START: i64 = 1_700_000_000_000;
const VISIBILITY_MS: i64 = 30_000;
const RETENTION_MS: i64 = 4 * 24 * 60 * 60 * 1000;
const EVENTS: &str = "events.fifo";
const DEAD: &str = "dead.fifo";
const PLAIN: &str = "plain";
const PLAIN_DEAD: &str = "plain-dead";

/// A FIFO and a standard queue, each with a dead-letter queue after three receives, and their clock.
struct Service {
    sqs: Sqs,
    time: Arc<AtomicI64>,
}

impl Service {
    fn new(base_url: &str) -> Self {
        let time = Arc::new(AtomicI64::new(START));
        let clock = Arc::clone(&time);
        let now: Now = Arc::new(move || clock.load(Ordering::SeqCst));
        let sqs = Sqs::new(now, base_url.to_owned());
        for (name, fifo, dead_letter) in [
            (EVENTS, true, Some(DEAD)),
            (DEAD, true, None),
            (PLAIN, false, Some(PLAIN_DEAD)),
            (PLAIN_DEAD, false, None),
        ] {
            sqs.create_queue(QueueSettings {
                name: name.to_owned(),
                fifo,
                dead_letter: dead_letter.map(|target| (target.to_owned(), 3)),
                ..QueueSettings::default()
            });
        }
        Self { sqs, time }
    }

    fn in_process() -> Self {
        Self::new("http://localhost")
    }

    fn advance(&self, ms: i64) {
        self.time.fetch_add(ms, Ordering::SeqCst);
    }

    fn call(&self, operation: &str, content: &Value) -> Result<Value, &'static str> {
        let result = self.sqs.perform(operation, content.to_string().as_bytes(), &[]);
        result.map_err(|refusal| refusal.code)
    }

    fn message(&self, queue: &str, body: &str) -> Value {
        let mut message = json!({ "QueueUrl": self.sqs.url(queue), "MessageBody": body });
        if queue == EVENTS || queue == DEAD {
            message["MessageGroupId"] = json!(body[..1]);
            message["MessageDeduplicationId"] = json!(body);
        }
        message
    }

    /// Sends a message and returns its id; on a FIFO queue the body is the deduplication id and its
    /// first letter the group.
    fn send(&self, queue: &str, body: &str) -> String {
        let sent = self.call("SendMessage", &self.message(queue, body)).unwrap();
        sent["MessageId"].as_str().unwrap().to_owned()
    }

    fn send_with(&self, queue: &str, field: &str, value: Value) -> Result<Value, &'static str> {
        let mut message = self.message(queue, "a1");
        message[field] = value;
        self.call("SendMessage", &message)
    }

    fn send_batch(&self, bodies: &[String]) -> Result<Value, &'static str> {
        let entries = bodies.iter().enumerate().map(|(id, body)| {
            json!({
                "Id": id.to_string(), "MessageBody": body, "MessageGroupId": "g",
                "MessageDeduplicationId": id.to_string(),
            })
        });
        let entries: Vec<Value> = entries.collect();
        let batch = json!({ "QueueUrl": self.sqs.url(EVENTS), "Entries": entries });
        self.call("SendMessageBatch", &batch)
    }

    fn bodies(&self, queue: &str, max: usize) -> Vec<String> {
        bodies(&self.sqs.receive(queue, max))
    }

    fn stored(&self, queue: &str) -> Vec<String> {
        bodies(&self.sqs.messages(queue))
    }

    /// Receives until the first message has gone to the dead-letter queue.
    fn exhaust(&self, queue: &str) {
        for _ in 0..3 {
            assert_eq!(self.sqs.receive(queue, 1).len(), 1);
            self.advance(VISIBILITY_MS);
        }
        self.sqs.receive(queue, 1);
    }

    fn redrive(&self, queue: &str, destination: Option<&str>) -> Result<Value, &'static str> {
        let source = arn(queue);
        let task = json!({ "SourceArn": source, "DestinationArn": destination.map(arn) });
        self.call("StartMessageMoveTask", &task)?;
        let listed = self.call("ListMessageMoveTasks", &json!({ "SourceArn": source }))?;
        Ok(listed["Results"][0].clone())
    }
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|message| message.body.clone()).collect()
}

async fn served() -> (Service, aws_sdk_sqs::Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::new(&base_url);
    let sqs = service.sqs.clone();
    let handler = async move |headers: HeaderMap, body: Bytes| {
        sqs.handle(headers["x-amz-target"].to_str().unwrap(), &body).await
    };
    let router = Router::new().route("/", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let variables = Variables::from_lookup(move |name| match name {
        "AWS_ENDPOINT_URL" => Some(base_url.clone()),
        "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("any".to_owned()),
        _ => None,
    });
    (service, Aws::new(&variables).sqs())
}

#[tokio::test]
async fn the_sdk_sends_receives_and_deletes() {
    let (service, client) = served().await;
    let url = service.sqs.url(EVENTS);
    let reason = MessageAttributeValue::builder().data_type("String").string_value("because");
    let entry = SendMessageBatchRequestEntry::builder()
        .id("x")
        .message_group_id("anna")
        .message_deduplication_id("1")
        .message_body("hello")
        .message_attributes("reason", reason.build().unwrap());
    let batch = client.send_message_batch().queue_url(&url).entries(entry.build().unwrap());
    let sent = batch.send().await.unwrap();
    assert!(sent.failed().is_empty());
    assert_eq!(sent.successful()[0].id(), "x");
    assert_eq!(sent.successful()[0].md5_of_message_body(), "5d41402abc4b2a76b9719d911017c592");

    service.advance(1500);
    let receive = client.receive_message().queue_url(&url).wait_time_seconds(20);
    let receive = receive.message_system_attribute_names(Attribute::MessageGroupId);
    let received = receive.message_attribute_names("All").send().await.unwrap();
    let message = &received.messages()[0];
    assert_eq!(message.body(), Some("hello"));
    let attributes = message.attributes().unwrap();
    assert_eq!(attributes.len(), 1, "only those that are requested");
    assert_eq!(attributes[&Attribute::MessageGroupId], "anna");
    let reason = &message.message_attributes().unwrap()["reason"];
    assert_eq!(reason.string_value(), Some("because"));

    let handle = message.receipt_handle().unwrap();
    let change = client.change_message_visibility().queue_url(&url).receipt_handle(handle);
    change.visibility_timeout(60).send().await.unwrap();
    assert_eq!(service.sqs.next_visible_at(EVENTS), Some(START + 61_500));
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    assert!(service.sqs.is_empty(EVENTS));

    let unknown = client.send_message().queue_url(service.sqs.url("no")).message_body("m");
    let error = unknown.send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");
}

#[test]
fn one_call_receives_a_group_in_order_before_the_next_group() {
    let service = Service::in_process();
    for body in ["a1", "b1", "a2", "a3"] {
        service.send(EVENTS, body);
    }
    assert_eq!(service.bodies(EVENTS, 2), ["a1", "a2"]);
    assert_eq!(service.bodies(EVENTS, 10), ["b1"], "a3 waits for a1 and a2");
}

#[test]
fn a_message_whose_visibility_ends_is_the_first_of_its_group_again() {
    let service = Service::in_process();
    service.send(EVENTS, "a1");
    let first = service.sqs.receive(EVENTS, 1).remove(0);
    service.send(EVENTS, "a2");
    service.advance(VISIBILITY_MS - 1);
    assert!(service.sqs.receive(EVENTS, 10).is_empty(), "its group is in flight");
    service.advance(1);
    let again = service.sqs.receive(EVENTS, 10);
    assert_eq!(bodies(&again), ["a1", "a2"]);
    assert_eq!((first.receive_count, again[0].receive_count), (1, 2));
    assert_eq!(again[0].message_id, first.message_id);
    assert_ne!(again[0].receipt_handle, first.receipt_handle);
    for handle in [&again[0].receipt_handle, &again[1].receipt_handle] {
        assert!(!service.sqs.delete(EVENTS, &first.receipt_handle), "it is received again");
        assert!(service.sqs.delete(EVENTS, handle));
    }
    assert!(service.sqs.is_empty(EVENTS));
}

#[test]
fn only_a_standard_queue_takes_a_receipt_handle_whose_visibility_ended() {
    let service = Service::in_process();
    for (queue, answer) in [(EVENTS, Err("InvalidParameterValue")), (PLAIN, Ok(json!({})))] {
        service.send(queue, "a1");
        let old = service.sqs.receive(queue, 1).remove(0).receipt_handle;
        service.advance(VISIBILITY_MS);
        let new = service.sqs.receive(queue, 1).remove(0).receipt_handle;
        let delete = json!({ "QueueUrl": service.sqs.url(queue), "ReceiptHandle": old });
        assert_eq!(service.call("DeleteMessage", &delete), answer);
        assert_eq!(service.stored(queue), ["a1"], "it is received again");
        service.advance(VISIBILITY_MS);
        assert_eq!(service.sqs.delete(queue, &new), queue == PLAIN);
    }
    let other = service.sqs.receive(EVENTS, 1).remove(0).receipt_handle;
    let delete = json!({ "QueueUrl": service.sqs.url(PLAIN), "ReceiptHandle": other });
    assert_eq!(service.call("DeleteMessage", &delete), Err("ReceiptHandleIsInvalid"));
}

#[test]
fn a_duplicate_is_accepted_as_the_first_for_five_minutes_even_after_its_deletion() {
    let service = Service::in_process();
    let first = service.send(EVENTS, "a1");
    let received = service.sqs.receive(EVENTS, 1).remove(0);
    service.sqs.delete(EVENTS, &received.receipt_handle);
    service.advance(DEDUPLICATION_INTERVAL_MS - 1);
    assert_eq!(service.send(EVENTS, "a1"), first, "and does not prolong the interval");
    assert!(service.sqs.is_empty(EVENTS));
    service.send_with(EVENTS, "MessageGroupId", json!("b")).unwrap();
    assert_eq!(service.stored(EVENTS), ["a1"], "another group has ids of its own");
    service.advance(1);
    assert_ne!(service.send(EVENTS, "a1"), first);
    assert_eq!(service.stored(EVENTS), ["a1", "a1"]);

    service.send_with(EVENTS, "MessageBody", json!("\0")).unwrap_err();
    service.send(PLAIN, "m");
    service.send(PLAIN, "m");
    assert_eq!(service.stored(PLAIN), ["m", "m"], "a standard queue has no duplicates");
}

#[test]
fn after_too_many_receives_a_message_moves_to_the_dead_letter_queue() {
    let service = Service::in_process();
    let id = service.send(EVENTS, "a1");
    service.send(PLAIN, "m");
    service.exhaust(EVENTS);
    let [dead] = &service.sqs.messages(DEAD)[..] else { panic!() };
    assert_eq!((&dead.message_id, dead.receive_count), (&id, 3));
    assert_eq!(dead.group_id.as_deref(), Some("a"));
    assert_eq!(dead.deduplication_id, Some(id));
    assert_eq!(dead.sent_at_ms, START + 3 * VISIBILITY_MS, "its retention begins anew");
    service.exhaust(PLAIN);
    assert_eq!(service.sqs.messages(PLAIN_DEAD)[0].sent_at_ms, START);
    assert!(service.sqs.is_empty(EVENTS) && service.sqs.is_empty(PLAIN));
}

#[test]
fn a_redrive_moves_messages_back_unless_their_source_is_unknown() {
    let service = Service::in_process();
    let id = service.send(EVENTS, "a1");
    service.exhaust(EVENTS);
    service.send(DEAD, "b1");
    let task = service.redrive(DEAD, None).unwrap();
    assert_eq!(task["Status"], "FAILED", "b1 was sent there directly");
    assert_eq!(task["FailureReason"], "CouldNotDetermineMessageSource");
    assert_eq!(service.stored(DEAD), ["b1"]);
    let redriven = service.sqs.receive(EVENTS, 1).remove(0);
    assert_eq!((redriven.body.as_str(), redriven.receive_count), ("a1", 1));
    assert_ne!(redriven.message_id, id, "it counts as new");
    service.sqs.delete(EVENTS, &redriven.receipt_handle);

    service.send(EVENTS, "c1");
    service.exhaust(EVENTS);
    let moved = |destination| {
        let task = service.redrive(DEAD, destination).unwrap();
        task["ApproximateNumberOfMessagesMoved"].as_i64()
    };
    assert_eq!(moved(None), Some(0), "it ends at b1");
    assert_eq!(moved(Some(EVENTS)), Some(2));
    assert_eq!(service.stored(EVENTS), ["b1", "c1"]);
    assert!(service.sqs.is_empty(DEAD));
    assert_eq!(service.redrive(EVENTS, None), Err("InvalidParameterValue"));
    assert_eq!(service.redrive(DEAD, Some("no")), Err("ResourceNotFoundException"));
}

#[test]
fn a_message_is_dropped_when_its_retention_ends() {
    let service = Service::in_process();
    service.send(EVENTS, "a1");
    service.advance(RETENTION_MS - 1);
    service.send(EVENTS, "a2");
    assert_eq!(service.bodies(EVENTS, 1), ["a1"]);
    assert_eq!(service.sqs.next_visible_at(EVENTS), Some(START + RETENTION_MS), "a1 is gone then");
    service.advance(1);
    assert_eq!(service.bodies(EVENTS, 10), ["a2"]);
    service.advance(RETENTION_MS);
    assert!(service.sqs.is_empty(EVENTS));
}

#[test]
fn the_visibility_timeout_ends_twelve_hours_after_the_receive_at_the_latest() {
    let service = Service::in_process();
    service.send(PLAIN, "m");
    let handle = service.sqs.receive(PLAIN, 1).remove(0).receipt_handle;
    service.advance(5000);
    let change = |seconds: i64| {
        let url = service.sqs.url(PLAIN);
        let change =
            json!({ "QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": seconds });
        service.call("ChangeMessageVisibility", &change).is_ok()
    };
    assert!(!change(-1) && !change(12 * 60 * 60 - 4) && change(12 * 60 * 60 - 5));
    assert_eq!(service.sqs.next_visible_at(PLAIN), Some(START + 12 * 60 * 60 * 1000));
    assert!(change(0));
    assert_eq!(service.bodies(PLAIN, 1), ["m"], "visible at once");
    assert!(!change(1), "received again since");
}

#[test]
fn next_visible_at_is_when_a_receive_finds_something() {
    let service = Service::in_process();
    let next = |queue| service.sqs.next_visible_at(queue);
    assert_eq!((next(EVENTS), next("nowhere")), (None, None));
    service.send(EVENTS, "a1");
    let a1 = service.sqs.receive(EVENTS, 1).remove(0);
    service.send(EVENTS, "a2");
    assert_eq!(next(EVENTS), Some(START + VISIBILITY_MS), "a2 waits for a1");
    service.advance(50);
    service.send(EVENTS, "b1");
    assert_eq!(next(EVENTS), Some(START + 50));
    service.sqs.delete(EVENTS, &a1.receipt_handle);
    assert_eq!(next(EVENTS), Some(START), "a2 is free");

    service.send(PLAIN, "m");
    service.advance(RETENTION_MS - 1);
    service.sqs.receive(PLAIN, 1);
    assert_eq!(next(PLAIN), None, "it is gone before it is visible again");
}

#[test]
fn a_queue_counts_its_messages() {
    let service = Service::in_process();
    for body in ["m1", "m2", "m3"] {
        service.send(PLAIN, body);
    }
    service.sqs.receive(PLAIN, 1);
    let request = json!({ "QueueUrl": service.sqs.url(PLAIN), "AttributeNames": ["All"] });
    let expected = json!({
        "ApproximateNumberOfMessages": "2",
        "ApproximateNumberOfMessagesNotVisible": "1",
        "QueueArn": "arn:aws:sqs:us-east-1:000000000000:plain",
    });
    assert_eq!(service.call("GetQueueAttributes", &request), Ok(json!({ "Attributes": expected })));
}

#[test]
fn what_is_not_simulated_is_refused() {
    let service = Service::in_process();
    let delayed = service.send_with(PLAIN, "DelaySeconds", json!(1));
    assert_eq!(delayed, Err("SerializationException"));
    let purge = json!({ "QueueUrl": service.sqs.url(PLAIN) });
    assert_eq!(service.call("PurgeQueue", &purge), Err("UnknownOperationException"));
    for url in ["http://localhost/111111111111/plain", "plain"] {
        let purge = json!({ "QueueUrl": url });
        assert_eq!(service.call("ReceiveMessage", &purge), Err("QueueDoesNotExist"));
    }
}

async fn status(service: &Service, operation: &str, body: &Value) -> u16 {
    let target = format!("AmazonSQS.{operation}");
    service.sqs.handle(&target, body.to_string().as_bytes()).await.status().as_u16()
}

#[tokio::test]
async fn a_fault_affects_one_call() {
    let service = Service::in_process();
    let send = async |body| status(&service, "SendMessage", &service.message(PLAIN, body)).await;
    service.sqs.fail_next(Fault::Entries(vec![0]));
    service.sqs.fail_next(Fault::Unavailable);
    service.sqs.fail_next(Fault::AnswerLost);
    assert_eq!([send("1").await, send("2").await, send("3").await], [503, 503, 200]);
    assert_eq!(service.stored(PLAIN), ["2", "3"]);

    let entries = ["x", "y"].map(|id| json!({ "Id": id, "MessageBody": id }));
    let batch = json!({ "QueueUrl": service.sqs.url(PLAIN), "Entries": entries });
    assert_eq!(status(&service, "SendMessageBatch", &batch).await, 200);
    assert_eq!(service.stored(PLAIN), ["2", "3", "y"], "the fault waited for a batch");
    let partial = service.sqs.perform("SendMessageBatch", batch.to_string().as_bytes(), &[0]);
    assert_eq!(partial.unwrap()["Failed"][0]["SenderFault"], false);

    service.sqs.fail_next(Fault::Silence);
    tokio::select! {
        biased;
        _ = send("never") => panic!("answered"),
        () = std::future::ready(()) => {}
    }
    assert!(!service.stored(PLAIN).contains(&"never".to_owned()));
    service.sqs.set_down(true);
    assert_eq!(send("down").await, 503);
    service.sqs.set_down(false);
    assert_eq!(send("up").await, 200);
    assert_eq!(service.sqs.calls()["SendMessage"], 6, "failed calls count");
}

/// No two receive calls hold messages of one group, each call gets the oldest messages of a group
/// without a gap, `next_visible_at` says when, and nothing is lost.
#[test]
fn a_group_is_received_in_order_by_one_at_a_time() {
    for seed in 0..300 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let service = Service::in_process();
        let settings = QueueSettings { name: EVENTS.to_owned(), fifo: true, ..Default::default() };
        service.sqs.create_queue(settings);
        let mut waiting: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut held: Vec<(Received, i64)> = Vec::new();
        for number in 0..60 {
            let now = service.time.load(Ordering::SeqCst);
            held.retain(|(_, until)| *until > now);
            match rng.random_range(0..10) {
                0..3 => {
                    let group = rng.random_range(0..3).to_string();
                    let body = format!("{group}-{number}");
                    service.send(EVENTS, &body);
                    waiting.entry(group).or_default().push(body);
                }
                3..6 => {
                    let expected = service.sqs.next_visible_at(EVENTS);
                    let received = service.sqs.receive(EVENTS, rng.random_range(1..5));
                    let is_expected = expected.is_some_and(|at| at <= now);
                    assert_eq!(is_expected, !received.is_empty(), "seed {seed}");
                    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
                    for message in &received {
                        let is_free = held.iter().all(|(h, _)| h.group_id != message.group_id);
                        assert!(is_free, "seed {seed}");
                        let group = message.group_id.clone().unwrap();
                        groups.entry(group).or_default().push(message.body.clone());
                    }
                    for (group, bodies) in groups {
                        assert!(waiting[&group].starts_with(&bodies), "seed {seed}");
                    }
                    held.extend(received.into_iter().map(|message| (message, now + VISIBILITY_MS)));
                }
                6..9 if !held.is_empty() => {
                    let (message, _) = held.remove(rng.random_range(0..held.len()));
                    assert!(service.sqs.delete(EVENTS, &message.receipt_handle), "seed {seed}");
                    let group = waiting.get_mut(&message.group_id.unwrap()).unwrap();
                    group.retain(|body| *body != message.body);
                }
                _ => service.advance(rng.random_range(1..VISIBILITY_MS)),
            }
        }
        let mut left: Vec<String> = waiting.into_values().flatten().collect();
        let mut stored = service.stored(EVENTS);
        left.sort();
        stored.sort();
        assert_eq!(stored, left, "seed {seed}");
    }
}
