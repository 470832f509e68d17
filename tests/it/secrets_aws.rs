//! The host key in AWS Secrets Manager, with the real program on moto: made once, never replaced,
//! and no port that opens without it.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::moto::{Moto, Variables, variables};
use crate::harness::{Home, Server, run};

/// A secret of a test's own, without a value.
struct Secret {
    moto: &'static Moto,
    name: String,
}

impl Secret {
    fn new(name: &str) -> Secret {
        let moto = Moto::shared();
        moto.call("secretsmanager.CreateSecret", &json!({ "Name": name }));
        let name = name.to_owned();
        Secret { moto, name }
    }

    fn put(&self, value: &str) {
        let body = json!({ "SecretId": self.name, "SecretString": value });
        self.moto.call("secretsmanager.PutSecretValue", &body);
    }

    /// The value at a stage; all of it, whatever kind it has.
    fn at(&self, stage: &str) -> Value {
        let body = json!({ "SecretId": self.name, "VersionStage": stage });
        self.moto.call("secretsmanager.GetSecretValue", &body)
    }

    fn pem(&self, stage: &str) -> String {
        self.at(stage)["SecretString"].as_str().unwrap().to_owned()
    }

    fn versions(&self) -> usize {
        let body = json!({ "SecretId": self.name, "IncludeDeprecated": true });
        let listed = self.moto.call("secretsmanager.ListSecretVersionIds", &body);
        listed["Versions"].as_array().unwrap().len()
    }

    /// Answers an operation on this secret with an error, some times or always.
    fn fail(&self, operation: &str, code: &str, message: &str, times: Option<u32>) {
        let mut fault = json!({
            "operation": operation, "about": self.name, "code": code, "message": message,
        });
        if let Some(times) = times {
            fault["times"] = times.into();
        }
        self.moto.fault(&fault);
    }

    fn home(&self) -> Arc<Home> {
        Home::with(self.moto.variables())
    }

    /// What tells a program of it.
    fn settings(&self, more: &[&str]) -> Vec<String> {
        let secret = format!("aws.host_key_secret={}", self.name);
        let words = ["--set", &secret];
        let words = words.iter().chain(more);
        words.map(|&word| word.to_owned()).collect()
    }

