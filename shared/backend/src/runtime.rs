//! What a function is built from, and how Lambda's invocations reach it.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::LocalBoxFuture;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Request, RequestExt, Response, Service};
pub use lambda_runtime::Error;
use lambda_runtime::tower::ServiceExt;
use lambda_runtime::tower::layer::layer_fn;
use lambda_runtime::{Context, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use messenger::clock::{Clock, SharedClock, Timestamp};
use serde_json::Value;

use crate::aws::Aws;
use crate::clock::SystemClock;
use crate::secrets::Secrets;
use crate::settings::{SettingErrors, Variables};
use crate::telemetry::{Telemetry, log_panics_by_place};

/// How long a function opens its connections before the first invocation.
///
/// Lambda ends an initialisation after 10 s and begins it anew, on the time of the first invocation. A
/// single call to AWS may take 6 s, and building the function takes time as well.
pub const WARM_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// What a function is built from: one for each container.
pub struct Environment {
    /// The environment variables.
    pub variables: Variables,
    /// The clients of the AWS services.
    pub aws: Aws,
    /// The clock.
    pub clock: SharedClock,
    /// The metrics.
    pub telemetry: Telemetry,
    /// The secret named by `SECRET_ID`.
    pub secrets: Arc<Secrets>,
    /// The container's name, and no other container's.
    pub container: String,
    /// How long the function opens its connections before the first invocation.
    pub warm_up_timeout: Duration,
}

impl Environment {
    /// An environment with these variables, clock and metrics.
    pub fn new(variables: Variables, clock: SharedClock, telemetry: Telemetry) -> Self {
        let aws = Aws::new(&variables);
        let telemetry = telemetry.with(&variables);
        let secret_id = variables.required("SECRET_ID");
        let secrets = Secrets::new(aws.secrets_manager(), secret_id, Arc::clone(&clock));
        // Lambda gives each container a log stream of its own.
        let container = variables
            .optional("AWS_LAMBDA_LOG_STREAM_NAME")
            .unwrap_or_else(|| std::process::id().to_string());
        let secrets = Arc::new(secrets);
        let warm_up_timeout = WARM_UP_TIMEOUT;
        Self { variables, aws, clock, telemetry, secrets, container, warm_up_timeout }
    }

    /// Builds a function.
    ///
    /// # Errors
    /// [`SettingErrors`] lists every variable that is missing or unusable.
    pub fn build<F>(&self, new: impl FnOnce(&Self) -> F) -> Result<F, SettingErrors> {
        let function = new(self);
        self.variables.check()?;
        Ok(function)
    }
}

/// An invocation, as Lambda describes it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id, unique to the invocation.
    pub id: String,
    /// When Lambda ends the invocation.
    pub deadline: Timestamp,
}

impl From<Context> for Invocation {
    fn from(context: Context) -> Self {
        Self { id: context.request_id, deadline: deadline(context.deadline, SystemClock.now()) }
    }
}

/// When an invocation that is received at `now` ends.
///
/// Lambda gives the instant in ms since the epoch. The emulator of cargo-lambda 1.9 gives a span instead, 600,000 ms,
/// which would be an instant in 1970.
fn deadline(given: u64, now: Timestamp) -> Timestamp {
    const LONGEST_RUN: Duration = Duration::from_mins(15);
    let given = Duration::from_millis(given);
    if given <= LONGEST_RUN {
        return now + given;
    }
    Timestamp::from_millis(i64::try_from(given.as_millis()).unwrap_or(i64::MAX))
}

/// Builds this process's function from its environment.
///
/// # Errors
/// [`SettingErrors`], which is logged as well: Lambda shows only the log of a failed start.
pub fn start<F>(new: impl FnOnce(&Environment) -> F) -> Result<F, Error> {
    logged(environment().build(new))
}

/// This process's environment; from now on it logs.
pub fn environment() -> Environment {
    lambda_runtime::tracing::init_default_subscriber();
    log_panics_by_place();
    let clock: SharedClock = Arc::new(SystemClock);
    let telemetry = Telemetry::to_stdout(Arc::clone(&clock));
    Environment::new(Variables::of_process(), clock, telemetry)
}

/// Logs why the function cannot start, if it cannot: Lambda shows only the log of a failed start.
///
/// # Errors
/// The error that was logged.
pub fn logged<T, E>(built: Result<T, E>) -> Result<T, Error>
where
    E: std::error::Error + Send + Sync + 'static,
{
    built.map_err(|error| {
        tracing::error!(%error, "the function cannot start");
        error.into()
    })
}

/// Does what saves the first invocation time, for as long as `limit`: what AWS has not answered by then is
/// asked again when it is needed.
///
/// The work is boxed, because a deep nest of calls is more than the compiler lays out in one piece.
pub async fn warm_up(limit: Duration, work: LocalBoxFuture<'_, ()>) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::warn!(
            ?limit,
            "AWS was slow at the start; the first invocation opens the connections"
        );
    }
}

/// Hands batches of a queue to a function, until Lambda ends the process.
///
/// # Errors
/// If Lambda's runtime API fails.
pub async fn run_sqs(
    handle: impl AsyncFn(SqsEvent, Invocation) -> SqsBatchResponse,
) -> Result<(), Error> {
    run_sqs_until(handle, || false).await
}

