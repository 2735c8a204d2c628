//! A bot calls services over HTTP: what they get, and what each of their answers means.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use messenger::bot::{Bot, BotError, Service, Setup, Stateless, Trouble, Turn, shared};
use messenger::clock::Clock;
use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::platform::{DEAD_LETTERS, Platform};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::*;

/// What a service was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    method: Method,
    path: String,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A service on this machine, which gives the next of its answers.
pub(crate) struct Shop {
    pub(crate) url: String,
    log: Arc<Log>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Log {
    sent: Mutex<Vec<Sent>>,
    answers: Mutex<VecDeque<Response>>,
}

impl Shop {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Response>) -> Self {
        let log =
            Arc::new(Log { answers: Mutex::new(answers.into_iter().collect()), ..Log::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&log));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, log, _server: server }
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.log.sent.lock().unwrap().clone()
    }
}

async fn answer(
    State(log): State<Arc<Log>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    log.sent.lock().unwrap().push(Sent { method, path: uri.to_string(), headers, body });
    let next = log.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| Json(json!({"state": "sent"})).into_response())
}

/// Looks an order up, or orders what the person wants, twice.
struct Orders(Service);

impl Bot for Orders {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        let said = match turn.text().as_str() {
            "order" => {
                for what in ["bread", "butter"] {
                    let call = self.0.post("/orders").json(&json!({"what": what}))?;
                    call.send::<Value, _>(turn).await?;
                }
                "Ordered".to_owned()
            }
            "maybe" => {
                let answer = self.0.get("/orders/8").response(turn).await?;
                format!("{}", answer.status().as_u16())
            }
            _ => {
                let call = self.0.get("/orders/7").header("accept-language", "en");
                let order: Value = call.send(turn).await?;
                format!("It is {}", order["state"].as_str().unwrap_or_default())
            }
        };
        Ok(Decision::nothing().say(Message::text(said)?))
    }

    fn give_up(&self, _: &Turn<Stateless>, why: &Trouble) -> Option<Decision> {
        Some(Decision::nothing().say(Message::text(format!("No: {why}")).unwrap()))
    }
}

async fn platform_with_shop(url: &str, key_header: Option<&str>) -> Arc<Platform> {
    let settings = json!({"services": {"shop": {"url": url, "key_header": key_header}}});
    let shop = Setup::new(settings, Arc::new(())).service("shop").unwrap();
    let platform = platform_with(|options| {
        options.bot = Some(shared(Orders(shop)));
        options.has_threads = true;
    })
    .await;
    platform.put_secret(|secret| secret["bot"] = json!({"shop_key": "the shop's key"}));
    platform
}

async fn says(platform: &Platform, text: &str) {
    platform.deliver(&platform.meta.person_says(PAGE, PSID, text)).await;
}

pub(crate) fn status(code: u16, headers: &[(&'static str, &'static str)]) -> Response {
    let mut response = StatusCode::from_u16(code).unwrap().into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

#[tokio::test]
async fn a_service_gets_the_key_of_the_secret_and_the_id_of_the_event() {
    for (key_header, name, value) in [
        (None, "authorization", "Bearer the shop's key"),
        (Some("x-api-key"), "x-api-key", "the shop's key"),
    ] {
        let shop = Shop::start([]).await;
        let platform = platform_with_shop(&format!("{}/", shop.url), key_header).await;
        says(&platform, "where is it?").await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE It is sent"]);
        let sent = &shop.sent()[0];
        assert_eq!((&sent.method, &*sent.path), (&Method::GET, "/v1/orders/7"));
        assert_eq!(sent.header(name), Some(value));
        assert_eq!(sent.header("accept-language"), Some("en"));
        assert_eq!(sent.header("idempotency-key"), None, "a lookup changes nothing");
        let entry = entries(&platform, PSID).await.remove(0);
        let correlation_id = entry["sk"].as_str().unwrap().trim_start_matches("outbox#").to_owned();
        let trace = sent.header("traceparent").unwrap();
        assert!(trace.starts_with(&format!("00-{correlation_id}-")), "{trace} {correlation_id}");
        assert_eq!(trace.len(), 55, "{trace}");
    }
}

#[tokio::test]
async fn what_changes_something_has_a_key_of_its_own_that_stays_the_same() {
    // The second order fails at first, so the bot is asked again and orders the bread again.
    let down = [Json(json!({})).into_response(), status(500, &[])];
    let shop = Shop::start(down).await;
    let platform = platform_with_shop(&shop.url, None).await;
    says(&platform, "order").await;
    assert!(delivered(&platform, PSID).is_empty());
    platform.advance(3 * SECOND).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE Ordered"]);
    let sent = shop.sent();
    let whats: Vec<_> = sent.iter().map(|it| it.body.as_str()).collect();
    let (bread, butter) = (r#"{"what":"bread"}"#, r#"{"what":"butter"}"#);
    assert_eq!(whats, [bread, butter, bread, butter]);
    let keys: Vec<_> = sent.iter().map(|it| it.header("idempotency-key").unwrap()).collect();
    assert_eq!((keys[0], keys[1]), (keys[2], keys[3]));
    assert_ne!(keys[0], keys[1]);
    says(&platform, "order").await;
    assert!(!keys.contains(&shop.sent()[4].header("idempotency-key").unwrap()), "another order");
}

#[tokio::test]
async fn a_service_that_asks_for_a_pause_gets_it() {
    for (answer, seconds) in [
        (status(503, &[("retry-after", "7")]), 7),
        (status(429, &[("retry-after", "20")]), 20),
        (status(502, &[]), 2),
    ] {
        let shop = Shop::start([answer]).await;
        let platform = platform_with_shop(&shop.url, None).await;
        says(&platform, "where is it?").await;
        let began = platform.clock.now();
        while delivered(&platform, PSID).is_empty() {
            platform.advance(SECOND).await;
        }
        let took = platform.clock.now().since(began).as_secs();
        assert!((seconds..=seconds + 1).contains(&took), "{took} for {seconds}");
        assert_eq!(delivered(&platform, PSID), ["RESPONSE It is sent"]);
        assert_eq!(shop.sent().len(), 2);
    }
}

#[tokio::test]
async fn what_a_service_refuses_or_garbles_is_not_asked_for_again() {
    let too_large = vec![b' '; 1024 * 1024 + 1];
    for answer in [
        status(404, &[]),
        status(401, &[]),
        status(302, &[("location", "/elsewhere")]),
        "no JSON".into_response(),
        too_large.into_response(),
    ] {
        let shop = Shop::start([answer]).await;
        let platform = platform_with_shop(&shop.url, None).await;
        says(&platform, "where is it?").await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE No: bot_failed: shop"]);
        assert_eq!(shop.sent().len(), 1);
    }
    let shop = Shop::start([status(404, &[])]).await;
    let platform = platform_with_shop(&shop.url, None).await;
    says(&platform, "maybe").await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE 404"], "a bot may look at the status");
}

#[tokio::test]
async fn a_service_that_is_not_there_may_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let platform = platform_with_shop(&format!("http://{address}/v1"), None).await;
    says(&platform, "where is it?").await;
    assert!(delivered(&platform, PSID).is_empty());
    assert!(platform.sqs.is_empty(DEAD_LETTERS));
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE No: bot_unavailable: shop"]);
}
