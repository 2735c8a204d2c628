//! What the functions write to their log: every one of them, when all is well and when AWS, Meta, a
//! caller or the bot is not.

use lambda_http::Body;
use lambda_http::http::Request;
use messenger::clock::Clock;
use messenger::decision::{Decision, FollowUp};
use messenger::message::{Action, Message};
use serde_json::{Value, json};
use simulator::meta::{Fault, UserToken};
use simulator::platform::{Platform, Replies, page_token};
use simulator::samples::{
    API_KEY, APP_ID, APP_SCOPED_ID, APP_SECRET, FORWARD_SECRET, OTHER_PSID, PSID, VERIFY_TOKEN,
};

use crate::forward::Receiver;
use crate::support::*;
use crate::webhook::everything_that_is_answered;

/// A part of every text that a person, the bot or a caller writes here.
const TEXT: &str = "hush";
/// A part of every name that the stand-in for Meta shows.
const NAME: &str = "Guest";
const USER_TOKEN: &str = "a-user-token";

/// Where a log line comes from, and a part of one that must have been written there: without them
/// the test below would hear nothing and find nothing.
const LINES: [(&[&str], &[&str]); 7] = [
    (&["webhook"], &["signature", "verified", "not queued", "cannot be read"]),
    (&["event_processor"], &["an event failed", "a person who was erased"]),
    (&["follow_ups"], &["swept", "a Page was not swept"]),
    (&["api"], &["a request failed", "no caller can be authenticated"]),
    (&["forward"], &["not forwarded", "is no longer in FORWARD_URLS"]),
    (&["setup"], &["the answer could not be sent"]),
    (
        &["shared", "messenger", "backend"],
        &[
            "a message was not sent",
            "a sender action was passed over",
            "the decision breaks a limit",
            "the Page is paused",
            "the cached one is used",
            "a panic",
            "a profile was not read or not kept",
        ],
    ),
];

const REPLIES: Replies = |event, _, _| {
    assert!(!event.raw.contains("panic"), "the bot: {TEXT} {}", event.raw);
    if event.raw.contains("too long") {
        return Ok(Decision::nothing().say(Message::text(TEXT.repeat(501))?));
    }
    let later = FollowUp::after(HOUR, Message::text(format!("{TEXT} later"))?);
    let decision = Decision::nothing().say(Action::TypingOn).say(Message::text(TEXT)?).later(later);
    decision.remember(&TEXT)
};

#[tokio::test]
async fn no_log_line_tells_a_secret_or_a_person() {
    log_panics_of_this_thread();
    let (log, _listening) = listen();
    everything_that_is_answered(&*platform().await).await;

    let receiver = Receiver::answering(Some(500)).await;
    let urls = format!("{},http://127.0.0.1:1/{TEXT}?{TEXT}", receiver.url);
    let healthy = platform_without("", &urls).await;
    every_function(&healthy).await;
    meta_refuses(&healthy).await;
    the_secret_is_out_of_reach(&healthy).await;
    every_function(&*platform_without("TABLE_NAME", &urls).await).await;
    every_function(&*platform_without("SECRET_ID", &urls).await).await;
    every_function(&*platform_without("FORWARD_QUEUE_URL", &urls).await).await;

    let lines = log.0.lock().unwrap().clone();
    for (crates, texts) in LINES {
        let ours: Vec<_> = lines.lines().filter(|line| is_from(line, crates)).collect();
        for text in texts {
            let is_there = ours.iter().any(|line| line.contains(text));
            assert!(is_there, "{text:?} is not in the {} lines of {crates:?}", ours.len());
        }
    }
    let token = page_token(PAGE);
    for hidden in [
        APP_SECRET,
        VERIFY_TOKEN,
        FORWARD_SECRET,
        API_KEY,
        &token,
        USER_TOKEN,
        PSID,
        OTHER_PSID,
        APP_SCOPED_ID,
        TEXT,
        NAME,
    ] {
        let telling: Vec<_> = lines.lines().filter(|line| line.contains(hidden)).collect();
        assert!(telling.is_empty(), "{hidden} is in {telling:#?}");
    }
}

