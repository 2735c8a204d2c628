//! The Page item, and what is due for a Page.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::{DUE_INDEX, EntryKey, Item, Lease, Store, StoreError, Update, parse, unavailable};
use messenger::clock::Timestamp;
use messenger::window::Purpose;

const SORT_KEY: &str = "page";

/// What the table holds about a Page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageItem {
    /// Until when nothing is sent, ms since the epoch.
    #[serde(default)]
    pub paused_until: Option<Timestamp>,
    /// Why.
    #[serde(default)]
    pub pause_reason: Option<String>,
    /// The secret's version that failed, if another one ends the pause.
    #[serde(default)]
    pub pause_version: Option<String>,
    /// How often in a row it was paused.
    #[serde(default)]
    pub pause_count: u64,
    /// When Graph last did not say whether it sent a message; absent once it answered clearly.
    #[serde(default)]
    pub unclear_at: Option<Timestamp>,
    /// When Graph last answered a message of the Page with its error 2; absent once it took one.
    #[serde(default)]
    pub refused_at: Option<Timestamp>,
    /// When Graph last took a message of the Page after such an answer.
    #[serde(default)]
    pub taken_at: Option<Timestamp>,
    /// The secret's version with which a permission was last missing, if another one may have it.
    #[serde(default)]
    pub lacking_version: Option<String>,
    /// What Meta last did about a breach of its policies: `warning`, `block`, `unblock`.
    #[serde(default)]
    pub policy_action: Option<String>,
    /// Why, in Meta's words.
    #[serde(default)]
    pub policy_reason: Option<String>,
    /// When.
    #[serde(default)]
    pub policy_at: Option<Timestamp>,
    /// Until when a sweep has the Page.
    #[serde(default)]
    pub sweep_until: Option<Timestamp>,
    /// Which.
    #[serde(default)]
    pub sweep_by: Option<String>,
    /// When a sweep last took the Page, because something was due.
    #[serde(default)]
    pub swept_at: Option<Timestamp>,
}

/// A pause of a whole Page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Until when.
    pub until: Timestamp,
    /// Why: a fault's name.
    pub reason: &'static str,
    /// The secret's version that failed, if another one ends the pause.
    pub secret_version: Option<String>,
    /// How often in a row.
    pub count: u64,
}

/// Whose messages of a Page are due: each has a partition of the index, so that a campaign does not
/// stand in front of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueClass {
    /// What people of the business wrote, and replies.
    People,
    /// What the bot or a back-office system planned.
    Bot,
}

impl DueClass {
    /// The class of an entry with this purpose.
    pub const fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Human | Purpose::PrivateReply | Purpose::Reply => Self::People,
            _ => Self::Bot,
        }
    }

    /// The index's partition of this class of a Page's entries.
    pub fn partition(self, page_id: &str) -> String {
        match self {
            Self::People => format!("{page_id}#people"),
            Self::Bot => format!("{page_id}#bot"),
        }
    }
}

/// An entry that the index shows as due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The entry.
    pub key: EntryKey,
    /// Its due time, ms since the epoch.
    pub due_at: Timestamp,
}

/// A query's worth of what is due.
#[derive(Clone, Debug, Default)]
pub struct DueEntries {
    /// The entries, the earliest first.
    pub entries: Vec<Due>,
    /// Where the next query goes on, if there is more.
    pub rest: Option<DueRest>,
}

/// Where a query for what is due goes on.
#[derive(Clone, Debug)]
pub struct DueRest(Item);

/// How many due entries one query looks at.
const DUE_AT_ONCE: i32 = 200;

#[derive(Deserialize)]
struct DueItem {
    pk: String,
    sk: String,
    due_at: Timestamp,
}

