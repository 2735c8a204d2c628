//! Erasing a person: the mark that stays for what is still queued, and the jobs that complete it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use super::conversation::{ConversationItem, SORT_KEY};
use super::{
    ConversationKey, DUE_INDEX, ExpiresAt, Store, StoreError, Update, Updated, key, parse,
    unavailable,
};
use messenger::clock::Timestamp;
use messenger::event::digest;
use messenger::person::Person;

/// For how long the mark stays: longer than an event can be queued.
///
/// An event stays 14 days in the queue of events, 14 more as a dead letter, and 14 more once it is
/// redriven.
pub const ERASED_FOR: Duration = Duration::from_hours(24 * 45);

/// For how long a job is kept that nobody can complete.
const JOB_KEPT_FOR: Duration = Duration::from_hours(24 * 90);

/// The index's partition in which erasures wait; no Page has this id.
const ERASURES: &str = "erasures";

const JOB_SORT_KEY: &str = "erasure";

/// How many jobs one query finds.
const JOBS_AT_ONCE: i32 = 100;

/// What is not about the person: what makes the mark, and the lease by which senders exclude each
/// other.
const KEPT: [&str; 5] = ["pk", "sk", "erased_at", "expires_at", "waiting"];
const KEPT_PREFIXES: [&str; 2] = ["busy_", "lease_"];

/// What a conversation may hold about the person, even if it was not there when it was read.
const ABOUT_THE_PERSON: [&str; 22] = [
    "platform",
    "last_message_at",
    "last_message_source",
    "free_until",
    "ad_clicked_at",
    "ad_until",
    "state",
    "state_version",
    "state_revision",
    "quiet_until",
    "control_at",
    "thread_owner",
    "thread_until",
    "thread_at",
    "human_closed_for",
    "trial_for",
    "trial_count",
    "trouble_for",
    "trouble_tries",
    "trouble_since",
    "delivered_until",
    "read_until",
];

/// When what a conversation holds about the person happened.
const WHEN_IT_HAPPENED: [&str; 4] = ["last_message_at", "control_at", "thread_at", "ad_clicked_at"];

/// Holds unless only the mark of an erased person is there: nothing else in a conversation expires.
pub(super) const UNLESS_MARK: &str =
    "attribute_not_exists(#erased_at) OR attribute_not_exists(#expires_at)";

/// What changes a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An event of Meta's, which happened at this instant: one after an erasure starts the conversation
    /// anew.
    Event(Timestamp),
    /// Something that a function does at an instant, for what it began when the person had last been
    /// erased at another, if at all. It never starts a conversation anew, whatever its clock says.
    Own {
        /// When it is done.
        at: Timestamp,
        /// When the person had last been erased as it was begun.
        erased_at: Option<Timestamp>,
    },
}

impl Cause {
    /// When it happened.
    pub fn at(self) -> Timestamp {
        match self {
            Self::Event(at) | Self::Own { at, .. } => at,
        }
    }
}

/// Leaves the conversation of an erased person alone if the cause is from before the erasure. Its time
/// is the value `:happened`.
pub(super) fn unless_erased(update: Update, cause: Cause) -> Update {
    let update = update.value("happened", cause.at());
    match cause {
        Cause::Event(_) => update
            .remove("#expires_at")
            .when("attribute_not_exists(#erased_at) OR #erased_at < :happened"),
        Cause::Own { erased_at: None, .. } => update.when("attribute_not_exists(#erased_at)"),
        Cause::Own { erased_at: Some(erased_at), .. } => update
            .when(UNLESS_MARK)
            .when("attribute_not_exists(#erased_at) OR #erased_at <= :seen_erased")
            .value("seen_erased", erased_at),
    }
}

/// The erasure of a person, as its job holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonErasure {
    /// The person.
    pub conversation_key: ConversationKey,
    /// Who else is this person.
    pub known_as: BTreeSet<Person>,
    /// When it was asked for: what happened until then goes.
    pub erased_at: Timestamp,
}

impl PersonErasure {
    /// The person under every name.
    pub fn names(&self) -> impl Iterator<Item = ConversationKey> {
        let page_id = &self.conversation_key.page_id;
        let known_as = self.known_as.iter().cloned();
        let known_as = known_as.map(|person| ConversationKey { page_id: page_id.clone(), person });
        std::iter::once(self.conversation_key.clone()).chain(known_as)
    }
}

/// What keeps a conversation from becoming the mark of an erased person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmarked {
    /// When the latest that is recorded happened, if that is after the erasure.
    pub happened_at: Option<Timestamp>,
    /// Who else is this person.
    pub known_as: BTreeSet<Person>,
}

