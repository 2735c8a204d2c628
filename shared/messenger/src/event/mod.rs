//! Inbound events: what Meta reports about a Page's conversations.
//!
//! A kind that is not known here becomes [`Kind::Unknown`] with its raw JSON. The shapes are those of
//! Meta's webhook reference, parsed leniently: a number instead of a string, or a missing field, never
//! loses an event.

mod inbound;
mod json;
mod notification;
mod parse;
mod record;

use sha2::{Digest, Sha256};
use strum::IntoStaticStr;

use crate::clock::Timestamp;
use crate::person::Person;

pub use inbound::Inbound;
pub use notification::{Limits, MAX_EVENTS, MAX_EVENTS_IN_ORDER, Unreadable, split, split_within};
pub use record::{MAX_RECORD_BYTES, WriteError};

/// The prefix of every `metadata` that the outbox writes.
///
/// Whoever sends from the Page can write it too: what confirms a message is the tag behind it, which
/// only the event processor can check.
pub const METADATA_MARK: &str = "mb2.";

/// The platform of a conversation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Platform {
    /// A Facebook Page's Messenger.
    #[default]
    Messenger,
    /// An Instagram professional account.
    Instagram,
}

impl Platform {
    /// The platform's name in the table.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An inbound event, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Identifies the event; the same at each delivery of it.
    pub id: String,
    /// The Page (or Instagram account) that it happened to.
    pub page_id: String,
    /// The notification's `object`: `page` or `instagram`.
    pub object: String,
    /// The platform of the Page or account.
    pub platform: Platform,
    /// The array that it came in: `messaging`, `standby`, `changes`, `calls` or one yet unknown; `entry`
    /// or `notification` for what stands outside of an array.
    pub container: String,
    /// Whose conversation it belongs to.
    pub person: Option<Person>,
    /// When it happened according to Meta, but never after its receipt; absent if Meta gives no
    /// time.
    pub at: Option<Timestamp>,
    /// When the webhook received it.
    pub received_at: Timestamp,
    /// The time of the entry that it came in, as Meta gave it.
    pub entry_time: Option<i64>,
    /// Whether it was too large for the queue and only its envelope is left.
    pub truncated: bool,
    /// What happened, parsed.
    pub kind: Kind,
    /// The event as Meta sent it.
    pub raw: String,
}

/// The kind of an event, with its content.
#[derive(Clone, Debug, PartialEq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The person wrote, tapped a quick reply or sent attachments.
    Message(Message),
    /// A message was sent from the Page: by us, by another app, or by a person in the Page inbox.
    Echo(Echo),
    /// The person edited a message.
    Edit(Edit),
    /// The person reacted to a message, or removed the reaction.
    Reaction(Reaction),
    /// The person tapped a button, the menu or Get Started.
    Postback(Postback),
    /// The person came by a link or an ad.
    Referral(Referral),
    /// The person opted in to something.
    #[strum(serialize = "optin")]
    OptIn(OptIn),
    /// Messages were delivered.
    Delivery(Delivery),
    /// Messages were read.
    Read(Read),
    /// The conversation's control changed hands.
    Handover(Handover),
    /// The person answered a customer feedback template; the answers are in the raw JSON.
    Feedback,
    /// An event of a kind that this version does not know.
    Unknown {
        /// The field that identifies the kind, for counting.
        name: String,
    },
}

/// A message from the person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The message's id.
    pub mid: Option<String>,
    /// What was written.
    pub text: Option<String>,
    /// The payload of the quick reply that was tapped.
    pub quick_reply: Option<String>,
    /// What was attached.
    pub attachments: Vec<Attachment>,
    /// The message that this one answers.
    pub reply_to: Option<String>,
    /// Where the person came from.
    pub referral: Option<Referral>,
    /// Whether the person deleted the message (Instagram).
    pub is_deleted: bool,
}

/// Something attached to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `image`, `audio`, `video`, `file`, `sticker`, `location` and more.
    pub kind: String,
    /// Where it can be fetched.
    pub url: Option<String>,
    /// The sticker's id.
    pub sticker_id: Option<String>,
}

/// A message that was sent from the Page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The message's id.
    pub mid: Option<String>,
    /// The app that sent it.
    pub app_id: Option<String>,
    /// What its sender put into `metadata`.
    pub metadata: Option<String>,
    /// What it says.
    pub text: Option<String>,
}

impl Echo {
    /// Whether it looks like the echo of a message of the outbox.
    pub fn has_our_mark(&self) -> bool {
        self.metadata.as_deref().is_some_and(|metadata| metadata.starts_with(METADATA_MARK))
    }
}

/// A message that the person changed; it carries the message's own mid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// The message's id.
    pub mid: Option<String>,
    /// What it says now.
    pub text: Option<String>,
    /// How often it has been changed.
    pub num_edit: Option<i64>,
}

/// A reaction; it carries the mid of the message reacted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// The message's id.
    pub mid: Option<String>,
    /// Whether the reaction was removed.
    pub is_unreact: bool,
    /// The reaction's name, such as `love`.
    pub reaction: Option<String>,
    /// The emoji.
    pub emoji: Option<String>,
}

/// A tapped button.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Postback {
    /// The message's id, if it has one.
    pub mid: Option<String>,
    /// The button's label.
    pub title: Option<String>,
    /// The payload that the button's author gave it; absent in standby.
    pub payload: Option<String>,
    /// Where the person came from.
    pub referral: Option<Referral>,
}

