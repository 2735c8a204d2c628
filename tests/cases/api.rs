//! The API for back-office systems, through the real handler.

mod attachments;
mod bot;
mod cancelled_midway;
mod deletion;
mod erased_beside;
mod erased_midway;
mod erasure;
mod first_message;
mod keys;
mod liveness;
mod midway;
mod paths;
mod places;
mod private_replies;
mod recipients;
mod side_by_side;

use std::time::Duration;

use lambda_http::{Body, Response};
use messenger::clock::Clock;
use serde_json::{Value, json};
use simulator::platform::{EVENTS, Platform};
use simulator::samples::{self, API_KEY, APP_SCOPED_ID};

use crate::support::*;

/// How long before the requests of a test the person wrote.
const SINCE_HEARD: Duration = Duration::from_mins(3);

struct Answer {
    status: u16,
    headers: lambda_http::http::HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// Invokes the function with a sample after a change.
async fn with_sample(platform: &Platform, name: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let mut sample = samples::read(name).unwrap();
    change(&mut sample);
    let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
    read(platform.invoke_api(&request).await)
}

/// Status and body of the answer to a body that is posted.
pub(crate) async fn post_to(platform: &Platform, path: &str, body: &Value) -> (u16, Value) {
    let answer = with_sample(platform, "api/change-thread", |event| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        event["rawPath"] = path.into();
        event["rawQueryString"] = query.into();
        event["requestContext"]["http"]["path"] = path.into();
        event["body"] = body.to_string().into();
    })
    .await;
    (answer.status, answer.body)
}

/// Status and body of the answer to a body that is put.
pub(crate) async fn put_to(platform: &Platform, path: &str, body: &Value) -> (u16, Value) {
    let answer = put(platform, path, body).await;
    (answer.status, answer.body)
}

async fn put(platform: &Platform, path: &str, body: &Value) -> Answer {
    with_sample(platform, "api/change-bot", |event| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        event["rawPath"] = path.into();
        event["rawQueryString"] = query.into();
        event["requestContext"]["http"]["path"] = path.into();
        event["body"] = body.to_string().into();
    })
    .await
}

/// The body of an answer.
pub(crate) async fn get(platform: &Platform, path: &str) -> Value {
    ask(platform, "GET", path).await.body
}

/// The status of the answer to a deletion.
pub(crate) async fn delete(platform: &Platform, path: &str) -> u16 {
    ask(platform, "DELETE", path).await.status
}

async fn ask(platform: &Platform, method: &str, path: &str) -> Answer {
    with_sample(platform, "api/list-applications", |event| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        event["rawPath"] = path.into();
        event["rawQueryString"] = query.into();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), json!(value)));
        event["queryStringParameters"] = Value::Object(pairs.collect());
        event["requestContext"]["http"]["method"] = method.into();
        event["requestContext"]["http"]["path"] = path.into();
    })
    .await
}

async fn post(platform: &Platform, key: Option<&str>, body: &Value) -> Answer {
    with_sample(platform, "api/create-message", |event| {
        event["body"] = body.to_string().into();
        let headers = event["headers"].as_object_mut().unwrap();
        headers.remove("idempotency-key");
        headers.extend(key.map(|key| ("idempotency-key".to_owned(), json!(key))));
    })
    .await
}

fn with(mut body: Value, change: Value) -> Value {
    let (Value::Object(fields), Value::Object(change)) = (&mut body, change) else {
        panic!("a body and a change of it are objects");
    };
    fields.extend(change);
    body
}

fn message(change: Value) -> Value {
    let message = json!({"page_id": PAGE, "psid": PSID, "message": "hi", "purpose": "update"});
    with(message, change)
}

async fn silent() -> std::sync::Arc<Platform> {
    platform_with(|options| {
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
    })
    .await
}

async fn heard_from() -> std::sync::Arc<Platform> {
    let platform = silent().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    platform.advance(SINCE_HEARD).await;
    platform
}

