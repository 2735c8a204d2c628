//! The connection to AWS, configured by hand to keep the cold start short.
//!
//! Nothing is looked up at start: the credentials come from the environment (a function's are valid for
//! as long as it lives), and the root certificates are the five that Amazon Trust Services lists for
//! AWS endpoints, so that the system's 140 need not be parsed.

use std::sync::OnceLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::settings::Variables;

/// Source: <https://www.amazontrust.com/repository/>: Amazon Root CA 1 to 4 and Starfield Services
/// Root Certificate Authority - G2.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// The timeout of a single attempt of a call.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout of a call, including its retries.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// The clients of the AWS services: one for each, because each one that is built costs the cold start
/// a connector and, with its first call, a connection.
pub struct Aws {
    config: SdkConfig,
    endpoints: [Option<String>; 3],
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    sqs: OnceLock<aws_sdk_sqs::Client>,
}

impl Aws {
    /// Reads the SDK's usual variables: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_MAX_ATTEMPTS`,
    /// `AWS_CA_BUNDLE`.
    pub fn new(variables: &Variables) -> Self {
        let credentials = Credentials::new(
            variables.required("AWS_ACCESS_KEY_ID"),
            variables.required("AWS_SECRET_ACCESS_KEY"),
            variables.optional("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(variables.parsed_or("AWS_MAX_ATTEMPTS", 3))
            .with_initial_backoff(Duration::from_millis(50));
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(variables.required("AWS_REGION")))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(
                aws_smithy_http_client::Builder::new()
                    .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                    .tls_context(tls_context(variables))
                    .build_https(),
            )
            .sleep_impl(TokioSleep::new())
            .timeout_config(timeouts)
            .retry_config(retries)
            .build();
        let every = variables.optional("AWS_ENDPOINT_URL");
        let endpoints = ["DYNAMODB", "SQS", "SECRETS_MANAGER"].map(|service| {
            variables.optional(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| every.clone())
        });
        Self { config, endpoints, dynamodb: OnceLock::new(), sqs: OnceLock::new() }
    }

    /// A client for the table.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let build = || aws_sdk_dynamodb::Client::new(&self.with_endpoint(0));
        self.dynamodb.get_or_init(build).clone()
    }

    /// A client for the queues.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        self.sqs.get_or_init(|| aws_sdk_sqs::Client::new(&self.with_endpoint(1))).clone()
    }

    /// A client for the secret.
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.with_endpoint(2))
    }

    /// The same clients without any limit of time.
    #[must_use]
    pub fn without_timeouts(self) -> Self {
        let config = self.config.to_builder().timeout_config(TimeoutConfig::disabled()).build();
        Self { config, dynamodb: OnceLock::new(), sqs: OnceLock::new(), ..self }
    }

    fn with_endpoint(&self, service: usize) -> SdkConfig {
        let mut builder = self.config.to_builder();
        builder.set_endpoint_url(self.endpoints[service].clone());
        builder.build()
    }
}

/// Describes why a call failed, without the body of the answer, which may contain a person's message.
pub fn describe<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    match error {
        SdkError::ConstructionFailure(_) => "the request could not be built".to_owned(),
        SdkError::TimeoutError(_) => "timed out".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            "connecting timed out".to_owned()
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => "could not connect".to_owned(),
        SdkError::DispatchFailure(_) => "the request could not be sent".to_owned(),
        SdkError::ResponseError(_) => "the answer could not be read".to_owned(),
        other => {
            let code = other.code().unwrap_or("an error without a code");
            format!("{code}: {}", other.message().unwrap_or("no message"))
        }
    }
}

fn tls_context(variables: &Variables) -> TlsContext {
    const BUNDLE: &str = "AWS_CA_BUNDLE";
    let context = |roots: &str| {
        let store = TrustStore::empty().with_pem_certificate(roots);
        TlsContext::builder().with_trust_store(store).build()
    };
    if let Some(path) = variables.optional(BUNDLE) {
        let roots = std::fs::read_to_string(path).map_err(|error| error.to_string());
        match roots.and_then(|roots| context(&roots).map_err(|error| error.to_string())) {
            Ok(context) => return context,
            Err(error) => variables.reject(BUNDLE, format!("cannot be used: {error}")),
        }
    }
    #[expect(clippy::expect_used, reason = "these certificates are a part of the program")]
    context(AMAZON_ROOTS).expect("Amazon's root certificates are valid PEM")
}
