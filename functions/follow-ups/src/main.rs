//! The follow-ups function.

use backend::runtime::{self, Error};
use follow_ups::FollowUps;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let follow_ups = runtime::start(FollowUps::new)?;
    follow_ups.warm_up().await;
    runtime::run_json(async |payload, invocation| {
        follow_ups.handle(payload, &invocation.id, invocation.deadline).await
    })
    .await
}
