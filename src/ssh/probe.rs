//! A test login as a real client does it: connects, verifies the host key, logs in, and runs a
//! command that passes through the hub and the store without disturbing anyone.

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

/// The version line, which identifies probes in the log.
const CLIENT: &str = "SSH-2.0-ssh-chat-probe";
/// The command: see `docs/scripting.md`.
const COMMAND: &str = "ping";
/// How long a server that rejects the login has to read the disconnect message.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of the server's error message is kept, in bytes.
const MAX_MESSAGE: usize = 500;

/// The server to test, and how to log in.
#[derive(Debug, Clone)]
pub struct ProbeTarget {
    /// A name or an address.
    pub host: String,
    /// The SSH port.
    pub port: u16,
    /// The user name.
    pub user: String,
    /// The key to log in with.
    pub key: PrivateKey,
    /// The expected host key, if it is to be verified.
    pub fingerprint: Option<Fingerprint>,
    /// The timeout for the whole probe.
    pub timeout: Duration,
}

/// The result of a successful probe: the host key, and how long each step took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// The host key.
    pub fingerprint: Fingerprint,
    /// The name lookup and the TCP connection.
    pub connect: Duration,
    /// The handshake and the login.
    pub login: Duration,
    /// The command.
    pub command: Duration,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The TCP connection failed.
    #[error("can't connect to {0}: {1}")]
    Connect(String, String),
    /// The host key isn't the expected one.
    #[error(
        "the host key is {found}, not {expected}: this is another server, or the connection is \
         intercepted. If the key was rotated, `ssh-chat host-key show` on the server prints the new \
         fingerprint"
    )]
    Fingerprint {
        /// The expected host key.
        expected: Fingerprint,
        /// The actual one.
        found: Fingerprint,
    },
    /// The SSH protocol failed.
    #[error("the connection failed before the login: {0}")]
    Protocol(Text),
    /// The login was rejected.
    #[error("login rejected for {0} with the key {1}. Add the key with `ssh-chat keys add`")]
    Login(String, Fingerprint),
    /// The command failed.
    #[error("logged in, but the command failed (status {status}): {message}")]
    Command {
        /// The exit status; 255 if there was none.
        status: u32,
        /// The server's message.
        message: Text,
    },
    /// A step timed out.
    #[error("{0} timed out after {1:?}")]
    Timeout(&'static str, Duration),
}

/// Loads the key in a file, or creates it there with its public half next to it (`.pub`). Also
/// returns whether it was created. The error is a message.
pub fn load_or_create_key(path: &Path) -> Result<(PrivateKey, bool), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Err(format!("can't {what} the key {}: {error}", path.display()))
    };
    if path.exists() {
        return match russh::keys::load_secret_key(path, None) {
            Ok(key) => Ok((key, false)),
            Err(error) => failed("use", &error),
        };
    }
    let create = || -> Result<PrivateKey, Box<dyn std::error::Error>> {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(key.to_openssh(LineEnding::LF)?.as_bytes())?;
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        std::fs::write(
            public,
            format!("{} probe\n", key.public_key().to_openssh()?),
        )?;
        Ok(key)
    };
    match create() {
        Ok(key) => Ok((key, true)),
        Err(error) => failed("create", &error),
    }
}

/// Verifies and records the host key.
struct HostKeyVerifier {
    expected: Option<Fingerprint>,
    found: Arc<Mutex<Option<Fingerprint>>>,
}

impl client::Handler for HostKeyVerifier {
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
        let matches = self.expected.as_ref().is_none_or(|key| *key == found);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(matches)
    }
}

