//! The event processor with the sample bot: the stack test must not depend on what yours says.

use backend::runtime::Error;
use messenger::bot::plain;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    event_processor::serve(async |_| Ok(plain(booking::reply))).await
}
