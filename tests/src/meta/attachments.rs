//! Media that a Page has saved at Meta.
//!
//! Source: the reference of the Attachment Upload API (ids are valid for 90 days, for one Page), and the
//! error table's rows 100/2018008 and 100/2018074.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::{Meta, State};

/// How long saved media can be sent.
const KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// Media of up to 25 MB.
const LARGEST_FILE: u64 = 25 * 1024 * 1024;

const KINDS: [&str; 4] = ["image", "audio", "video", "file"];

/// The media that all Pages have saved.
#[derive(Default)]
pub(super) struct Attachments(Vec<Saved>);

struct Saved {
    page_id: String,
    id: String,
    kind: String,
    expires_at: i64,
}

impl Attachments {
    fn save(&mut self, page_id: &str, kind: &str, now: i64) -> String {
        let id = (900_000_000_000_000 + self.0.len()).to_string();
        self.keep(page_id, &id, kind, now);
        id
    }

    fn keep(&mut self, page_id: &str, id: &str, kind: &str, now: i64) {
        let (page_id, id, kind) = (page_id.to_owned(), id.to_owned(), kind.to_owned());
        self.0.push(Saved { page_id, id, kind, expires_at: now + KEPT_MS });
    }

    /// Checks that each `attachment_id` of a message is of media that the Page has saved.
    pub(super) fn check(&self, page_id: &str, message: &Value, now: i64) -> Result<(), Refusal> {
        let attachment = &message["attachment"];
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut used = vec![(attachment["type"].clone(), attachment["payload"].clone())];
        for image in list(&message["attachments"]) {
            used.push((image["type"].clone(), image["payload"].clone()));
        }
        for element in list(&attachment["payload"]["elements"]) {
            used.push((element["media_type"].clone(), element));
        }
        for (kind, payload) in used {
            let id = match &payload["attachment_id"] {
                Value::Null => continue,
                Value::String(id) => id.clone(),
                other => other.to_string(),
            };
            let is_this = |saved: &Saved| {
                saved.page_id == page_id && saved.id == id && kind == saved.kind.as_str()
            };
            if !self.0.iter().any(|saved| is_this(saved) && now < saved.expires_at) {
                let message = "(#100) Possible invalid ID or you do not own the attachment.";
                return Err(Refusal::new(400, 100, Some(2_018_074), message));
            }
        }
        Ok(())
    }

    /// Saves the media of a message that was sent, if it asks for that.
    pub(super) fn save_sent(&mut self, page_id: &str, message: &Value, now: i64) -> Option<String> {
        let attachment = &message["attachment"];
        let payload = &attachment["payload"];
        let kind = attachment["type"].as_str().filter(|kind| KINDS.contains(kind))?;
        let is_wanted = payload["is_reusable"] == json!(true) && payload["attachment_id"].is_null();
        is_wanted.then(|| self.save(page_id, kind, now))
    }
}

/// Refuses media that cannot be fetched. Nothing is fetched here: what can never be resolved stands for
/// it.
pub(super) fn check_url(url: &Value) -> Result<(), Refusal> {
    let url = url.as_str().unwrap_or_default();
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return Err(Refusal::invalid("Param attachment[payload][url] must be a web address"));
    };
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
    if host.ends_with(".invalid") {
        let message = "(#100) Failed to fetch the file from the url";
        return Err(Refusal::new(400, 100, Some(2_018_008), message));
    }
    Ok(())
}

/// Checks a file of a form. Source: the Send API's limit of media.
pub(super) fn check_file(file: &Value) -> Result<(), Refusal> {
    match file["bytes"].as_u64() {
        Some(1..=LARGEST_FILE) => Ok(()),
        Some(0) => Err(Refusal::invalid("Param filedata must not be empty")),
        Some(_) => {
            Err(Refusal::new(400, 100, Some(2_018_047), "(#100) Upload attachment failure."))
        }
        None => Err(Refusal::invalid("Param filedata must be a file of a form")),
    }
}

impl State {
    pub(super) fn upload(&mut self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "pages_messaging")?;
        let page_id = self.account_asked_for(page_id, call)?;
        if !matches!(call.choice("platform").as_deref(), None | Some("messenger" | "instagram")) {
            return Err(Refusal::invalid("Param platform must be one of {MESSENGER, INSTAGRAM}"));
        }
        let message = match call.value("message") {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            value => value.clone(),
        };
        let (kind, payload) = (&message["attachment"]["type"], &message["attachment"]["payload"]);
        let Some(kind) = kind.as_str().filter(|kind| KINDS.contains(kind)) else {
            let why = "Param message[attachment][type] must be one of audio, file, image, video";
            return Err(Refusal::invalid(why));
        };
        if !payload["is_reusable"].is_null() && !payload["is_reusable"].is_boolean() {
            return Err(Refusal::invalid("Param payload[is_reusable] must be a boolean"));
        }
        match call.value("filedata") {
            Value::Null => check_url(&payload["url"])?,
            file => check_file(file)?,
        }
        Ok(json!({"attachment_id": self.attachments.save(&page_id, kind, now)}))
    }
}

impl Meta {
    /// Media that a Page saved at this instant under this id: `image`, `audio`, `video` or `file`.
    pub fn add_attachment(&self, page_id: &str, id: &str, kind: &str) {
        let now = self.now();
        self.state().attachments.keep(page_id, id, kind, now);
    }
}
