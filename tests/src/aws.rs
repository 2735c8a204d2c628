//! The single entry point of the local AWS: every call of every service passes here and is counted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::gate::{self, Gate, Verdict};
use crate::guard::Guard;
use crate::index::LaggingIndex;
use crate::record::{NotOfTheTable, Record};
use crate::secrets_manager::SecretsManager;
use crate::sqs::Sqs;

/// A call of a function to AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The operation, such as `DynamoDB_20120810.UpdateItem`.
    pub target: String,
    /// The write capacity units that it used, in the table and its indexes.
    pub writes: f64,
    /// The read capacity units that it used.
    pub reads: f64,
}

/// The local AWS.
#[derive(Clone)]
pub struct Aws {
    services: Services,
    http: Client<HttpConnector, Full<Bytes>>,
    record: Option<Arc<Record>>,
    calls: Arc<Mutex<Vec<Call>>>,
    gate: Arc<Gate>,
    without: Arc<Mutex<Option<Guard>>>,
    /// Requests that were put off once.
    put_off: Arc<Mutex<BTreeSet<String>>>,
    index: Arc<Mutex<Option<LaggingIndex>>>,
}

/// Who makes a call.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The function instance; 0 if it is not one of several.
    pub instance: u64,
    /// The function's name; absent if a test calls.
    pub function: Option<String>,
}

/// The services behind the entry point; `DynamoDB` is reached at its URL.
#[derive(Clone)]
pub struct Services {
    /// The queues.
    pub sqs: Sqs,
    /// The secret.
    pub secrets_manager: SecretsManager,
    /// Where the table is.
    pub dynamodb_url: String,
}

