//! The command line: its grammar, and the commands that don't run a server.
//!
//! Nothing here opens a store or a connection: `app` does that and passes them in.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::SettingFlags;

pub mod admin;
pub mod archive;
pub mod console;
pub mod doctor;
pub mod host_key;
pub mod invite;
pub mod keys;
pub mod print;
pub mod probe;
#[cfg(test)]
mod tests;

pub use console::Console;

/// The program's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Success,
    /// A failure at runtime.
    Failed,
    /// An invalid command line or configuration; nothing was started.
    Usage,
    /// What the command names doesn't exist.
    NotFound,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            // The same as clap's for an unknown flag.
            Exit::Usage => 2,
            Exit::NotFound => 3,
        })
    }
}

const AFTER_HELP: &str = "\
Settings come from the configuration file. Environment variables (SSH_CHAT_…) override it, and
flags override both.

Exit codes:
  0  success
  1  failure at runtime
  2  invalid command line or configuration; nothing was started
  3  not found";

/// A private chat that people join with ssh.
#[derive(Debug, Parser)]
#[command(name = "ssh-chat", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// A command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (the default without a command)
    #[default]
    Serve,
    /// Run the web page where users with an invite register their keys
    Web,
    /// Check the configuration and print the effective settings, without starting anything
    CheckConfig,
    /// Manage accounts and keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Create, list and revoke invites
    #[command(subcommand)]
    Invite(invite::InviteCommand),
    /// Show, create or rotate the host key
    #[command(subcommand)]
    HostKey(host_key::HostKeyCommand),
    /// Create or check the data store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Export the whole store as JSON lines: accounts, rooms, messages, bans, …
    Export(archive::ExportArgs),
    /// Import an archive written by export, with the same names, keys and numbering
    Import(archive::ImportArgs),
    /// Run operator commands (ban, unban, mute, op, …) with authority over every operator
    Admin(admin::AdminArgs),
    /// Show what operators did
    Audit(admin::AuditArgs),
    /// Check everything the server needs, and how to fix what's wrong
    Doctor(doctor::DoctorArgs),
    /// Test a server with a real SSH login
    Probe(probe::ProbeArgs),
    /// Generate shell completions
    Completions(print::CompletionsArgs),
    /// Generate the manual pages
    Man(print::ManArgs),
}

/// What to do with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Create the table or database that the configuration names, if it doesn't exist
    Init,
    /// Check that it exists and can be used, without changing anything
    Check,
    /// Accept that acknowledged commits are missing, after the server refused to start because of that;
    /// prints what is lost
    AcceptLoss,
}

/// How a command opens the store. Only the last two create a missing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Read only. The store must exist.
    Read,
    /// Read and write. The store must exist.
    Write,
    /// Read and write. A missing database is created, but not a table: it costs money and belongs in
    /// Terraform.
    Import,
    /// Read and write. A missing database or table is created, because the user asked for it.
    Create,
}

impl OpenMode {
    /// The mode to write with or without `--create`.
    fn writing(create: bool) -> OpenMode {
        if create {
            OpenMode::Create
        } else {
            OpenMode::Write
        }
    }
}

impl Command {
    /// How the command opens the store; `None` if it doesn't use an open store.
    pub fn store_mode(&self) -> Option<OpenMode> {
        match self {
            Command::Keys(command) => Some(command.store_mode()),
            Command::Invite(command) => Some(command.store_mode()),
            Command::Admin(args) => Some(args.store_mode()),
            Command::Export(_) | Command::Audit(_) => Some(OpenMode::Read),
            Command::Import(_) => Some(OpenMode::Import),
            _ => None,
        }
    }
}

/// The flags for settings, before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingArgs {
    /// Configuration file to read instead of the default one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on; repeatable [default: 127.0.0.1:2222]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    listen: Vec<String>,
    /// Folder for the host key and the database
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Log level: error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log format: auto, text, json or journald [default: auto]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Set any setting, such as limits.connections=100; repeatable
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// The repeatable flags.
const REPEATABLE: [&str; 2] = ["--listen", "--set"];

/// Moves all repeatable flags to the front: clap drops those before a subcommand if there are more after
/// it.
fn repeatable_first(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut front: Vec<OsString> = args.next().into_iter().collect();
    let mut rest = Vec::new();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        if text == "--" {
            rest.push(arg);
            break;
        } else if REPEATABLE.contains(&name) {
            let value = if name == text { args.next() } else { None };
            front.push(arg);
            front.extend(value);
        } else {
            rest.push(arg);
        }
    }
    front.extend(rest);
    front.extend(args);
    front
}

impl Cli {
    /// Parses the program's arguments, its own name first.
    ///
    /// # Errors
    /// If they're invalid, or ask for help or the version.
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(repeatable_first(args))
    }

    /// The command; [`Command::Serve`] by default.
    pub fn subcommand(&self) -> &Command {
        self.command.as_ref().unwrap_or(&Command::Serve)
    }

    /// The flags for settings, as typed.
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
