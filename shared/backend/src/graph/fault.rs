//! What an error of Graph is about, and what it means: a value, from which others decide what follows.

use std::fmt;

use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::Usage;

/// The meaning of a failed call, which decides what happens next.
///
/// Source: Meta's table of common error codes of the Messenger Platform, of 25 June 2026.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Fault {
    /// No connection: the request was not sent.
    NotConnected,
    /// The request may have been carried out.
    Unclear,
    /// It was not carried out, and may be retried.
    Temporary,
    /// The Page's rate limit is reached.
    Throttled,
    /// The Page is restricted for a while.
    PageRestricted,
    /// The Page is blocked by a policy.
    PolicyBlock,
    /// The access token is no longer valid.
    TokenDead,
    /// The proof was made with another app secret, as happens in every rotation.
    ProofRejected,
    /// A capability, a permission, a review or the access to an account is missing.
    PermissionMissing,
    /// Another app, such as the Page's inbox, controls the thread.
    ThreadTaken,
    /// Meta considers the window closed, contrary to our record.
    OutsideWindow,
    /// The person cannot be reached.
    PersonUnreachable,
    /// The person stopped these notifications.
    NotificationsStopped,
    /// This person got too many opt-in requests or notifications.
    PersonLimit,
    /// Meta warns that the person gets too many tagged messages.
    AbuseWarning,
    /// The comment or post takes no private reply, or has one.
    ReplyImpossible,
    /// Meta could not fetch the media.
    MediaUnavailable,
    /// Meta rejects the request.
    Invalid,
}

/// What an error is about: only the last two hold back other people's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The message.
    Message,
    /// The person.
    Person,
    /// The thread with the person: nobody of the app may write to them for now.
    Thread,
    /// Whatever needs the same permission.
    Permission,
    /// The Page or account.
    Page,
    /// The app.
    App,
}

impl Fault {
    /// The fault's name, for records and counts.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it is about.
    pub const fn scope(self) -> Scope {
        match self {
            Self::NotConnected
            | Self::Unclear
            | Self::Temporary
            | Self::ReplyImpossible
            | Self::MediaUnavailable
            | Self::Invalid => Scope::Message,
            Self::OutsideWindow
            | Self::PersonUnreachable
            | Self::NotificationsStopped
            | Self::PersonLimit
            | Self::AbuseWarning => Scope::Person,
            Self::ThreadTaken => Scope::Thread,
            Self::PermissionMissing => Scope::Permission,
            Self::Throttled | Self::PageRestricted | Self::PolicyBlock | Self::TokenDead => {
                Scope::Page
            }
            Self::ProofRejected => Scope::App,
        }
    }

