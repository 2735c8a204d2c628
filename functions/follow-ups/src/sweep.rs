//! A sweep: for each Page that is not paused, what is due, in order per person, at the Page's rate.
//!
//! Pages take turns: a Page is served for a slice of time and goes to the end of the line, so that no
//! backlog delays another Page. Within a Page, what people wrote goes before what the bot planned.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backend::outbox::{OutboxError, Outcome, Pace, SendContext};
use backend::secrets::Secret;
use backend::store::{ConversationKey, Due, DueClass, DueRest, EntryKey, Lease, Status};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use messenger::clock::{CLOCK_SKEW, Timestamp};
use serde::Serialize;

use crate::FollowUps;

/// How many Pages are served at once, each at its own rate.
const PAGES_AT_ONCE: usize = 16;

/// How long a Page is served before the next Page's turn.
const SLICE: Duration = Duration::from_secs(5);

/// How many people of a Page are served at once, at least and at most. Between the two it is the
/// rate, so that the rate is reached while a call takes up to a second.
const PEOPLE_AT_ONCE: (u32, u32) = (8, 64);

/// How long a Page's lease is valid: for a slice whose last person has several messages, each of
/// which takes its time.
const PAGE_LEASE: Duration = Duration::from_secs(110 + CLOCK_SKEW.as_secs());

/// How long to wait for a sender who is in the middle of a step.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// Timers of the bot that were fired.
    pub fired: u64,
    /// Entries that somebody else has.
    pub skipped: u64,
    /// Pages or people at which the table or the secret failed; they are swept again.
    pub errors: u64,
}

/// A Page's part of a sweep.
struct PageTurn<'a> {
    page_id: &'a str,
    context: SendContext,
    /// What people wrote and was tried in this run; it may still be due.
    tried: HashSet<EntryKey>,
    /// What the bot planned and the last slice did not come to.
    left: Vec<Due>,
    /// Where the bot's part goes on after that.
    rest: Rest,
    has_lease: bool,
}

