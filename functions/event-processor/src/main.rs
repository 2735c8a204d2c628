//! The event processor, with your bot.

use backend::runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    event_processor::serve(bot::bot).await
}
