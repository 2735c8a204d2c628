//! The vocabulary of conversations: what is done, what happens, what must hold.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::event::Platform;
use crate::window::{Label, Purpose};

/// Something that is done in a conversation, or to the platform that carries it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A person does something.
    Person {
        /// The person's name in the transcript.
        who: String,
        /// What they do.
        act: Act,
    },
    /// A person of the business does something.
    Staff {
        /// Where they do it.
        desk: Desk,
        /// About whom; whoever acted last if absent. The player always names somebody.
        to: Option<String>,
        /// What they do.
        act: StaffAct,
    },
    /// Time passes, and what falls due happens at its time.
    Time(Passing),
    /// Something goes wrong from now on, or is right again.
    Fault(Fault),
}

/// What a person does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Writes a text.
    Says(String),
    /// Writes several texts, all of which have arrived before the bot is asked about the first.
    Quickly(Vec<String>),
    /// Presses the quick reply or the button with this title.
    Taps(String),
    /// Sends an image.
    SendsImage,
    /// Reacts to the newest message of the Page, by the name that Meta gives the reaction, such as `love`.
    Reacts(String),
    /// Takes their newest message back.
    Unsends,
    /// Comes by an m.me or ig.me link with this `ref`.
    FollowsLink(String),
    /// Comments on a post of the Page.
    Comments(String),
    /// Does what these fields of a messaging item say, in Meta's form; sender, recipient and time are added.
    Raw(Map<String, Value>),
}

/// Where a person of the business works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desk {
    /// At a system that uses the API, with purpose `human` and this author.
    Api(String),
    /// In the inbox of the Page.
    Inbox,
}

/// What a person of the business does.
#[derive(Clone, Debug, PartialEq)]
pub enum StaffAct {
    /// Writes to the person.
    Says(String),
    /// Gives the control of the conversation back; in the inbox only.
    ReturnsControl,
    /// Asks the API for a message with these fields of its request; Page, person, and the author for purpose `human`,
    /// are added. Only the full platform can do it.
    Asks(Map<String, Value>),
}

/// How time passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passing {
    /// By a span.
    For(Duration),
    /// To the instant at which the next message is due.
    UntilDue,
    /// To an instant.
    To(Timestamp),
    /// To the end of a window that is counted from a person's last window-opening act, or near it.
    Edge {
        /// Whose act.
        who: String,
        /// The window.
        window: Duration,
        /// How many milliseconds after its end, negative before it.
        offset: i64,
    },
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next calls of an outside service fail.
    Service {
        /// The service's name.
        name: String,
        /// How they fail.
        outage: Outage,
        /// How many calls.
        times: u32,
    },
    /// Nothing goes wrong any more.
    Off,
    /// Graph fails at the next message; only the full platform can do it.
    Graph {
        /// How it fails.
        fault: GraphFault,
        /// At whose message; at anybody's if absent.
        who: Option<String>,
    },
    /// The next event is delivered in an unusual way; only the full platform can do it.
    Deliver(Delivery),
}

/// How a call of an outside service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It answers with status 503.
    Busy,
    /// It does not answer, and may have done something.
    Lost,
    /// It cannot be reached. Such a call is tried a second time at once, which counts as well.
    Unreachable,
}

/// How Graph fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFault {
    /// It takes the message, and its answer is lost.
    LostAnswer,
    /// It refuses the message with a code and a subcode.
    Error {
        /// Meta's code.
        code: u32,
        /// Meta's subcode; 0 if there is none.
        subcode: u32,
    },
}

/// How an event is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Two times.
    Twice,
    /// Later than it happened, by this span.
    Late(Duration),
    /// After the event that follows it.
    OutOfOrder,
    /// With a signature that is not Meta's.
    Forged,
}

/// Something that left, or ended without having left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// To whom; in a transcript whoever acted last if absent. A driver always names somebody.
    pub who: Option<String>,
    /// What happened.
    pub what: What,
}

/// What happened to a message, in the words that [`shown`](crate::chat::shown) finds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It left.
    Sent {
        /// Its label; a sender action and a hand-over have none.
        label: Option<Label>,
        /// What it shows.
        text: String,
    },
    /// It ended without having left.
    Ended {
        /// How it ended.
        ending: Ending,
        /// The code of the reason, such as `window_closed`.
        reason: String,
        /// What it would have shown; the details if there is no message.
        text: String,
    },
}

/// How a message ends that does not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Ending {
    /// The windows do not allow it.
    Refused,
    /// It breaks a limit, or something failed for good. So ends an event that the bot did not decide about: the reason
    /// is the name of the [`Trouble`](crate::bot::Trouble).
    Failed,
    /// It is not needed any more.
    Cancelled,
}

/// A message, or a timer of the bot, that waits until it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For whom; in a transcript whoever acted last if absent. A driver always names somebody.
    pub who: Option<String>,
    /// How long it still waits; compared to the second.
    pub due_in: Duration,
    /// Its label if the standard window is open when it is due: see [`label_in_window`]. A timer has none.
    pub label: Option<Label>,
    /// What its first message shows; of a timer `(timer …)` with its key.
    pub text: String,
}

/// What can be asked of a conversation or the platform at any time.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// The bot's state of a person, `null` if there is none.
    State(Value),
    /// How long the bot is still quiet for a person, zero if it is not; compared to the second.
    Quiet(Duration),
    /// How many writes the table took since the last step, at most; only the full platform knows.
    Writes(u64),
    /// How many events are in the dead-letter queue; only the full platform has one.
    DeadLetters(u64),
}

impl Check {
    /// Whether what was found is what this demands.
    pub fn holds(&self, found: &Self) -> bool {
        let seconds = super::span::whole_seconds;
        match (self, found) {
            (Self::Quiet(wanted), Self::Quiet(found)) => seconds(*wanted) == seconds(*found),
            (Self::Writes(most), Self::Writes(found)) => found <= most,
            _ => self == found,
        }
    }
}

/// Whose conversation it is: where the person writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The platform.
    pub platform: Platform,
    /// Which of several Pages or Instagram accounts, from 1.
    pub page: u32,
}

impl Default for Account {
    fn default() -> Self {
        Self { platform: Platform::Messenger, page: 1 }
    }
}

/// The label of a purpose while the standard window is open.
pub const fn label_in_window(purpose: Purpose) -> Label {
    match purpose {
        Purpose::Reply | Purpose::Human | Purpose::PrivateReply => Label::Response,
        Purpose::Utility => Label::Utility,
        _ => Label::Update,
    }
}

impl Step {
    /// The same, about whoever acted last if it names nobody.
    #[must_use]
    pub fn about(self, current: &str) -> Self {
        match self {
            Self::Staff { desk, to: None, act } => {
                Self::Staff { desk, to: Some(current.to_owned()), act }
            }
            step => step,
        }
    }
}
