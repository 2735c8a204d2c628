//! When a message may be sent: Meta's messaging windows as one pure decision.
//!
//! Source: Meta's Messenger Platform policy (standard messaging, message tags, human agent, utility
//! messages) and its announcement that three tags end on 27 April 2026.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

use crate::clock::Timestamp;
use crate::event::Platform;
use crate::message::{Invalid, Outgoing, Use};
use crate::person::Person;

/// The standard messaging window: 24 hours from the person's last window-opening action.
pub const STANDARD_WINDOW: Duration = Duration::from_hours(24);

/// The longest window of a conversation that an ad began: 7 days from the first message after the click.
///
/// On which terms Meta grants it is not public, so it is only tried, and closed by the first refusal.
/// Source: Meta's Messenger policy of 28 September 2026.
pub const AD_WINDOW: Duration = SEVEN_DAYS;

/// The window of `HUMAN_AGENT` and `CUSTOMER_FEEDBACK`: 7 days from the same action.
pub const SEVEN_DAYS: Duration = Duration::from_hours(24 * 7);

/// From this instant on (27 April 2026, 00:00 UTC) Meta refuses three of the message tags.
pub const TAGS_RETIRED_AT: Timestamp = Timestamp::from_millis(1_777_248_000_000);

/// Why a message is sent; decides which window and which label apply.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Purpose {
    /// The bot's answer to an event.
    Reply,
    /// An automated follow-up or update.
    Update,
    /// Written by a person of the business; needs an author.
    Human,
    /// A customer feedback survey.
    Feedback,
    /// A change of an account's or application's status.
    AccountUpdate,
    /// A reminder of an event that the person signed up for.
    ConfirmedEventUpdate,
    /// A change of a purchase's status.
    PostPurchaseUpdate,
    /// A utility message by an approved template.
    Utility,
    /// The one private answer to a comment or a visitor's post.
    PrivateReply,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name of every purpose.
    pub const NAMES: &[&str] = <Self as VariantNames>::VARIANTS;

    /// The purpose's name in settings, requests and the table.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Checks that the content fits the purpose; a sender action fits all of them.
    ///
    /// # Errors
    /// [`Invalid`] for a feedback or utility purpose with other content, and the reverse.
    pub fn check_content(self, say: &Outgoing) -> Result<(), Invalid> {
        let wanted = match self {
            Self::Feedback => Use::Feedback,
            Self::Utility => Use::Utility,
            _ => Use::General,
        };
        if say.usable_for().is_none_or(|usable_for| usable_for == wanted) {
            return Ok(());
        }
        Err(Invalid::new(
            "message",
            match wanted {
                Use::Feedback => "the purpose feedback requires a customer_feedback template",
                Use::Utility => "the purpose utility requires a reference to a utility template",
                Use::General => {
                    "a feedback or utility template requires the purpose of the same name"
                }
            },
        ))
    }

    const fn retired_tag(self) -> Option<Tag> {
        match self {
            Self::AccountUpdate => Some(Tag::AccountUpdate),
            Self::ConfirmedEventUpdate => Some(Tag::ConfirmedEventUpdate),
            Self::PostPurchaseUpdate => Some(Tag::PostPurchaseUpdate),
            _ => None,
        }
    }
}

/// A message tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Tag {
    /// Written by a person, up to 7 days.
    HumanAgent,
    /// A survey, up to 7 days.
    CustomerFeedback,
    /// Retired.
    AccountUpdate,
    /// Retired.
    ConfirmedEventUpdate,
    /// Retired.
    PostPurchaseUpdate,
}

impl Tag {
    /// The tag as the Send API spells it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How a message is labelled for Meta: `messaging_type` and `tag`.
///
/// A sender action has no label: it may be sent only where a message needs no special one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `RESPONSE`.
    Response,
    /// `UPDATE`.
    Update,
    /// `MESSAGE_TAG` with its tag.
    Tagged(Tag),
    /// `UTILITY`.
    Utility,
}

impl Label {
    /// The Send API's `messaging_type`.
    pub const fn messaging_type(self) -> &'static str {
        match self {
            Self::Response => "RESPONSE",
            Self::Update => "UPDATE",
            Self::Tagged(_) => "MESSAGE_TAG",
            Self::Utility => "UTILITY",
        }
    }

    /// Whether it is a label of the standard messaging window.
    pub const fn is_standard(self) -> bool {
        matches!(self, Self::Response | Self::Update)
    }

    /// The Send API's `tag`.
    pub fn tag(self) -> Option<&'static str> {
        match self {
            Self::Tagged(tag) => Some(tag.name()),
            _ => None,
        }
    }
}

