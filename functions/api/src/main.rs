//! The API function: settings, clients, run.

use std::sync::Arc;

use api::Api;
use backend::aws::Aws;
use backend::clock::SystemClock;
use backend::settings::Variables;
use backend::telemetry::{Telemetry, log_panics_by_place};
use lambda_http::{Error, RequestExt, run, service_fn};
use messenger::clock::{SharedClock, Timestamp};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    log_panics_by_place();
    let vars = Variables::of_process();
    let clock: SharedClock = Arc::new(SystemClock);
    let aws = Aws::from_variables(&vars)?;
    let telemetry = Telemetry::to_stdout(Arc::clone(&clock));
    let api = Api::from_variables(&vars, &aws, &clock, telemetry)?;
    api.warm_up().await;
    run(service_fn(async |request: lambda_http::Request| {
        let context = request.lambda_context();
        let deadline = i64::try_from(context.deadline).unwrap_or(i64::MAX);
        let deadline = Timestamp::from_millis(deadline);
        Ok::<_, Error>(api.handle(&request, &context.request_id, deadline).await)
    }))
    .await
}
