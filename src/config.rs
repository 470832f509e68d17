//! The configuration, from the file, environment variables and flags.
//!
//! Loading has two stages. First, one raw text per setting is gathered with its source: environment
//! variables override the file, and flags override both. Then each text is parsed into the setting's
//! type. All mistakes are collected, so that one start shows every one, before any port is opened.
//!
//! Pure except for its arguments: the environment is a value, and files are read through a function.
//! Every setting is declared once, as a row in [`settings`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

mod environment;
mod error;
mod listeners;
mod parser;
pub mod reference;
pub mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod values;

pub use environment::{Environment, FileReader, SYSTEM_FILE, SYSTEM_HOME, read_file};
pub use error::{ConfigError, ConfigErrors, ValueSource};
pub use settings::{Aws, Config, History, Limits, Log, Metrics, Shutdown, Ssh, Web};
pub use sources::SettingFlags;
pub use values::{
    AccessMode, AddKeysPolicy, ByteSize, LogFilter, LogFormat, MotdFile, Rate, Retention, ValueKind,
};

use error::RawValue;
use settings::Setting;

impl Config {
    /// Reads the settings from all sources and checks them.
    ///
    /// # Errors
    /// Every mistake, not only the first.
    pub fn load(
        flags: &SettingFlags,
        env: &Environment,
        read: &FileReader<'_>,
    ) -> Result<Config, ConfigErrors> {
        let mut errors = Vec::new();
        let file = environment::find_file(flags.config.as_deref(), env, read);
        let file = file.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let values = sources::merge(file.as_ref(), env, flags, &mut errors);

        let mut config = Config::default();
        config.origins.file = file.map(|file| file.path);
        let mut invalid = Vec::new();
        for setting in settings::all() {
            if let Some(value) = values.get(setting.key) {
                if let Err(valid) = (setting.set)(&mut config, &value.text) {
                    errors.push(ConfigError::invalid_value(setting.key, value, valid));
                    invalid.push(setting.key);
                }
                let source = value.source.clone();
                config.origins.sources.insert(setting.key, source);
            }
        }
        errors.extend(listeners::conflicts(&config, &invalid));
        errors.extend(config.contradictions(&values));
        errors.extend(config.compute_defaults(env, read));
        errors.extend(config.read_motd_file(&values, read));

        if errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors(errors))
        }
    }

    /// Settings that exclude each other.
    fn contradictions(
        &self,
        values: &BTreeMap<&'static str, RawValue>,
    ) -> impl Iterator<Item = ConfigError> {
        let size = self.history.max_size.and(values.get("history.max_size"));
        let size = size.filter(|_| self.aws.table.is_some()).map(|value| {
            ConfigError::new(
                "history.max_size and aws.table are both set",
                value.source.clone(),
                "history.max_size is for the database in the data folder; for a table, use \
                 aws.history",
            )
        });
        let motd = self.motd_file.as_ref().and(values.get("motd_file"));
        let motd = motd.filter(|_| self.motd.is_some()).map(|value| {
            ConfigError::new(
                "motd and motd_file are both set",
                value.source.clone(),
                "remove one of them",
            )
        });
        size.into_iter().chain(motd)
    }

    /// Fills in the defaults that depend on the machine or on other settings.
    fn compute_defaults(
        &mut self,
        env: &Environment,
        read: &FileReader<'_>,
    ) -> Option<ConfigError> {
        if !self.is_set("host_name") {
            self.host_name = environment::host_name(&self.listen, read);
        }
        if self.is_set("data_dir") {
            return None;
        }
        let Some(folder) = environment::data_dir(env) else {
            return Some(ConfigError::new(
                "data_dir isn't set, and there's no default because HOME isn't set either",
                ValueSource::Default,
                "set it, for example with --data-dir /var/lib/ssh-chat",
            ));
        };
        self.data_dir = folder;
        None
    }

    fn read_motd_file(
        &mut self,
        values: &BTreeMap<&'static str, RawValue>,
        read: &FileReader<'_>,
    ) -> Option<ConfigError> {
        let file = self.motd_file.as_mut().filter(|_| self.motd.is_none())?;
        match environment::read_motd(&file.path, read) {
            Ok(text) => {
                file.text = text;
                None
            }
            Err(valid) => {
                let value = values.get("motd_file")?;
                Some(ConfigError::invalid_value("motd_file", value, valid))
            }
        }
    }

    /// Applies the reloadable settings of `newer` and leaves the others unchanged. Returns the keys of
    /// settings that differ but need a restart.
    pub fn reload(&mut self, newer: &Config) -> Vec<&'static str> {
        let mut need_restart = Vec::new();
        for setting in settings::all() {
            if setting.reloadable {
                (setting.copy)(self, newer);
                let sources = &mut self.origins.sources;
                match newer.origins.sources.get(setting.key) {
                    Some(source) => sources.insert(setting.key, source.clone()),
                    None => sources.remove(setting.key),
                };
            } else if (setting.show)(self) != (setting.show)(newer) {
                need_restart.push(setting.key);
            }
        }
        need_restart
    }

    /// The message of the day, from `motd` or `motd_file`. Not yet sanitized for a terminal.
    pub fn message_of_the_day(&self) -> Option<&str> {
        let from_file = || self.motd_file.as_ref()?.text.as_deref();
        self.motd.as_deref().or_else(from_file)
    }

    /// The configuration file that was read, if any.
    pub fn file(&self) -> Option<&Path> {
        self.origins.file.as_deref()
    }

    /// Whether this is the configuration of the packaged service rather than of another server on the
    /// same machine.
    pub fn is_system_service(&self) -> bool {
        self.data_dir == Path::new(SYSTEM_HOME)
    }

    /// The port that clients connect to. If it's chosen at startup, 22 stands for it.
    pub fn port(&self) -> u16 {
        let port = self.listen.first().map(SocketAddr::port);
        port.filter(|port| *port != 0).unwrap_or(22)
    }

    /// The command that joins the chat.
    pub fn ssh_command(&self) -> String {
        ssh_command(&self.host_name, self.port())
    }

    /// Whether a source sets the setting with this key.
    pub fn is_set(&self, key: &str) -> bool {
        self.origins.sources.contains_key(key)
    }

    /// The effective settings as a configuration file, each with its source in a comment.
    pub fn explain(&self) -> String {
        let mut out = match &self.origins.file {
            Some(path) => format!("# read from {}\n", path.display()),
            None => String::from("# no configuration file was found\n"),
        };
        for (section, settings) in settings::sections() {
            if let Some(section) = section {
                let _ = write!(out, "\n[{section}]\n");
            }
            for setting in settings {
                out.push_str(&self.explain_setting(setting));
            }
        }
        out
    }

    fn explain_setting(&self, setting: &Setting) -> String {
        let source = self.origins.sources.get(setting.key);
        let source = source.unwrap_or(&ValueSource::Default);
        let Some(line) = setting.assignment(self) else {
            return format!("# {} is not set\n", setting.name());
        };
        format!("{line:<40}  # {source}\n")
    }
}

/// The command that connects to a server: `ssh -p 2222 chat.example.com`, without the default port.
pub fn ssh_command(host: &str, port: u16) -> String {
    match port {
        22 => format!("ssh {host}"),
        port => format!("ssh -p {port} {host}"),
    }
}
