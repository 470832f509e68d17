//! The public half of the host key in a parameter of AWS Systems Manager: clients that pin the key
//! in `known_hosts` can read it there without access to the secret.

use std::sync::Arc;

use serde_json::{Value, json};

use super::HostKey;
use crate::aws::json::{SSM, call};
use crate::aws::{Aws, AwsError, CallTracker};

/// A parameter with the public half of the host key.
#[derive(Debug, Clone)]
pub struct PublicKeyParameter {
    aws: Arc<Aws>,
    name: String,
    calls: Arc<CallTracker>,
}

impl PublicKeyParameter {
    /// The parameter with this name. It is created when the key is first published.
    pub fn new(aws: Arc<Aws>, name: impl Into<String>) -> PublicKeyParameter {
        PublicKeyParameter {
            aws,
            name: name.into(),
            calls: Arc::new(CallTracker::new(SSM.name)),
        }
    }

    /// The value for a key: its fingerprint and its public line.
    pub fn value(key: &HostKey) -> String {
        format!("{} {}", key.fingerprint(), key.public().line())
    }

    /// The published value; `None` if there is none yet. Never retries.
    pub async fn read(&self) -> Result<Option<String>, AwsError> {
        let name = json!({ "Name": self.name });
        let config = self.aws.config().await?;
        match call(config, &self.calls, &SSM, "GetParameter", &name).await {
            Ok(response) => {
                let value = response.pointer("/Parameter/Value").and_then(Value::as_str);
                Ok(value.map(str::to_owned))
            }
            Err(AwsError::Refused { code, .. }) if code == "ParameterNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the value, unless it's published already. Returns whether it was written. Transient
    /// failures are retried with the backoff of [`Aws`].
    pub async fn publish(&self, value: &str) -> Result<bool, AwsError> {
        let mut backoff = self.aws.backoff();
        loop {
            let error = match self.attempt(value).await {
                Err(error) if error.is_transient() => error,
                done => return done,
            };
            let Some(wait) = backoff.wait() else {
                return Err(error);
            };
            tracing::warn!(
                event = "host_key_publishing_waits",
                parameter = self.name,
                error = %error,
                again_in = ?wait,
                "the public half of the host key isn't published yet; retrying"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, value: &str) -> Result<bool, AwsError> {
        let config = self.aws.config().await?;
        // If this fails, writing fails as well, or the failure doesn't matter.
        if self
            .read()
            .await
            .is_ok_and(|found| found.as_deref() == Some(value))
        {
            return Ok(false);
        }
        let parameter = json!({
            "Name": self.name,
            "Description": "The host key of ssh-chat: its fingerprint and its public half",
            "Type": "String",
            "Value": value,
            "Overwrite": true,
        });
        call(config, &self.calls, &SSM, "PutParameter", &parameter).await?;
        Ok(true)
    }
}
