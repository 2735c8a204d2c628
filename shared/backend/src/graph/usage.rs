//! The rate limits that Meta reports beside an answer.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use messenger::event::Platform;

/// The limits that are used up, of whatever business object and type.
///
/// Source: Meta's header `X-Business-Use-Case-Usage`, an object of lists by the object's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(Vec<Limit>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    object: String,
    kind: String,
    regain_after: Duration,
}

impl Usage {
    /// Reads the header; one that is absent or of another form says nothing.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let text = headers.get("x-business-use-case-usage").and_then(|text| text.to_str().ok());
        let usage = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(Value::Object(objects)) = usage else { return Self::default() };
        let limits = objects.iter().flat_map(|(object, limits)| {
            limits.as_array().into_iter().flatten().filter_map(|limit| Limit::read(object, limit))
        });
        Self(limits.collect())
    }

    /// The usage of an account, in an answer to its sender node: a limit of the node on the account's
    /// platform is the account's.
    #[must_use]
    pub fn of_account(mut self, account_id: &str, node: &str) -> Self {
        for limit in self.0.iter_mut().filter(|limit| limit.object == node) {
            account_id.clone_into(&mut limit.object);
        }
        self
    }

    /// When Meta will accept messages of this Page, or account, again, if its limit is used up.
    ///
    /// A limit of another object, or of another type such as `pages`, says nothing about messages.
    pub fn regain_after(&self, page_id: &str, platform: Platform) -> Option<Duration> {
        let own = self.0.iter().filter(|l| l.object == page_id && l.kind == platform.name());
        own.map(|limit| limit.regain_after).max()
    }
}

impl Limit {
    /// A limit that is used up; Meta estimates the time in minutes.
    fn read(object: &str, limit: &Value) -> Option<Self> {
        let minutes = limit["estimated_time_to_regain_access"].as_u64().filter(|m| *m > 0)?;
        Some(Self {
            object: object.to_owned(),
            kind: limit["type"].as_str()?.to_owned(),
            regain_after: Duration::from_secs(minutes.saturating_mul(60)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(header: &str) -> Usage {
        let mut headers = HeaderMap::new();
        headers.insert("x-business-use-case-usage", header.parse().unwrap());
        Usage::from_headers(&headers)
    }

    #[test]
    fn the_pages_own_entry_of_its_platform_counts() {
        let own = |kind: &str| {
            format!(r#"{{"10":[{{"type":"{kind}","estimated_time_to_regain_access":7}}]}}"#)
        };
        for (header, platform, minutes) in [
            (own("messenger"), Platform::Messenger, Some(7)),
            (own("instagram"), Platform::Instagram, Some(7)),
            (own("instagram"), Platform::Messenger, None),
            (own("messenger"), Platform::Instagram, None),
            (own("pages"), Platform::Messenger, None),
            (own("messenger").replace("10", "11"), Platform::Messenger, None),
            (own("messenger").replace(":7", ":0"), Platform::Messenger, None),
            (own("messenger").replace(":7", ":\"7\""), Platform::Messenger, None),
            ("[]".to_owned(), Platform::Messenger, None),
            ("no".to_owned(), Platform::Messenger, None),
        ] {
            let after = usage(&header).regain_after("10", platform);
            assert_eq!(after, minutes.map(Duration::from_mins), "{header} {platform:?}");
        }
        assert_eq!(Usage::default().regain_after("10", Platform::Messenger), None);
    }

    #[test]
    fn a_limit_of_the_sender_node_is_the_accounts() {
        for (object, kind, expected) in [
            ("10", "instagram", Some(7)),
            ("17", "instagram", Some(7)),
            ("10", "messenger", None),
            ("11", "instagram", None),
        ] {
            let header = format!(
                r#"{{"{object}":[{{"type":"{kind}","estimated_time_to_regain_access":7}}]}}"#
            );
            let found = usage(&header).of_account("17", "10");
            let after = found.regain_after("17", Platform::Instagram);
            assert_eq!(after, expected.map(Duration::from_mins), "{header}");
        }
    }
}
