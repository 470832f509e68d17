//! AWS, as far as all that uses it has in common: the way there, what can go wrong on it, and how
//! long to go on trying.
//!
//! The SDK tries once and keeps its own deadlines short; who calls decides with [`Patience`]
//! whether to call again, and says in the log why.

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

mod calls;
pub mod cloudwatch;
pub mod json;
mod patience;
mod trouble;

pub use calls::Calls;
pub use patience::Patience;
pub use trouble::Trouble;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a call may take in all, from its credentials to the end of the answer.
const CALL: Duration = Duration::from_secs(10);

/// The way to AWS. It is looked for when it is first needed, and again until it is found: the
/// metadata of an instance lag behind its start.
#[derive(Debug)]
pub struct Aws {
    region: Option<String>,
    patience: Duration,
    /// The address of a stand-in.
    stand_in: Option<String>,
    config: OnceCell<SdkConfig>,
}

impl Aws {
    /// The way as the environment and the metadata of the instance say, to this region if one is
    /// named. What fails and may pass is tried again for as long as `patience` says.
    pub fn new(region: Option<String>, patience: Duration) -> Aws {
        Aws {
            region,
            patience,
            stand_in: None,
            config: OnceCell::new(),
        }
    }

    /// The way to what stands in for AWS at this address, in tests. It is not patient, and signs
    /// with credentials that AWS would not take.
    pub fn stand_in(url: &str) -> Aws {
        Aws {
            stand_in: Some(url.to_owned()),
            ..Aws::new(Some("eu-central-1".to_owned()), Duration::ZERO)
        }
    }

    /// What clients of single services are made from.
    ///
    /// # Errors
    /// [`Trouble::NoRegion`] if nobody names a region.
    pub async fn config(&self) -> Result<&SdkConfig, Trouble> {
        self.config
            // On the heap: it is large, and every call begins with it.
            .get_or_try_init(|| Box::pin(load(self.region.clone(), self.stand_in.as_deref())))
            .await
    }

    /// The waits between attempts, from now on.
    pub fn patience(&self) -> Patience {
        Patience::new(self.patience)
    }
}

async fn load(region: Option<String>, stand_in: Option<&str>) -> Result<SdkConfig, Trouble> {
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
        let nobody = Credentials::new("test", "test", None, None, "a stand-in takes any");
        loader = loader.endpoint_url(url).credentials_provider(nobody);
    }
    let config = loader.load().await;
    match config.region() {
        Some(_) => Ok(config),
        None => Err(Trouble::NoRegion),
    }
}

/// Makes a call without the SDK's own lines in the log: at the level `trace` they show requests with
/// their signatures and session tokens, and no promise of the SDK's keeps bodies out of them.
pub async fn quietly<T>(call: impl Future<Output = T>) -> T {
    call.with_subscriber(NoSubscriber::new()).await
}
