//! A Messenger on this machine: the real functions on a local AWS and a local Meta, with virtual time.
//!
//! [`platform::Platform`] runs the handlers of all functions in one process. Around them are a
//! `DynamoDB` behind the unchanged AWS SDK ([`dynamodb`]), queues ([`sqs`]) and a secret
//! ([`secrets_manager`]) behind their AWS protocols ([`aws`]), and a stand-in for Meta that enforces
//! the windows itself ([`meta`]). [`stage`] plays transcripts on it, [`http`] serves it.

pub mod aws;
pub mod clock;
pub mod driver;
pub mod dynamodb;
pub mod functions;
pub mod gate;
pub mod guard;
pub mod http;
pub mod index;
pub mod meta;
pub mod outgoing;
pub mod platform;
pub mod record;
pub mod samples;
pub mod search;
pub mod secrets_manager;
pub mod setup;
pub mod sqs;
pub mod stage;
pub mod template;
