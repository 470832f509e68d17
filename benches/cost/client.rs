//! Real SSH sessions, all in this process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use russh::client::{self, Handle, Msg};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelId, ChannelWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::seen::{AllSeen, Seen, message};

/// The most messages in one round.
pub const MOST_MESSAGES: u32 = 1 << 20;

/// Logins at a time.
const LOGINS: usize = 16;
/// How long one login may take.
const LOGIN: Duration = Duration::from_secs(60);
/// Nobody is sent anything for this long: longer than a server gathers joins to tell of them
/// together.
const QUIET: Duration = Duration::from_millis(2_500);
/// How long it may take until all is quiet.
const UNTIL_QUIET: Duration = Duration::from_secs(60);

/// Where all clients note what happens.
#[derive(Debug)]
pub struct Board {
    start: Instant,
    /// When each message was sent, in microseconds since the start.
    sent_at: Vec<AtomicU32>,
    /// Messages that came to a client, each once.
    deliveries: AtomicU64,
    /// Bytes that came to clients.
    bytes: AtomicU64,
    /// Of so many senders each has every so-manieth id.
    senders: u32,
    /// For each sender, how many more messages it may send.
    windows: Vec<Semaphore>,
}

impl Board {
    fn now(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    /// Messages that came to a client until now.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// What allows a sender to send: one permit for each of its messages that came back to it.
    pub fn window(&self, sender: u32) -> Option<&Semaphore> {
        self.windows.get(sender as usize)
    }
}

/// What russh tells of one client.
struct Handler {
    number: u32,
    board: Arc<Board>,
    seen: Arc<Mutex<Seen>>,
}

impl client::Handler for Handler {
    type Error = russh::Error;

    /// The server is one that this process has started.
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn data(
        &mut self,
        _: ChannelId,
        data: &[u8],
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        let now = self.board.now();
        let mut news = 0;
        let mut seen = lock(&self.seen);
        let mut scanner = std::mem::take(&mut seen.scanner);
        scanner.feed(data, |id| {
            // Eight digits that nobody sent are part of something else.
            let sent_at = self.board.sent_at.get(id as usize);
            let sent_at = sent_at.map_or(0, |at| at.load(Ordering::Relaxed));
            if sent_at == 0 || !seen.message(id, now.saturating_sub(sent_at)) {
                return;
            }
            news += 1;
            if id % self.board.senders == self.number
                && let Some(window) = self.board.window(self.number)
            {
                window.add_permits(1);
            }
        });
        seen.scanner = scanner;
        seen.packets += 1;
        seen.bytes += data.len() as u64;
        drop(seen);
        self.board
            .bytes
            .fetch_add(data.len() as u64, Ordering::Relaxed);
        self.board.deliveries.fetch_add(news, Ordering::Relaxed);
        Ok(())
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One SSH session.
pub struct Client {
    number: u32,
    seen: Arc<Mutex<Seen>>,
    write: ChannelWriteHalf<Msg>,
    /// The connection ends when this is dropped.
    _connection: Handle<Handler>,
}

impl Client {
    async fn join(addr: SocketAddr, number: u32, board: Arc<Board>) -> Result<Client> {
        let config = Arc::new(client::Config {
            nodelay: true,
            ..client::Config::default()
        });
        let seen = Arc::new(Mutex::new(Seen::default()));
        let handler = Handler {
            number,
            board,
            seen: Arc::clone(&seen),
        };
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let mut connection = client::connect(config, addr, handler).await?;
        let login = connection.authenticate_publickey(format!("bench-{number:04}"), key);
        ensure!(
            login.await?.success(),
            "the server does not let {number} in"
        );
        let channel = connection.channel_open_session().await?;
        channel
            .request_pty(false, "xterm-256color", 80, 24, 0, 0, &[])
            .await?;
        channel.request_shell(false).await?;
        // What arrives is seen by the handler, without the way through the channel.
        let (_, write) = channel.split();
        Ok(Client {
            number,
            seen,
            write,
            _connection: connection,
        })
    }

    /// Types a message and Enter, in one packet.
    pub async fn say(&self, id: u32, board: &Board) -> Result<()> {
        let sent_at = board
            .sent_at
            .get(id as usize)
            .context("too many messages")?;
        // Zero is "not sent".
        sent_at.store(board.now().max(1), Ordering::Relaxed);
        let sent = self.write.data_bytes(message(id)).await;
        sent.with_context(|| format!("the connection of client {} is lost", self.number))
    }
}

/// All clients.
pub struct Crowd {
    pub board: Arc<Board>,
    clients: Vec<Arc<Client>>,
}

impl Crowd {
    /// Connects them all, a few at a time.
    pub async fn join(addr: SocketAddr, clients: u32, senders: u32) -> Result<Crowd> {
        let board = Arc::new(Board {
            start: Instant::now(),
            sent_at: (0..MOST_MESSAGES).map(|_| AtomicU32::new(0)).collect(),
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            senders,
            windows: (0..senders).map(|_| Semaphore::new(0)).collect(),
        });
        let mut crowd = Crowd {
            board,
            clients: Vec::new(),
        };
        let mut joining = JoinSet::new();
        let mut numbers = 0..clients;
        loop {
            while joining.len() < LOGINS
                && let Some(number) = numbers.next()
            {
                let board = Arc::clone(&crowd.board);
                joining.spawn(timeout(LOGIN, Client::join(addr, number, board)));
            }
            let Some(joined) = joining.join_next().await else {
                break;
            };
            let joined = joined?.context("a login takes too long")?;
            crowd
                .clients
                .push(Arc::new(joined.context("a client can't join")?));
        }
        crowd.clients.sort_by_key(|client| client.number);
        Ok(crowd)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.clients.len() as u64
    }

    /// Those who send, in the order of their numbers.
    pub fn senders(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.iter().take(self.board.senders as usize)
    }

    /// Waits until nobody has been sent anything for some time.
    pub async fn quiet(&self) -> Result<()> {
        let quiet = async {
            let mut before = None;
            loop {
                let bytes = self.board.bytes.load(Ordering::Relaxed);
                if before.replace(bytes) == Some(bytes) {
                    return;
                }
                tokio::time::sleep(QUIET).await;
            }
        };
        timeout(UNTIL_QUIET, quiet)
            .await
            .context("the server does not become quiet")
    }

    /// Counting begins anew.
    pub fn forget(&mut self) {
        for client in &self.clients {
            lock(&client.seen).forget();
        }
    }

    /// What all have seen since counting began.
    pub fn seen(&self) -> AllSeen {
        let mut seen: Vec<_> = self
            .clients
            .iter()
            .map(|client| lock(&client.seen))
            .collect();
        AllSeen::of(seen.iter_mut().map(|seen| &mut **seen), self.board.senders)
    }
}
