//! What is forwarded to other systems: real HTTP, real queues, time in our hands.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use messenger::clock::{Clock, Timestamp};
use messenger::decision::Decision;
use serde_json::{Value, json};
use sha2::Sha256;
use simulator::platform::{EVENTS, FORWARD, FORWARD_DEAD_LETTERS, Options, Platform};
use simulator::samples;
use tokio::net::TcpListener;

use crate::crash::survive_with;
use crate::support::*;

/// A request that a receiver got.
#[derive(Clone, Debug)]
struct Got {
    path: String,
    content_type: String,
    signature: String,
    body: String,
}

/// Another system that events are forwarded to.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
    always: Option<u16>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::answering(None).await
    }

    /// A receiver that answers so always.
    pub(crate) async fn answering(always: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/inbound", listener.local_addr().unwrap());
        let receiver = Self { url, always, ..Self::default() };
        let router = axum::Router::new().fallback(receive).with_state(receiver.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The bodies that came.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.got().iter().map(|got| serde_json::from_str(&got.body).unwrap()).collect()
    }

    /// The texts of the messages that came.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |got: Got| {
            let body: Value = serde_json::from_str(&got.body).unwrap();
            body["event"]["message"]["text"].as_str().unwrap_or_default().to_owned()
        };
        self.got().into_iter().map(text).collect()
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    receiver.got.lock().unwrap().push(Got {
        path: uri.path().to_owned(),
        content_type: header("content-type"),
        signature: header("x-messenger-signature-256"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let planned = receiver.answers.lock().unwrap().pop_front();
    let status = planned.or(receiver.always).unwrap_or(204);
    (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")]).into_response()
}

pub(crate) fn forward_to(options: &mut Options, urls: &[&str]) {
    options.replies = |_, _, _| Ok(Decision::nothing());
    options.variables.insert("FORWARD_URLS".to_owned(), urls.join(","));
    options.variables.insert("FORWARD_ALLOW_LOCAL".to_owned(), "true".to_owned());
}

async fn platform_to(urls: &[&str]) -> Arc<Platform> {
    platform_with(|options| forward_to(options, urls)).await
}

async fn say(platform: &Platform, text: &str) {
    platform.deliver(&platform.meta.person_says(PAGE, PSID, text)).await;
}

/// The key that a receiver is given, as the function's README derives it from the URL.
fn key_of(url: &str) -> String {
    hmac_hex(samples::FORWARD_SECRET, url)
}

fn hmac_hex(key: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Runs the receiver's check of the function's README with Python: whether it accepts what it is given.
fn readme_accepts(url: &str, body: &str, signature: &str, now: i64) -> bool {
    let readme = include_str!("../../functions/forward/README.md");
    let (_, sample) = readme.split_once("```python\n").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    let script = format!(
        "{sample}\nimport sys\nkey, body, header, now = sys.argv[1:]\n\
         print(is_genuine(body.encode(), header, key, int(now)))"
    );
    let arguments = ["-c", &script, &key_of(url), body, signature, &now.to_string()];
    let output = Command::new("python3").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim() == "True"
}

#[tokio::test]
async fn an_inbound_event_is_posted_signed_and_a_receipt_is_not() {
    let receiver = Receiver::start().await;
    let platform = platform_to(&[&receiver.url]).await;
    platform.clock.forward(MINUTE);
    say(&platform, "Grüße 😀").await;
    let receipt = json!({"read": {"watermark": 1}});
    platform.deliver(&platform.meta.person_does(PAGE, PSID, receipt)).await;
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(
        (got[0].path.as_str(), got[0].content_type.as_str()),
        ("/inbound", "application/json")
    );
    let body: Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(body["event"]["message"]["text"], "Grüße 😀");
    assert_eq!((&body["kind"], &body["psid"]), (&json!("message"), &json!(PSID)));
    assert_eq!((&body["page_id"], &body["platform"]), (&json!(PAGE), &json!("messenger")));
    assert_eq!(counted(&platform, "Forwarded"), 1);

    let now = platform.clock.now().millis() / 1000;
    let hex = hmac_hex(&key_of(&receiver.url), &format!("{now}.{}", got[0].body));
    assert_eq!(got[0].signature, format!("t={now},v1={hex}"));
}

#[tokio::test]
async fn the_check_in_the_readme_takes_what_is_forwarded_and_nothing_else() {
    let receiver = Receiver::start().await;
    let platform = platform_to(&[&receiver.url]).await;
    say(&platform, "Grüße 😀").await;
    let Got { body, signature, .. } = receiver.got().remove(0);
    let now = platform.clock.now().millis() / 1000;
    assert!(readme_accepts(&receiver.url, &body, &signature, now));
    assert!(readme_accepts(&receiver.url, &body, &signature, now + 299));
    assert!(
        !readme_accepts(&receiver.url, &body, &signature, now + 301),
        "recorded and sent again later"
    );
    assert!(!readme_accepts(&receiver.url, &body.replace("message", "massage"), &signature, now));
    assert!(!readme_accepts(&receiver.url, &body, &signature.replace("t=1", "t=2"), now));
    assert!(!readme_accepts(&receiver.url, &body, "", now));
    assert!(!readme_accepts(&receiver.url, &body, "t=,v1=", now));
}

#[tokio::test]
async fn no_receiver_s_key_signs_for_another_one() {
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let platform = platform_to(&[&first.url, &second.url]).await;
    say(&platform, "hello").await;
    let now = platform.clock.now().millis() / 1000;
    for (receiver, other) in [(&first, &second), (&second, &first)] {
        let Got { body, signature, .. } = receiver.got().remove(0);
        assert!(readme_accepts(&receiver.url, &body, &signature, now));
        assert!(!readme_accepts(&other.url, &body, &signature, now));
    }
}

#[tokio::test]
async fn without_urls_nothing_is_queued_and_no_call_is_made() {
    let platform = platform_with(|o| o.replies = |_, _, _| Ok(Decision::nothing())).await;
    say(&platform, "first").await;
    platform.clock.forward(SECOND);
    platform.aws.take_calls();
    say(&platform, "second").await;
    let calls = platform.aws.take_calls();
    let targets: Vec<_> = calls.iter().map(|call| call.target.as_str()).collect();
    assert_eq!(targets, ["AmazonSQS.SendMessageBatch", "DynamoDB_20120810.UpdateItem"]);
    assert!(platform.sqs.is_empty(FORWARD));
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_growing_pauses() {
    let receiver = Receiver::start().await;
    receiver.answers.lock().unwrap().extend([500, 404, 429]);
    let platform = platform_to(&[&receiver.url]).await;
    say(&platform, "hello").await;
    for (after, tries) in [(59, 1), (1, 2), (119, 2), (1, 3), (239, 3), (1, 4), (3600, 4)] {
        platform.advance(after * SECOND).await;
        assert_eq!(receiver.got().len(), tries);
    }
    let got = receiver.got();
    assert!(got.iter().all(|one| one.body == got[0].body));
    assert_ne!(got[0].signature, got[3].signature, "each try is signed at its own time");
    assert!(platform.sqs.is_empty(FORWARD));
    assert_eq!((counted(&platform, "ForwardFailed"), counted(&platform, "Forwarded")), (3, 1));
}

#[tokio::test]
async fn a_dead_receiver_harms_no_other_and_its_events_end_in_the_dead_letter_queue() {
    let (dead, alive) = (Receiver::answering(Some(503)).await, Receiver::start().await);
    let platform = platform_to(&[&dead.url, &alive.url]).await;
    say(&platform, "one").await;
    platform.advance(MINUTE).await;
    say(&platform, "two").await;
    assert_eq!(alive.texts(), ["one", "two"]);
    platform.advance(12 * HOUR).await;
    assert_eq!(platform.sqs.messages(FORWARD).len(), 2, "hours later it is still tried");
    platform.advance(DAY).await;
    assert_eq!(dead.got().len(), 24);
    assert!(platform.sqs.is_empty(FORWARD));
    let kept = platform.sqs.messages(FORWARD_DEAD_LETTERS);
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|message| message.attributes["url"].value == dead.url));
    assert_eq!(kept[0].body, alive.got()[0].body);
    assert_eq!(alive.texts(), ["one", "two"]);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let receiver = Receiver::answering(Some(307)).await;
    let platform = platform_to(&[&receiver.url]).await;
    say(&platform, "hello").await;
    let paths: Vec<_> = receiver.got().into_iter().map(|got| got.path).collect();
    assert_eq!(paths, ["/inbound"]);
    assert_eq!(platform.sqs.messages(FORWARD).len(), 1);
}

#[tokio::test]
async fn a_name_of_this_machine_is_never_connected_to_unless_a_test_allows_it() {
    for allowed in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let connected = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connected);
        let server = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                *count.lock().unwrap() += 1;
            }
        });
        let platform = platform_with(|options| {
            forward_to(options, &[&url]);
            options.variables.insert("FORWARD_ALLOW_LOCAL".to_owned(), allowed.to_string());
        })
        .await;
        say(&platform, "hello").await;
        assert_eq!(*connected.lock().unwrap() > 0, allowed);
        assert_eq!(platform.sqs.messages(FORWARD).len(), 1, "it stays to be tried again");
        server.abort();
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_starts_nothing() {
    for url in ["https://10.0.0.1/", "https://169.254.169.254/latest", "http://crm.example/in"] {
        let mut options = Options::default();
        options.variables.insert("FORWARD_URLS".to_owned(), url.to_owned());
        let error = Platform::start(options).await.err().unwrap().to_string();
        assert!(error.contains("FORWARD_URLS") && !error.contains(url), "{error}");
    }
}