impl Aws {
    /// Combines the services.
    pub fn new(services: Services, gate: Arc<Gate>, record: Option<Record>) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self {
            services,
            http,
            record: record.map(Arc::new),
            calls: Arc::default(),
            gate,
            without: Arc::default(),
            put_off: Arc::default(),
            index: Arc::default(),
        }
    }

    /// Takes the calls made since the last time.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Disables a guard of the functions.
    pub fn without(&self, guard: Guard) {
        *self.without.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    }

    /// Lets the index of what is due lag behind the table, for the functions of numbered instances.
    pub fn delay_index(&self, index: LaggingIndex) {
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
    }

    /// Answers one call of a function instance, unless the instance crashes at it.
    pub async fn handle(&self, caller: Caller, headers: HeaderMap, body: Bytes) -> Response {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let Some(target) = target.map(str::to_owned) else {
            return (StatusCode::BAD_REQUEST, "no X-Amz-Target").into_response();
        };
        let target = self.guard().and_then(|guard| guard.instead_of(&target)).unwrap_or(target);
        let body = match self.guard() {
            None => body,
            Some(guard) => changed(&body, |request| guard.take_from_request(request)),
        };
        let passed = self.gate.enter(gate::Call::new(caller.instance, &target, &body)).await;
        let response = match passed.verdict {
            Verdict::Refused => failed(),
            Verdict::Go | Verdict::CallerDies => {
                self.reach(&caller, &target, &headers, &body).await
            }
            Verdict::AnswerLost => {
                self.reach(&caller, &target, &headers, &body).await;
                failed()
            }
            Verdict::Twice => {
                self.reach(&caller, &target, &headers, &body).await;
                self.reach(&caller, &target, &headers, &body).await
            }
        };
        self.gate.leave(passed).await;
        response
    }

    fn guard(&self) -> Option<Guard> {
        *self.without.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one call, and records it if that was asked for.
    async fn reach(
        &self,
        caller: &Caller,
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Response {
        let Some(record) = self.record.clone() else {
            return self.answer(caller.instance, target, headers, body).await;
        };
        let (aws, caller, target) = (self.clone(), caller.clone(), target.to_owned());
        let (headers, body) = (headers.clone(), body.clone());
        // A caller that gives up drops this future, but not what the service does meanwhile.
        let answer = tokio::spawn(async move {
            let _turn =
                if target.starts_with("DynamoDB") { Some(record.turn().await) } else { None };
            let answer = aws.answer(caller.instance, &target, &headers, &body).await;
            record.write(caller.function.as_deref(), &target, &body, answer).await
        });
        answer.await.unwrap_or_else(|_| failed())
    }

    /// Answers one call, by its `X-Amz-Target`.
    async fn answer(
        &self,
        instance: u64,
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Response {
        let (mut reads, mut writes) = (0.0, 0.0);
        let response = if target.starts_with("AmazonSQS.") {
            self.services.sqs.handle(target, body).await
        } else if target.starts_with("secretsmanager.") {
            self.services.secrets_manager.handle(target, body).await
        } else {
            let (response, used) = self.dynamodb(instance, target, headers, body).await;
            let is_write =
                ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"]
                    .iter()
                    .any(|w| target.ends_with(w));
            *(if is_write { &mut writes } else { &mut reads }) = used;
            response
        };
        let call = Call { target: target.to_owned(), writes, reads };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        response
    }

    /// Forwards a call to `DynamoDB`, and returns its answer and the capacity that it used.
    async fn dynamodb(
        &self,
        instance: u64,
        target: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> (Response, f64) {
        let mut request: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(answer) = self.answer_here(instance, &request) {
            let answer = (StatusCode::OK, Extension(NotOfTheTable), answer.to_string());
            return (answer.into_response(), 0.0);
        }
        let counted = [
            "GetItem",
            "PutItem",
            "UpdateItem",
            "DeleteItem",
            "Query",
            "Scan",
            "BatchWriteItem",
            "TransactWriteItems",
        ];
        if counted.iter().any(|operation| target.ends_with(&format!(".{operation}"))) {
            request["ReturnConsumedCapacity"] = "INDEXES".into();
        }
        let mut forwarded = Request::post(&self.services.dynamodb_url);
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                forwarded = forwarded.header(name, value);
            }
        }
        let unavailable = || (StatusCode::SERVICE_UNAVAILABLE.into_response(), 0.0);
        let Ok(forwarded) = forwarded.body(Full::from(request.to_string())) else {
            return unavailable();
        };
        let Ok(answer) = self.http.request(forwarded).await else {
            return unavailable();
        };
        let status = answer.status();
        let Ok(body) = answer.into_body().collect().await else {
            return unavailable();
        };
        let bytes = body.to_bytes();
        let parsed: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let failed_condition =
            parsed["__type"].as_str().is_some_and(|kind| kind.contains("ConditionalCheck"));
        // A transaction reports its units by table.
        let capacity = match &parsed["ConsumedCapacity"] {
            Value::Array(tables) => tables.first().unwrap_or(&Value::Null),
            one => one,
        };
        let used = match capacity["CapacityUnits"].as_f64() {
            Some(units) => units,
            None if failed_condition => 1.0,
            None => 0.0,
        };
        if status.is_success()
            && let Some(index) = &mut *self.index.lock().unwrap_or_else(PoisonError::into_inner)
        {
            index.note(&request, &parsed);
        }
        let bytes = match self.guard() {
            None => bytes,
            Some(guard) => changed(&bytes, |answer| guard.take_from_answer(&request, answer)),
        };
        let mut response = (status, bytes).into_response();
        let json = HeaderValue::from_static("application/x-amz-json-1.0");
        response.headers_mut().insert("content-type", json);
        (response, used)
    }
}

impl Aws {
    /// What the door answers by itself: from an index that lags, or to what is put off without a guard.
    fn answer_here(&self, instance: u64, request: &Value) -> Option<Value> {
        if let Some(name) = self.guard().and_then(|guard| guard.put_off(request)) {
            let mut put_off = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
            if put_off.insert(name) {
                return Some(Value::Object(serde_json::Map::new()));
            }
        }
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.as_mut().filter(|_| instance > 0)?.query(request)
    }
}

/// The answer of an AWS service that fails.
fn failed() -> Response {
    let body = r#"{"__type":"InternalServerError","message":"the service failed"}"#;
    let json = [("content-type", "application/x-amz-json-1.0")];
    (StatusCode::INTERNAL_SERVER_ERROR, json, body).into_response()
}

fn changed(bytes: &Bytes, change: impl FnOnce(&mut Value)) -> Bytes {
    let mut value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    change(&mut value);
    value.to_string().into()
}
