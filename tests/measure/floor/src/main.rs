//! A hello world with the same runtime, log and profile as the functions.

use lambda_http::{Error, Request, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    run(service_fn(async |_: Request| Ok::<_, Error>("hello"))).await
}