    fn server(&self) -> Server {
        Server::at(self.home(), self.settings(&[]))
    }
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn the_first_start_makes_the_key_and_every_other_finds_it() {
    let secret = Secret::new("first/key");
    let first = secret.server();
    assert!(
        first
            .announced("host key")
            .contains("(new, kept in the secret first/key)")
    );
    let words = format!("fingerprint={} created=true", first.fingerprint());
    first.wait_log(&words);
    assert!(!first.home().data().join("host_key").exists());

    let second = secret.server();
    assert_eq!(second.fingerprint(), first.fingerprint());
    assert!(
        second
            .announced("host key")
            .contains("(kept in the secret first/key)")
    );
    assert_eq!(secret.versions(), 1);
}

#[test]
fn two_that_start_at_the_same_instant_have_one_key() {
    let mut overtaken = 0;
    for round in 0..50 {
        let secret = Secret::new(&format!("race/{round}"));
        // So that the other one, too, finds the secret without a value.
        secret.moto.fault(&json!({
            "operation": "PutSecretValue", "about": secret.name, "delay": 0.02,
        }));
        let both = [(), ()].map(|()| Server::starting(secret.home(), secret.settings(&[])));
        let [one, other] = both.map(|server| {
            server.wait_ready();
            overtaken += server.log().text().matches("host_key_overtaken").count();
            server.fingerprint()
        });
        assert_eq!(one, other, "round {round}");
        assert_eq!(secret.versions(), 1, "round {round}");
    }
    assert!(overtaken > 25, "both tried in {overtaken} rounds only");
}

#[test]
fn the_private_key_is_in_no_log_and_on_no_disk() {
    let secret = Secret::new("silent/key");
    let settings = secret.settings(&["--log-level", "trace"]);
    let mut made = Server::at(secret.home(), settings.clone());
    let mut found = Server::at(secret.home(), settings);
    let pem = secret.pem("AWSCURRENT");
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(lines.len() > 3);
    for server in [&mut made, &mut found] {
        let ended = server.stop();
        let mut everything = ended.stdout + &ended.stderr;
        for (_, bytes) in server.home().data_files() {
            everything.push_str(&String::from_utf8_lossy(&bytes));
        }
        // The first lines are the public half.
        for private in &lines[2..] {
            assert!(!everything.contains(private), "{private}");
        }
        assert!(!everything.contains("PRIVATE KEY"));
        // Nor is what the requests are signed with.
        assert!(!everything.contains("AWS4-HMAC"));
    }
}

/// Something that keeps the key from a server, for good.
struct Refusal {
    what: &'static str,
    /// Brings it about; answers with another environment if need be.
    arrange: fn(&Secret) -> Option<Variables>,
    /// What is said; `SECRET` is its name.
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
            "it holds no private key in OpenSSH's format",
            "put the right key back with",
        ],
    },
    Refusal {
        what: "blank",
        arrange: |secret| {
            secret.put(" ");
            None
        },
        says: &["it is empty; put the right key back with"],
    },
    Refusal {
        what: "of another type",
        arrange: |secret| {
            secret.put(&keygen(&["-t", "rsa", "-b", "2048", "-N", ""]));
            None
        },
        says: &["it is a key of the type ssh-rsa, and must be ssh-ed25519"],
    },
    Refusal {
        what: "with a passphrase",
        arrange: |secret| {
            secret.put(&keygen(&["-t", "ed25519", "-N", "12345"]));
            None
        },
        says: &["a key with a passphrase"],
    },
    Refusal {
        what: "binary",
        arrange: |secret| {
            let body = json!({ "SecretId": secret.name, "SecretBinary": "AAAA" });
            secret.moto.call("secretsmanager.PutSecretValue", &body);
            None
        },
        says: &["it is binary, and must be a text"],
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
            "No key is made before",
        ],
    },
    Refusal {
        what: "not found, in words that are not those of an empty one",
        arrange: |secret| {
            let words = "Secrets Manager can't find the specified secret.";
            secret.fail("GetSecretValue", "ResourceNotFoundException", words, None);
            None
        },
        says: &["there is no such secret"],
    },
    Refusal {
        what: "marked for deletion",
        arrange: |secret| {
            let words = "it was marked for deletion";
            secret.fail("GetSecretValue", "InvalidRequestException", words, None);
            None
        },
        says: &["AWS refuses (InvalidRequestException: it was marked for deletion)"],
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
        says: &["host_key_waiting", "AWS can't be reached", "security group"],
    },
    Refusal {
        what: "at an address that is none",
        // The error of the SDK has the whole request in it.
        arrange: |_| Some(variables("nonsense")),
        says: &["AWS can't be reached", "`nonsense`"],
    },
    Refusal {
        what: "somebody else than AWS answers",
        arrange: |secret| {
            secret.fail("GetSecretValue", "", "", None);
            None
        },
        says: &["AWS refuses"],
    },
    Refusal {
        what: "without credentials",
        arrange: |_| Some(without(&["AWS_ACCESS_KEY_ID"])),
        says: &[
            "there are no credentials that AWS takes",
            "instance profile",
        ],
    },
    Refusal {
        what: "with old credentials",
        arrange: |secret| {
            secret.fail("GetSecretValue", "ExpiredTokenException", "old", None);
            None
        },
        says: &["there are no credentials that AWS takes (ExpiredTokenException: old)"],
    },
    Refusal {
        what: "without a region",
        arrange: |_| Some(without(&["AWS_REGION"])),
        says: &["set aws.region or the variable AWS_REGION"],
    },
];

#[test]
fn without_the_key_no_port_opens_and_no_other_key_is_made() {
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
    assert_eq!(ended.stdout, "", "{what}: nothing was announced");
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
        assert!(secret.versions() <= 1, "{what}: nothing was written");
    }
    assert!(!home.data().join("host_key").exists(), "{what}");
    let silent = ["PRIVATE", "SecretString", "SecretId"];
    assert!(
        !silent.iter().any(|w| ended.stderr.contains(w)),
        "{ended:?}"
    );
}

#[test]
fn what_passes_is_waited_for_with_the_port_shut() {
    let secret = Secret::new("later/key");
    let busy = "Rate exceeded";
    secret.fail("GetSecretValue", "ThrottlingException", busy, Some(1));
    // The first key is written, and the answer is lost.
    secret.moto.fault(&json!({
        "operation": "PutSecretValue", "about": secret.name, "times": 1,
        "status": 500, "code": "InternalServiceError", "applied": true,
    }));
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let listen = address.to_string();
    let settings = secret.settings(&["--listen", &listen, "--set", "aws.patience=1m"]);
    let server = Server::starting(secret.home(), settings);
    server.wait_log("host_key_waiting");
    let shut = TcpStream::connect(address).unwrap_err();
    assert_eq!(shut.kind(), ErrorKind::ConnectionRefused);

    server.wait_ready();
    TcpStream::connect(address).unwrap();
    server.wait_log("ThrottlingException: Rate exceeded");
    server.wait_log("InternalServiceError");
    assert!(server.announced("host key").contains("(new, kept in"));
    assert_eq!(secret.versions(), 1);
}

