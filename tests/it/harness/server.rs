//! The real server, in its own folder and on its own port.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use pty_process::blocking::{Pty, open};
use tempfile::TempDir;

use super::moto::{Moto, Variables};
use super::process::{Process, not_started};
use super::wait::{DEADLINE, Output, contains};

/// The environment variable with the arguments of a server that runs inside the test program.
pub const ARGS: &str = "TEST_ARGS";

/// The last line that a server prints at startup.
const READY: &[u8] = b"  stop         Ctrl-C\n";

/// A running server. It's killed when dropped.
pub struct Server {
    home: Arc<Home>,
    args: Vec<String>,
    process: Process,
    stdout: Arc<Output>,
    log: Arc<Output>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Server {
    /// Starts a server as on a laptop, in a new folder.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// The same with some settings, each `KEY=VALUE`.
    pub fn with(settings: &[&str]) -> Server {
        let set = settings.iter().flat_map(|s| ["--set", s]);
        Server::at(Home::new(), set.map(str::to_owned).collect())
    }

    /// Starts a server in a folder that may have been used before.
    pub fn at(home: Arc<Home>, args: Vec<String>) -> Server {
        let server = Server::starting(home, args);
        server.wait_ready();
        server
    }

    /// Starts a server that may not be ready yet, or never will be.
    pub fn starting(home: Arc<Home>, args: Vec<String>) -> Server {
        Server::launched(home, args, program())
    }

    /// Starts a server with a socket passed as systemd does.
    pub fn activated(home: Arc<Home>, args: Vec<String>, socket: TcpListener) -> Server {
        // The process id has to be known before the program runs.
        const PASS: &str = "exec 3<&0 </dev/null; \
            LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=ssh exec \"$0\" \"$@\"";
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", PASS, PROGRAM])
            .stdin(Stdio::from(OwnedFd::from(socket)));
        let server = Server::launched(home, args, shell);
        server.wait_ready();
        server
    }

    /// Starts a server by hand in a terminal, which closes when the other value is dropped. Its
    /// output is still captured.
    pub fn in_terminal(home: Arc<Home>) -> (Server, Pty) {
        let (pty, pts) = open().expect("a pseudo-terminal");
        let mut server = Command::new(PROGRAM);
        prepare(&mut server, &home, &[]);
        let server = pty_process::blocking::Command::from(server)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = server.spawn(pts).map_err(std::io::Error::other);
        let (process, stdout, log) = watch(child);
        let server = Server {
            home,
            args: Vec::new(),
            process,
            stdout,
            log,
        };
        server.wait_ready();
        (server, pty)
    }

    /// Runs the test program itself as a server: [`Home`] and arguments as for any other, and the
    /// name of the test to run, which reads the arguments from [`ARGS`], one per line.
    pub fn by_test(test: &str, home: Arc<Home>, args: Vec<String>) -> Server {
        const RUN: &str = "own=$0; test=$1; shift; \
            TEST_ARGS=$(printf '%s\\n' \"$@\") exec \"$own\" --exact \"$test\" --nocapture";
        let own = std::env::current_exe().expect("the test's program");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", RUN]).arg(own).arg(test);
        shell.stdin(Stdio::null());
        let server = Server::launched(home, args, shell);
        server.wait_ready();
        server
    }

    /// The address of its metrics listener, from its log.
    pub fn metrics(&self) -> SocketAddr {
        self.wait_log("metrics_listening");
        let log = self.log.text();
        let line = log.lines().find(|line| line.contains("metrics_listening"));
        let address = line.and_then(|line| line.split_once("address="));
        let address = address.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        address.unwrap_or_else(|| panic!("no address in\n{log}"))
    }

    fn launched(home: Arc<Home>, args: Vec<String>, command: Command) -> Server {
        let (process, stdout, log) = launch(&home, &args, command);
        Server {
            home,
            args,
            process,
            stdout,
            log,
        }
    }

    /// Waits until clients can connect.
    pub fn wait_ready(&self) {
        if !self.stdout.wait(|bytes| contains(bytes, READY)) {
            self.log.wait_end(DEADLINE);
            panic!(
                "the server didn't start.\n{}\n{}",
                self.stdout.text(),
                self.log.text()
            );
        }
    }

    /// Its folder, which can outlive it.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// What it printed at startup.
    pub fn announcement(&self) -> String {
        self.stdout.text()
    }

    /// One line of that: `host key`, `known_hosts`, `join`.
    pub fn announced(&self, what: &str) -> String {
        let text = self.announcement();
        let mut lines = text.lines().map(str::trim_start);
        let found = lines.find_map(|line| line.strip_prefix(what));
        found
            .unwrap_or_else(|| panic!("no {what} in\n{text}"))
            .trim()
            .to_owned()
    }

    /// The fingerprint of its host key, from its output.
    pub fn fingerprint(&self) -> String {
        let line = self.announced("host key");
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        let text = self.announcement();
        let mut lines = text.lines();
        let first = lines.find(|line| line.starts_with("ssh-chat "));
        let port = first.and_then(|line| line.rsplit(':').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in\n{text}"))
    }

    /// Its log so far.
    pub fn log(&self) -> Arc<Output> {
        Arc::clone(&self.log)
    }

    /// Waits for text in the log.
    pub fn wait_log(&self, words: &str) {
        assert!(
            self.log.wait(|bytes| contains(bytes, words.as_bytes())),
            "{words:?} isn't in the log:\n{}",
            self.log.text()
        );
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Stops it cleanly (SIGTERM) and waits for its exit.
    pub fn stop(&mut self) -> Finished {
        self.signal("TERM");
        self.wait_end()
    }

    /// Waits for its exit.
    pub fn wait_end(&mut self) -> Finished {
        finish(&mut self.process, &self.stdout, &self.log)
    }

    /// Kills it (SIGKILL): what isn't on disk is lost.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same folder. It must have exited.
    pub fn restart(&mut self) {
        *self = Server::at(Arc::clone(&self.home), self.args.clone());
    }
}

/// A folder for the files of a server and its clients; removed when dropped.
pub struct Home {
    folder: TempDir,
    /// The environment of its programs, in addition to the folders.
    variables: Variables,
    /// Arguments that come before a test's own.
    settings: Vec<String>,
}

/// The environment variable that selects the store of all tests' servers: `sqlite`, the default, or
/// `dynamodb`, with a new table on moto for each.
const STORE: &str = "TEST_STORE";

impl Home {
    /// A new folder for one test, with the store that [`STORE`] selects.
    pub fn new() -> Arc<Home> {
        match std::env::var(STORE).as_deref() {
            Err(_) | Ok("sqlite") => Home::local(),
            Ok("dynamodb") => Home::on_a_table(),
            Ok(other) => panic!("{STORE} must be sqlite or dynamodb, not {other:?}"),
        }
    }

    /// A new folder with everything in it.
    pub fn local() -> Arc<Home> {
        Home::with(Variables::new())
    }

    /// A new folder for everything except the store, and a new table.
    pub fn on_a_table() -> Arc<Home> {
        let moto = Moto::shared();
        Home::on(moto.variables(), &moto.table())
    }

    /// A new folder for everything except the store, which is this table.
    pub fn on(variables: Variables, table: &str) -> Arc<Home> {
        // The wait for the next refresh is the longest that any test has.
        let set = [format!("aws.table={table}"), "aws.refresh=1s".to_owned()];
        let settings = set.into_iter().flat_map(|set| ["--set".to_owned(), set]);
        Home::make(variables, settings.collect())
    }

    /// A new folder whose programs have these environment variables.
    pub fn with(variables: Variables) -> Arc<Home> {
        Home::make(variables, Vec::new())
    }

    fn make(variables: Variables, settings: Vec<String>) -> Arc<Home> {
        let folder = tempfile::Builder::new().prefix("ssh-chat-it-").tempdir();
        let folder = folder.expect("a temporary folder");
        Arc::new(Home {
            folder,
            variables,
            settings,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A user's key, created on first use.
    pub fn key(&self, name: &str) -> PathBuf {
        let path = self.path().join(format!("key-{name}"));
        if !path.exists() {
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(&path);
            match keygen.stdin(Stdio::null()).output() {
                Ok(output) => assert!(
                    output.status.success(),
                    "ssh-keygen didn't create a key: {}",
                    String::from_utf8_lossy(&output.stderr)
                ),
                Err(error) => panic!("{}", not_started("ssh-keygen", &error)),
            }
        }
        path
    }

    /// The clients' `known_hosts` file.
    pub fn known_hosts(&self) -> PathBuf {
        self.path().join("known_hosts")
    }

    /// Every file in the data folder with its contents, to check that nothing changed.
    pub fn data_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.data()) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = paths
            .map(|path| {
                let bytes = fs::read(&path).expect("a file that can be read");
                (path, bytes)
            })
            .collect();
        files.sort();
        files
    }
}

/// Runs the program to its end, in this folder, without the test's environment.
pub fn run(home: &Home, args: &[&str]) -> Finished {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let (mut process, stdout, log) = launch(home, &args, program());
    finish(&mut process, &stdout, &log)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_ssh-chat");

fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command.stdin(Stdio::null());
    command
}

fn launch(
    home: &Home,
    args: &[String],
    mut command: Command,
) -> (Process, Arc<Output>, Arc<Output>) {
    prepare(&mut command, home, args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    watch(command.spawn())
}

/// Gives a program its folder and arguments, without the test's environment.
fn prepare(command: &mut Command, home: &Home, args: &[String]) {
    command
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("XDG_STATE_HOME", home.path().join("state"))
        .envs(home.variables.iter().cloned())
        .current_dir(home.path())
        .arg("--data-dir")
        .arg(home.data())
        .args(&home.settings)
        .args(args);
    // If a port was given, it's the only one.
    if !args.iter().any(|arg| arg == "--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
}

fn watch(child: std::io::Result<Child>) -> (Process, Arc<Output>, Arc<Output>) {
    let mut process = Process::new(PROGRAM, child);
    let stdout = Output::collect(process.child().stdout.take().expect("piped"));
    let log = Output::collect(process.child().stderr.take().expect("piped"));
    (process, stdout, log)
}

fn finish(process: &mut Process, stdout: &Output, log: &Output) -> Finished {
    // Some commands read a large database whole, which takes a while beside other work.
    let deadline = DEADLINE * 6;
    let ended = stdout.wait_end(deadline) && log.wait_end(deadline);
    assert!(
        ended,
        "the program didn't exit within {deadline:?}:\n{}",
        log.text()
    );
    Finished {
        status: process.wait(),
        stdout: stdout.text(),
        stderr: log.text(),
    }
}
