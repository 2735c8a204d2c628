//! Recipients that are a permission to send: the tokens of opt-ins, and phone numbers.
//!
//! Source: Meta's guides of notification messages (a token until its expiry), of one-time notifications
//! (one message, within a year) and of customer matching; its error table's row 100 names a token that is
//! invalid or has expired. Such an opt-in opens no window.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Meta;
use super::answer::Refusal;
use super::people::{id, list, milliseconds};

/// How long a token is valid whose opt-in names no end.
const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// A prefix that no country has: nobody has such a number.
const NOBODY: &str = "+999";

/// What a token allows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Notifications,
    OneTime,
}

impl Kind {
    const fn field(self) -> &'static str {
        match self {
            Self::Notifications => "notification_messages_token",
            Self::OneTime => "one_time_notif_token",
        }
    }
}

/// The tokens that people gave, by Page and token.
#[derive(Default)]
pub(super) struct Permits(BTreeMap<(String, Kind, String), Permit>);

struct Permit {
    psid: String,
    expires_at: i64,
    is_used_up: bool,
}

impl Permits {
    /// Adds the tokens of a notification's opt-ins.
    pub(super) fn take(&mut self, notification: &Value, now: i64) {
        for entry in list(&notification["entry"]) {
            let Some(page_id) = id(&entry["id"]) else { continue };
            for item in list(&entry["messaging"]) {
                let (Some(psid), optin) = (id(&item["sender"]["id"]), &item["optin"]) else {
                    continue;
                };
                for kind in [Kind::Notifications, Kind::OneTime] {
                    if let Some(token) = id(&optin[kind.field()]) {
                        let end = milliseconds(&optin["token_expiry_timestamp"]);
                        let expires_at = end.unwrap_or(now + YEAR_MS);
                        let permit = Permit { psid: psid.clone(), expires_at, is_used_up: false };
                        self.0.entry((page_id.clone(), kind, token)).or_insert(permit);
                    }
                }
            }
        }
    }

    /// Whom a token reaches.
    pub(super) fn psid(&self, page_id: &str, kind: Kind, token: &str) -> Option<String> {
        let permit = self.0.get(&(page_id.to_owned(), kind, token.to_owned()))?;
        Some(permit.psid.clone())
    }

    /// Checks a token, uses it, and returns whom it reaches.
    pub(super) fn use_token(
        &mut self,
        page_id: &str,
        kind: Kind,
        token: &str,
        now: i64,
    ) -> Result<String, Refusal> {
        let wrong = |why: &str| Refusal::invalid(&format!("{} {why}", kind.field()));
        let key = (page_id.to_owned(), kind, token.to_owned());
        let permit = self.0.get_mut(&key).ok_or_else(|| wrong("is invalid"))?;
        if permit.is_used_up || now >= permit.expires_at {
            return Err(wrong("has expired"));
        }
        permit.is_used_up = kind == Kind::OneTime;
        Ok(permit.psid.clone())
    }
}

/// Whom a phone number reaches: every number in E.164 form has an account, except those that no country
/// has.
pub(super) fn psid_of_number(number: &str) -> Result<String, Refusal> {
    let digits = number.strip_prefix('+').unwrap_or_default();
    if !(8..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::invalid("Param recipient[phone_number] must be a phone number"));
    }
    if number.starts_with(NOBODY) {
        return Err(Refusal::no_matching_user());
    }
    Ok(format!("9{digits:0>15}"))
}

impl Meta {
    /// A person gives a token for notifications; without an end it is valid for a year.
    pub fn add_notification_token(&self, page_id: &str, token: &str, psid: &str, end: Option<i64>) {
        self.add_permit(page_id, Kind::Notifications, token, psid, end);
    }

    /// A person gives a token for one notification.
    pub fn add_one_time_token(&self, page_id: &str, token: &str, psid: &str) {
        self.add_permit(page_id, Kind::OneTime, token, psid, None);
    }

    fn add_permit(&self, page_id: &str, kind: Kind, token: &str, psid: &str, end: Option<i64>) {
        let expires_at = end.unwrap_or(self.now() + YEAR_MS);
        let permit = Permit { psid: psid.to_owned(), expires_at, is_used_up: false };
        let key = (page_id.to_owned(), kind, token.to_owned());
        self.state().permits.0.insert(key, permit);
    }
}
