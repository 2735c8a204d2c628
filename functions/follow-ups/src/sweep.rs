//! A sweep: for each Page that is not paused, what is due, in order per person, at the Page's rate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use shared::clock::Timestamp;
use shared::outbox::{OutboxError, Outcome, Pace, Turn};
use shared::store::{Due, EntryKey, Status, Who};

use crate::FollowUps;

/// How many people are served side by side; one person's messages stay in order.
const PEOPLE_AT_ONCE: usize = 8;

/// How many due entries are looked at in one query.
const BATCH: i32 = 200;

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
    pub put_off: u64,
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
        for page_id in secret.page_ids() {
            let mut turn = Turn::until(deadline, invocation, &self.outbox.settings().policy);
            if !turn.has_time(self.clock.now()) {
                break;
            }
            turn.pace = Some(Pace::per_second(self.settings.rate));
            if let Err(error) = self.sweep_page(page_id, &turn, &summary).await {
                tracing::error!(page = page_id, %error, "a Page was not swept");
                add(&summary, |summary| summary.errors += 1);
            }
        }
        Ok(summary.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn sweep_page(
        &self,
        page_id: &str,
        turn: &Turn,
        summary: &Mutex<Summary>,
    ) -> Result<(), OutboxError> {
        if self.outbox.is_paused_for_sweep(page_id).await? {
            add(summary, |summary| summary.paused += 1);
            return Ok(());
        }
        let store = self.outbox.store();
        let mut due = store.due(page_id, self.clock.now(), BATCH).await?;
        if due.is_empty() {
            return Ok(());
        }
        if !store.take_page(page_id, &turn.hold, self.clock.now()).await? {
            tracing::info!(page = page_id, "another sweep has the Page");
            return Ok(());
        }
        add(summary, |summary| summary.pages += 1);
        let mut seen = BTreeSet::new();
        while !due.is_empty() {
            let people = by_person(&due, &mut seen);
            if people.is_empty() {
                break;
            }
            stream::iter(people)
                .for_each_concurrent(PEOPLE_AT_ONCE, async |(who, ids)| {
                    self.sweep_person(&who, &ids, turn, summary).await;
                })
                .await;
            if !turn.has_time(self.clock.now()) || self.outbox.pause_of(page_id).await?.is_some() {
                break;
            }
            due = store.due(page_id, self.clock.now(), BATCH).await?;
        }
        Ok(store.release_page(page_id, &turn.hold).await?)
    }

    async fn sweep_person(&self, who: &Who, ids: &[String], turn: &Turn, summary: &Mutex<Summary>) {
        if !turn.has_time(self.clock.now()) {
            return;
        }
        match self.deliver(who, ids, turn).await {
            Ok(Some(outcomes)) => {
                add(summary, |summary| {
                    summary.count_all(outcomes);
                });
            }
            Ok(None) => add(summary, |summary| summary.skipped += ids.len() as u64),
            Err(error) => {
                tracing::error!(page = who.page_id, %error, "a person's messages were not sent");
                add(summary, |summary| summary.errors += 1);
            }
        }
    }

    /// Sends what is due for a person: the outcomes, `None` if somebody else is sending to them.
    async fn deliver(
        &self,
        who: &Who,
        ids: &[String],
        turn: &Turn,
    ) -> Result<Option<Vec<Outcome>>, OutboxError> {
        let store = self.outbox.store();
        let now = self.clock.now();
        let Some(conversation) = store.take_conversation(who, &turn.hold, now).await? else {
            return Ok(None);
        };
        let earlier = conversation.waiting.iter().filter(|waiting| waiting.first_due <= now);
        let mut all: Vec<String> = earlier.map(|waiting| waiting.id.clone()).collect();
        all.extend(ids.iter().filter(|id| !all.contains(id)).cloned().collect::<Vec<_>>());
        let delivered = self.outbox.deliver_due(who, &conversation, &all, turn).await?;
        store.release_conversation(who, &turn.hold, &delivered.forget).await?;
        Ok(Some(delivered.outcomes.into_iter().map(|(_, outcome)| outcome).collect()))
    }
}

/// Groups what was not seen before by person, in the index's order.
fn by_person(due: &[Due], seen: &mut BTreeSet<EntryKey>) -> Vec<(Who, Vec<String>)> {
    let mut people: Vec<(Who, Vec<String>)> = Vec::new();
    for Due { key, .. } in due {
        if !seen.insert(key.clone()) {
            continue;
        }
        match people.iter_mut().find(|(who, _)| *who == key.who) {
            Some((_, ids)) => ids.push(key.id.clone()),
            None => people.push((key.who.clone(), vec![key.id.clone()])),
        }
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
            Outcome::Waits(_) => {
                self.put_off += 1;
                return;
            }
            Outcome::Lost => {
                self.skipped += 1;
                return;
            }
            Outcome::Ended(status, reason) => (status, reason.unwrap_or_default()),
        };
        self.claimed += 1;
        let reason = reason.split(':').next().unwrap_or_default().to_owned();
        match status {
            Status::Sent | Status::Open => self.sent += 1,
            Status::Refused => *self.refused.entry(reason).or_default() += 1,
            Status::Failed => *self.failed.entry(reason).or_default() += 1,
            Status::Cancelled => *self.cancelled.entry(reason).or_default() += 1,
        }
    }
}
