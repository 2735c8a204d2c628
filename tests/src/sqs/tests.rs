#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName as Attribute, QueueAttributeName,
    SendMessageBatchRequestEntry as BatchEntry, SendMessageBatchResultEntry,
};
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::routing::post;
use md5::{Digest as _, Md5};
use proptest::prelude::*;
use tokio::net::TcpListener;

use super::queue::DEDUPLICATION_INTERVAL_MS;
use super::*;

const START: i64 = 1_700_000_000_000;
const VISIBILITY_MS: i64 = 30_000;
const RETENTION_MS: i64 = 4 * 24 * 60 * 60 * 1000;
const EVENTS: &str = "events.fifo";
const DEAD: &str = "dead.fifo";
const PLAIN: &str = "plain";
const PLAIN_DEAD: &str = "plain-dead";

/// A service with a FIFO and a standard queue, each with a dead-letter queue, and its clock.
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
        Self::new("http://localhost/")
    }

    async fn served() -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let service = Self::new(&base_url);
        let sqs = service.sqs.clone();
        let app = Router::new().route(
            "/",
            post(async move |headers: HeaderMap, body: Bytes| {
                let target = headers["x-amz-target"].to_str().unwrap();
                sqs.handle(target, &body).await
            }),
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(base_url)
            .build();
        (service, Client::from_conf(config))
    }

    fn advance(&self, ms: i64) {
        self.time.fetch_add(ms, Ordering::SeqCst);
    }

    fn call(&self, operation: &str, queue: &str, mut content: Value) -> Result<Value, Refusal> {
        content["QueueUrl"] = json!(self.sqs.url(queue));
        let body = content.to_string();
        self.sqs.perform(operation, body.as_bytes(), &[])
    }

    /// Sends to the FIFO queue, with the body as deduplication id, and returns the message id.
    fn send(&self, group: &str, body: &str) -> String {
        self.send_as(group, body, body)
    }

    fn send_as(&self, group: &str, deduplication_id: &str, body: &str) -> String {
        let content = json!({
            "MessageBody": body,
            "MessageGroupId": group,
            "MessageDeduplicationId": deduplication_id,
        });
        let sent = self.call("SendMessage", EVENTS, content).unwrap();
        sent["MessageId"].as_str().unwrap().to_owned()
    }

    fn send_plain(&self, body: &str) {
        self.call("SendMessage", PLAIN, json!({ "MessageBody": body })).unwrap();
    }

    fn bodies(&self, name: &str, max: usize) -> Vec<String> {
        bodies(&self.sqs.receive(name, max))
    }

    fn stored(&self, name: &str) -> Vec<String> {
        let messages = self.sqs.messages(name);
        messages.into_iter().map(|message| message.body).collect()
    }
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|m| m.body.clone()).collect()
}

fn entry(id: &str, group: &str, body: &str) -> BatchEntry {
    BatchEntry::builder()
        .id(id)
        .message_group_id(group)
        .message_deduplication_id(hex(&Md5::digest(body)))
        .message_body(body)
        .build()
        .unwrap()
}

fn text(data_type: &str, value: &str) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type(data_type);
    attribute.string_value(value).build().unwrap()
}

fn binary(data_type: &str, value: &[u8]) -> MessageAttributeValue {
    let attribute = MessageAttributeValue::builder().data_type(data_type);
    attribute.binary_value(Blob::new(value)).build().unwrap()
}

fn kept(attributes: &[(&str, &str, &str)]) -> BTreeMap<String, MessageAttribute> {
    let attributes = attributes.iter().map(|&(name, data_type, value)| {
        let attribute =
            MessageAttribute { data_type: data_type.to_owned(), value: value.to_owned() };
        (name.to_owned(), attribute)
    });
    attributes.collect()
}

