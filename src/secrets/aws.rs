//! The host key in AWS Secrets Manager: one secret, whose value is the key in OpenSSH's format.
//!
//! # Created once
//!
//! Servers that start together on a secret without a value all try to write the key that each has
//! made, with the same `ClientRequestToken`. Secrets Manager takes the first and answers the others
//! with `ResourceExistsException`; then all of them read what is there.
//!
//! Exactly one answer means "there is a secret, and it has no value": a `ResourceNotFoundException`
//! that names `AWSCURRENT`. Whatever else goes wrong, no key is made.
//!
//! The key is wiped from this process's memory; what the SDK copies to send and to receive it is
//! not ours to wipe.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{HostKey, HostKeyAdmin, HostKeyError, HostKeySource, Loaded};
use crate::aws::{Aws, AwsError, CallTracker, quietly};

mod error;
mod parameter;

use error::SecretError;
pub use parameter::Parameter;

/// The `ClientRequestToken` of the first key, which Secrets Manager takes as the version's name.
const FIRST: &str = "ssh-chat-host-key-of-the-first-start";
// What the API takes.
const _: () = assert!(FIRST.len() >= 32 && FIRST.len() <= 64);

/// A secret that holds the host key, or will after the first start.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    aws: Arc<Aws>,
    /// Its name or ARN.
    secret: String,
    calls: Arc<CallTracker>,
}

impl SecretsManager {
    /// The key in the secret of this name or ARN. Nothing is read yet.
    pub fn new(aws: Arc<Aws>, secret: impl Into<String>) -> SecretsManager {
        SecretsManager {
            aws,
            secret: secret.into(),
            calls: Arc::new(CallTracker::new("secretsmanager")),
        }
    }

    async fn client(&self) -> Result<Client, SecretError> {
        Ok(Client::new(self.aws.config().await?))
    }

    /// The key in the secret; `None` only if there is a secret and it has no value.
    async fn read(&self) -> Result<Option<HostKey>, SecretError> {
        const ACTION: &str = "secretsmanager:GetSecretValue";
        let call = self.client().await?.get_secret_value();
        // On the heap, here and below: what the SDK keeps of a call is large.
        let call = Box::pin(call.secret_id(&self.secret).send());
        let answer = self.counted("GetSecretValue", has_no_value, call);
        let value = match answer.await {
            Ok(value) => value,
            Err(error) if has_no_value(&error) => return Ok(None),
            Err(error) => return Err(SecretError::of(ACTION, &error)),
        };
        let pem = Zeroizing::new(value.secret_string.ok_or(SecretError::Binary)?);
        HostKey::from_openssh(&pem)
            .map(Some)
            .map_err(SecretError::Unusable)
    }

    /// Makes this key the current one; if it is the first, only unless there was another first.
    async fn write(&self, key: &HostKey, first: bool) -> Result<(), SecretError> {
        const ACTION: &str = "secretsmanager:PutSecretValue";
        let pem = key.to_openssh().map_err(SecretError::NotMade)?;
        let call = self
            .client()
            .await?
            .put_secret_value()
            .secret_id(&self.secret)
            .secret_string(pem.as_str())
            .set_client_request_token(first.then(|| FIRST.to_owned()));
        let overtaken = |error: &SdkError<_, _>| first && is_overtaken(error);
        match self
            .counted("PutSecretValue", overtaken, Box::pin(call.send()))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if overtaken(&error) => {
                tracing::info!(
                    event = "host_key_overtaken",
                    secret = self.secret,
                    "another server was first to make the key; its key is used"
                );
                Ok(())
            }
            Err(error) => Err(SecretError::of(ACTION, &error)),
        }
    }

    /// Makes a call and says what became of it; `unmet` tells the errors that are answers.
    async fn counted<T, E>(
        &self,
        operation: &'static str,
        unmet: impl Fn(&SdkError<E, HttpResponse>) -> bool,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, SdkError<E, HttpResponse>>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let begin = Instant::now();
        let answer = quietly(call).await;
        let took = begin.elapsed();
        match &answer {
            Ok(_) => self.calls.done(operation, took, 0),
            Err(error) if unmet(error) => self.calls.refused(operation, took, 0),
            Err(error) => self.calls.failed(operation, took, 0, &AwsError::of(error)),
        }
        answer
    }

    /// One attempt. A key that was made for an earlier one is in `made`: what looked like a failure
    /// may have been none.
    async fn attempt(&self, made: &mut Option<HostKey>) -> Result<Loaded, SecretError> {
        if let Some(key) = self.read().await? {
            return Ok(loaded(key, made.as_ref()));
        }
        let new = match made {
            Some(key) => key,
            None => made.insert(HostKey::generate().map_err(SecretError::NotMade)?),
        };
        self.write(new, true).await?;
        match self.read().await? {
            Some(key) => Ok(loaded(key, made.as_ref())),
            None => Err(SecretError::NotCurrent(FIRST)),
        }
    }

    async fn patiently(&self) -> Result<Loaded, SecretError> {
        let mut backoff = self.aws.backoff();
        let mut made = None;
        loop {
            let error = match self.attempt(&mut made).await {
                Ok(loaded) => return Ok(loaded),
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) => error,
            };
            let Some(wait) = backoff.wait() else {
                return Err(error);
            };
            tracing::warn!(
                event = "host_key_waiting",
                secret = self.secret,
                error = self.named(&error).to_string(),
                again_in = ?wait,
                "no host key yet; nobody can connect before it is there"
            );
            tokio::time::sleep(wait).await;
        }
    }

    fn named(&self, error: &SecretError) -> HostKeyError {
        HostKeyError::Service(error.explain(&self.secret)).at(format_args!("in {}", self.place()))
    }
}

fn loaded(key: HostKey, made: Option<&HostKey>) -> Loaded {
    let created = made.is_some_and(|made| made.fingerprint() == key.fingerprint());
    Loaded { key, created }
}

/// Whether the answer is that there is a secret, without a value.
fn has_no_value<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("ResourceNotFoundException")
        && error.message().is_some_and(|m| m.contains("AWSCURRENT"))
}

/// Whether the answer to a first key is that there was another first.
fn is_overtaken<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("ResourceExistsException")
}

#[async_trait]
impl HostKeySource for SecretsManager {
    async fn load_or_create(&self) -> Result<Loaded, HostKeyError> {
        self.patiently().await.map_err(|error| self.named(&error))
    }
}

#[async_trait]
impl HostKeyAdmin for SecretsManager {
    fn place(&self) -> String {
        format!("the secret {}", self.secret)
    }

    async fn find(&self) -> Result<Option<HostKey>, HostKeyError> {
        self.read().await.map_err(|error| self.named(&error))
    }

    async fn replace(&self, new: &HostKey) -> Result<String, HostKeyError> {
        let replaced = async {
            self.write(new, false).await?;
            match self.read().await? {
                Some(key) if key.fingerprint() == new.fingerprint() => Ok(()),
                _ => Err(SecretError::Overtaken),
            }
        };
        replaced.await.map_err(|error| self.named(&error))?;
        Ok(format!("the version AWSPREVIOUS of {}", self.place()))
    }
}

impl From<AwsError> for SecretError {
    fn from(error: AwsError) -> SecretError {
        SecretError::Aws(error)
    }
}
