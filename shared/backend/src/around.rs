//! What is around a bot's turn: its memos in the table, and what Meta shows of the conversation.

use std::sync::Arc;

use messenger::bot::{Around, NoAnswer, Pending, Said};
use messenger::clock::Timestamp;
use messenger::event::Platform;
use messenger::person::Person;
use serde_json::Value;

use crate::outbox::Outbox;
use crate::store::EntryKey;

/// What is around the turn about an event.
#[derive(Debug)]
pub struct Surroundings {
    /// The way to the table and to Meta.
    pub outbox: Arc<Outbox>,
    /// The entry that the event's decision becomes.
    pub entry: EntryKey,
    /// Where the person writes.
    pub platform: Platform,
    /// The latest erasure of the person that is known.
    pub erased_at: Option<Timestamp>,
}

impl Around for Surroundings {
    fn recall<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<Value>, NoAnswer>> {
        Box::pin(async move {
            self.outbox.store().memo(&self.entry, name).await.map_err(|error| {
                tracing::warn!(%error, "a memo of the bot was not read");
                NoAnswer::Lost
            })
        })
    }

    fn keep<'a>(&'a self, name: &'a str, value: &'a Value) -> Pending<'a, Result<(), NoAnswer>> {
        Box::pin(async move {
            let kept = self.outbox.keep_memo(&self.entry, name, value, self.erased_at);
            kept.await.map_err(|error| {
                tracing::warn!(%error, "a memo of the bot was not kept");
                NoAnswer::Lost
            })
        })
    }

    fn history(&self, count: usize) -> Pending<'_, Result<Vec<Said>, NoAnswer>> {
        Box::pin(async move {
            let key = &self.entry.conversation_key;
            let Person::Psid(psid) = &key.person else { return Ok(Vec::new()) };
            let history =
                self.outbox.send_api().history(&key.page_id, self.platform, psid, count).await;
            history.map_err(|error| {
                tracing::warn!(page = key.page_id, %error, "the history was not read");
                NoAnswer::Lost
            })
        })
    }
}
