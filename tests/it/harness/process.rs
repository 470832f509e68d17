//! Child processes, which can be signalled, and are killed at the end of a test.

use std::io;
use std::process::{Child, Command, ExitStatus};

/// A child process that's killed when dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Takes ownership of a child just started by `program`.
    ///
    /// # Panics
    ///
    /// If it couldn't be started.
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

    /// Sends a signal, by its name without `SIG`. The child isn't reaped yet, so its process id
    /// can't have been reused.
    pub fn signal(&self, name: &str) {
        let number = self.id().to_string();
        let kill = ["-c", "kill -s \"$0\" \"$1\"", name, &number];
        let status = Command::new("/bin/sh").args(kill).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "can't send SIG{name} to process {number}"
        );
    }

    /// Kills it (SIGKILL) and waits until it has exited.
    pub fn kill(&mut self) {
        let _it_may_have_ended = self.0.kill();
        self.wait();
    }

    /// Waits for its exit, which must be close: its output has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("the child is ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why a program that tests need couldn't be started, and how to install it.
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
