//! People's actions, and Meta's own record of them.
//!
//! Source: Meta's messaging windows and its webhook references, whose samples have each form of a time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::conversations::Side;
use super::{Authorship, Meta, Platform, PublicPost, State, notification};

/// Smaller times are in seconds: as milliseconds they would lie before Messenger existed.
const FIRST_MILLISECOND_FORM: i64 = 100_000_000_000;

/// Someone a Page can write to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Person {
    Psid(String),
    UserRef(String),
}

impl Person {
    /// The person as `sender` or `recipient`.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Psid(psid) => json!({"id": psid}),
            Self::UserRef(user_ref) => json!({"user_ref": user_ref}),
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        id(&value["id"]).map(Self::Psid).or_else(|| id(&value["user_ref"]).map(Self::UserRef))
    }
}

/// The people that each Page has met, and when each of them last opened the window.
#[derive(Default)]
pub(super) struct Record {
    people: BTreeMap<(String, Person), Acquaintance>,
}

/// A person whom a Page has met.
#[derive(Clone, Copy, Default)]
pub(super) struct Acquaintance {
    pub(super) last_opening: Option<i64>,
    /// The first message after the person's last click on an ad.
    pub(super) ad_answered: Option<i64>,
    /// Whether the person clicked an ad and has written nothing since.
    ad_clicked: bool,
}

impl Record {
    pub(super) fn find(&self, page_id: &str, person: &Person) -> Option<Acquaintance> {
        self.people.get(&(page_id.to_owned(), person.clone())).copied()
    }

    pub(super) fn meet(&mut self, page_id: &str, person: Person) -> &mut Acquaintance {
        self.people.entry((page_id.to_owned(), person)).or_default()
    }

    fn open(&mut self, page_id: &str, person: Person, at: i64) {
        let acquaintance = self.meet(page_id, person);
        acquaintance.last_opening = acquaintance.last_opening.max(Some(at));
    }

    fn take(&mut self, notification: &Value, now: i64) {
        if !matches!(notification["object"].as_str(), Some("page" | "instagram")) {
            return;
        }
        for entry in list(&notification["entry"]) {
            let Some(page_id) = id(&entry["id"]) else {
                continue;
            };
            for item in list(&entry["messaging"]).iter().chain(list(&entry["standby"])) {
                self.take_item(&page_id, item, &entry["time"], now);
            }
            // Reference, "Who acted": the same events also come as `{field, value}`, in `changes` or
            // flat in the entry.
            for change in list(&entry["changes"]).iter().chain([entry]) {
                self.take_item(&page_id, &change["value"], &entry["time"], now);
            }
            let callers = list(&entry["calls"]).iter().map(|call| id(&call["from"]));
            let labelled =
                list(&entry["changes"]).iter().map(|change| id(&change["value"]["user"]["id"]));
            for psid in callers.chain(labelled).flatten() {
                self.meet(&page_id, Person::Psid(psid));
            }
        }
    }

    fn take_item(&mut self, page_id: &str, item: &Value, entry_time: &Value, now: i64) {
        let at = milliseconds(&item["timestamp"])
            .or_else(|| milliseconds(entry_time))
            .unwrap_or(now)
            // A clock that runs ahead can write a future time, but nobody acts in the future.
            .min(now);
        if let Some(user_ref) = id(&item["optin"]["user_ref"]) {
            // Ticking the checkbox is the only action of such a person.
            self.open(page_id, Person::UserRef(user_ref), at);
            return;
        }
        match Person::from_value(&item["sender"]) {
            Some(Person::Psid(sender)) if sender == page_id => {
                if let Some(recipient) = Person::from_value(&item["recipient"]) {
                    self.meet(page_id, recipient);
                }
            }
            Some(person) => {
                let opens = opens_the_window(item);
                if opens {
                    self.open(page_id, person.clone(), at);
                }
                self.meet(page_id, person).hear_of_ad(item, opens, at);
            }
            None => {}
        }
    }
}

