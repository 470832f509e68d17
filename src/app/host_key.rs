//! The host key: where the configuration says it's kept, and publishing its public half.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::aws::Aws;
use crate::clock;
use crate::config::Config;
use crate::secrets::aws::SecretsManager;
use crate::secrets::file::KeyFile;
use crate::secrets::parameter::PublicKeyParameter;
use crate::secrets::{HostKey, HostKeyStore, LoadedKey};
use crate::telemetry::metrics;

/// The time limit for operations that report a temporary failure instead of retrying.
pub(super) const NO_RETRIES: Duration = Duration::ZERO;

/// The host key's file in the data folder.
const HOST_KEY: &str = "host_key";

/// The host key's storage. Temporary failures are retried for this long.
pub(super) fn storage(
    config: &Config,
    data_dir: &Path,
    retry_for: Duration,
) -> Box<dyn HostKeyStore> {
    match &config.aws.host_key_secret {
        Some(secret) => Box::new(SecretsManager::new(aws(config, retry_for), secret)),
        None => Box::new(KeyFile::new(data_dir.join(HOST_KEY), file_date())),
    }
}

/// The SSM parameter with the public half, and its name, if one is configured. Without retries.
pub(super) fn parameter(config: &Config) -> Option<(&str, PublicKeyParameter)> {
    let name = config.aws.host_key_parameter.as_deref()?;
    Some((name, PublicKeyParameter::new(aws(config, NO_RETRIES), name)))
}

/// The AWS client.
pub(super) fn aws(config: &Config, retry_for: Duration) -> Arc<Aws> {
    Arc::new(Aws::new(config.aws.region.clone(), retry_for))
}

/// The current time as part of a file name: `2026-11-22T140209Z`.
fn file_date() -> String {
    let now = chrono::DateTime::from_timestamp_millis(clock::now().0).unwrap_or_default();
    now.format("%Y-%m-%dT%H%M%SZ").to_string()
}

/// The host key that the server uses.
pub(super) struct ServerKey {
    pub key: HostKey,
    pub created: bool,
    /// Where it's kept, in words.
    pub place: String,
}

impl ServerKey {
    /// Loads the host key, or creates it. Retries temporary failures for `aws.patience`.
    pub(super) async fn load(config: &Config, data_dir: &Path) -> Result<ServerKey> {
        let storage = storage(config, data_dir, config.aws.patience);
        let LoadedKey { key, created } = storage.load_or_create().await?;
        tracing::info!(
            event = "host_key_loaded",
            source = storage.place(),
            fingerprint = %key.fingerprint(),
            created,
            "host key loaded"
        );
        let (source, place) = match config.aws.host_key_secret {
            Some(_) => ("secretsmanager", storage.place()),
            None => ("file", abbreviated(&config.data_dir)),
        };
        metrics::host_key(source);
        Ok(ServerKey {
            key,
            created,
            place,
        })
    }

    /// Publishes the public half in the SSM parameter, if one is configured. Clients can connect
    /// meanwhile, and even if this fails.
    pub(super) fn publish(&self, config: &Config) -> JoinHandle<()> {
        let value = PublicKeyParameter::value(&self.key);
        let aws = aws(config, config.aws.patience);
        let name = config.aws.host_key_parameter.clone();
        tokio::spawn(async move {
            let Some(name) = name else {
                return;
            };
            match PublicKeyParameter::new(aws, name.as_str())
                .publish(&value)
                .await
            {
                Ok(changed) => tracing::info!(
                    event = "host_key_published",
                    parameter = name,
                    changed,
                    "public host key published in the parameter"
                ),
                Err(error) => tracing::warn!(
                    event = "host_key_not_published",
                    parameter = name,
                    error = %error,
                    "public host key not published in the parameter; the role needs \
                     ssm:GetParameter and ssm:PutParameter on it"
                ),
            }
        })
    }
}

/// A path with `~` for the home directory.
fn abbreviated(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}
