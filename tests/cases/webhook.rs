//! The webhook from outside: what it answers Meta, and what lies in the queues afterwards.

mod any_form;
mod faults;
mod no_leaks;
mod sample_files;
mod set_aside;
mod signatures;
mod splitting;
mod unusual;
mod verification;
mod without_secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use backend::secrets::FRESH_FOR;
use backend::signature::{SIGNATURE_HEADER, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::Request;
use lambda_http::http::header::CONTENT_TYPE;
use messenger::event::{Event, Kind, MAX_EVENTS, MAX_EVENTS_IN_ORDER, MAX_RECORD_BYTES};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::platform::{EVENTS, Options, Platform, UNREADABLE, page_token};
use simulator::samples::{self, APP_SECRET, VERIFY_TOKEN};
use simulator::sqs::{Fault, Received};
use webhook::Webhook;

pub(crate) use no_leaks::everything_that_is_answered;

use crate::support::*;

const RECEIVED: &str = "EVENT_RECEIVED";

const ANOTHER_PAGE: &str = "100000000000009";

/// What API Gateway hands over.
fn api_request(
    method: &str,
    query: &str,
    body: &str,
    is_base64: bool,
    signature: Option<&str>,
) -> Request {
    let mut event = samples::read("webhook/no-signature").unwrap();
    event["requestContext"]["http"]["method"] = method.into();
    event["rawQueryString"] = query.into();
    event["body"] = body.into();
    event["isBase64Encoded"] = is_base64.into();
    if let Some(signature) = signature {
        event["headers"][SIGNATURE_HEADER] = signature.into();
    }
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

/// A POST; what is no text comes in base64.
fn post(body: &[u8], signature: Option<&str>) -> Request {
    match std::str::from_utf8(body) {
        Ok(text) => api_request("POST", "", text, false, signature),
        Err(_) => api_request("POST", "", &STANDARD.encode(body), true, signature),
    }
}

/// A POST that Meta signed.
fn signed(platform: &Platform, body: &[u8]) -> Request {
    post(body, Some(&platform.meta.sign(body)))
}

fn get(parameters: &[(&str, &str)]) -> Request {
    let encoded = |text: &str| {
        text.bytes().fold(String::new(), |mut encoded, byte| {
            write!(encoded, "%{byte:02X}").unwrap();
            encoded
        })
    };
    let pairs: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    api_request("GET", &pairs.join("&"), "", false, None)
}

fn verification(mode: &str, token: &str, challenge: &str) -> Request {
    get(&[("hub.mode", mode), ("hub.verify_token", token), ("hub.challenge", challenge)])
}

async fn verify(platform: &Platform, mode: &str, token: &str, challenge: &str) -> (u16, String) {
    invoke(platform, verification(mode, token, challenge)).await
}

/// Invokes the webhook: the answer's status and body.
async fn invoke(platform: &Platform, request: Request) -> (u16, String) {
    let response = platform.invoke_webhook(request).await;
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().to_vec()).unwrap())
}

/// Lets the webhook receive what Meta signed: the answer's status.
async fn receive(platform: &Platform, body: &[u8]) -> u16 {
    invoke(platform, signed(platform, body)).await.0
}

/// As [`receive`], without any limit of time: for what takes a slow machine long. It shows that all
/// is queued, and nothing about how long that takes.
async fn receive_patiently(platform: &Platform, body: &[u8]) -> u16 {
    let webhook = webhook_that_answers_within(platform, DAY);
    webhook.handle(signed(platform, body)).await.status().as_u16()
}

/// The webhook as the platform builds it, but with this limit of time and no other.
fn webhook_that_answers_within(platform: &Platform, answer_within: Duration) -> Webhook {
    let mut environment = platform.containers().environment();
    environment.aws = environment.aws.without_timeouts();
    environment.build(Webhook::new).unwrap().answering_within(answer_within)
}

/// A platform whose webhook has read the secret just now.
async fn with_kept_secret() -> Arc<Platform> {
    let platform = Platform::start(Options::default()).await.unwrap();
    assert_eq!(verify(&platform, "subscribe", VERIFY_TOKEN, "1").await.0, 200);
    assert_eq!(platform.secrets_manager.calls(), 1);
    platform
}

fn sign_with(app_secret: &str, body: &[u8]) -> String {
    sign(body, &SecretString::from(app_secret))
}

fn message(psid: &str, mid: &str, text: &str) -> Value {
    json!({
        "sender": {"id": psid},
        "recipient": {"id": PAGE},
        "timestamp": samples::BEGINNING.millis(),
        "message": {"mid": mid, "text": text},
    })
}

/// As many messages of one person.
fn numbered(count: usize) -> Vec<Value> {
    (0..count).map(|n| message(PSID, &format!("m_{n}"), &n.to_string())).collect()
}

/// As many messages of each of several people, whose messages alternate.
fn of_people(people: usize, each: usize) -> Vec<Value> {
    let item = |n: usize| {
        let (psid, number) = (5000 + n % people, n / people);
        message(&psid.to_string(), &format!("m_{n}"), &format!("{number:03}"))
    };
    (0..people * each).map(item).collect()
}