impl Store {
    /// Opens the connection to the table, by reading an item that is never there.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn connect(&self) -> Result<(), StoreError> {
        self.page("").await.map(drop)
    }

    /// Reads a Page's item.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn page(&self, page_id: &str) -> Result<PageItem, StoreError> {
        Ok(self.get(&pk(page_id), SORT_KEY).await?.unwrap_or_default())
    }

    /// Takes the Page for a sweep: whether no other sweep has it.
    ///
    /// The time of it stays: a sweep that finds nothing due must not cost a write.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn take_page(
        &self,
        page_id: &str,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = Update::default()
            .set("#sweep_until = :until, #sweep_by = :by, #swept_at = :now")
            .when("attribute_not_exists(#sweep_until) OR #sweep_until < :now OR #sweep_by = :by")
            .value("until", lease.until)
            .value("by", &lease.by)
            .value("now", now);
        Ok(self.update::<PageItem>(&pk(page_id), SORT_KEY, update).await?.is_made())
    }

    /// Gives the Page back after a sweep.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn release_page(&self, page_id: &str, by: &str) -> Result<(), StoreError> {
        let update = Update::default()
            .remove("#sweep_until, #sweep_by")
            .when("#sweep_by = :by")
            .value("by", by);
        self.update::<PageItem>(&pk(page_id), SORT_KEY, update).await.map(drop)
    }

    /// Pauses a Page, unless it is paused for longer already, or since `seen` by another version of
    /// the secret: the Page's item afterwards, and whether this paused it.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn pause_page(
        &self,
        page_id: &str,
        pause: &Pause,
        seen: &PageItem,
    ) -> Result<(PageItem, bool), StoreError> {
        let mut update = Update::default()
            .set("#paused_until = :until, #pause_reason = :reason, #pause_count = :count")
            .when("attribute_not_exists(#paused_until) OR #paused_until < :until")
            .value("until", pause.until)
            .value("reason", pause.reason)
            .value("count", pause.count);
        update = match &pause.secret_version {
            Some(version) => update.set("#pause_version = :version").value("version", version),
            None => update.remove("#pause_version"),
        };
        update = match &seen.pause_version {
            Some(seen) => update.when("#pause_version = :seen").value("seen", seen),
            None => update.when("attribute_not_exists(#pause_version)"),
        };
        let updated = self.update::<PageItem>(&pk(page_id), SORT_KEY, update).await?;
        let is_made = updated.is_made();
        Ok((updated.item().unwrap_or_default(), is_made))
    }

    /// Ends the pause that a Page is in because a version of the secret failed, and no other: the
    /// Page's item afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn unpause_page(
        &self,
        page_id: &str,
        failed_version: &str,
    ) -> Result<PageItem, StoreError> {
        let update = Update::default()
            .remove("#paused_until, #pause_reason, #pause_version, #pause_count")
            .when("#pause_version = :failed")
            .value("failed", failed_version);
        Ok(self.update(&pk(page_id), SORT_KEY, update).await?.item().unwrap_or_default())
    }

    /// Notes that Graph did not say at `now` whether it sent a message of the Page: the Page's item
    /// afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn note_unclear(
        &self,
        page_id: &str,
        now: Timestamp,
    ) -> Result<PageItem, StoreError> {
        let update = Update::default()
            .set("#unclear_at = :now")
            .when("attribute_not_exists(#unclear_at) OR #unclear_at < :now")
            .value("now", now);
        Ok(self.update(&pk(page_id), SORT_KEY, update).await?.item().unwrap_or_default())
    }

    /// Notes that Graph answered clearly in a call that began at `began`: the Page's item
    /// afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn end_unclear(
        &self,
        page_id: &str,
        began: Timestamp,
    ) -> Result<PageItem, StoreError> {
        let update = Update::default()
            .remove("#unclear_at")
            .when("#unclear_at < :began")
            .value("began", began);
        Ok(self.update(&pk(page_id), SORT_KEY, update).await?.item().unwrap_or_default())
    }

    /// Notes that Graph answered a message of the Page with its error 2 at `now`: the Page's item
    /// afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn note_refused(
        &self,
        page_id: &str,
        now: Timestamp,
    ) -> Result<PageItem, StoreError> {
        let update = Update::default()
            .set("#refused_at = :now")
            .when("attribute_not_exists(#refused_at)")
            .value("now", now);
        Ok(self.update(&pk(page_id), SORT_KEY, update).await?.item().unwrap_or_default())
    }

    /// Notes that Graph took a message of the Page in a call that began at `began`, after an answer of
    /// error 2: the Page's item afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn note_taken(
        &self,
        page_id: &str,
        began: Timestamp,
    ) -> Result<PageItem, StoreError> {
        let update = Update::default()
            .set("#taken_at = :began")
            .remove("#refused_at")
            .when("#refused_at < :began")
            .value("began", began);
        Ok(self.update(&pk(page_id), SORT_KEY, update).await?.item().unwrap_or_default())
    }

    /// Notes that a permission is missing with a version of the secret: the Page's item afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn note_lacking(&self, page_id: &str, version: &str) -> Result<PageItem, StoreError> {
        let update = Update::default()
            .set("#lacking_version = :version")
            .when("attribute_not_exists(#lacking_version) OR #lacking_version <> :version")
            .value("version", version);
        Ok(self.update(&pk(page_id), SORT_KEY, update).await?.item().unwrap_or_default())
    }

    /// Forgets that a permission was missing with a version of the secret.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn forget_lacking(&self, page_id: &str, version: &str) -> Result<(), StoreError> {
        let update = Update::default()
            .remove("#lacking_version")
            .when("#lacking_version = :version")
            .value("version", version);
        self.update::<PageItem>(&pk(page_id), SORT_KEY, update).await.map(drop)
    }

    /// Notes what Meta did at `at` about a breach of its policies, unless something later is known.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn note_policy(
        &self,
        page_id: &str,
        action: &str,
        reason: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = Update::default()
            .set("#policy_action = :action, #policy_at = :at")
            .when("attribute_not_exists(#policy_at) OR #policy_at <= :at")
            .value("action", action)
            .value("at", at);
        let update = match reason {
            Some(reason) => update.set("#policy_reason = :reason").value("reason", reason),
            None => update.remove("#policy_reason"),
        };
        self.update::<PageItem>(&pk(page_id), SORT_KEY, update).await.map(drop)
    }

    /// Since when the earliest entry of a Page's class has been due at `now`.
    ///
    /// The index may lag behind the table, so it may be gone by then.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn due_since(
        &self,
        page_id: &str,
        class: DueClass,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let query = self.due_query(page_id, class, now).limit(1);
        let answer = query.send().await.map_err(|error| unavailable(&error))?;
        let first = answer.items.unwrap_or_default().into_iter().next();
        first.map(|item| parse::<DueItem>(item).map(|item| item.due_at)).transpose()
    }

    /// What is due for a Page, the earliest first, a query's worth at a time.
    ///
    /// The index may lag behind the table: what it shows must be checked at the entry itself.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn due(
        &self,
        page_id: &str,
        class: DueClass,
        now: Timestamp,
        from: Option<DueRest>,
    ) -> Result<DueEntries, StoreError> {
        let query = self.due_query(page_id, class, now).limit(DUE_AT_ONCE);
        let query = query.set_exclusive_start_key(from.map(|DueRest(key)| key));
        let answer = query.send().await.map_err(|error| unavailable(&error))?;
        let mut entries = Vec::new();
        for item in answer.items.unwrap_or_default() {
            let DueItem { pk, sk, due_at } = parse(item)?;
            if let Some(key) = EntryKey::from_table(&pk, &sk) {
                entries.push(Due { key, due_at });
            } else {
                tracing::error!(page = page_id, "an item in the index is not an entry");
                let update = Update::default().remove("#due_page, #due_at");
                self.update::<serde::de::IgnoredAny>(&pk, &sk, update).await?;
            }
        }
        Ok(DueEntries { entries, rest: answer.last_evaluated_key.map(DueRest) })
    }

    fn due_query(&self, page_id: &str, class: DueClass, now: Timestamp) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .key_condition_expression("due_page = :page AND due_at <= :now")
            .expression_attribute_values(":page", AttributeValue::S(class.partition(page_id)))
            .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
    }
}

fn pk(page_id: &str) -> String {
    format!("page#{page_id}")
}