#[tokio::test]
async fn without_a_forward_secret_nothing_is_posted_and_everything_waits() {
    let receiver = Receiver::start().await;
    let platform = platform_to(&[&receiver.url]).await;
    platform.put_secret(|secret| secret["forward_secret"] = "".into());
    say(&platform, "hello").await;
    assert_eq!(receiver.got().len(), 0);
    platform.put_secret(|_| {});
    platform.advance(10 * MINUTE).await;
    assert_eq!(receiver.texts(), ["hello"]);
}

#[tokio::test]
async fn an_event_reaches_its_receiver_wherever_a_function_dies() {
    let receiver = Receiver::start().await;
    survive_with(
        |options| forward_to(options, &[&receiver.url]),
        async |_| receiver.got.lock().unwrap().clear(),
        async |platform| crate::crash::say(platform, "hello").await,
        async |platform, when| {
            let ids = receiver
                .got()
                .into_iter()
                .map(|got| serde_json::from_str::<Value>(&got.body).unwrap()["id"].to_string());
            let mut ids: Vec<_> = ids.collect();
            assert!((1..=2).contains(&ids.len()), "{when}: {ids:?}");
            ids.dedup();
            assert_eq!(ids.len(), 1, "{when}: a repetition is known by its id");
            assert!(platform.sqs.is_empty(FORWARD) && platform.sqs.is_empty(EVENTS), "{when}");
        },
    )
    .await;
}

