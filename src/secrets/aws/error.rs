//! What can be wrong with the secret, and what to do about it.

use std::error::Error;

use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use crate::aws::Trouble;
use crate::secrets::HostKeyError;

/// Why the secret gives no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretError {
    /// There is no such secret.
    NoSecret,
    /// The role lacks this action; in AWS's words.
    Denied(&'static str, String),
    /// KMS does not open it, or close it.
    Kms(String),
    /// Its value is no text.
    Binary,
    /// Its value is no host key.
    Unusable(HostKeyError),
    /// No key could be made.
    NotMade(HostKeyError),
    /// A first key was written under this version, but it is not the current one.
    NotCurrent(&'static str),
    /// While this one replaced the key, somebody else did, too.
    Overtaken,
    /// Anything else.
    Aws(Trouble),
}

impl SecretError {
    /// What the error of a call means that needs this action in IAM.
    pub(super) fn of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> SecretError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        SecretError::judge(action, Trouble::of(error))
    }

    fn judge(action: &'static str, trouble: Trouble) -> SecretError {
        match trouble {
            // It says so of the secret's own key, without the name of an action.
            Trouble::Denied(message) if message.contains("KMS") || message.contains("kms:") => {
                SecretError::Kms(message)
            }
            Trouble::Denied(message) => SecretError::Denied(action, message),
            Trouble::Refused { code, message } => match code.as_str() {
                "ResourceNotFoundException" => SecretError::NoSecret,
                "DecryptionFailure" | "EncryptionFailure" => SecretError::Kms(message),
                _ => SecretError::Aws(Trouble::Refused { code, message }),
            },
            other => SecretError::Aws(other),
        }
    }

    /// Whether it may be mended while the server waits, from outside of the secret.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            SecretError::Denied(..) | SecretError::Kms(_) | SecretError::NotCurrent(_) => true,
            SecretError::Aws(trouble) => trouble.may_pass(),
            SecretError::NoSecret
            | SecretError::Binary
            | SecretError::Unusable(_)
            | SecretError::NotMade(_)
            | SecretError::Overtaken => false,
        }
    }

    /// The sentence about it: what is wrong with this secret, and what to do.
    pub(super) fn tell(&self, secret: &str) -> String {
        match self {
            SecretError::NoSecret => format!(
                "there is no such secret; make it with Terraform or with `aws secretsmanager \
                 create-secret --name {secret}`, without a value, or else correct \
                 aws.host_key_secret or aws.region. No key is made before"
            ),
            SecretError::Denied(action, message) => format!(
                "this server may not use it ({message}); allow {action} on {secret} in the IAM \
                 policy of its role. No other key is made instead"
            ),
            SecretError::Kms(message) => format!(
                "its encryption fails ({message}); its KMS key must be enabled, and allow \
                 kms:Decrypt and kms:GenerateDataKey to this server's role. No other key is made \
                 instead"
            ),
            SecretError::Binary => format!("it is binary, and must be a text; {}", restore(secret)),
            SecretError::Unusable(error) => {
                format!("{}; {}", what_is_wrong(error), restore(secret))
            }
            SecretError::NotMade(error) => error.to_string(),
            SecretError::NotCurrent(version) => format!(
                "a first key was written once, and is not its current version; make it that with \
                 `aws secretsmanager update-secret-version-stage --secret-id {secret} \
                 --version-stage AWSCURRENT --move-to-version-id {version}`"
            ),
            SecretError::Overtaken => {
                "somebody else replaced the key at the same time; see what is there with \
                 `ssh-chat host-key show`"
                    .to_owned()
            }
            SecretError::Aws(trouble) => trouble.to_string(),
        }
    }
}

/// The fact without the advice, which is about files.
fn what_is_wrong(error: &HostKeyError) -> String {
    match error {
        HostKeyError::Empty => "it is empty".to_owned(),
        HostKeyError::NotAKey(why) => {
            format!("it holds no private key in OpenSSH's format ({why})")
        }
        HostKeyError::TooLong => "it is longer than any key".to_owned(),
        HostKeyError::Encrypted => "it is a key with a passphrase, which nobody can type when a \
                                    server starts; `ssh-keygen -p` removes it"
            .to_owned(),
        HostKeyError::NotEd25519(kind) => {
            format!("it is a key of the type {kind}, and must be ssh-ed25519")
        }
        other => other.to_string(),
    }
}

fn restore(secret: &str) -> String {
    format!(
        "put the right key back with `aws secretsmanager put-secret-value --secret-id {secret} \
         --secret-string file://host_key`, or make an earlier version current again. It is not \
         replaced: with another key every client would warn that the server has changed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_its_own_words() {
        let refused = |code: &str| Trouble::Refused {
            code: code.to_owned(),
            message: "words of AWS".to_owned(),
        };
        let denied = |words: &str| Trouble::Denied(words.to_owned());
        for (trouble, may_pass, says) in [
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
                "AWS refuses (InvalidRequestException: words of AWS)",
            ),
            (Trouble::NoRegion, true, "set aws.region"),
        ] {
            let error = SecretError::judge("a:b", trouble);
            assert_eq!(error.may_pass(), may_pass, "{error:?}");
            let told = error.tell("chat/key");
            assert!(told.contains(says), "{told}");
        }
    }

    #[test]
    fn what_is_no_key_is_never_replaced() {
        for (error, says) in [
            (HostKeyError::Empty, "it is empty; put the right key back"),
            (HostKeyError::Encrypted, "passphrase"),
            (HostKeyError::NotEd25519("ssh-rsa".into()), "type ssh-rsa"),
        ] {
            let error = SecretError::Unusable(error);
            assert!(!error.may_pass());
            let told = error.tell("chat/key");
            assert!(told.contains(says), "{told}");
            assert!(told.contains("--secret-id chat/key"), "{told}");
        }
    }
}
