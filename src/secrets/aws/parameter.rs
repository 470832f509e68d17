//! The public half of the host key in a parameter of AWS Systems Manager, where whoever prepares
//! `known_hosts` files finds it without access to the secret.

use std::sync::Arc;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::ParameterType;

use crate::aws::{Aws, Trouble, quietly};
use crate::secrets::HostKey;

/// A parameter that says which key the server has.
#[derive(Debug, Clone)]
pub struct Parameter {
    aws: Arc<Aws>,
    /// Its name.
    name: String,
}

impl Parameter {
    /// The parameter of this name. It is made when the key is first published.
    pub fn new(aws: Arc<Aws>, name: impl Into<String>) -> Parameter {
        Parameter {
            aws,
            name: name.into(),
        }
    }

    /// What is published of a key: its fingerprint and its public line.
    pub fn value(key: &HostKey) -> String {
        format!("{} {}", key.fingerprint(), key.public_line())
    }

    /// Writes the value, unless that is what is there. `true` if it was written. What may pass is
    /// tried again for as long as the patience with AWS lasts.
    pub async fn publish(&self, value: &str) -> Result<bool, Trouble> {
        let mut patience = self.aws.patience();
        loop {
            let error = match self.attempt(value).await {
                Err(error) if error.may_pass() => error,
                done => return done,
            };
            let Some(wait) = patience.wait() else {
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

    async fn attempt(&self, value: &str) -> Result<bool, Trouble> {
        let client = Client::new(self.aws.config().await?);
        let found = quietly(client.get_parameter().name(&self.name).send()).await;
        // Any failure here is one of writing, too, or does not matter.
        if found.is_ok_and(|found| found.parameter.and_then(|p| p.value).as_deref() == Some(value))
        {
            return Ok(false);
        }
        let call = client
            .put_parameter()
            .name(&self.name)
            .description("The host key of ssh-chat: its fingerprint and its public half")
            .r#type(ParameterType::String)
            .value(value)
            .overwrite(true);
        match quietly(call.send()).await {
            Ok(_) => Ok(true),
            Err(error) => Err(Trouble::of(&error)),
        }
    }
}
