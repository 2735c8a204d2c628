//! The function: what its handlers work with.

use std::sync::Arc;

use backend::erasure::Erasures;
use backend::feed::{FEED, Feed};
use backend::outbox::Outbox;
use backend::runtime::Environment;
use backend::secrets::Secrets;
use backend::settings::USER_PROFILES;
use messenger::clock::SharedClock;

use crate::auth::{ApiAuth, Caller};
use crate::problem::Problem;

/// The API function.
#[derive(Debug)]
pub struct Api {
    pub(crate) outbox: Outbox,
    pub(crate) feed: Feed,
    pub(crate) feed_is_on: bool,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) clock: SharedClock,
    pub(crate) erasures: Erasures,
    pub(crate) auth: ApiAuth,
    pub(crate) webhook_url: String,
    pub(crate) reads_profiles: bool,
}

impl Api {
    /// Builds the function; it reads `API_AUTH`, `WEBHOOK_URL`, `FEED` and `USER_PROFILES`.
    pub fn new(environment: &Environment) -> Self {
        Self {
            outbox: Outbox::new(environment),
            feed: Feed::new(environment),
            feed_is_on: environment.variables.is_on(FEED),
            secrets: Arc::clone(&environment.secrets),
            clock: Arc::clone(&environment.clock),
            erasures: Erasures::new(environment),
            auth: ApiAuth::new(&environment.variables),
            webhook_url: environment.variables.required("WEBHOOK_URL"),
            reads_profiles: environment.variables.is_on(USER_PROFILES),
        }
    }

    /// Checks that the secret names a Page which the caller reaches; to others it is unknown.
    pub(crate) async fn check_page(&self, caller: &Caller, page_id: &str) -> Result<(), Problem> {
        let secret = self.secrets.current().await?;
        if caller.has_page(page_id, &secret) { Ok(()) } else { Err(Problem::unknown_page()) }
    }

    /// Opens the connection that the first request needs.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }
}
