//! The command line: what can be typed, and what it means for the configuration.
//!
//! Starts nothing: the composition root runs what was chosen.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

pub mod check_config;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Good,
    /// It failed while running.
    Failed,
    /// What was typed or configured is wrong; nothing was started.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            // The same as clap's own for a flag that does not exist.
            Exit::Usage => 2,
        })
    }
}

const AFTER_HELP: &str = "\
Settings come from the configuration file, over it from variables SSH_CHAT_…, over them from flags.

Exit codes:
  0  all went well
  1  it failed while running
  2  the command line or the configuration is wrong; nothing was started";

/// A private chat that people join with ssh.
#[derive(Debug, Parser)]
#[command(name = "ssh-chat", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (this is what happens without a command)
    #[default]
    Serve,
    /// Check the configuration and show what is in force, without starting anything
    CheckConfig,
}

/// The flags that stand for settings, before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingFlags {
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

impl Cli {
    /// What to do: to serve if nothing was said.
    pub fn chosen(&self) -> Command {
        self.command.unwrap_or_default()
    }

    /// What the flags say of the settings, unchecked.
    pub fn flags(&self) -> Flags {
        let settings = &self.settings;
        Flags {
            config: settings.config.clone(),
            listen: settings.listen.clone(),
            data_dir: settings.data_dir.clone(),
            log_level: settings.log_level.clone(),
            log_format: settings.log_format.clone(),
            set: settings.set.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config::{Config, settings};

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_mean_the_same_before_and_after_the_command() {
        let texts = |all: &[&str]| all.iter().map(|&s| s.to_owned()).collect();
        let all = Flags {
            config: Some("c.toml".into()),
            listen: texts(&["[::1]:1", "127.0.0.1:0"]),
            data_dir: Some("d".into()),
            log_level: Some("debug".into()),
            log_format: Some("json".into()),
            set: texts(&["motd=a=b"]),
        };
        let flags = "--config c.toml --listen [::1]:1 --listen 127.0.0.1:0 --data-dir d \
                     --log-level debug --log-format json --set motd=a=b";
        for (line, command, expected) in [
            (String::new(), Command::Serve, Flags::default()),
            ("serve".into(), Command::Serve, Flags::default()),
            (
                "check-config".into(),
                Command::CheckConfig,
                Flags::default(),
            ),
            (flags.into(), Command::Serve, all.clone()),
            (format!("{flags} serve"), Command::Serve, all.clone()),
            (format!("serve {flags}"), Command::Serve, all.clone()),
            (format!("check-config {flags}"), Command::CheckConfig, all),
        ] {
            let words = std::iter::once("ssh-chat").chain(line.split_whitespace());
            let cli = Cli::try_parse_from(words).unwrap();
            assert_eq!((cli.chosen(), cli.flags()), (command, expected), "{line}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_the_documented_code() {
        for line in [
            "ssh-chat srve",
            "ssh-chat --lisen x",
            "ssh-chat serve extra",
        ] {
            let error = Cli::try_parse_from(line.split_whitespace()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_help_tells_the_true_defaults() {
        let env = |name: &str| (name == "HOME").then(|| "/home/alice".to_owned());
        let config = Config::load(&Flags::default(), &env, &|_| Ok(None)).unwrap();
        let help = Cli::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for key in ["listen", "log.level", "log.format"] {
            let default = (settings::find(key).unwrap().show)(&config).unwrap();
            assert!(help.contains(&format!("[default: {default}]")), "{help}");
        }
    }

    #[test]
    fn the_help_documents_the_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains(AFTER_HELP), "{help}");
    }
}
