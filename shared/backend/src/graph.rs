//! HTTP to Meta's Graph API: token, proof, errors.

use std::fmt;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::http;
use crate::secrets::Login;
use crate::settings::Variables;
use crate::signature::appsecret_proof;
use messenger::clock::Timestamp;

/// The total timeout of a call; a step is not begun with less time left.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The meaning of a failed call, which decides what happens next.
///
/// Source: Meta's error reference for the Graph API and the Messenger Platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Fault {
    /// No connection: the request was not sent.
    NotConnected,
    /// The request may have been carried out.
    Unclear,
    /// Meta reports that it was not carried out, and may be retried.
    Temporary,
    /// The Page's rate limit is reached.
    Throttled,
    /// The Page is restricted for a while.
    PageRestricted,
    /// The Page is blocked by a policy.
    PolicyBlock,
    /// The access token is no longer valid.
    TokenDead,
    /// The proof was made with another app secret, as happens in every rotation.
    ProofRejected,
    /// A permission or a review is missing.
    PermissionMissing,
    /// Meta considers the window closed, contrary to our record.
    OutsideWindow,
    /// The person cannot be reached.
    PersonUnreachable,
    /// Meta could not fetch the media.
    MediaUnavailable,
    /// Meta rejects the request.
    Invalid,
}

impl Fault {
    /// The fault's name, for records and counts.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether other credentials may be accepted: it is about the token or the proof, not the message.
    pub fn is_of_credentials(self) -> bool {
        matches!(self, Self::TokenDead | Self::ProofRejected)
    }

    /// The meaning of an answer with this status and error object.
    ///
    /// Without a code it is not Graph's word but that of a server in front of it, and final for
    /// nothing: refused with a status of 4xx it was not carried out, otherwise it is unclear.
    fn of_answer(status: u16, error: &Value) -> Self {
        let subcode = error["error_subcode"].as_i64();
        let Some(code) = error["code"].as_i64() else {
            return match status {
                429 => Self::Throttled,
                // At 408 and 499 the server had not read the whole request, or had passed it on.
                400..500 if !matches!(status, 408 | 499) => Self::Temporary,
                _ => Self::Unclear,
            };
        };
        match (code, subcode) {
            (100, None) if is_of_proof(error) => Self::ProofRejected,
            (10, Some(2_018_278 | 2_018_065 | 2_534_022)) => Self::OutsideWindow,
            (10, Some(1_893_063)) => Self::PageRestricted,
            (551, _) | (10, Some(2_018_108)) | (100, Some(2_018_001)) | (200, Some(1_545_041)) => {
                Self::PersonUnreachable
            }
            (2 | 1200, _) => Self::Temporary,
            (1, _) => Self::Unclear,
            (4 | 17 | 32 | 341 | 613 | 80_001 | 80_006, _) => Self::Throttled,
            (100, Some(2_018_008 | 2_018_294)) => Self::MediaUnavailable,
            (102 | 104 | 190, _) => Self::TokenDead,
            (368, _) => Self::PolicyBlock,
            (10 | 200..=299, _) => Self::PermissionMissing,
            _ if status == 429 => Self::Throttled,
            _ if !(400..500).contains(&status) || status == 408 => Self::Unclear,
            _ => Self::Invalid,
        }
    }
}

/// Whether an error object is about the `appsecret_proof`.
///
/// Meta gives it no code of its own, so its text is looked at; the type excludes an error that repeats
/// what somebody wrote.
fn is_of_proof(error: &Value) -> bool {
    error["type"] == "GraphMethodException"
        && error["message"].as_str().is_some_and(|message| message.contains("appsecret_proof"))
}

/// A failed call to Graph.
///
/// It carries no URL, no token and none of Meta's free text, which may repeat what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct GraphError {
    /// The meaning of the error.
    pub fault: Fault,
    /// Meta's code.
    pub code: Option<i64>,
    /// Meta's subcode.
    pub subcode: Option<i64>,
    /// Meta's id of the call, for its support.
    pub trace: Option<String>,
    /// When Meta will accept requests again, if it says so.
    pub regain_after: Option<Duration>,
    /// The version of the secret whose credentials the call was made with, if they were refused.
    pub secret_version: Option<String>,
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.name())?;
        if let Some(code) = self.code {
            write!(f, ": Meta's error {code}")?;
        }
        if let Some(subcode) = self.subcode {
            write!(f, "/{subcode}")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, " (fbtrace_id {trace})")?;
        }
        Ok(())
    }
}

impl GraphError {
    /// The error in an answer, from its status and body.
    pub fn of_answer(status: u16, body: &Value) -> Self {
        let error = &body["error"];
        Self {
            code: error["code"].as_i64(),
            subcode: error["error_subcode"].as_i64(),
            trace: error["fbtrace_id"].as_str().map(str::to_owned),
            ..Fault::of_answer(status, error).into()
        }
    }
}

impl From<Fault> for GraphError {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            code: None,
            subcode: None,
            trace: None,
            regain_after: None,
            secret_version: None,
        }
    }
}

