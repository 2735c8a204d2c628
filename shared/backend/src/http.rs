//! HTTPS to servers other than AWS, with roots that need no parsing at a cold start.

use std::sync::Arc;
use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::dns::Resolve;
use rustls::RootCertStore;

/// A frozen function's connections are dead when it wakes, and a request on one would end as unclear.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: {0}")]
pub struct HttpError(String);

/// Builds a client that never retries, follows no redirect and uses no proxy.
///
/// `timeout` is the total time of a request.
///
/// # Errors
/// [`HttpError`] if TLS cannot be set up.
pub fn client(timeout: Duration) -> Result<reqwest::Client, HttpError> {
    build(builder(timeout)?)
}

/// Like [`client`], but connects only to the addresses that `resolver` returns for a name.
///
/// An IP address in a URL bypasses the resolver.
///
/// # Errors
/// [`HttpError`] if TLS cannot be set up.
pub fn client_resolving_by(
    timeout: Duration,
    resolver: impl Resolve + 'static,
) -> Result<reqwest::Client, HttpError> {
    build(builder(timeout)?.dns_resolver(Arc::new(resolver)))
}

fn builder(timeout: Duration) -> Result<ClientBuilder, HttpError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(2))
        .timeout(timeout)
        .pool_idle_timeout(IDLE_TIMEOUT))
}

fn build(builder: ClientBuilder) -> Result<reqwest::Client, HttpError> {
    builder.build().map_err(|error| HttpError(error.without_url().to_string()))
}
