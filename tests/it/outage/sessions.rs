//! What users see during a store outage: the whole server runs inside the test, so that its store
//! can be made to fail, with OpenSSH outside.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use ssh_chat::access::{AccessControl, Mode, Rules};
use ssh_chat::chat::access::{Actor, Role};
use ssh_chat::chat::ids::{Name, Time};
use ssh_chat::hub::{self, Hub};
use ssh_chat::session::machine;
use ssh_chat::session::service::SessionService;
use ssh_chat::session::usage::UsageLimits;
use ssh_chat::ssh;
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{Change, ChangeAction, PeopleStore as _, Store as _};

use crate::harness::flaky::{Flaky, StoreMode};
use crate::harness::{Finished, Home, Login, Terminal};

/// Interval between checks of the store for changes.
const EVERY: Duration = Duration::from_millis(20);

/// A server whose store fails on demand.
struct HealthSource {
    home: Arc<Home>,
    port: u16,
    store: Arc<Flaky>,
    runtime: Option<Runtime>,
}

impl HealthSource {
    fn start() -> HealthSource {
        let home = Home::new();
        let runtime = Runtime::new().unwrap();
        let (port, store) = runtime.block_on(serve(&home));
        HealthSource {
            home,
            port,
            store,
            runtime: Some(runtime),
        }
    }

    fn login(&self, who: &str) -> Login {
        Login::at(&self.home, self.port, who)
    }

