//! The host key in AWS Secrets Manager: one secret, whose value is the key in OpenSSH format.
//!
//! # Creation
//!
//! Servers that start together on a secret without a value all try to write the key that each has
//! generated, with the same `ClientRequestToken`. Secrets Manager accepts the first and answers the
//! others with `ResourceExistsException`; then all of them read the stored key.
//!
//! Exactly one response means that the secret exists and has no value: a
//! `ResourceNotFoundException` that names `AWSCURRENT`. After any other error, no key is created.
//!
//! The key is wiped from this process's memory; the SDK's own copies can't be wiped.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{HostKey, HostKeyError, HostKeyStore, LoadedKey};
use crate::aws::json::SECRETS_MANAGER;
use crate::aws::{Aws, AwsError, CallTracker, without_sdk_logs};

/// The `ClientRequestToken` of the first key, which becomes the id of its version.
const FIRST: &str = "ssh-chat-host-key-of-the-first-start";
// The API's limits.
const _: () = assert!(FIRST.len() >= 32 && FIRST.len() <= 64);

/// A secret with the host key. Its value is created at the first start.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    aws: Arc<Aws>,
    /// The name or ARN.
    secret: String,
    calls: Arc<CallTracker>,
}

impl SecretsManager {
    /// The key in the secret with this name or ARN. Nothing is read yet.
    pub fn new(aws: Arc<Aws>, secret: impl Into<String>) -> SecretsManager {
        SecretsManager {
            aws,
            secret: secret.into(),
            calls: Arc::new(CallTracker::new(SECRETS_MANAGER.name)),
        }
    }

    async fn client(&self) -> Result<Client, SecretError> {
        Ok(Client::new(self.aws.config().await?))
    }

    /// The key in the secret; `None` only if the secret exists and has no value.
    async fn read(&self) -> Result<Option<HostKey>, SecretError> {
        const ACTION: &str = "secretsmanager:GetSecretValue";
        let call = self.client().await?.get_secret_value();
        // Boxed, here and below: the SDK's futures are large.
        let call = Box::pin(call.secret_id(&self.secret).send());
        let response = self.track("GetSecretValue", has_no_value, call).await;
        let value = match response {
            Ok(value) => value,
            Err(error) if has_no_value(&error) => return Ok(None),
            Err(error) => return Err(SecretError::of(ACTION, &error)),
        };
        let pem = Zeroizing::new(value.secret_string.ok_or(SecretError::Binary)?);
        HostKey::from_openssh(&pem)
            .map(Some)
            .map_err(SecretError::Unusable)
    }

    /// Makes this key the current one. A first key is only written if no other has been.
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
            .track("PutSecretValue", overtaken, Box::pin(call.send()))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if overtaken(&error) => {
                tracing::info!(
                    event = "host_key_overtaken",
                    secret = self.secret,
                    "another server created the host key first; using its key"
                );
                Ok(())
            }
            Err(error) => Err(SecretError::of(ACTION, &error)),
        }
    }

    /// Makes a call and records it. Errors for which `expected` holds aren't failures.
    async fn track<T, E>(
        &self,
        operation: &'static str,
        expected: impl Fn(&SdkError<E, HttpResponse>) -> bool,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, SdkError<E, HttpResponse>>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let begin = Instant::now();
        let response = without_sdk_logs(call).await;
        let took = begin.elapsed();
        match &response {
            Ok(_) => self.calls.done(operation, took, 0),
            Err(error) if expected(error) => self.calls.refused(operation, took, 0),
            Err(error) => self.calls.failed(operation, took, 0, &AwsError::of(error)),
        }
        response
    }

    /// One attempt. `generated` is the key of an earlier attempt, which may have been saved although
    /// the attempt failed.
    async fn attempt(&self, generated: &mut Option<HostKey>) -> Result<LoadedKey, SecretError> {
        if let Some(key) = self.read().await? {
            return Ok(loaded(key, generated.as_ref()));
        }
        let new = match generated {
            Some(key) => key,
            None => generated.insert(HostKey::generate().map_err(SecretError::NotMade)?),
        };
        self.write(new, true).await?;
        match self.read().await? {
            Some(key) => Ok(loaded(key, generated.as_ref())),
            None => Err(SecretError::NotCurrent(FIRST)),
        }
    }

    async fn load_with_retries(&self) -> Result<LoadedKey, SecretError> {
        let mut backoff = self.aws.backoff();
        let mut generated = None;
        loop {
            let error = match self.attempt(&mut generated).await {
                Ok(loaded) => return Ok(loaded),
                Err(error) if !error.is_transient() => return Err(error),
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
                "waiting for the host key; the server doesn't accept connections yet"
            );
            tokio::time::sleep(wait).await;
        }
    }

    fn named(&self, error: &SecretError) -> HostKeyError {
        HostKeyError::Service(error.explain(&self.secret)).at(format_args!("in {}", self.place()))
    }
}

