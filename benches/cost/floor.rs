//! The floor: a chat over SSH without the chat. No names, terminal, history or limits: a line goes
//! to every session's queue, and everything queued for a session is joined into one write.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelMsg, MethodKind, MethodSet, Preferred, cipher, compression, kex, mac};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Approximate maximum size of a joined write, in bytes; as in `src/session/driver.rs`.
const JOINED: usize = 32 * 1024;

/// Makes this executable run as the floor.
pub const ARGUMENT: &str = "--be-the-floor";

/// Serves until standard input closes, which happens when the parent process exits.
pub async fn run() -> Result<()> {
    let config = Arc::new(config()?);
    let room = Arc::new(Room::default());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    writeln!(std::io::stdout(), "the floor is listening on {addr}")?;
    let mut end =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = &mut end => return Ok(()),
        };
        stream.set_nodelay(true)?;
        let (config, room) = (Arc::clone(&config), Arc::clone(&room));
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(config, stream, Guest(room)).await {
                let _how_it_ended = session.await;
            }
        });
    }
}

/// The values of `src/ssh/config.rs`.
fn config() -> Result<Config> {
    Ok(Config {
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(200),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?],
        window_size: 64 * 1024,
        maximum_packet_size: 16 * 1024,
        channel_buffer_size: 8,
        event_buffer_size: 8,
        preferred: Preferred {
            kex: Cow::Borrowed(&[
                kex::MLKEM768X25519_SHA256,
                kex::CURVE25519,
                kex::CURVE25519_PRE_RFC_8731,
                kex::EXTENSION_SUPPORT_AS_SERVER,
                kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
            ]),
            cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM]),
            mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::default()
        },
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    })
}

/// The queues of all sessions.
#[derive(Default)]
struct Room(Mutex<Vec<UnboundedSender<Bytes>>>);

impl Room {
    fn enter(&self) -> UnboundedReceiver<Bytes> {
        let (queue, waiting) = unbounded_channel();
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push(queue);
        waiting
    }

    /// Under one lock, so that all sessions see the same order.
    fn say(&self, line: &Bytes) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.send(line.clone()).is_ok());
    }
}

/// One connection.
struct Guest(Arc<Room>);

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        tokio::spawn(session(Arc::clone(&self.0), channel));
        Ok(())
    }
}

async fn session(room: Arc<Room>, channel: Channel<Msg>) {
    let (mut read, write) = channel.split();
    let mut waiting = room.enter();
    let hears = async {
        while let Some(first) = waiting.recv().await {
            let mut joined = Vec::from(first);
            while joined.len() < JOINED
                && let Ok(more) = waiting.try_recv()
            {
                joined.extend_from_slice(&more);
            }
            if write.data_bytes(joined).await.is_err() {
                return;
            }
        }
    };
    let speaks = async {
        let mut line = Vec::new();
        while let Some(message) = read.wait().await {
            let ChannelMsg::Data { data } = message else {
                continue;
            };
            for byte in data {
                if byte == b'\r' {
                    line.extend_from_slice(b"\r\n");
                    room.say(&Bytes::from(std::mem::take(&mut line)));
                } else {
                    line.push(byte);
                }
            }
        }
    };
    tokio::select! {
        () = hears => {}
        () = speaks => {}
    }
}