#[tokio::test]
async fn a_batch_is_sent_received_and_deleted_through_the_sdk() {
    let (service, client) = Service::served().await;
    let url = service.sqs.url(EVENTS);
    let sent = client
        .send_message_batch()
        .queue_url(&url)
        .entries(entry("x", "anna", "hello"))
        .entries(entry("y", "anna", "wörld"))
        .send()
        .await
        .unwrap();
    assert!(sent.failed().is_empty());
    let [x, y] = sent.successful() else { panic!("{sent:?}") };
    assert_eq!((x.id(), y.id()), ("x", "y"));
    // Known digests, so that the computation is not compared with itself.
    assert_eq!(x.md5_of_message_body(), "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(y.md5_of_message_body(), "8a223f8cb0e9065ff43b328b97e8467e");
    assert!(x.sequence_number() < y.sequence_number());

    service.advance(1500);
    let received = client
        .receive_message()
        .queue_url(&url)
        .max_number_of_messages(10)
        .wait_time_seconds(20)
        .message_system_attribute_names(Attribute::All)
        .send()
        .await
        .unwrap();
    let [first, second] = received.messages() else { panic!("{received:?}") };
    assert_eq!(first.message_id(), Some(x.message_id()));
    assert_eq!(first.body(), Some("hello"));
    assert_eq!(first.md5_of_body(), Some(x.md5_of_message_body()));
    assert_eq!(second.body(), Some("wörld"));
    let attributes = first.attributes().unwrap();
    let attribute = |name| attributes.get(&name).map(String::as_str);
    assert_eq!(attribute(Attribute::MessageGroupId), Some("anna"));
    assert_eq!(attribute(Attribute::MessageDeduplicationId), first.md5_of_body());
    assert_eq!(attribute(Attribute::SequenceNumber), x.sequence_number());
    assert_eq!(attribute(Attribute::SentTimestamp), Some("1700000000000"));
    assert_eq!(attribute(Attribute::ApproximateFirstReceiveTimestamp), Some("1700000001500"));
    assert_eq!(attribute(Attribute::ApproximateReceiveCount), Some("1"));

    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let deleted = client
        .delete_message_batch()
        .queue_url(&url)
        .entries(delete("x", first.receipt_handle().unwrap()))
        .entries(delete("z", "nonsense"))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.successful()[0].id(), "x");
    assert_eq!(deleted.failed()[0].id(), "z");
    assert_eq!(deleted.failed()[0].code(), "ReceiptHandleIsInvalid");
    assert!(deleted.failed()[0].sender_fault());
    assert_eq!(service.stored(EVENTS), ["wörld"]);

    let delete = client.delete_message().queue_url(&url);
    let delete = delete.receipt_handle(second.receipt_handle().unwrap());
    delete.send().await.unwrap();
    assert!(service.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn only_the_wanted_attributes_are_received() {
    let (service, client) = Service::served().await;
    service.send("anna", "a");
    let receive = || client.receive_message().queue_url(service.sqs.url(EVENTS));
    let first = receive().visibility_timeout(0).send().await.unwrap();
    assert_eq!(first.messages()[0].attributes(), None);
    let second = receive()
        .message_system_attribute_names(Attribute::ApproximateReceiveCount)
        .send()
        .await
        .unwrap();
    let attributes = second.messages()[0].attributes().unwrap();
    assert_eq!(attributes.len(), 1);
    assert_eq!(attributes[&Attribute::ApproximateReceiveCount], "2");
    assert!(receive().send().await.unwrap().messages().is_empty());
}

#[test]
fn one_call_receives_a_group_in_order_before_the_next_group() {
    let service = Service::in_process();
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")] {
        service.send(group, body);
    }
    assert_eq!(service.bodies(EVENTS, 2), ["a1", "a2"]);
    assert_eq!(service.bodies(EVENTS, 10), ["b1"], "a3 waits for a1 and a2");
}

#[test]
fn a_group_in_flight_is_not_received_until_its_messages_are_deleted() {
    let service = Service::in_process();
    service.send("a", "a1");
    service.send("a", "a2");
    let first = service.sqs.receive(EVENTS, 2);
    service.send("a", "a3");
    assert_eq!(service.bodies(EVENTS, 10), [""; 0]);
    assert!(service.sqs.delete(EVENTS, &first[0].receipt_handle));
    assert_eq!(service.bodies(EVENTS, 10), [""; 0], "a2 is still in flight");
    assert!(service.sqs.delete(EVENTS, &first[1].receipt_handle));
    assert!(!service.sqs.delete(EVENTS, &first[1].receipt_handle));
    assert_eq!(service.bodies(EVENTS, 10), ["a3"]);
}

#[test]
fn a_message_whose_visibility_ends_is_the_first_of_its_group_again() {
    let service = Service::in_process();
    service.send("a", "a1");
    service.advance(10);
    let first = service.sqs.receive(EVENTS, 1).remove(0);
    service.send("a", "a2");
    service.advance(VISIBILITY_MS - 1);
    assert!(service.sqs.receive(EVENTS, 10).is_empty());
    service.advance(1);
    let again = service.sqs.receive(EVENTS, 10);
    assert_eq!(bodies(&again), ["a1", "a2"]);
    assert_eq!(again[0].message_id, first.message_id);
    assert_ne!(again[0].receipt_handle, first.receipt_handle);
    assert_eq!((first.receive_count, again[0].receive_count), (1, 2));
    assert_eq!(again[0].sent_at_ms, START);
    assert_eq!(again[0].first_received_at_ms, START + 10);
    assert_eq!(again[1].receive_count, 1);
}

#[test]
fn a_fifo_queue_takes_no_receipt_handle_after_its_visibility_ended() {
    let service = Service::in_process();
    service.send("a", "a1");
    let expired = service.sqs.receive(EVENTS, 1).remove(0).receipt_handle;
    service.advance(VISIBILITY_MS);
    assert!(!service.sqs.delete(EVENTS, &expired));
    assert!(!service.sqs.make_visible(EVENTS, &expired));
    let current = service.sqs.receive(EVENTS, 1).remove(0).receipt_handle;
    assert!(!service.sqs.delete(EVENTS, &expired));
    let request = json!({ "ReceiptHandle": expired });
    let refusal = service.call("DeleteMessage", EVENTS, request).unwrap_err();
    assert_eq!(refusal.code, "InvalidParameterValue");
    assert!(refusal.message.ends_with("The receipt handle has expired."));
    let request = json!({ "ReceiptHandle": current });
    let refusal = service.call("DeleteMessage", DEAD, request).unwrap_err();
    assert_eq!(refusal.code, "ReceiptHandleIsInvalid", "another queue's");
    assert!(service.sqs.delete(EVENTS, &current));
}

#[test]
fn make_visible_gives_a_message_back_at_once() {
    let service = Service::in_process();
    service.send("a", "a1");
    service.send("a", "a2");
    let received = service.sqs.receive(EVENTS, 2);
    assert!(service.sqs.make_visible(EVENTS, &received[0].receipt_handle));
    assert!(service.sqs.receive(EVENTS, 2).is_empty(), "a2 is in flight");
    assert!(service.sqs.make_visible(EVENTS, &received[1].receipt_handle));
    assert_eq!(service.bodies(EVENTS, 2), ["a1", "a2"]);
}

#[test]
fn a_duplicate_is_accepted_as_the_first_for_five_minutes_even_after_its_deletion() {
    let service = Service::in_process();
    let first = service.send_as("a", "id", "one");
    let received = service.sqs.receive(EVENTS, 1).remove(0);
    assert!(service.sqs.delete(EVENTS, &received.receipt_handle));

    service.advance(DEDUPLICATION_INTERVAL_MS / 2);
    assert_eq!(service.send_as("a", "id", "two"), first);
    let duplicate = json!({
        "MessageBody": "hello", "MessageGroupId": "a", "MessageDeduplicationId": "id",
    });
    let duplicate = service.call("SendMessage", EVENTS, duplicate).unwrap();
    assert_eq!(duplicate["SequenceNumber"].as_str(), received.sequence_number.as_deref());
    assert_eq!(duplicate["MD5OfMessageBody"], "5d41402abc4b2a76b9719d911017c592");
    assert!(service.sqs.is_empty(EVENTS));

    let other_group = service.send_as("b", "id", "three");
    assert_ne!(other_group, first);
    assert_eq!(service.stored(EVENTS), ["three"]);

    service.advance(DEDUPLICATION_INTERVAL_MS / 2 - 1);
    assert_eq!(service.send_as("a", "id", "four"), first);
    service.advance(1);
    assert_ne!(service.send_as("a", "id", "five"), first);
    assert_eq!(service.stored(EVENTS), ["three", "five"]);
}

#[test]
fn a_refused_message_does_not_make_the_next_one_a_duplicate() {
    let service = Service::in_process();
    let content = |body| json!({ "MessageBody": body, "MessageGroupId": "a", "MessageDeduplicationId": "id" });
    service.call("SendMessage", EVENTS, content("\u{1}")).unwrap_err();
    service.call("SendMessage", EVENTS, content("fine")).unwrap();
    assert_eq!(service.stored(EVENTS), ["fine"]);
}

#[test]
fn after_too_many_receives_a_message_moves_to_the_dead_letter_queue() {
    let service = Service::in_process();
    let id = service.send("a", "poison");
    for _ in 0..3 {
        assert_eq!(service.bodies(EVENTS, 1), ["poison"]);
        service.advance(VISIBILITY_MS);
    }
    service.send("a", "next");
    assert!(service.sqs.is_empty(DEAD), "only a receive call moves it");
    assert!(service.sqs.receive(EVENTS, 0).is_empty());
    assert!(service.sqs.is_empty(DEAD), "nothing was asked for");

    assert_eq!(service.bodies(EVENTS, 1), ["next"]);
    assert_eq!(service.stored(EVENTS), ["next"]);
    let dead = service.sqs.receive(DEAD, 10);
    assert_eq!(bodies(&dead), ["poison"]);
    assert_eq!(dead[0].message_id, id);
    assert_eq!(dead[0].group_id.as_deref(), Some("a"));
    assert_eq!(dead[0].deduplication_id.as_deref(), Some("poison"));
    assert_eq!(dead[0].receive_count, 4);
    assert_eq!(dead[0].sent_at_ms, START + 3 * VISIBILITY_MS);
    let source = service.sqs.arn(EVENTS);
    assert_eq!(dead[0].dead_letter_source, Some(source));
}

#[test]
fn a_standard_dead_letter_queue_keeps_the_sending_time() {
    let service = Service::in_process();
    service.send_plain("poison");
    for _ in 0..3 {
        assert_eq!(service.bodies(PLAIN, 1), ["poison"]);
        service.advance(VISIBILITY_MS);
    }
    assert!(service.sqs.receive(PLAIN, 1).is_empty());
    assert!(service.sqs.is_empty(PLAIN));
    assert_eq!(service.sqs.receive(PLAIN_DEAD, 1)[0].sent_at_ms, START);
}

#[test]
fn without_its_dead_letter_queue_a_message_stays_and_is_received_on() {
    let service = Service::in_process();
    for (name, target) in [("lost", "nowhere"), ("self", "self")] {
        service.sqs.create_queue(QueueSettings {
            name: name.to_owned(),
            visibility: Duration::ZERO,
            dead_letter: Some((target.to_owned(), 1)),
            ..QueueSettings::default()
        });
        service.call("SendMessage", name, json!({ "MessageBody": "m" })).unwrap();
        for count in 1..=3 {
            assert_eq!(service.sqs.receive(name, 1)[0].receive_count, count);
        }
    }
}

#[test]
fn a_message_is_dropped_when_its_retention_ends() {
    let service = Service::in_process();
    service.send("a", "old");
    service.advance(RETENTION_MS - 1);
    service.send("a", "new");
    assert_eq!(service.bodies(EVENTS, 1), ["old"]);
    assert!(service.sqs.receive(EVENTS, 10).is_empty());
    service.advance(1);
    assert_eq!(service.bodies(EVENTS, 10), ["new"], "its group is free again");
    assert_eq!(service.stored(EVENTS), ["new"]);
    service.advance(RETENTION_MS);
    assert!(service.sqs.is_empty(EVENTS));
}

#[test]
fn a_standard_queue_knows_no_order_of_groups_and_no_duplicates() {
    let service = Service::in_process();
    let content = |body| json!({ "MessageBody": body, "MessageGroupId": "a" });
    for body in ["m", "m", "n"] {
        let sent = service.call("SendMessage", PLAIN, content(body)).unwrap();
        assert_eq!(sent.get("SequenceNumber"), None);
    }
    assert_eq!(service.bodies(PLAIN, 1), ["m"]);
    let rest = service.sqs.receive(PLAIN, 10);
    assert_eq!(bodies(&rest), ["m", "n"]);
    assert_eq!(rest[0].sequence_number, None);
    assert_eq!(rest[0].group_id.as_deref(), Some("a"));
}

#[test]
fn a_standard_queue_takes_a_receipt_handle_until_the_next_receive() {
    let service = Service::in_process();
    service.send_plain("m");
    let old = service.sqs.receive(PLAIN, 1).remove(0).receipt_handle;
    service.advance(VISIBILITY_MS);
    let new = service.sqs.receive(PLAIN, 1).remove(0).receipt_handle;
    let request = json!({ "ReceiptHandle": old });
    assert_eq!(
        service.call("DeleteMessage", PLAIN, request),
        Ok(json!({})),
        "said to succeed, as the real service does"
    );
    assert_eq!(service.stored(PLAIN), ["m"]);
    service.advance(VISIBILITY_MS);
    assert!(service.sqs.delete(PLAIN, &new));
    assert!(service.sqs.is_empty(PLAIN));
}

#[tokio::test]
async fn the_visibility_timeout_can_be_chosen_and_changed() {
    let (service, client) = Service::served().await;
    service.send("a", "a1");
    let url = service.sqs.url(EVENTS);
    let receive = client.receive_message().queue_url(&url);
    let received = receive.visibility_timeout(5).send().await.unwrap();
    let handle = received.messages()[0].receipt_handle().unwrap();
    assert_eq!(service.sqs.next_visible_at(EVENTS), Some(START + 5000));

    let change = |seconds| {
        let change = client.change_message_visibility().queue_url(&url);
        change.receipt_handle(handle).visibility_timeout(seconds)
    };
    service.advance(4999);
    change(60).send().await.unwrap();
    assert_eq!(service.sqs.next_visible_at(EVENTS), Some(START + 64_999));

    let too_long = change(12 * 60 * 60).send().await.unwrap_err();
    assert_eq!(too_long.code(), Some("InvalidParameterValue"));
    let out_of_range = change(12 * 60 * 60 + 1).send().await.unwrap_err();
    assert_eq!(out_of_range.code(), Some("InvalidParameterValue"));
    change(12 * 60 * 60 - 5).send().await.unwrap();

    change(0).send().await.unwrap();
    assert_eq!(service.bodies(EVENTS, 1), ["a1"]);
    let expired = change(1).send().await.unwrap_err();
    assert_eq!(expired.code(), Some("InvalidParameterValue"));
    let change = client.change_message_visibility().queue_url(&url);
    let invalid = change.receipt_handle("x").visibility_timeout(1).send();
    let invalid = invalid.await.unwrap_err().into_service_error();
    assert!(invalid.is_receipt_handle_is_invalid(), "{invalid:?}");
}

#[test]
fn next_visible_at_is_when_a_receive_finds_something() {
    let service = Service::in_process();
    let next = || service.sqs.next_visible_at(EVENTS);
    assert_eq!(next(), None);
    service.send("a", "a1");
    service.advance(100);
    assert_eq!(next(), Some(START));

    let a1 = service.sqs.receive(EVENTS, 1).remove(0);
    service.send("a", "a2");
    let a_free_at = START + 100 + VISIBILITY_MS;
    assert_eq!(next(), Some(a_free_at), "a2 waits for a1");
    service.advance(50);
    service.send("b", "b1");
    assert_eq!(next(), Some(START + 150));
    assert_eq!(service.bodies(EVENTS, 1), ["b1"]);
    assert_eq!(next(), Some(a_free_at));
    service.sqs.delete(EVENTS, &a1.receipt_handle);
    assert_eq!(next(), Some(START + 100), "a2 is free");
    service.sqs.receive(EVENTS, 1);
    assert_eq!(next(), Some(START + 150 + VISIBILITY_MS));

    assert_eq!(service.sqs.next_visible_at("nowhere"), None);
}

#[test]
fn next_visible_at_respects_retention() {
    let service = Service::in_process();
    service.send("a", "a1");
    service.send_plain("m");
    service.advance(RETENTION_MS - VISIBILITY_MS + 1);
    service.sqs.receive(EVENTS, 1);
    service.sqs.receive(PLAIN, 1);
    assert_eq!(service.sqs.next_visible_at(EVENTS), None, "gone by then");
    assert_eq!(service.sqs.next_visible_at(PLAIN), None, "gone by then");
    service.advance(1);
    service.send("a", "a2");
    service.send_plain("n");
    assert_eq!(
        service.sqs.next_visible_at(EVENTS),
        Some(START + RETENTION_MS),
        "a2 is free when a1 is gone"
    );
    let now = START + RETENTION_MS - VISIBILITY_MS + 2;
    assert_eq!(service.sqs.next_visible_at(PLAIN), Some(now));
}

#[test]
fn stored_messages_can_be_looked_at() {
    let service = Service::in_process();
    service.send("a", "a1");
    service.send("a", "a2");
    service.sqs.receive(EVENTS, 1);
    let view = |body: &str, receive_count, visible| StoredView {
        body: body.to_owned(),
        attributes: BTreeMap::new(),
        group_id: Some("a".to_owned()),
        receive_count,
        visible,
    };
    assert_eq!(service.sqs.messages(EVENTS), [view("a1", 1, false), view("a2", 0, true)]);
    assert!(!service.sqs.is_empty(EVENTS));
    service.advance(VISIBILITY_MS);
    assert_eq!(service.sqs.messages(EVENTS), [view("a1", 1, true), view("a2", 0, true)]);
}

#[tokio::test]
async fn a_delayed_message_waits_on_a_standard_queue() {
    let (service, client) = Service::served().await;
    let send = |name: &str, seconds| {
        let send = client.send_message().queue_url(service.sqs.url(name));
        send.message_body("later").delay_seconds(seconds)
    };
    send(PLAIN, 900).send().await.unwrap();
    assert!(service.sqs.receive(PLAIN, 1).is_empty());
    assert_eq!(service.sqs.next_visible_at(PLAIN), Some(START + 900_000));
    let too_long = send(PLAIN, 901).send().await.unwrap_err();
    assert_eq!(too_long.code(), Some("InvalidParameterValue"));
    let fifo = send(EVENTS, 1);
    let fifo = fifo.message_group_id("a").message_deduplication_id("a");
    let fifo = fifo.send().await.unwrap_err();
    assert_eq!(fifo.code(), Some("InvalidParameterValue"));
    assert!(service.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn a_queue_is_found_by_name_and_described() {
    let (service, client) = Service::served().await;
    let found = client.get_queue_url().queue_name(EVENTS);
    let url = found.send().await.unwrap().queue_url.unwrap();
    assert!(url.ends_with("/000000000000/events.fifo"), "{url}");
    let settings =
        QueueSettings { name: "other.fifo".to_owned(), fifo: true, ..QueueSettings::default() };
    let found = client.get_queue_url().queue_name("other.fifo");
    let unknown = found.clone().send().await.unwrap_err();
    assert!(unknown.into_service_error().is_queue_does_not_exist());
    let created = service.sqs.create_queue(settings);
    assert_eq!(found.send().await.unwrap().queue_url, Some(created));

    service.send("a", "a1");
    service.send("a", "a2");
    service.sqs.receive(EVENTS, 1);
    let described = client.get_queue_attributes().queue_url(&url);
    let all = described.clone().attribute_names(QueueAttributeName::All).send().await.unwrap();
    let all = all.attributes().unwrap();
    for (name, value) in [
        (QueueAttributeName::ApproximateNumberOfMessages, "1"),
        (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "1"),
        (QueueAttributeName::ApproximateNumberOfMessagesDelayed, "0"),
        (QueueAttributeName::QueueArn, "arn:aws:sqs:us-east-1:000000000000:events.fifo"),
        (QueueAttributeName::VisibilityTimeout, "30"),
        (QueueAttributeName::MessageRetentionPeriod, "345600"),
        (QueueAttributeName::MaximumMessageSize, "1048576"),
        (QueueAttributeName::CreatedTimestamp, "1700000000"),
        (QueueAttributeName::DeduplicationScope, "messageGroup"),
        (
            QueueAttributeName::RedrivePolicy,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead.fifo","maxReceiveCount":3}"#,
        ),
    ] {
        assert_eq!(all.get(&name).map(String::as_str), Some(value), "{name}");
    }
    let one = described.attribute_names(QueueAttributeName::QueueArn);
    let one = one.send().await.unwrap();
    assert_eq!(one.attributes().unwrap().len(), 1);
}

#[test]
fn creating_a_queue_again_changes_it_and_keeps_its_messages() {
    let service = Service::in_process();
    service.send("a", "a1");
    let url = service.sqs.create_queue(QueueSettings {
        name: EVENTS.to_owned(),
        fifo: true,
        visibility: Duration::from_secs(7),
        ..QueueSettings::default()
    });
    assert_eq!(url, "http://localhost/000000000000/events.fifo");
    assert_eq!(service.bodies(EVENTS, 1), ["a1"]);
    assert_eq!(service.sqs.next_visible_at(EVENTS), Some(START + 7000));
}

#[tokio::test]
async fn an_unknown_queue_is_refused() {
    let (service, client) = Service::served().await;
    let base = service.sqs.url("");
    for url in [
        format!("{base}unknown.fifo"),
        base.replace(ACCOUNT, "111111111111") + EVENTS,
        EVENTS.to_owned(),
    ] {
        let send = client.send_message().queue_url(url).message_body("m");
        let error = send.send().await.unwrap_err().into_service_error();
        assert!(error.is_queue_does_not_exist(), "{error:?}");
    }
    assert!(service.sqs.receive("unknown.fifo", 1).is_empty());
    assert!(!service.sqs.delete("unknown.fifo", "x"));
    assert!(service.sqs.is_empty("unknown.fifo"));
}

#[tokio::test]
async fn an_error_has_the_form_of_the_json_protocol() {
    let service = Service::in_process();
    let cases = [
        (
            "AmazonSQS.SendMessage",
            r#"{"QueueUrl":"http://localhost/000000000000/no","MessageBody":"m"}"#,
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        ),
        (
            "AmazonSQS.SendMessage",
            "{",
            "com.amazonaws.sqs#SerializationException",
            "SerializationException;Sender",
        ),
        (
            "AmazonSQS.PurgeQueue",
            "{}",
            "com.amazonaws.sqs#UnknownOperationException",
            "UnknownOperationException;Sender",
        ),
    ];
    for (target, body, shape, query_error) in cases {
        let response = service.sqs.handle(target, body.as_bytes()).await;
        assert_eq!(response.status(), 400);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
        assert_eq!(headers["x-amzn-query-error"], query_error);
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["__type"], shape);
        assert!(body["message"].is_string());
    }
}

#[tokio::test]
async fn a_body_holds_only_the_allowed_characters() {
    let (service, client) = Service::served().await;
    let send = async |body: &str| {
        let send = client.send_message().queue_url(service.sqs.url(PLAIN));
        send.message_body(body).send().await
    };
    for allowed in ["\t", "\n", "\r", " ", "\u{D7FF}", "\u{E000}", "\u{FFFD}"] {
        send(allowed).await.unwrap();
    }
    for allowed in ["\u{10000}", "\u{10FFFF}", "\u{7F}", "👋🏽"] {
        send(allowed).await.unwrap();
    }
    let accepted = service.sqs.messages(PLAIN).len();
    for refused in ["\0", "\u{8}", "\u{B}", "ok\u{1F}", "\u{FFFE}", "\u{FFFF}"] {
        let error = send(refused).await.unwrap_err().into_service_error();
        assert!(error.is_invalid_message_contents(), "{refused:?} {error:?}");
    }
    let empty = send("").await.unwrap_err();
    assert_eq!(empty.code(), Some("MissingParameter"));
    assert_eq!(service.sqs.messages(PLAIN).len(), accepted);
}

#[tokio::test]
async fn a_body_is_limited_in_bytes() {
    let (service, client) = Service::served().await;
    let send = async |name: &str, body: String| {
        let send = client.send_message().queue_url(service.sqs.url(name));
        send.message_body(body).send().await
    };
    send(PLAIN, "m".repeat(1_048_576)).await.unwrap();
    let long = send(PLAIN, "m".repeat(1_048_577)).await.unwrap_err();
    assert_eq!(long.code(), Some("InvalidParameterValue"));
    assert!(long.message().unwrap().contains("shorter than 1048576 bytes"));

    service.sqs.create_queue(QueueSettings {
        name: "short".to_owned(),
        max_message_bytes: 4,
        ..QueueSettings::default()
    });
    send("short", "öö".to_owned()).await.unwrap();
    send("short", "ööm".to_owned()).await.unwrap_err();
    assert_eq!(service.stored("short"), ["öö"]);
}

#[tokio::test]
async fn a_fifo_queue_requires_valid_ids() {
    let (service, client) = Service::served().await;
    let send = async |name: &str, group: Option<&str>, id: Option<&str>| {
        let send = client.send_message().queue_url(service.sqs.url(name));
        let send = send.message_body("m").set_message_group_id(group.map(Into::into));
        let send = send.set_message_deduplication_id(id.map(Into::into));
        send.send().await.map_err(|error| error.code().unwrap().to_owned())
    };
    let longest = "x".repeat(128);
    let punctuation = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;
    for valid in ["a", "Z9", punctuation, &longest] {
        send(EVENTS, Some(valid), Some(valid)).await.unwrap();
    }
    let stored = service.sqs.messages(EVENTS).len();
    assert_eq!(stored, 4);
    for invalid in ["", " ", "ä", "a b", &format!("{longest}x")] {
        let code = Err("InvalidParameterValue".to_owned());
        assert_eq!(send(EVENTS, Some(invalid), Some("i")).await.map(drop), code);
        assert_eq!(send(EVENTS, Some("g"), Some(invalid)).await.map(drop), code);
        assert_eq!(send(PLAIN, Some(invalid), None).await.map(drop), code);
    }
    let no_group = send(EVENTS, None, Some("i")).await.map(drop);
    assert_eq!(no_group, Err("MissingParameter".to_owned()));
    let no_id = send(EVENTS, Some("g"), None).await.map(drop);
    assert_eq!(no_id, Err("InvalidParameterValue".to_owned()));
    let plain = send(PLAIN, None, Some("i")).await.map(drop);
    assert_eq!(plain, Err("InvalidParameterValue".to_owned()));
    assert_eq!(service.sqs.messages(EVENTS).len(), stored);
    assert!(service.sqs.is_empty(PLAIN));
}

#[tokio::test]
async fn a_malformed_batch_is_refused_as_a_whole() {
    let (service, client) = Service::served().await;
    let send = async |entries: Vec<BatchEntry>| {
        let send = client.send_message_batch().queue_url(service.sqs.url(EVENTS));
        let result = send.set_entries(Some(entries)).send().await;
        result.unwrap_err().into_service_error()
    };
    assert!(send(vec![]).await.is_empty_batch_request());

    let eleven = (0..11).map(|i| entry(&i.to_string(), "g", &i.to_string())).collect();
    let error = send(eleven).await;
    assert!(error.is_too_many_entries_in_batch_request(), "{error:?}");

    let repeated = vec![entry("x", "g", "1"), entry("x", "g", "2")];
    let error = send(repeated).await;
    assert!(error.is_batch_entry_ids_not_distinct(), "{error:?}");

    for id in ["", "a:b", "ä", &"i".repeat(81)] {
        let error = send(vec![entry(id, "g", "1")]).await;
        assert!(error.is_invalid_batch_entry_id(), "{error:?}");
    }

    let bodies = ["a".repeat(524_288), "b".repeat(524_289)];
    let long = vec![entry("0", "g", &bodies[0]), entry("1", "g", &bodies[1])];
    let error = send(long).await;
    assert!(error.is_batch_request_too_long(), "{error:?}");

    for without in [
        BatchEntry::builder().message_group_id("g"),
        BatchEntry::builder().message_deduplication_id("i"),
    ] {
        let without = without.id("y").message_body("m").build().unwrap();
        let error = send(vec![entry("x", "g", "1"), without]).await;
        assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
    }
    assert!(service.sqs.is_empty(EVENTS));
}

#[tokio::test]
async fn a_batch_holds_ten_entries_and_one_mebibyte() {
    let (service, client) = Service::served().await;
    let url = service.sqs.url(EVENTS);
    let ten = (0..10).map(|i| entry(&i.to_string(), "g", &i.to_string())).collect();
    let send = client.send_message_batch().queue_url(&url);
    let answer = send.set_entries(Some(ten)).send().await.unwrap();
    assert_eq!(answer.successful().len(), 10);

    let bodies = ["a".repeat(524_288), "b".repeat(524_288)];
    let send = client.send_message_batch().queue_url(&url);
    let send = send.entries(entry("0", "g", &bodies[0]));
    let answer = send.entries(entry("1", "g", &bodies[1])).send().await;
    assert_eq!(answer.unwrap().successful().len(), 2);
    assert_eq!(service.sqs.messages(EVENTS).len(), 12);
}

#[tokio::test]
async fn one_bad_entry_harms_no_other() {
    let (service, client) = Service::served().await;
    let sent = client
        .send_message_batch()
        .queue_url(service.sqs.url(EVENTS))
        .entries(entry("a", "g", "1"))
        .entries(entry("b", "g", "bad \u{FFFF}"))
        .entries(entry("c", "no good", "3"))
        .entries(entry("d", "g", "4"))
        .send()
        .await
        .unwrap();
    let successful: Vec<_> =
        sent.successful().iter().map(SendMessageBatchResultEntry::id).collect();
    assert_eq!(successful, ["a", "d"]);
    let failed: Vec<_> = sent.failed().iter().map(|f| (f.id(), f.code())).collect();
    let expected = [("b", "InvalidMessageContents"), ("c", "InvalidParameterValue")];
    assert_eq!(failed, expected);
    assert!(sent.failed().iter().all(BatchResultErrorEntry::sender_fault));
    assert_eq!(service.stored(EVENTS), ["1", "4"]);
}

// The digests of this test and the next were recorded from the real service.
#[tokio::test]
async fn only_the_wanted_message_attributes_are_received() {
    let (service, client) = Service::served().await;
    let url = service.sqs.url(PLAIN);
    let send = client.send_message().queue_url(&url).message_body("msg");
    let send = send.message_attributes("Help.Me", text("String", "Me"));
    let send = send.message_attributes("Hello", text("String", "There"));
    let send = send.message_attributes("General", text("String", "Kenobi"));
    let answer = send.send().await.unwrap();
    let all = Some("4c360f3fdafd970e05fae2f149d997f5");
    assert_eq!(answer.md5_of_message_attributes(), all);

    service.sqs.create_queue(QueueSettings { name: PLAIN.to_owned(), ..QueueSettings::default() });
    let every = &["General", "Hello", "Help.Me"][..];
    for (asked, names, digest) in [
        (&["All"][..], every, all),
        (&["*"], every, all),
        (&[".*"], every, all),
        (&["Foo", "All"], every, all),
        (&["Hello", "General"], &["General", "Hello"], Some("fca026605781cb4126a1e9044df24232")),
        (&["Foo", "Hello"], &["Hello"], Some("a311262e065454b75da111d535b8dacd")),
        (&["Hel.*"], &["Hello", "Help.Me"], Some("83fee93c1bcd8b9a5a923ffacdc636c7")),
        (&["hello", "Hel", "Foo.*"], &[], None),
        (&[], &[], None),
    ] {
        let receive = client.receive_message().queue_url(&url);
        let receive = receive.visibility_timeout(0);
        let asked: Vec<_> = asked.iter().map(ToString::to_string).collect();
        let receive = receive.set_message_attribute_names(Some(asked.clone()));
        let received = receive.send().await.unwrap();
        let received = &received.messages()[0];
        let attributes = received.message_attributes().into_iter().flatten();
        let mut received_names: Vec<_> = attributes.map(|(name, _)| name).collect();
        received_names.sort();
        assert_eq!(received_names, names, "{asked:?}");
        assert_eq!(received.md5_of_message_attributes(), digest, "{asked:?}");
        assert_eq!(received.attributes(), None);
    }
}

#[tokio::test]
async fn every_type_of_attribute_has_its_digest() {
    let (service, client) = Service::served().await;
    let trace = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01";
    for (name, attribute, digest) in [
        ("timestamp", text("Number", "1493147359900"), "235c5c510d26fb653d073faed50ae77c"),
        ("attr1", binary("Binary", trace), "8cbe4db156db8a94db8b801b7addb984"),
        ("k", text("String", "x"), "a45daa70926828a2f0a1db3418e6feb4"),
    ] {
        let send = client.send_message().queue_url(service.sqs.url(PLAIN));
        let send = send.message_body("m").message_attributes(name, attribute);
        let answer = send.send().await.unwrap();
        assert_eq!(answer.md5_of_message_attributes(), Some(digest));
    }
}

#[tokio::test]
async fn attributes_arrive_as_they_were_sent() {
    let (service, client) = Service::served().await;
    let url = service.sqs.url(PLAIN);
    let attributes = HashMap::from([
        ("b.Blob".to_owned(), binary("Binary.bytes", &[0, 255])),
        ("a".to_owned(), text("String", "wörld")),
        ("B".to_owned(), text("Number.int", "-12")),
    ]);
    let send = client.send_message().queue_url(&url).message_body("m");
    let send = send.set_message_attributes(Some(attributes.clone()));
    let answer = send.send().await.unwrap();
    // Computed elsewhere; capital letters come first.
    let digest = Some("51cb82c075f82d23af9876d6224d6a88");
    assert_eq!(answer.md5_of_message_attributes(), digest);

    let expected = kept(&[
        ("B", "Number.int", "-12"),
        ("a", "String", "wörld"),
        ("b.Blob", "Binary.bytes", "AP8="),
    ]);
    assert_eq!(service.sqs.messages(PLAIN)[0].attributes, expected);
    let received = service.sqs.receive(PLAIN, 1).remove(0);
    assert_eq!(received.attributes, expected);
    assert!(service.sqs.make_visible(PLAIN, &received.receipt_handle));
    let receive = client.receive_message().queue_url(&url);
    let receive = receive.message_attribute_names("All").send();
    let received = receive.await.unwrap();
    assert_eq!(received.messages()[0].message_attributes(), Some(&attributes));
    assert_eq!(received.messages()[0].md5_of_message_attributes(), digest);
}

#[test]
fn attributes_move_along_to_the_dead_letter_queue() {
    for (name, dead) in [(EVENTS, DEAD), (PLAIN, PLAIN_DEAD)] {
        let service = Service::in_process();
        let mut content = json!({
            "MessageBody": "poison",
            "MessageGroupId": "a",
            "MessageAttributes": { "why": { "DataType": "String", "StringValue": "who" } },
        });
        if name == EVENTS {
            content["MessageDeduplicationId"] = json!("a");
        }
        service.call("SendMessage", name, content).unwrap();
        for _ in 0..3 {
            assert_eq!(service.bodies(name, 1), ["poison"]);
            service.advance(VISIBILITY_MS);
        }
        assert!(service.sqs.receive(name, 1).is_empty());
        let expected = kept(&[("why", "String", "who")]);
        assert_eq!(service.sqs.messages(dead)[0].attributes, expected);
        assert_eq!(service.sqs.receive(dead, 1)[0].attributes, expected);
    }
}

#[tokio::test]
async fn every_entry_of_a_batch_has_its_own_attributes() {
    let (service, client) = Service::served().await;
    let with = |id: &str, attribute| {
        let entry = BatchEntry::builder().id(id).message_body(id);
        let entry = entry.message_attributes("k", attribute);
        entry.build().unwrap()
    };
    let without = BatchEntry::builder().id("none").message_body("none");
    let sent = client
        .send_message_batch()
        .queue_url(service.sqs.url(PLAIN))
        .entries(with("x", text("String", "x")))
        .entries(with("bad", text("Number", "x")))
        .entries(with("y", text("String", "y")))
        .entries(without.build().unwrap())
        .send()
        .await
        .unwrap();
    let digests: Vec<_> = sent
        .successful()
        .iter()
        .map(|entry| (entry.id(), entry.md5_of_message_attributes()))
        .collect();
    let expected = [
        ("x", Some("a45daa70926828a2f0a1db3418e6feb4")),
        ("y", Some("0f26ec4f92319fb720d90e92c3a90ca1")),
        ("none", None),
    ];
    assert_eq!(digests, expected);
    let failed = &sent.failed()[0];
    assert_eq!((failed.id(), failed.code()), ("bad", "InvalidParameterValue"));
    assert!(failed.sender_fault());
    let stored = service.sqs.messages(PLAIN);
    let attributes: Vec<_> = stored.into_iter().map(|m| m.attributes).collect();
    let [x, y] = ["x", "y"].map(|value| kept(&[("k", "String", value)]));
    assert_eq!(attributes, [x, y, BTreeMap::new()]);
}

#[test]
fn a_duplicate_is_answered_with_its_own_digest_and_changes_nothing() {
    let service = Service::in_process();
    let send = |value| {
        let content = json!({
            "MessageBody": "m", "MessageGroupId": "a", "MessageDeduplicationId": "id",
            "MessageAttributes": { "a": { "DataType": "String", "StringValue": value } },
        });
        service.call("SendMessage", EVENTS, content).unwrap()
    };
    let (first, second) = (send("first"), send("second"));
    assert_eq!(second["MessageId"], first["MessageId"]);
    let digest = |sent: &Value| sent["MD5OfMessageAttributes"].clone();
    assert_eq!(digest(&first), "d2375203b7e1719968599f0f7e748251");
    assert_eq!(digest(&second), "3aa9c59e760dd8ea2fb07526009410d8");
    let stored = service.sqs.messages(EVENTS);
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].attributes, kept(&[("a", "String", "first")]));
}

