//! AWS Secrets Manager, reduced to reading the current version of a secret, and to writing another one.

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
    /// Versions that are not the current one, by secret and id.
    others: HashMap<(String, String), String>,
    /// What somebody else makes the current version before the next label is moved.
    interjected: Vec<(String, String)>,
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
        self.state().put(name, secret_string)
    }
}

impl State {
    fn put(&mut self, name: &str, secret_string: &str) -> String {
        let number = self.secrets.get(name).map_or(1, |last| last.number + 1);
        let digest = Sha256::digest(json!([name, number, secret_string]).to_string());
        let id = hex::encode(&digest[..16]);
        let version = Version { number, id: id.clone(), secret_string: secret_string.to_owned() };
        self.secrets.insert(name.to_owned(), version);
        id
    }

    fn get_secret_value(&self, body: &[u8]) -> Performed {
        let request: GetSecretValue = read(body)?;
        let name = request.secret_id;
        let version = self.secrets.get(&name).ok_or(refused("ResourceNotFoundException"))?;
        Ok((
            StatusCode::OK,
            json!({
                "Name": name,
                "VersionId": version.id,
                "SecretString": version.secret_string,
            }),
        ))
    }

    /// Stores a version under a label of its own; the current one stays.
    fn put_secret_value(&mut self, body: &[u8]) -> Performed {
        let request: PutSecretValue = read(body)?;
        let (name, id) = (request.secret_id, request.client_request_token);
        if !self.secrets.contains_key(&name) {
            return Err(refused("ResourceNotFoundException"));
        }
        if request.version_stages.is_empty()
            || request.version_stages.iter().any(|it| it == CURRENT)
        {
            return Err(refused("SerializationException"));
        }
        self.others.insert((name.clone(), id.clone()), request.secret_string);
        Ok((
            StatusCode::OK,
            json!({"Name": name, "VersionId": id, "VersionStages": request.version_stages}),
        ))
    }

    /// Makes a version the current one, if that is the one that is named.
    ///
    /// Source: the API reference of AWS Secrets Manager, `UpdateSecretVersionStage`.
    fn update_secret_version_stage(&mut self, body: &[u8]) -> Performed {
        let request: UpdateSecretVersionStage = read(body)?;
        if !self.interjected.is_empty() {
            let (name, secret_string) = self.interjected.remove(0);
            self.put(&name, &secret_string);
        }
        let name = request.secret_id;
        let current = self.secrets.get(&name).ok_or(refused("ResourceNotFoundException"))?;
        if request.version_stage != CURRENT || request.remove_from_version_id != current.id {
            return Err(refused("InvalidParameterException"));
        }
        let number = current.number + 1;
        let id = request.move_to_version_id;
        let moved = self.others.remove(&(name.clone(), id.clone()));
        let secret_string = moved.ok_or(refused("ResourceNotFoundException"))?;
        self.secrets.insert(name.clone(), Version { number, id, secret_string });
        Ok((StatusCode::OK, json!({"Name": name})))
    }
}

/// The staging label of the current version.
const CURRENT: &str = "AWSCURRENT";

/// Status and content of an answer, or status and code of an error.
type Performed = Result<(StatusCode, Value), (StatusCode, &'static str)>;

fn refused(error: &'static str) -> (StatusCode, &'static str) {
    (StatusCode::BAD_REQUEST, error)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, (StatusCode, &'static str)> {
    serde_json::from_slice(body).map_err(|_| refused("SerializationException"))
}

impl SecretsManager {
    /// Lets somebody else put this just before the next move of a label, once for each call.
    pub fn interject(&self, name: &str, secret_string: &str) {
        self.state().interjected.push((name.to_owned(), secret_string.to_owned()));
    }

    /// The current version of a secret.
    pub fn current(&self, name: &str) -> Option<String> {
        self.state().secrets.get(name).map(|version| version.secret_string.clone())
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

    fn perform(&self, target: &str, body: &[u8]) -> Performed {
        let mut state = self.state();
        state.calls += 1;
        if state.down {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
        }
        match target.strip_prefix("secretsmanager.") {
            Some("GetSecretValue") => state.get_secret_value(body),
            Some("PutSecretValue") => state.put_secret_value(body),
            Some("UpdateSecretVersionStage") => state.update_secret_version_stage(body),
            _ => Err(refused("UnknownOperationException")),
        }
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutSecretValue {
    secret_id: String,
    client_request_token: String,
    secret_string: String,
    #[serde(default)]
    version_stages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateSecretVersionStage {
    secret_id: String,
    version_stage: String,
    move_to_version_id: String,
    remove_from_version_id: String,
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
    fn a_label_moves_only_from_the_version_that_is_named() {
        let secrets = SecretsManager::new();
        let first = secrets.put("page", "one");
        let put = json!({"SecretId": "page", "ClientRequestToken": "2", "SecretString": "two",
            "VersionStages": ["NEXT"]});
        let put = put.to_string();
        secrets.perform("secretsmanager.PutSecretValue", put.as_bytes()).unwrap();
        assert_eq!(read(&secrets, "page").unwrap()["SecretString"], "one");
        for (from, text) in [("another", "one"), (first.as_str(), "two")] {
            let body = json!({"SecretId": "page", "VersionStage": "AWSCURRENT",
                "MoveToVersionId": "2", "RemoveFromVersionId": from});
            let moved = secrets
                .perform("secretsmanager.UpdateSecretVersionStage", body.to_string().as_bytes());
            assert_eq!(moved.is_ok(), text == "two", "{moved:?}");
            assert_eq!(read(&secrets, "page").unwrap()["SecretString"], text);
        }
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
        let list = refused("secretsmanager.ListSecrets", r#"{"SecretId":"page"}"#);
        assert_eq!(list, (StatusCode::BAD_REQUEST, "UnknownOperationException"));
    }
}
