//! `/_simulator`: what happens around the functions, for any client.
//!
//! Each person is at `people/{psid}`, at the first Page or at `?account=`. What a person does is posted
//! there; what belongs to a person (profile, thread) is read, put and deleted. Whatever is wrong is answered
//! with a status of 4xx and `{"error": "…"}`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use messenger::clock::{Clock, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults;
use crate::meta::{BUSINESS_AI, INBOX, INSTAGRAM_INBOX, NoProfile};
use crate::platform::Platform;

pub(super) type Owner = State<Weak<Platform>>;

/// What there is, for whoever asks for `/_simulator` itself.
const PATHS: &[(&str, &str)] = &[
    ("POST people/{psid}", "a person writes the body's text, or does what the body's JSON says"),
    ("POST people/{psid}/comments", "a person comments on a post of the account"),
    ("POST people/{psid}/posts", "a person posts on the Page"),
    ("GET, PUT, DELETE people/{psid}/profile", "what Meta shows of a person"),
    ("GET, PUT people/{psid}/thread", "who controls the thread"),
    ("PUT ad-windows", "whether Meta grants an ad's conversation a window of 7 days"),
    ("GET, POST, DELETE faults", "what goes wrong at Meta, and the errors that Meta knows"),
    ("GET, DELETE requests", "what reached the Send API"),
    ("GET state", "conversations, outbox, requests to Graph, dead letters"),
    ("GET, POST clock", "the time, and moves it forward"),
    ("POST observe", "takes a notification that went to another webhook as having happened"),
    ("GET environment", "the variables that a function needs to run next to the simulator"),
];

pub(super) fn router() -> Router<Weak<Platform>> {
    Router::new()
        .route("/_simulator", get(paths))
        .route("/_simulator/people/{psid}", post(act))
        .route("/_simulator/people/{psid}/comments", post(comment))
        .route("/_simulator/people/{psid}/posts", post(write_post))
        .route(
            "/_simulator/people/{psid}/profile",
            get(read_profile).put(put_profile).delete(delete_profile),
        )
        .route("/_simulator/people/{psid}/thread", get(read_thread).put(put_thread))
        .route("/_simulator/ad-windows", put(put_ad_windows))
        .route("/_simulator/faults", get(faults::list).post(faults::add).delete(faults::clear))
        .route("/_simulator/requests", get(requests).delete(clear_requests))
        .route("/_simulator/state", get(state))
        .route("/_simulator/clock", get(read_clock).post(move_clock))
        .route("/_simulator/environment", get(environment))
        .route("/_simulator/observe", post(observe))
        .route("/_simulator/cloudformation", put(async || StatusCode::OK))
        .route("/_simulator/{*rest}", any(unknown))
        .method_not_allowed_fallback(wrong_method)
}

/// A request that is not carried out, and why.
pub(super) struct Refused(StatusCode, String);

pub(super) type Answer = Result<Json<Value>, Refused>;

impl Refused {
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

pub(super) fn owner(platform: &Weak<Platform>) -> Result<Arc<Platform>, Refused> {
    let gone = || Refused(StatusCode::GONE, "the simulator is ending".to_owned());
    platform.upgrade().ok_or_else(gone)
}

/// Reads a JSON object, whatever its content type says.
pub(super) fn object(body: &[u8], form: &str) -> Result<serde_json::Map<String, Value>, Refused> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Refused::invalid(format!("the body must be a JSON object such as {form}"))),
    }
}

/// Whose person is meant.
#[derive(Deserialize)]
struct At {
    account: Option<String>,
}

impl At {
    fn account(&self, platform: &Platform) -> Result<String, Refused> {
        let known = platform.meta.accounts();
        match &self.account {
            None => {
                Ok(platform.options().pages.first().or(known.first()).cloned().unwrap_or_default())
            }
            Some(account) if known.contains(account) => Ok(account.clone()),
            Some(account) => {
                let why = format!("there is no account {account}; there are {}", known.join(", "));
                Err(Refused(StatusCode::NOT_FOUND, why))
            }
        }
    }
}

type Person = Path<String>;

async fn paths() -> Response {
    let paths = PATHS.iter().map(|(path, what)| ((*path).to_owned(), json!(what)));
    Json(Value::Object(paths.collect())).into_response()
}

async fn unknown() -> Refused {
    let why = "there is no such path; GET /_simulator lists what there is";
    Refused(StatusCode::NOT_FOUND, why.to_owned())
}

