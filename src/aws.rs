//! AWS client, error classification and retries, shared by all adapters that call AWS.
//!
//! The SDK makes one attempt with short timeouts. Callers retry with [`Backoff`] and log the reason.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

mod backoff;
pub mod cloudwatch;
mod error;
pub mod json;
mod tracker;

pub use backoff::Backoff;
pub use error::AwsError;
pub use tracker::CallTracker;

/// The timeout for connecting.
const CONNECT: Duration = Duration::from_secs(3);
/// The timeout for a whole call, from fetching credentials to the end of the response.
const CALL: Duration = Duration::from_secs(10);

/// The shared SDK configuration. It is loaded on first use, and again until that succeeds: instance
/// metadata lags behind the start of an instance.
#[derive(Debug)]
pub struct Aws {
    region: Option<String>,
    patience: Duration,
    /// The endpoint of a stand-in for AWS, in tests.
    stand_in: Option<String>,
    config: OnceCell<SdkConfig>,
}

impl Aws {
    /// A configuration from the environment and the instance metadata, for `region` if given.
    /// Transient failures are retried for `patience`.
    pub fn new(region: Option<String>, patience: Duration) -> Aws {
        Aws {
            region,
            patience,
            stand_in: None,
            config: OnceCell::new(),
        }
    }

    /// A configuration for a stand-in for AWS at this URL, in tests: no retries, and fake
    /// credentials.
    pub fn stand_in(url: &str) -> Aws {
        Aws {
            stand_in: Some(url.to_owned()),
            ..Aws::new(Some("eu-central-1".to_owned()), Duration::ZERO)
        }
    }

    /// The SDK configuration from which service clients are made.
    ///
    /// # Errors
    /// [`AwsError::NoRegion`] if no region is configured or found.
    pub async fn config(&self) -> Result<&SdkConfig, AwsError> {
        self.config
            // Boxed: the future is large, and every call contains it.
            .get_or_try_init(|| Box::pin(load(self.region.clone(), self.stand_in.as_deref())))
            .await
    }

    /// A new backoff that starts now.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.patience)
    }
}

async fn load(region: Option<String>, stand_in: Option<&str>) -> Result<SdkConfig, AwsError> {
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(CALL)
        .operation_attempt_timeout(CALL)
        .operation_timeout(CALL)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if let Some(url) = stand_in {
        let fake = Credentials::new("test", "test", None, None, "stand-in");
        loader = loader.endpoint_url(url).credentials_provider(fake);
    }
    let config = loader.load().await;
    match config.region() {
        Some(_) => Ok(config),
        None => Err(AwsError::NoRegion),
    }
}

/// Runs a call with the SDK's own logging off: at the level trace it shows requests with their
/// signatures and session tokens, and nothing guarantees that it leaves out bodies.
pub async fn without_sdk_logs<T>(call: impl Future<Output = T>) -> T {
    call.with_subscriber(NoSubscriber::new()).await
}