    /// Whether the same call may succeed in a moment.
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::NotConnected | Self::Unclear | Self::Temporary)
    }

    /// Whether people have to do something about it: an alarm.
    pub const fn needs_people(self) -> bool {
        matches!(
            self,
            Self::PageRestricted
                | Self::PolicyBlock
                | Self::TokenDead
                | Self::PermissionMissing
                | Self::AbuseWarning
        )
    }

    /// Whether other credentials may be accepted: it is about the token or the proof, not the message.
    pub fn is_of_credentials(self) -> bool {
        matches!(self, Self::TokenDead | Self::ProofRejected)
    }

    /// The meaning of an answer with this status and error object.
    fn of_answer(status: u16, error: &Value) -> Self {
        let subcode = error["error_subcode"].as_i64();
        match error["code"].as_i64() {
            None => Self::without_code(status),
            Some(100) if subcode.is_none() && is_of_proof(error) => Self::ProofRejected,
            Some(code) => {
                Self::of_code(code, subcode).unwrap_or_else(|| Self::of_unknown_code(status))
            }
        }
    }

    /// The meaning of Meta's code and subcode, a row for each case; none for one that is not known.
    fn of_code(code: i64, subcode: Option<i64>) -> Option<Self> {
        Some(match (code, subcode) {
            // An app, the inbox or the Business AI controls the thread; an automated flow does; "not
            // the thread owner" on Instagram. Meta's table has two of them without a code before.
            (_, Some(2_018_300 | 2_018_321 | 2_534_037)) | (2_018_300 | 2_018_321, _) => {
                Self::ThreadTaken
            }
            // Also 1357046, which can follow a message that was delivered.
            (1, subcode) if subcode != Some(99) => Self::Unclear,
            // 2 is also what a person who blocked the Page causes.
            (2 | 1200, _) => Self::Temporary,
            // A second opt-in request for a topic; the delay between two notifications; opt-in requests.
            (613, Some(1_893_016)) | (4, Some(2_018_354)) | (9, Some(2_018_352)) => {
                Self::PersonLimit
            }
            (613, Some(2_018_338)) => Self::AbuseWarning,
            // Of the app, the user, the Page, the account; 80000 to 80014 name the business use case.
            (4 | 17 | 32 | 341 | 613 | 80_000..=80_014, _) => Self::Throttled,
            (10, Some(2_018_278 | 2_018_065 | 2_534_022)) => Self::OutsideWindow,
            (10, Some(2_018_108))
            | (551, _)
            | (200, Some(1_545_041))
            | (100, Some(2_018_001 | 2_534_014)) => Self::PersonUnreachable,
            (10, Some(1_893_015)) => Self::NotificationsStopped,
            (10, Some(1_893_063)) => Self::PageRestricted,
            (368 | 2022, _) | (100, Some(2_534_029)) => Self::PolicyBlock,
            (102 | 104 | 190, _) => Self::TokenDead,
            // 230 and 200/2534041 (the account's owner withdrew the access) are among 200 to 299. With 100,
            // the Page itself is out of the token's reach, or not linked to an Instagram account.
            (3 | 10 | 200..=299, _) | (1, Some(99)) | (100, Some(33 | 2_534_013)) => {
                Self::PermissionMissing
            }
            (100, Some(2_018_008 | 2_018_294 | 2_018_047)) => Self::MediaUnavailable,
            (100, Some(2_534_025)) | (10_900..=10_903, _) => Self::ReplyImpossible,
            // Retired tags (1893061) too.
            (100, _) => Self::Invalid,
            _ => return None,
        })
    }

    /// A code of Meta's that is not known loses nothing: refused, the message is tried again until its
    /// window ends; otherwise it is unclear.
    fn of_unknown_code(status: u16) -> Self {
        match status {
            429 => Self::Throttled,
            400..500 if status != 408 => Self::Temporary,
            _ => Self::Unclear,
        }
    }

    /// Without a code it is not Graph's word but that of a server in front of it, and final for nothing:
    /// refused with a status of 4xx it was not carried out, otherwise it is unclear.
    fn without_code(status: u16) -> Self {
        match status {
            429 => Self::Throttled,
            // At 408 and 499 the server had not read the whole request, or had passed it on.
            400..500 if !matches!(status, 408 | 499) => Self::Temporary,
            _ => Self::Unclear,
        }
    }
}

/// Whether an error object is about the `appsecret_proof`.
///
/// Meta gives it no code of its own, so its text is looked at; the type excludes an error that repeats
/// what somebody wrote.
fn is_of_proof(error: &Value) -> bool {
    error["type"] == "GraphMethodException"
        && error["message"].as_str().is_some_and(|message| message.contains("appsecret_proof"))
}

/// A failed call to Graph.
///
/// It carries no URL, no token and none of Meta's free text, which may repeat what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct GraphError {
    /// The meaning of the error.
    pub fault: Fault,
    /// Meta's code.
    pub code: Option<i64>,
    /// Meta's subcode.
    pub subcode: Option<i64>,
    /// Meta's id of the call, for its support.
    pub trace: Option<String>,
    /// The rate limits that have been reached.
    pub usage: Usage,
    /// The version of the secret whose credentials the call was made with, if they were refused.
    pub secret_version: Option<String>,
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.name())?;
        if let Some(code) = self.code {
            write!(f, ": Meta's error {code}")?;
        }
        if let Some(subcode) = self.subcode {
            write!(f, "/{subcode}")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, " (fbtrace_id {trace})")?;
        }
        Ok(())
    }
}

