//! The platform, pure: what Meta sends, what may be sent to Meta, and when.
//!
//! There is no AWS here, no HTTP client and no clock: a bot and its tests compile against this crate alone.
#![warn(clippy::missing_errors_doc)]

pub mod bot;
#[cfg(feature = "testing")]
pub mod chat;
pub mod clock;
pub mod decision;
pub mod event;
pub mod limits;
pub mod message;
pub mod person;
pub mod profile;
pub mod window;

/// Compiles what the author of a bot reads.
#[cfg(doctest)]
#[doc = include_str!("../../../functions/bot/README.md")]
mod bots_readme {}
