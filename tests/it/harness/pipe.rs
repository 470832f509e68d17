//! `ssh -T`: a client without a terminal, such as a script.

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;

use super::login::Login;
use super::process::Process;
use super::server::{Finished, Server};
use super::tidy::tidy;
use super::wait::{DEADLINE, Output, contains};

/// A client whose input and output are pipes.
pub struct Pipe {
    name: String,
    process: Process,
    stdin: Option<ChildStdin>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    log: Arc<Output>,
}

impl Pipe {
    pub(super) fn open(login: &Login) -> Pipe {
        let mut command = Command::new("ssh");
        command.env_clear().envs(login.environment());
        command.arg("-T").args(login.args());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::new("ssh", command.spawn());
        let stdin = process.child().stdin.take();
        let stdout = Output::collect(process.child().stdout.take().expect("piped"));
        let stderr = Output::collect(process.child().stderr.take().expect("piped"));
        Pipe {
            name: login.user.clone(),
            process,
            stdin,
            stdout,
            stderr,
            log: Arc::clone(&login.log),
        }
    }

    /// Sends bytes. If the server is gone, they're dropped.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _gone = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    }

    /// Sends a line.
    pub fn line(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// The output so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// The output so far, with times and fingerprints normalized.
    pub fn text(&self) -> String {
        tidy(&self.stdout.text())
    }

    /// The standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether the output passes a check before the deadline.
    pub fn shows(&self, check: impl FnMut(&[u8]) -> bool) -> bool {
        self.stdout.wait(check)
    }

    /// Waits until the output meets a condition.
    pub fn wait_for(&self, what: &str, mut check: impl FnMut(&[u8]) -> bool) {
        assert!(
            self.stdout.wait(&mut check),
            "{} didn't get {what}. Its output:\n{}\n{}\nThe server's log:\n{}",
            self.name,
            self.text(),
            self.stderr(),
            self.log.text()
        );
    }

    /// Waits for exact text in the output; times aren't normalized.
    pub fn wait_text(&self, words: &str) {
        self.wait_for(&format!("{words:?}"), |bytes| {
            contains(bytes, words.as_bytes())
        });
    }

    /// Its standard input, for a test that writes to it directly.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("open")
    }

    /// Sends the client a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Closes the input, as `ssh -T … < file` does.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Closes the input and waits for the client to exit.
    pub fn finish(mut self) -> Finished {
        self.end_input();
        self.wait_end()
    }

    /// Waits for the client to exit.
    pub fn wait_end(mut self) -> Finished {
        let ended = self.stdout.wait_end(DEADLINE) && self.stderr.wait_end(DEADLINE);
        assert!(
            ended,
            "{}'s client didn't exit within {DEADLINE:?}. Its output:\n{}\n{}\nThe server's log:\n{}",
            self.name,
            self.text(),
            self.stderr(),
            self.log.text()
        );
        Finished {
            status: self.process.wait(),
            stdout: self.text(),
            stderr: self.stderr(),
        }
    }
}

/// Sends a whole text through `ssh -T` and returns the output.
pub fn pipe(server: &Server, user: &str, input: &str) -> Finished {
    let mut pipe = Login::new(server, user).try_pipe();
    pipe.write(input.as_bytes());
    pipe.finish()
}
