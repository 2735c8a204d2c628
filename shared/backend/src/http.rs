//! HTTPS to servers other than AWS, with roots that need no parsing at a cold start.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::{Client, ClientBuilder};
use rustls::RootCertStore;

/// A frozen function's connections are dead when it wakes, and a request on one would end as unclear.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Builds a client that never repeats a request, follows no redirect and uses no proxy.
///
/// `timeout` covers a whole request.
pub fn client(timeout: Duration) -> Client {
    build(builder(timeout))
}

/// Builds such a client that connects only to addresses which `resolver` finds for a name.
///
/// An IP address in a URL never reaches the resolver.
pub fn client_resolving_by(timeout: Duration, resolver: impl Resolve + 'static) -> Client {
    build(builder(timeout).dns_resolver(Arc::new(resolver)))
}

fn builder(timeout: Duration) -> ClientBuilder {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    #[expect(clippy::expect_used, reason = "nothing here comes from outside the program")]
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs provides cipher suites of every protocol version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(2))
        .timeout(timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
}

fn build(builder: ClientBuilder) -> Client {
    #[expect(clippy::expect_used, reason = "nothing here comes from outside the program")]
    builder.build().expect("a client of fixed settings can be built")
}
