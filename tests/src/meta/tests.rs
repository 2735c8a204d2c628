//! Meta's behaviour over HTTP, for a client that shares no code with it.

#![allow(clippy::expect_used, reason = "a test that cannot go on says what it lacked")]

mod access;
mod batch;
mod delivery;
mod faults;
mod instagram;
mod limits;
mod nodes;
mod notifications;
mod permits;
mod saved;
mod threads;
mod user_profiles;
mod windows;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{App, Fault, GraphRequest, Meta, Outcome, Platform};

const SECOND: i64 = 1_000;
const DAY: i64 = 86_400_000;
const WEEK: i64 = 604_800_000;

/// 2026-11-22T00:00:00Z.
const NOW: i64 = 1_795_305_600_000;

const PAGE: &str = "1001";
const INSTAGRAM: &str = "2002";
const PSID: &str = "7001";

/// Proofs computed elsewhere, by app secret and token.
const PROOFS: [(&str, &str, &str); 6] = [
    ("app-secret-1", "token-1", "af8bc814b4f71da72a826efceba0898adc984158737a896bf8a58586b59876e9"),
    ("app-secret-1", "token-2", "6e5142aac62dee5a828cf67aacfc6107b8fc72b102508d3a7a624c228d288267"),
    (
        "app-secret-1",
        "token-ig",
        "b5317fab3bcd5e91cfe10545ad8051ee2dd6e3d3fec1a43cd7bc434f641585d8",
    ),
    (
        "app-secret-1",
        "4004|app-secret-1",
        "8e399535f0bfd692117ecef4a7cb16328c21590abb8949b1769e894b8ef58d0c",
    ),
    ("app-secret-2", "token-1", "b088e23b886558fc9fd59556fb3a29ad731cd27fb36486b780955dcd747d28ae"),
    (
        "app-secret-1",
        "token-unknown",
        "cb9f0f0ffac91bff5bd77dbac1cdef855715c4b2d71a03d745040ca9a8496b20",
    ),
];

fn proof(secret: &str, token: &str) -> &'static str {
    let made =
        PROOFS.iter().find(|(by_secret, of_token, _)| (*by_secret, *of_token) == (secret, token));
    made.expect("a proof computed elsewhere").2
}

/// Meta with a Messenger Page and an Instagram account with a login of its own, served over HTTP, and a clock to set.
struct World {
    meta: Meta,
    clock: Arc<AtomicI64>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("a JSON answer")
    }

    /// The error's code and subcode.
    fn error(&self) -> (i64, Option<i64>) {
        let body = self.json();
        let error = &body["error"];
        let code = error["code"].as_i64();
        (code.expect("an error answer"), error["error_subcode"].as_i64())
    }

    fn mid(&self) -> String {
        let body = self.json();
        let mid = body["message_id"].as_str();
        mid.unwrap_or_else(|| panic!("not delivered: {body}")).to_owned()
    }
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(NOW));
        let app = App { app_id: "4004".to_owned(), app_secret: "app-secret-1".to_owned() };
        let hand = Arc::clone(&clock);
        let meta = Meta::new(Arc::new(move || hand.load(Ordering::SeqCst)), app);
        meta.add_page(PAGE, "token-1", Platform::Messenger);
        meta.add_page(INSTAGRAM, "token-ig", Platform::Instagram);
        for kind in ["image", "audio", "video", "file"] {
            meta.add_attachment(PAGE, "9", kind);
        }

        let (stop, stopped) = oneshot::channel();
        let (send_address, address) = std::sync::mpsc::channel();
        let clone = meta.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address");
                send_address.send(address).expect("a waiting test");
                let shutdown = async {
                    let _ = stopped.await;
                };
                clone.serve(listener, Arc::default(), shutdown).await;
            });
        });
        Self {
            meta,
            clock,
            address: address.recv().expect("a server"),
            stop: Some(stop),
            server: Some(server),
        }
    }

    /// A world in which the person has just written to both Pages.
    fn with_open_windows() -> Self {
        let world = Self::new();
        world.meta.person_says(PAGE, PSID, "hi");
        world.meta.person_says(INSTAGRAM, PSID, "hi");
        world
    }

    fn set_clock(&self, at: i64) {
        self.clock.store(at, Ordering::SeqCst);
    }

    /// Sends with valid credentials and expects an answer.
    fn send(&self, page_id: &str, body: &Value) -> Reply {
        self.try_send(page_id, body).expect("an answer")
    }

    /// Sends with valid credentials; `None` when the connection closes without an answer.
    fn try_send(&self, page_id: &str, body: &Value) -> Option<Reply> {
        let (host, token) =
            if page_id == INSTAGRAM { ("/instagram", "token-ig") } else { ("", "token-1") };
        let proof = proof("app-secret-1", token);
        let path = format!("{host}/v24.0/{page_id}/messages?appsecret_proof={proof}");
        self.request("POST", &path, Some(token), &body.to_string())
    }

    fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> Reply {
        self.request("POST", path, bearer, &body.to_string()).expect("an answer")
    }

    fn request(&self, method: &str, path: &str, bearer: Option<&str>, body: &str) -> Option<Reply> {
        let authorization =
            bearer.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!("{authorization}Content-Type: application/json\r\n");
        let answer = self.exchange(method, path, &head, body);
        if answer.is_empty() {
            return None;
        }
        let (head, text) = answer.split_once("\r\n\r\n").expect("an HTTP response");
        let (status_line, fields) = head.split_once("\r\n").expect("headers");
        let status = status_line.split(' ').nth(1).expect("a status");
        let headers = fields
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Reply {
            status: status.parse().expect("a numeric status"),
            headers,
            text: text.to_owned(),
        })
    }

    /// Everything that the server sends until it closes the connection.
    fn exchange(&self, method: &str, path: &str, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: graph\r\nConnection: close\r\n\
             Content-Length: {}\r\n{head}\r\n{body}",
            body.len()
        )
        .expect("a written request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a closed stream");
        answer
    }

    fn last_request(&self) -> GraphRequest {
        self.meta.requests().pop().expect("a recorded request")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.server.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the server ends on shutdown");
        }
    }
}

/// A request body that carries this message as a response.
fn response(message: &Value) -> Value {
    json!({"recipient": {"id": PSID}, "messaging_type": "RESPONSE", "message": message})
}

/// A request body with a text, of this messaging type and tag.
fn text_as(messaging_type: &str, tag: Option<&str>) -> Value {
    let mut body = response(&json!({"text": "hello"}));
    body["messaging_type"] = json!(messaging_type);
    if let Some(tag) = tag {
        body["tag"] = json!(tag);
    }
    body
}

fn feedback_template() -> Value {
    json!({"attachment": {"type": "template", "payload": {
        "template_type": "customer_feedback",
        "title": "How was it?",
        "subtitle": "Tell us",
        "button_title": "Rate",
        "feedback_screens": [{"questions": [{
            "id": "q_1",
            "type": "csat",
            "title": "How would you rate us?",
            "follow_up": {"type": "free_form", "placeholder": "More?"},
        }]}],
        "business_privacy": {"url": "https://shop.example/privacy"},
        "expires_in_days": 3,
    }}})
}

fn utility() -> Value {
    json!({
        "recipient": {"id": PSID},
        "messaging_type": "UTILITY",
        "message": {"template": {
            "name": "order_shipped",
            "language": {"code": "en"},
            "components": [{"type": "body", "parameters": []}],
        }},
    })
}