/// An answer of Graph.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body, as JSON.
    pub body: Value,
    /// When Meta will accept requests again, if the Page's rate limit has been reached.
    pub regain_after: Option<Duration>,
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
        let regain_after = regain_after(response.headers());
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(Timestamp::from);
        // An answer that breaks off may have been any, also that of a message that was delivered.
        let body = response.bytes().await.map_err(|_| Fault::Unclear)?;
        let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        // A batch is answered with an array.
        let is_answer = body.is_object() || body.is_array();
        if status == StatusCode::OK && is_answer && body.get("error").is_none() {
            return Ok(Answer { body, regain_after, date });
        }
        Err(GraphError { regain_after, ..GraphError::of_answer(status.as_u16(), &body) })
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

/// Meta's own estimate, in minutes in `X-Business-Use-Case-Usage`.
fn regain_after(headers: &HeaderMap) -> Option<Duration> {
    let header = headers.get("x-business-use-case-usage")?.to_str().ok()?;
    let usage: Value = serde_json::from_str(header).ok()?;
    let minutes = usage
        .as_object()?
        .values()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|usage| usage["estimated_time_to_regain_access"].as_u64())
        .max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes * 60))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_references_rows() {
        for (status, code, subcode, fault) in [
            (400, 1, Some(1_357_046), Fault::Unclear),
            (500, 1, None, Fault::Unclear),
            (500, 2, None, Fault::Temporary),
            (400, 1200, Some(2_018_024), Fault::Temporary),
            (400, 613, None, Fault::Throttled),
            (400, 10, Some(2_018_278), Fault::OutsideWindow),
            (400, 10, Some(2_018_108), Fault::PersonUnreachable),
            (400, 551, Some(1_545_041), Fault::PersonUnreachable),
            (400, 10, Some(1_893_063), Fault::PageRestricted),
            (403, 10, None, Fault::PermissionMissing),
            (403, 230, None, Fault::PermissionMissing),
            (400, 100, None, Fault::Invalid),
            (400, 100, Some(1_893_061), Fault::Invalid),
            (400, 100, Some(2_018_001), Fault::PersonUnreachable),
            (400, 100, Some(2_018_008), Fault::MediaUnavailable),
            (400, 190, Some(463), Fault::TokenDead),
            (400, 102, None, Fault::TokenDead),
            (400, 104, None, Fault::TokenDead),
            (400, 368, None, Fault::PolicyBlock),
            (404, 2500, None, Fault::Invalid),
        ] {
            let body = json!({"error": {"code": code, "error_subcode": subcode}});
            let error = GraphError::of_answer(status, &body);
            assert_eq!(error.fault, fault, "{status} {code}/{subcode:?}");
        }
    }

    #[test]
    fn an_answer_without_graphs_code_is_final_for_nothing() {
        let bodies = [
            Value::Null,
            json!({}),
            json!([]),
            json!("no"),
            json!({"error": "no"}),
            json!({"error": {"message": "no", "type": "OAuthException"}}),
        ];
        for body in bodies {
            for (status, fault) in [
                (200, Fault::Unclear),
                (204, Fault::Unclear),
                (302, Fault::Unclear),
                (400, Fault::Temporary),
                (401, Fault::Temporary),
                (403, Fault::Temporary),
                (404, Fault::Temporary),
                (408, Fault::Unclear),
                (413, Fault::Temporary),
                (421, Fault::Temporary),
                (429, Fault::Throttled),
                (499, Fault::Unclear),
                (500, Fault::Unclear),
                (503, Fault::Unclear),
            ] {
                assert_eq!(GraphError::of_answer(status, &body).fault, fault, "{status} {body}");
            }
        }
    }

    #[test]
    fn a_proof_is_rejected_in_metas_words_only() {
        let wrong = "Invalid appsecret_proof provided in the API argument";
        let missing = "API calls from the server require an appsecret_proof argument";
        for (kind, code, subcode, message, is_of_proof) in [
            ("GraphMethodException", 100, None, wrong, true),
            ("GraphMethodException", 100, None, missing, true),
            ("GraphMethodException", 100, None, "Unsupported post request", false),
            ("GraphMethodException", 100, Some(33), wrong, false),
            ("GraphMethodException", 10, None, wrong, false),
            ("OAuthException", 100, None, "(#100) Param text: what is an appsecret_proof?", false),
        ] {
            let body = json!({"error": {"type": kind, "code": code, "error_subcode": subcode, "message": message}});
            let error = GraphError::of_answer(400, &body);
            assert_eq!(error.fault == Fault::ProofRejected, is_of_proof, "{body}");
            assert!(
                !format!("{error} {error:?}").contains("appsecret_proof"),
                "it is not repeated"
            );
        }
    }

    #[test]
    fn the_regain_time_is_in_minutes() {
        let mut headers = HeaderMap::new();
        let usage =
            r#"{"10":[{"type":"messenger","call_count":100,"estimated_time_to_regain_access":7}]}"#;
        headers.insert("x-business-use-case-usage", usage.parse().unwrap());
        assert_eq!(regain_after(&headers), Some(Duration::from_mins(7)));
    }

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
