//! SSH sessions that send and receive messages.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use russh::client::{self, Handle, Msg};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelId, ChannelWriteHalf};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::seen::{AllSeen, Seen, message};

/// Maximum number of messages in one run.
pub const MOST_MESSAGES: u32 = 1 << 20;

/// Concurrent logins.
const LOGINS: usize = 16;
/// Time limit for one login.
const LOGIN: Duration = Duration::from_secs(60);
/// The server counts as idle after this long without output: longer than it batches joins before it
/// announces them.
const QUIET: Duration = Duration::from_millis(2_500);
/// Time limit for the server to become idle.
const UNTIL_QUIET: Duration = Duration::from_secs(60);

/// Composition of the crowd. Senders are the first clients, frozen ones the last.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of SSH sessions.
    pub clients: u32,
    /// Number of senders, smaller than the number of clients.
    pub senders: u32,
    /// Number of clients that stop reading after [`Crowd::freeze`].
    pub frozen: u32,
    /// Message size in bytes, at least the nine of the id.
    pub bytes: usize,
    /// Prefix of the clients' names, followed by a number.
    pub name: String,
}

impl Plan {
    /// Number of clients that never freeze and only listen.
    pub fn listeners(&self) -> u32 {
        self.clients.saturating_sub(self.senders + self.frozen)
    }
}

/// Shared record of sent and received messages.
#[derive(Debug)]
pub struct Board {
    start: Instant,
    plan: Plan,
    /// When each message was sent, in microseconds since the start.
    sent_at: Vec<AtomicU32>,
    sent: AtomicU64,
    /// Distinct messages received, summed over all clients that should receive them.
    deliveries: AtomicU64,
    /// Bytes received by all clients.
    bytes: AtomicU64,
    /// For each sender, permits for further messages.
    windows: Vec<Semaphore>,
    frozen: watch::Sender<bool>,
}

impl Board {
    fn new(plan: Plan) -> Board {
        Board {
            start: Instant::now(),
            sent_at: (0..MOST_MESSAGES).map(|_| AtomicU32::new(0)).collect(),
            sent: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            windows: (0..plan.senders).map(|_| Semaphore::new(0)).collect(),
            frozen: watch::Sender::new(false),
            plan,
        }
    }

    fn now(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    /// Messages sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Deliveries so far, without a sender's own messages, because a terminal may echo typed text.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// A sender's permits: one for each of its messages that a designated listener has received.
    pub fn window(&self, sender: u32) -> Option<&Semaphore> {
        self.windows.get(sender as usize)
    }

    fn is_frozen_one(&self, client: u32) -> bool {
        client >= self.plan.clients - self.plan.frozen
    }

    fn sender_of(&self, id: u32) -> u32 {
        id % self.plan.senders.max(1)
    }

    /// Records that a client has received a message for the first time.
    fn seen(&self, client: u32, id: u32) {
        if self.is_frozen_one(client) {
            return;
        }
        let plan = &self.plan;
        let sender = self.sender_of(id);
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        let witness = plan.senders + sender % plan.listeners().max(1);
        if witness == client
            && let Some(window) = self.window(sender)
        {
            window.add_permits(1);
        }
    }
}

/// The russh handler of one client.
struct Handler {
    /// `None` for a visitor, whose output is ignored.
    number: Option<u32>,
    board: Arc<Board>,
    seen: Arc<Mutex<Seen>>,
    frozen: watch::Receiver<bool>,
}

impl client::Handler for Handler {
    type Error = russh::Error;