/// The events of [`of_people`] are in the queue, those of each person once and in order.
#[track_caller]
fn assert_in_order_in_each_group(platform: &Platform, people: usize, each: usize) {
    let groups = by_group(platform);
    assert_eq!(groups.len(), people);
    let in_order: Vec<_> = (0..each).map(|number| format!("{number:03}")).collect();
    for events in groups.values() {
        assert_eq!(events.iter().map(text_of).collect::<Vec<_>>(), in_order);
    }
}

fn in_json(items: &[Value]) -> Vec<String> {
    items.iter().map(Value::to_string).collect()
}

/// A message with everything that Meta escapes.
fn escaped_message() -> String {
    let text = r"Gr\u00fc\u00dfe \u6f22 \ud83d\ude00 a\/b";
    message(PSID, "m_escaped", "?").to_string().replace('?', text)
}

fn with(ends: &Value, field: &str, value: Value) -> Value {
    let mut item = ends.clone();
    item[field] = value;
    item
}

/// A notification about a Page, with items in `messaging`.
fn notification_to(page: &str, items: &[impl Display]) -> Vec<u8> {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    let (items, time) = (items.join(","), samples::BEGINNING.millis());
    let entry = format!(r#"{{"id":"{page}","time":{time},"messaging":[{items}]}}"#);
    format!(r#"{{"object":"page","entry":[{entry}]}}"#).into_bytes()
}

fn notification(items: &[impl Display]) -> Vec<u8> {
    notification_to(PAGE, items)
}

fn event(queue_text: &str) -> Event {
    Event::from_queue_text(queue_text).unwrap()
}

/// The events in the queue, in its order.
fn events(platform: &Platform) -> Vec<Event> {
    platform.sqs.messages(EVENTS).iter().map(|view| event(&view.body)).collect()
}

fn raws(platform: &Platform) -> Vec<String> {
    events(platform).into_iter().map(|event| event.raw).collect()
}

fn texts(platform: &Platform) -> Vec<String> {
    events(platform).iter().map(text_of).collect()
}

fn text_of(event: &Event) -> String {
    match &event.kind {
        Kind::Message(message) => message.text.clone().unwrap_or_default(),
        other => panic!("no message: {other:?}"),
    }
}

fn by_group(platform: &Platform) -> BTreeMap<String, Vec<Event>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for view in platform.sqs.messages(EVENTS) {
        groups.entry(view.group_id.unwrap()).or_default().push(event(&view.body));
    }
    groups
}

/// An event in one line: container, kind, person (A and B are those of the samples), content.
fn describe(event: &Event) -> String {
    let person = event.person.as_ref().map(ToString::to_string);
    let person = match person.as_deref() {
        Some(PSID) => "A",
        Some(OTHER_PSID) => "B",
        Some(other) => other,
        None => "-",
    };
    let content = match &event.kind {
        Kind::Message(message) => {
            let attached = message.attachments.first().map(|attachment| attachment.kind.clone());
            message.quick_reply.clone().or(message.text.clone()).or(attached)
        }
        Kind::Echo(echo) => echo.text.clone(),
        Kind::Edit(edit) => edit.text.clone(),
        Kind::Reaction(reaction) => reaction.reaction.clone(),
        Kind::Postback(postback) => postback.payload.clone(),
        Kind::Delivery(delivery) => delivery.mids.first().cloned(),
        Kind::Comment(comment) => comment.text.clone(),
        Kind::Post(post) => post.text.clone(),
        Kind::PolicyEnforcement(policy) => policy.action.clone(),
        Kind::TemplateStatus(template) => template.event.clone(),
        Kind::Unknown { name } => Some(name.clone()),
        _ => None,
    };
    let kind = event.kind_name();
    format!("{} {kind} {person} {}", event.container, content.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// Why each message that was set aside was so.
fn reasons(platform: &Platform) -> Vec<String> {
    let kept = platform.sqs.messages(UNREADABLE).into_iter();
    kept.map(|view| view.attributes["reason"].value.clone()).collect()
}

/// Puts a body together again that was set aside for one reason.
fn unreadable_body(platform: &Platform, reason: &str) -> Vec<u8> {
    let kept = platform.sqs.messages(UNREADABLE);
    let parts: BTreeMap<_, _> = kept
        .iter()
        .map(|view| {
            let attribute = |name: &str| view.attributes[name].value.as_str();
            assert_eq!((attribute("reason"), attribute("encoding")), (reason, "base64"));
            (attribute("part").to_owned(), view.body.trim_start_matches('=').to_owned())
        })
        .collect();
    let count = kept.len();
    let names = (1..=count).map(|n| format!("{n} of {count}"));
    names.flat_map(|name| STANDARD.decode(&parts[&name]).unwrap()).collect()
}

#[track_caller]
fn assert_nothing_queued(platform: &Platform) {
    assert!(platform.sqs.is_empty(EVENTS) && platform.sqs.is_empty(UNREADABLE));
}
