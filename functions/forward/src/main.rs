//! The forwarder.

use backend::runtime::{self, Error};
use forward::Forwarder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let forwarder = runtime::start(Forwarder::new)?;
    forwarder.warm_up().await;
    runtime::run_sqs(async |batch, invocation| forwarder.handle(batch, invocation.deadline).await)
        .await
}