    /// Nothing confidential is sent, so any host key will do.
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn data(
        &mut self,
        _: ChannelId,
        data: &[u8],
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        let Some(number) = self.number else {
            return Ok(());
        };
        if *self.frozen.borrow() && self.board.is_frozen_one(number) {
            // russh reads more only after this returns.
            let _thawed = self.frozen.wait_for(|frozen| !frozen).await;
        }
        let now = self.board.now();
        let mut seen = lock(&self.seen);
        let mut scanner = std::mem::take(&mut seen.scanner);
        scanner.feed(data, |id| {
            // A sender's own messages may be echoed before they're sent.
            if self.board.sender_of(id) == number {
                return;
            }
            // Eight digits that no client sent are part of something else.
            let sent_at = self.board.sent_at.get(id as usize);
            let sent_at = sent_at.map_or(0, |at| at.load(Ordering::Relaxed));
            if sent_at != 0 && seen.message(id, now.saturating_sub(sent_at)) {
                self.board.seen(number, id);
            }
        });
        seen.scanner = scanner;
        seen.packets += 1;
        seen.bytes += data.len() as u64;
        drop(seen);
        self.board
            .bytes
            .fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One SSH session.
pub struct Client {
    name: String,
    seen: Arc<Mutex<Seen>>,
    write: ChannelWriteHalf<Msg>,
    /// Keeps the connection open; dropping it disconnects.
    connection: Handle<Handler>,
}

impl Client {
    async fn join(
        addr: SocketAddr,
        name: String,
        number: Option<u32>,
        board: Arc<Board>,
    ) -> Result<Client> {
        let config = Arc::new(client::Config {
            nodelay: true,
            ..client::Config::default()
        });
        let seen = Arc::new(Mutex::new(Seen::default()));
        let handler = Handler {
            number,
            frozen: board.frozen.subscribe(),
            board,
            seen: Arc::clone(&seen),
        };
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let mut connection = client::connect(config, addr, handler).await?;
        let login = connection.authenticate_publickey(&name, key);
        ensure!(
            login.await?.success(),
            "the server refused the login of {name}"
        );
        let channel = connection.channel_open_session().await?;
        channel
            .request_pty(false, "xterm-256color", 80, 24, 0, 0, &[])
            .await?;
        channel.request_shell(false).await?;
        // The handler sees all data, so the channel isn't read.
        let (_, write) = channel.split();
        Ok(Client {
            name,
            seen,
            write,
            connection,
        })
    }

    /// Types a message and Enter, in one packet.
    ///
    /// # Errors
    /// Fails if the connection is lost.
    pub async fn say(&self, id: u32, board: &Board) -> Result<()> {
        let sent_at = board
            .sent_at
            .get(id as usize)
            .context("too many messages")?;
        // Zero means "not sent".
        sent_at.store(board.now().max(1), Ordering::Relaxed);
        board.sent.fetch_add(1, Ordering::Relaxed);
        let sent = self.write.data_bytes(message(id, board.plan.bytes)).await;
        sent.with_context(|| format!("{} lost its connection", self.name))
    }
}

/// All clients.
pub struct Crowd {
    /// Shared record of what they send and receive.
    pub board: Arc<Board>,
    addr: SocketAddr,
    clients: Vec<Arc<Client>>,
}

impl Crowd {
    /// Connects all clients, a few at a time, and calls `progress` with the number connected.
    ///
    /// # Errors
    /// Fails if a client can't log in, or takes more than a minute.
    pub async fn join(
        addr: SocketAddr,
        plan: Plan,
        mut progress: impl FnMut(usize),
    ) -> Result<Crowd> {
        let mut numbers = 0..plan.clients;
        let mut crowd = Crowd {
            board: Arc::new(Board::new(plan)),
            addr,
            clients: Vec::new(),
        };
        let mut joining = JoinSet::new();
        let mut joined_as = Vec::new();
        loop {
            while joining.len() < LOGINS
                && let Some(number) = numbers.next()
            {
                let board = Arc::clone(&crowd.board);
                let name = format!("{}-{number:04}", board.plan.name);
                let client = Client::join(addr, name, Some(number), board);
                joining.spawn(async move { (number, timeout(LOGIN, client).await) });
            }
            let Some(joined) = joining.join_next().await else {
                break;
            };
            let (number, joined) = joined?;
            let joined = joined.context("the login timed out")?;
            joined_as.push((
                number,
                joined.with_context(|| format!("client {number} can't log in at {addr}"))?,
            ));
            progress(joined_as.len());
        }
        joined_as.sort_by_key(|(number, _)| *number);
        let clients = joined_as.into_iter();
        crowd.clients = clients.map(|(_, client)| Arc::new(client)).collect();
        Ok(crowd)
    }

    /// A visitor logs in, stays for a while and leaves; it isn't counted.
    ///
    /// # Errors
    /// Fails if the visitor can't log in.
    pub fn visit(&self, number: u32, stay: Duration) -> impl Future<Output = Result<()>> + use<> {
        let (addr, board) = (self.addr, Arc::clone(&self.board));
        async move {
            let name = format!("{}-visitor-{number}", board.plan.name);
            let visitor = timeout(LOGIN, Client::join(addr, name, None, board));
            let visitor = visitor.await.context("the login timed out")??;
            tokio::time::sleep(stay).await;
            visitor.write.close().await?;
            Ok(())
        }
    }

    /// Number of clients that receive each message: all except its sender and the frozen ones.
    pub fn readers(&self) -> u64 {
        let plan = &self.board.plan;
        u64::from(plan.listeners() + plan.senders.saturating_sub(1))
    }

    /// The senders, in order of their numbers.
    pub fn senders(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.iter().take(self.board.plan.senders as usize)
    }

    /// Makes the clients to be frozen stop reading.
    pub fn freeze(&self) {
        self.board.frozen.send_replace(true);
    }

    /// Lets the frozen clients read again, and returns how many of them the server has
    /// disconnected.
    pub async fn thaw(&self) -> usize {
        self.board.frozen.send_replace(false);
        tokio::time::sleep(QUIET).await;
        let frozen = self.clients.iter().rev();
        let frozen = frozen.take(self.board.plan.frozen as usize);
        frozen
            .filter(|client| client.connection.is_closed())
            .count()
    }

    /// Waits until no client has received anything for a while.
    ///
    /// # Errors
    /// Fails after a minute.
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
            .context("the server keeps sending output")
    }

    /// Resets all counters.
    pub fn forget(&mut self) {
        for client in &self.clients {
            lock(&client.seen).forget();
        }
    }

    /// What the clients that aren't frozen have received since the last reset.
    pub fn seen(&self) -> AllSeen {
        let plan = &self.board.plan;
        let readers = self.clients.iter();
        let readers = readers.take((plan.clients - plan.frozen) as usize);
        let mut seen: Vec<_> = readers.map(|client| lock(&client.seen)).collect();
        AllSeen::of(seen.iter_mut().map(|seen| &mut **seen), plan.senders)
    }
}