/// Why the windows do not allow a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// The person never wrote to the Page, as far as we know.
    NeverHeardFrom,
    /// More than the standard window has passed since the person's last message.
    WindowClosed,
    /// More than 7 days have passed since the person's last message.
    SevenDaysPassed,
    /// The tag is one of the three that Meta has retired.
    TagRetired,
    /// `HUMAN_AGENT` is for what a person wrote, and no author is named.
    AuthorMissing,
    /// More than 7 days have passed since the comment or the visitor's post.
    CommentTooOld,
    /// Instagram does not support such a message.
    NotOnInstagram,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether only the windows forbid it, so that a utility template may be sent instead.
    pub const fn leaves_fallback(self) -> bool {
        match self {
            Self::NeverHeardFrom
            | Self::WindowClosed
            | Self::SevenDaysPassed
            | Self::TagRetired => true,
            Self::AuthorMissing | Self::CommentTooOld | Self::NotOnInstagram => false,
        }
    }

    /// The refusal's name in records, counts and answers.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it means and what may be sent instead.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NeverHeardFrom => {
                "the person has not written to the Page; only a utility template may be sent"
            }
            Self::WindowClosed => {
                "the standard messaging window has ended; a utility template, or a person's answer \
                 within 7 days, may be sent"
            }
            Self::SevenDaysPassed => "the person's last message is more than 7 days old",
            Self::TagRetired => {
                "Meta refuses this message tag since 27 April 2026; use a utility template \
                 (purpose utility)"
            }
            Self::AuthorMissing => "a message for purpose human needs the author who wrote it",
            Self::CommentTooOld => "the comment or post is more than 7 days old",
            Self::NotOnInstagram => {
                "Instagram takes neither utility messages nor feedback templates, and of the tags \
                 only HUMAN_AGENT"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.explanation())
    }
}

impl std::error::Error for Refusal {}

/// What the windows of one conversation depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The platform.
    pub platform: Platform,
    /// The person's last window-opening action.
    pub last_message_at: Option<Timestamp>,
    /// The end of the standard window, whose length can differ between conversations.
    pub free_until: Option<Timestamp>,
    /// The end of the window that an ad may have opened, if the person came by one.
    pub ad_until: Option<Timestamp>,
}

impl Standing {
    /// Whether at `now` only an ad's window may still be open.
    pub fn is_by_ad(&self, now: Timestamp) -> bool {
        let lasts = |end: Option<Timestamp>| end.is_some_and(|end| now <= end);
        lasts(self.ad_until) && !lasts(self.free_until)
    }

    /// The standing of this recipient at `now`: where the recipient is itself the permission to send, the
    /// window is open.
    #[must_use]
    pub fn of_recipient(self, person: &Person, now: Timestamp) -> Self {
        if !person.is_permission() {
            return self;
        }
        Self { last_message_at: Some(now), free_until: Some(now + STANDARD_WINDOW), ..self }
    }
}

/// How close to a window's edge a message may still leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The margin kept at each edge.
    pub margin: Duration,
    /// Whether the windows of ads are tried.
    pub ad_windows: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { margin: Duration::from_mins(1), ad_windows: false }
    }
}

impl Policy {
    /// The end of the window that an ad may have opened, if such windows are tried.
    fn ad_until(&self, standing: &Standing) -> Option<Timestamp> {
        standing.ad_until.filter(|_| self.ad_windows)
    }
}

