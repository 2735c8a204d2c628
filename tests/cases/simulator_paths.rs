//! What happens around the functions, made to happen over HTTP as any client would.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use simulator::meta::{BUSINESS_AI, INBOX};
use simulator::platform::Platform;
use simulator::samples::{APP_SECRET, INSTAGRAM};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::support::{PAGE, PSID, delivered, ends, platform, platform_with, requested};

/// Asks a path under `/_simulator`: the status, and the answer.
async fn ask(platform: &Platform, method: &str, path: &str, body: &str) -> (u16, Value) {
    exchange(method, &format!("{}/_simulator{path}", platform.url()), body).await
}

async fn exchange(method: &str, url: &str, body: &str) -> (u16, Value) {
    let request = axum::http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::from(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = http.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn done(platform: &Platform, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = ask(platform, method, path, body).await;
    assert_eq!(status, 200, "{method} {path} {body}: {answer}");
    answer
}

fn of(what: &str) -> String {
    format!("/people/{PSID}{what}")
}

#[tokio::test]
async fn a_fault_over_http_ends_a_message_as_its_error_says() {
    for (fault, end) in [
        (json!({"kind": "error", "code": 551}), "failed person_unreachable"),
        (json!({"kind": "error", "code": 100, "subcode": 1_893_061}), "failed invalid"),
        (json!({"kind": "slow", "millis": 1}), "sent"),
    ] {
        let platform = platform().await;
        let listed = done(&platform, "POST", "/faults", &fault.to_string()).await;
        assert_eq!(listed["faults"][0]["kind"], fault["kind"]);
        done(&platform, "POST", &of(""), "Hello").await;
        assert_eq!(ends(&platform, PSID).await, [end], "{fault}");
        let left = done(&platform, "GET", "/faults", "").await;
        assert_eq!(left["faults"], json!([]), "it hits one request");
    }
}

#[tokio::test]
async fn a_lasting_fault_of_one_person_hits_nobody_else_until_it_is_removed() {
    let platform = platform().await;
    let fault = json!({"kind": "html", "http": 502, "psid": PSID, "times": "always"});
    done(&platform, "POST", "/faults", &fault.to_string()).await;
    done(&platform, "POST", &of(""), "Hello").await;
    done(&platform, "POST", "/people/7000000000000002", "Hello").await;
    assert_eq!(delivered(&platform, PSID).len(), 0);
    assert_ne!(delivered(&platform, "7000000000000002").len(), 0);
    done(&platform, "DELETE", "/faults", "").await;
    done(&platform, "POST", "/clock", r#"{"forward_seconds": 3600}"#).await;
    assert_ne!(delivered(&platform, PSID).len(), 0);
    assert!(requested(&platform, PSID).len() >= 2);
}

#[tokio::test]
async fn people_act_at_any_account() {
    let platform = platform_with(|options| options.instagram = vec![INSTAGRAM.to_owned()]).await;
    let postback = json!({"postback": {"title": "Start", "payload": "START"}}).to_string();
    let answer = done(&platform, "POST", &of(""), &postback).await;
    assert_eq!(answer["webhook"], 200);
    let before = platform.meta.last_opening(INSTAGRAM, "7800000000000009");
    let path = format!("/people/7800000000000009?account={INSTAGRAM}");
    let answer = done(&platform, "POST", &path, "Hello").await;
    assert_eq!(answer["webhook"], 200);
    assert!(before.is_none());
    assert!(platform.meta.last_opening(INSTAGRAM, "7800000000000009").is_some());
    let path = format!("/people/7800000000000009/comments?account={INSTAGRAM}");
    let comment = done(&platform, "POST", &path, "How much is it?").await;
    assert!(comment["comment_id"].is_string() && comment["webhook"] == 200, "{comment}");
    let post = done(&platform, "POST", &of("/posts"), "We liked it.").await;
    assert!(post["post_id"].as_str().unwrap().starts_with(PAGE), "{post}");
    assert_eq!(post["webhook"], 200);
}

#[tokio::test]
async fn the_inbox_and_the_business_ai_take_a_thread_and_the_bot_waits() {
    let platform = platform().await;
    done(&platform, "POST", &of(""), "Hello").await;
    let said = delivered(&platform, PSID).len();
    let words = r#"{"holder": "inbox", "text": "One moment."}"#;
    let taken = done(&platform, "PUT", &of("/thread"), words).await;
    assert_eq!(taken, json!({"holder": "inbox", "app_id": INBOX, "webhook": [200, 200]}));
    done(&platform, "POST", &of(""), "Are you there?").await;
    assert_eq!(delivered(&platform, PSID).len(), said, "the inbox answers");
    done(&platform, "PUT", &of("/thread"), r#"{"holder": "app"}"#).await;
    done(&platform, "PUT", &of("/thread"), r#"{"holder": "business_ai"}"#).await;
    let thread = done(&platform, "GET", &of("/thread"), "").await;
    assert_eq!(thread, json!({"holder": "business_ai", "app_id": BUSINESS_AI}));
    done(&platform, "PUT", &of("/thread"), r#"{"holder": "nobody"}"#).await;
    let thread = done(&platform, "GET", &of("/thread"), "").await;
    assert_eq!(thread, json!({"holder": "nobody", "app_id": null}));
}

#[tokio::test]
async fn a_profile_is_put_refused_and_restored() {
    let platform = platform().await;
    let unknown = done(&platform, "GET", &of("/profile"), "").await;
    assert_eq!(unknown["refused"]["subcode"], 33);
    done(&platform, "POST", &of(""), "Hello").await;
    let shown = done(&platform, "PUT", &of("/profile"), r#"{"locale": "de_DE"}"#).await;
    assert_eq!((&shown["locale"], &shown["first_name"]), (&json!("de_DE"), &json!("Guest")));
    for (why, code, subcode) in [
        ("unavailable", 100, json!(2_018_218)),
        ("not_permitted", 100, json!(2_018_247)),
        ("no_consent", 230, json!(null)),
    ] {
        let body = json!({"refused": why}).to_string();
        let refused = done(&platform, "PUT", &of("/profile"), &body).await["refused"].take();
        assert_eq!((&refused["code"], &refused["subcode"]), (&json!(code), &subcode), "{why}");
    }
    let shown = done(&platform, "DELETE", &of("/profile"), "").await;
    assert_eq!(shown["locale"], "en_GB");
}

#[tokio::test]
async fn what_is_wrong_is_answered_with_a_reason() {
    let platform = platform_with(|options| options.instagram = vec![INSTAGRAM.to_owned()]).await;
    let posts = format!("/people/1/posts?account={INSTAGRAM}");
    for (method, path, body, status, reason) in [
        ("GET", "/nothing", "", 404, "no such path"),
        ("PATCH", "/people/1", "", 405, "other methods"),
        ("POST", "/people/1?account=5", "Hello", 404, "there is no account 5"),
        ("POST", "/people/1", "", 400, "must be a text"),
        ("POST", "/people/1/comments", "", 400, "must be a text"),
        ("POST", posts.as_str(), "Hello", 400, "nobody posts on an Instagram account"),
        ("PUT", "/people/1/profile", "Hello", 400, "must be a JSON object"),
        ("PUT", "/people/1/profile", r#"{"refused": "so"}"#, 400, "must be one of unavailable"),
        ("PUT", "/people/1/thread", r#"{"holder": "me"}"#, 400, "must be one of inbox"),
        ("PUT", "/people/1/thread", r#"{"holder": "app", "text": "x"}"#, 400, "by the inbox or"),
        ("PUT", "/people/1/thread", r#"{"holder": "inbox", "text": 1}"#, 400, "must be a string"),
        ("POST", "/faults", "[]", 400, "must be a JSON object"),
        ("POST", "/faults", "{}", 400, "kind must be one of"),
        ("POST", "/faults", r#"{"kind": "error"}"#, 400, "error needs code"),
        ("POST", "/faults", r#"{"kind": "error", "code": "x"}"#, 400, "must be a whole number"),
        ("POST", "/faults", r#"{"kind": "lost_answer", "code": 1}"#, 400, "code is not a field"),
        ("POST", "/faults", r#"{"kind": "html", "http": 99}"#, 400, "a status from 200 to 599"),
        ("POST", "/faults", r#"{"kind": "html", "times": 0}"#, 400, "times must be"),
        ("POST", "/faults", r#"{"kind": "html", "psid": 7}"#, 400, "psid must be a string"),
        ("POST", "/faults", r#"{"kind": "slow"}"#, 400, "slow needs millis"),
        ("POST", "/clock", "{}", 400, "forward_seconds"),
        ("POST", "/clock", "x", 400, "must be a JSON object"),
    ] {
        let (answered, answer) = ask(&platform, method, path, body).await;
        assert_eq!(answered, status, "{method} {path} {body}: {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{method} {path} {body}: {answer}");
    }
    assert_eq!(platform.meta.faults(), []);
    assert_eq!(platform.meta.holder_of(PAGE, "1"), None);
    assert!(platform.meta.requests().is_empty());
}

#[tokio::test]
async fn every_path_that_is_listed_exists() {
    let platform = platform().await;
    let listed = done(&platform, "GET", "", "").await;
    let listed = listed.as_object().unwrap();
    assert!(listed.len() > 8);
    for path in listed.keys() {
        let (methods, path) = path.rsplit_once(' ').unwrap();
        for method in methods.split(", ") {
            let path = format!("/{}", path.replace("{psid}", PSID));
            let (status, answer) = ask(&platform, method, &path, "").await;
            assert!(![404, 405].contains(&status), "{method} {path}: {status} {answer}");
        }
    }
}

type Received = (Option<String>, Bytes);

/// A program of its own, which takes notifications and answers with a status.
async fn receiver(status: StatusCode) -> (String, tokio::sync::mpsc::UnboundedReceiver<Received>) {
    async fn take(
        State((status, sender)): State<(StatusCode, Arc<UnboundedSender<Received>>)>,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let signature = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
        sender.send((signature.map(str::to_owned), body)).unwrap();
        status
    }
    let (sender, receiver) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/their-webhook", listener.local_addr().unwrap());
    let router =
        Router::new().route("/their-webhook", post(take)).with_state((status, Arc::new(sender)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, receiver)
}

#[tokio::test]
async fn another_programs_webhook_gets_the_signed_notifications() {
    let (url, mut received) = receiver(StatusCode::OK).await;
    let platform = platform_with(|options| options.webhook = Some(url)).await;
    let answer = done(&platform, "POST", &of(""), "Grüße/✓").await;
    assert_eq!(answer["webhook"], 200);
    let (signature, body) = received.recv().await.unwrap();
    let expected = backend::signature::sign(&body, &APP_SECRET.into());
    assert_eq!(signature, Some(expected));
    let notification: Value = serde_json::from_slice(&body).unwrap();
    let message = &notification["entry"][0]["messaging"][0]["message"];
    assert_eq!(message["text"], "Grüße/✓");
    assert!(platform.items().await.unwrap().is_empty(), "this project's functions get nothing");

    // Their answer goes through Graph, and its echo comes back to them.
    let token = simulator::platform::page_token(PAGE);
    let proof = backend::signature::appsecret_proof(&token.clone().into(), &APP_SECRET.into());
    let graph = &platform.environment()["GRAPH_BASE_URL"];
    let url = format!("{graph}/v25.0/me/messages?access_token={token}&appsecret_proof={proof}");
    let answer = json!({"recipient": {"id": PSID}, "messaging_type": "RESPONSE",
        "message": {"text": "Theirs"}});
    assert_eq!(exchange("POST", &url, &answer.to_string()).await.0, 200);
    platform.settle().await;
    let (_, echo) = received.recv().await.unwrap();
    let echo: Value = serde_json::from_slice(&echo).unwrap();
    assert_eq!(echo["entry"][0]["messaging"][0]["message"]["text"], "Theirs");
}

#[tokio::test]
async fn a_webhook_that_refuses_or_is_not_there_is_named_by_its_status() {
    let (url, _received) = receiver(StatusCode::IM_A_TEAPOT).await;
    for (url, status) in [(url, 418), ("http://127.0.0.1:9/".to_owned(), 504)] {
        let platform = platform_with(|options| options.webhook = Some(url)).await;
        let answer = done(&platform, "POST", &of(""), "Hello").await;
        assert_eq!(answer["webhook"], status);
    }
}
