//! The event processor: settings, clients, run.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use backend::aws::Aws;
use backend::clock::SystemClock;
use backend::outbox::Outbox;
use backend::settings::Variables;
use backend::telemetry::{Telemetry, log_panics_by_place};
use event_processor::{PassOn, Processor, ProcessorSettings};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use messenger::clock::{SharedClock, Timestamp};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    log_panics_by_place();
    let vars = Variables::of_process();
    let clock: SharedClock = Arc::new(SystemClock);
    let aws = Aws::from_variables(&vars)?;
    let telemetry = Telemetry::to_stdout(Arc::clone(&clock));
    let outbox = Arc::new(Outbox::from_variables(&vars, &aws, &clock, telemetry)?);
    outbox.warm_up().await;
    let settings = ProcessorSettings::from_variables(&vars)?;
    let pass_on = PassOn::from_variables(&vars, &aws, &clock)?;
    let processor = Processor::new(outbox, aws.sqs(), clock, bot::reply, settings, pass_on);
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let deadline = Timestamp::from_millis(deadline);
        let id = event.context.request_id;
        Ok::<_, Error>(processor.handle(event.payload, &id, deadline).await)
    }))
    .await
}
