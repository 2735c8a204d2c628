//! The API for back-office systems: send, look up, cancel, fetch events, erase.
//!
//! Each handler is in its file with its description; [`routes`] lists them.

mod answer;
mod applications;
mod auth;
mod deletion;
mod events;
mod messages;
mod openapi;
mod people;
mod problem;
mod route;
mod routes;

use std::sync::Arc;

use backend::aws::Aws;
use backend::feed::Feed;
use backend::graph::{Graph, GraphSettings};
use backend::outbox::{Outbox, OutboxSettings};
use backend::secrets::Secrets;
use backend::send::SendApi;
use backend::settings::{SettingError, Variables};
use backend::store::Store;
use backend::telemetry::Telemetry;
use messenger::clock::SharedClock;

pub use auth::ApiAuth;

/// The API function.
#[derive(Debug)]
pub struct Api {
    outbox: Outbox,
    feed: Feed,
    feed_is_on: bool,
    graph: Graph,
    secrets: Arc<Secrets>,
    clock: SharedClock,
    telemetry: Telemetry,
    auth: ApiAuth,
    webhook_url: String,
}

impl Api {
    /// Builds everything from the environment: `API_AUTH`, `WEBHOOK_URL`, `SECRET_ID`, `TABLE_NAME`, and the
    /// settings of sending and of Graph.
    ///
    /// # Errors
    /// [`SettingError`] names the variable that is missing or cannot be used.
    pub fn from_variables(
        vars: &Variables,
        aws: &Aws,
        clock: &SharedClock,
        telemetry: Telemetry,
    ) -> Result<Self, SettingError> {
        let auth = ApiAuth::from_variables(vars)?;
        let graph = Graph::new(GraphSettings::from_variables(vars)?)?;
        let secret_id = vars.required("SECRET_ID")?;
        let secrets = Arc::new(Secrets::new(aws.secrets_manager(), secret_id, Arc::clone(clock)));
        let outbox = Outbox::new(
            Store::new(aws.dynamodb(), vars.required("TABLE_NAME")?),
            SendApi::new(graph.clone(), Arc::clone(&secrets)),
            Arc::clone(&secrets),
            Arc::clone(clock),
            telemetry.clone(),
            OutboxSettings::from_variables(vars)?,
        );
        let webhook_url = vars.required("WEBHOOK_URL")?;
        let clock = Arc::clone(clock);
        let feed = Feed::from_variables(vars, aws, &clock)?;
        let feed_is_on = Feed::is_on(vars)?;
        Ok(Self { outbox, feed, feed_is_on, graph, secrets, clock, telemetry, auth, webhook_url })
    }

    /// Opens the connection that the first request needs.
    pub async fn warm_up(&self) {
        self.outbox.warm_up().await;
    }
}