/// Tests a server once.
pub async fn probe(target: &ProbeTarget) -> Result<ProbeReport, ProbeError> {
    let start = Instant::now();
    let deadline = start + target.timeout;
    let timed_out = |step| ProbeError::Timeout(step, target.timeout);

    let address = format!("{}:{}", target.host, target.port);
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = timeout_at(deadline, connecting).await;
    let stream = stream
        .map_err(|_| timed_out("the connection"))?
        .map_err(|error| ProbeError::Connect(address, error.to_string()))?;
    let connected = Instant::now();

    let found = Arc::default();
    let verifier = HostKeyVerifier {
        expected: target.fingerprint.clone(),
        found: Arc::clone(&found),
    };
    let logged_in = timeout_at(deadline, log_in(target, stream, verifier)).await;
    let fingerprint = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let (Some(expected), Some(found)) = (&target.fingerprint, &fingerprint)
        && expected != found
    {
        return Err(ProbeError::Fingerprint {
            expected: expected.clone(),
            found: found.clone(),
        });
    }
    let session = logged_in.map_err(|_| timed_out("the login"))??;
    let Some(fingerprint) = fingerprint else {
        return Err(ProbeError::Protocol(Text::stored_line("no host key")));
    };
    let entered = Instant::now();

    let ran = timeout_at(deadline, run_command(&session)).await;
    ran.map_err(|_| timed_out("the command"))??;
    let command = entered.elapsed();
    disconnect(session, deadline).await;
    Ok(ProbeReport {
        fingerprint,
        connect: connected - start,
        login: entered - connected,
        command,
    })
}

fn describe(error: &russh::Error) -> Text {
    Text::ascii(error.to_string().as_bytes(), 200)
}

async fn log_in(
    target: &ProbeTarget,
    stream: TcpStream,
    verifier: HostKeyVerifier,
) -> Result<Handle<HostKeyVerifier>, ProbeError> {
    let config = Arc::new(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(CLIENT)),
        nodelay: true,
        ..client::Config::default()
    });
    let session = client::connect_stream(config, stream, verifier).await;
    let mut session = session.map_err(|error| ProbeError::Protocol(describe(&error)))?;
    // RSA keys would be used with SHA-1 otherwise.
    let hash = target.key.algorithm().is_rsa().then_some(HashAlg::Sha512);
    let key = PrivateKeyWithHashAlg::new(Arc::new(target.key.clone()), hash);
    let attempt = session.authenticate_publickey(&target.user, key).await;
    let attempt = attempt.map_err(|error| ProbeError::Protocol(describe(&error)))?;
    if !attempt.success() {
        disconnect(session, Instant::now() + DISCONNECT_TIMEOUT).await;
        let key = crate::keys::fingerprint(target.key.public_key());
        return Err(ProbeError::Login(target.user.clone(), key));
    }
    Ok(session)
}

/// Disconnects properly, so that the server doesn't count a lost connection.
async fn disconnect(session: Handle<HostKeyVerifier>, deadline: Instant) {
    let leaving = async {
        let _gone_already = session
            .disconnect(Disconnect::ByApplication, "", "en")
            .await;
        let _ended = session.await;
    };
    let _long_enough = timeout_at(deadline, leaving).await;
}

async fn run_command(session: &Handle<HostKeyVerifier>) -> Result<(), ProbeError> {
    let failed = |error: &russh::Error| ProbeError::Command {
        status: 255,
        message: describe(error),
    };
    let mut channel = session
        .channel_open_session()
        .await
        .map_err(|e| failed(&e))?;
    channel.exec(true, COMMAND).await.map_err(|e| failed(&e))?;
    let (mut status, mut stderr) = (255, Vec::new());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::ExitStatus { exit_status } => status = exit_status,
            ChannelMsg::ExtendedData { data, .. } => {
                let room = MAX_MESSAGE.saturating_sub(stderr.len());
                stderr.extend(data.iter().take(room));
            }
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    if status == 0 {
        return Ok(());
    }
    Err(ProbeError::Command {
        status,
        message: Text::ascii(stderr.trim_ascii_end(), MAX_MESSAGE),
    })
}

/// Parses a host with an optional port: `chat`, `chat:2222`, `[::1]:2222`, `::1`. The default port
/// is 22.
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
    let is_valid = !host.is_empty() && !host.contains([':', '@', '/', ' ']) && port != 0;
    is_valid.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_parsed() {
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
    fn a_key_is_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let (created, new) = load_or_create_key(&path).unwrap();
        assert!(new);
        let (read, new) = load_or_create_key(&path).unwrap();
        assert_eq!(
            (read.public_key().key_data(), new),
            (created.public_key().key_data(), false)
        );
        let public = std::fs::read_to_string(dir.path().join("key.pub")).unwrap();
        assert!(public.starts_with("ssh-ed25519 AAAA"), "{public}");
        std::fs::write(&path, "nonsense").unwrap();
        let error = load_or_create_key(&path).unwrap_err();
        assert!(error.contains("can't use the key"), "{error}");
    }
}
