//! What a bot reaches outside of the platform: its services over HTTPS, its part of the secret.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use messenger::bot::{NoAnswer, Outside, Pending, Setup};
use reqwest::Client;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;

use crate::http;
use crate::runtime::Environment;
use crate::secrets::Secrets;

/// The bot's settings, as JSON.
pub const BOT_SETTINGS: &str = "BOT_SETTINGS";

/// The maximum size of an answer, in bytes.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// The longest time that a request may take, whatever time the bot has.
const LONGEST_CALL: Duration = Duration::from_mins(1);

/// The world outside of the platform.
#[derive(Debug)]
pub struct World {
    secrets: Arc<Secrets>,
    /// Built with the first call: a bot that calls nothing does not pay for it.
    client: OnceLock<Client>,
}

/// What the bot is built from: the settings in `BOT_SETTINGS`, and the world outside.
pub fn setup(environment: &Environment) -> Setup {
    let variables = &environment.variables;
    let settings =
        variables.optional(BOT_SETTINGS).map(|text| serde_json::from_str::<Value>(&text));
    let settings = match settings.transpose() {
        Ok(None) => Value::Null,
        Ok(Some(settings)) if settings.is_object() => settings,
        Ok(Some(_)) => {
            variables.reject(BOT_SETTINGS, "must be a JSON object");
            Value::Null
        }
        Err(error) => {
            variables.reject(BOT_SETTINGS, format!("is not JSON: {error}"));
            Value::Null
        }
    };
    Setup::new(settings, outside(environment))
}

/// The world outside, for a bot's turns.
pub fn outside(environment: &Environment) -> Arc<dyn Outside> {
    Arc::new(World { secrets: Arc::clone(&environment.secrets), client: OnceLock::new() })
}

impl Outside for World {
    fn call<'a>(
        &'a self,
        _: &'static str,
        request: lambda_http::http::Request<Vec<u8>>,
        limit: Duration,
    ) -> Pending<'a, Result<lambda_http::http::Response<Vec<u8>>, NoAnswer>> {
        let client = self.client.get_or_init(|| http::client(LONGEST_CALL));
        Box::pin(ask(client, request, limit))
    }

    fn secret<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<SecretString>, NoAnswer>> {
        Box::pin(async move {
            let secret = self.secrets.current().await.map_err(|_| NoAnswer::Lost)?;
            Ok(secret.of_bot(name).cloned())
        })
    }
}

async fn ask(
    client: &Client,
    request: lambda_http::http::Request<Vec<u8>>,
    limit: Duration,
) -> Result<lambda_http::http::Response<Vec<u8>>, NoAnswer> {
    let (head, body) = request.into_parts();
    let sent = client.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
    let mut answer = sent.timeout(limit.min(LONGEST_CALL)).send().await.map_err(|error| {
        if error.is_connect() { NoAnswer::NotConnected } else { NoAnswer::Lost }
    })?;
    let (status, headers) = (answer.status(), std::mem::take::<HeaderMap>(answer.headers_mut()));
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| NoAnswer::Lost)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(NoAnswer::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = lambda_http::http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
