//! Batch requests: `POST /` with up to 50 calls.
//!
//! Source: Meta's Graph API, "Batch requests": the answer is a list with a code, headers unless
//! `include_headers` is false, and a body in a text for each call; null for a call that was not completed,
//! and for one that others depend on. A call's body is form-encoded, and may carry a token of its own.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Meta;
use super::answer::{Answer, Refusal};
use super::node::{Answered, NodeCall};
use super::parameters;

/// The most calls of a batch.
const MOST: usize = 50;

impl Meta {
    pub(super) async fn batch(&self, call: &NodeCall) -> Answered {
        let parts = match call.value("batch") {
            Value::Array(parts) => parts.clone(),
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            _ => Vec::new(),
        };
        if parts.is_empty() {
            return Err(Refusal::invalid("The parameter batch is required"));
        }
        if parts.len() > MOST {
            let message =
                format!("Too many requests in batch message. Maximum batch size is {MOST}");
            return Err(Refusal::new(400, 100, None, &message));
        }
        let depended_on: BTreeSet<&str> =
            parts.iter().filter_map(|part| part["depends_on"].as_str()).collect();
        let with_headers = !matches!(call.value("include_headers"), Value::Bool(false))
            && call.text("include_headers") != Some("false");
        let mut failed = BTreeSet::new();
        let mut answers = Vec::new();
        for part in &parts {
            let name = part["name"].as_str().unwrap_or_default();
            if part["depends_on"].as_str().is_some_and(|other| failed.contains(other)) {
                failed.insert(name);
                answers.push(Value::Null);
                continue;
            }
            let answer = Box::pin(self.call(inner(call, part))).await;
            let Some((code, answer)) = written(answer, with_headers) else {
                failed.insert(name);
                answers.push(Value::Null);
                continue;
            };
            if code != 200 {
                failed.insert(name);
            }
            let is_omitted = code == 200
                && depended_on.contains(name)
                && part["omit_response_on_success"] != json!(false);
            answers.push(if is_omitted { Value::Null } else { answer });
        }
        Ok(answers.into())
    }
}

/// A call of a batch, with the batch's credentials unless it has its own.
fn inner(outer: &NodeCall, part: &Value) -> NodeCall {
    let url = part["relative_url"].as_str().unwrap_or_default().trim_start_matches('/');
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut given = parameters::of_pairs(query);
    match &part["body"] {
        Value::String(body) => given.extend(parameters::of_pairs(body)),
        Value::Object(fields) => given.extend(fields.clone()),
        _ => {}
    }
    if let Some(file) = part["attached_files"].as_str().and_then(|name| outer.parameters.get(name))
    {
        given.insert("filedata".to_owned(), file.clone());
    }
    let is_version = path.starts_with('v') && path.contains('.');
    let path = path.split('/').skip(usize::from(is_version)).filter(|part| !part.is_empty());
    let mut call = NodeCall {
        host: outer.host,
        method: part["method"].as_str().unwrap_or("GET").to_ascii_uppercase(),
        path: path.map(str::to_owned).collect(),
        parameters: given,
        token: None,
        proof: None,
    };
    call.take_credentials();
    if call.token.is_none() {
        call.token.clone_from(&outer.token);
        call.proof = call.proof.or_else(|| outer.proof.clone());
    }
    call
}

/// An answer as a batch holds it; none if the call was not completed.
fn written(answer: Answer, with_headers: bool) -> Option<(u16, Value)> {
    let (code, kind, body) = match answer {
        Answer::Json { http, body, .. } => (http, "application/json", body.to_string()),
        Answer::Html { http } => (http, "text/html", super::answer::HTML.to_owned()),
        Answer::Closed => return None,
        Answer::Late { answer, .. } => return written(*answer, with_headers),
    };
    let mut written = Map::new();
    written.insert("code".to_owned(), json!(code));
    if with_headers {
        let headers = json!([{"name": "Content-Type", "value": format!("{kind}; charset=UTF-8")}]);
        written.insert("headers".to_owned(), headers);
    }
    written.insert("body".to_owned(), json!(body));
    Some((code, written.into()))
}
