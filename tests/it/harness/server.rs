//! The real server, in a folder of its own, on a port of its own.

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

/// The variable that a server made by a test finds its arguments in.
pub const ARGS: &str = "TEST_ARGS";

/// The last line that a server prints when people can connect.
const READY: &[u8] = b"  stop         Ctrl-C\n";

/// A server that runs. It is killed when dropped.
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
    /// A server as on a laptop, in a new folder.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// The same with some settings, each `KEY=VALUE`.
    pub fn with(settings: &[&str]) -> Server {
        let set = settings.iter().flat_map(|s| ["--set", s]);
        Server::at(Home::new(), set.map(str::to_owned).collect())
    }

    /// A server in a folder that may have been used before.
    pub fn at(home: Arc<Home>, args: Vec<String>) -> Server {
        let server = Server::starting(home, args);
        server.wait_ready();
        server
    }

    /// A server that may not be ready yet, or never.
    pub fn starting(home: Arc<Home>, args: Vec<String>) -> Server {
        Server::launched(home, args, program())
    }

    /// A server that is given a socket, as systemd does it.
    pub fn activated(home: Arc<Home>, args: Vec<String>, socket: TcpListener) -> Server {
        // The number of the process has to be known before the program is there.
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

    /// A server that somebody starts by hand in a terminal, which closes when the other value is
    /// dropped. What it says can be seen all the same.
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

    /// What the test's own program makes of a server: [`Home`] and arguments as for any other, and
    /// the name of the test to run, which finds the arguments in [`ARGS`], one on each line.
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

    /// Where it says that metrics can be asked for.
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

    /// Waits until people can connect.
    pub fn wait_ready(&self) {
        if !self.stdout.wait(|bytes| contains(bytes, READY)) {
            self.log.wait_end(DEADLINE);
            panic!(
                "the server did not start.\n{}\n{}",
                self.stdout.text(),
                self.log.text()
            );
        }
    }

    /// Its folder, which lives on when the server does not.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// What it said when it was ready.
    pub fn announcement(&self) -> String {
        self.stdout.text()
    }

    /// One of the lines of that: `host key`, `known_hosts`, `join`.
    pub fn announced(&self, what: &str) -> String {
        let text = self.announcement();
        let mut lines = text.lines().map(str::trim_start);
        let found = lines.find_map(|line| line.strip_prefix(what));
        found
            .unwrap_or_else(|| panic!("no {what} in\n{text}"))
            .trim()
            .to_owned()
    }

    /// The fingerprint of its host key, as it says itself.
    pub fn fingerprint(&self) -> String {
        let line = self.announced("host key");
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The port that it found.
    pub fn port(&self) -> u16 {
        let text = self.announcement();
        let mut lines = text.lines();
        let first = lines.find(|line| line.starts_with("ssh-chat "));
        let port = first.and_then(|line| line.rsplit(':').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in\n{text}"))
    }

    /// What it logged so far.
    pub fn log(&self) -> Arc<Output> {
        Arc::clone(&self.log)
    }

    /// Waits for words in the log.
    pub fn wait_log(&self, words: &str) {
        assert!(
            self.log.wait(|bytes| contains(bytes, words.as_bytes())),
            "the log does not say {words:?}:\n{}",
            self.log.text()
        );
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Stops it in good order (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> Finished {
        self.signal("TERM");
        self.wait_end()
    }

    /// Waits for its end.
    pub fn wait_end(&mut self) -> Finished {
        finish(&mut self.process, &self.stdout, &self.log)
    }

    /// Kills it (SIGKILL): what is not on the disk is lost.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same folder. It must have ended.
    pub fn restart(&mut self) {
        *self = Server::at(Arc::clone(&self.home), self.args.clone());
    }
}

/// A folder for all that a server and its people keep; removed when dropped.
pub struct Home {
    folder: TempDir,
    /// What its programs have in their environment beside the folders.
    variables: Variables,
    /// What its programs are told before what the test says.
    settings: Vec<String>,
}

/// The variable that says where the servers of all tests keep what is said: `sqlite`, which is
/// what they do anyway, or `dynamodb`, in a table of their own on moto.
const STORE: &str = "TEST_STORE";

impl Home {
    /// A folder of a test's own; the store is where [`STORE`] says.
    pub fn new() -> Arc<Home> {
        match std::env::var(STORE).as_deref() {
            Err(_) | Ok("sqlite") => Home::local(),
            Ok("dynamodb") => Home::on_a_table(),
            Ok(other) => panic!("{STORE} is sqlite or dynamodb, and not {other:?}"),
        }
    }

    /// A folder in which everything is kept.
    pub fn local() -> Arc<Home> {
        Home::with(Variables::new())
    }

    /// A folder for what is no store, and a new table.
    pub fn on_a_table() -> Arc<Home> {
        let moto = Moto::shared();
        Home::on(moto.variables(), &moto.table())
    }

    /// A folder for what is no store; the store is this table.
    pub fn on(variables: Variables, table: &str) -> Arc<Home> {
        // Nothing else need be waited for as long as an operator waits.
        let set = [format!("aws.table={table}"), "aws.refresh=1s".to_owned()];
        let settings = set.into_iter().flat_map(|set| ["--set".to_owned(), set]);
        Home::make(variables, settings.collect())
    }

    /// A folder whose programs have these in their environment.
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

    /// Where a server keeps its data.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Somebody's key, made when it is first asked for.
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
                    "ssh-keygen made no key: {}",
                    String::from_utf8_lossy(&output.stderr)
                ),
                Err(error) => panic!("{}", not_started("ssh-keygen", &error)),
            }
        }
        path
    }

    /// The file in which clients remember servers.
    pub fn known_hosts(&self) -> PathBuf {
        self.path().join("known_hosts")
    }

    /// Every file below the data folder with its bytes, to see that nothing was changed.
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

/// Runs the program to its end, in this folder, with nothing of our environment.
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

/// Gives a program its folder and arguments, and nothing of our environment.
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
    // A port that was asked for is the only one.
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
    let ended = stdout.wait_end(DEADLINE) && log.wait_end(DEADLINE);
    assert!(
        ended,
        "the program did not end within {DEADLINE:?}:\n{}",
        log.text()
    );
    Finished {
        status: process.wait(),
        stdout: stdout.text(),
        stderr: log.text(),
    }
}
