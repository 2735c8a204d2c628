//! What the functions of the Messenger backend have in common.
//!
//! The modules stand in reading order; each knows only those above it.

pub mod clock;
pub mod http;
pub mod settings;
pub mod signature;

pub mod decision;
pub mod event;
pub mod message;
pub mod window;

pub mod aws;
pub mod graph;
pub mod secrets;
pub mod send;

pub mod outbox;
pub mod request;
pub mod store;

pub mod feed;
pub mod forward;
pub mod telemetry;
