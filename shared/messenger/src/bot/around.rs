//! What a turn can ask for beside what it holds.

use std::fmt;

use serde_json::Value;

use super::{NoAnswer, Pending};
use crate::clock::Timestamp;

/// The most messages that [`Turn::history`](super::Turn::history) gives: Meta shows no others.
/// Source: Meta's Conversations API.
pub const MAX_HISTORY: usize = 20;

/// The largest result that [`Turn::once`](super::Turn::once) keeps, in bytes as JSON.
pub const MAX_MEMO: usize = 8 * 1024;

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The person.
    Person,
    /// The bot, or people of the business.
    Page,
}

/// Something that was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who said it.
    pub who: Who,
    /// When, if Meta says so.
    pub at: Option<Timestamp>,
    /// The text; empty if it was an image or the like.
    pub text: String,
}

/// What is around a turn: what the bot did for its event before, and what was said before.
pub trait Around: Send + Sync {
    /// What [`Turn::once`](super::Turn::once) kept under this name at an earlier try.
    fn recall<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<Value>, NoAnswer>>;

    /// Keeps something for the next try, should there be one.
    fn keep<'a>(&'a self, name: &'a str, value: &'a Value) -> Pending<'a, Result<(), NoAnswer>>;

    /// The newest messages of the conversation, `count` at most, oldest first.
    fn history(&self, count: usize) -> Pending<'_, Result<Vec<Said>, NoAnswer>>;
}

impl fmt::Debug for dyn Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is around a turn")
    }
}

/// Nothing is around: nothing is kept, and nothing was said.
impl Around for () {
    fn recall<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Option<Value>, NoAnswer>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn keep<'a>(&'a self, _: &'a str, _: &'a Value) -> Pending<'a, Result<(), NoAnswer>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn history(&self, _: usize) -> Pending<'_, Result<Vec<Said>, NoAnswer>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
