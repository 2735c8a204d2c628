//! The functions, as one set of containers holds them.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use api::Api;
use backend::aws::Aws;
use backend::outbox::Outbox;
use backend::secrets::Secrets;
use backend::settings::Variables;
use backend::telemetry::Telemetry;
use event_processor::{PassOn, Processor, ProcessorSettings};
use follow_ups::{FollowUps, FollowUpsSettings};
use forward::{Forwarder, ForwarderSettings};
use messenger::clock::SharedClock;
use messenger::decision::Replies;
use webhook::{Webhook, WebhookSettings};

/// A function of each kind, with the clients, the clock and the memory of its own container.
#[derive(Debug)]
pub struct Functions {
    /// Takes Meta's notifications in.
    pub webhook: Webhook,
    /// Processes events.
    pub processor: Processor,
    /// Sends what is due.
    pub follow_ups: FollowUps,
    /// Posts events to other systems; absent, as in a stack, without `FORWARD_URLS`.
    pub forwarder: Option<Forwarder>,
    /// Answers back-office systems.
    pub api: Api,
}

impl Functions {
    /// Builds the functions as their `main` does, from the environment.
    ///
    /// # Errors
    /// If a variable is missing or cannot be used.
    pub fn start(
        environment: BTreeMap<String, String>,
        clock: &SharedClock,
        telemetry: &Telemetry,
        replies: Replies,
    ) -> Result<Self, Box<dyn Error>> {
        let vars = Variables::from_lookup(move |name| environment.get(name).cloned());
        let clients = Aws::from_variables(&vars)?;
        let outbox = || Outbox::from_variables(&vars, &clients, clock, telemetry.clone());
        let secret_id = vars.required("SECRET_ID")?;
        let secrets =
            Arc::new(Secrets::new(clients.secrets_manager(), secret_id, Arc::clone(clock)));
        let forwarder = match vars.optional("FORWARD_URLS") {
            None => None,
            Some(_) => Some(Forwarder::new(
                clients.sqs(),
                Arc::clone(&secrets),
                Arc::clone(clock),
                telemetry.clone(),
                ForwarderSettings::from_variables(&vars)?,
            )?),
        };
        Ok(Self {
            webhook: Webhook::new(
                clients.sqs(),
                secrets,
                Arc::clone(clock),
                telemetry.clone(),
                WebhookSettings::from_variables(&vars)?,
            ),
            processor: Processor::new(
                Arc::new(outbox()?),
                clients.sqs(),
                Arc::clone(clock),
                replies,
                ProcessorSettings::from_variables(&vars)?,
                PassOn::from_variables(&vars, &clients, clock)?,
            ),
            follow_ups: FollowUps::new(
                Arc::new(outbox()?),
                Arc::clone(clock),
                FollowUpsSettings::from_variables(&vars)?,
            ),
            forwarder,
            api: Api::from_variables(&vars, &clients, clock, telemetry.clone())?,
        })
    }
}
