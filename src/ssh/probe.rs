//! A login as people have it, to see that they can: connects, looks at the host key, logs in, and
//! has a command done that goes through the hub and the store and disturbs nobody.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, SshId};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::chat::ids::Fingerprint;
use crate::text::Text;

/// What the probe says it is, by which it can be told apart in the log.
const CLIENT: &str = "SSH-2.0-ssh-chat-probe";
/// The command: see `docs/scripting.md`.
const COMMAND: &str = "ping";
/// How long a server that lets nobody in has to take note of the end.
const GOODBYE: Duration = Duration::from_secs(1);
/// How much is kept of what the server says about a failure, in bytes.
const WORDS: usize = 500;

/// Whom to connect to, and as whom.
#[derive(Debug, Clone)]
pub struct Aim {
    /// A name or an address.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// The key to log in with.
    pub key: PrivateKey,
    /// The host key that it must have, if that is to be looked at.
    pub fingerprint: Option<Fingerprint>,
    /// How long all of it may take.
    pub patience: Duration,
}

/// What was seen, and how long each part took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The host key.
    pub fingerprint: Fingerprint,
    /// Until the TCP connection was there, the name looked up.
    pub connect: Duration,
    /// From then on until the login was accepted.
    pub login: Duration,
    /// From then on until the command was done.
    pub echo: Duration,
}

/// Why it went wrong. The words are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// Nobody answered.
    #[error("can't connect to {0}: {1}")]
    Connect(String, String),
    /// It is not the server that is meant.
    #[error(
        "the host key is {found}, not {expected}: another server, or somebody in between; if the \
         key was replaced on purpose, `ssh-chat host-key show` on the server tells the new one"
    )]
    Fingerprint {
        /// What it should be.
        expected: Fingerprint,
        /// What it is.
        found: Fingerprint,
    },
    /// What answered does not speak SSH as it should.
    #[error("the connection failed before the login: {0}")]
    Protocol(Text),
    /// The key is not let in.
    #[error("{0} is not let in with the key {1}; an operator lets it in with ssh-chat keys add")]
    Login(String, Fingerprint),
    /// Logged in, the command was not done.
    #[error("logged in, but the server could not do its work (status {status}): {words}")]
    Echo {
        /// The exit status; 255 if there was none.
        status: u32,
        /// What the server said.
        words: Text,
    },
    /// It took too long.
    #[error("{0} took longer than {1:?}")]
    Late(&'static str, Duration),
}

/// The key in a file; one is made if there is no such file, and its public half beside it with
/// `.pub`. The second is whether it was made. The error is a sentence.
pub fn key_in(path: &Path) -> Result<(PrivateKey, bool), String> {
    let cant = |what: &str, error: &dyn std::fmt::Display| {
        Err(format!("can't {what} the key {}: {error}", path.display()))
    };
    if path.exists() {
        return match russh::keys::load_secret_key(path, None) {
            Ok(key) => Ok((key, false)),
            Err(error) => cant("use", &error),
        };
    }
    let make = || -> Result<PrivateKey, Box<dyn std::error::Error>> {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(key.to_openssh(LineEnding::LF)?.as_bytes())?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        std::fs::write(
            beside,
            format!("{} probe\n", key.public_key().to_openssh()?),
        )?;
        Ok(key)
    };
    match make() {
        Ok(key) => Ok((key, true)),
        Err(error) => cant("make", &error),
    }
}

/// Looks at the host key.
struct Looker {
    expected: Option<Fingerprint>,
    found: Arc<Mutex<Option<Fingerprint>>>,
}

impl client::Handler for Looker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        server: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let found = match server {
            PublicKeyOrCertificate::PublicKey { key, .. } => crate::keys::fingerprint(key),
            PublicKeyOrCertificate::Certificate(certificate) => Fingerprint::new(
                &certificate
                    .public_key()
                    .fingerprint(HashAlg::Sha256)
                    .to_string(),
            ),
        };
        let right = self.expected.as_ref().is_none_or(|key| *key == found);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(right)
    }
}