/// What a job has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErasureWork {
    /// Erase a person of a Page.
    Person(PersonErasure),
    /// Find out at which Pages a person of an app is known, and erase them there.
    Deletion {
        /// The deletion's code.
        code: String,
        /// The app.
        app_id: String,
        /// The person's id in the app.
        user_id: String,
    },
}

/// An erasure that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureJob {
    id: String,
    due_at: Timestamp,
    /// When it was first asked for.
    pub asked_at: Timestamp,
    /// What is to be done.
    pub work: ErasureWork,
}

#[derive(Deserialize)]
struct JobItem {
    due_at: Timestamp,
    asked_at: Timestamp,
    #[serde(default)]
    page_id: Option<String>,
    #[serde(default)]
    person: Option<Person>,
    #[serde(default)]
    known_as: BTreeSet<Person>,
    #[serde(default)]
    erased_at: Option<Timestamp>,
    #[serde(default)]
    app_id: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
}

impl JobItem {
    fn into_job(self, id: String) -> Option<ErasureJob> {
        let Self { due_at, asked_at, known_as, .. } = self;
        let work = match (self.page_id, self.person, self.erased_at) {
            (Some(page_id), Some(person), Some(erased_at)) => ErasureWork::Person(PersonErasure {
                conversation_key: ConversationKey { page_id, person },
                known_as,
                erased_at,
            }),
            _ => ErasureWork::Deletion {
                code: id.clone(),
                app_id: self.app_id?,
                user_id: self.user_id?,
            },
        };
        Some(ErasureJob { id, due_at, asked_at, work })
    }
}