#[tokio::test]
async fn a_message_has_at_most_ten_attributes() {
    let (service, client) = Service::served().await;
    let send = async |count: usize| {
        let attributes = (0..count).map(|i| (format!("a{i}"), text("String", "v")));
        let send = client.send_message().queue_url(service.sqs.url(PLAIN));
        let send = send.message_body("m");
        let send = send.set_message_attributes(Some(attributes.collect()));
        send.send().await
    };
    send(10).await.unwrap();
    let error = send(11).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"));
    let message = "Number of message attributes [11] exceeds the allowed maximum [10].";
    assert_eq!(error.message(), Some(message));
    let stored = service.sqs.messages(PLAIN);
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].attributes.len(), 10);
}

/// Sends one attribute; the refusal's code and message.
async fn send_one(
    service: &Service,
    client: &Client,
    name: &str,
    attribute: MessageAttributeValue,
) -> Result<(), (String, String)> {
    let send = client.send_message().queue_url(service.sqs.url(PLAIN));
    let send = send.message_body("m").message_attributes(name, attribute);
    let refusal = send.send().await.map(drop).map_err(|error| {
        let part = |part: Option<&str>| part.unwrap().to_owned();
        (part(error.code()), part(error.message()))
    });
    let stored = service.sqs.messages(PLAIN).len();
    for message in service.sqs.receive(PLAIN, stored) {
        service.sqs.delete(PLAIN, &message.receipt_handle);
    }
    assert_eq!(stored, usize::from(refusal.is_ok()), "{name}");
    refusal
}