/// Decides whether a message may be sent at `now`, and under which label.
///
/// For a private reply, `standing` is that of the comment or post: its last message is the comment.
/// An edge is the last instant at which Meta accepts a message; sending stops a margin before it.
/// Between the end of the standard window and that of an ad's, a tag goes first where one is allowed:
/// whether Meta grants the ad's window is not known.
///
/// # Errors
/// [`Refusal`] if the windows do not allow it.
pub fn decide(
    purpose: Purpose,
    author: Option<&str>,
    standing: &Standing,
    now: Timestamp,
    policy: &Policy,
) -> Result<Label, Refusal> {
    let before = |edge: Option<Timestamp>| edge.is_some_and(|edge| now + policy.margin <= edge);
    let heard = standing.last_message_at;
    let in_window = before(standing.free_until);
    let in_ad_window = before(policy.ad_until(standing));
    let in_seven_days = before(heard.map(|at| at + SEVEN_DAYS));
    let on_instagram = standing.platform == Platform::Instagram;

    match purpose {
        Purpose::Human if author.is_none_or(|name| name.trim().is_empty()) => {
            Err(Refusal::AuthorMissing)
        }
        Purpose::Utility | Purpose::Feedback if on_instagram => Err(Refusal::NotOnInstagram),
        Purpose::Utility => Ok(Label::Utility),
        // The age of a comment without a time is known to Meta alone.
        Purpose::PrivateReply if heard.is_none() || in_seven_days => Ok(Label::Response),
        Purpose::PrivateReply => Err(Refusal::CommentTooOld),
        _ if heard.is_none() => Err(Refusal::NeverHeardFrom),
        Purpose::Reply | Purpose::Human if in_window => Ok(Label::Response),
        _ if in_window => Ok(Label::Update),
        Purpose::Reply if in_ad_window => Ok(Label::Response),
        Purpose::Update if in_ad_window => Ok(Label::Update),
        Purpose::Reply | Purpose::Update => Err(Refusal::WindowClosed),
        Purpose::Human if in_seven_days => Ok(Label::Tagged(Tag::HumanAgent)),
        Purpose::Feedback if in_seven_days => Ok(Label::Tagged(Tag::CustomerFeedback)),
        Purpose::Human | Purpose::Feedback => Err(Refusal::SevenDaysPassed),
        Purpose::AccountUpdate | Purpose::ConfirmedEventUpdate | Purpose::PostPurchaseUpdate => {
            match purpose.retired_tag() {
                Some(tag) if !on_instagram && now + policy.margin < TAGS_RETIRED_AT => {
                    Ok(Label::Tagged(tag))
                }
                _ if in_ad_window => Ok(Label::Update),
                _ if on_instagram => Err(Refusal::NotOnInstagram),
                _ => Err(Refusal::TagRetired),
            }
        }
    }
}

/// A purpose for which the windows allow something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedPurpose {
    /// The purpose.
    pub purpose: Purpose,
    /// Until when, if the person does not write; for ever if absent.
    pub until: Option<Timestamp>,
}

/// The purposes for which something may be sent to a person at `now`: the alternatives to a refused
/// message.
pub fn allowed_purposes(
    standing: &Standing,
    now: Timestamp,
    policy: &Policy,
) -> Vec<AllowedPurpose> {
    let until = |purpose| match purpose {
        Purpose::Human | Purpose::Feedback => {
            standing.last_message_at.map(|at| at + SEVEN_DAYS).max(standing.free_until)
        }
        Purpose::Utility => None,
        _ => standing.free_until.max(policy.ad_until(standing)),
    };
    let allowed = Purpose::ALL.iter().copied().filter(|purpose| {
        *purpose != Purpose::PrivateReply
            && decide(*purpose, Some("somebody"), standing, now, policy).is_ok()
    });
    let chance =
        |purpose| AllowedPurpose { purpose, until: until(purpose).map(|at| at - policy.margin) };
    allowed.map(chance).collect()
}

/// What the windows allow of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The entry itself, under this label.
    AsMeant(Label),
    /// Its fallback template, because the entry itself is refused.
    Fallback(Refusal),
}

impl Allowed {
    /// The label that is used.
    pub const fn label(self) -> Label {
        match self {
            Self::AsMeant(label) => label,
            Self::Fallback(_) => Label::Utility,
        }
    }
}

/// Decides like [`decide`]; if only the windows refuse it, its fallback template is allowed, provided
/// there is one and utility messages are allowed.
///
/// # Errors
/// [`Refusal`] if neither may be sent.
pub fn decide_with_fallback(
    purpose: Purpose,
    author: Option<&str>,
    has_fallback: bool,
    standing: &Standing,
    now: Timestamp,
    policy: &Policy,
) -> Result<Allowed, Refusal> {
    let refusal = match decide(purpose, author, standing, now, policy) {
        Ok(label) => return Ok(Allowed::AsMeant(label)),
        Err(refusal) => refusal,
    };
    let may_fall_back = has_fallback
        && refusal.leaves_fallback()
        && decide(Purpose::Utility, author, standing, now, policy).is_ok();
    if may_fall_back { Ok(Allowed::Fallback(refusal)) } else { Err(refusal) }
}
