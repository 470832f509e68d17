//! Child processes: signals for them, and an end to them whatever a test does.

use std::io;
use std::process::{Child, Command, ExitStatus};

/// A child that does not outlive its test.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Takes over a child that was just started by `program`.
    ///
    /// # Panics
    ///
    /// If it could not be started.
    pub fn new(program: &str, child: io::Result<Child>) -> Process {
        match child {
            Ok(child) => Process(child),
            Err(error) => panic!("{}", not_started(program, &error)),
        }
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The pipes of the child.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Sends a signal, by its name without `SIG`. The child is not reaped yet, so that its number
    /// is nobody else's.
    pub fn signal(&self, name: &str) {
        let number = self.id().to_string();
        let kill = ["-c", "kill -s \"$0\" \"$1\"", name, &number];
        let status = Command::new("/bin/sh").args(kill).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "SIG{name} was not sent to {number}"
        );
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        let _it_may_have_ended = self.0.kill();
        self.wait();
    }

    /// Waits for its end, which must be near: its output has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("the child is ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why a program that tests need could not be started, in a sentence that says what to do.
pub fn not_started(program: &str, error: &io::Error) -> String {
    match (program, error.kind()) {
        ("ssh" | "ssh-keygen", io::ErrorKind::NotFound) => format!(
            "These tests need `{program}`, and it is not on this machine. \
             Install the package openssh-client: apt install openssh-client"
        ),
        _ => format!("`{program}` could not be started: {error}"),
    }
}

#[test]
fn a_missing_client_is_named_with_its_package() {
    let missing = io::Error::from(io::ErrorKind::NotFound);
    let words = not_started("ssh", &missing);
    assert!(words.contains("apt install openssh-client"), "{words}");
}
