use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::cli::Command;
use crate::cli::tests::{Ran, configured, parse, ran, wait};

const KNOWN: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACBpYOJaVwJUlUDpQBPkkPodT3oqkGIeNonzxAKHM/iqKwAAAJAWUcEFFlHB
BQAAAAtzc2gtZWQyNTUxOQAAACBpYOJaVwJUlUDpQBPkkPodT3oqkGIeNonzxAKHM/iqKw
AAAEAmFxIRFTavSnn1yttOYBzHYvJl4EaFtUtTLFYfFu3h/2lg4lpXAlSVQOlAE+SQ+h1P
eiqQYh42ifPEAocz+KorAAAACXJvb3RAaG9zdAECAwQ=
-----END OPENSSH PRIVATE KEY-----
";

/// Keeps a key in memory.
#[derive(Default)]
struct Pocket(Mutex<Option<String>>);

impl Pocket {
    fn with(pem: &str) -> Pocket {
        Pocket(Mutex::new(Some(pem.to_owned())))
    }

    fn pem(&self) -> Option<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl HostKeyStore for Pocket {
    async fn load_or_create(&self) -> Result<LoadedKey, HostKeyError> {
        if let Some(key) = self.find().await? {
            return Ok(LoadedKey {
                key,
                created: false,
            });
        }
        let key = HostKey::generate()?;
        self.replace(&key).await?;
        Ok(LoadedKey { key, created: true })
    }

    fn place(&self) -> String {
        "the pocket".to_owned()
    }

    async fn find(&self) -> Result<Option<HostKey>, HostKeyError> {
        self.pem()
            .map(|pem| HostKey::from_openssh(&pem))
            .transpose()
    }

    async fn replace(&self, new: &HostKey) -> Result<String, HostKeyError> {
        *self.0.lock().unwrap() = Some(new.to_openssh()?.to_string());
        Ok("the other pocket".to_owned())
    }
}

fn run_on(pocket: &Pocket, line: &str, input: &str) -> Ran {
    let Command::HostKey(command) = parse(&format!("host-key {line}")) else {
        panic!();
    };
    let config = configured(&["host_name=chat.example.com", "listen=0.0.0.0:2222"]);
    let mut input = input.as_bytes();
    ran(|console| wait(run(&command, pocket, &config, &mut input, console)))
}

#[test]
fn all_that_vouches_for_the_key_is_shown() {
    let pocket = Pocket::with(KNOWN);
    let shown = run_on(&pocket, "show", "");
    assert_eq!((shown.exit, shown.err.as_str()), (Exit::Success, ""));
    assert_eq!(
        shown.out,
        "\
location     the pocket
fingerprint  SHA256:dF4KwblIZQ737Yf8OJ0gGIvKms+/jPVLR1hgt/rSzLY
known_hosts  [chat.example.com]:2222 ssh-ed25519 \
         AAAAC3NzaC1lZDI1NTE5AAAAIGlg4lpXAlSVQOlAE+SQ+h1PeiqQYh42ifPEAocz+Kor
SSHFP        chat.example.com. IN SSHFP 4 2 \
         745e0ac1b948650ef7ed87fc389d20188bca9acfbf8cf54b475860b7fad2ccb6
"
    );
    let shown = run_on(&pocket, "show --json", "").out;
    let object: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        object["fingerprint"],
        "SHA256:dF4KwblIZQ737Yf8OJ0gGIvKms+/jPVLR1hgt/rSzLY"
    );
    assert_eq!(object.as_object().unwrap().len(), 5);
}

#[test]
fn addresses_are_written_as_others_want_them() {
    for (host, port, known, owner) in [
        (
            "chat.example.com",
            22,
            "chat.example.com",
            "chat.example.com.",
        ),
        (
            "chat.example.com",
            23,
            "[chat.example.com]:23",
            "chat.example.com.",
        ),
        ("::1", 23, "[::1]:23", "@"),
        ("localhost", 22, "localhost", "@"),
    ] {
        let address = SshAddress { host, port };
        assert_eq!(
            (
                address.known_hosts_name().as_str(),
                address.record_owner().as_str()
            ),
            (known, owner)
        );
    }
}

#[test]
fn what_is_not_there_is_not_made_by_looking() {
    let pocket = Pocket::default();
    for line in ["show", "rotate --yes"] {
        let missing = run_on(&pocket, line, "");
        assert_eq!(missing.exit, Exit::NotFound, "{missing:?}");
        assert!(
            missing.err.contains("ssh-chat host-key init"),
            "{missing:?}"
        );
        assert_eq!(pocket.pem(), None);
    }
}

#[test]
fn a_key_is_made_once() {
    let pocket = Pocket::default();
    let first = run_on(&pocket, "init", "");
    assert!(first.err.contains("created a host key"), "{first:?}");
    let again = run_on(&pocket, "init", "");
    assert!(again.err.contains("was not changed"), "{again:?}");
    assert_eq!(first.out, again.out);
}

#[test]
fn a_key_is_replaced_when_somebody_means_it() {
    for (line, input, goes_on) in [
        ("rotate", "", false),
        ("rotate", "y\n", false),
        ("rotate", "rotate it\n", false),
        ("rotate", &"rotate ".repeat(100), false),
        ("rotate", " rotate \n", true),
        ("rotate", "rotate", true),
        ("rotate --yes", "", true),
    ] {
        let pocket = Pocket::with(KNOWN);
        let ended = run_on(&pocket, line, input);
        assert!(
            ended.err.contains("IDENTIFICATION HAS CHANGED"),
            "{ended:?}"
        );
        assert_eq!(pocket.pem().as_deref() != Some(KNOWN), goes_on, "{ended:?}");
        if goes_on {
            assert_eq!(ended.exit, Exit::Success);
            assert!(
                ended
                    .err
                    .contains("ssh-keygen -R '[chat.example.com]:2222'")
            );
            assert!(ended.err.contains("the other pocket"));
            assert!(ended.err.contains(ended.out.trim_end()));
        } else {
            assert_eq!((ended.exit, ended.out.as_str()), (Exit::Failed, ""));
            assert!(ended.err.contains("nothing was changed"));
        }
    }
}
