//! A load generator for chats that are reached over SSH.
//!
//! See `benches/README.md` for what is measured and how to interpret it.

#![allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a measurement are far below 2^52"
)]

mod report;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use ssh_chat_load::crowd::{Board, Crowd, Plan};
use ssh_chat_load::pace::{Pace, one_each, send};
use ssh_chat_load::process::{Process, check_descriptors};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::interval;

use report::{Report, progress};

/// How long a visitor stays.
const VISIT: Duration = Duration::from_secs(1);

/// Open SSH sessions with a chat, each with its own key and a terminal, let some of them send
/// messages, and count what each of them receives.
///
/// Measure only your own servers: this creates as much load as the machine can produce.
#[derive(Debug, Clone, Parser)]
#[command(name = "ssh-chat-load", version)]
struct Options {
    /// Address of the chat, such as 127.0.0.1:2222
    #[arg(value_name = "HOST:PORT")]
    server: String,
    /// Number of SSH sessions
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    clients: u32,
    /// Number of sessions that send; 0 only holds them open
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    senders: u32,
    /// Messages in flight per sender: the next is typed when one was displayed
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=32))]
    window: u32,
    /// Send this many messages a second instead, for all senders together
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Message size in bytes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(9..=2000))]
    bytes: u16,
    /// Seconds to send messages or hold the sessions open
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Number of clients that stop reading once all have joined
    #[arg(long, default_value_t = 0)]
    frozen: u32,
    /// Visitors a second who join, stay for a second and leave, besides the others
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    churn: Option<u32>,
    /// Prefix of the clients' names
    #[arg(long, default_value = "load")]
    name: String,
    /// The server's process id on this machine, to measure its CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Options {
    fn plan(&self) -> Result<Plan> {
        let plan = Plan {
            clients: self.clients,
            senders: self.senders,
            frozen: self.frozen,
            bytes: self.bytes.into(),
            name: self.name.clone(),
        };
        let needed = u64::from(self.senders) + u64::from(self.frozen) + 1;
        ensure!(
            u64::from(self.clients) >= needed,
            "--clients {} leaves no listeners: {} send and {} are frozen, so use at least {needed}",
            self.clients,
            self.senders,
            self.frozen
        );
        Ok(plan)
    }

    fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Flat(self.window), Pace::Rate)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match until_signal(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("ssh-chat-load: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn until_signal(options: &Options) -> Result<bool> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = load(options) => done,
        _ = terminated.recv() => bail!("stopped by SIGTERM"),
        _ = interrupted.recv() => bail!("stopped by Ctrl-C"),
    }
}

/// Returns whether every message reached every client, in the same order.
async fn load(options: &Options) -> Result<bool> {
    let plan = options.plan()?;
    check_descriptors(options.clients)?;
    let addr = address(&options.server).await?;
    let server = options.pid.map(Process);
    let mut report = Report::default();

    let cpu = server.map(Process::cpu).transpose()?;
    let rss = server.map(Process::rss_kib).transpose()?;
    let start = Instant::now();
    let mut said = Instant::now();
    let mut crowd = Crowd::join(addr, plan, |joined| {
        if said.elapsed() >= Duration::from_secs(1) {
            said = Instant::now();
            progress(&format!("{joined} of {} have joined", options.clients));
        }
    })
    .await?;
    report.joined(options.clients, start.elapsed());
    progress("all have joined; waiting until the server is idle");
    crowd.quiet().await?;
    if let (Some(server), Some(cpu), Some(rss)) = (server, cpu, rss) {
        let clients = f64::from(options.clients);
        report.login(server.cpu()?.since(&cpu) / clients);
        report.memory(server.rss_kib()?, (server.rss_kib()? - rss) / clients);
    }

    let missing = one_each(&crowd).await?;
    if missing > 0 {
        progress(&format!(
            "{missing} deliveries of the first messages are missing: does the server limit the message rate?"
        ));
    }
    if options.frozen > 0 {
        crowd.freeze();
    }
    crowd.forget();

    let mut beside = Beside::default();
    beside.tell(Arc::clone(&crowd.board));
    let mut visits = JoinSet::new();
    let cpu = server.map(Process::cpu).transpose()?;
    let length = Duration::from_secs(options.seconds);
    let begun = Instant::now();
    let sending = async {
        if options.senders == 0 {
            tokio::time::sleep(length).await;
            return Ok(None);
        }
        send(&crowd, options.pace(), length).await.map(Some)
    };
    let sent = tokio::select! {
        sent = sending => sent?,
        error = come_and_go(&crowd, options.churn, &mut visits) => return Err(error),
    };
    let took = begun.elapsed();
    drop(beside);

    let used = match (server, cpu) {
        (Some(server), Some(cpu)) => Some(server.cpu()?.since(&cpu)),
        _ => None,
    };
    if let Some(sent) = sent {
        report.deliveries(sent.messages, crowd.readers(), &crowd.seen(), took, used);
    }
    if let Some(used) = used {
        report.busy(used, took);
    }
    if options.churn.is_some() {
        report.visits(visits.join_all().await.len());
    }
    if let Some(server) = server {
        report.memory_after(server.rss_kib()?);
    }
    if options.frozen > 0 {
        report.frozen(options.frozen, crowd.thaw().await);
    }
    report.print(options.json)?;
    Ok(report.all_arrived())
}

async fn address(server: &str) -> Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(server).await.with_context(|| {
        format!("can't resolve {server:?}; expected a host and port, such as 127.0.0.1:2222")
    })?;
    found.next().context("the host has no address")
}

/// Lets visitors join and leave until dropped; returns only on an error.
async fn come_and_go(
    crowd: &Crowd,
    churn: Option<u32>,
    visits: &mut JoinSet<Result<()>>,
) -> anyhow::Error {
    let Some(churn) = churn else {
        return std::future::pending().await;
    };
    let mut ticks = interval(Duration::from_secs(1) / churn);
    for number in 0.. {
        ticks.tick().await;
        visits.spawn(crowd.visit(number, VISIT));
    }
    anyhow::anyhow!("out of visitor numbers")
}

/// Background work during the measurement, until dropped.
#[derive(Default)]
struct Beside(Option<AbortHandle>);

impl Beside {
    /// Prints progress once a second.
    fn tell(&mut self, board: Arc<Board>) {
        let telling = tokio::spawn(async move {
            let start = Instant::now();
            let mut ticks = interval(Duration::from_secs(1));
            ticks.tick().await;
            let mut before = board.deliveries();
            loop {
                ticks.tick().await;
                let now = board.deliveries();
                progress(&format!(
                    "{:>4} s: {} messages sent, {} deliveries, {} in the last second",
                    start.elapsed().as_secs(),
                    board.sent(),
                    now,
                    now - before
                ));
                before = now;
            }
        });
        self.0 = Some(telling.abort_handle());
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(telling) = &self.0 {
            telling.abort();
        }
    }
}
