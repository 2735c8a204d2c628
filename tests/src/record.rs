//! A record of what reaches the local AWS, for the judges in `tests/judges`: a line of JSON for each call.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

/// The variable that names the folder of the records; without it nothing is recorded.
const FOLDER: &str = "RECORD_AWS_CALLS";

/// On an answer that the table had no part in, so that nobody compares it with a table's.
#[derive(Clone, Copy, Debug)]
pub struct NotOfTheTable;

/// The record of one platform.
#[derive(Debug)]
pub struct Record {
    file: Mutex<File>,
    turns: Arc<Turns<()>>,
}

impl Record {
    /// A record of this name if the environment asks for one.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn of(name: &str) -> std::io::Result<Option<Self>> {
        let record = |file| Self { file: Mutex::new(file), turns: Arc::default() };
        Ok(file(name)?.map(record))
    }

    /// Until the guard is dropped nobody else calls the table: its calls are replayed in the order of the
    /// record, so they must have been carried out in it.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turns).lock_owned().await
    }

    /// Writes down a call and its answer, and returns the answer.
    pub(crate) async fn write(
        &self,
        function: Option<&str>,
        target: &str,
        request: &Bytes,
        response: Response,
    ) -> Response {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let value = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
        let line = json!({
            "function": function,
            "target": target,
            "request": value(request),
            "status": parts.status.as_u16(),
            "answer": value(&body),
            "of_the_table": parts.extensions.get::<NotOfTheTable>().is_none(),
        });
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(%error, "a call is missing in the record");
        }
        drop(file);
        Response::from_parts(parts, Body::from(body))
    }
}

/// A file of this name in the folder of the records, if the environment asks for them.
///
/// # Errors
/// If it cannot be created.
pub(crate) fn file(name: &str) -> std::io::Result<Option<File>> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(folder) = std::env::var_os(FOLDER) else { return Ok(None) };
    // A test may have several platforms, and each test program has a process of its own.
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let file = format!("{}.{process}.{count}.jsonl", name.replace("::", "."));
    let path = Path::new(&folder).join(file);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(&folder)))?;
    File::create(path).map(Some)
}