fn is_from(line: &str, crates: &[&str]) -> bool {
    let target = line.split([' ', ':']).next().unwrap_or_default();
    crates.contains(&target)
}

/// The functions' own hook for panics, for this test alone.
fn log_panics_of_this_thread() {
    let before = std::panic::take_hook();
    backend::telemetry::log_panics_by_place();
    let by_place = std::panic::take_hook();
    let this_thread = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let is_ours = std::thread::current().id() == this_thread;
        // A failure of this test is reported as any other.
        let of_the_bot = panic.payload_as_str().is_some_and(|text| text.starts_with("the bot"));
        if is_ours && of_the_bot { by_place(panic) } else { before(panic) }
    }));
}

/// A platform whose functions find nothing at what a variable names.
async fn platform_without(variable: &str, urls: &str) -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| {
        options.replies = REPLIES;
        let variables = [
            ("FEED", "on"),
            ("USER_PROFILES", "on"),
            ("FORWARD_URLS", urls),
            ("FORWARD_ALLOW_LOCAL", "true"),
            (variable, "http://127.0.0.1:1/nothing"),
        ];
        let variables = variables.iter().filter(|(name, _)| !name.is_empty());
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        options.variables.extend(variables);
    })
    .await;
    let user = UserToken {
        user_id: "600000000000007".to_owned(),
        app_id: APP_ID.to_owned(),
        is_system_user: false,
        expires_at: 0,
        scopes: vec!["pages_show_list".to_owned()],
        targets: Vec::new(),
        pages: vec![PAGE.to_owned()],
    };
    platform.meta.add_user_token(USER_TOKEN, user);
    platform
}

/// Asks each function for everything that it does, whatever comes of it.
async fn every_function(platform: &Platform) {
    for text in ["hush", "hush: too long", "hush: panic"] {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, text)).await;
        platform.clock.forward(SECOND);
    }
    let inbox = json!({"sender": {"id": PAGE}, "recipient": {"id": PSID},
        "message": {"mid": "m_hush", "is_echo": true, "app_id": 1, "text": TEXT}});
    platform.deliver(&platform.meta.person_does(PAGE, OTHER_PSID, inbox)).await;
    platform.advance(5 * 3 * MINUTE).await;

    let message = json!({"page_id": PAGE, "psid": PSID, "message": TEXT, "purpose": "human",
        "author": TEXT});
    let with = |name: &str, value: Value| {
        let mut changed = message.clone();
        changed[name] = value;
        changed
    };
    let due_at = || json!(platform.clock.now().millis() + 86_400_000);
    let requests = [
        message.clone(),
        with("due_at", due_at()),
        with("psid", OTHER_PSID.into()),
        with("message", TEXT.repeat(600).into()),
        with("purpose", TEXT.into()),
        with("hush", TEXT.into()),
        json!(TEXT),
        json!({"source": "schedule"}),
    ];
    for request in requests {
        let _ = platform.invoke_follow_ups(request.clone()).await;
        call(platform, "POST", "/messages", Some(API_KEY), &request.to_string()).await;
    }
    let _ = platform.tick().await;

    let signed = "signed_request=RR9VpxqrKV7nMNELHAxDuv_lzX6P7G0RF8MUi9wDwzM.\
        eyJhbGdvcml0aG0iOiAiSE1BQy1TSEEyNTYiLCAiZXhwaXJlcyI6IDAsICJpc3N1ZWRfYXQiOiAxNzk1MzM4MDAwLCAidXNlcl9pZCI6ICI4MDAwMDAwMDAwMDAwMDAxIn0";
    let person = format!("/people/{PSID}?page_id={PAGE}");
    let queued = platform.meta.person_says(PAGE, PSID, TEXT);
    platform.post(&queued).await;
    for (method, path, key, body) in [
        ("GET", person.as_str(), Some(API_KEY), ""),
        ("GET", &person, Some(TEXT), ""),
        ("GET", &person, None, ""),
        ("POST", "/messages", Some(API_KEY), "{hush"),
        ("GET", "/messages/m1.hush", Some(API_KEY), ""),
        ("GET", &format!("/events?page_id={PAGE}"), Some(API_KEY), ""),
        ("GET", "/applications", Some(API_KEY), ""),
        ("DELETE", &person, Some(API_KEY), ""),
        ("POST", "/data-deletion", None, signed),
        ("POST", "/data-deletion", None, "signed_request=hush.hush"),
    ] {
        call(platform, method, path, key, body).await;
    }
    // The data deletion erases the person with the next run, before their queued message is processed.
    let _ = platform.tick().await;
    platform.settle().await;
    forward_elsewhere(platform).await;

    for request in [
        json!({"action": "register"}),
        json!({"action": "status"}),
        json!({"action": "applications"}),
        json!({"action": "pages", "user_token": USER_TOKEN, "show_tokens": true}),
        json!({"action": "pages", "user_token": TEXT}),
        json!({"action": "conversations", "page_id": PAGE, "psid": PSID}),
        json!({"action": "first-message", "page_id": PAGE, "psid": PSID, "author": TEXT,
            "message": TEXT}),
        json!({"action": "first-message", "page_id": PAGE, "psid": PSID, "author": TEXT,
            "text": TEXT}),
        json!({"action": "whatsapp-account", "account_id": "1", "token": USER_TOKEN}),
        json!({"action": TEXT, "hush": TEXT}),
        json!({"RequestType": "Create", "ResponseURL": "http://127.0.0.1:1/hush?signature=hush",
            "StackId": "stack", "RequestId": "1", "LogicalResourceId": "MetaRegistration",
            "ResourceType": "Custom::MetaRegistration", "ServiceToken": "arn"}),
    ] {
        let _ = platform.invoke_setup(request).await;
    }
}

