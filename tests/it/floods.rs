//! One client's effect on the others.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, sink};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::harness::{DEADLINE, Login, Screen, Server};

/// Connections from 127.0.0.1 that send nothing.
fn silent(server: &Server, count: usize) -> Vec<TcpStream> {
    let address = ("127.0.0.1", server.port());
    let connect = |_| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

/// Waits until the server closes a connection. Returns what it sent.
fn last_words(mut stream: &TcpStream) -> String {
    let mut words = Vec::new();
    // A reset counts as closed, a timeout doesn't.
    if let Err(error) = stream.read_to_end(&mut words) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    String::from_utf8_lossy(&words).into_owned()
}

/// How often each connection of an attack reconnects.
const PAUSE: Duration = Duration::from_millis(20);

/// An attack from many addresses, which ends when this is dropped.
struct Attack {
    runtime: Option<Runtime>,
    connections: Arc<AtomicUsize>,
}

impl Attack {
    /// `each` connections from each of `sources` addresses. Half of them send nothing, the others a
    /// version line and then an occasional byte.
    fn from(sources: u16, each: u16, server: SocketAddr) -> Attack {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        for source in 0..sources {
            for nth in 0..each {
                let [high, low] = source.to_be_bytes();
                let from = Ipv4Addr::new(127, 1, high, low);
                let connections = Arc::clone(&connections);
                runtime.spawn(async move {
                    loop {
                        let _cut = attack(from, server, nth % 2 == 0, &connections).await;
                        tokio::time::sleep(PAUSE).await;
                    }
                });
            }
        }
        Attack {
            runtime: Some(runtime),
            connections,
        }
    }

    /// Waits until this many more connections have been opened.
    fn wait(&self, more: usize) {
        let until = self.connections.load(Ordering::Relaxed) + more;
        let start = std::time::Instant::now();
        while self.connections.load(Ordering::Relaxed) < until {
            assert!(start.elapsed() < DEADLINE, "the attack makes no progress");
            std::thread::yield_now();
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn attack(
    from: Ipv4Addr,
    server: SocketAddr,
    is_silent: bool,
    connections: &AtomicUsize,
) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(server).await?;
    connections.fetch_add(1, Ordering::Relaxed);
    let (mut read, mut write) = stream.into_split();
    let drip = async {
        if !is_silent {
            write.write_all(b"SSH-2.0-drip\r\n").await?;
            loop {
                write.write_all(&[0]).await?;
                tokio::time::sleep(PAUSE * 10).await;
            }
        }
        std::future::pending().await
    };
    let mut nothing = sink();
    tokio::select! {
        ended = tokio::io::copy(&mut read, &mut nothing) => ended.map(|_| ()),
        ended = drip => ended,
    }
}

/// More connections than there are places, which reconnect whenever they're closed.
#[test]
fn a_flood_from_many_addresses_blocks_no_user() {
    let server = Server::with(&["limits.unauthenticated=64"]);
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let attack = Attack::from(100, 4, address);
    attack.wait(800);
    for nth in 0..10 {
        // Each from an address that hasn't logged in before.
        let bind = format!("BindAddress=127.0.1.{}", nth + 1);
        let login = Login::new(&server, &format!("good{nth}")).option(&bind);
        let login = login.option("RemoteCommand=who").try_pipe().wait_end();
        assert!(login.status.success(), "{nth}: {login:?}");
    }
    attack.wait(100);
    let log = server.log().text();
    assert!(log.contains("connections_evicted"), "{log}");
    let lines = log.matches("connections_evicted").count();
    assert!(lines < 5, "{lines} lines about the same thing");
    let source = log
        .lines()
        .find(|line| line.contains("connections_evicted"));
    assert!(source.unwrap().contains("source=127.1."), "{source:?}");
}

#[test]
fn silent_connections_from_an_address_give_way_to_users() {
    let server = Server::with(&[
        "limits.connections_per_address=1000",
        "limits.unauthenticated=128",
        "limits.login_grace=2s",
    ]);
    let alice = Login::new(&server, "alice").terminal();
    let streams = silent(&server, 200);
    let mut bob = Login::new(&server, "bob").pipe();
    bob.line("room enough");
    alice.wait_text("bob room enough");
    // The others are closed at the login deadline.
    for stream in &streams {
        last_words(stream);
    }
    alice.line("talking all the same");
    bob.wait_text("alice: talking all the same");
}

#[test]
fn one_address_has_a_limit_and_is_told_so() {
    let server = Server::with(&[
        "limits.connections_per_address=10",
        "limits.login_grace=10m",
    ]);
    let streams = silent(&server, 30);
    // New connections evict the oldest.
    let (cut, open) = streams.split_at(20);
    for stream in cut {
        last_words(stream);
    }
    for mut stream in open {
        stream.set_nonblocking(true).unwrap();
        let mut words = Vec::new();
        let waiting = stream.read_to_end(&mut words).map_err(|e| e.kind());
        assert_eq!(waiting, Err(std::io::ErrorKind::WouldBlock));
    }
    // Logged-in users keep their places.
    drop(streams);
    let crowd: Vec<_> = (0..10)
        .map(|_| Login::new(&server, "alice").pipe())
        .collect();
    let refused = Login::new(&server, "bob").try_pipe().wait_end();
    assert_eq!(refused.status.code(), Some(255), "{refused:?}");
    let why = "Too many connections from your address. Close one and try again.";
    assert!(refused.stderr.contains(why), "{refused:?}");
    drop(crowd);
}

#[test]
fn connections_are_rate_limited_per_address() {
    let server = Server::with(&["limits.connections_per_address=1"]);
    let streams = silent(&server, 200);
    let words = last_words(streams.last().unwrap());
    // A place is free again after two seconds, some of which may have passed.
    let why =
        |seconds| format!("Too many new connections from your address. Try again in {seconds} s.");
    assert!(
        [1, 2].map(why).iter().any(|why| words.contains(why)),
        "{words}"
    );
}

#[test]
fn a_client_that_rekeys_constantly_is_disconnected() {
    let server = Server::start();
    let mut alice = Login::new(&server, "alice")
        .option("RekeyLimit=16")
        .terminal();
    // Wherever it's wrapped.
    let told = |screen: &Screen| {
        let all = screen.visible().concat();
        all.split_whitespace()
            .collect::<String>()
            .contains("Toomanykeyexchanges.")
    };
    // Each key in a packet of its own, after a key exchange of its own.
    for nth in 1..=100 {
        alice.type_text("#");
        alice.wait_for("an echo, or the end", |screen| {
            screen.prompt().matches('#').count() >= nth || told(screen)
        });
        if told(&alice.screen()) {
            break;
        }
    }
    assert!(!alice.wait_end().success());
    assert!(told(&alice.screen()));
    server.wait_log("reason=rekeys");
    // A client with a normal RekeyLimit isn't affected.
    let bob = Login::new(&server, "bob")
        .option("RekeyLimit=1M 1h")
        .terminal();
    bob.line("fine");
    bob.wait_text("bob fine");
}

#[test]
fn commands_are_rate_limited() {
    let server = Server::with(&["limits.command_burst=3", "limits.command_rate=1/min"]);
    let alice = Login::new(&server, "alice").terminal();
    for _ in 0..3 {
        alice.line("/version");
    }
    alice.wait_text("ssh-chat 0.1");
    alice.line("/uptime");
    alice.wait_text("Error: Too fast: wait");
    // Nothing is lost: the typed line is back in the prompt.
    alice.wait_typed("lobby ▸ /uptime");
}

/// A limit per session would limit nothing: a client can open any number of sessions.
#[test]
fn all_sessions_of_an_account_share_its_commands() {
    let server = Server::with(&["limits.command_burst=3", "limits.command_rate=1/h"]);
    let alice = Login::new(&server, "alice").terminal();
    alice.line("/version");
    alice.wait_text("ssh-chat 0.1");
    for expected in [0, 0, 75] {
        let who = Login::new(&server, "alice").option("RemoteCommand=who");
        let who = who.try_pipe().finish();
        assert_eq!(who.status.code(), Some(expected), "{who:?}");
        let told = who.stderr.contains("Too fast: wait");
        assert_eq!(told, expected == 75, "{who:?}");
    }
    alice.line("/uptime");
    alice.wait_text("Error: Too fast: wait");
}

#[test]
fn new_accounts_are_rate_limited_per_address() {
    let server = Server::with(&[
        "limits.connections_per_address=2",
        "limits.new_accounts_per_address=1/h",
    ]);
    let who = |login: Login| {
        let who = login.option("RemoteCommand=whoami").try_pipe().finish();
        (who.status.code(), who.stderr)
    };
    // (user, whether a guest, expected error)
    for (name, guest, told) in [
        ("alice", false, ""),
        ("bob", false, ""),
        ("carol", false, "Too many new accounts from your address"),
        // Her account already exists.
        ("alice", false, ""),
        ("guest", true, ""),
        ("guest", true, ""),
        ("guest", true, "Too many guests from your address"),
    ] {
        let login = if guest {
            Login::guest(&server, name)
        } else {
            Login::new(&server, name)
        };
        let (status, stderr) = who(login);
        let expected = if told.is_empty() { 0 } else { 75 };
        assert_eq!(status, Some(expected), "{name}: {stderr}");
        assert!(stderr.contains(told), "{name}: {stderr}");
        assert_eq!(
            stderr.contains("Try again in"),
            !told.is_empty(),
            "{stderr}"
        );
    }
}

/// The output of `yes | ssh -T`.
#[test]
fn a_flood_of_lines_waits() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").try_pipe();
    bob.write(&b"y\n".repeat(5_000));
    alice.wait_text("bob y");
    alice.line("that will take a while");
    alice.wait_text("alice that will take a while");
    let said = alice.screen().said().matches("bob y").count();
    assert!((1..20).contains(&said), "{said} got through");
    assert!(!bob.text().contains("Error"), "{}", bob.text());
}

/// A key held down at a terminal, or a paste without brackets.
#[test]
fn a_flood_of_keys_does_no_harm() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").terminal();
    bob.type_text(&"y\r".repeat(5_000));
    alice.wait_text("bob y");
    alice.line("let me finish");
    alice.wait_text("alice let me finish");
    // Refused lines come back; they can be discarded, and the next line works normally.
    bob.wait_text("more lines were not sent");
    bob.ctrl('c');
    bob.wait_typed("lobby ▸");
    bob.type_text("sorry");
    bob.wait_typed("lobby ▸ sorry");
}