/// Where a person came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referral {
    /// What the link's author put into `ref`.
    pub reference: Option<String>,
    /// `SHORTLINK`, `ADS` and more.
    pub source: Option<String>,
    /// `OPEN_THREAD`, `LEAD_COMPLETE`, `LEAD_INCOMPLETE` and more.
    pub kind: Option<String>,
    /// The ad.
    pub ad_id: Option<String>,
}

/// Consent to something; its tokens are in the raw JSON only, so that no log contains them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptIn {
    /// `notification_messages`, `one_time_notif_req`; absent for plugins.
    pub kind: Option<String>,
    /// The payload that the request's author gave it.
    pub payload: Option<String>,
    /// What the plugin's author put into `ref`.
    pub reference: Option<String>,
    /// The checkbox plugin's reference to the person.
    pub user_ref: Option<String>,
}

/// A confirmation that messages reached the person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The messages, if Meta names them.
    pub mids: Vec<String>,
    /// All messages up to this instant.
    pub watermark: Option<Timestamp>,
}

/// A confirmation that messages were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The message (Instagram).
    pub mid: Option<String>,
    /// All messages up to this instant (Messenger).
    pub watermark: Option<Timestamp>,
}

/// A change of who controls the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The app that held the conversation gave it to another.
    Pass {
        /// The app that holds it now.
        to: Option<String>,
    },
    /// The primary receiver took it.
    Take {
        /// The app that holds it now.
        to: Option<String>,
    },
    /// An app asks for it.
    Request {
        /// The app that asks.
        by: Option<String>,
    },
    /// The apps' roles changed.
    Roles,
}

impl Event {
    /// Whether this is an act of the person that opens, or renews, the standard messaging window.
    ///
    /// The source of a link is `SHORTLINK` for m.me and `SHORTLINKS` for ig.me. The checkbox plugin's
    /// opt-in opens it for its `user_ref`.
    ///
    /// Source: Meta's Messenger policy, "standard messaging window"; the rows that Meta does not
    /// spell out (edits, handover, feedback) count as not opening it. An event without a time opens
    /// nothing, because the window counts from the event's time.
    pub fn opens_window(&self) -> bool {
        let opens = match &self.kind {
            Kind::Message(message) => !message.is_deleted,
            Kind::Postback(_) => true,
            Kind::Reaction(reaction) => !reaction.is_unreact,
            Kind::Referral(referral) => {
                matches!(referral.source.as_deref(), Some("SHORTLINK" | "SHORTLINKS"))
                    || matches!(referral.kind.as_deref(), Some("LEAD_COMPLETE" | "LEAD_INCOMPLETE"))
            }
            Kind::OptIn(optin) => optin.user_ref.is_some() && self.is_of_user_ref(),
            _ => false,
        };
        opens && self.at.is_some()
    }

    /// When it happened: by Meta's time, and never after its receipt.
    pub fn happened_at(&self) -> Timestamp {
        self.at.map_or(self.received_at, |at| at.min(self.received_at))
    }

    /// Whether the person is known only by the checkbox plugin's reference.
    fn is_of_user_ref(&self) -> bool {
        matches!(self.person, Some(Person::UserRef(_)))
    }

    /// Whether another app controls the conversation.
    pub fn is_standby(&self) -> bool {
        self.container == "standby"
    }

    /// Whether it seems only to confirm something about messages that were sent.
    ///
    /// An echo is judged by the mark of its metadata, which another app can write as well.
    fn looks_like_a_receipt(&self) -> bool {
        match &self.kind {
            Kind::Delivery(_) | Kind::Read(_) => true,
            Kind::Echo(echo) => echo.has_our_mark(),
            _ => false,
        }
    }

    /// The queue's message group: events of one group are processed in order.
    ///
    /// It is a hash, so that the queue does not reveal PSIDs. Each receipt has a group of its own: a
    /// confirmation must not wait behind the event that waits for it, nor behind another receipt. An
    /// echo that imitates our mark is in such a group too: it only loses its place in the order. Each
    /// event without a person has one as well, because nothing depends on its order.
    pub fn group(&self) -> String {
        let Some(person) = &self.person else {
            return digest(&["group", &self.page_id, "", &self.id]);
        };
        let whose = digest(&["group", &self.page_id, &person.to_string()]);
        match self.id.get(..16) {
            Some(id) if self.looks_like_a_receipt() => format!("{whose}.receipts.{id}"),
            _ => whose,
        }
    }

    /// The kind's name, for counting and for the log.
    pub fn kind_name(&self) -> &'static str {
        self.kind.name()
    }
}

impl Kind {
    /// The kind's name, for counting and for the log.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The mid, for the kinds that are one per mid.
    ///
    /// Edits, reactions and feedback carry the mid of the message that they are about, so it does
    /// not name them.
    fn own_mid(&self) -> Option<&str> {
        match self {
            Self::Message(message) if !message.is_deleted => message.mid.as_deref(),
            Self::Echo(echo) => echo.mid.as_deref(),
            Self::Postback(postback) => postback.mid.as_deref(),
            _ => None,
        }
    }
}

/// SHA-256 in hexadecimal over length-prefixed parts, so that no two lists of parts look alike.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}
