//! A server in its own process.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use ssh_chat_load::process::Process;
use tempfile::TempDir;

use super::floor;

/// Time a server may take to start.
const START: Duration = Duration::from_secs(20);
/// Precedes the address in the server's startup output.
const READY: &str = " is listening on ";

/// The server to measure.
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

/// A running server; stopped when dropped.
pub struct Server {
    child: Child,
    /// The address it listens on.
    pub addr: SocketAddr,
    /// Its data folder and log.
    _home: TempDir,
}

impl Server {
    /// Starts a server for this many sessions and waits until it listens.
    pub fn start(kind: Kind, sessions: u32, binary: &Path) -> Result<Server> {
        // Next to the build, not in the system's folder for temporary files: that may be in memory,
        // where a commit costs nothing.
        let home = TempDir::with_prefix_in("cost-", env!("CARGO_TARGET_TMPDIR"))?;
        let log = home.path().join("log");
        let mut command = match kind {
            Kind::Floor => bare()?,
            Kind::Product => product(binary, home.path(), sessions),
        };
        let mut child = command
            // Without the caller's environment, so that both servers have the same settings.
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
            format!("{} didn't print its address; its log:\n{log}", kind.name())
        })?;
        ensure!(
            server.addr.ip().is_loopback(),
            "the address must be a loopback address"
        );
        Ok(server)
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _nobody_asks = self.child.wait();
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

/// Reads the address that a server listens on from its output, and discards the rest.
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