#[tokio::test]
async fn an_attributes_name_has_limits() {
    let (service, client) = Service::served().await;
    let send = async |name: &str| {
        let value = text("String", "v");
        send_one(&service, &client, name, value).await
    };
    let longest = "x".repeat(256);
    let valid = ["a", "Z_9-a.b", "AWSome", "aws", "Amazonas", "x.aws", &longest];
    for valid in valid {
        assert_eq!(send(valid).await, Ok(()), "{valid}");
    }
    for (invalid, reason) in [
        ("", "non-empty message (user) attribute names"),
        (&*format!("{longest}x"), "shorter than 256 Bytes"),
        ("a b", "can only contain"),
        ("ä", "can only contain"),
        ("a/b", "can only contain"),
        ("AWS.a", "beginning with 'AWS.' or 'Amazon.'"),
        ("aWs.a", "beginning with 'AWS.' or 'Amazon.'"),
        ("Amazon.a", "beginning with 'AWS.' or 'Amazon.'"),
        ("AMAZON.a", "beginning with 'AWS.' or 'Amazon.'"),
        (".a", "cannot start or end with '.'"),
        ("a.", "cannot start or end with '.'"),
        ("a..b", "successive '.'"),
    ] {
        let (code, message) = send(invalid).await.unwrap_err();
        assert_eq!(code, "InvalidParameterValue", "{invalid}");
        assert!(message.contains(reason), "{invalid}: {message}");
    }
}