async fn wrong_method() -> Refused {
    let why = "this path has other methods; GET /_simulator lists them";
    Refused(StatusCode::METHOD_NOT_ALLOWED, why.to_owned())
}

/// Delivers a notification: the webhook's status, and what has reached the person so far.
async fn deliver(platform: &Platform, account: &str, psid: &str, body: &[u8]) -> Value {
    let status = platform.deliver(body).await;
    json!({"webhook": status, "delivered": platform.meta.delivered(account, psid)})
}

/// A person writes the body's text. A body that is a JSON object is any messaging item instead, such as
/// `{"postback": {"title": "Start", "payload": "GET_STARTED"}}`.
async fn act(State(platform): Owner, Path(psid): Person, at: Query<At>, body: Bytes) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    let notification = match serde_json::from_slice(&body) {
        Ok(Value::Object(mut item)) => {
            for name in ["message", "postback"] {
                if let Some(part) = item.get_mut(name) {
                    *part = platform.meta.with_mid(&account, part.take());
                }
            }
            platform.meta.person_does(&account, &psid, item.into())
        }
        _ => platform.meta.person_says(&account, &psid, &text(&body)?),
    };
    Ok(Json(deliver(&platform, &account, &psid, &notification).await))
}

fn text(body: &Bytes) -> Result<String, Refused> {
    let text = String::from_utf8(body.to_vec()).unwrap_or_default();
    if text.is_empty() {
        return Err(Refused::invalid("the body must be a text in UTF-8"));
    }
    Ok(text)
}

async fn comment(State(platform): Owner, Path(psid): Person, at: Query<At>, body: Bytes) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    let id = platform.meta.next_public_id(&account);
    let notification = platform.meta.person_comments(&account, &psid, &id, &text(&body)?);
    let mut answer = deliver(&platform, &account, &psid, &notification).await;
    answer["comment_id"] = id.into();
    Ok(Json(answer))
}

async fn write_post(
    State(platform): Owner,
    Path(psid): Person,
    at: Query<At>,
    body: Bytes,
) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    if platform.meta.is_instagram(&account) {
        return Err(Refused::invalid("nobody posts on an Instagram account; people comment"));
    }
    let id = platform.meta.next_public_id(&account);
    let notification = platform.meta.person_posts(&account, &psid, &id, &text(&body)?);
    let mut answer = deliver(&platform, &account, &psid, &notification).await;
    answer["post_id"] = id.into();
    Ok(Json(answer))
}

async fn read_profile(State(platform): Owner, Path(psid): Person, at: Query<At>) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    Ok(Json(platform.meta.shown_profile(&account, &psid)))
}

/// Takes fields, or `{"refused": "unavailable"}`, `not_permitted` or `no_consent`.
async fn put_profile(
    State(platform): Owner,
    Path(psid): Person,
    at: Query<At>,
    body: Bytes,
) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    let fields = object(&body, r#"{"first_name": "Guest"} or {"refused": "unavailable"}"#)?;
    match fields.get("refused").map(|why| NoProfile::named(why.as_str().unwrap_or_default())) {
        None => platform.meta.set_user_profile(&account, &psid, fields),
        Some(Some(why)) => platform.meta.hide_user_profile(&account, &psid, why),
        Some(None) => {
            let why = "refused must be one of unavailable, not_permitted, no_consent";
            return Err(Refused::invalid(why));
        }
    }
    Ok(Json(platform.meta.shown_profile(&account, &psid)))
}

async fn delete_profile(State(platform): Owner, Path(psid): Person, at: Query<At>) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    platform.meta.reset_user_profile(&account, &psid);
    Ok(Json(platform.meta.shown_profile(&account, &psid)))
}

async fn read_thread(State(platform): Owner, Path(psid): Person, at: Query<At>) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    Ok(Json(thread(&platform, &account, &psid)))
}

fn thread(platform: &Platform, account: &str, psid: &str) -> Value {
    let app_id = platform.meta.holder_of(account, psid);
    let name = match app_id.as_deref() {
        None => "nobody",
        Some(INBOX | INSTAGRAM_INBOX) => "inbox",
        Some(BUSINESS_AI) => "business_ai",
        Some(app_id) if app_id == platform.meta.app_connected_to(account) => "app",
        Some(_) => "another app",
    };
    json!({"holder": name, "app_id": app_id})
}

