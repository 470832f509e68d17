//! Reasons why a server can't get its host key: no port is opened, and no other key is created.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use super::{Secret, texts};
use crate::harness::moto::{Moto, Variables, variables};
use crate::harness::{Home, run};

/// A permanent reason why a server can't get the key.
struct Refusal {
    what: &'static str,
    /// Creates the condition; returns another environment if needed.
    arrange: fn(&Secret) -> Option<Variables>,
    /// The expected error text; `SECRET` is the secret's name.
    says: &'static [&'static str],
}

fn keygen(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-f"]).arg(&path).args(args);
    assert!(keygen.status().unwrap().success());
    fs::read_to_string(path).unwrap()
}

fn without(names: &[&str]) -> Variables {
    let mut all = Moto::shared().variables();
    all.retain(|(name, _)| !names.contains(name));
    all.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    all
}

const REFUSALS: &[Refusal] = &[
    Refusal {
        what: "denied",
        arrange: |secret| {
            let words = "User: arn:aws:sts::1:assumed-role/chat/i-1 is not authorized";
            secret.fail("GetSecretValue", "AccessDeniedException", words, None);
            None
        },
        says: &[
            "host_key_waiting",
            "is not authorized); allow secretsmanager:GetSecretValue on SECRET in the IAM policy",
        ],
    },
    Refusal {
        what: "not to be written",
        arrange: |secret| {
            secret.fail("PutSecretValue", "AccessDeniedException", "no", None);
            None
        },
        says: &["allow secretsmanager:PutSecretValue on SECRET in the IAM policy"],
    },
    Refusal {
        what: "not to be decrypted",
        arrange: |secret| {
            secret.fail("GetSecretValue", "DecryptionFailure", "no", None);
            None
        },
        says: &["its KMS key must be enabled, and allow kms:Decrypt"],
    },
    Refusal {
        what: "garbled",
        arrange: |secret| {
            secret.put("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA");
            None
        },
        says: &[
            "it isn't a private key in OpenSSH format",
            "restore the right key with",
        ],
    },
    Refusal {
        what: "blank",
        arrange: |secret| {
            secret.put(" ");
            None
        },
        says: &["it is empty; restore the right key with"],
    },
    Refusal {
        what: "of another type",
        arrange: |secret| {
            secret.put(&keygen(&["-t", "rsa", "-b", "2048", "-N", ""]));
            None
        },
        says: &["its type is ssh-rsa, but it must be ssh-ed25519"],
    },
    Refusal {
        what: "with a passphrase",
        arrange: |secret| {
            secret.put(&keygen(&["-t", "ed25519", "-N", "12345"]));
            None
        },
        says: &["it has a passphrase"],
    },
    Refusal {
        what: "binary",
        arrange: |secret| {
            let body = json!({ "SecretId": secret.name, "SecretBinary": "AAAA" });
            secret.moto.call("secretsmanager.PutSecretValue", &body);
            None
        },
        says: &["its value is binary, not text"],
    },
    Refusal {
        what: "deleted",
        arrange: |secret| {
            let body = json!({ "SecretId": secret.name, "ForceDeleteWithoutRecovery": true });
            secret.moto.call("secretsmanager.DeleteSecret", &body);
            None
        },
        says: &[
            "`aws secretsmanager create-secret --name SECRET`",
            "only generates a key for an existing secret",
        ],
    },
    Refusal {
        what: "not found, in words that are not those of an empty one",
        arrange: |secret| {
            let words = "Secrets Manager can't find the specified secret.";
            secret.fail("GetSecretValue", "ResourceNotFoundException", words, None);
            None
        },
        says: &["the secret doesn't exist"],
    },
    Refusal {
        what: "marked for deletion",
        arrange: |secret| {
            let words = "it was marked for deletion";
            secret.fail("GetSecretValue", "InvalidRequestException", words, None);
            None
        },
        says: &["AWS rejected the request (InvalidRequestException: it was marked for deletion)"],
    },
    Refusal {
        what: "unreachable",
        arrange: |_| {
            let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
            Some(variables(&format!(
                "http://{}",
                nobody.local_addr().unwrap()
            )))
        },
        says: &["host_key_waiting", "AWS is unreachable", "security group"],
    },
    Refusal {
        what: "at an address that is none",
        // The SDK's error contains the whole request.
        arrange: |_| Some(variables("nonsense")),
        says: &["AWS is unreachable", "`nonsense`"],
    },
    Refusal {
        what: "somebody else than AWS answers",
        arrange: |secret| {
            secret.fail("GetSecretValue", "", "", None);
            None
        },
        says: &["AWS rejected the request"],
    },
    Refusal {
        what: "without credentials",
        arrange: |_| Some(without(&["AWS_ACCESS_KEY_ID"])),
        says: &["no valid AWS credentials", "instance profile"],
    },
    Refusal {
        what: "with old credentials",
        arrange: |secret| {
            secret.fail("GetSecretValue", "ExpiredTokenException", "old", None);
            None
        },
        says: &["no valid AWS credentials (ExpiredTokenException: old)"],
    },
    Refusal {
        what: "without a region",
        arrange: |_| Some(without(&["AWS_REGION"])),
        says: &["set aws.region or AWS_REGION"],
    },
];

#[test]
fn without_the_key_no_port_opens_and_no_key_is_created() {
    std::thread::scope(|scope| {
        for (number, refusal) in REFUSALS.iter().enumerate() {
            scope.spawn(move || refuse(number, refusal));
        }
    });
}

fn refuse(
    number: usize,
    Refusal {
        what,
        arrange,
        says,
    }: &Refusal,
) {
    let secret = Secret::new(&format!("refusal-{number}/key"));
    let home = Home::with(arrange(&secret).unwrap_or(secret.moto.variables()));
    let ended = run(
        &home,
        &texts(&secret.settings(&["--set", "aws.patience=1s"])),
    );

    assert_eq!(ended.status.code(), Some(1), "{what}: {ended:?}");
    assert_eq!(ended.stdout, "", "{what}: something was announced");
    let at = format!("ssh-chat: the host key in the secret {}: ", secret.name);
    assert!(ended.stderr.contains(&at), "{what}: {ended:?}");
    let mut rest = ended.stderr.as_str();
    for words in *says {
        let words = words.replace("SECRET", &secret.name);
        let found = rest.split_once(&words);
        rest = found
            .unwrap_or_else(|| panic!("{what}: no {words:?} in {ended:?}"))
            .1;
    }
    if *what != "deleted" {
        assert!(secret.versions() <= 1, "{what}: something was written");
    }
    assert!(!home.data().join("host_key").exists(), "{what}");
    let silent = ["PRIVATE", "SecretString", "SecretId"];
    assert!(
        !silent.iter().any(|w| ended.stderr.contains(w)),
        "{ended:?}"
    );
}
