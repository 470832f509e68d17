//! The public half of the host key in a parameter of AWS Systems Manager, where whoever prepares
//! `known_hosts` files finds it without access to the secret.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::aws::json::{Version, call};
use crate::aws::{Aws, AwsError, CallTracker};
use crate::secrets::HostKey;

/// The service's name in host names and signatures.
const SERVICE: &str = "ssm";

/// A parameter that says which key the server has.
#[derive(Debug, Clone)]
pub struct Parameter {
    aws: Arc<Aws>,
    /// Its name.
    name: String,
    calls: Arc<CallTracker>,
}

impl Parameter {
    /// The parameter of this name. It is made when the key is first published.
    pub fn new(aws: Arc<Aws>, name: impl Into<String>) -> Parameter {
        Parameter {
            aws,
            name: name.into(),
            calls: Arc::new(CallTracker::new(SERVICE)),
        }
    }

    /// What is published of a key: its fingerprint and its public line.
    pub fn value(key: &HostKey) -> String {
        format!("{} {}", key.fingerprint(), key.public_line())
    }

    /// What is published; `None` if nothing is yet. Nothing is tried twice.
    pub async fn read(&self) -> Result<Option<String>, AwsError> {
        let name = json!({ "Name": self.name });
        let config = self.aws.config().await?;
        let read = "AmazonSSM.GetParameter";
        match call(config, &self.calls, Version::V1_1, read, &name).await {
            Ok(found) => {
                let value = found.pointer("/Parameter/Value").and_then(Value::as_str);
                Ok(value.map(str::to_owned))
            }
            Err(AwsError::Refused { code, .. }) if code == "ParameterNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the value, unless that is what is there. `true` if it was written. What may pass is
    /// tried again for as long as the patience with AWS lasts.
    pub async fn publish(&self, value: &str) -> Result<bool, AwsError> {
        let mut backoff = self.aws.backoff();
        loop {
            let error = match self.attempt(value).await {
                Err(error) if error.may_pass() => error,
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
                "the public half of the host key is not published yet"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, value: &str) -> Result<bool, AwsError> {
        let config = self.aws.config().await?;
        // Any failure here is one of writing, too, or does not matter.
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
        let target = "AmazonSSM.PutParameter";
        call(config, &self.calls, Version::V1_1, target, &parameter).await?;
        Ok(true)
    }
}
