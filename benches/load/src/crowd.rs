//! The sessions.

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

/// The most messages in one run.
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

/// Who takes part. Senders are the first of the clients, the frozen ones the last.
#[derive(Debug, Clone)]
pub struct Plan {
    /// SSH sessions.
    pub clients: u32,
    /// How many of them send; fewer than listen.
    pub senders: u32,
    /// How many of them stop reading when [`Crowd::freeze`] says so.
    pub frozen: u32,
    /// Bytes of a message, at least the nine that tell them apart.
    pub bytes: usize,
    /// What their names begin with; a number follows.
    pub name: String,
}

impl Plan {
    /// How many read to the end and say nothing.
    pub fn listeners(&self) -> u32 {
        self.clients.saturating_sub(self.senders + self.frozen)
    }
}

/// Where all clients note what happens.
#[derive(Debug)]
pub struct Board {
    start: Instant,
    plan: Plan,
    /// When each message was sent, in microseconds since the start.
    sent_at: Vec<AtomicU32>,
    sent: AtomicU64,
    /// Messages that came to a client that was to see them, each once.
    deliveries: AtomicU64,
    /// Bytes that came to clients.
    bytes: AtomicU64,
    /// For each sender, how many more messages it may send.
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

    /// Messages that were sent until now.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Messages that came to a client until now; a sender's own don't count, since a terminal may
    /// echo what is typed into it.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// What allows a sender to send: one permit for each of its messages that was shown to a
    /// certain listener.
    pub fn window(&self, sender: u32) -> Option<&Semaphore> {
        self.windows.get(sender as usize)
    }

    fn is_frozen_one(&self, client: u32) -> bool {
        client >= self.plan.clients - self.plan.frozen
    }

    fn sender_of(&self, id: u32) -> u32 {
        id % self.plan.senders.max(1)
    }

    /// A client has seen a message for the first time.
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

/// What russh tells of one client.
struct Handler {
    /// None is a visitor's: what they see is not looked at.
    number: Option<u32>,
    board: Arc<Board>,
    seen: Arc<Mutex<Seen>>,
    frozen: watch::Receiver<bool>,
}

impl client::Handler for Handler {
    type Error = russh::Error;

    /// Nothing is said here that is worth an eavesdropper's while.
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
            // russh reads on only when this returns.
            let _thawed = self.frozen.wait_for(|frozen| !frozen).await;
        }
        let now = self.board.now();
        let mut seen = lock(&self.seen);
        let mut scanner = std::mem::take(&mut seen.scanner);
        scanner.feed(data, |id| {
            // A sender's own messages may be echoed before they are said.
            if self.board.sender_of(id) == number {
                return;
            }
            // Eight digits that nobody sent are part of something else.
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
    /// The connection ends when this is dropped.
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
        ensure!(login.await?.success(), "the server does not let {name} in");
        let channel = connection.channel_open_session().await?;
        channel
            .request_pty(false, "xterm-256color", 80, 24, 0, 0, &[])
            .await?;
        channel.request_shell(false).await?;
        // What arrives is seen by the handler, without the way through the channel.
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
    /// If the connection is lost.
    pub async fn say(&self, id: u32, board: &Board) -> Result<()> {
        let sent_at = board
            .sent_at
            .get(id as usize)
            .context("too many messages")?;
        // Zero is "not sent".
        sent_at.store(board.now().max(1), Ordering::Relaxed);
        board.sent.fetch_add(1, Ordering::Relaxed);
        let sent = self.write.data_bytes(message(id, board.plan.bytes)).await;
        sent.with_context(|| format!("the connection of {} is lost", self.name))
    }
}

/// All clients.
pub struct Crowd {
    /// What happens to them.
    pub board: Arc<Board>,
    addr: SocketAddr,
    clients: Vec<Arc<Client>>,
}

impl Crowd {
    /// Connects them all, a few at a time, calling `progress` with how many are in.
    ///
    /// # Errors
    /// If one of them can't get in, or takes more than a minute.
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
            let joined = joined.context("a login takes too long")?;
            joined_as.push((
                number,
                joined.with_context(|| format!("client {number} can't join {addr}"))?,
            ));
            progress(joined_as.len());
        }
        joined_as.sort_by_key(|(number, _)| *number);
        let clients = joined_as.into_iter();
        crowd.clients = clients.map(|(_, client)| Arc::new(client)).collect();
        Ok(crowd)
    }

    /// Somebody new comes, stays for a time and goes; they are no part of the crowd.
    ///
    /// # Errors
    /// If they can't get in.
    pub fn visit(&self, number: u32, stay: Duration) -> impl Future<Output = Result<()>> + use<> {
        let (addr, board) = (self.addr, Arc::clone(&self.board));
        async move {
            let name = format!("{}-visitor-{number}", board.plan.name);
            let visitor = timeout(LOGIN, Client::join(addr, name, None, board));
            let visitor = visitor.await.context("a login takes too long")??;
            tokio::time::sleep(stay).await;
            visitor.write.close().await?;
            Ok(())
        }
    }

    /// The readers of each message: all but its sender and those who are frozen.
    pub fn readers(&self) -> u64 {
        let plan = &self.board.plan;
        u64::from(plan.listeners() + plan.senders.saturating_sub(1))
    }

    /// Those who send, in the order of their numbers.
    pub fn senders(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.iter().take(self.board.plan.senders as usize)
    }

    /// From now on those who are to be frozen read nothing.
    pub fn freeze(&self) {
        self.board.frozen.send_replace(true);
    }

    /// Lets the frozen ones read again, and tells how many of them the server has cut meanwhile.
    pub async fn thaw(&self) -> usize {
        self.board.frozen.send_replace(false);
        tokio::time::sleep(QUIET).await;
        let frozen = self.clients.iter().rev();
        let frozen = frozen.take(self.board.plan.frozen as usize);
        frozen
            .filter(|client| client.connection.is_closed())
            .count()
    }

    /// Waits until nobody has been sent anything for some time.
    ///
    /// # Errors
    /// If that takes more than a minute.
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

    /// What those who are not frozen have seen since counting began.
    pub fn seen(&self) -> AllSeen {
        let plan = &self.board.plan;
        let readers = self.clients.iter();
        let readers = readers.take((plan.clients - plan.frozen) as usize);
        let mut seen: Vec<_> = readers.map(|client| lock(&client.seen)).collect();
        AllSeen::of(seen.iter_mut().map(|seen| &mut **seen), plan.senders)
    }
}
