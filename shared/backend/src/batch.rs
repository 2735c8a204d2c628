//! A GET whose parameters are secret or personal.
//!
//! It is sent as a batch of one in the body of a POST, because URLs end up in logs.
//! Source: Meta's Graph API reference, batch requests.

use reqwest::Url;
use serde_json::{Value, json};

use crate::graph::{Access, Answer, Fault, Graph, GraphError};

/// Gets `/{path}` with a path or parameters that must not appear in a URL.
///
/// # Errors
/// [`GraphError`] of the batch, or of its one part.
pub async fn get_privately(
    graph: &Graph,
    path: &str,
    access: Access<'_>,
    parameters: &[(&str, &str)],
) -> Result<Answer, GraphError> {
    let relative_url = relative_url(path, parameters).ok_or(Fault::Invalid)?;
    let batch = json!({
        "batch": [{"method": "GET", "relative_url": relative_url}],
        "include_headers": false,
    });
    let answer = graph.post(&[], access, &batch).await?;
    let inner = &answer.body[0];
    let status = inner["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let body = inner["body"].as_str().and_then(|body| serde_json::from_str(body).ok());
    let (status, body): (u16, Value) = (status.unwrap_or(500), body.unwrap_or_default());
    if status == 200 && body.get("error").is_none() {
        Ok(Answer { body, ..answer })
    } else {
        Err(GraphError::of_answer(status, &body))
    }
}

fn relative_url(path: &str, parameters: &[(&str, &str)]) -> Option<String> {
    let url = Url::parse_with_params(&format!("https://graph/{path}"), parameters).ok()?;
    Some(format!("{path}?{}", url.query().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let url = relative_url("debug_token", &[("input_token", "12|a b&c")]);
        assert_eq!(url.as_deref(), Some("debug_token?input_token=12%7Ca+b%26c"));
    }
}
