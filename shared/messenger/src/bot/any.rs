//! A bot without its types, as it is asked.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;

use super::state::{self, State};
use super::{Bot, Gather, Trouble, Turn, TurnData};
use crate::decision::Decision;

/// Polls a bot's future to its end, on the thread that it is called on.
pub trait Run {
    /// Whether the future came to its end in time; if not, it is dropped.
    fn run(&self, future: Pin<&mut dyn Future<Output = ()>>) -> bool;
}

/// What came of asking a bot.
pub type Verdict = Result<Decision, Trouble>;

/// A bot of any state, asked on the thread that the call is made on.
pub trait AnyBot: Send + Sync {
    /// Lets the bot decide; what it decides carries the version of its state.
    ///
    /// # Errors
    /// [`Trouble`], except for panics, which go on to the caller.
    fn decide_here(&self, turn: TurnData, runner: &dyn Run) -> Verdict;

    /// What the bot wants to do instead of a decision that it did not come to.
    fn give_up_here(&self, turn: TurnData, why: &Trouble) -> Option<Decision>;

    /// Whether it takes several messages as one turn.
    fn gather(&self) -> Gather;
}

/// A bot that several turns share.
pub type SharedBot = Arc<dyn AnyBot>;

/// Makes a bot ready to be asked.
pub fn shared(bot: impl Bot) -> SharedBot {
    Arc::new(Typed(bot))
}

impl fmt::Debug for dyn AnyBot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bot")
    }
}

struct Typed<B>(B);

impl<B: Bot> AnyBot for Typed<B> {
    fn decide_here(&self, turn: TurnData, runner: &dyn Run) -> Verdict {
        let turn = typed(turn)?;
        let mut decided = None;
        let is_in_time = {
            let future = pin!(async { decided = Some(self.0.decide(&turn).await) });
            runner.run(future)
        };
        match decided {
            Some(decided) if is_in_time => Ok(stamped::<B::State>(decided?)),
            _ => Err(Trouble::TimedOut),
        }
    }

    fn give_up_here(&self, mut turn: TurnData, why: &Trouble) -> Option<Decision> {
        if *why == Trouble::StateUnreadable {
            turn.conversation.state = serde_json::Value::Null;
        }
        let turn = typed(turn).ok()?;
        self.0.give_up(&turn, why).map(stamped::<B::State>)
    }

    fn gather(&self) -> Gather {
        self.0.gather()
    }
}

fn typed<S: State>(mut data: TurnData) -> Result<Turn<S>, Trouble> {
    // A plain bot reads the state as it is stored.
    let stored = data.conversation.state.clone();
    let state = state::read(stored, data.conversation.state_version)?;
    if !S::READS_ANY {
        data.conversation.state_version = S::VERSION;
    }
    Ok(Turn::new(data, state))
}

fn stamped<S: State>(decision: Decision) -> Decision {
    let state_version = if S::READS_ANY { decision.state_version } else { S::VERSION };
    Decision { state_version, ..decision }
}
