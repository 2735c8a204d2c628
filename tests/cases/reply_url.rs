//! A bot in another language behind a URL: signed turns, decisions as JSON, the same limits and patience.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use backend::reply::HttpBot;
use backend::runtime::Environment;
use backend::settings::Variables;
use backend::signature::sign_forward;
use messenger::chat::transcript::play;
use messenger::clock::{Clock, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::platform::{DEAD_LETTERS, Options, Platform};
use simulator::samples::REPLY_SECRET;
use simulator::stage::Stage;
use tokio::net::{TcpListener, TcpStream};

use crate::services::{Shop, status};
use crate::support::*;

const SECRET: &str = "the key of the turns";

fn answers(platform_options: &mut Options, url: &str) {
    platform_options.has_threads = true;
    for (name, value) in [("REPLY_URL", url), ("REPLY_ALLOW_LOCAL", "true")] {
        platform_options.variables.insert(name.to_owned(), value.to_owned());
    }
}

async fn platform_of(url: &str, change: impl FnOnce(&mut Options)) -> Arc<Platform> {
    let platform = platform_with(|options| {
        answers(options, url);
        change(options);
    })
    .await;
    platform.put_secret(|secret| secret["reply_secret"] = SECRET.into());
    platform
}

async fn says(platform: &Platform, text: &str) {
    platform.deliver(&platform.meta.person_says(PAGE, PSID, text)).await;
}

fn json_of(value: &Value) -> axum::response::Response {
    axum::response::IntoResponse::into_response(axum::Json(value.clone()))
}

#[tokio::test]
async fn a_turn_says_what_happened_and_is_signed() {
    let answer = json!({"say": ["Which day?"], "state": {"step": 1}, "state_version": 4,
        "later": [{"after_seconds": 3600, "messages": ["Still there?"], "unless_answered": true}]});
    let bot = Shop::start([json_of(&answer), json_of(&json!({"say": ["Noted"]}))]).await;
    let platform = platform_of(&bot.url, |_| {}).await;
    says(&platform, "Book").await;
    platform.clock.forward(SECOND);
    says(&platform, "Friday").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE Which day?", "RESPONSE Noted"]);
    assert_eq!(ends(&platform, PSID).await, ["sent", "cancelled answered", "sent"]);
    let sent = bot.sent();
    for turn in &sent {
        let signature = turn.header("x-messenger-signature-256").unwrap();
        let body: Value = serde_json::from_str(&turn.body).unwrap();
        let at = Timestamp::from_millis(body["now"].as_i64().unwrap());
        let expected = sign_forward(turn.body.as_bytes(), &SecretString::from(SECRET), at);
        assert_eq!(signature, expected);
        assert_eq!(turn.header("content-type"), Some("application/json"));
    }
    let [first, second] =
        [0, 1].map(|at: usize| serde_json::from_str::<Value>(&sent[at].body).unwrap());
    assert_eq!(sent[0].header("idempotency-key"), first["key"].as_str());
    assert_ne!(first["key"], second["key"]);
    assert_eq!((&first["version"], &first["attempt"]), (&json!(1), &json!(1)));
    assert_eq!(first["answer_by"], first["now"].as_i64().unwrap() + 15_000);
    assert_eq!(first["conversation"]["page_id"], PAGE);
    assert_eq!(first["conversation"]["psid"], PSID);
    assert_eq!(first["conversation"]["state"], Value::Null);
    let event = &first["events"][0];
    assert_eq!((&event["text"], &event["payload"]), (&json!("Book"), &Value::Null));
    assert_eq!((&event["kind"], &event["psid"]), (&json!("message"), &json!(PSID)));
    assert_eq!(event["event"]["message"]["text"], "Book");
    assert_eq!(second["conversation"]["state"], json!({"step": 1}));
    assert_eq!(second["conversation"]["state_version"], 4);
    let purposes = first["conversation"]["allowed"].as_array().unwrap();
    assert!(purposes.iter().any(|it| it["purpose"] == "update"), "{purposes:?}");
}

#[tokio::test]
async fn what_a_bot_answers_decides_whether_it_is_asked_again() {
    let decided = || json_of(&json!({"say": ["hello"]}));
    let too_large = || axum::response::IntoResponse::into_response(vec![b' '; 256 * 1024 + 1]);
    for (answer, arrives, dead, asked) in [
        (status(204, &[]), None, None, 1),
        (decided(), Some("RESPONSE hello"), None, 1),
        (status(429, &[("retry-after", "3")]), Some("RESPONSE hello"), None, 2),
        (status(503, &[]), Some("RESPONSE hello"), None, 2),
        (status(404, &[]), None, Some("bot_failed: reply_url"), 1),
        (status(302, &[("location", "/")]), None, Some("bot_failed: reply_url"), 1),
        (too_large(), None, Some("bot_failed: the answer is too large"), 1),
    ] {
        let bot = Shop::start([answer, decided()]).await;
        let platform = platform_of(&bot.url, |_| {}).await;
        says(&platform, "hello").await;
        platform.advance(10 * SECOND).await;
        assert_eq!(delivered(&platform, PSID), arrives.into_iter().collect::<Vec<_>>());
        let reasons = platform.sqs.messages(DEAD_LETTERS);
        let reasons: Vec<_> =
            reasons.iter().map(|it| it.attributes["reason"].value.as_str()).collect();
        assert_eq!(reasons, dead.into_iter().collect::<Vec<_>>());
        assert_eq!(bot.sent().len(), asked);
    }
}

#[tokio::test]
async fn a_wrong_decision_is_named_and_the_fallback_goes_instead() {
    for (fallback, arrives, ends_as) in [
        (Value::Null, &[][..], "failed invalid"),
        (json!({"say": ["Please call us"]}), &["RESPONSE Please call us"], "sent"),
    ] {
        let bot = Shop::start([json_of(&json!({"says": ["hello"]}))]).await;
        let settings = json!({"fallback_decision": fallback});
        let platform = platform_of(&bot.url, |options| {
            if !fallback.is_null() {
                options.variables.insert("BOT_SETTINGS".to_owned(), settings.to_string());
            }
        })
        .await;
        says(&platform, "hello").await;
        assert_eq!(delivered(&platform, PSID), arrives);
        assert_eq!(ends(&platform, PSID).await, [ends_as]);
    }
}

#[tokio::test]
async fn a_bot_that_is_not_there_costs_two_minutes_and_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let platform = platform_of(&url, |_| {}).await;
    says(&platform, "hello").await;
    platform.advance(3 * MINUTE).await;
    let dead = platform.sqs.messages(DEAD_LETTERS);
    assert_eq!(dead[0].attributes["reason"].value, "bot_unavailable: reply_url");
    let bot = Shop::start([json_of(&json!({"say": ["hello"]}))]).await;
    assert!(bot.sent().is_empty());
}