impl GraphError {
    /// The error in an answer, from its status and body.
    pub fn of_answer(status: u16, body: &Value) -> Self {
        let error = &body["error"];
        Self {
            code: error["code"].as_i64(),
            subcode: error["error_subcode"].as_i64(),
            trace: error["fbtrace_id"].as_str().map(str::to_owned),
            ..Fault::of_answer(status, error).into()
        }
    }

    /// Whether the person may have blocked the Page: Meta answers that with the same error 2 as a
    /// failure of its own.
    pub fn may_be_a_block(&self) -> bool {
        self.fault == Fault::Temporary && self.code == Some(2)
    }
}

impl From<Fault> for GraphError {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            code: None,
            subcode: None,
            trace: None,
            usage: Usage::default(),
            secret_version: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_references_rows() {
        use Fault::{
            AbuseWarning, Invalid, MediaUnavailable, NotificationsStopped, OutsideWindow,
            PageRestricted, PermissionMissing, PersonLimit, PersonUnreachable, PolicyBlock,
            ReplyImpossible, Temporary, ThreadTaken, Throttled, TokenDead, Unclear,
        };
        for (status, code, subcode, fault, scope) in [
            (400, 1, Some(1_357_046), Unclear, Scope::Message),
            (500, 1, None, Unclear, Scope::Message),
            (400, 1, Some(99), PermissionMissing, Scope::Permission),
            (500, 2, None, Temporary, Scope::Message),
            (400, 1200, None, Temporary, Scope::Message),
            (400, 1200, Some(2_018_024), Temporary, Scope::Message),
            (400, 4, None, Throttled, Scope::Page),
            (400, 17, None, Throttled, Scope::Page),
            (400, 32, None, Throttled, Scope::Page),
            (400, 341, None, Throttled, Scope::Page),
            (400, 613, None, Throttled, Scope::Page),
            (400, 613, Some(2_534_040), Throttled, Scope::Page),
            (400, 80_001, None, Throttled, Scope::Page),
            (400, 80_002, None, Throttled, Scope::Page),
            (400, 80_006, None, Throttled, Scope::Page),
            (429, 5_000, None, Throttled, Scope::Page),
            (400, 613, Some(1_893_016), PersonLimit, Scope::Person),
            (400, 4, Some(2_018_354), PersonLimit, Scope::Person),
            (400, 9, Some(2_018_352), PersonLimit, Scope::Person),
            (400, 613, Some(2_018_338), AbuseWarning, Scope::Person),
            (429, 613, Some(2_018_338), AbuseWarning, Scope::Person),
            (400, 10, Some(2_018_278), OutsideWindow, Scope::Person),
            (400, 10, Some(2_018_065), OutsideWindow, Scope::Person),
            (400, 10, Some(2_534_022), OutsideWindow, Scope::Person),
            (403, 10, Some(2_018_300), ThreadTaken, Scope::Thread),
            (403, 10, Some(2_018_321), ThreadTaken, Scope::Thread),
            (403, 2_018_300, None, ThreadTaken, Scope::Thread),
            (400, 100, Some(2_534_037), ThreadTaken, Scope::Thread),
            (400, 10, Some(2_018_108), PersonUnreachable, Scope::Person),
            (400, 551, None, PersonUnreachable, Scope::Person),
            (400, 551, Some(1_545_041), PersonUnreachable, Scope::Person),
            (400, 200, Some(1_545_041), PersonUnreachable, Scope::Person),
            (400, 100, Some(2_018_001), PersonUnreachable, Scope::Person),
            (400, 100, Some(2_534_014), PersonUnreachable, Scope::Person),
            (400, 10, Some(1_893_015), NotificationsStopped, Scope::Person),
            (400, 10, Some(1_893_063), PageRestricted, Scope::Page),
            (400, 368, None, PolicyBlock, Scope::Page),
            (400, 2022, None, PolicyBlock, Scope::Page),
            (400, 100, Some(2_534_029), PolicyBlock, Scope::Page),
            (400, 3, None, PermissionMissing, Scope::Permission),
            (403, 10, None, PermissionMissing, Scope::Permission),
            (403, 10, Some(2_534_077), PermissionMissing, Scope::Permission),
            (403, 200, None, PermissionMissing, Scope::Permission),
            (403, 230, None, PermissionMissing, Scope::Permission),
            (403, 299, None, PermissionMissing, Scope::Permission),
            (403, 200, Some(2_534_041), PermissionMissing, Scope::Permission),
            (400, 100, Some(33), PermissionMissing, Scope::Permission),
            (400, 190, None, TokenDead, Scope::Page),
            (400, 190, Some(463), TokenDead, Scope::Page),
            (400, 190, Some(460), TokenDead, Scope::Page),
            (400, 102, None, TokenDead, Scope::Page),
            (400, 104, None, TokenDead, Scope::Page),
            (400, 100, None, Invalid, Scope::Message),
            (500, 100, None, Invalid, Scope::Message),
            (400, 100, Some(1_893_061), Invalid, Scope::Message),
            (400, 100, Some(2_018_008), MediaUnavailable, Scope::Message),
            (400, 100, Some(2_018_294), MediaUnavailable, Scope::Message),
            (400, 100, Some(2_018_047), MediaUnavailable, Scope::Message),
            (400, 100, Some(2_534_025), ReplyImpossible, Scope::Message),
            (400, 10_900, None, ReplyImpossible, Scope::Message),
            (400, 10_903, None, ReplyImpossible, Scope::Message),
            (404, 2500, None, Temporary, Scope::Message),
            (400, 9, None, Temporary, Scope::Message),
            (400, 36_103, None, Temporary, Scope::Message),
            (500, 5_000, None, Unclear, Scope::Message),
            (200, 5_000, None, Unclear, Scope::Message),
        ] {
            let body = json!({"error": {"code": code, "error_subcode": subcode}});
            let found = GraphError::of_answer(status, &body).fault;
            assert_eq!((found, found.scope()), (fault, scope), "{status} {code}/{subcode:?}");
        }
    }

