//! Errors about the secret, and how to fix them.

use std::error::Error;

use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use crate::aws::AwsError;
use crate::secrets::HostKeyError;

/// Why the secret yields no host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretError {
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
    pub(super) fn of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> SecretError
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
    pub(super) fn may_pass(&self) -> bool {
        match self {
            SecretError::Denied(..) | SecretError::Kms(_) | SecretError::NotCurrent(_) => true,
            SecretError::Aws(error) => error.may_pass(),
            SecretError::NoSecret
            | SecretError::Binary
            | SecretError::Unusable(_)
            | SecretError::NotMade(_)
            | SecretError::Overtaken => false,
        }
    }

    /// What is wrong with this secret, and how to fix it.
    pub(super) fn explain(&self, secret: &str) -> String {
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
                "a first key exists, but it isn't the current version; make it current with `aws secretsmanager update-secret-version-stage --secret-id {secret} \
                 --version-stage AWSCURRENT --move-to-version-id {version}`"
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
        HostKeyError::Encrypted => {
            "it has a passphrase, which can't be typed when a server starts; \
                                    remove it with `ssh-keygen -p`"
                .to_owned()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_own_advice() {
        let refused = |code: &str| AwsError::Refused {
            code: code.to_owned(),
            message: "words of AWS".to_owned(),
        };
        let denied = |words: &str| AwsError::Denied(words.to_owned());
        for (error, may_pass, says) in [
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
                "(words of AWS); its KMS",
            ),
            (
                refused("InvalidRequestException"),
                false,
                "AWS rejected the request (InvalidRequestException: words of AWS)",
            ),
            (AwsError::NoRegion, true, "set aws.region"),
        ] {
            let error = SecretError::classify("a:b", error);
            assert_eq!(error.may_pass(), may_pass, "{error:?}");
            let words = error.explain("chat/key");
            assert!(words.contains(says), "{words}");
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
            assert!(!error.may_pass());
            let words = error.explain("chat/key");
            assert!(words.contains(says), "{words}");
            assert!(words.contains("--secret-id chat/key"), "{words}");
        }
    }
}
