//! The bot: what its author writes, and what it is asked with.
//!
//! - [`Bot`] is the interface; [`bot_fn`] makes a bot of an async closure, [`plain`] one of a function without I/O.
//! - [`Turn`] is what a bot gets: what happened, the conversation with its state, and how long it has.
//! - [`BotError`] says whether asking again can help.
//! - [`Setup`] is what a bot is built from: its settings, its secrets, the [`Service`]s that it calls.
//! - [`patience`] says how long a bot that fails is asked again.
//! - [`Gather`] says whether messages that come in quick succession are one turn.
//! - [`Around`] is what a turn can ask for beside what it holds: what was done before, what was said before.
//! - [`AnyBot`] is a bot as the event processor and the test kit ask it.

mod any;
mod around;
mod error;
mod function;
mod gather;
pub mod patience;
mod service;
mod setup;
mod state;
mod turn;

pub use any::{AnyBot, Run, SharedBot, Verdict, shared};
pub use around::{Around, MAX_HISTORY, MAX_MEMO, Said, Who};
pub use error::{BotError, OrBotError, Trouble};
pub use function::{FnBot, Plain, bot_fn, plain};
pub use gather::{Gather, LONGEST_GATHERING};
pub use service::{Call, NoAnswer, Outside, Pending, Service};
pub use setup::{BotSecret, Setup, SetupError};
pub use state::{State, Stateless};
pub use turn::{Turn, TurnData};

use crate::decision::Decision;

/// A bot: decides what to say to what a person did.
///
/// It is built once for each container of the event processor, and asked by many turns side by side, each on a thread
/// of its own. What it decides is stored before anything is sent, and decided once. If that could not be stored, it is
/// asked again, so what it changes elsewhere has to be safe to repeat: see [`Turn::key`].
pub trait Bot: Send + Sync + 'static {
    /// What it remembers of a person; [`Stateless`] if nothing.
    type State: State;

    /// Decides about a turn.
    ///
    /// The future is dropped when its time is over. It stays on its thread, so it need not be `Send`.
    ///
    /// # Errors
    /// [`BotError`]: a temporary one is tried again for a while; after that, and after any other,
    /// [`give_up`](Self::give_up) is asked.
    #[expect(async_fn_in_trait, reason = "the future stays on the thread that it is made on")]
    async fn decide(&self, turn: &Turn<Self::State>) -> Result<Decision, BotError>;

    /// What to do instead if [`decide`](Self::decide) came to no decision: by default nothing, so that the event is
    /// kept in the dead-letter queue.
    fn give_up(&self, turn: &Turn<Self::State>, why: &Trouble) -> Option<Decision> {
        let (_, _) = (turn, why);
        None
    }

    /// Whether messages that come in quick succession are one turn; by default each is its own.
    fn gather(&self) -> Gather {
        Gather::Off
    }
}