    fn exec(&self, who: &str, command: &str) -> Finished {
        let option = format!("RemoteCommand={command}");
        self.login(who).option(&option).try_pipe().finish()
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Makes a user an operator.
    fn promote(&self, who: &str) {
        let name = Name::new(who).unwrap();
        self.runtime().block_on(async {
            let account = self.store.account_by_name(&name).await.unwrap().unwrap();
            let role = ChangeAction::SetRole {
                account: account.id,
                name,
                role: Role::Operator,
            };
            let change = Change {
                at: Time(0),
                actor: Actor::Console,
                action: role,
            };
            self.store.apply(&change).await.unwrap();
        });
    }

    /// A user's first login creates the account, the second looks it up.
    fn register(&self, who: &str) {
        for _ in 0..2 {
            let visit = self.exec(who, "whoami");
            assert!(visit.stdout.starts_with(who), "{visit:?}");
        }
    }
}

impl Drop for HealthSource {
    fn drop(&mut self) {
        // A hanging call isn't waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(home: &Home) -> (u16, Arc<Flaky>) {
    let database = Sqlite::open(&home.path().join("chat.db")).unwrap();
    let store = Arc::new(Flaky::new(Arc::new(database)));
    let limits = hub::Limits {
        rooms: 10,
        ..hub::Limits::default()
    };
    let (task, hub) = Hub::load(store.clone(), limits).await.unwrap();
    tokio::spawn(task.run());
    let rules = Rules {
        mode: Mode::Open,
        operator_keys: Vec::new(),
        approval: false,
        web_url: None,
        invite_life: 86_400_000,
        add_keys: ssh_chat::chat::access::Role::Member,
        trusted: ssh_chat::rate_limit::TrustedNetworks::default(),
        outage_logins: Duration::from_secs(3600),
    };
    let guard = AccessControl::new(store.clone(), hub.clone(), rules)
        .await
        .unwrap();
    let guard = Arc::new(guard);
    tokio::spawn(guard.clone().watch(EVERY));
    let about = machine::ServerInfo {
        host: "chat.example.com".to_owned(),
        version: "0.1.0",
        started: ssh_chat::clock::both(),
        motd: None,
        on_join: 20,
    };
    let stall = Duration::from_secs(30);
    let chat = SessionService::new(
        hub,
        store.clone(),
        guard.clone(),
        about,
        UsageLimits::default(),
        stall,
    );
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let settings = ssh::Settings::default();
    let server = ssh::Server::new(settings, vec![key], Arc::new(chat), guard).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    (port, store)
}

/// A message is refused, and not shown to anyone; then sending works again.
fn resend(from: &Terminal, to: &Terminal, words: &str) {
    from.wait_for("the text back in the prompt", |screen| {
        screen.prompt().ends_with(words)
    });
    from.enter();
    to.wait_text(words);
}

#[test]
fn an_outage_is_survived() {
    let server = HealthSource::start();
    server.register("bob");
    server.register("dora");
    let alice = server.login("alice").terminal();
    alice.line("before");
    alice.wait_text("alice before");

    server.store.set(StoreMode::Down);
    alice.line("meanwhile");
    alice.wait_text("the database is not responding");

    // bob is known: everything that needs no store works, and the rest tells why not.
    let bob = server.login("bob").terminal();
    bob.wait_text("you are bob");
    bob.wait_text("Couldn't read the history");
    alice.wait_text("bob joined");
    bob.line("/who");
    bob.wait_text("2 people in lobby");
    bob.line("/quiet");
    bob.wait_text("Applied for this session only; couldn't be saved");
    bob.line("/history");
    bob.wait_text("Couldn't read the history");
    bob.line("/join ops");
    bob.wait_text("the database is not responding");
    bob.line("hello");
    bob.wait_for("the words back", |s| s.prompt().ends_with("▸ hello"));
    let who = server.exec("dora", "who");
    assert!(
        who.status.success() && who.stdout.contains("bob"),
        "{who:?}"
    );
    let history = server.exec("dora", "history lobby");
    assert_eq!(history.status.code(), Some(75), "{history:?}");
    let said = server.exec("dora", "send lobby psst");
    assert_eq!(said.status.code(), Some(75), "{said:?}");

    let tail = server
        .login("dora")
        .option("RemoteCommand=tail lobby --last 9");
    let tail = tail.try_pipe();
    alice.wait_text("dora joined");

    // An unknown user is told why they're refused; a user without a key is a guest, as always.
    let carol = server.login("carol").option("LogLevel=INFO").try_pipe();
    let carol = carol.finish();
    assert!(!carol.status.success(), "{carol:?}");
    assert!(carol.stderr.contains("can't look up your key"), "{carol:?}");
    let guest = server.login("guest").option("PubkeyAuthentication=no");
    let mut guest = guest.terminal();
    guest.wait_text("you are guest-");
    guest.line("/quit");
    guest.wait_end();

    server.store.set(StoreMode::Working);
    resend(&alice, &bob, "meanwhile");
    resend(&bob, &alice, "hello");
    tail.wait_text("bob: hello");
    let told = tail.stderr();
    assert!(told.contains("Earlier messages can't be shown"), "{told}");
    bob.line("/history");
    bob.wait_text("alice before");
    assert!(!alice.screen().says("psst"), "it was refused");
    bob.line("/quiet");
    bob.line("/join ops");
    bob.wait_typed("ops ▸");
    server.register("carol");
}

/// Messages that weren't shown aren't marked as read.
#[test]
fn unseen_history_is_new_the_next_time() {
    let server = HealthSource::start();
    let alice = server.login("alice").terminal();
    let mut bob = server.login("bob").terminal();
    alice.line("one");
    bob.wait_text("alice one");
    bob.line("/quit");
    bob.wait_end();
    alice.line("two");
    alice.wait_text("alice two");

    server.store.set(StoreMode::Down);
    let mut bob = server.login("bob").terminal();
    bob.wait_text("Couldn't read the history");
    server.store.set(StoreMode::Working);
    alice.line("three");
    bob.wait_text("alice three");
    assert!(!bob.screen().says("alice two"));
    bob.line("/quit");
    bob.wait_end();
    let bob = server.login("bob").terminal();
    bob.wait_text("2 new since");
    bob.wait_text("alice two");
}

/// A store that never responds delays only users who need something from it.
#[test]
fn a_hanging_store_delays_no_one() {
    let server = HealthSource::start();
    server.register("bob");
    let alice = server.login("alice").terminal();
    alice.line("something to read");
    alice.wait_text("alice something to read");

    server.store.set(StoreMode::Hanging);
    alice.line("meanwhile");
    alice.line("/who");
    alice.wait_text("1 person in lobby");
    let mut bob = server.login("bob").terminal();
    alice.line("/who");
    alice.wait_text("2 people in lobby");
    bob.line("/who");
    bob.wait_text("2 people in lobby");
    bob.wait_text("Couldn't read the history");
    bob.line("/history");
    bob.line("/quit");
    bob.wait_end();
    alice.line("/who");
    alice.wait_for("bob to leave", |screen| {
        screen.said().matches("1 person in lobby").count() == 2
    });

    server.store.set(StoreMode::Working);
    let bob = server.login("bob").terminal();
    resend(&alice, &bob, "meanwhile");
}

/// A regression: a command in progress was dropped when its connection was lost, and so were the
/// commands queued behind it.
#[test]
fn commands_complete_after_the_connection_is_lost() {
    let server = HealthSource::start();
    server.register("bob");
    server.register("zoe");
    server.register("olga");
    server.promote("olga");
    let alice = server.login("alice").terminal();
    let _bob = server.login("bob").terminal();
    let mut olga = server.login("olga").terminal();
    alice.wait_text("olga joined");

    server.store.set(StoreMode::Holding("role"));
    olga.line("/op zoe");
    server.runtime().block_on(server.store.holds());
    olga.type_text("/rename bob robert");
    olga.wait_for("the line", |screen| screen.prompt().ends_with("robert"));
    olga.enter();
    olga.wait_for("the line accepted", |screen| screen.prompt().ends_with('▸'));
    olga.kill9();
    alice.wait_text("olga left");
    server.store.set(StoreMode::Working);
    alice.wait_text("robert");
    let audits = server.runtime().block_on(server.store.audits(2)).unwrap();
    let done: Vec<&str> = audits.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(done, ["rename", "role"], "the newest first");
}
