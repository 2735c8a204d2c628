//! The event processor, with your bot.

use backend::runtime::{self, Error};
use event_processor::Processor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let processor = runtime::start(|environment| Processor::new(environment, bot::reply))?;
    processor.warm_up().await;
    runtime::run_sqs(async |batch, invocation| {
        processor.handle(batch, &invocation.id, invocation.deadline).await
    })
    .await
}
