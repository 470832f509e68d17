//! Limits, deadlines, and the end.

use std::io;
use std::sync::atomic::AtomicUsize;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::*;

/// Returns what the server sends to a silent client until it hangs up.
pub(super) async fn listen_only(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset is an end too.
    let _ = soon("the end of a connection", stream.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

// Where a deadline is to pass, the clock is stopped once everything is as it should be: then it
// jumps to the next deadline whenever there is nothing else to do.

#[tokio::test]
async fn slow_logins_are_disconnected() {
    let running = start(Settings::default()).await;
    let mut silent = TcpStream::connect(running.addr).await.unwrap();
    // A client that stops after the key exchange is disconnected, too.
    let client = running.client().await;
    running.open(2).await;
    tokio::time::pause();
    let heard = listen_only(&mut silent).await;
    assert!(heard.starts_with("SSH-2.0-sshchat_"), "{heard}");
    running.open(0).await;
    soon("a cut", async {
        while !client.is_closed() {
            a_moment().await;
        }
    })
    .await;
    // Nobody tried anything: nothing to hold against them.
    assert_eq!(running.server.counters().auth_failed.get(), 0);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    tokio::time::pause();
    assert_eq!(answer(channel).await, Answer::default());
    running.open(0).await;
}

#[tokio::test]
async fn connections_with_a_session_stay_open() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    let mut channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.request_shell(true).await.unwrap();
    soon("a shell", async {
        while !matches!(channel.wait().await, Some(ChannelMsg::Success)) {}
    })
    .await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    channel.data_bytes("still here").await.unwrap();
    soon("an echo", async {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Data { data }) => break assert_eq!(data, "still here"),
                None | Some(ChannelMsg::Close) => panic!("closed"),
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn silent_connections_are_evicted_with_a_reason() {
    let running = start(Settings {
        max_unauthenticated: 4,
        ..Settings::default()
    })
    .await;
    let mut first = TcpStream::connect(running.addr).await.unwrap();
    running.open(1).await;
    let _second = TcpStream::connect(running.addr).await.unwrap();
    running.open(2).await;
    let third = TcpStream::connect(running.addr).await.unwrap();
    let heard = listen_only(&mut first).await;
    assert!(heard.starts_with("SSH-2.0-sshchat_"), "{heard}");
    assert!(
        heard.contains("Too many clients are logging in."),
        "{heard}"
    );
    running.open(2).await;
    drop(third);
    running.open(1).await;
    // Who has logged in takes no room from the others.
    let _in = running.guest().await;
    let _in_too = running.guest().await;
    running.open(3).await;
    let counters = running.server.counters();
    assert_eq!((counters.evicted.get(), counters.auth_ok.get()), (1, 2));
}

#[tokio::test]
async fn connections_per_address_are_limited() {
    let running = start(Settings {
        max_per_address: 1,
        ..Settings::default()
    })
    .await;
    let _in = running.guest().await;
    let mut second = TcpStream::connect(running.addr).await.unwrap();
    let heard = listen_only(&mut second).await;
    assert!(
        heard.contains("Too many connections from your address."),
        "{heard}"
    );
    assert_eq!(running.server.counters().refused_per_address.get(), 1);
}

#[tokio::test]
async fn trusted_networks_have_no_limit() {
    let running = start(Settings {
        max_per_address: 1,
        trusted: TrustedNetworks::new(vec!["127.0.0.0/8".parse().unwrap()]),
        ..Settings::default()
    })
    .await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(running.guest().await);
    }
    running.open(3).await;
}

#[tokio::test]
async fn excessive_rekeying_is_disconnected() {
    use russh::{cipher, kex};
    let running = start(Settings::default()).await;
    // What is sent for a key exchange is of another size with each.
    let hybrid = [kex::MLKEM768X25519_SHA256];
    let classic = [kex::CURVE25519];
    for (kex, cipher) in [
        (classic, cipher::CHACHA20_POLY1305),
        (hybrid, cipher::CHACHA20_POLY1305),
        (hybrid, cipher::AES_256_GCM),
        (classic, cipher::AES_128_CTR),
    ] {
        let config = client::Config {
            // Asks for new keys whenever it has sent something.
            limits: russh::Limits::new(1, 1 << 30, Duration::from_secs(3600)),
            preferred: russh::Preferred {
                kex: kex.to_vec().into(),
                cipher: vec![cipher].into(),
                ..russh::Preferred::default()
            },
            ..client::Config::default()
        };
        let mut client = running.client_with(config).await;
        assert_eq!(start_dialog(&mut client).await, DialogReply::LoggedIn);
        let channel = soon("a channel", client.channel_open_session())
            .await
            .unwrap();
        channel.request_shell(true).await.unwrap();
        soon("the end", async {
            while !client.is_closed() {
                let _closed = channel.data_bytes("x").await;
                a_moment().await;
            }
        })
        .await;
        running.open(0).await;
    }
    assert_eq!(running.server.counters().auth_ok.get(), 4);
}

/// A client that logs in and then never reads again.
struct Stuck;

impl client::Handler for Stuck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn data(
        &mut self,
        _: russh::ChannelId,
        _: &[u8],
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn clients_that_read_nothing_are_disconnected() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let settings = Settings {
        write_stall: Duration::from_millis(200),
        ..Settings::default()
    };
    let running = start_on(settings, socket.listen(8).unwrap(), addr);

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = soon("a connection", socket.connect(addr)).await.unwrap();
    // Its window never closes: it is the TCP connection that takes nothing.
    let config = Arc::new(client::Config {
        window_size: 1 << 30,
        ..client::Config::default()
    });
    let mut client = soon("ssh", client::connect_stream(config, stream, Stuck))
        .await
        .unwrap();
    let login = client.authenticate_keyboard_interactive_start("ann", None);
    soon("a login", login).await.unwrap();
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.exec(true, "flood").await.unwrap();
    running.open(1).await;
    running.open(0).await;
    assert_eq!(*running.sessions.ended.borrow(), 1, "the session knows");
}

#[tokio::test]
async fn a_session_that_waits_for_a_window_notices_the_end() {
    let running = start(Settings {
        drain: Duration::from_millis(50),
        ..Settings::default()
    })
    .await;
    let config = client::Config {
        window_size: 64 * 1024,
        maximum_packet_size: 32 * 1024,
        ..client::Config::default()
    };
    let connecting = client::connect(Arc::new(config), running.addr, Stuck);
    let mut client = soon("ssh", connecting).await.unwrap();
    let login = client.authenticate_keyboard_interactive_start("ann", None);
    soon("a login", login).await.unwrap();
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.exec(true, "flood").await.unwrap();
    // Two writes fill the window, the third waits for it.
    let mut floods = running.sessions.floods.subscribe();
    soon("a full window", floods.wait_for(|n| *n == 2))
        .await
        .unwrap();
    running.stop.send(()).unwrap();
    let drained = soon("the end", running.drained).await.unwrap();
    assert_eq!(drained, Drained { ended: 0, cut: 1 });
    assert_eq!(*running.sessions.ended.borrow(), 1, "the session knows");
    assert_eq!(*floods.borrow(), 2);
}

#[tokio::test]
async fn sessions_may_finish_while_draining() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.request_shell(true).await.unwrap();
    let mut silent = TcpStream::connect(running.addr).await.unwrap();
    running.open(2).await;
    running.stop.send(()).unwrap();
    listen_only(&mut silent).await;
    running.sessions.end.send_replace(true);
    assert_eq!(answer(channel).await.status, Some(7));
    // What OpenSSH does once its session has ended.
    let bye = client.disconnect(russh::Disconnect::ByApplication, "", "");
    bye.await.unwrap();
    let drained = soon("the end", running.drained).await.unwrap();
    assert_eq!(drained, Drained { ended: 2, cut: 0 });
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn unfinished_sessions_are_closed_after_draining() {
    let running = start(Settings {
        drain: Duration::from_millis(50),
        ..Settings::default()
    })
    .await;
    let client = running.guest().await;
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.request_shell(true).await.unwrap();
    running.stop.send(()).unwrap();
    let drained = soon("the end", running.drained).await.unwrap();
    assert_eq!(drained, Drained { ended: 0, cut: 1 });
    assert_eq!(answer(channel).await.status, None);
}

#[tokio::test]
async fn a_hung_session_does_not_block_shutdown() {
    let running = start(Settings::default()).await;
    let client = running.guest().await;
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.exec(true, "hang").await.unwrap();
    // More than russh buffers for a session that reads nothing: now russh hangs too.
    for _ in 0..64 {
        channel.data_bytes("x").await.unwrap();
    }
    running.stop.send(()).unwrap();
    tokio::time::pause();
    let drained = soon("the end", running.drained).await.unwrap();
    assert_eq!(drained, Drained { ended: 0, cut: 1 });
    assert_eq!(*running.sessions.ended.borrow(), 0, "it was dropped");
}

/// A listener of a system that has run out of descriptors for a while.
struct Exhausted {
    listener: TcpListener,
    errors_left: AtomicUsize,
}

impl Accept for Exhausted {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        use std::sync::atomic::Ordering::Relaxed;
        let left = self.errors_left.load(Relaxed);
        if left > 0 {
            self.errors_left.store(left - 1, Relaxed);
            let (emfile, econnaborted) = (24, 103);
            let code = if left.is_multiple_of(2) {
                emfile
            } else {
                econnaborted
            };
            return Err(io::Error::from_raw_os_error(code));
        }
        Accept::accept(&self.listener).await
    }
}

#[tokio::test]
async fn accept_errors_are_survived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let exhausted = Exhausted {
        listener,
        errors_left: AtomicUsize::new(4),
    };
    let running = start_on(Settings::default(), exhausted, addr);
    let answer = exec(&running.guest().await, "whoami").await;
    assert_eq!(answer.status, Some(0));
    assert_eq!(running.server.counters().accept_errors.get(), 4);
}
