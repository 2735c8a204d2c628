//! The custom resource: `CloudFormation`'s request, and the answer that it waits for.
//!
//! `CloudFormation` waits up to an hour for an answer at a URL, and rolls the stack back on a failure.
//! So it is always answered, in time, and with success: a secret that is still empty, or a Meta that does
//! not answer, is a line in the report and no reason to undo a deployment.
//! Source: AWS's reference of custom resources.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use messenger::clock::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::report::Report;
use crate::{Setup, SetupError};

/// The resource's id; constant, so that `CloudFormation` never replaces it.
const PHYSICAL_ID: &str = "registration";

/// Time kept before the deadline for the answer; enough for two attempts.
const TIME_TO_ANSWER: Duration = Duration::from_secs(12);

/// The longest report, in bytes: it becomes an output of the stack.
const LONGEST_REPORT: usize = 1000;

/// `CloudFormation`'s request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the names are CloudFormation's")]
pub(crate) struct Request {
    request_type: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    #[serde(default)]
    physical_resource_id: Option<String>,
}

impl Request {
    /// Reads a request, if the payload is one.
    pub(crate) fn read(payload: &Value) -> Option<Self> {
        payload.get("RequestType")?;
        Self::deserialize(payload).ok()
    }
}

impl Setup {
    /// Registers, or on deletion unregisters, and answers `CloudFormation`; returns that answer.
    pub(crate) async fn serve_cloudformation(
        &self,
        request: Request,
        deadline: Timestamp,
    ) -> Value {
        let left = deadline.since(self.clock.now()).saturating_sub(TIME_TO_ANSWER);
        let work = AssertUnwindSafe(self.serve(&request.request_type)).catch_unwind();
        let report = match tokio::time::timeout(left, work).await {
            Ok(Ok(Ok(report))) => report.in_short(LONGEST_REPORT),
            Ok(Ok(Err(error))) => format!("Error: {error}"),
            Ok(Err(_)) => "Error: setup panicked; its log has the place".to_owned(),
            Err(_) => "Error: setup ran out of time; register by hand".to_owned(),
        };
        tracing::info!(request = request.request_type, report, "answering CloudFormation");
        let id = request.physical_resource_id.as_deref().unwrap_or(PHYSICAL_ID);
        let answer = json!({
            "Status": "SUCCESS",
            "PhysicalResourceId": id,
            "StackId": request.stack_id,
            "RequestId": request.request_id,
            "LogicalResourceId": request.logical_resource_id,
            "Data": {"Report": report},
        });
        self.put_answer(&request.response_url, &answer).await;
        answer
    }

    async fn serve(&self, request_type: &str) -> Result<Report, SetupError> {
        let secret = self.secrets.current().await?;
        Ok(match request_type {
            "Delete" => self.unregister(&secret).await,
            _ => self.register(&secret).await,
        })
    }

    /// Puts the answer where `CloudFormation` waits for it. The URL is a secret and never logged.
    async fn put_answer(&self, url: &str, answer: &Value) {
        let Some(url) = Url::parse(url).ok().filter(is_trusted) else {
            tracing::error!("CloudFormation's URL is not https");
            return;
        };
        for _ in 0..2 {
            // The URL is signed for a request without a content type.
            match self.http.put(url.clone()).body(answer.to_string()).send().await {
                Ok(response) if response.status().is_success() => return,
                Ok(response) => {
                    tracing::error!(status = response.status().as_u16(), "the answer was refused");
                }
                Err(error) => {
                    let error = error.without_url();
                    tracing::error!(%error, "the answer could not be sent");
                }
            }
        }
    }
}

fn is_trusted(url: &Url) -> bool {
    let is_local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
    url.scheme() == "https" || url.scheme() == "http" && is_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_goes_over_https_or_stays_on_this_machine() {
        for (url, is_taken) in [
            (
                "https://cloudformation-custom-resource-response.s3.amazonaws.com/x?signature=y",
                true,
            ),
            ("http://127.0.0.1:4566/x", true),
            ("http://localhost:4566/x", true),
            ("http://127.0.0.1.example.com/x", false),
            ("http://example.com/x", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_trusted(&Url::parse(url).unwrap()), is_taken, "{url}");
        }
    }
}
