//! AWS Secrets Manager, reduced to reading and writing the current version of a secret.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

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

    /// Makes this the current version of a secret, creating it if needed, and returns the version's
    /// id.
    ///
    /// Every call makes a new version, even of the same content. The same calls make the same ids in
    /// every run, as a deployed secret keeps its version while its readers are restarted.
    pub fn put(&self, name: &str, secret_string: &str) -> String {
        let mut state = self.state();
        let number = state.secrets.get(name).map_or(1, |last| last.number + 1);
        let digest = Sha256::digest(json!([name, number, secret_string]).to_string());
        let id = hex::encode(&digest[..16]);
        let version = Version { number, id: id.clone(), secret_string: secret_string.to_owned() };
        state.secrets.insert(name.to_owned(), version);
        id
    }

    /// Whether every call is answered with 503.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// How often it was called over HTTP, failed calls included.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Answers one HTTP request, given its `X-Amz-Target` header and its body.
    #[expect(clippy::unused_async, reason = "called like every service behind the same server")]
    pub async fn handle(&self, target: &str, body: &[u8]) -> Response {
        let (status, content) = self.perform(target, body).unwrap_or_else(|(status, error)| {
            (status, json!({ "__type": error, "Message": "The call failed." }))
        });
        let content_type = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
        (status, content_type, content.to_string()).into_response()
    }

    fn perform(
        &self,
        target: &str,
        body: &[u8],
    ) -> Result<(StatusCode, Value), (StatusCode, &'static str)> {
        let refused = |error| (StatusCode::BAD_REQUEST, error);
        let mut state = self.state();
        state.calls += 1;
        if state.down {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
        }
        let request: GetSecretValue =
            serde_json::from_slice(body).map_err(|_| refused("SerializationException"))?;
        if target != "secretsmanager.GetSecretValue" {
            return Err(refused("UnknownOperationException"));
        }
        let name = request.secret_id;
        let version = state.secrets.get(&name).ok_or(refused("ResourceNotFoundException"))?;
        Ok((
            StatusCode::OK,
            json!({
                "Name": name,
                "VersionId": version.id,
                "SecretString": version.secret_string,
            }),
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Other parameters are not simulated, and refused.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetSecretValue {
    secret_id: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const READ: &str = "secretsmanager.GetSecretValue";

    fn read(secrets: &SecretsManager, name: &str) -> Result<Value, (StatusCode, &'static str)> {
        let body = json!({ "SecretId": name }).to_string();
        secrets.perform(READ, body.as_bytes()).map(|(_, content)| content)
    }

    #[test]
    fn every_put_makes_a_new_version_and_the_current_one_is_read() {
        let secrets = SecretsManager::new();
        let versions = ["one", "two", "two"].map(|content| secrets.put("page", content));
        assert!(versions[0] != versions[1] && versions[1] != versions[2]);
        let content = read(&secrets, "page").unwrap();
        assert_eq!(content["SecretString"], "two");
        assert_eq!(content["VersionId"], *versions[2]);
        assert_eq!(read(&secrets, "other").unwrap_err().1, "ResourceNotFoundException");
    }

    #[test]
    fn a_restarted_service_gives_the_same_secret_the_same_version() {
        let version = |name, content| SecretsManager::new().put(name, content);
        assert_eq!(version("page", "one"), version("page", "one"));
        assert_ne!(version("page", "one"), version("page", "two"));
        assert_ne!(version("page", "one"), version("other page", "one"));
    }

    #[test]
    fn while_it_is_down_every_call_fails_and_counts() {
        let secrets = SecretsManager::new();
        secrets.put("page", "one");
        secrets.set_down(true);
        assert_eq!(read(&secrets, "page").unwrap_err().0, 503);
        secrets.set_down(false);
        assert!(read(&secrets, "page").is_ok());
        assert_eq!(secrets.calls(), 2);
    }

    #[test]
    fn what_is_not_simulated_is_refused() {
        let secrets = SecretsManager::new();
        let refused = |target, body: &str| secrets.perform(target, body.as_bytes()).unwrap_err();
        let previous = r#"{"SecretId":"page","VersionStage":"AWSPREVIOUS"}"#;
        assert_eq!(refused(READ, previous), (StatusCode::BAD_REQUEST, "SerializationException"));
        let list = refused("secretsmanager.PutSecretValue", r#"{"SecretId":"page"}"#);
        assert_eq!(list, (StatusCode::BAD_REQUEST, "UnknownOperationException"));
    }
}