#[tokio::test]
async fn an_attributes_type_and_value_have_limits() {
    let (service, client) = Service::served().await;
    let send = async |attribute| send_one(&service, &client, "a", attribute).await;
    let label = "x".repeat(249);
    for valid in [
        text("String", "\t\u{10FFFF}"),
        text("String.a.b", "v"),
        text(&format!("String.{label}"), "v"),
        binary("Binary.gif", &[0]),
        text("Number", "0"),
        text("Number", "-0.50"),
        text("Number.float", "+1.5E-3"),
        text("Number", &format!("00{}.00", "9".repeat(38))),
        text("Number", "-1e126"),
        text("Number", "1e-128"),
    ] {
        assert_eq!(send(valid.clone()).await, Ok(()), "{valid:?}");
    }
    let both = MessageAttributeValue::builder().string_value("v");
    let both = both.binary_value(Blob::new("v"));
    for (invalid, reason) in [
        (text("", "v"), "non-empty message attribute type"),
        (text("string", "v"), "The type of message (user) attribute 'a'"),
        (text("Str", "v"), "The type of message (user) attribute 'a'"),
        (text("Strings", "v"), "The type of message (user) attribute 'a'"),
        (text(&format!("String.{label}x"), "v"), "shorter than 256 Bytes"),
        (text("String", ""), "non-empty value of type 'String'"),
        (text("Number", ""), "non-empty value of type 'Number'"),
        (binary("Binary", &[]), "non-empty value of type 'Binary'"),
        (text("Binary", "v"), "must use field 'Binary'"),
        (binary("String", b"v"), "must use field 'String'"),
        (both.data_type("Binary").build().unwrap(), "must use field 'Binary'"),
        (text("String", "\u{1}"), "Invalid characters found"),
        (text("Number", "one"), "Can't cast the value"),
        (text("Number", "1 "), "Can't cast the value"),
        (text("Number", "-"), "Can't cast the value"),
        (text("Number.float", "NaN"), "Can't cast the value"),
        (text("Number", "inf"), "Can't cast the value"),
        (text("Number", &"9".repeat(39)), "Can't cast the value"),
        (text("Number", "1e127"), "Can't cast the value"),
        (text("Number", "-1e-129"), "Can't cast the value"),
        (text("Number", "1e-999"), "Can't cast the value"),
    ] {
        let (code, message) = send(invalid.clone()).await.unwrap_err();
        assert_eq!(code, "InvalidParameterValue", "{invalid:?}");
        assert!(message.contains(reason), "{invalid:?}: {message}");
    }
    let empty = MessageAttributeValue::builder().data_type("String");
    let (code, message) = send(empty.build().unwrap()).await.unwrap_err();
    assert_eq!(code, "InvalidParameterValue");
    assert!(message.contains("non-empty value"), "{message}");
}