impl Acquaintance {
    /// Reference, "Messaging windows": a click on an ad alone opens nothing, the message that follows does;
    /// where the referral of an ad stands, "Event shapes".
    fn hear_of_ad(&mut self, item: &Value, opens: bool, at: i64) {
        let says = [&item["message"], &item["postback"]].iter().any(|said| said.is_object());
        if !opens {
            self.ad_clicked |= names_an_ad(item);
        } else if names_an_ad(item) || says && self.ad_clicked {
            self.ad_answered = Some(at);
            self.ad_clicked = false;
        }
    }
}

/// Whether an item comes from an ad: by its own referral, or that of its message, postback or opt-in.
fn names_an_ad(item: &Value) -> bool {
    [item, &item["message"], &item["postback"], &item["optin"]].iter().any(|part| {
        let source = part["referral"]["source"].as_str().unwrap_or_default();
        source.eq_ignore_ascii_case("ADS")
    })
}

/// Meta's table of the actions that open or refresh the standard messaging window.
///
/// Not in the reference's table: the opt-in of the Send to Messenger plugin opens it (Meta's policy names
/// conversations that a person starts by a plugin), and a message that the API cannot show does not.
fn opens_the_window(item: &Value) -> bool {
    const LINKS: [&str; 3] = ["SHORTLINK", "SHORTLINKS", "IGME-SOURCE-LINK"];
    let (message, referral, optin) = (&item["message"], &item["referral"], &item["optin"]);
    let lead = matches!(referral["type"].as_str(), Some("LEAD_COMPLETE" | "LEAD_INCOMPLETE"));
    let by_link = referral["source"]
        .as_str()
        .is_some_and(|source| LINKS.iter().any(|link| link.eq_ignore_ascii_case(source)));
    let by_plugin = optin["ref"].is_string() && optin["type"].is_null();
    let said = message.is_object()
        && ["is_echo", "is_deleted", "is_unsupported"].iter().all(|name| !flag(&message[*name]))
        && message["attachments"][0]["type"] != json!("unsupported_type");
    // Reference, "Who acted": it is the account's own act.
    if [item, message, &item["postback"]].iter().any(|part| flag(&part["is_self"])) {
        return false;
    }
    said || item["postback"].is_object()
        || by_link
        || lead
        || by_plugin
        || item["reaction"]["action"] == json!("react")
}

/// Whether a flag is set; it comes as a boolean, a number or a string.
fn flag(value: &Value) -> bool {
    [json!(true), json!("true"), json!(1), json!("1")].contains(value)
}

/// A time in any of Meta's forms (milliseconds or seconds, number or string), in milliseconds.
pub(super) fn milliseconds(time: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a time in ms is far from the limit")]
    let whole = |number: f64| number as i64;
    let number = match time {
        Value::String(text) => text.trim().parse().ok().map(whole)?,
        other => other.as_i64().or_else(|| other.as_f64().map(whole))?,
    };
    match number {
        ..=0 => None,
        1..FIRST_MILLISECOND_FORM => Some(number * 1_000),
        _ => Some(number),
    }
}

pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl State {
    /// Adds the comments and visitors' posts of a notification, each of which allows one private reply.
    ///
    /// Reference, "Comments": the Page's field `feed` with `item` and `verb`, Instagram's `comments`, which
    /// may stand flat in the entry.
    fn take_public_posts(&mut self, notification: &Value, now: i64) {
        for entry in list(&notification["entry"]) {
            for change in list(&entry["changes"]).iter().chain([entry]) {
                let (value, page_id) = (&change["value"], id(&entry["id"]));
                let is_new = value["verb"] == json!("add");
                let post = match (change["field"].as_str(), value["item"].as_str()) {
                    (Some("comments" | "live_comments"), _) => {
                        id(&value["id"]).map(PublicPost::Comment)
                    }
                    (Some("feed"), Some("comment")) if is_new => {
                        id(&value["comment_id"]).map(PublicPost::Comment)
                    }
                    (Some("feed"), Some("post" | "status" | "photo" | "video")) if is_new => {
                        id(&value["post_id"]).map(PublicPost::Post)
                    }
                    _ => None,
                };
                let at = milliseconds(&value["created_time"])
                    .or_else(|| milliseconds(&entry["time"]))
                    .unwrap_or(now)
                    .min(now);
                let author =
                    id(&value["from"]["id"]).filter(|author| Some(author) != page_id.as_ref());
                if let (Some(page_id), Some(post), Some(psid)) = (page_id, post, author) {
                    let authorship = Authorship { psid, at, replied: false };
                    self.public_posts.entry((page_id, post)).or_insert(authorship);
                }
            }
        }
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Meta {
    /// A person writes a text; returns the notification.
    pub fn person_says(&self, page_id: &str, psid: &str, text: &str) -> Vec<u8> {
        self.person_sends(page_id, psid, json!({"text": text}))
    }

    /// A person sends a message of any form; returns the notification.
    ///
    /// The message gets a mid unless it has one.
    pub fn person_sends(&self, page_id: &str, psid: &str, message: Value) -> Vec<u8> {
        let item = json!({"message": self.with_mid(page_id, message)});
        self.person_does(page_id, psid, item)
    }

    /// A person taps a button with a postback; returns the notification.
    pub fn person_taps(&self, page_id: &str, psid: &str, payload: &str, title: &str) -> Vec<u8> {
        let postback = json!({"title": title, "payload": payload});
        let item = json!({"postback": self.with_mid(page_id, postback)});
        self.person_does(page_id, psid, item)
    }

    /// A person causes any messaging item; returns the notification.
    ///
    /// `sender`, `recipient` and `timestamp` (now) are added where the item lacks them; one that is
    /// null in the item is left out, as Meta does in some events.
    pub fn person_does(&self, page_id: &str, psid: &str, item: Value) -> Vec<u8> {
        let now = self.now();
        let mut fields = Map::new();
        fields.insert("sender".to_owned(), json!({"id": psid}));
        fields.insert("recipient".to_owned(), json!({"id": page_id}));
        fields.insert("timestamp".to_owned(), json!(now));
        if let Value::Object(given) = item {
            fields.extend(given);
        }
        fields.retain(|_, value| !value.is_null());

        let mut state = self.state();
        let platform = state.platform(page_id);
        let container = state.happens_in(page_id, psid, now);
        let item = Value::Object(fields);
        let notification = notification::within(container, platform, page_id, now, &item);
        state.record.take(&notification, now);
        state.permits.take(&notification, now);
        let message = &notification["entry"][0][container][0]["message"];
        let mid = message["mid"].as_str().unwrap_or_default();
        if message["is_echo"] != json!(true) {
            let person = Person::Psid(psid.to_owned());
            state.write_line(page_id, &person, mid, message, Side::Person, now);
        }
        notification::bytes(&notification)
    }

    /// Adds a notification that was made elsewhere to Meta's record.
    ///
    /// Times are those of the events, but never later than now. An unreadable notification and an
    /// entry of unknown form change nothing.
    pub fn observe(&self, body: &[u8]) {
        let now = self.now();
        if let Ok(notification) = serde_json::from_slice(body) {
            let mut state = self.state();
            state.record.take(&notification, now);
            state.take_public_posts(&notification, now);
            state.permits.take(&notification, now);
        }
    }

    /// A person comments on a post of the Page, or on something of the Instagram account, which allows
    /// one private reply; returns the notification.
    pub fn person_comments(
        &self,
        page_id: &str,
        psid: &str,
        comment_id: &str,
        text: &str,
    ) -> Vec<u8> {
        let now = self.now();
        let platform = self.state().platform(page_id);
        let change = match platform {
            Platform::Messenger => json!({"field": "feed", "value": {
                "item": "comment", "verb": "add", "comment_id": comment_id,
                "post_id": format!("{page_id}_1"), "parent_id": format!("{page_id}_1"),
                "from": {"id": psid, "name": "A person"}, "message": text,
                "created_time": now / 1000,
            }}),
            Platform::Instagram => json!({"field": "comments", "value": {
                "id": comment_id, "text": text, "from": {"id": psid, "username": "a_person"},
                "media": {"id": "18000000000000001", "media_product_type": "FEED"},
            }}),
        };
        self.public(platform, page_id, &change, now)
    }

    /// A visitor posts on the Page, which allows one private reply; returns the notification.
    pub fn person_posts(&self, page_id: &str, psid: &str, post_id: &str, text: &str) -> Vec<u8> {
        let now = self.now();
        let change = json!({"field": "feed", "value": {
            "item": "status", "verb": "add", "post_id": post_id,
            "from": {"id": psid, "name": "A person"}, "message": text, "created_time": now / 1000,
        }});
        self.public(Platform::Messenger, page_id, &change, now)
    }

    /// A notification of one change; the time of its entry is in seconds.
    fn public(&self, platform: Platform, page_id: &str, change: &Value, now: i64) -> Vec<u8> {
        let object = match platform {
            Platform::Messenger => "page",
            Platform::Instagram => "instagram",
        };
        let entry = json!({"id": page_id, "time": now / 1000, "changes": [change]});
        let notification = json!({"object": object, "entry": [entry]});
        self.state().take_public_posts(&notification, now);
        notification::bytes(&notification)
    }

    /// An id for the next comment or post.
    pub fn next_public_id(&self, page_id: &str) -> String {
        let mut state = self.state();
        state.said += 1;
        match state.platform(page_id) {
            Platform::Messenger => format!("{page_id}_{}", state.said),
            Platform::Instagram => format!("{}", 17_900_000_000_000_000 + state.said),
        }
    }

    /// Adds a person to those a Page has met, without opening the window.
    pub fn add_person(&self, page_id: &str, psid: &str) {
        self.state().record.meet(page_id, Person::Psid(psid.to_owned()));
    }

    /// When a person last opened the window by Meta's record, in ms since the epoch.
    pub fn last_opening(&self, page_id: &str, psid: &str) -> Option<i64> {
        self.state().record.find(page_id, &Person::Psid(psid.to_owned()))?.last_opening
    }

    /// Adds a comment on the Page, which allows one private reply by `comment_id`.
    pub fn add_comment(&self, page_id: &str, comment_id: &str, psid: &str, at: i64) {
        self.add_public_post(page_id, PublicPost::Comment(comment_id.to_owned()), psid, at);
    }

    /// Adds a visitor's post on the Page, which allows one private reply by `post_id`.
    pub fn add_visitor_post(&self, page_id: &str, post_id: &str, psid: &str, at: i64) {
        self.add_public_post(page_id, PublicPost::Post(post_id.to_owned()), psid, at);
    }

    fn add_public_post(&self, page_id: &str, post: PublicPost, psid: &str, at: i64) {
        let authorship = Authorship { psid: psid.to_owned(), at, replied: false };
        self.state().public_posts.insert((page_id.to_owned(), post), authorship);
    }

    /// Numbers the messages that follow from here on, as at a Page that has a past of so many.
    pub fn number_from(&self, number: u64) {
        let mut state = self.state();
        (state.said, state.sent) = (number, number);
    }

    /// Gives a message or postback a mid unless it has one.
    pub fn with_mid(&self, page_id: &str, mut message: Value) -> Value {
        if let Value::Object(fields) = &mut message
            && !fields.contains_key("mid")
        {
            let mut state = self.state();
            state.said += 1;
            let mid = notification::mid(state.platform(page_id), "said", state.said);
            fields.insert("mid".to_owned(), json!(mid));
        }
        message
    }
}