/// Takes `{"granted": true}` or `{"granted": false}`.
async fn put_ad_windows(State(platform): Owner, body: Bytes) -> Answer {
    let platform = owner(&platform)?;
    let wanted = object(&body, r#"{"granted": true}"#)?;
    let Some(granted) = wanted.get("granted").and_then(Value::as_bool) else {
        return Err(Refused::invalid("granted must be true or false"));
    };
    platform.meta.set_ad_windows(granted);
    Ok(Json(json!({"granted": granted})))
}

/// Takes `{"holder": "inbox"}`, `business_ai`, `app` or `nobody`; with `"text"` the inbox or the AI writes it.
async fn put_thread(
    State(platform): Owner,
    Path(psid): Person,
    at: Query<At>,
    body: Bytes,
) -> Answer {
    let platform = owner(&platform)?;
    let account = at.account(&platform)?;
    let wanted = object(&body, r#"{"holder": "inbox", "text": "One moment, please."}"#)?;
    let holder = wanted.get("holder").and_then(Value::as_str).unwrap_or_default();
    if !["inbox", "business_ai", "app", "nobody"].contains(&holder) {
        return Err(Refused::invalid("holder must be one of inbox, business_ai, app, nobody"));
    }
    let text = match wanted.get("text") {
        None => None,
        Some(Value::String(text)) if ["inbox", "business_ai"].contains(&holder) => Some(text),
        Some(Value::String(_)) => {
            return Err(Refused::invalid("text is written by the inbox or the business_ai only"));
        }
        Some(_) => return Err(Refused::invalid("text must be a string")),
    };
    let meta = &platform.meta;
    let handover = match holder {
        "inbox" => Some(meta.inbox_takes(&account, &psid)),
        "app" => Some(meta.inbox_passes(&account, &psid)),
        "business_ai" => {
            meta.business_ai_takes(&account, &psid);
            None
        }
        _ => {
            meta.thread_is_released(&account, &psid);
            None
        }
    };
    let mut statuses = Vec::new();
    if let Some(handover) = handover {
        statuses.push(platform.deliver(&handover).await);
    }
    if let Some(echo) = text.and_then(|text| meta.holder_says(&account, &psid, text)) {
        statuses.push(platform.deliver(&echo).await);
    }
    let mut answer = thread(&platform, &account, &psid);
    answer["webhook"] = json!(statuses);
    Ok(Json(answer))
}

async fn requests(State(platform): Owner) -> Answer {
    Ok(Json(json!(owner(&platform)?.meta.requests())))
}

async fn clear_requests(State(platform): Owner) -> Answer {
    let platform = owner(&platform)?;
    platform.meta.clear_requests();
    Ok(Json(json!([])))
}

async fn state(State(platform): Owner) -> Answer {
    let state = owner(&platform)?.state().await;
    state.map(Json).map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn read_clock(State(platform): Owner) -> Answer {
    Ok(clock_of(&*owner(&platform)?))
}

/// Takes `{"to": <ms or RFC 3339>}` or `{"forward_seconds": n}`; whatever falls due on the way
/// happens at its time.
async fn move_clock(State(platform): Owner, body: Bytes) -> Answer {
    let platform = owner(&platform)?;
    let wanted = Value::Object(object(&body, r#"{"forward_seconds": 3600}"#)?);
    let to = match (&wanted["to"], wanted["forward_seconds"].as_u64()) {
        (_, Some(seconds)) => Some(platform.clock.now() + Duration::from_secs(seconds)),
        (Value::Number(millis), None) => millis.as_i64().map(Timestamp::from_millis),
        (Value::String(text), None) => Timestamp::from_rfc3339(text),
        _ => None,
    };
    let Some(to) = to else {
        let why = "give to (ms since the epoch, or RFC 3339) or forward_seconds";
        return Err(Refused::invalid(why));
    };
    platform.advance_to(to).await;
    Ok(clock_of(&platform))
}

fn clock_of(platform: &Platform) -> Json<Value> {
    let now = platform.clock.now();
    Json(json!({"now": now.to_string(), "millis": now.millis()}))
}

async fn environment(State(platform): Owner) -> Result<String, Refused> {
    let platform = owner(&platform)?;
    let lines = platform.environment().iter().map(|(name, value)| format!("{name}={value}\n"));
    Ok(lines.collect())
}

/// The body is a notification that another webhook got: Meta's stand-in takes it as having happened.
async fn observe(State(platform): Owner, body: Bytes) -> Result<StatusCode, Refused> {
    owner(&platform)?.meta.observe(&body);
    Ok(StatusCode::NO_CONTENT)
}
