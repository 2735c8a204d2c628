//! Erasing people: the one place that does it, for the API and for Meta's data deletion requests.
//!
//! An erasure is accepted once its job and the mark of the erased person are written, in this order.
//! The mark keeps everything away that happened before it. What was written about the person is deleted
//! at once as far as the time allows, and again by the job, when whoever was still writing has ended. So
//! nothing has to wait for a sender, and what fails is done by the next run of the follow-ups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::aws::CALL_TIMEOUT;
use crate::batch::get_privately;
use crate::credentials::{Caller, Credentials, app_token};
use crate::feed::{Feed, FeedError};
use crate::graph::{Access, Answer, Graph, GraphError, GraphSettings};
use crate::runtime::Environment;
use crate::secrets::{Application, SecretError, Secrets};
use crate::store::{
    ConversationKey, Deletion, DeletionState, ErasureJob, ErasureWork, PersonErasure, Store,
    StoreError,
};
use crate::telemetry::{Metric, Telemetry};
use messenger::clock::{SharedClock, Timestamp};
use messenger::person::Person;

/// When everybody who was writing about a person as they were erased has ended: the longest timeout of
/// a function that writes, which is setup's 5 minutes, and a minute for clocks that differ.
pub const SECOND_PASS_AFTER: Duration = Duration::from_mins(6);

/// For how long after a mark somebody may put a placeholder for what began before it: a lease lasts for
/// less, by whatever clock.
const LONGEST_LEASE: Duration = Duration::from_mins(1);

/// How long a job that failed waits: until the next run of the follow-ups.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How old a job is when somebody should look at it.
const OVERDUE_AFTER: Duration = Duration::from_hours(1);

/// What is left of an invocation's time when deleting stops: for the call that is being made, and the
/// answer.
const TIME_TO_END: Duration = Duration::from_secs(CALL_TIMEOUT.as_secs() + 1);

/// How often a mark is tried while the person becomes known by further names.
const MOST_TRIES: usize = 5;

/// Why an erasure is not complete.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The feed failed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The secret cannot be read, or names no app secret for the app.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Meta did not say at which Pages the person is known.
    #[error("the person's ids at the Pages are not known: {0}")]
    Graph(#[from] GraphError),
    /// There was not enough time.
    #[error("there was not enough time; the next run goes on")]
    OutOfTime,
}

/// Erases people.
#[derive(Debug)]
pub struct Erasures {
    store: Store,
    feed: Feed,
    graph: Graph,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
}

impl Erasures {
    /// Reads `TABLE_NAME` and the settings of Graph.
    pub fn new(environment: &Environment) -> Self {
        let variables = &environment.variables;
        Self {
            store: Store::new(environment.aws.dynamodb(), variables.required("TABLE_NAME")),
            feed: Feed::new(environment),
            graph: Graph::new(GraphSettings::new(variables)),
            secrets: Arc::clone(&environment.secrets),
            clock: Arc::clone(&environment.clock),
            telemetry: environment.telemetry.clone(),
        }
    }

    /// Erases a person of a Page, under every name.
    ///
    /// When it returns, nothing that happened until now can bring the person back, no message of before
    /// is begun any more, and whatever could not be deleted by `deadline` is deleted by the job.
    ///
    /// # Errors
    /// [`ErasureError`] if the erasure is not accepted; calling it again is safe.
    pub async fn erase(
        &self,
        conversation_key: &ConversationKey,
        deadline: Timestamp,
    ) -> Result<(), ErasureError> {
        let erasure = PersonErasure {
            conversation_key: conversation_key.clone(),
            known_as: BTreeSet::new(),
            erased_at: self.clock.now(),
        };
        let due_at = erasure.erased_at + SECOND_PASS_AFTER;
        self.store.queue_erasure(&erasure, due_at).await?;
        let erasure = self.mark(erasure, due_at).await?;
        if let Err(error) = self.delete(&erasure, None, deadline).await {
            tracing::warn!(page = conversation_key.page_id, %error, "an erasure is left to its job");
        }
        let written = self.store.forestall_decision(conversation_key, erasure.erased_at).await?;
        if let Some(id) = written
            && let Err(error) = self.store.delete_decision(conversation_key, &id).await
        {
            tracing::warn!(page = conversation_key.page_id, %error, "a decision is left to its job");
        }
        self.telemetry.count(Metric::Erased, conversation_key.page_id.as_str(), &[]);
        Ok(())
    }

