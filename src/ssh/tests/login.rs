//! Logins with keys and as guests, and the reasons of rejections.

use russh::MethodSet;
use russh::client::AuthResult;
use russh::keys::HashAlg;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::Mpint;
use russh::keys::ssh_key::private::{RsaKeypair, RsaPrivateKey};
use russh::keys::ssh_key::public::RsaPublicKey;

use super::*;

/// The explanation for a short key.
const SHORT: &str = "Your key can't be used: the RSA key has 2048 bits, but the minimum is 3072; \
    create a new key: ssh-keygen -t ed25519.";

const OFFERED: [MethodKind; 2] = [MethodKind::PublicKey, MethodKind::KeyboardInteractive];

fn refused(result: &AuthResult) -> bool {
    matches!(result, AuthResult::Failure { remaining_methods, partial_success: false }
        if *remaining_methods == MethodSet::from(OFFERED.as_slice()))
}

#[tokio::test]
async fn a_key_is_an_identity() {
    let running = start(Settings::default()).await;
    let mut client = running.client().await;
    let key = key();
    let login = client.authenticate_publickey("ann\u{1b}[2J", offer(Arc::clone(&key)));
    assert!(soon("a login", login).await.unwrap().success());
    let answer = exec(&client, "whoami").await;
    let fingerprint = key.fingerprint(HashAlg::Sha256);
    assert!(
        answer
            .out
            .starts_with(&format!("ann?[2J ssh-ed25519 {fingerprint} SSH-2.0-russh")),
        "{answer:?}"
    );
    assert_eq!(answer.status, Some(0));
    assert_eq!(running.server.counters().auth_ok.get(), 1);
    assert_eq!(running.server.counters().auth_failed.get(), 0);
}

#[tokio::test]
async fn users_without_a_key_are_guests() {
    let running = start(Settings::default()).await;
    let answer = exec(&running.guest().await, "whoami").await;
    assert!(answer.out.starts_with("ann guest "), "{answer:?}");
}

#[tokio::test]
async fn none_and_password_are_rejected() {
    let running = start(Settings::default()).await;
    let mut client = running.client().await;
    let none = soon("none", client.authenticate_none("ann")).await.unwrap();
    assert!(refused(&none), "{none:?}");
    let password = client.authenticate_password("ann", "secret");
    let password = soon("password", password).await.unwrap();
    assert!(refused(&password), "{password:?}");
    drop(client);
    running
        .until("a failure", |c| c.auth_failed.get() == 1)
        .await;
}

#[tokio::test]
async fn a_short_key_is_explained_before_guest_access() {
    let running = start(Settings::default()).await;
    let mut client = running.client().await;
    let key = short_rsa();
    let login = client.authenticate_publickey("ann", offer(key));
    let login = soon("a refusal", login).await.unwrap();
    assert!(refused(&login), "{login:?}");
    let words = format!("{SHORT}\nUntil then you are a guest.\n");
    assert_eq!(start_dialog(&mut client).await, shows(&words));
    assert_eq!(respond(&mut client, &[]).await, DialogReply::LoggedIn);
    let answer = exec(&client, "whoami").await;
    assert!(answer.out.starts_with("ann guest "), "{answer:?}");
}

#[tokio::test]
async fn rejected_guests_get_a_reason() {
    let authenticator = Scripted {
        guests: scripted::refused("Not without a key."),
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), authenticator).await;
    let mut client = running.client().await;
    assert_eq!(
        start_dialog(&mut client).await,
        shows("Not without a key.\n")
    );
    assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
    assert_eq!(
        start_dialog(&mut client).await,
        rejected_for_good(),
        "told once"
    );
    // Keys still work.
    let login = client.authenticate_publickey("ann", offer(key()));
    assert!(soon("a login", login).await.unwrap().success());
}

#[tokio::test]
async fn rejected_guests_with_a_short_key_get_both_reasons() {
    let authenticator = Scripted {
        guests: scripted::refused("Not without a key."),
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), authenticator).await;
    let mut client = running.client().await;
    let login = client.authenticate_publickey("ann", offer(short_rsa()));
    soon("a refusal", login).await.unwrap();
    let words = format!("{SHORT}\nNot without a key.\n");
    assert_eq!(start_dialog(&mut client).await, shows(&words));
    assert_eq!(
        *running.authenticator.seen(),
        ["ann none"],
        "only a good key is asked about"
    );
}

#[tokio::test]
async fn exhausting_all_attempts_leads_to_a_penalty() {
    let running = start(Settings {
        max_auth_attempts: 2,
        ..Settings::default()
    })
    .await;
    let mut all = tokio::task::JoinSet::new();
    for attacker in 0..5 {
        let mut client = running.client().await;
        all.spawn(async move {
            for _ in 0..2 {
                let result = if attacker < 3 {
                    client.authenticate_password("root", "hunter2").await
                } else {
                    let stolen = key().public_key().clone();
                    client
                        .authenticate_publickey_with("root", stolen, None, &mut Forger)
                        .await
                        .map_err(|_| russh::Error::SendError)
                };
                assert!(!result.unwrap().success());
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    running
        .until("failures", |c| c.auth_failed.get() == 5)
        .await;
    running.open(0).await;
    let mut guest = running.client().await;
    let heard = start_dialog(&mut guest).await;
    let DialogReply::Prompts(words, _) = &heard else {
        panic!("{heard:?}");
    };
    assert!(words.starts_with("Too many failed logins"), "{words}");
    assert_eq!(respond(&mut guest, &[]).await, rejected_for_good());
}

#[tokio::test]
async fn strict_crypto_excludes_old_clients() {
    let running = start(Settings {
        strict_crypto: true,
        ..Settings::default()
    })
    .await;
    assert_eq!(exec(&running.guest().await, "whoami").await.status, Some(0));
    let old = client::Config {
        preferred: russh::Preferred {
            kex: vec![russh::kex::CURVE25519].into(),
            ..russh::Preferred::default()
        },
        ..client::Config::default()
    };
    let connecting = client::connect(Arc::new(old), running.addr, AnyHostKey);
    assert!(soon("a refusal", connecting).await.is_err());
}

#[test]
fn a_server_needs_a_usable_host_key() {
    let authenticator = || Arc::new(Scripted::default());
    let none = Server::new(
        Settings::default(),
        Vec::new(),
        ScriptedSessions::new(),
        authenticator(),
    );
    assert_eq!(none.err(), Some(HostKeyError::Missing));
    let locked = key().encrypt(&mut rand::rng(), "secret").unwrap();
    let locked = Server::new(
        Settings::default(),
        vec![locked],
        ScriptedSessions::new(),
        authenticator(),
    );
    assert!(matches!(locked.err(), Some(HostKeyError::Encrypted(_))));
}

/// An RSA key of 2048 bits. It signs nothing: clients show the public half first.
fn short_rsa() -> Arc<PrivateKey> {
    let number = |bytes: usize| Mpint::from_positive_bytes(&vec![0xff; bytes]);
    let public = RsaPublicKey::new(number(2), number(256)).unwrap();
    let (d, iqmp, p, q) = (number(256), number(128), number(128), number(128));
    let private = RsaPrivateKey::new(d, iqmp, p, q).unwrap();
    Arc::new(PrivateKey::from(RsaKeypair::new(public, private).unwrap()))
}

/// Signs for keys that it does not have.
struct Forger;

impl russh::Signer for Forger {
    type Error = russh::AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let string = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length, bytes].concat()
        };
        let signature = [string(b"ssh-ed25519"), string(&[7; 64])].concat();
        to_sign.extend(string(&signature));
        Ok(to_sign)
    }
}
