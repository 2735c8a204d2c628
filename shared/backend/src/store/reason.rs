//! Why an entry ended, or why it still waits.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::graph::{Fault, GraphError};
use messenger::limits::MOST_WAITING;
use messenger::window::Refusal;

/// Why an entry ended, or why it still waits: a code, and a detail for some.
///
/// The table and the API hold its text, `code: detail` or `code`; counts and summaries hold the code.
/// `shared/README.md` lists every code with its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The windows do not allow it.
    Refused(Refusal),
    /// A call to Graph failed; the detail holds Meta's numbers.
    Graph(Fault, Option<String>),
    /// The bot's decision breaks a limit.
    Invalid(String),
    /// It was tried for too long; the detail is why it waited last.
    GaveUp(Option<Box<Reason>>),
    /// The decision says nothing.
    NothingToSay,
    /// The person answered first.
    Answered,
    /// It was cancelled by whoever asked for it.
    Withdrawn,
    /// People answer in the bot's place.
    TakenOver,
    /// As many messages wait for the person as may.
    TooManyWaiting,
    /// It was sent twice without a confirmation.
    OutcomeUnknown,
    /// People answer; it waits until they are done.
    Quiet,
    /// Nothing is sent for the Page for now.
    PagePaused,
    /// The invocation would end before the call did.
    NoTimeLeft,
    /// Something older goes first.
    EarlierMessagesWait,
    /// Another invocation is sending to the person.
    Busy,
    /// The table or the secret could not be read between two messages.
    NotChecked,
    /// An echo confirmed the last message while it counted as unsent.
    ConfirmedByEcho,
    /// The secret cannot be read.
    NoSecret,
    /// It holds the place of a decision that is not made yet.
    Placeholder,
    /// The person was erased.
    Erased,
    /// The entry cannot be read or applied.
    Malformed,
    /// It may have been delivered, and is sent again only once Graph answers clearly.
    AwaitsGraph,
    /// It was answered together with an earlier message.
    AnsweredWith,
    /// A timer of the bot was due.
    Fired,
    /// Another timer of the same key was set.
    Replaced,
    /// A text that this version does not write.
    Other(String),
}

impl Reason {
    /// The reasons without a value.
    const PLAIN: [Self; 21] = [
        Self::NothingToSay,
        Self::Answered,
        Self::Withdrawn,
        Self::TakenOver,
        Self::TooManyWaiting,
        Self::OutcomeUnknown,
        Self::Quiet,
        Self::PagePaused,
        Self::NoTimeLeft,
        Self::EarlierMessagesWait,
        Self::Busy,
        Self::NotChecked,
        Self::ConfirmedByEcho,
        Self::NoSecret,
        Self::Placeholder,
        Self::Erased,
        Self::Malformed,
        Self::AwaitsGraph,
        Self::AnsweredWith,
        Self::Fired,
        Self::Replaced,
    ];

    /// The code, by which ends are counted.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.name(),
            Self::Graph(fault, _) => fault.name(),
            Self::Invalid(_) => "invalid",
            Self::GaveUp(_) => "gave_up",
            Self::NothingToSay => "nothing_to_say",
            Self::Answered => "answered",
            Self::Withdrawn => "withdrawn",
            Self::TakenOver => "taken_over",
            Self::TooManyWaiting => "too_many_waiting",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Quiet => "quiet",
            Self::PagePaused => "page_paused",
            Self::NoTimeLeft => "no_time_left",
            Self::EarlierMessagesWait => "earlier_messages_wait",
            Self::Busy => "busy",
            Self::NotChecked => "not_checked",
            Self::ConfirmedByEcho => "confirmed_by_echo",
            Self::NoSecret => "no_secret",
            Self::Placeholder => "placeholder",
            Self::Erased => "erased",
            Self::Malformed => "malformed",
            Self::AwaitsGraph => "awaits_graph",
            Self::AnsweredWith => "answered_with",
            Self::Fired => "fired",
            Self::Replaced => "replaced",
            Self::Other(text) => text.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether it is that another app controls the thread.
    pub const fn is_of_thread(&self) -> bool {
        matches!(self, Self::Graph(Fault::ThreadTaken, _))
    }

    /// What stands after the code.
    fn detail(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Refused(refusal) => refusal.explanation().into(),
            Self::Graph(_, detail) => detail.as_deref()?.into(),
            Self::Invalid(detail) => detail.into(),
            Self::GaveUp(Some(last)) => last.to_string().into(),
            Self::GaveUp(None) => NEVER_ITS_TURN.into(),
            Self::TakenOver | Self::Quiet => "people answer".into(),
            Self::TooManyWaiting => format!("{MOST_WAITING} is the most").into(),
            Self::OutcomeUnknown => "sent twice, and never confirmed".into(),
            Self::Other(text) => text.split_once(": ")?.1.into(),
            _ => return None,
        })
    }
}

