//! How a client connects: OpenSSH without the user's own configuration.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::pipe::Pipe;
use super::server::{Home, Server};
use super::terminal::Terminal;
use super::wait::Output;

/// A client's identity and options. `terminal` or `pipe` connects.
pub struct Login {
    pub(super) user: String,
    pub(super) size: (u16, u16),
    pub(super) term: String,
    pub(super) log: Arc<Output>,
    home: PathBuf,
    known_hosts: PathBuf,
    key: Option<PathBuf>,
    host: String,
    port: u16,
    options: Vec<String>,
}

impl Login {
    /// A user with their own key, at a terminal of 80 columns and 24 rows.
    pub fn new(server: &Server, user: &str) -> Login {
        Login {
            log: server.log(),
            ..Login::at(server.home(), server.port(), user)
        }
    }

    /// The same for a server that runs inside the test.
    pub fn at(home: &Home, port: u16, user: &str) -> Login {
        Login {
            user: user.to_owned(),
            size: (80, 24),
            term: "xterm-256color".to_owned(),
            log: Arc::default(),
            home: home.path().to_owned(),
            known_hosts: home.known_hosts(),
            key: Some(home.key(user)),
            host: "127.0.0.1".to_owned(),
            port,
            options: Vec::new(),
        }
    }

    /// A user without a key.
    pub fn guest(server: &Server, user: &str) -> Login {
        Login {
            key: None,
            ..Login::new(server, user)
        }
    }

    /// Uses another user's key.
    pub fn key_of(mut self, server: &Server, name: &str) -> Login {
        self.key = Some(server.home().key(name));
        self
    }

    /// The terminal's columns and rows.
    pub fn size(mut self, cols: u16, rows: u16) -> Login {
        self.size = (cols, rows);
        self
    }

    /// The value of `TERM`.
    pub fn term(mut self, term: &str) -> Login {
        term.clone_into(&mut self.term);
        self
    }

    /// An option of `ssh`, `KEY=VALUE`, which overrides the defaults here.
    pub fn option(mut self, option: &str) -> Login {
        self.options.push(option.to_owned());
        self
    }

    /// Another host name for the same server.
    pub fn host(mut self, host: &str) -> Login {
        host.clone_into(&mut self.host);
        self
    }

    /// Connects from a terminal and waits for the prompt.
    pub fn terminal(self) -> Terminal {
        let terminal = Terminal::open(self);
        terminal.wait_prompt();
        terminal
    }

    /// Connects from a terminal, without waiting.
    pub fn bare_terminal(self) -> Terminal {
        Terminal::open(self)
    }

    /// Connects with pipes instead of a terminal (`ssh -T`) and waits for the greeting.
    pub fn pipe(self) -> Pipe {
        let pipe = Pipe::open(&self);
        pipe.wait_text("lobby: ");
        pipe
    }

    /// Connects with pipes, without waiting.
    pub fn try_pipe(self) -> Pipe {
        Pipe::open(&self)
    }

    /// The arguments for `ssh`.
    pub(super) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = ["-F", "none", "-4", "-e", "none"]
            .map(OsString::from)
            .into();
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        let own = self.options.iter().map(String::as_str);
        let usual = [
            "LogLevel=ERROR",
            "StrictHostKeyChecking=accept-new",
            "GlobalKnownHostsFile=none",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "NumberOfPasswordPrompts=1",
            &known_hosts,
        ];
        // ssh uses the first value of an option.
        for option in own.chain(usual) {
            args.extend(["-o".into(), option.into()]);
        }
        match &self.key {
            Some(key) => args.extend(["-i".into(), key.into()]),
            None => args.extend(["-o".into(), "PubkeyAuthentication=no".into()]),
        }
        let rest = ["-p", &self.port.to_string(), "-l", &self.user, &self.host];
        args.extend(rest.map(OsString::from));
        args
    }

    /// The environment of `ssh`, instead of the test's own.
    pub(super) fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("HOME", self.home.clone().into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", (&self.term).into()),
        ]
    }
}
