//! The test kit for bots: conversations in memory, without AWS, without a socket.
//!
//! ```
//! use std::time::Duration;
//!
//! use messenger::bot::{Stateless, Turn, bot_fn};
//! use messenger::chat::Chat;
//! use messenger::decision::{Decision, FollowUp};
//! use messenger::message::Message;
//!
//! let bot = bot_fn(async |turn: &Turn<Stateless>| {
//!     let reminder = FollowUp::after(Duration::from_secs(3600), Message::text("Still there?")?);
//!     let echo = Message::text(format!("You said: {}", turn.text()))?;
//!     Ok(Decision::nothing().say(echo).later(reminder.unless_answered()))
//! });
//! Chat::with(bot)
//!     .says("Hello")
//!     .expect_exactly("You said: Hello")
//!     .after(Duration::from_secs(3600))
//!     .expect_text("Still there?");
//! ```
//!
//! - [`Chat`] is a conversation: what people do, and what is expected. Whatever the bot says and nobody expects fails
//!   the test when the chat ends.
//! - [`transcript`] is the format in which conversations are written down; [`play_folder`] plays the `.chat` files of
//!   a folder, and with `UPDATE_SCENARIOS=1` writes into them what happened.
//!
//! What Meta sends is parsed, limits are checked and windows are decided by the code that is deployed. The outbox is
//! retold: a reply leaves at once, a follow-up when it is due, and its window is decided then; a timer asks the bot when
//! it is due; an answer cancels what it makes unnecessary; while people answer the bot is quiet; a bot that waits for
//! further messages is asked once nobody wrote for so long, one that fails is asked again as it would be, on a clock
//! that only the conversation moves. Settings have their defaults. What fails between the functions, AWS and Meta is for
//! the full platform.

mod at_once;
mod clock;
mod expect;
mod fluent;
mod folder;
mod kit;
mod nearby;
mod notification;
mod person;
mod screen;
mod shown;
mod timers;
pub mod transcript;
mod turn;
mod world;

pub use fluent::Chat;
pub use folder::play_folder;
pub use screen::Screen;
pub use shown::shown;