#[tokio::test]
async fn an_event_as_large_as_the_queue_takes_is_forwarded() {
    let receiver = Receiver::start().await;
    let url = format!("{}?{}", receiver.url, "k".repeat(1900));
    let platform = platform_to(&[&url]).await;
    say(&platform, &"x".repeat(1_040_000)).await;
    say(&platform, &"\u{FFFF}".repeat(100)).await;
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn the_forwarder_takes_each_of_its_samples() {
    let receiver = Receiver::start().await;
    let platform = platform_to(&[&receiver.url]).await;
    for (name, reaches) in [("forward/text", true), ("forward/removed-url", false)] {
        receiver.got.lock().unwrap().clear();
        let mut sample = samples::read(name).unwrap();
        if reaches {
            sample["Records"][0]["messageAttributes"]["url"]["stringValue"] =
                receiver.url.clone().into();
        }
        let stays = platform.invoke_forwarder(serde_json::from_value(sample).unwrap()).await;
        assert_eq!(stays, Vec::<String>::new(), "{name}");
        assert_eq!(receiver.got().len(), usize::from(reaches), "{name}");
    }
    assert_eq!(counted(&platform, "ForwardDropped"), 1);
}

#[tokio::test]
async fn a_try_is_not_begun_without_the_time_for_it() {
    let receiver = Receiver::start().await;
    let platform = platform_to(&[&receiver.url]).await;
    let clock: messenger::clock::SharedClock =
        Arc::<simulator::clock::VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    let mut sample = samples::read("forward/text").unwrap();
    sample["Records"][0]["messageAttributes"]["url"]["stringValue"] = receiver.url.clone().into();
    let soon: Timestamp = platform.clock.now() + 10 * SECOND;
    let batch = serde_json::from_value(sample).unwrap();
    let handled = functions.forwarder.unwrap().handle(batch, soon).now_or_never().unwrap();
    assert_eq!(handled.batch_item_failures.len(), 1);
    assert_eq!(receiver.got().len(), 0);
}
