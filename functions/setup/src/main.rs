//! The setup function.

use backend::runtime::{self, Error};
use setup::Setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setup = runtime::start(Setup::new)?;
    runtime::run_json(async |payload, invocation| {
        setup.handle(payload, &invocation.id, invocation.deadline).await
    })
    .await
}
