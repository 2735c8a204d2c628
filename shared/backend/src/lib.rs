//! What the functions run on: settings, AWS, Meta's Graph API, the table, and the outbox.

pub mod answer;
pub mod aws;
pub mod batch;
pub mod clock;
pub mod credentials;
pub mod erasure;
pub mod feed;
pub mod forward;
pub mod graph;
pub mod http;
pub mod intake;
pub mod media;
pub mod outbox;
pub mod payload;
pub mod profile;
pub mod publish;
pub mod request;
pub mod runtime;
pub mod schema;
pub mod secrets;
pub mod send;
pub mod settings;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod thread;