#[tokio::test]
async fn what_is_not_base64_is_malformed() {
    let service = Service::in_process();
    for value in ["AP8", "?", "AP9="] {
        let content = json!({
            "MessageBody": "m",
            "MessageAttributes": { "a": { "DataType": "Binary", "BinaryValue": value } },
        });
        let refusal = service.call("SendMessage", PLAIN, content).unwrap_err();
        assert_eq!(refusal.code, "SerializationException", "{value}");
    }
    assert!(service.sqs.is_empty(PLAIN));
}

#[tokio::test]
async fn lists_of_values_are_not_supported() {
    let (service, client) = Service::served().await;
    let list = || MessageAttributeValue::builder().data_type("String");
    for list in [
        list().string_value("v").string_list_values("v"),
        list().string_value("v").binary_list_values(Blob::new("v")),
    ] {
        let list = list.build().unwrap();
        let send = client.send_message().queue_url(service.sqs.url(PLAIN));
        let send = send.message_body("m").message_attributes("k", list);
        let error = send.send().await.unwrap_err().into_service_error();
        assert!(error.is_unsupported_operation(), "{error:?}");
    }
    assert!(service.sqs.is_empty(PLAIN));
}

#[tokio::test]
async fn attributes_count_towards_the_size_limits() {
    let (service, client) = Service::served().await;
    service.sqs.create_queue(QueueSettings {
        name: "short".to_owned(),
        max_message_bytes: 30,
        ..QueueSettings::default()
    });
    // The names, types and values are 17 bytes.
    let send = async |body: &str| {
        let send = client.send_message().queue_url(service.sqs.url("short"));
        let send = send.message_attributes("k", text("String", "x"));
        let send = send.message_attributes("l", binary("Binary", &[0, 255]));
        send.message_body(body).send().await
    };
    send(&"m".repeat(13)).await.unwrap();
    let long = send(&"m".repeat(14)).await.unwrap_err();
    assert_eq!(long.code(), Some("InvalidParameterValue"));
    assert!(long.message().unwrap().contains("shorter than 30 bytes"));
    assert_eq!(service.stored("short").len(), 1);

    let send = async |bytes: usize| {
        let half = BatchEntry::builder().message_body("m".repeat(524_288));
        let rest = BatchEntry::builder().message_body("m".repeat(bytes));
        let rest = rest.message_attributes("k", text("String", "x"));
        let send = client.send_message_batch();
        let send = send.queue_url(service.sqs.url(PLAIN));
        let send = send.entries(half.id("0").build().unwrap());
        send.entries(rest.id("1").build().unwrap()).send().await
    };
    let answer = send(524_280).await.unwrap();
    assert_eq!(answer.successful().len(), 2);
    let error = send(524_281).await.unwrap_err().into_service_error();
    assert!(error.is_batch_request_too_long(), "{error:?}");
    assert!(error.message().unwrap().contains("1048577 bytes"));
    assert_eq!(service.stored(PLAIN).len(), 2);
}

