//! The API for back-office systems: send, look up, cancel, fetch events, erase.
//!
//! Each handler is in its file with its description; [`routes`] lists them.

mod answer;
mod api;
mod applications;
mod attachments;
mod auth;
mod bot;
mod deletion;
mod events;
mod messages;
mod openapi;
mod people;
mod problem;
mod route;
mod routes;
mod thread;

pub use api::Api;
