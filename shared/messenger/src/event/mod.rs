//! Inbound events: what Meta reports about a Page's conversations.
//!
//! A kind that is not known here becomes [`Kind::Unknown`] with its raw JSON. The shapes are those of
//! Meta's webhook reference, parsed leniently: a number instead of a string, or a missing field, never
//! loses an event.

mod content;
mod inbound;
mod json;
mod kind;
mod notification;
mod own;
mod parse;
mod record;

use sha2::{Digest, Sha256};
use strum::IntoStaticStr;

use crate::clock::Timestamp;
use crate::person::Person;
use crate::window::Purpose;

pub use content::{
    Attachment, Comment, Delivery, Echo, Edit, FeedChange, FromAd, Handover, Message, OptIn,
    PolicyEnforcement, Post, Postback, Reaction, Read, Referral, TemplateStatus, TimerDue, Unsend,
    Unsupported,
};
pub use inbound::Inbound;
pub use notification::{Limits, MAX_EVENTS, MAX_EVENTS_IN_ORDER, Unreadable, split, split_within};
pub use own::{Own, RESUMED};
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

    /// The platform of a notification's `object`.
    fn of_object(object: &str) -> Self {
        if object == "instagram" { Self::Instagram } else { Self::Messenger }
    }
}

/// Which time counts as an event's: an event may come without one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum TimeSource {
    /// Its own.
    #[default]
    Event,
    /// That of the entry that it came in.
    Entry,
    /// That of its receipt.
    Receipt,
}

impl TimeSource {
    /// The source's name in the table and in answers.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it is the event's own time.
    pub fn is_own(&self) -> bool {
        *self == Self::Event
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
    /// The array that it belongs to: `messaging`, `standby`, `changes`, `calls` or one yet unknown; `entry`
    /// or `notification` for what stands outside of an array. A messaging event belongs to `messaging` or
    /// `standby` although it may come under `changes`.
    pub container: String,
    /// Whose conversation it belongs to.
    pub person: Option<Person>,
    /// Whether the Page or the account itself did it, flagged as an echo or not: it opens no window, and
    /// the bot is not asked about it.
    pub by_page: bool,
    /// When it happened according to Meta, by its own time or that of its entry, whichever is not after
    /// its receipt; the time of its receipt if both are; absent if Meta gives no time.
    pub at: Option<Timestamp>,
    /// Where that time, or what stands in for it, is from.
    pub time_source: TimeSource,
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
    /// The person took a message back; there is nothing to answer.
    Unsend(Unsend),
    /// The person sent something that Meta's API cannot show; there is nothing to answer.
    Unsupported(Unsupported),
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
    /// Somebody commented on a post of the Page or the account; the bot's answer is the one private
    /// reply, within 7 days.
    Comment(Comment),
    /// A visitor posted on the Page; the bot's answer is the one private reply, within 7 days.
    Post(Post),
    /// Something else changed in the Page's feed: a reaction to a post, a comment edited or removed.
    FeedChange(FeedChange),
    /// Meta warned, blocked or unblocked the Page.
    PolicyEnforcement(PolicyEnforcement),
    /// The review of a utility template changed its state.
    TemplateStatus(TemplateStatus),
    /// A timer that the bot set is due; what the bot says about it answers nobody, so it is an update.
    Timer(TimerDue),
    /// The bot speaks again after people of the business answered: they, or the Page's inbox, gave the control back,
    /// or the time of a hand-over that asked for this is over.
    Resumed,
    /// An event of a kind that this version does not know.
    Unknown {
        /// The field that identifies the kind, for counting.
        name: String,
    },
}

impl Event {
    /// Whether this is an act of the person that opens, or renews, the standard messaging window.
    ///
    /// Links are m.me and ig.me links into an existing thread. The checkbox plugin's opt-in opens it for
    /// its `user_ref`, that of the Send to Messenger plugin for the PSID.
    ///
    /// Source: Meta's Messenger policy, "standard messaging window"; the rows that Meta does not
    /// spell out (edits, handover, feedback, what the API cannot show) count as not opening it.
    pub fn opens_window(&self) -> bool {
        !self.by_page
            && match &self.kind {
                Kind::Message(_) | Kind::Postback(_) => true,
                Kind::Reaction(reaction) => !reaction.is_unreact,
                Kind::Referral(referral) => referral.is_link() || referral.is_lead(),
                Kind::OptIn(optin) => match &self.person {
                    Some(Person::UserRef(_)) => optin.user_ref.is_some(),
                    Some(Person::Psid(_)) => optin.is_of_plugin(),
                    _ => false,
                },
                _ => false,
            }
    }

    /// How it bears on the window that an ad may open.
    ///
    /// A click alone opens none; the message that follows does, with or without naming the ad.
    ///
    /// Source: Meta's Messenger policy of 28 September 2026, and the referral of a message, a postback, an
    /// opt-in, and of its own event.
    pub fn from_ad(&self) -> Option<FromAd> {
        let referral = match &self.kind {
            Kind::Message(message) => message.referral.as_ref(),
            Kind::Postback(postback) => postback.referral.as_ref(),
            Kind::OptIn(optin) => optin.referral.as_ref(),
            Kind::Referral(referral) => Some(referral),
            _ => None,
        };
        let names_an_ad = referral.is_some_and(Referral::is_ad);
        match (names_an_ad, self.opens_window()) {
            _ if self.by_page => None,
            (true, true) => Some(FromAd::Answer),
            (true, false) => Some(FromAd::Click),
            (false, true) if matches!(self.kind, Kind::Message(_) | Kind::Postback(_)) => {
                Some(FromAd::Message)
            }
            (false, _) => None,
        }
    }

    /// When it happened: by Meta's time, or at its receipt if Meta gives none.
    pub fn happened_at(&self) -> Timestamp {
        self.at.unwrap_or(self.received_at)
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

    /// Whether the outbox made it, not Meta.
    pub const fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Timer(_) | Kind::Resumed)
    }

    /// The purpose of what the bot says about it.
    pub const fn purpose_of_answer(&self) -> Purpose {
        match self.kind {
            Kind::Comment(_) | Kind::Post(_) => Purpose::PrivateReply,
            Kind::Timer(_) | Kind::Resumed => Purpose::Update,
            _ => Purpose::Reply,
        }
    }
}

impl Kind {
    /// The kind's name, for counting and for the log.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The mid, or the id of the comment or post, for the kinds that are one per id.
    ///
    /// Edits, reactions, feedback and what is taken back carry the mid of the message that they are about,
    /// so it does not name them.
    fn own_mid(&self) -> Option<&str> {
        match self {
            Self::Message(message) => message.mid.as_deref(),
            Self::Unsupported(message) => message.mid.as_deref(),
            Self::Echo(echo) => echo.mid.as_deref(),
            Self::Postback(postback) => postback.mid.as_deref(),
            Self::Comment(comment) => comment.comment_id.as_deref(),
            Self::Post(post) => post.post_id.as_deref(),
            _ => None,
        }
    }
}

/// The id of the event that a comment or a post was, by whom a private reply to it goes to.
pub fn id_of_public_post(page_id: &str, person: &Person) -> Option<String> {
    let (kind, id) = match person {
        Person::Comment(id) => ("comment", id),
        Person::Post(id) => ("post", id),
        _ => return None,
    };
    Some(named_by(page_id, "changes", kind, id))
}

/// The id of an event that has a name of its own.
fn named_by(page_id: &str, container: &str, kind: &str, own: &str) -> String {
    digest(&[page_id, container, kind, own])
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
