//! The command line: what can be typed, and what it means for the configuration.
//!
//! Starts nothing: the composition root runs what was chosen.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::SettingFlags;

pub mod admin;
pub mod audit;
pub mod check_config;
pub mod console;
pub mod doctor;
pub mod export;
pub mod generate;
pub mod host_key;
pub mod import;
pub mod invite;
pub mod keys;
pub mod probe;
pub mod store;
mod tally;
#[cfg(test)]
mod tests;

pub use console::Console;
pub use store::OpenMode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Good,
    /// It failed while running.
    Failed,
    /// What was typed or configured is wrong; nothing was started.
    Usage,
    /// What was named is not there.
    NotFound,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            // The same as clap's own for a flag that does not exist.
            Exit::Usage => 2,
            Exit::NotFound => 3,
        })
    }
}

const AFTER_HELP: &str = "\
Settings come from the configuration file, over it from variables SSH_CHAT_…, over them from flags.

Exit codes:
  0  all went well
  1  it failed while running
  2  the command line or the configuration is wrong; nothing was started
  3  there is no such thing";

/// A private chat that people join with ssh.
#[derive(Debug, Parser)]
#[command(name = "ssh-chat", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (this is what happens without a command)
    #[default]
    Serve,
    /// Show the page where people with an invite register their keys
    Web,
    /// Check the configuration and show what is in force, without starting anything
    CheckConfig,
    /// Say who can come in with which key
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make, list and end invites
    #[command(subcommand)]
    Invite(invite::Invite),
    /// Show, make or replace what the server proves itself with
    #[command(subcommand)]
    HostKey(host_key::HostKeyCommand),
    /// Make what everything but the host key is kept in, or look whether it is there
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Write all that the store holds as JSON lines: people, rooms, all that was said, bans, …
    Export(export::Export),
    /// Take in what export wrote, with the same names, keys and places
    Import(import::Import),
    /// Order what operators order in the chat (ban, unban, mute, op, …), above all of them
    Admin(admin::Admin),
    /// Show what operators did
    Audit(audit::Show),
    /// Check all that the server needs, and say what to mend
    Doctor(doctor::Doctor),
    /// Log in to a server as people do, and say how long it takes
    Probe(probe::Probe),
    /// Write completions for a shell
    Completions(generate::Completions),
    /// Write the manual
    Man(generate::Pages),
}

impl Command {
    /// How it opens the store; `None` if it has no use for an open store, or opens it otherwise.
    pub fn store_mode(&self) -> Option<OpenMode> {
        match self {
            Command::Keys(keys) => Some(keys.store_mode()),
            Command::Invite(invite) => Some(invite.store_mode()),
            Command::Admin(admin) => Some(admin.store_mode()),
            Command::Export(_) | Command::Audit(_) => Some(OpenMode::Read),
            Command::Import(_) => Some(OpenMode::Import),
            _ => None,
        }
    }
}

/// The flags that stand for settings, before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingArgs {
    /// Read this configuration file instead of the usual one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here; may be given several times [default: 127.0.0.1:2222]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    listen: Vec<String>,
    /// Keep the host key and the database in this folder
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Log this much: error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log in this form: auto, text, json or journald [default: auto]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Set any setting, such as limits.connections=100; may be given several times
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// The flags that may be given several times.
const REPEATED: [&str; 2] = ["--listen", "--set"];

/// The words with all repeated flags in front: clap forgets those before a command if there are
/// some after it.
fn repeated_first(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut front: Vec<OsString> = words.next().into_iter().collect();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        if text == "--" {
            rest.push(word);
            break;
        } else if REPEATED.contains(&name) {
            let value = if name == text { words.next() } else { None };
            front.push(word);
            front.extend(value);
        } else {
            rest.push(word);
        }
    }
    front.extend(rest);
    front.extend(words);
    front
}

impl Cli {
    /// Reads the words that the program was started with, its own name first.
    ///
    /// # Errors
    /// If they are no command, and if they ask for help or the version.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(repeated_first(words))
    }

    /// What to do: to serve if nothing was said.
    pub fn chosen(&self) -> &Command {
        self.command.as_ref().unwrap_or(&Command::Serve)
    }

    /// What the flags say of the settings, unchecked.
    pub fn flags(&self) -> SettingFlags {
        let settings = &self.settings;
        SettingFlags {
            config: settings.config.clone(),
            listen: settings.listen.clone(),
            data_dir: settings.data_dir.clone(),
            log_level: settings.log_level.clone(),
            log_format: settings.log_format.clone(),
            set: settings.set.clone(),
            sockets: Vec::new(),
        }
    }
}
