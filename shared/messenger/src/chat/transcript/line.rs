//! The lines of a transcript, and how each is written.

use std::fmt;

use super::span::{write_instant, write_span};
use super::step::{
    Account, Act, Check, Delivery, Desk, Ending, Fault, GraphFault, Happening, Outage, Passing,
    StaffAct, Step, Waiting, What,
};
use crate::clock::Timestamp;
use crate::event::Platform;
use crate::window::{Label, Tag};

/// Every label that a message can leave with.
pub(super) const LABELS: [Label; 8] = [
    Label::Response,
    Label::Update,
    Label::Utility,
    Label::Tagged(Tag::HumanAgent),
    Label::Tagged(Tag::CustomerFeedback),
    Label::Tagged(Tag::AccountUpdate),
    Label::Tagged(Tag::ConfirmedEventUpdate),
    Label::Tagged(Tag::PostPurchaseUpdate),
];

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Nothing.
    Blank,
    /// `# …`; the first one is the title.
    Comment(String),
    /// `guest: instagram`: where somebody writes.
    Person(String, Account),
    /// `= …`: where the clock stands at the start.
    Start(Timestamp),
    /// Something is done.
    Step(Step),
    /// `< …` or `x …`: what happens.
    Happens(Happening),
    /// `< anything`: more may happen than the other lines say.
    Anything,
    /// `~ …`: what waits.
    Waits(Waiting),
    /// `~ nothing`: nothing waits.
    NothingWaits,
    /// `? …`: what must hold.
    Must {
        /// About whom; whoever acted last if absent.
        who: Option<String>,
        /// What.
        check: Check,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => Ok(()),
            Self::Comment(text) if text.is_empty() => f.write_str("#"),
            Self::Comment(text) => write!(f, "# {text}"),
            Self::Person(who, account) => write!(f, "{who}: {account}"),
            Self::Start(at) => write!(f, "= {}", write_instant(*at)),
            Self::Step(step) => step.fmt(f),
            Self::Happens(happening) => happening.fmt(f),
            Self::Anything => f.write_str("< anything"),
            Self::Waits(waiting) => waiting.fmt(f),
            Self::NothingWaits => f.write_str("~ nothing"),
            Self::Must { who, check } => write!(f, "? {}{check}", named(who.as_ref())),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.platform, self.page) {
            (Platform::Messenger, page) => write!(f, "page {page}"),
            (Platform::Instagram, 1) => f.write_str("instagram"),
            (Platform::Instagram, page) => write!(f, "instagram {page}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person { who, act } => write!(f, "{who}> {act}"),
            Self::Staff { desk, to, act } => {
                let desk = match desk {
                    Desk::Api(author) => author,
                    Desk::Inbox => "inbox",
                };
                let to = to.as_ref().map(|who| format!(" to {who}")).unwrap_or_default();
                write!(f, "@{desk}{to}> {act}")
            }
            Self::Time(passing) => write!(f, "+ {passing}"),
            Self::Fault(fault) => write!(f, "! {fault}"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Says(text) => f.write_str(&said(text)),
            Self::Quickly(texts) => {
                f.write_str("(quickly")?;
                texts.iter().try_for_each(|text| write!(f, " \"{}\"", quoted(text)))?;
                f.write_str(")")
            }
            Self::Taps(title) => write!(f, "[{}]", escaped(title)),
            Self::SendsImage => f.write_str("(image)"),
            Self::Reacts(reaction) => write!(f, "(reaction {reaction})"),
            Self::Unsends => f.write_str("(unsend)"),
            Self::FollowsLink(reference) => write!(f, "(link m.me?ref={reference})"),
            Self::Comments(text) => write!(f, "(comment \"{}\")", escaped(text)),
            Self::Raw(fields) => {
                write!(f, "(raw {})", serde_json::to_string(fields).unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for StaffAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Says(text) => f.write_str(&said(text)),
            Self::ReturnsControl => f.write_str("(returns control)"),
            Self::Asks(fields) => {
                write!(f, "(raw {})", serde_json::to_string(fields).unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(span) => f.write_str(&write_span(*span)),
            Self::UntilDue => f.write_str("due"),
            Self::To(at) => write!(f, "to {}", write_instant(*at)),
            Self::Edge { who, window, offset } => {
                write!(f, "edge {who} {}", write_span(*window))?;
                let span = std::time::Duration::from_millis(offset.unsigned_abs());
                match offset {
                    0 => Ok(()),
                    1.. => write!(f, " +{}", write_span(span)),
                    _ => write!(f, " -{}", write_span(span)),
                }
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, outage, times } => {
                let outage = match outage {
                    Outage::Busy => "busy",
                    Outage::Lost => "lost",
                    Outage::Unreachable => "unreachable",
                };
                write!(f, "service {name} {outage} {times}")
            }
            Self::Off => f.write_str("off"),
            Self::Graph { fault, who } => {
                match fault {
                    GraphFault::LostAnswer => f.write_str("graph lost_answer")?,
                    GraphFault::Error { code, subcode: 0 } => write!(f, "graph error {code}")?,
                    GraphFault::Error { code, subcode } => {
                        write!(f, "graph error {code}/{subcode}")?;
                    }
                }
                who.as_ref().map_or(Ok(()), |who| write!(f, " {who}"))
            }
            Self::Deliver(Delivery::Twice) => f.write_str("deliver twice"),
            Self::Deliver(Delivery::Late(span)) => write!(f, "deliver late {}", write_span(*span)),
            Self::Deliver(Delivery::OutOfOrder) => f.write_str("deliver out of order"),
            Self::Deliver(Delivery::Forged) => f.write_str("deliver forged"),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = named(self.who.as_ref());
        match &self.what {
            What::Sent { label: Some(label), text } => {
                f.write_str(format!("< {who}{} {text}", label_text(*label)).trim_end())
            }
            What::Sent { label: None, text } => write!(f, "< {who}{text}"),
            What::Ended { ending, reason, text } => {
                let ending = <&str>::from(*ending);
                f.write_str(format!("x {who}{ending} {reason} {text}").trim_end())
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, due_in, label, text } = self;
        let (who, label) = (named(who.as_ref()), label.map(|it| label_text(it) + " "));
        let label = label.unwrap_or_default();
        f.write_str(format!("~ {who}waiting +{} {label}{text}", write_span(*due_in)).trim_end())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "state {state}"),
            Self::Quiet(span) => write!(f, "quiet {}", write_span(*span)),
            Self::Writes(most) => write!(f, "writes <= {most}"),
            Self::DeadLetters(count) => write!(f, "dead letters {count}"),
        }
    }
}

/// A label in a line: `RESPONSE`, or `MESSAGE_TAG HUMAN_AGENT`.
pub(super) fn label_text(label: Label) -> String {
    let tag = label.tag().map(|tag| format!(" {tag}")).unwrap_or_default();
    format!("{}{tag}", label.messaging_type())
}

/// The ending of a word in a line.
pub(super) fn ending(word: &str) -> Option<Ending> {
    let endings = <Ending as strum::VariantArray>::VARIANTS;
    endings.iter().copied().find(|ending| <&str>::from(*ending) == word)
}

/// A text on one line: a line break is `\n`, a backslash two.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// A text between quotation marks.
fn quoted(text: &str) -> String {
    escaped(text).replace('"', "\\\"")
}

/// A text that somebody writes: a bracket at its beginning needs a backslash, because it begins another form.
fn said(text: &str) -> String {
    let escaped = escaped(text);
    if escaped.starts_with(['(', '[']) { format!("\\{escaped}") } else { escaped }
}

fn named(who: Option<&String>) -> String {
    who.map(|who| format!("{who} ")).unwrap_or_default()
}
