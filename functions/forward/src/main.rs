//! The forwarder: settings, clients, run.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use backend::aws::Aws;
use backend::clock::SystemClock;
use backend::secrets::Secrets;
use backend::settings::Variables;
use backend::telemetry::{Telemetry, log_panics_by_place};
use forward::{Forwarder, ForwarderSettings};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use messenger::clock::{SharedClock, Timestamp};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    log_panics_by_place();
    let vars = Variables::of_process();
    let clock: SharedClock = Arc::new(SystemClock);
    let aws = Aws::from_variables(&vars)?;
    let secret_id = vars.required("SECRET_ID")?;
    let secrets = Arc::new(Secrets::new(aws.secrets_manager(), secret_id, Arc::clone(&clock)));
    let telemetry = Telemetry::to_stdout(Arc::clone(&clock));
    let settings = ForwarderSettings::from_variables(&vars)?;
    let forwarder = Forwarder::new(aws.sqs(), Arc::clone(&secrets), clock, telemetry, settings)?;
    if let Err(error) = secrets.current().await {
        tracing::error!(%error, "nothing is forwarded until the secret can be read");
    }
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let deadline = Timestamp::from_millis(deadline);
        Ok::<_, Error>(forwarder.handle(event.payload, deadline).await)
    }))
    .await
}
