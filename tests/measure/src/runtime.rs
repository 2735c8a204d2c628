//! Lambda's runtime API, as one process sees it.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use backend::clock::SystemClock;
use messenger::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// How long an invocation may take, by its deadline header.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The answer to an event.
pub(crate) struct Answer {
    /// When it arrived.
    pub(crate) at: Instant,
    /// The answer, or the error that the process reported in its place.
    pub(crate) body: Result<String, String>,
}

/// Serves one process.
pub(crate) struct Runtime {
    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) address: SocketAddr,
    /// When the process asked for an event.
    pub(crate) polls: mpsc::UnboundedReceiver<Instant>,
    /// What the next poll gets.
    pub(crate) events: mpsc::UnboundedSender<String>,
    pub(crate) answers: mpsc::UnboundedReceiver<Answer>,
    forwarded: Arc<AtomicUsize>,
    server: JoinHandle<io::Result<()>>,
}

impl Runtime {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start() -> io::Result<Self> {
        let (to_polls, polls) = mpsc::unbounded_channel();
        let (events, to_process) = mpsc::unbounded_channel();
        let (to_answers, answers) = mpsc::unbounded_channel();
        let forwarded = Arc::<AtomicUsize>::default();
        let exchange = Exchange {
            polls: to_polls,
            events: Arc::new(Mutex::new(to_process)),
            answers: to_answers,
            invocations: Arc::default(),
            forwarded: Arc::clone(&forwarded),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .route("/inbound", post(inbound))
            .with_state(exchange);
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, polls, events, answers, forwarded, server })
    }

    /// The address of a system that takes forwarded events.
    pub(crate) fn inbound_url(&self) -> String {
        format!("http://{}/inbound", self.address)
    }

    /// How many events were forwarded to [`Self::inbound_url`].
    pub(crate) fn forwarded(&self) -> usize {
        self.forwarded.load(Ordering::Relaxed)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct Exchange {
    polls: mpsc::UnboundedSender<Instant>,
    events: Arc<Mutex<mpsc::UnboundedReceiver<String>>>,
    answers: mpsc::UnboundedSender<Answer>,
    invocations: Arc<AtomicUsize>,
    forwarded: Arc<AtomicUsize>,
}

async fn next(State(exchange): State<Exchange>) -> Response {
    let is_awaited = exchange.polls.send(Instant::now()).is_ok();
    let Some(event) = exchange.events.lock().await.recv().await.filter(|_| is_awaited) else {
        return StatusCode::GONE.into_response();
    };
    let number = exchange.invocations.fetch_add(1, Ordering::Relaxed);
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", format!("00000000-0000-4000-8000-{number:012}")),
        ("lambda-runtime-deadline-ms", (SystemClock.now() + TIMEOUT).millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:measured".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0".to_owned(),
        ),
    ];
    (axum::response::AppendHeaders(headers), event).into_response()
}

async fn response(State(exchange): State<Exchange>, body: String) -> StatusCode {
    answer(&exchange, Ok(body))
}

async fn error(State(exchange): State<Exchange>, body: String) -> StatusCode {
    answer(&exchange, Err(body))
}

fn answer(exchange: &Exchange, body: Result<String, String>) -> StatusCode {
    match exchange.answers.send(Answer { at: Instant::now(), body }) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::GONE,
    }
}

async fn inbound(State(exchange): State<Exchange>) -> StatusCode {
    exchange.forwarded.fetch_add(1, Ordering::Relaxed);
    StatusCode::OK
}
