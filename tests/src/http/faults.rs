//! `/_simulator/faults`: what goes wrong at Meta.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::world::{Answer, Owner, Refused, object, owner};
use crate::meta::{Fault, FaultRule, KNOWN, Meta};

/// The fields of each kind.
const KINDS: [(&str, &[&str]); 8] = [
    ("error", &["code", "subcode", "http"]),
    ("wrong_proof", &[]),
    ("throttled", &["regain_minutes"]),
    ("lost_answer", &[]),
    ("lost_request", &[]),
    ("unknown_delivered", &[]),
    ("html", &["http"]),
    ("slow", &["millis"]),
];

/// The fields of every kind: whom and how often it hits.
const SCOPE: [&str; 4] = ["kind", "psid", "edge", "times"];

const EXAMPLE: &str =
    r#"{"kind": "error", "code": 613, "subcode": 1893016, "psid": "7000000000000001"}"#;

pub(super) async fn list(State(platform): Owner) -> Answer {
    Ok(Json(listed(&owner(&platform)?.meta)))
}

pub(super) async fn clear(State(platform): Owner) -> Answer {
    let platform = owner(&platform)?;
    platform.meta.clear_faults();
    Ok(Json(listed(&platform.meta)))
}

pub(super) async fn add(State(platform): Owner, body: Bytes) -> Answer {
    let platform = owner(&platform)?;
    platform.meta.add_fault(read(&object(&body, EXAMPLE)?).map_err(Refused::invalid)?);
    Ok(Json(listed(&platform.meta)))
}

fn listed(meta: &Meta) -> Value {
    let known = KNOWN.iter().map(|row| {
        json!({"code": row.code, "subcode": row.subcode, "http": row.http, "message": row.message})
    });
    let kinds = KINDS.map(|(kind, fields)| (kind.to_owned(), json!(fields)));
    json!({
        "faults": meta.faults(),
        "kinds": Map::from_iter(kinds),
        "errors": known.collect::<Vec<_>>(),
    })
}

/// Reads a fault and what it hits.
fn read(given: &Map<String, Value>) -> Result<FaultRule, String> {
    let kind = given.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some((_, fields)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let kinds: Vec<_> = KINDS.iter().map(|(kind, _)| *kind).collect();
        return Err(format!("kind must be one of {}", kinds.join(", ")));
    };
    let allowed = [&SCOPE[..], fields].concat();
    if let Some(unknown) = given.keys().find(|name| !allowed.contains(&name.as_str())) {
        return Err(format!("{unknown} is not a field of {kind}; it has {}", allowed.join(", ")));
    }
    let number = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name} must be a whole number")),
        },
    };
    let status = match number("http")? {
        None => None,
        Some(status) => Some(
            u16::try_from(status)
                .ok()
                .filter(|status| (200..600).contains(status))
                .ok_or("http must be a status from 200 to 599")?,
        ),
    };
    let required = |name: &str| number(name)?.ok_or_else(|| format!("{kind} needs {name}"));
    let signed =
        |number: u64| i64::try_from(number).map_err(|_| "the number is too large".to_owned());
    let fault = match kind {
        "error" => {
            let subcode = number("subcode")?.map(signed).transpose()?;
            match (Fault::of_code(signed(required("code")?)?, subcode), status) {
                (Fault::Error { code, subcode, .. }, Some(http)) => {
                    Fault::Error { http, code, subcode }
                }
                (fault, _) => fault,
            }
        }
        "wrong_proof" => Fault::WrongProof,
        "throttled" => {
            let minutes = number("regain_minutes")?.unwrap_or(5);
            let regain_minutes =
                u32::try_from(minutes).map_err(|_| "regain_minutes is too large")?;
            Fault::Throttled { regain_minutes }
        }
        "lost_answer" => Fault::LostAnswer,
        "lost_request" => Fault::LostRequest,
        "unknown_delivered" => Fault::UnknownDelivered,
        "html" => Fault::Edge { http: status.unwrap_or(503) },
        _ => Fault::Slow { millis: required("millis")? },
    };
    let text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name} must be a string")),
    };
    let times = match given.get("times") {
        None => Some(1),
        Some(Value::String(always)) if always == "always" => None,
        Some(times) => match times.as_u64().and_then(|times| u32::try_from(times).ok()) {
            Some(times @ 1..) => Some(times),
            _ => return Err(r#"times must be a number from 1, or "always""#.to_owned()),
        },
    };
    let edge = text("edge")?.unwrap_or_else(|| "messages".to_owned());
    Ok(FaultRule { fault, psid: text("psid")?, edge, times })
}
