//! The sample invocations in `events/`, and the values that they are made with.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use backend::signature::{SIGNATURE_HEADER, sign};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use messenger::clock::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

/// The app's id.
pub const APP_ID: &str = "300000000000003";
/// The secret that the samples are signed with.
pub const APP_SECRET: &str = "sample-app-secret";
/// The token of the webhook's verification.
pub const VERIFY_TOKEN: &str = "sample-verify-token";
/// The secret that forwarded events are signed with.
pub const FORWARD_SECRET: &str = "sample-forward-secret";
/// The secret that turns are signed with.
pub const REPLY_SECRET: &str = "sample-reply-secret";
/// The bearer key of the API.
pub const API_KEY: &str = "sample-api-key";
/// A person of the app, as the data deletion callback names them.
pub const APP_SCOPED_ID: &str = "8000000000000001";
/// The Page.
pub const PAGE: &str = "100000000000001";
/// A persona of the Page.
pub const PERSONA: &str = "2700000000000001";
/// A video that the Page has saved at Meta.
pub const SAVED_VIDEO: &str = "1745504518999123";
/// The Instagram account that is linked to the Page.
pub const INSTAGRAM: &str = "17800000000000001";
/// The Instagram account that has a login of its own.
pub const INSTAGRAM_LOGIN: &str = "17800000000000002";
/// The Instagram app's id.
pub const INSTAGRAM_APP_ID: &str = "300000000000005";
/// The Instagram app's secret.
pub const INSTAGRAM_APP_SECRET: &str = "sample-instagram-app-secret";
/// A person on Instagram.
pub const IGSID: &str = "7800000000000001";
/// A person.
pub const PSID: &str = "7000000000000001";
/// Another person.
pub const OTHER_PSID: &str = "7000000000000002";
/// Shortly before the first sample's time: 22 November 2026, 09:00 UTC.
pub const BEGINNING: Timestamp = Timestamp::from_millis(1_795_338_000_000);

/// Where the samples are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events")
}

/// Reads a sample by its name, without `.json`.
///
/// # Errors
/// If there is no such sample, or it is not JSON.
pub fn read(name: &str) -> Result<Value, Box<dyn Error>> {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The body of a sample of the webhook, as it goes over the wire.
///
/// # Errors
/// If there is no such sample, or it has no body.
pub fn body(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let sample = read(name)?;
    let body = sample["body"].as_str().ok_or_else(|| format!("{name} has no body"))?;
    Ok(match sample["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(body)?,
        _ => body.as_bytes().to_vec(),
    })
}

/// Moves all times in a sample by the same span, so that its latest is `now`, and signs it anew: with
/// `app_secret`, or for the Instagram app's webhook with its own.
///
/// Samples carry fixed times because a signature covers them. A function that runs by the machine's
/// clock takes a sample for an old event; this makes it a new one.
///
/// # Errors
/// If the sample is not JSON, or its body is not.
pub fn refresh(sample: &str, now: Timestamp, app_secret: &str) -> Result<Value, Box<dyn Error>> {
    let mut sample: Value = serde_json::from_str(sample)?;
    if let Some(records) = sample.get_mut("Records").and_then(Value::as_array_mut) {
        for record in records {
            let body = record["body"].as_str().unwrap_or_default();
            if let Ok(mut event) = serde_json::from_str::<Value>(body) {
                move_times(&mut event, now);
                record["body"] = event.to_string().into();
            }
        }
        return Ok(sample);
    }
    let Some(body) = sample["body"].as_str() else {
        return Ok(sample);
    };
    if let Some(signed) = body.strip_prefix(SIGNED_REQUEST) {
        let payload = signed.split_once('.').unwrap_or_default().1;
        let mut payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
        payload["issued_at"] = (now.millis() / 1000).into();
        let signed = sign_request(&payload, app_secret)?;
        sample["body"] = format!("{SIGNED_REQUEST}{signed}").into();
        return Ok(sample);
    }
    let is_of_instagram_app = sample["rawPath"] == "/instagram/webhook";
    let app_secret = if is_of_instagram_app { INSTAGRAM_APP_SECRET } else { app_secret };
    let is_base64 = sample["isBase64Encoded"] == true;
    let body = if is_base64 { STANDARD.decode(body)? } else { body.as_bytes().to_vec() };
    let mut notification: Value = serde_json::from_slice(&body)?;
    move_times(&mut notification, now);
    let body = notification.to_string();
    let signature = sign(body.as_bytes(), &SecretString::from(app_secret));
    sample["headers"][SIGNATURE_HEADER] = signature.into();
    sample["body"] = if is_base64 { STANDARD.encode(body) } else { body }.into();
    Ok(sample)
}

const SIGNED_REQUEST: &str = "signed_request=";

/// Signs a payload as Meta does for its data deletion callback.
///
/// # Errors
/// If the signature has another form.
pub fn sign_request(payload: &Value, app_secret: &str) -> Result<String, Box<dyn Error>> {
    let payload = URL_SAFE_NO_PAD.encode(payload.to_string());
    let signature = sign(payload.as_bytes(), &SecretString::from(app_secret));
    let signature = hex::decode(signature.trim_start_matches("sha256="))?;
    Ok(format!("{}.{payload}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Moves the times of an event, in milliseconds and in seconds, so that the latest is `now`.
fn move_times(value: &mut Value, now: Timestamp) {
    fn each(value: &mut Value, change: &mut impl FnMut(i64) -> i64) {
        const NAMES: [&str; 6] =
            ["timestamp", "time", "watermark", "received_at", "entry_time", "created_time"];
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_i64() {
                        Some(number) if NAMES.contains(&name.as_str()) => {
                            *value = change(number).into();
                        }
                        _ => each(value, change),
                    }
                }
            }
            _ => {}
        }
    }
    let mut latest = 0;
    each(value, &mut |number| {
        latest = latest.max(Timestamp::from_seconds_or_millis(number).millis());
        number
    });
    let distance = now.millis() - latest;
    each(value, &mut |number| {
        let moved = Timestamp::from_seconds_or_millis(number).millis() + distance;
        if Timestamp::from_seconds_or_millis(number).millis() == number {
            moved
        } else {
            moved / 1000
        }
    });
}