async fn call(platform: &Platform, method: &str, path: &str, key: Option<&str>, body: &str) {
    let form = path == "/data-deletion";
    let content = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", platform.url()))
        .header("content-type", content)
        .header("idempotency-key", format!("{TEXT} {}", body.len()));
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Body::from(body)).unwrap();
    platform.invoke_api(&request).await;
}

/// What was queued for a receiver that is not wanted any more.
async fn forward_elsewhere(platform: &Platform) {
    let body = json!({"page_id": PAGE, "psid": PSID, "event": {"message": {"text": TEXT}}});
    let record = json!({
        "messageId": "1",
        "body": body.to_string(),
        "attributes": {},
        "messageAttributes": {
            "url": {"dataType": "String", "stringValue": format!("https://example.com/{TEXT}")},
        },
    });
    let batch = serde_json::from_value(json!({"Records": [record]})).unwrap();
    platform.invoke_forwarder(batch).await;
}

/// Each answer of Meta that has a line of its own.
async fn meta_refuses(platform: &Platform) {
    let error = |code, subcode| Fault::Error { http: 400, code, subcode };
    for fault in [
        error(2, None),
        error(100, None),
        error(551, None),
        error(10, Some(2_018_278)),
        error(10, Some(1_893_063)),
        Fault::Throttled { regain_minutes: 1 },
        Fault::LostAnswer,
        Fault::LostRequest,
        Fault::Http5xx,
    ] {
        // The action, and the message behind it.
        platform.meta.fail_next(error(100, None));
        platform.meta.fail_next(fault);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, TEXT)).await;
        platform.advance(DAY).await;
    }
    platform.meta.kill_token(PAGE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, TEXT)).await;
    let _ = platform.invoke_setup(json!({"action": "status"})).await;
}

async fn the_secret_is_out_of_reach(platform: &Platform) {
    platform.secrets_manager.set_down(true);
    for _ in 0..2 {
        platform.clock.forward(backend::secrets::FRESH_FOR);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, TEXT)).await;
        call(platform, "GET", "/applications", Some(API_KEY), "").await;
    }
}