/// Hands batches of a queue to a function, and ends the process once Lambda has the answer to one after
/// which it must end: Lambda then starts another.
///
/// # Errors
/// If Lambda's runtime API fails.
pub async fn run_sqs_until(
    handle: impl AsyncFn(SqsEvent, Invocation) -> SqsBatchResponse,
    must_end: impl Fn() -> bool + Clone,
) -> Result<(), Error> {
    let handle = &handle;
    let function = service_fn(async move |event: LambdaEvent<SqsEvent>| {
        let handled = Box::pin(handle(event.payload, event.context.into()));
        Ok::<_, Error>(handled.await)
    });
    // A layer runs around both the function and the posting of its answer.
    let end = layer_fn(|inner: _| {
        let must_end = must_end.clone();
        ServiceExt::<LambdaInvocation>::map_future(inner, move |answered| {
            let must_end = must_end.clone();
            async move {
                let answered = answered.await;
                if must_end() {
                    tracing::error!("the process ends, because something in it cannot be stopped");
                    // A return would wait for it.
                    std::process::exit(1);
                }
                answered
            }
        })
    });
    Runtime::new(function).layer(end).run().await
}

/// Hands JSON payloads to a function, until Lambda ends the process.
///
/// # Errors
/// If Lambda's runtime API fails.
pub async fn run_json<E: Into<Error>>(
    handle: impl AsyncFn(Value, Invocation) -> Result<Value, E>,
) -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let handled = Box::pin(handle(event.payload, event.context.into()));
        handled.await.map_err(Into::<Error>::into)
    }))
    .await
}

/// Hands HTTP requests to a function, until Lambda ends the process.
///
/// # Errors
/// If Lambda's runtime API fails.
pub async fn run_http<F>(
    handle: impl Fn(Request, Invocation) -> F + Send + Sync,
) -> Result<(), Error>
where
    F: Future<Output = Response<Body>> + Send,
{
    let handle = &handle;
    let mut adapter = Adapter::from(service_fn(move |request: Request| async move {
        let invocation = request.lambda_context().into();
        Ok::<_, Error>(Box::pin(handle(request, invocation)).await)
    }));
    lambda_runtime::run(service_fn(move |mut event: LambdaEvent<LambdaRequest>| {
        make_readable(&mut event.payload);
        adapter.call(event)
    }))
    .await
}

/// Encodes what a client should have encoded in the query.
///
/// `lambda_http` panics if it cannot make a URI of it, and whoever is not even authorized would set off an
/// alarm.
fn make_readable(request: &mut LambdaRequest) {
    let LambdaRequest::ApiGatewayV2(request) = request else { return };
    if let Some(query) = &mut request.raw_query_string
        && !query.bytes().all(may_be_in_query)
    {
        let encode = |byte| match byte {
            byte if may_be_in_query(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        *query = query.bytes().map(encode).collect();
    }
}

/// Whether a byte may be in a query as it is; `#` would end it.
fn may_be_in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>".contains(&byte)
}

/// The answer to a batch: the ids of the messages that are to be delivered again.
pub fn redeliver(ids: impl IntoIterator<Item = String>) -> SqsBatchResponse {
    let failures = ids.into_iter().map(|id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    });
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures.collect();
    response
}

/// How often a message was received, this time included.
pub fn receive_count(message: &SqsMessage) -> u32 {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use lambda_http::aws_lambda_events::query_map::QueryMap;
    use serde_json::json;

    use super::*;

    /// A request through an HTTP API, whose path comes decoded and whose query comes as it was sent.
    fn request(path: &str, query: &str) -> Request {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": {"host": "api.example", "x-forwarded-proto": "https"},
            "isBase64Encoded": false,
            "requestContext": {
                "accountId": "000000000000", "apiId": "a", "domainName": "api.example",
                "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1", "userAgent": "test"},
                "requestId": "1", "stage": "$default", "time": "22/Nov/2026:09:00:00 +0000",
                "timeEpoch": 1_795_338_000_000_i64,
            },
        });
        let mut event = serde_json::from_value(event).unwrap();
        make_readable(&mut event);
        event.into()
    }

    #[test]
    fn whatever_is_in_a_path_or_a_query_becomes_a_request() {
        for path in
            ["/people/a b", "/people/%", "/people/a?b#c", "/p/ü<>\"`{}|\\^[]", "//x", "/\u{0}"]
        {
            assert_eq!(request(path, "page_id=1").raw_http_path(), path);
        }
        for (query, value) in [
            ("q=1", "1"),
            ("q=a%20b+c%26", "a b c&"),
            ("q=<b> \"ü\"#x\u{1}", "<b> \"ü\"#x\u{1}"),
            ("q={a}|b\\^[]`~'%", "{a}|b\\^[]`~'%"),
        ] {
            let request = request("/", query);
            assert_eq!(request.query_string_parameters().first("q"), Some(value), "{query}");
            let query = request.uri().query().unwrap();
            let parsed = query.parse::<QueryMap>().unwrap();
            assert_eq!(parsed.first("q"), Some(value), "{query}");
        }
    }

    #[test]
    fn a_deadline_is_an_instant_and_a_short_one_is_a_span() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        for (given, expected) in [
            (1_795_000_030_000, 1_795_000_030_000),
            (1_794_999_999_000, 1_794_999_999_000),
            (600_000, 1_795_000_600_000),
            (u64::MAX, i64::MAX),
        ] {
            assert_eq!(deadline(given, now), Timestamp::from_millis(expected));
        }
    }
}