    /// Accepts a deletion that a person asked Meta for: how it stands.
    ///
    /// # Errors
    /// [`ErasureError`] if it is not accepted; calling it again is safe.
    pub async fn accept_deletion(
        &self,
        code: &str,
        app_id: &str,
        user_id: &str,
    ) -> Result<(), ErasureError> {
        let now = self.clock.now();
        if self.store.deletion(code).await?.is_some() {
            return Ok(());
        }
        self.store.queue_deletion(code, app_id, user_id, now).await?;
        let begun = Deletion { state: DeletionState::Begun, at: now };
        Ok(self.store.set_deletion(code, begun).await?)
    }

    /// The jobs that are due, the oldest first; counts those that are overdue.
    ///
    /// # Errors
    /// [`ErasureError`] if the table does not answer.
    pub async fn due(&self) -> Result<Vec<ErasureJob>, ErasureError> {
        let now = self.clock.now();
        let jobs = self.store.due_erasures(now).await?;
        let overdue = jobs.iter().filter(|job| job.asked_at + OVERDUE_AFTER < now).count();
        if overdue > 0 {
            self.telemetry.record(&[(Metric::ErasureOverdue, overdue as u64)], None, &[]);
        }
        Ok(jobs)
    }

    /// Completes a job, or lets it wait for the next run.
    ///
    /// # Errors
    /// [`ErasureError`] says why it is not complete.
    pub async fn complete(
        &self,
        job: &ErasureJob,
        deadline: Timestamp,
    ) -> Result<(), ErasureError> {
        let done = match &job.work {
            ErasureWork::Person(erasure) => self.erase_again(erasure.clone(), deadline).await,
            ErasureWork::Deletion { code, app_id, user_id } => {
                self.erase_everywhere(code, app_id, user_id, deadline).await
            }
        };
        match done {
            Ok(()) => self.store.complete_erasure(job).await?,
            Err(_) => self.store.postpone_erasure(job, self.clock.now() + RETRY_AFTER).await?,
        }
        done
    }

    /// The second pass: deletes what was still being written when the person was erased.
    async fn erase_again(
        &self,
        erasure: PersonErasure,
        deadline: Timestamp,
    ) -> Result<(), ErasureError> {
        let due_at = erasure.erased_at + SECOND_PASS_AFTER;
        let erasure = self.mark(erasure, due_at).await?;
        let placeholders_until = erasure.erased_at + LONGEST_LEASE;
        self.delete(&erasure, Some(placeholders_until), deadline).await
    }

    async fn erase_everywhere(
        &self,
        code: &str,
        app_id: &str,
        user_id: &str,
        deadline: Timestamp,
    ) -> Result<(), ErasureError> {
        for conversation_key in self.ids_at_pages(app_id, user_id).await? {
            self.erase(&conversation_key, deadline).await?;
        }
        let erased = Deletion { state: DeletionState::Erased, at: self.clock.now() };
        Ok(self.store.set_deletion(code, erased).await?)
    }

    /// Marks the person as erased, under every name; the job has all names before the mark drops them.
    ///
    /// Whatever is recorded as the mark is written came before it: otherwise a late repetition of it would
    /// be taken for something new.
    async fn mark(
        &self,
        mut erasure: PersonErasure,
        due_at: Timestamp,
    ) -> Result<PersonErasure, ErasureError> {
        let mut known_as = BTreeSet::new();
        for _ in 0..MOST_TRIES {
            let key = &erasure.conversation_key;
            let unmarked = self.store.mark_erased(key, &known_as, erasure.erased_at).await?;
            let Some(unmarked) = unmarked else {
                for key in erasure.names().skip(1) {
                    self.mark_alias(&key, erasure.erased_at).await?;
                }
                return Ok(erasure);
            };
            erasure.erased_at =
                unmarked.happened_at.map_or(erasure.erased_at, |at| at.max(erasure.erased_at));
            erasure.known_as.extend(unmarked.known_as.iter().cloned());
            self.store.queue_erasure(&erasure, due_at).await?;
            known_as = unmarked.known_as;
        }
        Err(ErasureError::OutOfTime)
    }

