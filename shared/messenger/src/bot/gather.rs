//! Several messages, one turn.

use std::time::Duration;

use crate::event::{Event, Kind};

/// The longest pause between two messages that belong together.
pub const LONGEST_GATHERING: Duration = Duration::from_secs(10);

/// Whether messages of a person that come in quick succession are one turn.
///
/// Only what a person writes or attaches is gathered: a button, a reaction or a timer ends a turn before it, and has its
/// own. [`Turn::events`](super::Turn::events) has up to ten messages then, oldest first, and the answer is to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gather {
    /// Each message is a turn of its own.
    #[default]
    Off,
    /// What has already arrived when the bot is asked belongs together: the messages that came while it thought about
    /// the last one. It waits for nothing.
    Waiting,
    /// The bot is asked once the newest message is this old, at most [`LONGEST_GATHERING`]; it waits three times at
    /// most. Each wait costs one more call of the queue.
    For(Duration),
}

impl Gather {
    /// Whether an event can be one of several: a message, but for a quick reply.
    pub const fn takes(event: &Event) -> bool {
        match &event.kind {
            Kind::Message(message) => message.quick_reply.is_none(),
            _ => false,
        }
    }

    /// How old the newest message must be, if that matters.
    pub fn pause(self) -> Option<Duration> {
        match self {
            Self::For(span) => Some(span.min(LONGEST_GATHERING)).filter(|span| !span.is_zero()),
            Self::Off | Self::Waiting => None,
        }
    }
}