fn person() -> String {
    format!("/people/{PSID}?page_id={PAGE}")
}

#[tokio::test]
async fn a_message_that_is_due_now_is_tried_at_once() {
    let platform = heard_from().await;
    let sent = post(&platform, None, &message(json!({}))).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
    assert!(sent.body["steps"][0]["mid"].is_string());
    assert_eq!(delivered(&platform, PSID), ["UPDATE hi"]);
    let id = sent.body["id"].as_str().unwrap();
    assert!(!id.contains(PSID));
    let there = ask(&platform, "GET", &format!("/messages/{id}")).await;
    assert_eq!((there.status, &there.body), (200, &sent.body));
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_message_for_later_waits_and_can_be_cancelled_once() {
    let platform = heard_from().await;
    let send_at = (platform.clock.now() + HOUR).to_string();
    let stored = post(&platform, None, &message(json!({"send_at": send_at}))).await;
    assert_eq!((stored.status, &stored.body["status"]), (202, &json!("open")), "{}", stored.body);
    assert_eq!(stored.body["send_at"], send_at);
    let path = format!("/messages/{}", stored.body["id"].as_str().unwrap());
    let waiting = ask(&platform, "GET", &person()).await.body["waiting"].clone();
    let expected = json!([{"id": stored.body["id"], "send_at": send_at, "purpose": "update"}]);
    assert_eq!(waiting, expected);

    let cancelled = ask(&platform, "DELETE", &path).await;
    assert_eq!((cancelled.status, &cancelled.body["reason"]), (200, &json!("withdrawn")));
    let again = ask(&platform, "DELETE", &path).await;
    assert_eq!((again.status, again.code()), (409, "ended"));
    platform.advance(2 * HOUR).await;
    assert!(requested(&platform, PSID).is_empty());
    assert_no_leftovers(&platform, PSID).await;
    assert_eq!(counted(&platform, "Cancelled"), 1);
}

#[tokio::test]
async fn what_is_being_sent_is_not_cancelled() {
    let platform = heard_from().await;
    let send_at = (platform.clock.now() + HOUR).millis();
    let stored = post(&platform, None, &message(json!({"send_at": send_at}))).await;
    let id = stored.body["id"].as_str().unwrap();
    let key: backend::store::EntryKey = id.parse().unwrap();
    let now = platform.clock.now();
    let lease =
        backend::store::Lease { by: "a sweep".into(), until: now + MINUTE, for_entry: None };
    let entry = platform.store().entry(&key).await.unwrap().unwrap();
    let guard = backend::store::Guard::Free { due_at: entry.due_at, now };
    let taken = backend::store::NextState::Held(lease);
    platform.store().change_entry(&key, guard, backend::store::Change::to(taken)).await.unwrap();
    let answer = ask(&platform, "DELETE", &format!("/messages/{id}")).await;
    assert_eq!((answer.status, answer.code()), (409, "being_sent"));
}

#[tokio::test]
async fn a_refusal_comes_at_once_at_the_windows_edges_and_tells_what_is_left() {
    let platform = heard_from().await;
    let heard = platform.clock.now() - SINCE_HEARD;
    let margin = MINUTE;
    let left = |answer: &Answer| {
        let allowed = answer.body["error"]["allowed"].as_array().unwrap();
        let purpose = |one: &Value| {
            (one["purpose"].as_str().unwrap().to_owned(), one["until"].as_str().map(str::to_owned))
        };
        allowed.iter().map(purpose).collect::<Vec<_>>()
    };
    let week = Some((heard + 7 * DAY - margin).to_string());
    let one = |purpose: &str, until: &Option<String>| (purpose.to_owned(), until.clone());

    platform.advance_to(heard + DAY - margin).await;
    assert_eq!(post(&platform, None, &message(json!({}))).await.status, 201);
    platform.clock.forward(Duration::from_millis(1));
    let refused = post(&platform, None, &message(json!({}))).await;
    assert_eq!((refused.status, refused.code()), (409, "window_closed"), "{}", refused.body);
    let expected = [one("human", &week), one("feedback", &week), one("utility", &None)];
    assert_eq!(left(&refused), expected);

    let human = message(json!({"purpose": "human", "author": "desk"}));
    platform.advance_to(heard + 7 * DAY - margin).await;
    assert_eq!(post(&platform, None, &human).await.status, 201);
    platform.clock.forward(Duration::from_millis(1));
    let refused = post(&platform, None, &human).await;
    assert_eq!((refused.status, refused.code()), (409, "seven_days_passed"));
    assert_eq!(left(&refused), [one("utility", &None)]);
    assert_eq!(entries(&platform, PSID).await.len(), 2, "what is refused is not stored");

    let stranger = post(&platform, None, &message(json!({"psid": OTHER_PSID}))).await;
    assert_eq!((stranger.status, stranger.code()), (409, "never_heard_from"));
}

#[tokio::test]
async fn a_fallback_template_is_no_refusal() {
    let platform = heard_from().await;
    platform.advance(2 * DAY).await;
    let template = json!({"name": "shipped", "language": {"code": "en"}});
    let answer = post(&platform, None, &message(json!({"fallback_template": template}))).await;
    assert_eq!((answer.status, &answer.body["purpose"]), (201, &json!("utility")));
    assert!(answer.body["fallback_reason"].as_str().unwrap().starts_with("window_closed"));
}

#[tokio::test]
async fn a_repeated_call_is_the_same_message() {
    let platform = heard_from().await;
    let first = post(&platform, Some("order-5"), &message(json!({}))).await;
    platform.advance(2 * DAY).await;
    let second = post(&platform, Some("order-5"), &message(json!({}))).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.body["id"], second.body["id"]);
    for other in [json!({"message": "ho"}), json!({"psid": OTHER_PSID})] {
        let other = post(&platform, Some("order-5"), &message(other)).await;
        assert_eq!((other.status, other.code()), (422, "key_reused"));
    }
    assert_eq!(delivered(&platform, PSID), ["UPDATE hi"]);
}

