//! The API function.

use api::Api;
use backend::runtime::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let api = runtime::start(Api::new)?;
    api.warm_up().await;
    let api = &api;
    runtime::run_http(async move |request, invocation| {
        api.handle(&request, &invocation.id, invocation.deadline).await
    })
    .await
}