#[test]
fn a_server_that_waits_can_be_stopped() {
    let secret = Secret::new("stopped/key");
    secret.fail("GetSecretValue", "AccessDeniedException", "no", None);
    let settings = secret.settings(&["--set", "aws.patience=1h"]);
    let mut server = Server::starting(secret.home(), settings);
    server.wait_log("host_key_waiting");
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.contains("had not started yet"), "{ended:?}");
}

#[test]
fn the_public_half_is_published() {
    let secret = Secret::new("public/key");
    let parameter = "/public/key";
    let set = format!("aws.host_key_parameter={parameter}");
    let settings = secret.settings(&["--set", &set]);
    let mut server = Server::at(secret.home(), settings);
    server.wait_log("host_key_published");
    let got = secret
        .moto
        .call("AmazonSSM.GetParameter", &json!({ "Name": parameter }));
    let value = got["Parameter"]["Value"].as_str().unwrap();
    let (fingerprint, key) = value.split_once(' ').unwrap();
    assert_eq!(fingerprint, server.fingerprint());
    assert!(server.announced("known_hosts").ends_with(key), "{value}");
    assert!(key.starts_with("ssh-ed25519 AAAA"), "{value}");

    server.kill9();
    server.restart();
    server.wait_log("changed=false");

    // Nobody has to wait for it, and nobody is turned away.
    server.kill9();
    secret.moto.fault(&json!({
        "operation": "PutParameter", "about": "/elsewhere", "code": "AccessDeniedException",
    }));
    let elsewhere = "aws.host_key_parameter=/elsewhere/key";
    let settings = secret.settings(&["--set", elsewhere, "--set", "aws.patience=1s"]);
    let server = Server::at(secret.home(), settings);
    server.wait_log("host_key_publishing_waits");
    server.wait_log("host_key_not_published");
    server.wait_log("ssm:PutParameter");
}

#[test]
fn whoever_runs_the_server_can_look_at_the_key_and_replace_it() {
    let secret = Secret::new("admin/key");
    let home = secret.home();
    let command = |words: &[&str]| run(&home, &texts(&secret.settings(words)));

    let missing = command(&["host-key", "show"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    let made = command(&["host-key", "init"]);
    assert!(made.status.success(), "{made:?}");
    assert!(made.stderr.contains("the secret admin/key"), "{made:?}");
    let server = secret.server();
    assert_eq!(server.fingerprint(), made.stdout.trim());
    let shown = command(&["host-key", "show"]);
    assert!(shown.stdout.contains(made.stdout.trim()), "{shown:?}");
    let doctor = command(&["doctor"]);
    assert!(doctor.stdout.contains(made.stdout.trim()), "{doctor:?}");

    let before = secret.pem("AWSCURRENT");
    let asked = command(&["host-key", "rotate"]);
    assert_eq!(asked.status.code(), Some(1), "nobody confirmed: {asked:?}");
    assert_eq!(secret.pem("AWSCURRENT"), before);
    let rotated = command(&["host-key", "rotate", "--yes"]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(rotated.stderr.contains("AWSPREVIOUS"), "{rotated:?}");
    assert_eq!(secret.pem("AWSPREVIOUS"), before);
    assert_ne!(secret.pem("AWSCURRENT"), before);
    assert_eq!(secret.server().fingerprint(), rotated.stdout.trim());
}

#[test]
fn the_key_in_a_file_can_be_replaced_too() {
    let home = Home::new();
    let made = run(&home, &["host-key", "init"]);
    assert!(made.status.success(), "{made:?}");
    let rotated = run(&home, &["host-key", "rotate", "--yes"]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert_ne!(rotated.stdout, made.stdout);
    let names: Vec<String> = home
        .data_files()
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().any(|n| n.starts_with("host_key.previous-20")),
        "{names:?}"
    );
    let server = Server::at(home, Vec::new());
    assert_eq!(server.fingerprint(), rotated.stdout.trim());

    // The record is the one that ssh-keygen makes.
    let shown = run(server.home(), &["host-key", "show"]).stdout;
    let (_, record) = shown.split_once("IN SSHFP ").unwrap();
    let public = server.home().path().join("public");
    let (_, key) = shown.split_once("ssh-ed25519").unwrap();
    let key = key.lines().next().unwrap();
    fs::write(&public, format!("ssh-ed25519{key}\n")).unwrap();
    let keygen = Command::new("ssh-keygen")
        .args(["-r", "host", "-f"])
        .arg(&public)
        .output()
        .unwrap();
    let records = String::from_utf8_lossy(&keygen.stdout).into_owned();
    assert!(records.contains(record.trim()), "{records} {record}");
}
