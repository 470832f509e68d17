//! The server with a real client, over loopback.

mod channels;
mod connections;
mod invites;
mod login;
mod scripted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, MethodKind};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use scripted::Scripted;

use crate::access::authenticator::{AuthDecision, ProvenKey};
use crate::session::peer::{DisconnectReason, Inbound, Input, Outbound, Peer};

/// Far longer than anything here takes, by a stopped clock too: a test that waits for it has
/// failed.
const DEADLINE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long: {what}"))
}

/// Between two looks at a condition. A yield would keep a stopped clock from moving.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Sessions that obey commands of the client.
struct ScriptedSessions {
    /// Tells shells to end.
    end: watch::Sender<bool>,
    /// How many sessions ended.
    ended: watch::Sender<usize>,
    /// How many writes of 32 KiB were taken.
    floods: watch::Sender<usize>,
}

impl Sessions for ScriptedSessions {
    async fn run<I, O>(self: Arc<Self>, peer: Arc<Peer>, input: I, output: O)
    where
        I: Inbound + 'static,
        O: Outbound + 'static,
    {
        self.obey(&peer, input, output).await;
        self.ended.send_modify(|n| *n += 1);
    }
}

impl ScriptedSessions {
    fn new() -> Arc<ScriptedSessions> {
        Arc::new(ScriptedSessions {
            end: watch::Sender::new(false),
            ended: watch::Sender::new(0),
            floods: watch::Sender::new(0),
        })
    }

    async fn obey(&self, peer: &Peer, mut input: impl Inbound, output: impl Outbound) {
        let mut seen = Vec::new();
        let mut end = self.end.subscribe();
        loop {
            let next = tokio::select! {
                next = input.next() => Some(next),
                _ = end.wait_for(|end| *end) => None,
            };
            let Some(next) = next else {
                return output.finish(7).await;
            };
            match next {
                None => return,
                Some(Input::Eof) => return output.finish(0).await,
                Some(Input::Data(data)) => {
                    if output.write(data).await.is_err() {
                        return;
                    }
                }
                Some(Input::Exec(command)) => match command.as_slice() {
                    b"whoami" => {
                        let key = peer.key.as_ref().map_or_else(|| "guest".to_owned(), shown);
                        let line = format!("{} {key} {}", peer.user, peer.client);
                        let _ = output.write(line.into()).await;
                        return output.finish(0).await;
                    }
                    b"seen" => {
                        let _ = output.write(format!("{seen:?}").into()).await;
                        return output.finish(0).await;
                    }
                    b"big" => {
                        let _ = output.write(vec![b'x'; 8 * 1024].into()).await;
                        let _ = output.write_stderr("no".into()).await;
                        return output.finish(3).await;
                    }
                    b"flood" => {
                        let flood = Bytes::from(vec![b'x'; 32 * 1024]);
                        while output.write(flood.clone()).await.is_ok() {
                            self.floods.send_modify(|n| *n += 1);
                        }
                        return;
                    }
                    b"cut" => return output.disconnect(DisconnectReason::Dismissed),
                    b"return" => return,
                    b"hang" => std::future::pending().await,
                    _ => {}
                },
                Some(other) => seen.push(other),
            }
        }
    }
}

/// A running server.
struct Running {
    addr: SocketAddr,
    server: Arc<Server<ScriptedSessions, Scripted>>,
    authenticator: Arc<Scripted>,
    sessions: Arc<ScriptedSessions>,
    stop: oneshot::Sender<()>,
    drained: JoinHandle<Drained>,
}

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap())
}

/// A key as sessions and the authenticator see it.
fn shown(key: &ProvenKey) -> String {
    format!("{} {}", key.algorithm, key.fingerprint)
}

async fn start(settings: Settings) -> Running {
    start_with(settings, Scripted::default()).await
}

async fn start_with(settings: Settings, authenticator: Scripted) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    start_at(settings, authenticator, listener, addr)
}

fn start_on(
    settings: Settings,
    listener: impl Accept + 'static + Sync,
    addr: SocketAddr,
) -> Running {
    start_at(settings, Scripted::default(), listener, addr)
}

fn start_at(
    settings: Settings,
    authenticator: Scripted,
    listener: impl Accept + 'static + Sync,
    addr: SocketAddr,
) -> Running {
    let authenticator = Arc::new(authenticator);
    let sessions = ScriptedSessions::new();
    let host_key = PrivateKey::clone(&key());
    let server = Server::new(
        settings,
        vec![host_key],
        Arc::clone(&sessions),
        Arc::clone(&authenticator),
    )
    .unwrap();
    let server = Arc::new(server);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Arc::clone(&server);
    let drained = tokio::spawn(async move {
        serving
            .serve(listener, async {
                let _ = stopped.await;
            })
            .await
    });
    Running {
        addr,
        server,
        authenticator,
        sessions,
        stop,
        drained,
    }
}