#[tokio::test]
async fn a_receive_call_has_limits() {
    let (service, client) = Service::served().await;
    service.send("a", "a1");
    let receive = || client.receive_message().queue_url(service.sqs.url(EVENTS));
    for request in [
        receive().max_number_of_messages(0),
        receive().max_number_of_messages(11),
        receive().wait_time_seconds(21),
        receive().visibility_timeout(-1),
        receive().visibility_timeout(43_201),
    ] {
        let error = request.send().await.unwrap_err();
        assert_eq!(error.code(), Some("InvalidParameterValue"));
    }
    assert_eq!(service.sqs.messages(EVENTS)[0].receive_count, 0);
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|raw| raw.status().as_u16())
}

#[tokio::test]
async fn a_fault_concerns_one_call() {
    let (service, client) = Service::served().await;
    let send = async |body: &str| {
        let send = client.send_message().queue_url(service.sqs.url(PLAIN));
        send.message_body(body).send().await
    };
    service.sqs.fail_next(Fault::Unavailable);
    service.sqs.fail_next(Fault::AnswerLost);
    let refused = send("1").await.unwrap_err();
    assert_eq!(status(&refused), Some(503));
    assert!(service.sqs.is_empty(PLAIN));
    let lost = send("2").await.unwrap_err();
    assert_eq!(status(&lost), Some(503));
    assert_eq!(service.stored(PLAIN), ["2"]);
    send("3").await.unwrap();
    assert_eq!(service.stored(PLAIN), ["2", "3"]);
}

