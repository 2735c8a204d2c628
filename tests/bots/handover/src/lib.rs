//! A sample of a bot around a bot: it hands over to people whenever somebody asks for them, whatever the bot inside
//! was about, and when the bot inside can neither decide nor say something instead.
//!
//! ```
//! use handover::HandsOver;
//! use messenger::bot::{Bot, Setup, SetupError, Stateless, Turn, bot_fn};
//! use messenger::decision::Decision;
//! use messenger::message::Message;
//!
//! async fn bot(_setup: &Setup) -> Result<impl Bot + use<>, SetupError> {
//!     let inner = bot_fn(async |turn: &Turn<Stateless>| {
//!         Ok(Decision::nothing().say(Message::text(format!("You said: {}", turn.text()))?))
//!     });
//!     Ok(HandsOver::around(inner).on(["operator", "real person"]).promising("One moment, please."))
//! }
//! ```

use messenger::bot::{Bot, BotError, Gather, Trouble, Turn};
use messenger::decision::{Decision, HandOver};
use messenger::message::{Invalid, Message};

/// A bot around another one, whose state it keeps.
#[derive(Clone, Debug)]
pub struct HandsOver<B> {
    inner: B,
    /// In lower case, one space between words.
    words: Vec<String>,
    promise: String,
}

impl<B: Bot> HandsOver<B> {
    /// Hands over when somebody writes `agent` or `human`.
    pub fn around(inner: B) -> Self {
        let promise = "Somebody from our team will answer you here.".to_owned();
        Self { inner, words: Vec::new(), promise }.on(["agent", "human"])
    }

    /// Hands over when somebody writes one of these words or phrases, whatever the case, or presses what has one as its
    /// payload.
    #[must_use]
    pub fn on<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.words = words.into_iter().map(words_of).filter(|word| !word.is_empty()).collect();
        self
    }

    /// Says this before.
    #[must_use]
    pub fn promising(mut self, promise: impl Into<String>) -> Self {
        self.promise = promise.into();
        self
    }

    fn is_asked_for(&self, text: &str) -> bool {
        let text = format!(" {} ", words_of(text));
        self.words.iter().any(|word| text.contains(&format!(" {word} ")))
    }

    fn hand_over(&self, reason: &str) -> Result<Decision, Invalid> {
        let promise = Message::text(self.promise.as_str())?;
        Ok(Decision::nothing().say(promise).hand_over(HandOver::because(reason)))
    }
}

impl<B: Bot> Bot for HandsOver<B> {
    type State = B::State;

    async fn decide(&self, turn: &Turn<B::State>) -> Result<Decision, BotError> {
        if self.is_asked_for(&turn.text()) {
            return Ok(self.hand_over("asked for a person")?);
        }
        self.inner.decide(turn).await
    }

    fn give_up(&self, turn: &Turn<B::State>, why: &Trouble) -> Option<Decision> {
        let instead = self.inner.give_up(turn, why);
        // Only somebody who wrote is waiting for an answer.
        let is_waiting = || !turn.is_silent();
        instead.or_else(|| is_waiting().then(|| self.hand_over("the bot failed").ok()).flatten())
    }

    fn gather(&self) -> Gather {
        self.inner.gather()
    }
}

/// The words of a text in lower case, one space between them.
fn words_of(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