    async fn mark_alias(
        &self,
        conversation_key: &ConversationKey,
        mut erased_at: Timestamp,
    ) -> Result<(), ErasureError> {
        for _ in 0..MOST_TRIES {
            match self.store.mark_erased(conversation_key, &BTreeSet::new(), erased_at).await? {
                None => return Ok(()),
                Some(unmarked) => {
                    erased_at = erased_at.max(unmarked.happened_at.unwrap_or(erased_at));
                }
            }
        }
        Err(ErasureError::OutOfTime)
    }

    async fn delete(
        &self,
        erasure: &PersonErasure,
        placeholders_until: Option<Timestamp>,
        deadline: Timestamp,
    ) -> Result<(), ErasureError> {
        let delete = async {
            for conversation_key in erasure.names() {
                self.feed.erase(&conversation_key, erasure.erased_at).await?;
                let (store, at) = (&self.store, erasure.erased_at);
                store.erase_items(&conversation_key, at, placeholders_until).await?;
            }
            Ok(())
        };
        let left = deadline.since(self.clock.now()).saturating_sub(TIME_TO_END);
        tokio::time::timeout(left, delete).await.unwrap_or(Err(ErasureError::OutOfTime))
    }

    /// Gets a path as the app, with other credentials too if Graph refuses the first: see
    /// [`Credentials::after`].
    async fn get_as_app(
        &self,
        app_id: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, ErasureError> {
        let mut credentials = Credentials::current(&self.secrets).await?;
        loop {
            let application = credentials.secret().application_with_id(app_id)?;
            let app_secret = credentials.app_secret(application)?;
            let token = app_token(app_id, app_secret);
            let access = Access { token: &token, app_secret: Some(app_secret) };
            let error = match get_privately(&self.graph, path, access, parameters).await {
                Err(error) => error,
                Ok(answer) => return Ok(answer),
            };
            match credentials.after(&error, Caller::App(app_id), &self.secrets).await? {
                Some(others) => credentials = others,
                None => return Err(error.into()),
            }
        }
    }

    /// Who an app's person is at each Page of the app, whichever application of the secret names it.
    ///
    /// A Page that the secret no longer names counts as well; one of another app does not.
    ///
    /// The id in the app stays out of the URL. Source: Meta's Graph API reference, `ids_for_pages`.
    async fn ids_at_pages(
        &self,
        app_id: &str,
        user_id: &str,
    ) -> Result<Vec<ConversationKey>, ErasureError> {
        let is_of_app =
            |application: &Application| application.app_id().is_ok_and(|id| id == app_id);
        let path = format!("{user_id}/ids_for_pages");
        let mut people = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut parameters = vec![("limit", "100")];
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let answer = match self.get_as_app(app_id, &path, &parameters).await {
                // Graph does not know the person in this app, so no Page of the app does.
                Err(ErasureError::Graph(error))
                    if (error.code, error.subcode) == (Some(100), Some(33)) =>
                {
                    break;
                }
                answer => answer?,
            };
            let secret = self.secrets.current().await?;
            for id in answer.body["data"].as_array().into_iter().flatten() {
                let (page_id, person) = (id["page"]["id"].as_str(), id["id"].as_str());
                if let (Some(page_id), Some(person)) = (page_id, person)
                    && secret.application_of(page_id).map_or(true, is_of_app)
                    && let Ok(person) = Person::psid(person)
                {
                    people.push(ConversationKey { page_id: page_id.to_owned(), person });
                }
            }
            let paging = &answer.body["paging"];
            let has_next = paging["next"].is_string();
            after = paging["cursors"]["after"].as_str().map(str::to_owned).filter(|_| has_next);
            if after.is_none() {
                break;
            }
        }
        Ok(people)
    }
}
