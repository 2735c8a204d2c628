//! A bot in any language, behind a URL: each turn is one signed POST, and its answer the decision.

mod wire;

use std::sync::Arc;
use std::time::Duration;

use lambda_http::http::header::{CONTENT_TYPE, RETRY_AFTER};
use messenger::bot::{Bot, BotError, Gather, Trouble, Turn};
use messenger::clock::SharedClock;
use messenger::decision::Decision;
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

pub use wire::{ReplyDecision, ReplyTurn, schemas};

use crate::forward::{PublicOnly, check};
use crate::http::client_resolving_by;
use crate::outside::BOT_SETTINGS;
use crate::runtime::Environment;
use crate::secrets::Secrets;
use crate::signature::{FORWARD_SIGNATURE_HEADER, sign_forward};

/// The variable with the bot's URL.
pub const REPLY_URL: &str = "REPLY_URL";

/// The maximum size of an answer, in bytes.
const LARGEST_ANSWER: usize = 256 * 1024;

/// The longest time that a turn may take, whatever time the bot has.
const LONGEST_TURN: Duration = Duration::from_mins(1);

/// What failed, in logs and metrics.
const LABEL: &str = "reply_url";

/// A bot behind a URL.
#[derive(Debug)]
pub struct HttpBot {
    url: Url,
    http: Client,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    fallback: Option<Decision>,
    gather: Gather,
}

impl HttpBot {
    /// Reads `REPLY_URL`, `REPLY_ALLOW_LOCAL` and, in `BOT_SETTINGS`, `fallback_decision` and `gather_seconds`; nothing
    /// if there is no URL.
    pub fn new(environment: &Environment) -> Option<Self> {
        let variables = &environment.variables;
        let allow_local = variables.parsed_or("REPLY_ALLOW_LOCAL", false);
        let text = variables.optional(REPLY_URL)?;
        let url = match check(text.trim(), allow_local) {
            Ok(url) => url,
            Err(problem) => {
                variables.reject(REPLY_URL, problem);
                return None;
            }
        };
        let settings = variables.optional(BOT_SETTINGS);
        let settings: Option<Value> = settings.and_then(|text| serde_json::from_str(&text).ok());
        let fallback = settings.as_ref().and_then(|settings| settings.get("fallback_decision"));
        let fallback = fallback.map(wire::decision).transpose().unwrap_or_else(|invalid| {
            variables.reject(BOT_SETTINGS, format!("fallback_decision: {invalid}"));
            None
        });
        let gather = settings.as_ref().and_then(|settings| settings.get("gather_seconds"));
        let gather = match gather.map(|seconds| seconds.as_u64().filter(|it| *it <= 10)) {
            None => Gather::Off,
            Some(Some(0)) => Gather::Waiting,
            Some(Some(seconds)) => Gather::For(Duration::from_secs(seconds)),
            Some(None) => {
                variables
                    .reject(BOT_SETTINGS, "gather_seconds must be a whole number from 0 to 10");
                Gather::Off
            }
        };
        Some(Self {
            url,
            http: client_resolving_by(LONGEST_TURN, PublicOnly { allow_local }),
            secrets: Arc::clone(&environment.secrets),
            clock: Arc::clone(&environment.clock),
            fallback,
            gather,
        })
    }

    async fn post(&self, turn: &Turn<Value>) -> Result<reqwest::Response, BotError> {
        let secret = self.secrets.current().await.map_err(|_| BotError::temporary("the secret"))?;
        let key = secret.reply_secret().map_err(|_| BotError::temporary("reply_secret"))?;
        let wanted = ReplyTurn::new(turn, self.clock.now());
        let body = serde_json::to_vec(&wanted).map_err(|_| BotError::Failed(LABEL))?;
        let request = self
            .http
            .post(self.url.clone())
            .timeout(turn.time_left().min(LONGEST_TURN))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", wanted.key)
            .header(FORWARD_SIGNATURE_HEADER, sign_forward(&body, key, self.clock.now()))
            .body(body);
        request.send().await.map_err(|_| BotError::temporary(LABEL))
    }
}

impl Bot for HttpBot {
    type State = Value;

    async fn decide(&self, turn: &Turn<Value>) -> Result<Decision, BotError> {
        let answer = self.post(turn).await?;
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let pause = seconds.and_then(|value| value.parse().ok()).map(Duration::from_secs);
            return Err(BotError::Temporary { label: LABEL, pause });
        }
        match status {
            StatusCode::NO_CONTENT => Ok(Decision::nothing()),
            StatusCode::OK => {
                let body = read(answer).await?;
                let value =
                    serde_json::from_slice(&body).map_err(|_| BotError::Failed("no JSON"))?;
                Ok(wire::decision(&value)?)
            }
            _ => Err(BotError::Failed(LABEL)),
        }
    }

    fn give_up(&self, _: &Turn<Value>, _: &Trouble) -> Option<Decision> {
        self.fallback.clone()
    }

    fn gather(&self) -> Gather {
        self.gather
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, BotError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| BotError::temporary(LABEL))? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(BotError::Failed("the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
