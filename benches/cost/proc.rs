//! A server as a process of its own, and what the system says of it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use tempfile::TempDir;

use super::floor;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);
/// What comes before the address in the line that a server says when it is ready.
const READY: &str = " is listening on ";
/// Descriptors that are needed beside one for each session.
const SPARE: u64 = 100;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The bare russh broadcaster.
    Floor,
    /// ssh-chat.
    Product,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Product => "product",
        }
    }
}

/// A running server; it ends when this is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its data and its log.
    _home: TempDir,
}

impl Server {
    /// Starts a server for so many sessions and waits until it listens.
    pub fn start(kind: Kind, sessions: u32, binary: &Path) -> Result<Server> {
        // Beside the build, not in the system's folder for temporary files: that may be memory,
        // where saving costs nothing.
        let home = TempDir::with_prefix_in("cost-", env!("CARGO_TARGET_TMPDIR"))?;
        let log = home.path().join("log");
        let mut command = match kind {
            Kind::Floor => bare()?,
            Kind::Product => product(binary, home.path(), sessions),
        };
        let mut child = command
            // No setting of whoever measures, and the same for both.
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} can't be started", kind.name()))?;
        let stdout = child.stdout.take();
        let mut server = Server {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            _home: home,
        };
        let ready = stdout.and_then(ready);
        server.addr = ready.with_context(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!(
                "{} does not say where it listens; its log:\n{log}",
                kind.name()
            )
        })?;
        ensure!(
            server.addr.ip().is_loopback(),
            "only this machine is measured"
        );
        Ok(server)
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// The processor time that each of its threads has used until now.
    pub fn cpu(&self) -> Result<Cpu> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir(self.proc("task")).context("the server has ended")? {
            let thread = thread?;
            // A thread may end at this moment.
            let Ok(stat) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok());
            let nanos = nanos.context("the kernel keeps no schedstat")?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), nanos);
        }
        Ok(Cpu(threads))
    }

    /// The memory that it has in use, in KiB.
    pub fn rss_kib(&self) -> Result<f64> {
        let status = fs::read_to_string(self.proc("status")).context("the server has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.context("the kernel does not tell VmRSS")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _nobody_asks = self.child.wait();
    }
}

/// Processor time by thread, in nanoseconds.
pub struct Cpu(HashMap<String, u64>);

impl Cpu {
    /// What was used since an earlier moment, in microseconds, without threads that have ended.
    pub fn since(&self, earlier: &Cpu) -> f64 {
        let threads = self.0.iter();
        let nanos: u64 = threads
            .map(|(thread, nanos)| nanos - earlier.0.get(thread).unwrap_or(&0))
            .sum();
        nanos as f64 / 1e3
    }
}

fn bare() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(floor::ARGUMENT);
    Ok(command)
}

fn product(binary: &Path, home: &Path, sessions: u32) -> Command {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(home.join("data"));
    command.args(["--set", "limits.message_rate=0"]);
    for limit in ["connections", "connections_per_address", "unauthenticated"] {
        command
            .arg("--set")
            .arg(format!("limits.{limit}={}", sessions + 1));
    }
    command
}

/// The address that a server says it listens on; its further words are read and dropped.
fn ready(stdout: ChildStdout) -> Option<SocketAddr> {
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, addr)) = line.split_once(READY) {
                let _heard_already = said.send(addr.to_owned());
            }
        }
    });
    heard.recv_timeout(START).ok()?.trim().parse().ok()
}

/// Whether this process, and so the servers, may open enough descriptors.
pub fn check_descriptors(sessions: u32) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("this needs Linux")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let needed = u64::from(sessions) + SPARE;
    if let Some(most) = soft.and_then(|soft| soft.parse::<u64>().ok()) {
        ensure!(
            most >= needed,
            "{sessions} sessions need {needed} open files and {most} are allowed: \
             `ulimit -n {needed}` first, or use fewer --clients"
        );
    }
    Ok(())
}

/// How many processes wanted to run in the last minute, on average.
pub fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
