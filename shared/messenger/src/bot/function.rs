//! Bots made of functions.

use std::fmt;
use std::marker::PhantomData;

use serde_json::Value;

use super::{Bot, BotError, State, Turn};
use crate::clock::Timestamp;
use crate::decision::{Conversation, Decision};
use crate::event::Event;
use crate::message::Invalid;

/// A bot of an async closure; see [`bot_fn`].
pub struct FnBot<S, F> {
    decide: F,
    state: PhantomData<fn() -> S>,
}

/// Makes a bot of an async closure, such as `bot_fn(async |turn: &Turn<MyState>| …)`.
pub fn bot_fn<S, F>(decide: F) -> FnBot<S, F>
where
    S: State + 'static,
    F: AsyncFn(&Turn<S>) -> Result<Decision, BotError> + Send + Sync + 'static,
{
    FnBot { decide, state: PhantomData }
}

impl<S, F> Bot for FnBot<S, F>
where
    S: State + 'static,
    F: AsyncFn(&Turn<S>) -> Result<Decision, BotError> + Send + Sync + 'static,
{
    type State = S;

    async fn decide(&self, turn: &Turn<S>) -> Result<Decision, BotError> {
        (self.decide)(turn).await
    }
}

impl<S, F> fmt::Debug for FnBot<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FnBot")
    }
}

/// A bot of a function without I/O; see [`plain`].
pub struct Plain<F>(F);

/// Makes a bot of a function without I/O, which gets the event, the conversation with its state as JSON, and the time.
pub fn plain<F>(reply: F) -> Plain<F>
where
    F: Fn(&Event, &Conversation, Timestamp) -> Result<Decision, Invalid> + Send + Sync + 'static,
{
    Plain(reply)
}

impl<F> Bot for Plain<F>
where
    F: Fn(&Event, &Conversation, Timestamp) -> Result<Decision, Invalid> + Send + Sync + 'static,
{
    type State = Value;

    async fn decide(&self, turn: &Turn<Value>) -> Result<Decision, BotError> {
        Ok((self.0)(turn.event(), turn.conversation(), turn.now())?)
    }
}

impl<F> fmt::Debug for Plain<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")
    }
}