impl Running {
    /// Waits for a number of open connections.
    async fn open(&self, connections: u64) {
        self.until("connections", |c| c.open.get() == connections)
            .await;
    }

    async fn until(&self, what: &str, condition: impl Fn(&Counters) -> bool) {
        soon(what, async {
            while !condition(self.server.counters()) {
                a_moment().await;
            }
        })
        .await;
    }

    async fn client(&self) -> Handle<AnyHostKey> {
        self.client_with(client::Config::default()).await
    }

    async fn client_with(&self, config: client::Config) -> Handle<AnyHostKey> {
        let connecting = client::connect(Arc::new(config), self.addr, AnyHostKey);
        soon("a connection", connecting).await.unwrap()
    }

    /// A client that is logged in as a guest.
    async fn guest(&self) -> Handle<AnyHostKey> {
        let mut client = self.client().await;
        assert_eq!(start_dialog(&mut client).await, DialogReply::LoggedIn);
        client
    }
}

/// A client that accepts any host key.
struct AnyHostKey;

impl client::Handler for AnyHostKey {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// The server's reply in the login dialog.
#[derive(Debug, PartialEq, Eq)]
enum DialogReply {
    LoggedIn,
    /// The remaining methods.
    Rejected(Vec<MethodKind>),
    /// A text, and prompts with whether the answer is echoed.
    Prompts(String, Vec<(String, bool)>),
}

impl From<KeyboardInteractiveAuthResponse> for DialogReply {
    fn from(response: KeyboardInteractiveAuthResponse) -> DialogReply {
        match response {
            KeyboardInteractiveAuthResponse::Success => DialogReply::LoggedIn,
            KeyboardInteractiveAuthResponse::Failure {
                remaining_methods, ..
            } => DialogReply::Rejected(remaining_methods.iter().copied().collect()),
            KeyboardInteractiveAuthResponse::InfoRequest {
                instructions,
                prompts,
                ..
            } => {
                let question = |prompt: client::Prompt| (prompt.prompt, prompt.echo);
                DialogReply::Prompts(instructions, prompts.into_iter().map(question).collect())
            }
        }
    }
}

/// The reply of a final rejection.
fn rejected_for_good() -> DialogReply {
    DialogReply::Rejected(vec![MethodKind::PublicKey])
}

/// A text without prompts.
fn shows(text: &str) -> DialogReply {
    DialogReply::Prompts(text.to_owned(), Vec::new())
}

/// A text with one prompt.
fn prompts(text: &str, prompt: &str) -> DialogReply {
    DialogReply::Prompts(text.to_owned(), vec![(prompt.to_owned(), true)])
}

/// Starts keyboard-interactive.
async fn start_dialog(client: &mut Handle<AnyHostKey>) -> DialogReply {
    let dialog = client.authenticate_keyboard_interactive_start("ann", None);
    soon("a reply", dialog).await.unwrap().into()
}

/// Answers the prompts.
async fn respond(client: &mut Handle<AnyHostKey>, answers: &[&str]) -> DialogReply {
    let answers = answers.iter().map(|&answer| answer.to_owned()).collect();
    let dialog = client.authenticate_keyboard_interactive_respond(answers);
    soon("a reply", dialog).await.unwrap().into()
}

fn offer(key: Arc<PrivateKey>) -> PrivateKeyWithHashAlg {
    PrivateKeyWithHashAlg::new(key, Some(russh::keys::HashAlg::Sha512))
}

/// What came back on a channel until it was closed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    out: String,
    err: String,
    status: Option<u32>,
    /// Data packets.
    packets: usize,
    failures: usize,
}

async fn answer(mut channel: Channel<client::Msg>) -> Answer {
    let mut answer = Answer::default();
    soon("the end of a channel", async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    answer.packets += 1;
                    answer.out += std::str::from_utf8(&data).unwrap();
                }
                ChannelMsg::ExtendedData { data, ext: 1 } => {
                    answer.err += std::str::from_utf8(&data).unwrap();
                }
                ChannelMsg::ExitStatus { exit_status } => answer.status = Some(exit_status),
                ChannelMsg::Failure => answer.failures += 1,
                _ => {}
            }
        }
    })
    .await;
    answer
}

async fn exec(client: &Handle<AnyHostKey>, command: &str) -> Answer {
    let channel = soon("a channel", client.channel_open_session())
        .await
        .unwrap();
    channel.exec(true, command).await.unwrap();
    answer(channel).await
}
