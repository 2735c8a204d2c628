//! The functions, each as a container of its own would hold it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Api;
use backend::forward::URLS;
use backend::reply::HttpBot;
use backend::runtime::Environment;
use backend::settings::{SettingErrors, Variables};
use backend::telemetry::Telemetry;
use event_processor::Processor;
use follow_ups::FollowUps;
use forward::Forwarder;
use messenger::bot::shared;
use messenger::clock::SharedClock;
use setup::Setup;
use webhook::Webhook;

use crate::driver::AtWork;
use crate::platform::Options;
use crate::template;

/// What containers are started from: variables, clock and metrics.
#[derive(Clone)]
pub struct Containers {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The clock.
    pub clock: SharedClock,
    /// The metrics.
    pub telemetry: Telemetry,
}

impl Containers {
    /// The environment of a new container.
    pub fn environment(&self) -> Environment {
        let values = self.variables.clone();
        let variables = Variables::from_lookup(move |name| values.get(name).cloned());
        Environment::new(variables, Arc::clone(&self.clock), self.telemetry.clone())
    }

    /// Starts a function in a new container, with the variables that it has in a stack; its calls to AWS come
    /// in under its name, that of its program.
    ///
    /// # Errors
    /// If a variable is missing or unusable.
    pub fn start<F>(
        &self,
        name: &str,
        new: impl FnOnce(&Environment) -> F,
    ) -> Result<F, SettingErrors> {
        let mut named = self.clone();
        named.variables.retain(|variable, _| template::may_have(name, variable));
        if let Some(url) = named.variables.get_mut("AWS_ENDPOINT_URL") {
            *url = format!("{url}/functions/{name}");
        }
        named.environment().build(new)
    }
}

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
    /// The bots that are at work on threads of their own, if they let time pass.
    pub bots_at_work: AtWork,
}

impl Functions {
    /// Starts each function as its `main` does.
    ///
    /// # Errors
    /// If a variable is missing or unusable.
    pub fn start(containers: &Containers, options: &Options) -> Result<Self, SettingErrors> {
        let bots_at_work = AtWork::default();
        let driver = options.driver(&containers.clock, &bots_at_work);
        let forwards = containers.variables.contains_key(URLS);
        Ok(Self {
            webhook: containers.start("webhook", Webhook::new)?,
            processor: containers.start("event-processor", |environment| {
                let bot = HttpBot::new(environment).map_or_else(|| options.bot(), shared);
                Processor::new(environment, bot, driver)
            })?,
            follow_ups: containers.start("follow-ups", FollowUps::new)?,
            forwarder: forwards.then(|| containers.start("forward", Forwarder::new)).transpose()?,
            api: containers.start("api", Api::new)?,
            bots_at_work,
        })
    }

    /// Starts the setup function, which runs a few times a year and so in a new container each time.
    ///
    /// # Errors
    /// If a variable is missing or unusable.
    pub fn start_setup(containers: &Containers) -> Result<Setup, SettingErrors> {
        containers.start("setup", Setup::new)
    }
}
