//! HTTP to Meta's Graph API: token, proof, errors.

mod fault;
mod usage;

use std::time::Duration;

use reqwest::header::DATE;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;

pub use fault::{Fault, GraphError, Scope};
pub use usage::Usage;

use crate::http;
use crate::secrets::Login;
use crate::settings::Variables;
use crate::signature::appsecret_proof;
use messenger::clock::Timestamp;

/// The total timeout of a call; a step is not begun with less time left.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer of Graph.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body, as JSON.
    pub body: Value,
    /// The rate limits that have been reached.
    pub usage: Usage,
    /// The answer's `Date`, which has a resolution of one second.
    pub date: Option<Timestamp>,
}

/// Settings of the Graph client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSettings {
    /// The base URL.
    pub base_url: Url,
    /// The base URL for accounts that were connected through Instagram Login.
    pub instagram_base_url: Url,
    /// The version, such as `v25.0`.
    pub version: String,
    /// Sends the token as a query parameter instead of a header.
    pub token_in_query: bool,
    /// The total timeout of a call.
    pub timeout: Duration,
}

impl GraphSettings {
    /// Reads `GRAPH_BASE_URL`, `GRAPH_INSTAGRAM_BASE_URL`, `GRAPH_VERSION` and `GRAPH_TOKEN_IN_QUERY`.
    pub fn new(variables: &Variables) -> Self {
        let url = |name, default| {
            let url = variables.optional(name).map(|text| base_url(&text));
            let url = url.transpose().map_err(|problem| variables.reject(name, problem));
            url.ok().flatten().unwrap_or_else(|| meta(default))
        };
        let version = variables.parsed_or("GRAPH_VERSION", "v25.0".to_owned());
        let digits = version.strip_prefix('v').unwrap_or_default();
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
            variables.reject("GRAPH_VERSION", "must be of the form v25.0");
        }
        let token_in_query = variables.parsed_or("GRAPH_TOKEN_IN_QUERY", false);
        Self {
            base_url: url("GRAPH_BASE_URL", "https://graph.facebook.com"),
            instagram_base_url: url("GRAPH_INSTAGRAM_BASE_URL", "https://graph.instagram.com"),
            version,
            token_in_query,
            timeout: CALL_TIMEOUT,
        }
    }
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "is not a valid URL")?;
    if url.scheme() != "https" && !matches!(url.host_str(), Some("127.0.0.1" | "localhost")) {
        return Err("must be https: it gets access tokens");
    }
    Ok(url)
}

fn meta(url: &str) -> Url {
    #[expect(clippy::expect_used, reason = "the address is a part of the program")]
    Url::parse(url).expect("it is a valid URL")
}

/// The credentials of a call.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The access token.
    pub token: &'a SecretString,
    /// The secret of the app that the token belongs to; without it, the call carries no
    /// `appsecret_proof`.
    pub app_secret: Option<&'a SecretString>,
}

/// A client of the Graph API that never retries.
#[derive(Clone, Debug)]
pub struct Graph {
    http: reqwest::Client,
    settings: GraphSettings,
}

impl Graph {
    /// Builds the client; no connection is made yet.
    pub fn new(settings: GraphSettings) -> Self {
        Self { http: http::client(settings.timeout), settings }
    }

    /// The settings of the client.
    pub fn settings(&self) -> &GraphSettings {
        &self.settings
    }

    /// The client for the host of accounts that were connected in this way.
    #[must_use]
    pub fn of(&self, login: Login) -> Self {
        let mut graph = self.clone();
        if login == Login::Instagram {
            graph.settings.base_url = graph.settings.instagram_base_url.clone();
        }
        graph
    }

    /// The client for paths without a version.
    #[must_use]
    pub fn unversioned(mut self) -> Self {
        self.settings.version.clear();
        self
    }

    /// Gets `/{version}/{path}`; the parameters become part of the URL and must not be secret.
    pub async fn get(
        &self,
        path: &[&str],
        access: Access<'_>,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, GraphError> {
        let request = self.request(Method::GET, path, access)?;
        self.send(request.query(parameters)).await
    }

    /// Posts JSON to `/{version}/{path}`.
    pub async fn post(
        &self,
        path: &[&str],
        access: Access<'_>,
        body: &impl Serialize,
    ) -> Result<Answer, GraphError> {
        let request = self.request(Method::POST, path, access)?;
        self.send(request.json(body)).await
    }

    /// Posts JSON to `/{version}/{path}`, and waits this long for the answer.
    pub async fn post_within(
        &self,
        timeout: Duration,
        path: &[&str],
        access: Access<'_>,
        body: &impl Serialize,
    ) -> Result<Answer, GraphError> {
        let request = self.request(Method::POST, path, access)?;
        self.send(request.json(body).timeout(timeout)).await
    }

    /// Deletes `/{version}/{path}`, selected by the parameters.
    pub async fn delete(
        &self,
        path: &[&str],
        access: Access<'_>,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, GraphError> {
        let request = self.request(Method::DELETE, path, access)?;
        self.send(request.query(parameters)).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        access: Access<'_>,
    ) -> Result<RequestBuilder, GraphError> {
        let mut url = self.settings.base_url.clone();
        url.path_segments_mut()
            .map_err(|()| Fault::Invalid)?
            .pop_if_empty()
            .extend(Some(&self.settings.version).filter(|version| !version.is_empty()))
            .extend(path);
        if let Some(app_secret) = access.app_secret {
            url.query_pairs_mut()
                .append_pair("appsecret_proof", &appsecret_proof(access.token, app_secret));
        }
        let token = access.token.expose_secret();
        Ok(if self.settings.token_in_query {
            url.query_pairs_mut().append_pair("access_token", token);
            self.http.request(method, url)
        } else {
            self.http.request(method, url).bearer_auth(token)
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, GraphError> {
        let response = request.send().await.map_err(|error| fault_of(&error))?;
        let status = response.status();
        let usage = Usage::from_headers(response.headers());
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(Timestamp::from);
        // An answer that breaks off may have been any, also that of a message that was delivered.
        let body = response.bytes().await.map_err(|_| Fault::Unclear)?;
        let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        // A batch is answered with an array.
        let is_answer = body.is_object() || body.is_array();
        if status == StatusCode::OK && is_answer && body.get("error").is_none() {
            return Ok(Answer { body, usage, date });
        }
        Err(GraphError { usage, ..GraphError::of_answer(status.as_u16(), &body) })
    }
}

fn fault_of(error: &reqwest::Error) -> Fault {
    if error.is_connect() {
        Fault::NotConnected
    } else if error.is_builder() {
        Fault::Invalid
    } else {
        Fault::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_leave_over_plain_http() {
        for setting in ["GRAPH_BASE_URL", "GRAPH_INSTAGRAM_BASE_URL"] {
            for (url, fits) in
                [("http://graph.facebook.com", false), ("http://127.0.0.1:9000", true)]
            {
                let variables =
                    Variables::from_lookup(move |name| (name == setting).then(|| url.to_owned()));
                let GraphSettings { base_url, instagram_base_url, .. } =
                    GraphSettings::new(&variables);
                assert_eq!(variables.check().is_ok(), fits, "{setting} {url}");
                let is_https = |url: &Url| url.scheme() == "https";
                assert!(fits || is_https(&base_url) && is_https(&instagram_base_url));
            }
        }
    }
}
