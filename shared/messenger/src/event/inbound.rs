//! An inbound event in the form that other systems receive.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::json::tolerant;
use super::record::{WriteError, cut_to_envelope, escape_for_sqs};
use super::{Event, Platform, TimeSource};
use crate::clock::Timestamp;

/// An event as another system receives it: its parsed properties, and Meta's own JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Inbound {
    /// Identifies the event; the same at each delivery of it.
    pub id: String,
    /// `message`, `postback` and so on; `unknown` for an event that this version does not know;
    /// `message_ended` for the end of a message that was requested.
    pub kind: String,
    /// The Page, or the Instagram account.
    pub page_id: String,
    /// A PSID, or `user_ref:…`, `comment:…`, `post:…`; null if the event belongs to no person.
    #[cfg_attr(feature = "schema", schema(required))]
    pub psid: Option<String>,
    /// When it happened, ms since the epoch.
    #[cfg_attr(feature = "schema", schema(required, value_type = Option<i64>))]
    pub at: Option<Timestamp>,
    /// Where that time is from, if Meta gave the event none of its own, or one that is in the future by
    /// more than clocks explain: `entry` if it is that of the entry that it came in, `receipt` if
    /// `received_at` stands in for it.
    #[serde(default, skip_serializing_if = "TimeSource::is_own")]
    pub time_source: TimeSource,
    /// When the webhook received it, ms since the epoch; of `message_ended` when the message was requested.
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub received_at: Timestamp,
    /// The platform of the Page or account.
    pub platform: Platform,
    /// Whether the event was too large and only its envelope is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The event as Meta sent it; of `message_ended` the message.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub event: Box<RawValue>,
}

impl Inbound {
    /// Converts an event.
    ///
    /// # Errors
    /// [`WriteError`] if its raw text is not JSON.
    pub fn from_event(event: &Event) -> Result<Self, WriteError> {
        Ok(Self {
            id: event.id.clone(),
            kind: event.kind_name().to_owned(),
            page_id: event.page_id.clone(),
            psid: event.person.as_ref().map(ToString::to_string),
            at: event.at,
            time_source: event.time_source,
            received_at: event.received_at,
            platform: event.platform,
            truncated: event.truncated,
            event: RawValue::from_string(event.raw.clone())?,
        })
    }

    /// The JSON text, at most `limit` bytes long: an event that is too large is reduced to its
    /// envelope. SQS accepts every character of it.
    ///
    /// # Errors
    /// [`WriteError`] if a field cannot be written as JSON.
    pub fn into_text(mut self, limit: usize) -> Result<String, WriteError> {
        let mut text = escape_for_sqs(serde_json::to_string(&self)?);
        let mut depths = (0..=3).rev();
        while text.len() > limit
            && let Some(depth) = depths.next()
        {
            self.truncated = true;
            self.event = to_raw_value(&cut_to_envelope(&tolerant(self.event.get()), depth))?;
            text = escape_for_sqs(serde_json::to_string(&self)?);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    #[test]
    fn an_event_too_large_for_its_place_keeps_its_envelope() {
        let text = "x".repeat(5000);
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","messaging":[{{"sender":{{"id":"1"}},"recipient":{{"id":"10"}},"message":{{"mid":"m","text":"{text}"}}}}]}}]}}"#
        );
        let event = split(body.as_bytes(), Timestamp::from_millis(0)).unwrap().remove(0);
        let inbound = Inbound::from_event(&event).unwrap();
        let whole: Inbound =
            serde_json::from_str(&inbound.clone().into_text(10_000).unwrap()).unwrap();
        assert_eq!((whole.truncated, whole.event.get()), (false, event.raw.as_str()));
        let cut = inbound.into_text(1000).unwrap();
        assert!(cut.len() <= 1000);
        let cut: Inbound = serde_json::from_str(&cut).unwrap();
        assert!(cut.truncated && cut.event.get().contains(r#""mid":"m""#));
        assert_eq!(cut.psid.as_deref(), Some("1"));
    }
}
