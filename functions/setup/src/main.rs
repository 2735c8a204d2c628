//! The setup function: settings, clients, run.

use std::sync::Arc;

use backend::aws::Aws;
use backend::clock::SystemClock;
use backend::settings::Variables;
use backend::telemetry::{Telemetry, log_panics_by_place};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use messenger::clock::{SharedClock, Timestamp};
use serde_json::Value;
use setup::Setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    log_panics_by_place();
    let vars = Variables::of_process();
    let clock: SharedClock = Arc::new(SystemClock);
    let aws = Aws::from_variables(&vars)?;
    let telemetry = Telemetry::to_stdout(Arc::clone(&clock));
    let setup = Setup::from_variables(&vars, &aws, clock, telemetry)?;
    run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let deadline = Timestamp::from_millis(deadline);
        let id = event.context.request_id;
        Ok::<_, Error>(setup.handle(event.payload, &id, deadline).await?)
    }))
    .await
}
