//! A server without SSH, and an in-memory client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::access::authenticator::{AuthRequest, AuthTicket, ClaimAnswer, ProvenKey};
use crate::access::orders::{Order, OrderReply, Requester};
use crate::access::{AccessControl, AdminService, Admission, Mode, NotAdmitted, Rules};
use crate::chat::access::{KeyRecord, Role};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Fingerprint, Name, SessionId, Time};
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::hub::{self, Hub, Limits};
use crate::rate_limit::Quota;
use crate::session::exec::{ExecContext, run};
use crate::session::machine::{ServerInfo, SessionUser};
use crate::session::peer::{DisconnectReason, Disconnected, Inbound, Input, Outbound, Peer};
use crate::session::service::SessionService;
use crate::session::usage::{CommandShare, Usage, UsageLimits};
use crate::store::sqlite::Sqlite;
use crate::store::{Account, Change, ChangeAction, ChangeError, PeopleStore as _, Store};
use crate::text::Text;

pub(super) const SOON: Duration = Duration::from_secs(10);

/// A client's input: some at once, some when a test sends it.
pub(super) struct TestInput {
    pub first: VecDeque<Input>,
    pub later: mpsc::UnboundedReceiver<Input>,
}

impl Inbound for TestInput {
    fn poll_next(&mut self, cx: &mut Context<'_>, text: bool) -> Poll<Option<Input>> {
        let is_text = |input: &Input| matches!(input, Input::Data(_) | Input::Eof);
        loop {
            let mut waiting = self.first.iter();
            if let Some(at) = waiting.position(|input| text || !is_text(input)) {
                return Poll::Ready(self.first.remove(at));
            }
            match ready!(self.later.poll_recv(cx)) {
                Some(input) => self.first.push_back(input),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// What a client received.
#[derive(Default)]
pub(super) struct TestClient {
    pub stdout: Mutex<Vec<u8>>,
    pub stderr: Mutex<Vec<u8>>,
    pub changed: tokio::sync::Notify,
    /// The client doesn't read.
    pub stalled: bool,
    /// The connection has ended.
    pub gone: bool,
    pub cut: Mutex<bool>,
}

impl Outbound for TestClient {
    async fn write(&self, bytes: Bytes) -> Result<(), Disconnected> {
        if self.stalled {
            std::future::pending::<()>().await;
        }
        self.stdout.lock().unwrap().extend_from_slice(&bytes);
        self.changed.notify_one();
        Ok(())
    }

    async fn write_stderr(&self, bytes: Bytes) -> Result<(), Disconnected> {
        self.stderr.lock().unwrap().extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(&self, _status: u32) {}

    fn disconnect(&self, _why: DisconnectReason) {
        *self.cut.lock().unwrap() = true;
    }

    async fn closed(&self) {
        if !self.gone {
            std::future::pending::<()>().await;
        }
    }
}

impl TestClient {
    pub fn stdout(&self) -> String {
        String::from_utf8(self.stdout.lock().unwrap().clone()).unwrap()
    }

    pub async fn wait(&self, what: impl Fn(&str) -> bool) {
        let waiting = async {
            while !what(&self.stdout()) {
                self.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(SOON, waiting).await;
        assert!(waited.is_ok(), "{}", self.stdout());
    }
}

/// A command's exit status and output.
#[derive(Debug)]
pub(super) struct ExecResult {
    pub status: u32,
    pub stdout: String,
    pub stderr: String,
}

impl ExecResult {
    /// The JSON objects on standard output.
    pub fn objects(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A server without SSH.
pub(super) struct TestServer {
    hub: hub::Handle,
    store: Arc<Sqlite>,
    access: Arc<dyn AdminService>,
    pub usage: Arc<Usage>,
    _folder: tempfile::TempDir,
}

impl TestServer {
    pub async fn new(messages: Quota) -> TestServer {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("chat.db")).unwrap());
        let port: Arc<dyn Store> = store.clone();
        let limits = Limits {
            rooms: 10,
            messages,
            ..Limits::default()
        };
        let (task, hub) = Hub::load(port.clone(), limits).await.unwrap();
        tokio::spawn(task.run());
        let rules = Rules {
            mode: Mode::Open,
            operator_keys: Vec::new(),
            approval: false,
            add_keys: Role::Member,
            trusted: crate::rate_limit::TrustedNetworks::default(),
            web_url: None,
            invite_life: 86_400_000,
            outage_logins: Duration::from_secs(3600),
        };
        let access = AccessControl::new(port, hub.clone(), rules).await.unwrap();
        let server = TestServer {
            hub,
            store,
            access: Arc::new(access),
            usage: Arc::new(Usage::new(UsageLimits::default())),
            _folder: folder,
        };
        for (id, name, role) in [
            (1, "alice", Role::Member),
            (2, "bob", Role::Member),
            (3, "olga", Role::Operator),
        ] {
            server.register(id, name, role).await;
        }
        server
    }

    pub async fn fast() -> TestServer {
        TestServer::new(Quota::UNLIMITED).await
    }

    async fn register(&self, id: u128, name: &str, role: Role) {
        let account = Account {
            id: AccountId(id),
            name: Name::new(name).unwrap(),
            role,
            created: Time(0),
            preferences: Preferences::default(),
            proof_by: None,
        };
        let key = KeyRecord {
            fingerprint: fingerprint(name),
            algorithm: Text::stored_line("ssh-ed25519"),
            comment: Text::stored("laptop"),
            added: Time(0),
        };
        let (id, name) = (account.id, account.name.clone());
        let create = ChangeAction::CreateAccount { account, key };
        let change = Change::by(id, name, Time(0), create);
        self.store.apply(&change).await.unwrap();
    }

    /// The session service, with another admin service.
    pub fn chat(&self, orders: Arc<dyn AdminService>) -> Arc<SessionService> {
        let store = Arc::clone(&self.store);
        let (limits, stall) = (UsageLimits::default(), Duration::from_secs(30));
        Arc::new(SessionService::new(
            self.hub.clone(),
            store,
            orders,
            server_info(),
            limits,
            stall,
        ))
    }

    /// Runs a command and returns its exit status. Its input stays open.
    pub async fn run(&self, who: &str, command: &str, input: &[Input], client: &TestClient) -> u32 {
        let (_open, later) = mpsc::unbounded_channel();
        let typed = TestInput {
            first: input.iter().cloned().collect(),
            later,
        };
        self.run_with(who, command, typed, client).await
    }

    pub async fn run_with(
        &self,
        who: &str,
        command: &str,
        mut typed: TestInput,
        client: &TestClient,
    ) -> u32 {
        let name = Name::new(who).unwrap();
        let account = self.store.account_by_name(&name).await.unwrap().unwrap();
        let peer = peer(who, None);
        let context = ExecContext {
            hub: &self.hub,
            store: &*self.store,
            orders: &self.access,
            me: SessionUser {
                author: Author {
                    account: account.id,
                    name,
                },
                guest: false,
                role: account.role,
                key: Some(fingerprint(who)),
                remark: None,
            },
            peer: &peer,
            session: SessionId(rand::random()),
            server: Arc::new(server_info()),
            commands: CommandShare::new(Arc::clone(&self.usage), account.id, peer.addr.ip()),
            terminal: false,
            stall: Duration::from_millis(50),
            preferences: account.preferences,
        };
        let running = run(context, command.as_bytes(), &mut typed, client);
        tokio::time::timeout(SOON, running).await.unwrap()
    }

    /// Runs a command with empty input.
    pub async fn exec(&self, who: &str, command: &str) -> ExecResult {
        self.feed(who, command, &[Input::Eof]).await
    }

    pub async fn feed(&self, who: &str, command: &str, input: &[Input]) -> ExecResult {
        let client = TestClient::default();
        let status = self.run(who, command, input, &client).await;
        let result = ExecResult {
            status,
            stdout: client.stdout(),
            stderr: String::from_utf8(client.stderr.lock().unwrap().clone()).unwrap(),
        };
        for text in [&result.stdout, &result.stderr] {
            assert!(
                !text.contains(|c: char| c.is_control() && c != '\n'),
                "{result:?}"
            );
        }
        result
    }

    /// The texts of all messages in a room.
    pub async fn said(&self, room: &str) -> Vec<String> {
        let result = self
            .exec("alice", &format!("history {room} 500 --json"))
            .await;
        let objects = result.objects();
        let texts = objects.iter().filter_map(|object| object["text"].as_str());
        texts.map(str::to_owned).collect()
    }
}

pub(super) fn fingerprint(name: &str) -> Fingerprint {
    Fingerprint::new(&format!("SHA256:{name:0>43}"))
}

pub(super) fn peer(user: &str, key: Option<ProvenKey>) -> Peer {
    Peer {
        span: tracing::Span::none(),
        addr: "192.0.2.1:4000".parse().unwrap(),
        user: Text::stored_line(user),
        key,
        client: Text::stored_line("SSH-2.0-test"),
        ticket: Mutex::default(),
    }
}

fn server_info() -> ServerInfo {
    ServerInfo {
        host: "chat.example.com".to_owned(),
        version: "0.1.0",
        started: clock::both(),
        motd: None,
        on_join: 20,
    }
}

/// An admin service that never responds.
pub(super) struct Silent;

#[async_trait]
impl AdminService for Silent {
    fn changes(&self) -> u64 {
        0
    }

    async fn admit(
        &self,
        _: AuthRequest<'_>,
        _: Option<Box<AuthTicket>>,
    ) -> Result<Admission, NotAdmitted> {
        std::future::pending().await
    }

    async fn create_account(
        &self,
        _: AuthRequest<'_>,
        _: &Account,
        _: &KeyRecord,
    ) -> Result<(), ChangeError> {
        std::future::pending().await
    }

    async fn is_name_free(&self, _: &Name) -> bool {
        std::future::pending().await
    }

    async fn claims(&self, _: AuthRequest<'_>) -> Vec<Name> {
        std::future::pending().await
    }

    async fn answer_claim(&self, _: AuthRequest<'_>, _: &str) -> ClaimAnswer {
        std::future::pending().await
    }

    async fn execute(self: Arc<Self>, _: Requester, _: Order) -> Result<OrderReply, String> {
        std::future::pending().await
    }

    fn role(&self, stored: Role, _: Option<&Fingerprint>) -> Role {
        stored
    }
}
