//! Where the host key is kept, and what is told of it.

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

/// The host key's file in the data folder.
const HOST_KEY: &str = "host_key";

/// Where the configuration says that the host key is kept. What fails and may pass is tried again
/// for so long.
pub(super) fn admin(config: &Config, data_dir: &Path, patience: Duration) -> Box<dyn HostKeyStore> {
    match &config.aws.host_key_secret {
        Some(secret) => Box::new(SecretsManager::new(aws(config, patience), secret)),
        None => Box::new(KeyFile::new(data_dir.join(HOST_KEY), date())),
    }
}

/// The parameter that tells the public half, and its name, if the configuration names one. Nothing
/// is tried twice.
pub(super) fn parameter(config: &Config) -> Option<(&str, PublicKeyParameter)> {
    let name = config.aws.host_key_parameter.as_deref()?;
    Some((
        name,
        PublicKeyParameter::new(aws(config, Duration::ZERO), name),
    ))
}

/// The way to AWS.
pub(super) fn aws(config: &Config, patience: Duration) -> Arc<Aws> {
    Arc::new(Aws::new(config.aws.region.clone(), patience))
}

/// The moment, as part of a file's name: `2026-11-22T140209Z`.
fn date() -> String {
    let now = chrono::DateTime::from_timestamp_millis(clock::now().0).unwrap_or_default();
    now.format("%Y-%m-%dT%H%M%SZ").to_string()
}

/// The key that the server has.
pub(super) struct Found {
    pub key: HostKey,
    pub created: bool,
    /// Where it is kept, for people who know the data folder.
    pub place: String,
}

impl Found {
    /// Waits for the key, or for the end of the patience.
    pub(super) async fn load(config: &Config, data_dir: &Path) -> Result<Found> {
        let admin = admin(config, data_dir, config.aws.patience);
        let LoadedKey { key, created } = admin.load_or_create().await?;
        tracing::info!(
            event = "host_key_loaded",
            source = admin.place(),
            fingerprint = %key.fingerprint(),
            created,
            "the server has its host key"
        );
        let (source, place) = match config.aws.host_key_secret {
            Some(_) => ("secretsmanager", admin.place()),
            None => ("file", super::shown(&config.data_dir)),
        };
        metrics::host_key(source);
        Ok(Found {
            key,
            created,
            place,
        })
    }

    /// Publishes the public half where the configuration says so. People can connect meanwhile, and
    /// if it fails as well.
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
                    "the parameter tells the public half of the host key"
                ),
                Err(error) => tracing::warn!(
                    event = "host_key_not_published",
                    parameter = name,
                    error = %error,
                    "the parameter does not tell the public half of the host key; its role needs \
                     ssm:GetParameter and ssm:PutParameter on it"
                ),
            }
        })
    }
}
