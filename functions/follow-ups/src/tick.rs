//! The schedule's event.

use serde_json::{Value, json};

/// The fields of a scheduled event that `EventBridge` writes itself.
const ENVELOPE: [&str; 9] =
    ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"];

/// Whether it is the event that the template gives the schedule, or one of an `EventBridge` rule.
pub(crate) fn is_tick(payload: &Value) -> bool {
    let Some(fields) = payload.as_object() else { return false };
    let is_envelope = ENVELOPE.iter().all(|name| fields.contains_key(*name))
        && fields.len() == ENVELOPE.len()
        && fields["detail-type"] == "Scheduled Event"
        && ["aws.events", "aws.scheduler"].iter().any(|source| fields["source"] == *source);
    is_envelope || *payload == json!({"source": "schedule"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_schedule_sends_is_a_tick() {
        let envelope = json!({
            "version": "0", "id": "53dc4d37", "detail-type": "Scheduled Event", "source": "aws.events",
            "account": "123456789012", "time": "2026-11-22T09:30:00Z", "region": "eu-central-1",
            "resources": ["arn:aws:events:eu-central-1:123456789012:rule/tick"], "detail": {},
        });
        assert!(is_tick(&envelope));
        assert!(is_tick(&json!({"source": "schedule"})));
        let with = |name: &str, value: &str| {
            let mut event = envelope.clone();
            event[name] = value.into();
            event
        };
        for other in [
            json!({}),
            json!([]),
            json!({"source": "crm"}),
            json!({"source": "schedule", "user_ref": "u1"}),
            with("source", "crm"),
            with("detail-type", "Order shipped"),
            with("psid", "1"),
        ] {
            assert!(!is_tick(&other), "{other}");
        }
    }
}
