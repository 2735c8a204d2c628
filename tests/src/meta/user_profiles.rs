//! The profile of a person: `GET /{psid}`.
//!
//! Source: Meta's User Profile API (fields, and that a person is known who wrote to the Page), and of
//! Instagram messaging (`name`, `username` and what they follow). Without the permissions of `locale`,
//! `timezone` and `gender`, a call that asks for one of them is refused as a whole
//! (bottenderjs/messaging-apis#441, howdyai/botkit#1590). The refusals are answers that others
//! published: jgorset/facebook-messenger#202 (100/2018218), remixz/messenger-bot#98 (100/2018247),
//! chatwoot/chatwoot#11484 (230 on Instagram).

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::people::Person;
use super::{Meta, Platform, State};

const OF_MESSENGER: [&str; 8] =
    ["id", "name", "first_name", "last_name", "profile_pic", "locale", "timezone", "gender"];

/// The fields that need a permission each.
const EXTENDED: [&str; 3] = ["locale", "timezone", "gender"];

const OF_INSTAGRAM: [&str; 8] = [
    "id",
    "name",
    "username",
    "profile_pic",
    "follower_count",
    "is_verified_user",
    "is_user_follow_business",
    "is_business_follow_user",
];

/// Why Meta shows no profile; each is a normal answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProfile {
    /// The person has no account of Facebook: 100/2018218.
    Unavailable,
    /// The person has not granted it, or the app lacks the permission: 100/2018247.
    NotPermitted,
    /// On Instagram the person has not written to the account: 230.
    NoConsent,
}

impl NoProfile {
    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "unavailable" => Some(Self::Unavailable),
            "not_permitted" => Some(Self::NotPermitted),
            "no_consent" => Some(Self::NoConsent),
            _ => None,
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Unavailable => {
                let message = "(#100) No profile available for this user.";
                Refusal::new(400, 100, Some(2_018_218), message)
            }
            Self::NotPermitted => {
                let message = "(#100) Insufficient permission to access user profile.";
                Refusal::new(400, 100, Some(2_018_247), message)
            }
            Self::NoConsent => {
                let message = "(#230) User consent is required to access user profile";
                Refusal::new(400, 230, None, message)
            }
        }
    }
}

/// What a test set instead of a person's usual profile.
pub(super) enum UserProfile {
    Fields(Map<String, Value>),
    None(NoProfile),
}

impl Meta {
    /// Sets fields of a person's profile; one that is null is not shown.
    pub fn set_user_profile(&self, page_id: &str, psid: &str, fields: Map<String, Value>) {
        let key = (page_id.to_owned(), psid.to_owned());
        self.state().user_profiles.insert(key, UserProfile::Fields(fields));
    }

    /// From now on Meta does not show a person's profile.
    pub fn hide_user_profile(&self, page_id: &str, psid: &str, why: NoProfile) {
        let key = (page_id.to_owned(), psid.to_owned());
        self.state().user_profiles.insert(key, UserProfile::None(why));
    }

    /// Meta shows a person's usual profile again.
    pub fn reset_user_profile(&self, page_id: &str, psid: &str) {
        self.state().user_profiles.remove(&(page_id.to_owned(), psid.to_owned()));
    }

    /// The app of a Page lacks the permissions of `locale`, `timezone` and `gender`.
    pub fn show_basic_profiles_only(&self, page_id: &str) {
        self.state().basic_profiles.insert(page_id.to_owned());
    }

    /// All that Meta shows of a person to an account, or the error that it answers with.
    pub fn shown_profile(&self, page_id: &str, psid: &str) -> Value {
        match self.state().profile_of(page_id, psid) {
            Ok(fields) => fields.into(),
            Err(refusal) => json!({"refused": {
                "code": refusal.code, "subcode": refusal.subcode, "message": refusal.message,
            }}),
        }
    }
}

impl State {
    /// All fields of a profile: whoever the Page has not met does not exist for it; whoever has not acted
    /// has granted nothing.
    fn profile_of(&self, page_id: &str, psid: &str) -> Result<Map<String, Value>, Refusal> {
        let Some(known) = self.record.find(page_id, &Person::Psid(psid.to_owned())) else {
            return Err(Refusal::no_such_object(psid));
        };
        let platform = self.platform(page_id);
        let mut fields = usual(platform, psid);
        match self.user_profiles.get(&(page_id.to_owned(), psid.to_owned())) {
            Some(UserProfile::None(why)) => return Err(why.refusal()),
            Some(UserProfile::Fields(given)) => fields.extend(given.clone()),
            None => {}
        }
        if known.last_opening.is_none() {
            let why = match platform {
                Platform::Messenger => NoProfile::NotPermitted,
                Platform::Instagram => NoProfile::NoConsent,
            };
            return Err(why.refusal());
        }
        fields.retain(|_, value| !value.is_null());
        Ok(fields)
    }

    /// The account of a Page that has met a person: the Page itself, or the Instagram account that is
    /// linked to it.
    fn account_that_met(&self, page_id: &str, psid: &str) -> String {
        let person = Person::Psid(psid.to_owned());
        let has_met = |account: &str| self.record.find(account, &person).is_some();
        let linked = self.linked_account(page_id);
        linked.filter(|linked| !has_met(page_id) && has_met(linked)).unwrap_or(page_id).to_owned()
    }

    /// `GET /{psid}`.
    pub(super) fn user_profile(&self, psid: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page("me", call, now)?;
        self.demand(&page_id, "pages_messaging")?;
        let account = self.account_that_met(&page_id, psid);
        let mut shown = self.profile_of(&account, psid)?;
        let platform = self.platform(&account);
        let (fields, by_default): (_, &[&str]) = match platform {
            Platform::Messenger => (OF_MESSENGER, &["first_name", "last_name", "profile_pic"]),
            Platform::Instagram => (OF_INSTAGRAM, &["name", "profile_pic"]),
        };
        let mut wanted = call.list("fields");
        if wanted.is_empty() {
            wanted = by_default.iter().map(|name| (*name).to_owned()).collect();
        }
        if let Some(unknown) = wanted.iter().find(|name| !fields.contains(&name.as_str())) {
            let why = format!("Tried accessing nonexisting field ({unknown})");
            return Err(Refusal::invalid(&why));
        }
        let needs_more = wanted.iter().any(|name| EXTENDED.contains(&name.as_str()));
        if needs_more && self.basic_profiles.contains(&page_id) {
            return Err(NoProfile::NotPermitted.refusal());
        }
        shown.retain(|name, _| name == "id" || wanted.contains(name));
        Ok(shown.into())
    }
}

/// The profile of whom nothing else was set.
fn usual(platform: Platform, psid: &str) -> Map<String, Value> {
    let number = psid.get(psid.len().saturating_sub(4)..).unwrap_or(psid);
    let picture = "https://example.com/person.png";
    let fields = match platform {
        Platform::Messenger => json!({
            "id": psid, "name": format!("Guest {number}"), "first_name": "Guest",
            "last_name": number, "profile_pic": picture, "locale": "en_GB", "timezone": 1,
        }),
        Platform::Instagram => json!({
            "id": psid, "name": format!("Guest {number}"), "username": format!("guest_{number}"),
            "profile_pic": picture, "follower_count": 12, "is_verified_user": false,
            "is_user_follow_business": true, "is_business_follow_user": false,
        }),
    };
    fields.as_object().cloned().unwrap_or_default()
}