#[test]
fn a_url_that_must_not_be_reached_is_refused_at_the_start() {
    for (url, allow_local, is_accepted) in [
        ("https://bot.example/turn", "false", true),
        ("http://bot.example/turn", "false", false),
        ("https://169.254.169.254/", "false", false),
        ("https://10.0.0.1/", "true", false),
        ("http://127.0.0.1:9100/", "false", false),
        ("http://127.0.0.1:9100/", "true", true),
        ("https://user:key@bot.example/", "false", false),
    ] {
        let value = move |name: &str| match name {
            "REPLY_URL" => Some(url.to_owned()),
            "REPLY_ALLOW_LOCAL" => Some(allow_local.to_owned()),
            name if name.starts_with("AWS_") => Some("eu-central-1".to_owned()),
            "SECRET_ID" => Some("messenger".to_owned()),
            _ => None,
        };
        let clock =
            Arc::new(simulator::clock::VirtualClock::standing_at(simulator::samples::BEGINNING));
        let telemetry = backend::telemetry::Telemetry::to_stdout(clock.clone());
        let environment = Environment::new(Variables::from_lookup(value), clock, telemetry);
        let bot = HttpBot::new(&environment);
        let error = environment.variables.check().err().map(|error| error.to_string());
        let is_refused =
            error.is_some_and(|it| it.contains("REPLY_URL") && !it.contains("example"));
        assert_eq!((bot.is_some(), is_refused), (is_accepted, !is_accepted), "{url} {allow_local}");
    }
}

// ---------------------------------------------------------------------------------------- the samples

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn sample(interpreter: &str, file: &str, secret: &str) -> (Running, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bots/http").join(file);
    let mut command = Command::new(interpreter);
    command.arg(path).env("REPLY_SECRET", secret).env("PORT", port.to_string());
    let running = Running(command.spawn().unwrap());
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    (running, format!("http://127.0.0.1:{port}/"))
}

const SAMPLES: [(&str, &str); 2] = [("python3", "bot.py"), ("node", "bot.mjs")];

#[tokio::test]
async fn the_samples_in_python_and_in_javascript_play_their_scenario() {
    let scenario = include_str!("../bots/http/scenarios/repeats.chat");
    for (interpreter, file) in SAMPLES {
        let (_running, url) = sample(interpreter, file, REPLY_SECRET).await;
        // The samples refuse what is old, by the machine's clock.
        let mut options = Options { now: backend::clock::SystemClock.now(), ..Options::default() };
        answers(&mut options, &url);
        let report = play(scenario, &mut Stage::new(options)).await.unwrap();
        assert!(report.is_as_written(), "{file}: {report}");
    }
}

#[tokio::test]
async fn the_samples_in_python_and_in_javascript_answer_signed_turns_only() {
    for (interpreter, file) in SAMPLES {
        let (_running, url) = sample(interpreter, file, SECRET).await;
        let platform = platform_of(&url, |_| {}).await;
        // The samples refuse what is old, by the machine's clock.
        platform.clock.move_to(backend::clock::SystemClock.now());
        for text in ["hello", "again"] {
            says(&platform, text).await;
        }
        let expected = ["RESPONSE 1: you said hello", "RESPONSE 2: you said again"];
        assert_eq!(delivered(&platform, PSID), expected, "{file}");
        platform.put_secret(|secret| secret["reply_secret"] = "another".into());
        platform.clock.forward(6 * MINUTE);
        says(&platform, "forged").await;
        assert_eq!(delivered(&platform, PSID).len(), 2, "{file}");
        assert_eq!(platform.sqs.messages(DEAD_LETTERS).len(), 1, "{file}");
    }
}