impl Store {
    /// Queues the erasure of a person: until it is done, the job names them.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn queue_erasure(
        &self,
        erasure: &PersonErasure,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let ConversationKey { page_id, person } = &erasure.conversation_key;
        let mut update = queued(erasure.erased_at, due_at)
            .set("#page_id = :page, #person = :person, #erased_at = :erased")
            .value("page", page_id)
            .value("person", &person.to_string())
            .value("erased", erasure.erased_at);
        if !erasure.known_as.is_empty() {
            update = update.add("#known_as :known").value("known", names(&erasure.known_as));
        }
        let pk = job_pk(&person_job(&erasure.conversation_key));
        self.update::<JobItem>(&pk, JOB_SORT_KEY, update).await.map(drop)
    }

    /// Queues a deletion that a person asked Meta for.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn queue_deletion(
        &self,
        code: &str,
        app_id: &str,
        user_id: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let update = queued(now, now)
            .set("#app_id = :app, #user_id = :user")
            .value("app", app_id)
            .value("user", user_id);
        self.update::<JobItem>(&job_pk(code), JOB_SORT_KEY, update).await.map(drop)
    }

    /// The erasures that are due, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn due_erasures(&self, now: Timestamp) -> Result<Vec<ErasureJob>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .key_condition_expression("due_page = :erasures AND due_at <= :now")
            .expression_attribute_values(":erasures", AttributeValue::S(ERASURES.to_owned()))
            .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
            .limit(JOBS_AT_ONCE)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let mut jobs = Vec::new();
        for item in answer.items.unwrap_or_default() {
            let pk = item.get("pk").and_then(|pk| pk.as_s().ok()).cloned().unwrap_or_default();
            let Some(id) = pk.strip_prefix(JOB_PREFIX) else { continue };
            // The index may show one that is done.
            let Some(item) = self.get::<JobItem>(&pk, JOB_SORT_KEY).await? else { continue };
            jobs.extend(item.into_job(id.to_owned()).filter(|job| job.due_at <= now));
        }
        Ok(jobs)
    }

    /// Lets a job wait, unless it was asked for again.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn postpone_erasure(
        &self,
        job: &ErasureJob,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = Update::default()
            .set("#due_at = :due")
            .when("#due_at = :seen")
            .value("due", due_at)
            .value("seen", job.due_at);
        self.update::<JobItem>(&job_pk(&job.id), JOB_SORT_KEY, update).await.map(drop)
    }

    /// Drops a job that is done, unless it was asked for again.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn complete_erasure(&self, job: &ErasureJob) -> Result<(), StoreError> {
        let seen = AttributeValue::N(job.due_at.millis().to_string());
        let key = key(&job_pk(&job.id), JOB_SORT_KEY);
        self.delete_when(key, "due_at = :seen", &[(":seen", seen)]).await
    }

    /// Makes a conversation the mark of an erased person, unless they turn out to have other names than
    /// `known_as`, or something is recorded that happened after `erased_at`, which a clock that is behind
    /// has made too early: what stands in the way.
    ///
    /// The mark holds when it was made, expires, and keeps the lease of whoever is sending. One that is
    /// there and is not older stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn mark_erased(
        &self,
        conversation_key: &ConversationKey,
        known_as: &BTreeSet<Person>,
        erased_at: Timestamp,
    ) -> Result<Option<Unmarked>, StoreError> {
        let pk = conversation_key.pk();
        let there = self.get::<BTreeMap<String, serde_json::Value>>(&pk, SORT_KEY).await?;
        let there = there.unwrap_or_default();
        let time = |name: &str| there.get(name)?.as_i64().map(Timestamp::from_millis);
        let latest = WHEN_IT_HAPPENED.into_iter().filter_map(time).max();
        if latest > Some(erased_at) && time("erased_at") < Some(erased_at) {
            return Ok(Some(Unmarked { happened_at: latest, known_as: known_as.clone() }));
        }
        let there = there.into_keys().filter(|name| is_about_the_person(name));
        let removed: BTreeSet<_> =
            there.chain(ABOUT_THE_PERSON.iter().map(ToString::to_string)).collect();
        let mut update = Update::default()
            .set("#erased_at = :erased, #expires_at = :expires, #waiting = :none")
            .when("attribute_not_exists(#erased_at) OR #erased_at < :erased")
            .value("erased", erased_at)
            .value("expires", ExpiresAt::after(erased_at, ERASED_FOR))
            .value("none", BTreeMap::new());
        for name in WHEN_IT_HAPPENED {
            update = update.when(format!("attribute_not_exists(#{name}) OR #{name} <= :erased"));
        }
        update = if known_as.is_empty() {
            update.when("attribute_not_exists(#known_as)")
        } else {
            let update = update.when("attribute_not_exists(#known_as) OR #known_as = :known");
            update.remove("#known_as").value("known", names(known_as))
        };
        for name in removed.iter().filter(|name| *name != "known_as") {
            update = update.remove(format!("#{name}"));
        }
        Ok(match self.update::<ConversationItem>(&pk, SORT_KEY, update).await? {
            Updated::Unmet(Some(there)) if !there.was_erased_after(erased_at) => {
                Some(Unmarked { happened_at: None, known_as: there.known_as })
            }
            Updated::Now(_) | Updated::Unmet(_) => None,
        })
    }

    /// Deletes what the table holds under a person's key from before an erasure, except the mark and
    /// what belongs to the feed.
    ///
    /// An entry is from before if it was decided without knowing of the erasure, whenever it was
    /// written. Placeholders that were put until `placeholders_until` are deleted, none if it is absent: as
    /// long as an event processor may be at work, one keeps it from taking itself for the only sender.
    ///
    /// # Errors
    /// [`StoreError`] if some may remain; calling it again completes the work.
    pub async fn erase_items(
        &self,
        conversation_key: &ConversationKey,
        erased_at: Timestamp,
        placeholders_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Found {
            pk: String,
            sk: String,
            #[serde(default)]
            after_erasure: Option<Timestamp>,
            #[serde(default)]
            is_placeholder: bool,
            #[serde(default)]
            decided_at: Option<Timestamp>,
        }
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", AttributeValue::S(conversation_key.pk()))
                .projection_expression("pk, sk, after_erasure, is_placeholder, decided_at")
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| unavailable(&error))?;
            let mut keys = Vec::new();
            for item in page.items.unwrap_or_default() {
                let found: Found = parse(item)?;
                let is_newer = found.after_erasure.is_some_and(|after| erased_at <= after);
                let is_kept = found.sk == SORT_KEY || found.sk.starts_with(crate::feed::MARK);
                let is_in_use = found.is_placeholder && found.decided_at > placeholders_until;
                if !is_newer && !is_kept && !is_in_use {
                    keys.push(key(&found.pk, &found.sk));
                }
            }
            self.delete_all(keys).await?;
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(());
            }
        }
    }
}

const JOB_PREFIX: &str = "erasure#";

fn job_pk(id: &str) -> String {
    format!("{JOB_PREFIX}{id}")
}

fn person_job(ConversationKey { page_id, person }: &ConversationKey) -> String {
    digest(&["erasure", page_id, &person.to_string()])
}

fn queued(now: Timestamp, due_at: Timestamp) -> Update {
    Update::default()
        .set("#due_page = :erasures, #due_at = :due, #expires_at = :expires")
        .set("#asked_at = if_not_exists(#asked_at, :now)")
        .value("erasures", ERASURES)
        .value("due", due_at)
        .value("expires", ExpiresAt::after(now, JOB_KEPT_FOR))
        .value("now", now)
}

fn names(known_as: &BTreeSet<Person>) -> BTreeSet<String> {
    known_as.iter().map(ToString::to_string).collect()
}

fn is_about_the_person(attribute: &str) -> bool {
    !KEPT.contains(&attribute) && !KEPT_PREFIXES.iter().any(|prefix| attribute.starts_with(prefix))
}
