//! The answers of the Graph API.
//!
//! Source: Meta's table of common error codes (the form of an error), its Send API (the answer to a
//! message) and its rate limits (the usage header).

use serde_json::{Value, json};

use super::{Outcome, State, errors};

/// What a server in front of the Graph API answers with.
pub(super) const HTML: &str = "<html><body>Not served</body></html>";

/// An answer as the client sees it.
pub(super) enum Answer {
    Json {
        http: u16,
        usage: Option<String>,
        body: Value,
    },
    Html {
        http: u16,
    },
    Closed,
    /// Answered later, by the machine's clock.
    Late {
        millis: u64,
        answer: Box<Answer>,
    },
}

/// An error answer of the Graph API.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) http: u16,
    pub(super) kind: &'static str,
    pub(super) code: i64,
    pub(super) subcode: Option<i64>,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(http: u16, code: i64, subcode: Option<i64>, message: &str) -> Self {
        let message = message.to_owned();
        Self { http, kind: "OAuthException", code, subcode, message }
    }

    /// The proof was made with another app secret, or is missing.
    pub(super) fn wrong_proof() -> Self {
        let message = "Invalid appsecret_proof provided in the API argument";
        Self { kind: "GraphMethodException", ..Self::new(400, 100, None, message) }
    }

    /// An invalid parameter.
    pub(super) fn invalid(why: &str) -> Self {
        Self::new(400, 100, None, &format!("(#100) {why}"))
    }

    /// The caller knows no object of this id.
    pub(super) fn no_such_object(id: &str) -> Self {
        let message = format!(
            "Unsupported get request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation"
        );
        let kind = "GraphMethodException";
        Self { kind, ..Self::new(400, 100, Some(33), &message) }
    }

    /// The node has no such edge for this app. Source: the reference's "Instagram" and its error table.
    pub(super) fn no_capability() -> Self {
        let message = "(#3) Application does not have the capability to make this API call.";
        Self::new(400, 3, None, message)
    }

    pub(super) fn no_matching_user() -> Self {
        Self::new(400, 100, Some(2_018_001), "(#100) No matching user found")
    }

    pub(super) fn outside_the_window() -> Self {
        Self::new(400, 10, Some(2_018_278), "(#10) This message is sent outside of allowed window.")
    }

    pub(super) fn of_fault(http: u16, code: i64, subcode: Option<i64>) -> Self {
        let text = errors::known(code, subcode)
            .map_or("An error occurred while processing this request", |known| known.message);
        let message = format!("(#{code}) {text}");
        Self::new(http, code, subcode, &message)
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::Refused { code: self.code, subcode: self.subcode, message: self.message.clone() }
    }
}

impl State {
    /// The answer to a successful request.
    pub(super) fn success(
        &self,
        page_id: &str,
        recipient_id: Option<&str>,
        mid: Option<&str>,
        attachment_id: Option<&str>,
    ) -> Answer {
        let mut body = json!({});
        if let Some(attachment_id) = attachment_id {
            body["attachment_id"] = json!(attachment_id);
        }
        if let Some(recipient_id) = recipient_id {
            body["recipient_id"] = json!(recipient_id);
        }
        if let Some(mid) = mid {
            body["message_id"] = json!(mid);
        }
        Answer::Json { http: 200, usage: self.usage(page_id, 0), body }
    }

    /// The answer to a request that is refused.
    pub(super) fn error(
        &mut self,
        page_id: &str,
        regain_minutes: u32,
        refusal: &Refusal,
    ) -> Answer {
        self.errors += 1;
        let mut error = json!({
            "message": refusal.message,
            "type": refusal.kind,
            "code": refusal.code,
            "fbtrace_id": format!("A{:022}", self.errors),
        });
        if let Some(subcode) = refusal.subcode {
            error["error_subcode"] = json!(subcode);
        }
        Answer::Json {
            http: refusal.http,
            usage: self.usage(page_id, regain_minutes),
            body: json!({ "error": error }),
        }
    }

    /// The header `X-Business-Use-Case-Usage`, which only a known Page has.
    fn usage(&self, page_id: &str, regain_minutes: u32) -> Option<String> {
        let page = self.pages.get(page_id)?;
        let percent = if regain_minutes == 0 { 1 } else { 100 };
        let entry = |kind: Value, percent: u32, regain_minutes: u32| {
            json!({
                "type": kind,
                "call_count": percent,
                "total_cputime": 1,
                "total_time": 1,
                "estimated_time_to_regain_access": regain_minutes,
            })
        };
        // The object is whom Graph speaks as.
        let object_id = self.sender_node(page_id);
        let mut usage = json!({object_id: [entry(json!(page.platform), percent, regain_minutes)]});
        for limit in &self.other_limits {
            if !usage[&limit.object_id].is_array() {
                usage[&limit.object_id] = json!([]);
            }
            if let Some(entries) = usage[&limit.object_id].as_array_mut() {
                entries.push(entry(json!(limit.kind), 100, limit.regain_minutes));
            }
        }
        Some(usage.to_string())
    }
}
