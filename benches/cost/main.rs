//! The server's cost of a delivery, a login and an idle session, next to a **floor**: a bare russh
//! broadcaster that does only what every chat over SSH has to do.
//!
//! See `benches/README.md` for the method and how to interpret the figures.

#![allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a measurement are far below 2^52"
)]

mod floor;
mod report;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use ssh_chat_load::crowd::{Crowd, Plan};
use ssh_chat_load::pace::{Pace, one_each, send};
use ssh_chat_load::process::check_descriptors;
use tokio::signal::unix::{SignalKind, signal};

use report::{KeyMetrics, Report, progress};
use server::{Kind, Server};

/// Measure the server's cost, and that of a bare russh broadcaster on the same machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "cost")]
struct Options {
    /// Number of SSH sessions, each with its own key and a terminal
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=5000))]
    clients: u32,
    /// Number of sessions that send
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    senders: u32,
    /// Send as fast as messages are accepted (flat), or at a fixed rate (light)
    #[arg(long, value_enum, default_value_t = Mode::Flat)]
    mode: Mode,
    /// Flat: messages in flight per sender
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=32))]
    window: u32,
    /// Light: messages a second, for all senders together
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Message size in bytes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(9..=2000))]
    bytes: u16,
    /// Seconds of sending in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Number of alternating rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Measure only this server
    #[arg(long, value_enum)]
    only: Option<Kind>,
    /// Measure this build of ssh-chat instead of the one built with the benchmark
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_ssh-chat"))]
    binary: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Only check that everything works: 20 clients, 2 seconds, one round
    #[arg(long)]
    quick: bool,
    /// Passed by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Flat,
    Light,
}

impl Options {
    fn adjusted(mut self) -> Options {
        if self.quick {
            (self.clients, self.seconds, self.rounds) = (20, 2, 1);
        }
        // At least one client must only listen: message order is compared between listeners.
        self.senders = self.senders.min(self.clients - 1);
        self
    }

    fn plan(&self) -> Plan {
        Plan {
            clients: self.clients,
            senders: self.senders,
            frozen: 0,
            bytes: self.bytes.into(),
            name: "bench".to_owned(),
        }
    }

    fn pace(&self) -> Pace {
        match self.mode {
            Mode::Flat => Pace::Flat(self.window),
            Mode::Light => Pace::Rate(self.rate),
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        self.only
            .map_or_else(|| vec![Kind::Floor, Kind::Product], |kind| vec![kind])
    }
}

fn main() -> ExitCode {
    // The floor is this executable, in its own process.
    let is_floor = std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == floor::ARGUMENT);
    let done = if is_floor {
        run(async { floor::run().await.map(|()| true) })
    } else {
        run(measure_until_signal(Options::parse().adjusted()))
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("cost: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(what: impl Future<Output = Result<bool>>) -> Result<bool> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?
        .block_on(what)
}

/// On a signal, drops the measurement, which also stops the server.
async fn measure_until_signal(options: Options) -> Result<bool> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = measure(&options) => done,
        _ = terminated.recv() => bail!("stopped by SIGTERM"),
        _ = interrupted.recv() => bail!("stopped by SIGINT"),
    }
}

/// Returns whether every message reached every client, in the same order.
async fn measure(options: &Options) -> Result<bool> {
    check_descriptors(options.clients)?;
    let mut report = Report::new(options);
    for round in 1..=options.rounds {
        for kind in options.kinds() {
            let figures = one_round(kind, options)
                .await
                .with_context(|| format!("{} in round {round}", kind.name()))?;
            progress(&format!(
                "round {round}, {}: {}",
                kind.name(),
                figures.brief()
            ));
            report.add(kind, figures);
        }
    }
    report.print(options.json)?;
    Ok(report.all_arrived())
}

/// Starts one server, measures it and stops it.
async fn one_round(kind: Kind, options: &Options) -> Result<KeyMetrics> {
    let server = Server::start(kind, options.clients, &options.binary)?;
    let clients = f64::from(options.clients);

    let process = server.process();
    let (cpu_before, rss_before) = (process.cpu()?, process.rss_kib()?);
    let mut crowd = Crowd::join(server.addr, options.plan(), |_| {}).await?;
    crowd.quiet().await?;
    let login_us = process.cpu()?.since(&cpu_before) / clients;
    let session_kib = (process.rss_kib()? - rss_before) / clients;

    // Every client sees these messages, and one-time costs aren't measured.
    let missing = one_each(&crowd).await?;
    ensure!(
        missing == 0,
        "{missing} deliveries of the first messages are missing"
    );

    crowd.forget();
    let cpu_before = process.cpu()?;
    let sent = send(&crowd, options.pace(), Duration::from_secs(options.seconds)).await?;
    let cpu_us = process.cpu()?.since(&cpu_before);
    let seen = crowd.seen();
    ensure!(seen.deliveries > 0, "nothing arrived");
    let deliveries = seen.deliveries as f64;
    Ok(KeyMetrics {
        login_us,
        session_kib,
        delivery_us: cpu_us / deliveries,
        per_second: deliveries / sent.took.as_secs_f64(),
        busy: cpu_us / micros(sent.took),
        joined: deliveries / seen.packets as f64,
        bytes: seen.bytes as f64 / deliveries,
        p50_ms: seen.latency_ms(50),
        p99_ms: seen.latency_ms(99),
        messages: sent.messages,
        deliveries: seen.deliveries,
        lost: (sent.messages * crowd.readers()).saturating_sub(seen.deliveries),
        duplicated: seen.duplicated,
        disordered: seen.disordered,
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