/// Tries it once.
pub async fn probe(aim: &Aim) -> Result<Seen, Miss> {
    let begin = Instant::now();
    let end = begin + aim.patience;
    let late = |what| Miss::Late(what, aim.patience);

    let address = format!("{}:{}", aim.host, aim.port);
    let connecting = TcpStream::connect((aim.host.as_str(), aim.port));
    let stream = timeout_at(end, connecting).await;
    let stream = stream
        .map_err(|_| late("to connect"))?
        .map_err(|error| Miss::Connect(address, error.to_string()))?;
    let connected = Instant::now();

    let found = Arc::default();
    let looker = Looker {
        expected: aim.fingerprint.clone(),
        found: Arc::clone(&found),
    };
    let logging_in = login(aim, stream, looker);
    let logged_in = timeout_at(end, logging_in).await;
    let fingerprint = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let (Some(expected), Some(found)) = (&aim.fingerprint, &fingerprint)
        && expected != found
    {
        return Err(Miss::Fingerprint {
            expected: expected.clone(),
            found: found.clone(),
        });
    }
    let session = logged_in.map_err(|_| late("the login"))??;
    let Some(fingerprint) = fingerprint else {
        return Err(Miss::Protocol(Text::stored_line("no host key was shown")));
    };
    let entered = Instant::now();

    let echo = timeout_at(end, echo(&session)).await;
    echo.map_err(|_| late("the server's work"))??;
    let echo = entered.elapsed();
    goodbye(session, end).await;
    Ok(Seen {
        fingerprint,
        connect: connected - begin,
        login: entered - connected,
        echo,
    })
}

fn broken(error: &russh::Error) -> Text {
    Text::ascii(error.to_string().as_bytes(), 200)
}

async fn login(aim: &Aim, stream: TcpStream, looker: Looker) -> Result<Handle<Looker>, Miss> {
    let config = Arc::new(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(CLIENT)),
        nodelay: true,
        ..client::Config::default()
    });
    let session = client::connect_stream(config, stream, looker).await;
    let mut session = session.map_err(|error| Miss::Protocol(broken(&error)))?;
    // Of an RSA key, which SHA-1 would be used with otherwise.
    let hash = aim.key.algorithm().is_rsa().then_some(HashAlg::Sha512);
    let key = PrivateKeyWithHashAlg::new(Arc::new(aim.key.clone()), hash);
    let attempt = session.authenticate_publickey(&aim.user, key).await;
    let attempt = attempt.map_err(|error| Miss::Protocol(broken(&error)))?;
    if !attempt.success() {
        goodbye(session, Instant::now() + GOODBYE).await;
        let key = crate::keys::fingerprint(aim.key.public_key());
        return Err(Miss::Login(aim.user.clone(), key));
    }
    Ok(session)
}

/// Leaves as clients do, so that the server's figures do not have one more that was lost.
async fn goodbye(session: Handle<Looker>, end: Instant) {
    let leaving = async {
        let _gone_already = session
            .disconnect(Disconnect::ByApplication, "", "en")
            .await;
        let _ended = session.await;
    };
    let _long_enough = timeout_at(end, leaving).await;
}

/// Has the command done.
async fn echo(session: &Handle<Looker>) -> Result<(), Miss> {
    let failed = |error: &russh::Error| Miss::Echo {
        status: 255,
        words: broken(error),
    };
    let mut channel = session
        .channel_open_session()
        .await
        .map_err(|e| failed(&e))?;
    channel.exec(true, COMMAND).await.map_err(|e| failed(&e))?;
    let (mut status, mut words) = (255, Vec::new());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::ExitStatus { exit_status } => status = exit_status,
            ChannelMsg::ExtendedData { data, .. } => {
                let room = WORDS.saturating_sub(words.len());
                words.extend(data.iter().take(room));
            }
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    if status == 0 {
        return Ok(());
    }
    Err(Miss::Echo {
        status,
        words: Text::ascii(words.trim_ascii_end(), WORDS),
    })
}

/// A host with or without a port, as people write it: `chat`, `chat:2222`, `[::1]:2222`, `::1`.
/// Without one, it is that of SSH.
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    const SSH: u16 = 22;
    if let Ok(SocketAddr::V6(address)) = text.parse() {
        return Some((address.ip().to_string(), address.port()));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some((bare.to_owned(), SSH));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, SSH),
    };
    let is_fine = !host.is_empty() && !host.contains([':', '@', '/', ' ']) && port != 0;
    is_fine.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        for (text, expected) in [
            ("chat", Some(("chat", 22))),
            ("chat.example.com:2222", Some(("chat.example.com", 2222))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:2222", Some(("::1", 2222))),
            ("[::1]", Some(("::1", 22))),
            ("::1", Some(("::1", 22))),
            ("", None),
            (":22", None),
            ("chat:", None),
            ("chat:0", None),
            ("chat:70000", None),
            ("me@chat", None),
            ("ssh://chat", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (made, new) = key_in(&path).unwrap();
        assert!(new);
        let (read, new) = key_in(&path).unwrap();
        assert_eq!(
            (read.public_key().key_data(), new),
            (made.public_key().key_data(), false)
        );
        let public = std::fs::read_to_string(folder.path().join("key.pub")).unwrap();
        assert!(public.starts_with("ssh-ed25519 AAAA"), "{public}");
        std::fs::write(&path, "nonsense").unwrap();
        let error = key_in(&path).unwrap_err();
        assert!(error.contains("can't use the key"), "{error}");
    }
}
