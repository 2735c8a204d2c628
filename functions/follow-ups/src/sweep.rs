//! A sweep: for each Page that is not paused, what is due, in order per person, at the Page's rate.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use backend::outbox::{OutboxError, Outcome, Pace, SendContext};
use backend::store::{ConversationKey, Due, DueEntries, Status};
use futures_util::{StreamExt, stream};
use messenger::clock::Timestamp;
use serde::Serialize;

use crate::FollowUps;

/// How many people are served side by side; one person's messages stay in order.
const PEOPLE_AT_ONCE: usize = 8;

/// How many Pages are swept side by side, each at its own rate.
const PAGES_AT_ONCE: usize = 4;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Pages with something due.
    pub pages: u64,
    /// Pages that are paused.
    pub paused: u64,
    /// Entries that were taken up.
    pub claimed: u64,
    /// Entries sent.
    pub sent: u64,
    /// Entries refused by the windows, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Entries that wait for longer.
    pub rescheduled: u64,
    /// Entries that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Entries cancelled, by reason.
    pub cancelled: BTreeMap<String, u64>,
    /// Entries that somebody else has.
    pub skipped: u64,
    /// Pages or people at which the table or the secret failed; they are swept again.
    pub errors: u64,
}

impl FollowUps {
    /// Sends what is due for every Page.
    pub(crate) async fn sweep(
        &self,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Summary, OutboxError> {
        let secret = self.outbox.secret().await?;
        let summary = Mutex::new(Summary::default());
        stream::iter(secret.page_ids())
            .for_each_concurrent(PAGES_AT_ONCE, async |page_id| {
                let mut context =
                    SendContext::until(deadline, invocation, &self.outbox.settings().policy);
                context.pace = Some(Pace::per_second(self.settings.rate, self.settings.media_rate));
                if let Err(error) = self.sweep_page(page_id, &context, &summary).await {
                    tracing::error!(page = page_id, %error, "a Page was not swept");
                    add(&summary, |summary| summary.errors += 1);
                }
            })
            .await;
        Ok(summary.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn sweep_page(
        &self,
        page_id: &str,
        context: &SendContext,
        summary: &Mutex<Summary>,
    ) -> Result<(), OutboxError> {
        if !context.has_time(self.clock.now()) {
            return Ok(());
        }
        if self.outbox.pauses().until_by_fresh_read(page_id).await?.is_some() {
            add(summary, |summary| summary.paused += 1);
            return Ok(());
        }
        let store = self.outbox.store();
        let due = store.due(page_id, self.clock.now(), None).await?;
        if due.entries.is_empty() {
            return Ok(());
        }
        if !store.take_page(page_id, &context.lease, self.clock.now()).await? {
            tracing::info!(page = page_id, "another sweep has the Page");
            return Ok(());
        }
        add(summary, |summary| summary.pages += 1);
        let swept = self.sweep_due(page_id, due, context, summary).await;
        store.release_page(page_id, &context.lease).await?;
        swept
    }

    /// Goes through what is due, a query's worth at a time.
    async fn sweep_due(
        &self,
        page_id: &str,
        mut due: DueEntries,
        context: &SendContext,
        summary: &Mutex<Summary>,
    ) -> Result<(), OutboxError> {
        loop {
            stream::iter(by_person(due.entries))
                .for_each_concurrent(PEOPLE_AT_ONCE, async |(conversation_key, ids)| {
                    self.sweep_person(&conversation_key, &ids, context, summary).await;
                })
                .await;
            let go_on = context.has_time(self.clock.now());
            if due.rest.is_none() || !go_on || self.outbox.pauses().until(page_id).await?.is_some()
            {
                return Ok(());
            }
            due = self.outbox.store().due(page_id, self.clock.now(), due.rest).await?;
        }
    }

    async fn sweep_person(
        &self,
        conversation_key: &ConversationKey,
        ids: &[String],
        context: &SendContext,
        summary: &Mutex<Summary>,
    ) {
        if !context.has_time(self.clock.now()) {
            return;
        }
        match self.outbox.serve(conversation_key, ids, context).await {
            Ok(Some(outcomes)) => {
                add(summary, |summary| {
                    summary.count_all(outcomes);
                });
            }
            Ok(None) => add(summary, |summary| summary.skipped += ids.len() as u64),
            Err(error) => {
                tracing::error!(page = conversation_key.page_id, %error, "a person's messages were not sent");
                add(summary, |summary| summary.errors += 1);
            }
        }
    }
}

/// Groups what is due by person, in the index's order.
fn by_person(due: Vec<Due>) -> Vec<(ConversationKey, Vec<String>)> {
    let mut people: Vec<(ConversationKey, Vec<String>)> = Vec::new();
    let mut places = BTreeMap::new();
    for Due { key, .. } in due {
        let place = *places.entry(key.conversation_key.clone()).or_insert(people.len());
        if place == people.len() {
            people.push((key.conversation_key, Vec::new()));
        }
        people[place].1.push(key.id);
    }
    people
}

fn add(summary: &Mutex<Summary>, change: impl FnOnce(&mut Summary)) {
    change(&mut summary.lock().unwrap_or_else(PoisonError::into_inner));
}

impl Summary {
    fn count_all(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            self.count(outcome);
        }
    }

    fn count(&mut self, outcome: Outcome) {
        let (status, reason) = match outcome {
            Outcome::Waits(_) | Outcome::Rescheduled(_) => {
                self.rescheduled += 1;
                return;
            }
            Outcome::Lost => {
                self.skipped += 1;
                return;
            }
            Outcome::Ended(status, reason) => (status, reason),
        };
        self.claimed += 1;
        let reason = reason.map(|reason| reason.code().to_owned()).unwrap_or_default();
        match status {
            Status::Sent => self.sent += 1,
            // An entry that has ended is not open.
            Status::Open => {}
            Status::Refused => *self.refused.entry(reason).or_default() += 1,
            Status::Failed => *self.failed.entry(reason).or_default() += 1,
            Status::Cancelled => *self.cancelled.entry(reason).or_default() += 1,
        }
    }
}
