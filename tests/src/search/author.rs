//! The bot of a run as a program of its own, behind a URL.

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::script::answer;
use crate::record;

/// It answers what the texts encode.
#[derive(Debug)]
pub(super) struct Author {
    pub(super) url: String,
    /// Ends with this.
    _server: JoinSet<()>,
}

/// Where turns and decisions are written down, a line of JSON for each, if that is asked for.
type Turns = Arc<Mutex<Option<std::fs::File>>>;

impl Author {
    pub(super) async fn start(record: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/turn", listener.local_addr()?);
        let turns =
            record.map(|name| record::file(&format!("turns/{name}"))).transpose()?.flatten();
        let router = Router::new().fallback(decide).with_state(Turns::new(Mutex::new(turns)));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, _server: server })
    }
}

async fn decide(State(turns): State<Turns>, Json(turn): Json<Value>) -> Response {
    let Some(decision) = answer(&turn) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let line = json!({"turn": turn, "decision": decision});
    if let Some(file) = &mut *file(&turns)
        && let Err(error) = file.write_all(format!("{line}\n").as_bytes())
    {
        tracing::error!(%error, "a turn is missing in the record");
    }
    Json(decision).into_response()
}

fn file(turns: &Turns) -> MutexGuard<'_, Option<std::fs::File>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}
