//! The one format in which conversations are written down: `.chat`.
//!
//! ```text
//! # A guest goes quiet                         a comment; the first one is the title
//! guest: instagram                             where somebody writes, unless it is Page 1; also `page 2`
//! = 2026-11-22 09:00                           where the clock stands (UTC); once, at the start
//! guest> BOOK                                  a person writes
//! guest> [A table]                             presses what is on the screen under that title
//! guest> (quickly "A table" "for two")         several messages, all there before the bot is asked
//! guest> (image)                               also (reaction love), (unsend), (link m.me?ref=x),
//!                                              (comment "How much?"), (raw {"optin": {…}})
//! < RESPONSE What would you like to book? [A table | A room]
//! < (hands over: asked for a person)           the bot lets people answer
//! ~ waiting +1h UPDATE Are you still there?*   what waits now; also `~ nothing`
//! ~ waiting +2h (timer remind)                 a timer of the bot
//! + 1h                                         time passes; also due, to 2026-11-25 09:00, edge guest 24h -1m
//! x refused window_closed Your table is*       what ended without having left
//! @front-desk> Shall we keep it?               a person of the business, through the API
//! @inbox> We are here                          the same in the Page's inbox; also `@inbox> (returns control)`
//! < guest MESSAGE_TAG HUMAN_AGENT We are here  a name where somebody else is meant than who acted last
//! ! service llm busy 2                         what goes wrong; also lost, unreachable, and `! off`
//! ? state {"step":"idle"}                      what must hold now; also `? quiet 12h`
//! ```
//!
//! - What leaves or ends after a step is exactly what the `<` and `x` lines after it say, in their order; `< anything`
//!   lets more happen. If there is a `~` line, all that waits is listed, in the order in which it is due.
//! - `*` stands for any text. A line break in a text is `\n`, a backslash `\\`.
//! - Only the full platform knows `! graph …`, `! deliver …`, `? writes <= 8` and `? dead letters 0`; in memory they
//!   are refused.
//! - Ids, mids and metadata are never written.
//!
//! The vocabulary ([`Step`], [`Happening`], [`Waiting`], [`Check`]) and the comparison ([`play`]) know nothing of what
//! carries the conversation: that is a [`Driver`].

mod compare;
mod line;
mod parse;
mod play;
mod span;
mod step;

use std::fmt;
use std::str::FromStr;

pub use line::Line;
pub(super) use line::escaped;
pub use play::{Driver, Mark, Played, Refused, Report, SOMEBODY, Scene, play};
pub use step::{
    Account, Act, Check, Delivery, Desk, Ending, Fault, GraphFault, Happening, Outage, Passing,
    StaffAct, Step, Waiting, What, label_in_window,
};

use crate::clock::Timestamp;

/// A line that no transcript has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} is not understood: {text}\n{allowed}")]
pub struct Misread {
    /// Which one, from 1.
    pub number: usize,
    /// The line.
    pub text: String,
    /// What is allowed in its place.
    pub allowed: &'static str,
}

/// A conversation as it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The lines, as they stand there and as they are understood.
    lines: Vec<(String, Line)>,
}

impl FromStr for Transcript {
    type Err = Misread;

    /// Reads a transcript.
    fn from_str(text: &str) -> Result<Self, Misread> {
        let mut lines = Vec::new();
        let (mut has_begun, mut has_start) = (false, false);
        for (index, text) in text.lines().enumerate() {
            let misread = |allowed| Misread { number: index + 1, text: text.to_owned(), allowed };
            let line = parse::line(text).map_err(misread)?;
            match &line {
                Line::Start(_) if has_start => {
                    return Err(misread("the clock is set once, at the start"));
                }
                Line::Start(_) | Line::Person(..) if has_begun => {
                    return Err(misread("this stands before the first step"));
                }
                Line::Start(_) => has_start = true,
                Line::Blank | Line::Comment(_) | Line::Person(..) => {}
                Line::Step(_) => has_begun = true,
                _ if !has_begun => {
                    return Err(misread("this stands after the step that it is about"));
                }
                _ => {}
            }
            lines.push((text.to_owned(), line));
        }
        Ok(Self { lines })
    }
}

impl fmt::Display for Transcript {
    /// Writes each line in the form that the format has for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}

impl FromStr for Step {
    type Err = Misread;

    /// Reads the line of a step.
    fn from_str(text: &str) -> Result<Self, Misread> {
        let misread = |allowed| Misread { number: 1, text: text.to_owned(), allowed };
        match parse::line(text).map_err(misread)? {
            Line::Step(step) => Ok(step),
            _ => Err(misread("a step begins with `name>`, `@name>`, `+` or `!`")),
        }
    }
}

impl Transcript {
    /// The lines, as they are understood.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().map(|(_, line)| line)
    }

    /// The first comment.
    pub fn title(&self) -> Option<&str> {
        self.lines().find_map(|line| match line {
            Line::Comment(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Where the clock stands at the start, if the transcript says so.
    pub fn start(&self) -> Option<Timestamp> {
        self.lines().find_map(|line| match line {
            Line::Start(at) => Some(*at),
            _ => None,
        })
    }

    /// Who takes part, in the order in which they are named, and where they write.
    pub fn people(&self) -> Vec<(&str, Option<Account>)> {
        let mut people: Vec<(&str, Option<Account>)> = Vec::new();
        for line in self.lines() {
            let (who, account) = match line {
                Line::Person(who, account) => (who, Some(*account)),
                Line::Step(
                    Step::Person { who, .. }
                    | Step::Staff { to: Some(who), .. }
                    | Step::Time(Passing::Edge { who, .. }),
                ) => (who, None),
                _ => continue,
            };
            match people.iter_mut().find(|(name, _)| name == who) {
                Some((_, there)) => *there = account.or(*there),
                None => people.push((who, account)),
            }
        }
        people
    }
}
