//! Why a bot came to no decision.

use std::fmt;
use std::time::Duration;

use crate::message::Invalid;

/// Why a bot could not decide.
///
/// Labels are part of the program, so that nothing that a person or another service said gets into a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BotError {
    /// Asking again may help: a service is down, slow, or asks for a pause.
    #[error("{label} failed for now")]
    Temporary {
        /// What failed, in the author's words.
        label: &'static str,
        /// How long it asks to be left alone; at most 60 s are kept.
        pause: Option<Duration>,
    },
    /// Asking again does not help.
    #[error("{0} failed")]
    Failed(&'static str),
    /// What it built breaks a limit of the platform.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl BotError {
    /// Something that may work the next time.
    pub const fn temporary(label: &'static str) -> Self {
        Self::Temporary { label, pause: None }
    }
}

/// Turns any error into one of a bot.
pub trait OrBotError<T> {
    /// What failed may work the next time.
    ///
    /// # Errors
    /// [`BotError::Temporary`], if `self` is an error or nothing.
    fn or_temporary(self, label: &'static str) -> Result<T, BotError>;

    /// What failed fails again.
    ///
    /// # Errors
    /// [`BotError::Failed`], if `self` is an error or nothing.
    fn or_failed(self, label: &'static str) -> Result<T, BotError>;
}

impl<T, E> OrBotError<T> for Result<T, E> {
    fn or_temporary(self, label: &'static str) -> Result<T, BotError> {
        self.map_err(|_| BotError::temporary(label))
    }

    fn or_failed(self, label: &'static str) -> Result<T, BotError> {
        self.map_err(|_| BotError::Failed(label))
    }
}

impl<T> OrBotError<T> for Option<T> {
    fn or_temporary(self, label: &'static str) -> Result<T, BotError> {
        self.ok_or(BotError::temporary(label))
    }

    fn or_failed(self, label: &'static str) -> Result<T, BotError> {
        self.ok_or(BotError::Failed(label))
    }
}

/// How a bot failed to decide about a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It said so itself.
    Bot(BotError),
    /// It had not decided when its time was over.
    TimedOut,
    /// It panicked.
    Panicked,
    /// It had not even paused when its time was over: a loop, or a call that blocks. It cannot be stopped.
    Stuck,
    /// What it remembers of the person cannot be read.
    StateUnreadable,
}

impl Trouble {
    /// Its name in logs, metrics and dead letters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bot(BotError::Temporary { .. }) => "bot_unavailable",
            Self::Bot(BotError::Failed(_)) => "bot_failed",
            Self::Bot(BotError::Invalid(_)) => "invalid",
            Self::TimedOut => "bot_timed_out",
            Self::Panicked => "panic",
            Self::Stuck => "bot_stuck",
            Self::StateUnreadable => "state_unreadable",
        }
    }

    /// What failed, in the author's words; empty if the author did not say.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Bot(BotError::Temporary { label, .. } | BotError::Failed(label)) => label,
            _ => "",
        }
    }
}

impl From<BotError> for Trouble {
    fn from(error: BotError) -> Self {
        Self::Bot(error)
    }
}

impl fmt::Display for Trouble {
    /// Its name, with the label if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label() {
            "" => f.write_str(self.name()),
            label => write!(f, "{}: {label}", self.name()),
        }
    }
}
