//! What crosses functions, shown from outside: the real handlers, the real SDK, real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

mod acts;
mod ad_windows;
mod api;
mod applications;
mod budget;
mod comments;
mod crash;
mod documents;
mod echoes;
mod ended;
mod error_scopes;
mod fallback;
mod feed;
mod forward;
mod graph_faults;
mod instagram;
mod logs;
mod metrics;
mod poison;
mod processor;
mod receipts;
mod requests;
mod rotation;
mod sample_events;
mod send_api;
mod setup;
mod simulator_paths;
mod support;
mod taken_over;
mod template;
mod thread_control;
mod timeline;
mod user_profiles;
mod visibility;
mod webhook;