    #[test]
    fn an_answer_without_graphs_code_is_final_for_nothing() {
        let bodies = [
            Value::Null,
            json!({}),
            json!([]),
            json!("no"),
            json!({"error": "no"}),
            json!({"error": {"message": "no", "type": "OAuthException"}}),
        ];
        for body in bodies {
            for (status, fault) in [
                (200, Fault::Unclear),
                (204, Fault::Unclear),
                (302, Fault::Unclear),
                (400, Fault::Temporary),
                (401, Fault::Temporary),
                (403, Fault::Temporary),
                (404, Fault::Temporary),
                (408, Fault::Unclear),
                (413, Fault::Temporary),
                (421, Fault::Temporary),
                (429, Fault::Throttled),
                (499, Fault::Unclear),
                (500, Fault::Unclear),
                (503, Fault::Unclear),
            ] {
                assert_eq!(GraphError::of_answer(status, &body).fault, fault, "{status} {body}");
            }
        }
    }

    #[test]
    fn a_proof_is_rejected_in_metas_words_only() {
        let wrong = "Invalid appsecret_proof provided in the API argument";
        let missing = "API calls from the server require an appsecret_proof argument";
        for (kind, code, subcode, message, is_of_proof) in [
            ("GraphMethodException", 100, None, wrong, true),
            ("GraphMethodException", 100, None, missing, true),
            ("GraphMethodException", 100, None, "Unsupported post request", false),
            ("GraphMethodException", 100, Some(33), wrong, false),
            ("GraphMethodException", 10, None, wrong, false),
            ("OAuthException", 100, None, "(#100) Param text: what is an appsecret_proof?", false),
        ] {
            let body = json!({"error": {"type": kind, "code": code, "error_subcode": subcode, "message": message}});
            let error = GraphError::of_answer(400, &body);
            assert_eq!(error.fault == Fault::ProofRejected, is_of_proof, "{body}");
            assert!(
                !format!("{error} {error:?}").contains("appsecret_proof"),
                "it is not repeated"
            );
        }
    }
}
