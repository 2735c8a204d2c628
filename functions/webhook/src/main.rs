//! The webhook function.

use backend::runtime::{self, Error};
use webhook::Webhook;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let webhook = runtime::start(Webhook::new)?;
    webhook.warm_up().await;
    runtime::run_http(|request, _| webhook.handle(request)).await
}
