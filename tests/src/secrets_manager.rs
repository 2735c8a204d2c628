//! AWS Secrets Manager, as far as reading secrets goes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const ARN_PREFIX: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:";
const CURRENT: &str = "AWSCURRENT";

/// Nobody decides anything by a secret's age, so it needs no clock.
const CREATED_AT_S: i64 = 1_700_000_000;

/// Secrets by name, shared by all clones.
#[derive(Clone, Default)]
pub struct SecretsManager {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    secrets: HashMap<String, Version>,
    down: bool,
    calls: u64,
}

struct Version {
    number: u64,
    id: String,
    secret_string: String,
}

impl SecretsManager {
    /// Creates a service without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this the current version of a secret, creating it if need be, and returns the
    /// version's id.
    ///
    /// `id` is the secret's name or full ARN. Every call makes a new version, also of the same
    /// content. The same calls make the same ids in every run, as a deployed secret keeps its
    /// version while whatever reads it is restarted.
    pub fn put(&self, id: &str, secret_string: &str) -> String {
        let name = name_of(id);
        let mut state = self.state();
        let number = state.secrets.get(name).map_or(1, |last| last.number + 1);
        let version_id = version_id(name, number, secret_string);
        let version =
            Version { number, id: version_id.clone(), secret_string: secret_string.to_owned() };
        state.secrets.insert(name.to_owned(), version);
        version_id
    }

    /// Answers every call with 503, until switched back.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// How often it was called over HTTP, failed calls included.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Answers one HTTP request: the value of its `X-Amz-Target` header and its body.
    #[expect(clippy::unused_async, reason = "called like every service behind the same server")]
    pub async fn handle(&self, target: &str, body: &[u8]) -> Response {
        answer(self.perform(target, body))
    }