#[tokio::test]
async fn a_key_stands_for_its_request_as_long_as_its_message_is_there() {
    let platform = heard_from().await;
    let send_at = (platform.clock.now() + 20 * DAY).millis();
    let template = json!({"name": "shipped", "language": {"code": "en"}});
    let wanted = message(json!({"send_at": send_at, "fallback_template": template}));
    let first = post(&platform, Some("order-5"), &wanted).await;
    assert_eq!(first.status, 202, "{}", first.body);
    platform.advance(16 * DAY).await;
    platform.expire().await.unwrap();
    let other = with(wanted.clone(), json!({"message": "ho"}));
    let other = post(&platform, Some("order-5"), &other).await;
    assert_eq!((other.status, other.code()), (422, "key_reused"));
    assert_eq!(post(&platform, Some("order-5"), &wanted).await.status, 200);
}

#[tokio::test]
async fn a_bad_request_names_the_field_and_never_its_value() {
    let platform = heard_from().await;
    for (change, status, field) in [
        (json!({"purpose": "human"}), 422, "author"),
        (json!({"page_id": "42"}), 404, "page_id"),
        (json!({"message": {"text": "hush".repeat(600)}}), 422, "message.text"),
        (json!({"send_at": "hush"}), 422, "send_at"),
        (json!({"psid": "hush#"}), 422, "psid"),
        (json!({"comment_id": "hush"}), 422, "comment_id"),
        (json!({"purpose": "private_reply"}), 422, "purpose"),
        (json!({"when": "hush"}), 422, "when"),
        (json!({"due_at": "hush"}), 422, "due_at"),
        (json!({"author": {"hush": 1}}), 422, "author"),
        (
            json!({"messages": ["hi", {"text": ["hush"]}], "message": null}),
            422,
            "messages[1].message.text",
        ),
    ] {
        let answer = post(&platform, None, &message(change)).await;
        assert_eq!(answer.status, status, "{field}");
        assert_eq!(answer.body["error"]["field"], field);
        assert!(!answer.body.to_string().contains("hush"), "{}", answer.body);
    }
    let bad = |change: fn(&mut Value)| with_sample(&platform, "api/create-message", change);
    assert_eq!(bad(|e| e["body"] = "{".into()).await.code(), "invalid_json");
    assert_eq!(bad(|e| e["body"] = "[]".into()).await.status, 422);
    assert_eq!(bad(|e| e["headers"]["content-type"] = "text/plain".into()).await.status, 415);
    assert_eq!(bad(|e| e["body"] = " ".repeat(300_000).into()).await.status, 413);
    assert_eq!(bad(|e| e["headers"]["idempotency-key"] = " ".into()).await.status, 422);
    assert!(entries(&platform, PSID).await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_gets_a_clear_answer() {
    let platform = heard_from().await;
    for path in ["/", "/messages/m1.x", "/messages/x", "/other", "/data-deletion/x"] {
        assert_eq!(ask(&platform, "GET", path).await.status, 404, "{path}");
    }
    let stranger = ask(&platform, "GET", &format!("/people/{OTHER_PSID}?page_id={PAGE}")).await;
    assert_eq!((stranger.status, stranger.code()), (404, "unknown_person"));
    assert_eq!(ask(&platform, "GET", &format!("/people/{PSID}")).await.status, 422);
    assert_eq!(ask(&platform, "GET", &format!("/people/{PSID}?page_id=42")).await.status, 404);
    let other = ask(&platform, "PUT", "/messages").await;
    assert_eq!((other.status, other.headers["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn without_the_key_nothing_is_told_but_a_deletion() {
    let platform = heard_from().await;
    for header in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic sample-api-key")] {
        let answer = with_sample(&platform, "api/list-applications", |event| {
            let headers = event["headers"].as_object_mut().unwrap();
            headers.remove("authorization");
            headers.extend(header.map(|header| ("authorization".to_owned(), json!(header))));
        })
        .await;
        assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{header:?}");
    }
    platform.put_secret(|secret| secret["api_key"] = "".into());
    platform.clock.forward(6 * MINUTE);
    let empty = with_sample(&platform, "api/list-applications", |event| {
        event["headers"]["authorization"] = "Bearer ".into();
    });
    assert_eq!(empty.await.status, 401);
    assert_eq!(ask(&platform, "GET", "/applications").await.status, 401);
}

#[tokio::test]
async fn a_new_key_opens_at_once() {
    let platform = silent().await;
    assert_eq!(ask(&platform, "GET", "/applications").await.status, 200);
    platform.put_secret(|secret| secret["api_key"] = "another".into());
    platform.clock.forward(MINUTE + SECOND);
    let answer = with_sample(&platform, "api/list-applications", |event| {
        event["headers"]["authorization"] = "Bearer another".into();
    });
    assert_eq!(answer.await.status, 200);
    assert_eq!(ask(&platform, "GET", "/applications").await.status, 401);
}

#[tokio::test]
async fn behind_iam_only_what_the_authorizer_let_through_is_answered() {
    let platform = platform_with(|options| {
        options.variables.insert("API_AUTH".to_owned(), "iam".to_owned());
    })
    .await;
    assert_eq!(ask(&platform, "GET", "/applications").await.status, 401, "a key is no signature");
    let signed = with_sample(&platform, "api/list-applications", |event| {
        event["requestContext"]["authorizer"] = json!({"iam": {
            "accessKey": "AKIA", "accountId": "123456789012", "callerId": "AIDA",
            "cognitoIdentity": null, "principalOrgId": null,
            "userArn": "arn:aws:iam::123456789012:user/crm", "userId": "AIDA"}});
    });
    assert_eq!(signed.await.status, 200);
}

#[tokio::test]
async fn the_api_does_not_start_without_its_setting() {
    for value in ["", "none"] {
        let options = simulator::platform::Options {
            variables: [("API_AUTH".to_owned(), value.to_owned())].into(),
            ..simulator::platform::Options::default()
        };
        let error = Platform::start(options).await.err().unwrap().to_string();
        assert!(error.contains("API_AUTH"), "{error}");
    }
}

#[tokio::test]
async fn the_applications_are_listed_without_a_secret() {
    let platform = silent().await;
    let answer = ask(&platform, "GET", "/applications").await;
    let application = &answer.body["applications"][0];
    assert_eq!(application["webhook"], format!("{}/webhook", platform.url()));
    assert_eq!(application["pages"], json!([PAGE]));
    for secret in [API_KEY, samples::APP_SECRET, samples::VERIFY_TOKEN, "sample-token-of"] {
        assert!(!answer.body.to_string().contains(secret));
    }
}

#[tokio::test]
async fn a_conversation_tells_its_windows() {
    let platform = heard_from().await;
    let heard = platform.clock.now() - SINCE_HEARD;
    let open = ask(&platform, "GET", &person()).await.body;
    assert_eq!(open["last_message_at"], heard.to_string());
    assert_eq!(open["window_until"], (heard + DAY - MINUTE).to_string());
    assert_eq!(open["human_until"], (heard + 7 * DAY - MINUTE).to_string());
    platform.advance(2 * DAY).await;
    let closed = ask(&platform, "GET", &person()).await.body;
    assert_eq!(closed["window_until"], Value::Null);
    assert_eq!(closed["human_until"], open["human_until"]);
}

#[tokio::test]
async fn events_are_pulled_in_order_and_from_where_the_last_pull_ended() {
    let platform = platform_with(|options| {
        options.variables.insert("FEED".to_owned(), "on".to_owned());
    })
    .await;
    for text in ["one", "two", "three"] {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, text)).await;
        platform.clock.forward(SECOND);
    }
    platform.clock.forward(MINUTE);
    let texts = |answer: &Answer| -> Vec<Value> {
        let results = answer.body["results"].as_array().unwrap().iter();
        results.map(|event| event["event"]["message"]["text"].clone()).collect()
    };
    let first = ask(&platform, "GET", &format!("/events?page_id={PAGE}&limit=2")).await;
    assert_eq!((first.status, texts(&first)), (200, vec![json!("one"), json!("two")]));
    assert_eq!(first.body["more"], true);
    let next = first.body["next"].as_str().unwrap();
    let rest = ask(&platform, "GET", &format!("/events?page_id={PAGE}&after={next}")).await;
    assert_eq!((texts(&rest), &rest.body["more"]), (vec![json!("three")], &json!(false)));
    let wrong = ask(&platform, "GET", &format!("/events?page_id={PAGE}&after=x")).await;
    assert_eq!((wrong.status, &wrong.body["error"]["field"]), (422, &json!("after")));

    platform.advance(SINCE_HEARD).await;
    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    let erased = ask(&platform, "GET", &format!("/events?page_id={PAGE}")).await;
    assert_eq!(texts(&erased), Vec::<Value>::new());
}

#[tokio::test]
async fn without_a_feed_nothing_can_be_pulled() {
    let platform = silent().await;
    let answer = ask(&platform, "GET", &format!("/events?page_id={PAGE}")).await;
    assert_eq!((answer.status, answer.code()), (404, "feed_off"));
}

#[tokio::test]
async fn the_document_is_served_to_callers() {
    let platform = heard_from().await;
    let document = with_sample(&platform, "api/openapi", |_| {}).await;
    assert_eq!((document.status, &document.body["openapi"]), (200, &json!("3.1.0")));
}
