//! What each kind of event says.

use super::METADATA_MARK;
use crate::clock::Timestamp;

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
}

impl Message {
    /// Whether nothing of it arrived: neither a text nor a quick reply nor attachments.
    pub const fn is_empty(&self) -> bool {
        self.text.is_none() && self.quick_reply.is_none() && self.attachments.is_empty()
    }
}

/// A message that was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsend {
    /// The id of the message that is gone.
    pub mid: Option<String>,
}

/// A message that Meta's API cannot show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsupported {
    /// The message's id.
    pub mid: Option<String>,
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
    /// Whether it only shows a post of the Page, and nothing that somebody wrote to the person.
    pub is_post: bool,
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
    /// `SHORTLINK`, `IGME-SOURCE-LINK`, `ADS` and more.
    pub source: Option<String>,
    /// `OPEN_THREAD`, `LEAD_COMPLETE`, `LEAD_INCOMPLETE` and more.
    pub kind: Option<String>,
    /// The ad.
    pub ad_id: Option<String>,
}

/// The sources of m.me and ig.me links, in any case.
const LINKS: [&str; 3] = ["SHORTLINK", "SHORTLINKS", "IGME-SOURCE-LINK"];

impl Referral {
    /// Whether the person came by an m.me or ig.me link.
    pub fn is_link(&self) -> bool {
        let source = self.source.as_deref().unwrap_or_default();
        LINKS.iter().any(|link| link.eq_ignore_ascii_case(source))
    }

    /// Whether the person came by an ad.
    pub fn is_ad(&self) -> bool {
        self.source.as_deref().is_some_and(|source| source.eq_ignore_ascii_case("ADS"))
    }

    /// Whether the person answered the questions of a lead ad.
    pub fn is_lead(&self) -> bool {
        matches!(self.kind.as_deref(), Some("LEAD_COMPLETE" | "LEAD_INCOMPLETE"))
    }
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
    /// Where the person came from.
    pub referral: Option<Referral>,
}

impl OptIn {
    /// Whether the Send to Messenger plugin reports it: neither the checkbox nor a message that asked for
    /// consent.
    pub const fn is_of_plugin(&self) -> bool {
        self.kind.is_none() && self.reference.is_some() && self.user_ref.is_none()
    }
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

/// A comment on a post of the Page or the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comment {
    /// The comment's id, to which the private reply goes.
    pub comment_id: Option<String>,
    /// The post, or the Instagram media, that it is about.
    pub post_id: Option<String>,
    /// The comment that it answers.
    pub parent_id: Option<String>,
    /// The author's id.
    pub author_id: Option<String>,
    /// The author's name, or Instagram user name.
    pub author_name: Option<String>,
    /// What it says.
    pub text: Option<String>,
}

/// A visitor's post on the Page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// The post's id, to which the private reply goes.
    pub post_id: Option<String>,
    /// The author's id.
    pub author_id: Option<String>,
    /// The author's name.
    pub author_name: Option<String>,
    /// What it says.
    pub text: Option<String>,
}

/// A change of the Page's feed that is no new comment or post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedChange {
    /// What changed: `reaction`, `comment`, `post` and more.
    pub item: Option<String>,
    /// How: `add`, `edited`, `remove` and more.
    pub verb: Option<String>,
}

/// What Meta did about a breach of its policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyEnforcement {
    /// `warning`, `block` or `unblock`.
    pub action: Option<String>,
    /// Why, in Meta's words.
    pub reason: Option<String>,
}

/// The state of a utility template in Meta's review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateStatus {
    /// `APPROVED`, `REJECTED`, `PAUSED` and more.
    pub event: Option<String>,
    /// The template's name.
    pub name: Option<String>,
    /// Its language.
    pub language: Option<String>,
    /// Why, in Meta's words.
    pub reason: Option<String>,
}

/// The states of a template in which it can be sent, or will be.
const SOUND: [&str; 5] = ["APPROVED", "PENDING", "IN_APPEAL", "REINSTATED", "UNPAUSED"];

impl TemplateStatus {
    /// Whether a template in this state can be sent, or is about to be reviewed.
    ///
    /// Source: Meta's reference of `message_templates`, and of the field
    /// `message_template_status_update`.
    pub fn is_sound(state: &str) -> bool {
        SOUND.contains(&state)
    }
}

/// How an event bears on the window that an ad may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromAd {
    /// The person came by an ad, and has said nothing yet.
    Click,
    /// The person answered an ad, which the event names.
    Answer,
    /// The person wrote. If they came by an ad before, it may be the first message since.
    Message,
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

/// A timer of the bot that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct TimerDue {
    /// Its key.
    pub key: String,
    /// What the bot set it with.
    pub payload: serde_json::Value,
    /// When the bot decided to set it.
    pub set_at: Timestamp,
    /// For when.
    pub due_at: Timestamp,
    /// The entry of the outbox that it was.
    pub entry: String,
}