    fn perform(&self, target: &str, body: &[u8]) -> Result<Value, Refusal> {
        let mut state = self.state();
        state.calls += 1;
        if state.down {
            return Err(Refusal::UNAVAILABLE);
        }
        if target != "secretsmanager.GetSecretValue" {
            return Err(Refusal::UNKNOWN_OPERATION);
        }
        let request: GetSecretValue =
            serde_json::from_slice(body).map_err(|_| Refusal::MALFORMED)?;
        let name = name_of(&request.secret_id);
        let version = state.secrets.get(name).ok_or(Refusal::NO_SUCH_SECRET)?;
        if !request.means(version) {
            return Err(Refusal::NO_SUCH_VERSION);
        }
        Ok(json!({
            "ARN": arn(name),
            "Name": name,
            "VersionId": version.id,
            "SecretString": version.secret_string,
            "VersionStages": [CURRENT],
            "CreatedDate": CREATED_AT_S,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

impl GetSecretValue {
    /// Only current versions are kept.
    fn means(&self, version: &Version) -> bool {
        self.version_id.as_ref().is_none_or(|id| *id == version.id)
            && self.version_stage.as_ref().is_none_or(|stage| stage == CURRENT)
    }
}

struct Refusal {
    status: StatusCode,
    shape: &'static str,
    message: &'static str,
}

impl Refusal {
    const UNAVAILABLE: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        shape: "ServiceUnavailable",
        message: "The service is unavailable. Please try again.",
    };
    const UNKNOWN_OPERATION: Self =
        Self::client("UnknownOperationException", "The operation is unknown or not simulated.");
    const MALFORMED: Self = Self::client("SerializationException", "The request cannot be read.");
    const NO_SUCH_SECRET: Self = Self::client(
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret.",
    );
    const NO_SUCH_VERSION: Self = Self::client(
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value.",
    );

    const fn client(shape: &'static str, message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, shape, message }
    }
}

fn answer(result: Result<Value, Refusal>) -> Response {
    let (status, content) = match result {
        Ok(content) => (StatusCode::OK, content),
        Err(Refusal { status, shape, message }) => {
            (status, json!({ "__type": shape, "Message": message }))
        }
    };
    let content_type = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
    (status, content_type, content.to_string()).into_response()
}

/// The name in a name or a full ARN, whose last six characters are random.
fn name_of(id: &str) -> &str {
    id.split_once(":secret:")
        .and_then(|(_, tail)| tail.rsplit_once('-'))
        .filter(|(_, random)| random.len() == 6)
        .map_or(id, |(name, _)| name)
}

fn arn(name: &str) -> String {
    format!("{ARN_PREFIX}{name}-{}", &digest(&[name])[..6])
}

fn version_id(name: &str, number: u64, secret_string: &str) -> String {
    let hex = digest(&[name, &number.to_string(), secret_string]);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

fn digest(parts: &[&str]) -> String {
    let digest = Sha256::digest(json!(parts).to_string());
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use aws_sdk_secretsmanager::Client;
    use aws_sdk_secretsmanager::config::retry::RetryConfig;
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
    use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
    use axum::Router;
    use axum::body::{Bytes, to_bytes};
    use axum::http::HeaderMap;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;

    async fn served() -> (SecretsManager, Client) {
        let secrets = SecretsManager::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = secrets.clone();
        let app = Router::new().route(
            "/",
            post(async move |headers: HeaderMap, body: Bytes| {
                let target = headers["x-amz-target"].to_str().unwrap();
                service.handle(target, &body).await
            }),
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://{address}"))
            .build();
        (secrets, Client::from_conf(config))
    }

    #[tokio::test]
    async fn the_current_version_is_read_by_name_and_by_arn() {
        let (secrets, client) = served().await;
        let version = secrets.put("shop/messenger-page", r#"{"app_secret":"ä"}"#);

        let by_name = client.get_secret_value().secret_id("shop/messenger-page");
        let by_name = by_name.send().await.unwrap();
        assert_eq!(by_name.secret_string(), Some(r#"{"app_secret":"ä"}"#));
        assert_eq!(by_name.name(), Some("shop/messenger-page"));
        assert_eq!(by_name.version_id(), Some(&*version));
        assert_eq!(by_name.version_stages(), ["AWSCURRENT"]);
        assert_eq!(by_name.created_date().unwrap().secs(), CREATED_AT_S);

        let arn = by_name.arn().unwrap();
        assert!(arn.starts_with("arn:aws:secretsmanager:"), "{arn}");
        let by_arn = client.get_secret_value().secret_id(arn);
        assert_eq!(by_arn.send().await.unwrap(), by_name);
    }

    #[tokio::test]
    async fn every_put_makes_a_new_version() {
        let (secrets, client) = served().await;
        let first = secrets.put("page", "one");
        let second = secrets.put("page", "two");
        let third = secrets.put("page", "two");
        assert_ne!(first, second);
        assert_ne!(second, third);

        let read = client.get_secret_value().secret_id("page");
        let read = read.send().await.unwrap();
        assert_eq!(read.secret_string(), Some("two"));
        assert_eq!(read.version_id(), Some(&*third));

        secrets.put(read.arn().unwrap(), "three");
        let read = client.get_secret_value().secret_id("page");
        assert_eq!(read.send().await.unwrap().secret_string(), Some("three"));
    }

    #[test]
    fn a_restarted_service_gives_the_same_secret_the_same_version() {
        let version = |content| SecretsManager::new().put("page", content);
        assert_eq!(version("one"), version("one"));
        assert_ne!(version("one"), version("two"));
        assert_ne!(
            SecretsManager::new().put("page", "one"),
            SecretsManager::new().put("other page", "one"),
        );
    }

    #[tokio::test]
    async fn only_what_is_there_is_found() {
        let (secrets, client) = served().await;
        let old = secrets.put("page", "one");
        let current = secrets.put("page", "two");
        let read = || client.get_secret_value();

        let requests = [
            read().secret_id("pag"),
            read().secret_id("page-abcdef"),
            read().secret_id("page").version_id(old),
            read().secret_id("page").version_stage("AWSPREVIOUS"),
        ];
        for request in requests {
            let error = request.send().await.unwrap_err().into_service_error();
            assert!(error.is_resource_not_found_exception(), "{error:?}");
            assert!(error.message().is_some_and(|m| m.contains("can't find")));
        }

        let current = read().secret_id("page").version_id(current).version_stage("AWSCURRENT");
        assert_eq!(current.send().await.unwrap().secret_string(), Some("two"));
    }

    #[tokio::test]
    async fn while_it_is_down_every_call_fails_and_counts() {
        let (secrets, client) = served().await;
        secrets.put("page", "one");
        let read = async || client.get_secret_value().secret_id("page").send().await;

        assert_eq!(secrets.calls(), 0);
        secrets.set_down(true);
        for _ in 0..2 {
            let error = read().await.unwrap_err();
            assert!(
                matches!(&error, SdkError::ServiceError(e) if e.raw().status().as_u16() == 503),
                "{error:?}"
            );
        }
        secrets.set_down(false);
        assert_eq!(read().await.unwrap().secret_string(), Some("one"));
        assert_eq!(secrets.calls(), 3);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused() {
        let secrets = SecretsManager::new();
        let cases = [
            ("secretsmanager.GetSecretValue", "{", "SerializationException"),
            ("secretsmanager.GetSecretValue", "{}", "SerializationException"),
            ("secretsmanager.ListSecrets", "{}", "UnknownOperationException"),
        ];
        for (target, body, shape) in cases {
            let response = secrets.handle(target, body.as_bytes()).await;
            assert_eq!(response.status(), 400);
            let content_type = &response.headers()["content-type"];
            assert_eq!(content_type, "application/x-amz-json-1.1");
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["__type"], shape);
        }
    }
}