/// Where a query goes on.
enum Rest {
    From(Option<DueRest>),
    Nothing,
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
        if self.may_have_changed(&secret.version) {
            Box::pin(self.retry_permissions(&secret, &summary)).await;
        }
        let mut waiting: VecDeque<_> =
            secret.page_ids().map(|page_id| self.turn(page_id, invocation, deadline)).collect();
        let mut served = FuturesUnordered::new();
        loop {
            while served.len() < PAGES_AT_ONCE
                && let Some(turn) = waiting.pop_front()
            {
                served.push(self.serve_page(turn, &summary));
            }
            match served.next().await {
                Some(Some(turn)) => waiting.push_back(turn),
                Some(None) => {}
                None => break,
            }
        }
        drop(served);
        Ok(summary.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn retry_permissions(&self, secret: &Secret, summary: &Mutex<Summary>) {
        for page_id in secret.page_ids() {
            if let Err(error) = self.outbox.retry_permissions(page_id).await {
                tracing::error!(page = page_id, %error, "what waits for a permission waits on");
                add(summary, |summary| summary.errors += 1);
            }
        }
    }

    fn turn<'a>(&self, page_id: &'a str, invocation: &str, deadline: Timestamp) -> PageTurn<'a> {
        let mut context = self.outbox.context(invocation, deadline);
        context.pace = Some(Pace::per_second(self.settings.rate, self.settings.media_rate));
        PageTurn {
            page_id,
            context,
            tried: HashSet::new(),
            left: Vec::new(),
            rest: Rest::From(None),
            has_lease: false,
        }
    }

    /// Serves a Page for a slice: its turn again, if there is more.
    async fn serve_page<'a>(
        &self,
        mut turn: PageTurn<'a>,
        summary: &Mutex<Summary>,
    ) -> Option<PageTurn<'a>> {
        let more = match self.serve_slice(&mut turn, summary).await {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(page = turn.page_id, %error, "a Page was not swept");
                add(summary, |summary| summary.errors += 1);
                false
            }
        };
        if more {
            return Some(turn);
        }
        if turn.has_lease
            && let Err(error) =
                self.outbox.store().release_page(turn.page_id, &turn.context.by).await
        {
            tracing::warn!(page = turn.page_id, %error, "a Page's lease was not given back");
        }
        None
    }

    /// Serves a Page for a slice: whether there may be more.
    async fn serve_slice(
        &self,
        turn: &mut PageTurn<'_>,
        summary: &Mutex<Summary>,
    ) -> Result<bool, OutboxError> {
        let began = self.clock.now();
        if !turn.context.has_time(began) {
            return Ok(false);
        }
        let store = self.outbox.store();
        let (page_id, is_first) = (turn.page_id, !turn.has_lease);
        let people = self.due_of_people(turn, began).await?;
        let planned = self.due_of_bot(turn, began).await?;
        if people.is_empty() && planned.is_empty() {
            return Ok(matches!(turn.rest, Rest::From(_)));
        }
        if self.outbox.pauses().until_by_fresh_read(page_id).await?.is_some() {
            add(summary, |summary| summary.paused += u64::from(is_first));
            return Ok(false);
        }
        let lease =
            Lease { by: turn.context.by.clone(), until: began + PAGE_LEASE, for_entry: None };
        if !store.take_page(page_id, &lease, began).await? {
            tracing::info!(page = page_id, "another sweep has the Page");
            return Ok(false);
        }
        turn.has_lease = true;
        add(summary, |summary| summary.pages += u64::from(is_first));
        let context = &turn.context;
        let missed = Mutex::new(HashSet::new());
        stream::iter(by_person(people.iter().chain(&planned)))
            .for_each_concurrent(self.people_at_once(), async |(key, ids)| {
                let now = self.clock.now();
                if now.since(began) < SLICE && context.has_time(now) {
                    self.sweep_person(&key, &ids, context, summary).await;
                } else {
                    missed.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
                }
            })
            .await;
        let missed = missed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_missed = |due: &Due| missed.contains(&due.key.conversation_key);
        let reached = people.into_iter().filter(|due| !is_missed(due)).map(|due| due.key);
        turn.tried.extend(reached);
        turn.left = planned.into_iter().filter(is_missed).collect();
        Ok(!missed.is_empty() || matches!(turn.rest, Rest::From(_)))
    }

    /// What people wrote and is due, unless it was tried in this run. It is asked for in every slice,
    /// so that what is new does not wait for the end of a campaign.
    async fn due_of_people(
        &self,
        turn: &PageTurn<'_>,
        now: Timestamp,
    ) -> Result<Vec<Due>, OutboxError> {
        let mut from = None;
        loop {
            let due = self.outbox.store().due(turn.page_id, DueClass::People, now, from).await?;
            let mut entries = due.entries;
            entries.retain(|due| !turn.tried.contains(&due.key));
            if !entries.is_empty() || due.rest.is_none() {
                return Ok(entries);
            }
            from = due.rest;
        }
    }

    /// What the bot planned and is due: what the last slice did not come to, or the next query's worth.
    async fn due_of_bot(
        &self,
        turn: &mut PageTurn<'_>,
        now: Timestamp,
    ) -> Result<Vec<Due>, OutboxError> {
        let left = std::mem::take(&mut turn.left);
        match std::mem::replace(&mut turn.rest, Rest::Nothing) {
            Rest::From(from) if left.is_empty() => {
                let due = self.outbox.store().due(turn.page_id, DueClass::Bot, now, from).await?;
                turn.rest = due.rest.map_or(Rest::Nothing, |rest| Rest::From(Some(rest)));
                Ok(due.entries)
            }
            rest => {
                turn.rest = rest;
                Ok(left)
            }
        }
    }

    fn people_at_once(&self) -> usize {
        let (least, most) = PEOPLE_AT_ONCE;
        self.settings.rate.clamp(least, most) as usize
    }

    async fn sweep_person(
        &self,
        conversation_key: &ConversationKey,
        ids: &[String],
        context: &SendContext,
        summary: &Mutex<Summary>,
    ) {
        match self.outbox.serve(conversation_key, ids, context, PATIENCE).await {
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
fn by_person<'a>(due: impl Iterator<Item = &'a Due>) -> Vec<(ConversationKey, Vec<String>)> {
    let mut people: Vec<(ConversationKey, Vec<String>)> = Vec::new();
    let mut places = BTreeMap::new();
    for Due { key, .. } in due {
        let place = *places.entry(key.conversation_key.clone()).or_insert(people.len());
        if place == people.len() {
            people.push((key.conversation_key.clone(), Vec::new()));
        }
        people[place].1.push(key.id.clone());
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
            Outcome::Fired => {
                self.fired += 1;
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
