//! The webhook function: settings, clients, run.

use std::sync::Arc;

use backend::aws::Aws;
use backend::clock::SystemClock;
use backend::secrets::Secrets;
use backend::settings::Variables;
use backend::telemetry::{Telemetry, log_panics_by_place};
use lambda_http::{Error, run, service_fn};
use messenger::clock::SharedClock;
use webhook::{Webhook, WebhookSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    log_panics_by_place();
    let vars = Variables::of_process();
    let clock: SharedClock = Arc::new(SystemClock);
    let aws = Aws::from_variables(&vars)?;
    let secret_id = vars.required("SECRET_ID")?;
    let secrets = Arc::new(Secrets::new(aws.secrets_manager(), secret_id, Arc::clone(&clock)));
    let telemetry = Telemetry::to_stdout(Arc::clone(&clock));
    let settings = WebhookSettings::from_variables(&vars)?;
    let webhook = Webhook::new(aws.sqs(), Arc::clone(&secrets), clock, telemetry, settings);
    if let Err(error) = secrets.current().await {
        tracing::error!(%error, "requests are refused until the secret can be read");
    }
    run(service_fn(async |request| Ok::<_, Error>(webhook.handle(request).await))).await
}