/// The detail of what was given up on without a reason.
const NEVER_ITS_TURN: &str = "it was never its turn";

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.detail()) {
            (Self::Other(text), _) => f.write_str(text),
            (_, Some(detail)) => write!(f, "{}: {detail}", self.code()),
            (_, None) => f.write_str(self.code()),
        }
    }
}

impl FromStr for Reason {
    type Err = Infallible;

    /// Finds the reason by its code; a text that is not known is kept as it is.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (code, detail) = match text.split_once(": ") {
            Some((code, detail)) => (code, Some(detail)),
            None => (text, None),
        };
        let refusal = code.parse().ok();
        let fault = code.parse::<Fault>().ok();
        Ok(match (code, detail) {
            ("gave_up", None | Some(NEVER_ITS_TURN)) => Self::GaveUp(None),
            ("gave_up", Some(last)) => Self::GaveUp(Some(Box::new(last.parse()?))),
            // The same code for both: the bot's decision has a limit as its detail, Graph has numbers.
            ("invalid", Some(limit)) if !is_of_graph(limit) => Self::Invalid(limit.to_owned()),
            _ => {
                let plain = Self::PLAIN.into_iter().find(|reason| reason.code() == code);
                let graph = fault.map(|fault| Self::Graph(fault, detail.map(str::to_owned)));
                let known = plain.or(refusal.map(Self::Refused)).or(graph);
                known.unwrap_or_else(|| Self::Other(text.to_owned()))
            }
        })
    }
}

fn is_of_graph(detail: &str) -> bool {
    detail.starts_with("Meta's error") || detail.starts_with("(fbtrace_id")
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        Self::Graph(fault, None)
    }
}

impl From<&GraphError> for Reason {
    fn from(error: &GraphError) -> Self {
        let text = error.to_string();
        let detail = text.strip_prefix(error.fault.name()).unwrap_or_default();
        let detail = detail.trim_start_matches([':', ' ']);
        Self::Graph(error.fault, Some(detail.to_owned()).filter(|detail| !detail.is_empty()))
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(reason) = String::deserialize(deserializer)?.parse();
        Ok(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantArray;

    use super::*;

    /// Every code that this version writes.
    fn codes() -> BTreeSet<&'static str> {
        let plain = Reason::PLAIN.iter().map(Reason::code);
        let refusals = Refusal::ALL.iter().map(|refusal| refusal.name());
        let faults = Fault::VARIANTS.iter().map(|fault| fault.name());
        plain.chain(refusals).chain(faults).chain(["gave_up"]).collect()
    }

    #[test]
    fn the_readme_lists_every_code() {
        let readme = include_str!("../../../README.md");
        let section = readme.split("## Reasons\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let listed: Vec<_> = rows.map(|row| row.split('`').next().unwrap()).collect();
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), codes());
        assert_eq!(listed.len(), codes().len(), "a code is listed twice");
    }

    #[test]
    fn a_reason_is_read_from_its_own_text() {
        let graph = |code| GraphError { code, trace: Some("AbC".into()), ..Fault::Invalid.into() };
        let reasons = Reason::PLAIN
            .into_iter()
            .chain(Refusal::ALL.iter().copied().map(Reason::from))
            .chain(Fault::VARIANTS.iter().copied().map(Reason::from))
            .chain([
                Reason::from(&graph(Some(100))),
                Reason::from(&graph(None)),
                Reason::Invalid("say[0].text: is longer than 2,000 characters".into()),
                Reason::GaveUp(None),
                Reason::GaveUp(Some(Box::new(Reason::PagePaused))),
                Reason::GaveUp(Some(Box::new(Reason::from(&graph(Some(100)))))),
                Reason::GaveUp(Some(Box::new(Reason::Other("of: an older version".into())))),
                Reason::Other("of: an older version".into()),
            ]);
        for reason in reasons {
            let Ok(read) = reason.to_string().parse::<Reason>();
            assert_eq!(read, reason);
            assert!(codes().contains(reason.code()) || matches!(reason, Reason::Other(_)));
        }
    }

    #[test]
    fn texts_of_older_items_keep_their_code() {
        for (text, code) in [
            ("answered", "answered"),
            ("taken_over: people answer", "taken_over"),
            ("too_many_waiting: 12 is the most", "too_many_waiting"),
            ("window_closed", "window_closed"),
            ("window_closed: in other words", "window_closed"),
            ("outside_window: Meta's error 10/2018278", "outside_window"),
            ("invalid: say[0].text: is too long", "invalid"),
            ("gave_up: throttled", "gave_up"),
            ("unheard_of: something", "unheard_of"),
            ("", ""),
        ] {
            let Ok(reason) = text.parse::<Reason>();
            assert_eq!(reason.code(), code);
        }
    }
}
