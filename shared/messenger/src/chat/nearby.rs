//! What is around a turn in memory: what the bot did once for its event, and what was said before.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::bot::{Around, NoAnswer, Pending, Said, Who};
use crate::clock::Timestamp;
use crate::event::{Event, Kind};

/// What bots did once, by event and name. It outlasts each try, as the table does.
#[derive(Debug, Default)]
pub(super) struct Memos(Mutex<BTreeMap<(String, String), Value>>);

/// What both sides said, oldest first, with the mid by which it can be taken back.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Vec<(String, Said)>);

impl History {
    /// Keeps what a person said, or the Page's inbox, and forgets what the person took back.
    pub(super) fn hear(&mut self, event: &Event) {
        let (who, mid, text) = match &event.kind {
            Kind::Message(message) => (Who::Person, &message.mid, &message.text),
            Kind::Postback(postback) => (Who::Person, &postback.mid, &postback.title),
            Kind::Echo(echo) if !echo.is_post => (Who::Page, &echo.mid, &echo.text),
            Kind::Unsend(unsend) => {
                return self.0.retain(|(mid, _)| unsend.mid.as_ref() != Some(mid));
            }
            _ => return,
        };
        let said = Said { who, at: event.at, text: text.clone().unwrap_or_default() };
        self.0.push((mid.clone().unwrap_or_default(), said));
    }

    /// Keeps a message that left; of one that is no text, only that there was one.
    pub(super) fn say(&mut self, mid: &str, at: Timestamp, message: &Value) {
        let text = message["text"].as_str().unwrap_or_default().to_owned();
        self.0.push((mid.to_owned(), Said { who: Who::Page, at: Some(at), text }));
    }
}

/// What is around one turn.
pub(super) struct Nearby {
    pub(super) memos: Arc<Memos>,
    /// The turn's first event.
    pub(super) event: String,
    /// What had been said when the bot was asked first.
    pub(super) history: History,
}

impl Around for Nearby {
    fn recall<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<Value>, NoAnswer>> {
        let memos = self.memos.0.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(ready(Ok(memos.get(&(self.event.clone(), name.to_owned())).cloned())))
    }

    fn keep<'a>(&'a self, name: &'a str, value: &'a Value) -> Pending<'a, Result<(), NoAnswer>> {
        let mut memos = self.memos.0.lock().unwrap_or_else(PoisonError::into_inner);
        memos.insert((self.event.clone(), name.to_owned()), value.clone());
        Box::pin(ready(Ok(())))
    }

    fn history(&self, count: usize) -> Pending<'_, Result<Vec<Said>, NoAnswer>> {
        let all = &self.history.0;
        let newest = &all[all.len().saturating_sub(count)..];
        Box::pin(ready(Ok(newest.iter().map(|(_, said)| said.clone()).collect())))
    }
}
