//! The host key in AWS Secrets Manager, with the real program on moto: created once, never
//! replaced, and no port is opened without it.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::moto::Moto;
use crate::harness::{Home, Server, run};

/// Permanent reasons why a server can't get the key.
mod refused;

/// A secret for one test, without a value.
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

    /// The value at a stage, of either type.
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

    /// Makes an operation on this secret fail, a number of times or always.
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

    /// The arguments that point a program to it.
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
fn servers_that_start_together_share_one_key() {
    let mut overtaken = 0;
    for round in 0..50 {
        let secret = Secret::new(&format!("race/{round}"));
        // So that the other server, too, finds the secret without a value.
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
    assert!(overtaken > 25, "both tried in only {overtaken} rounds");
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
        // The first lines are the public key.
        for private in &lines[2..] {
            assert!(!everything.contains(private), "{private}");
        }
        assert!(!everything.contains("PRIVATE KEY"));
        // Neither are the credentials that sign the requests.
        assert!(!everything.contains("AWS4-HMAC"));
    }
}

#[test]
fn temporary_errors_are_retried_before_listening() {
    let secret = Secret::new("later/key");
    let busy = "Rate exceeded";
    secret.fail("GetSecretValue", "ThrottlingException", busy, Some(1));
    // The first key is written, but the response is lost.
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
    assert!(
        ended.stderr.contains("stopped before startup completed"),
        "{ended:?}"
    );
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

    // No client has to wait, and none is refused.
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
fn the_console_can_show_and_rotate_the_key() {
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
    assert_eq!(
        asked.status.code(),
        Some(1),
        "without a confirmation: {asked:?}"
    );
    assert_eq!(secret.pem("AWSCURRENT"), before);
    let rotated = command(&["host-key", "rotate", "--yes"]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(rotated.stderr.contains("AWSPREVIOUS"), "{rotated:?}");
    assert_eq!(secret.pem("AWSPREVIOUS"), before);
    assert_ne!(secret.pem("AWSCURRENT"), before);
    assert_eq!(secret.server().fingerprint(), rotated.stdout.trim());
}

#[test]
fn a_host_key_file_can_be_rotated() {
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

    // The SSHFP record is the one that ssh-keygen prints.
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