fn loaded(key: HostKey, generated: Option<&HostKey>) -> LoadedKey {
    let created = generated.is_some_and(|own| own.fingerprint() == key.fingerprint());
    LoadedKey { key, created }
}

/// Whether the response says that the secret exists, without a value.
fn has_no_value<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("ResourceNotFoundException")
        && error.message().is_some_and(|m| m.contains("AWSCURRENT"))
}

/// Whether the response to a first key says that another was written first.
fn is_overtaken<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code() == Some("ResourceExistsException")
}

#[async_trait]
impl HostKeyStore for SecretsManager {
    async fn load_or_create(&self) -> Result<LoadedKey, HostKeyError> {
        self.load_with_retries()
            .await
            .map_err(|error| self.named(&error))
    }

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

/// Why the secret yields no host key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SecretError {
    /// The secret doesn't exist.
    NoSecret,
    /// The role lacks this IAM action; with AWS's message.
    Denied(&'static str, String),
    /// KMS can't decrypt or encrypt the value.
    Kms(String),
    /// The value is binary.
    Binary,
    /// The value is not a usable host key.
    Unusable(HostKeyError),
    /// No key could be generated.
    NotMade(HostKeyError),
    /// A first key was written as this version, which isn't the current one.
    NotCurrent(&'static str),
    /// Another process replaced the key at the same time.
    Overtaken,
    /// Anything else.
    Aws(AwsError),
}

impl SecretError {
    /// Classifies the error of a call that needs this IAM action.
    fn of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> SecretError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        SecretError::classify(action, AwsError::of(error))
    }

    fn classify(action: &'static str, error: AwsError) -> SecretError {
        match error {
            // Secrets Manager reports a denied KMS key this way, without naming an action.
            AwsError::Denied(message) if message.contains("KMS") || message.contains("kms:") => {
                SecretError::Kms(message)
            }
            AwsError::Denied(message) => SecretError::Denied(action, message),
            AwsError::Refused { code, message } => match code.as_str() {
                "ResourceNotFoundException" => SecretError::NoSecret,
                "DecryptionFailure" | "EncryptionFailure" => SecretError::Kms(message),
                _ => SecretError::Aws(AwsError::Refused { code, message }),
            },
            other => SecretError::Aws(other),
        }
    }

    /// Whether a retry can succeed once something outside the secret is fixed.
    fn is_transient(&self) -> bool {
        match self {
            SecretError::Denied(..) | SecretError::Kms(_) | SecretError::NotCurrent(_) => true,
            SecretError::Aws(error) => error.is_transient(),
            SecretError::NoSecret
            | SecretError::Binary
            | SecretError::Unusable(_)
            | SecretError::NotMade(_)
            | SecretError::Overtaken => false,
        }
    }

    /// What is wrong with this secret, and how to fix it.
    fn explain(&self, secret: &str) -> String {
        match self {
            SecretError::NoSecret => format!(
                "the secret doesn't exist; create it without a value, with Terraform or `aws \
                 secretsmanager create-secret --name {secret}`, or correct aws.host_key_secret or \
                 aws.region. The server only generates a key for an existing secret"
            ),
            SecretError::Denied(action, message) => format!(
                "access denied ({message}); allow {action} on {secret} in the IAM policy of this \
                 server's role. The server doesn't generate another key instead"
            ),
            SecretError::Kms(message) => format!(
                "KMS can't decrypt or encrypt it ({message}); its KMS key must be enabled, and allow \
                 kms:Decrypt and kms:GenerateDataKey to this server's role. The server doesn't \
                 generate another key instead"
            ),
            SecretError::Binary => format!("its value is binary, not text; {}", restore(secret)),
            SecretError::Unusable(error) => {
                format!("{}; {}", without_advice(error), restore(secret))
            }
            SecretError::NotMade(error) => error.to_string(),
            SecretError::NotCurrent(version) => format!(
                "a first key exists, but it isn't the current version; make it current with `aws \
                 secretsmanager update-secret-version-stage --secret-id {secret} --version-stage AWSCURRENT --move-to-version-id {version}`"
            ),
            SecretError::Overtaken => {
                "another process replaced the key at the same time; `ssh-chat host-key show` shows \
                 the current one"
                    .to_owned()
            }
            SecretError::Aws(error) => error.to_string(),
        }
    }
}

/// The error without its advice, which is about files.
fn without_advice(error: &HostKeyError) -> String {
    match error {
        HostKeyError::Empty => "it is empty".to_owned(),
        HostKeyError::NotAKey(why) => {
            format!("it isn't a private key in OpenSSH format ({why})")
        }
        HostKeyError::TooLong => "it is too long for a key".to_owned(),
        HostKeyError::NotEd25519(kind) => {
            format!("its type is {kind}, but it must be ssh-ed25519")
        }
        other => other.to_string(),
    }
}

fn restore(secret: &str) -> String {
    format!(
        "restore the right key with `aws secretsmanager put-secret-value --secret-id {secret} \
         --secret-string file://host_key`, or make an earlier version current again. The server \
         never replaces a key: with another one every client would warn that the host has changed"
    )
}

impl From<AwsError> for SecretError {
    fn from(error: AwsError) -> SecretError {
        SecretError::Aws(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_own_advice() {
        let refused = |code: &str| AwsError::Refused {
            code: code.to_owned(),
            message: "details from AWS".to_owned(),
        };
        let denied = |message: &str| AwsError::Denied(message.to_owned());
        for (error, is_transient, says) in [
            (
                refused("ResourceNotFoundException"),
                false,
                "`aws secretsmanager create-secret --name chat/key`",
            ),
            (
                denied("User x is not authorized"),
                true,
                "(User x is not authorized); allow a:b on chat/key in the IAM policy",
            ),
            (denied("Access to KMS is not allowed"), true, "kms:Decrypt"),
            (
                refused("DecryptionFailure"),
                true,
                "(details from AWS); its KMS",
            ),
            (
                refused("InvalidRequestException"),
                false,
                "AWS rejected the request (InvalidRequestException: details from AWS)",
            ),
            (AwsError::NoRegion, true, "set aws.region"),
        ] {
            let error = SecretError::classify("a:b", error);
            assert_eq!(error.is_transient(), is_transient, "{error:?}");
            let text = error.explain("chat/key");
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn an_unusable_key_is_never_replaced() {
        for (error, says) in [
            (HostKeyError::Empty, "it is empty; restore the right key"),
            (HostKeyError::Encrypted, "passphrase"),
            (
                HostKeyError::NotEd25519("ssh-rsa".into()),
                "type is ssh-rsa",
            ),
        ] {
            let error = SecretError::Unusable(error);
            assert!(!error.is_transient());
            let text = error.explain("chat/key");
            assert!(text.contains(says), "{text}");
            assert!(text.contains("--secret-id chat/key"), "{text}");
        }
    }
}