#[tokio::test]
async fn chosen_entries_of_the_next_batch_fail() {
    let (service, client) = Service::served().await;
    let url = service.sqs.url(EVENTS);
    service.sqs.fail_next(Fault::Entries(vec![0, 2]));
    let single = client.send_message().queue_url(&url).message_body("0");
    let single = single.message_group_id("g").message_deduplication_id("0");
    single.send().await.unwrap();

    let send = async || {
        let send = client.send_message_batch().queue_url(&url);
        let send = send.entries(entry("a", "g", "1"));
        let send = send.entries(entry("b", "g", "2"));
        send.entries(entry("c", "h", "3")).send().await.unwrap()
    };
    let answer = send().await;
    let failed: Vec<_> = answer.failed().iter().map(|f| (f.id(), f.code())).collect();
    assert_eq!(failed, [("a", "InternalError"), ("c", "InternalError")]);
    assert!(!answer.failed().iter().any(BatchResultErrorEntry::sender_fault));
    assert_eq!(answer.successful()[0].id(), "b");
    assert_eq!(service.stored(EVENTS), ["0", "2"]);

    assert!(send().await.failed().is_empty());
    assert_eq!(
        service.stored(EVENTS),
        ["0", "2", "1", "3"],
        "what had failed was not taken for sent"
    );
}

#[tokio::test]
async fn a_silent_call_is_not_answered_and_not_carried_out() {
    let service = Service::in_process();
    let body = json!({ "QueueUrl": service.sqs.url(PLAIN), "MessageBody": "m" }).to_string();
    service.sqs.fail_next(Fault::Silence);
    tokio::select! {
        biased;
        _ = service.sqs.handle("AmazonSQS.SendMessage", body.as_bytes()) => panic!("answered"),
        () = std::future::ready(()) => {}
    }
    assert!(service.sqs.is_empty(PLAIN));
    let response = service.sqs.handle("AmazonSQS.SendMessage", body.as_bytes());
    assert_eq!(response.await.status(), 200);
}

#[tokio::test]
async fn while_it_is_down_every_call_fails_and_counts() {
    let (service, client) = Service::served().await;
    let send = async || {
        let send = client.send_message().queue_url(service.sqs.url(PLAIN));
        send.message_body("m").send().await
    };
    assert!(service.sqs.calls().is_empty());
    service.sqs.set_down(true);
    for _ in 0..2 {
        assert_eq!(status(&send().await.unwrap_err()), Some(503));
    }
    let receive = client.receive_message().queue_url(service.sqs.url(PLAIN));
    assert_eq!(status(&receive.send().await.unwrap_err()), Some(503));
    assert!(service.sqs.is_empty(PLAIN));
    service.sqs.set_down(false);
    send().await.unwrap();
    service.sqs.receive(PLAIN, 1);
    let calls = [("ReceiveMessage".to_owned(), 1), ("SendMessage".to_owned(), 3)];
    assert_eq!(service.sqs.calls(), BTreeMap::from(calls));
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8),
    Receive(usize),
    Delete(usize),
    GiveBack(usize),
    Advance(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3u8).prop_map(Step::Send),
        3 => (1..5usize).prop_map(Step::Receive),
        3 => any::<prop::sample::Index>().prop_map(|i| Step::Delete(i.index(1000))),
        1 => any::<prop::sample::Index>().prop_map(|i| Step::GiveBack(i.index(1000))),
        1 => (1..VISIBILITY_MS).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// Whatever happens, no two receive calls hold messages of one group, each call gets the
    /// oldest messages of a group without a gap, and nothing is lost.
    #[test]
    fn a_group_is_received_in_order_by_one_at_a_time(steps in steps()) {
        let service = Service::in_process();
        service.sqs.create_queue(QueueSettings {
            name: EVENTS.to_owned(),
            fifo: true,
            ..QueueSettings::default()
        });
        let mut waiting: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut held: Vec<(Received, i64)> = Vec::new();
        let now = || service.time.load(Ordering::SeqCst);
        for (number, step) in steps.into_iter().enumerate() {
            held.retain(|(_, until)| *until > now());
            match step {
                Step::Send(group) => {
                    let (group, body) = (group.to_string(), number.to_string());
                    service.send(&group, &body);
                    waiting.entry(group).or_default().push(body);
                }
                Step::Receive(max) => {
                    let expected = service.sqs.next_visible_at(EVENTS);
                    let received = service.sqs.receive(EVENTS, max);
                    prop_assert_eq!(expected.is_some_and(|at| at <= now()), !received.is_empty());
                    prop_assert!(received.len() <= max);
                    let mut batch: BTreeMap<String, Vec<String>> = BTreeMap::new();
                    for message in &received {
                        let group = message.group_id.clone().unwrap();
                        prop_assert!(held.iter().all(|(h, _)| h.group_id != message.group_id));
                        batch.entry(group).or_default().push(message.body.clone());
                    }
                    for (group, bodies) in batch {
                        prop_assert!(waiting[&group].starts_with(&bodies));
                    }
                    let until = now() + VISIBILITY_MS;
                    held.extend(received.into_iter().map(|message| (message, until)));
                }
                Step::Delete(index) if !held.is_empty() => {
                    let (message, _) = held.remove(index % held.len());
                    prop_assert!(service.sqs.delete(EVENTS, &message.receipt_handle));
                    let group = message.group_id.unwrap();
                    waiting.get_mut(&group).unwrap().retain(|body| *body != message.body);
                }
                Step::GiveBack(index) if !held.is_empty() => {
                    let (message, _) = held.remove(index % held.len());
                    prop_assert!(service.sqs.make_visible(EVENTS, &message.receipt_handle));
                }
                Step::Delete(_) | Step::GiveBack(_) => {}
                Step::Advance(ms) => service.advance(ms),
            }
        }
        let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in service.sqs.messages(EVENTS) {
            stored.entry(message.group_id.unwrap()).or_default().push(message.body);
        }
        waiting.retain(|_, bodies| !bodies.is_empty());
        prop_assert_eq!(stored, waiting);
    }
}
