//! Services that a bot calls over HTTP.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BotError, Turn};

/// Work of something outside, which stays on the thread of whoever waits for it.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Why a service gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It was not reached, so it has done nothing.
    #[error("it could not be reached")]
    NotConnected,
    /// It may have done something.
    #[error("it did not answer in time, or its answer was cut off")]
    Lost,
    /// Its answer has more than 1 MiB.
    #[error("its answer is too large")]
    TooLarge,
}

/// What is outside of the platform: services, and the bot's part of the secret.
pub trait Outside: Send + Sync {
    /// Sends a request to the service of this name, once, and reads an answer of at most 1 MiB.
    fn call<'a>(
        &'a self,
        service: &'static str,
        request: Request<Vec<u8>>,
        limit: Duration,
    ) -> Pending<'a, Result<Response<Vec<u8>>, NoAnswer>>;

    /// A text of the part `bot` of the secret; nothing if it is absent or empty.
    fn secret<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<SecretString>, NoAnswer>>;
}

impl fmt::Debug for dyn Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the world outside")
    }
}

/// A world in which nothing can be reached.
impl Outside for () {
    fn call<'a>(
        &'a self,
        _: &'static str,
        _: Request<Vec<u8>>,
        _: Duration,
    ) -> Pending<'a, Result<Response<Vec<u8>>, NoAnswer>> {
        Box::pin(std::future::ready(Err(NoAnswer::NotConnected)))
    }

    fn secret<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Option<SecretString>, NoAnswer>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A service that the bot's settings name.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) name: &'static str,
    /// Its address, without a slash at the end.
    pub(super) url: String,
    /// The name of its key in the part `bot` of the secret.
    pub(super) key: String,
    /// The header that the key goes into as it is; without one it is a bearer token.
    pub(super) key_header: Option<HeaderName>,
}

impl Service {
    /// A call that reads something; `path` is appended to the service's address and begins with a slash.
    pub fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// A call that changes something, with an idempotency key.
    pub fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path)
    }

    /// A call with another method.
    pub fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        let request = Request::builder().method(method);
        Call { service: self, path: path.into(), request, body: Vec::new() }
    }
}

/// A call of a service, not yet made.
pub struct Call<'a> {
    service: &'a Service,
    path: String,
    request: http::request::Builder,
    body: Vec<u8>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("service", &self.service.name).finish_non_exhaustive()
    }
}

impl Call<'_> {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends a value as JSON.
    ///
    /// # Errors
    /// [`BotError::Failed`] if it cannot be serialized.
    pub fn json(mut self, body: &impl Serialize) -> Result<Self, BotError> {
        self.body = serde_json::to_vec(body).map_err(|_| BotError::Failed(self.service.name))?;
        self.request = self.request.header(CONTENT_TYPE, "application/json");
        Ok(self)
    }

    /// Makes the call, and reads the JSON of a successful answer.
    ///
    /// # Errors
    /// As [`Self::response`] has them; [`BotError::Failed`] for any other status that is no success, and for an answer
    /// of another form.
    pub async fn send<T: DeserializeOwned, S>(self, turn: &Turn<S>) -> Result<T, BotError> {
        let failed = BotError::Failed(self.service.name);
        self.find(turn).await?.ok_or(failed)
    }

    /// Makes the call, and reads the JSON of a successful answer; nothing if there is no such thing (404).
    ///
    /// # Errors
    /// As [`Self::send`] has them.
    pub async fn find<T: DeserializeOwned, S>(self, turn: &Turn<S>) -> Result<Option<T>, BotError> {
        let failed = BotError::Failed(self.service.name);
        let response = self.response(turn).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                serde_json::from_slice(response.body()).map(Some).map_err(|_| failed)
            }
            _ => Err(failed),
        }
    }

    /// Makes the call, and returns its answer, whatever its status but 429 and 5xx.
    ///
    /// A service that cannot be reached is tried a second time. No redirect is followed.
    ///
    /// # Errors
    /// [`BotError::Temporary`] if it does not answer while the bot has time, or with 429 or 5xx, then with the pause
    /// that it asks for in seconds; [`BotError::Failed`] if the call cannot be made, or its answer is too large. The
    /// label is the service's name.
    pub async fn response<S>(self, turn: &Turn<S>) -> Result<Response<Vec<u8>>, BotError> {
        let name = self.service.name;
        let request = self.request(turn).await?;
        let outside = turn.outside();
        let mut answer = outside.call(name, request.clone(), turn.time_left()).await;
        if answer.as_ref().is_err_and(|error| *error == NoAnswer::NotConnected) {
            answer = outside.call(name, request, turn.time_left()).await;
        }
        let response = answer.map_err(|error| match error {
            NoAnswer::NotConnected | NoAnswer::Lost => BotError::temporary(name),
            NoAnswer::TooLarge => BotError::Failed(name),
        })?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
            let pause = seconds.and_then(|it| it.parse().ok()).map(Duration::from_secs);
            return Err(BotError::Temporary { label: name, pause });
        }
        Ok(response)
    }

    async fn request<S>(self, turn: &Turn<S>) -> Result<Request<Vec<u8>>, BotError> {
        let Self { service, path, request, body } = self;
        let failed = |_| BotError::Failed(service.name);
        let mut request = request
            .uri(format!("{}{path}", service.url))
            .header("traceparent", turn.trace_parent())
            .body(body)
            .map_err(failed)?;
        let method = request.method().clone();
        let headers = request.headers_mut();
        if !method.is_safe() && !headers.contains_key(IDEMPOTENCY_KEY) {
            let key = turn.key_of_call(&format!("{} {method} {path}", service.name));
            headers
                .insert(IDEMPOTENCY_KEY, key.parse().map_err(|_| BotError::Failed(service.name))?);
        }
        let key = turn.outside().secret(&service.key).await;
        if let Some(key) = key.map_err(|_| BotError::temporary("the secret"))? {
            let (header, value) = match &service.key_header {
                Some(header) => (header.clone(), key.expose_secret().to_owned()),
                None => (AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
            };
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| BotError::Failed("the secret"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        Ok(request)
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
