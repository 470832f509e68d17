//! The configuration: what was written, then what is meant.
//!
//! First the *raw* stage gathers one text per setting, with the place it came from: from the
//! file, over it the environment, over that the flags. Then each text is read into the type that
//! the program uses. All that is wrong is collected, so that one start shows every mistake, and
//! nothing is opened before all is right.
//!
//! Pure but for what is handed in: the environment is a value, and files are a function of the caller. What
//! settings there are is said once, in [`settings::SETTINGS`]; flags, variables, the file, the
//! documentation and the default file follow from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod environment;
mod error;
mod listeners;
mod places;
mod private;
pub mod reference;
mod resources;
pub mod settings;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod web;

pub use environment::Environment;
pub use error::{ConfigErrors, Problem};
pub use places::{SYSTEM_FILE, SYSTEM_HOME, read_file};
pub use sources::{Flags, Source};
pub use values::{Access, AddKeys, LogFilter, LogFormat, Rate};
pub use web::Web;

use ipnet::IpNet;

use crate::chat::ids::Fingerprint;
use settings::{SETTINGS, Setting};
use sources::Given;

/// Reads one file; `Ok(None)` when there is no such file.
pub type Reader<'a> = dyn Fn(&Path) -> io::Result<Option<String>> + 'a;

/// Every setting, checked and in the type that the program uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where people connect: at least one address. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// The folder that holds what must outlive the process. May not exist yet.
    pub data_dir: PathBuf,
    /// Who may come in.
    pub access: Access,
    /// The keys whose owners are operators from the start, each once.
    pub operator_keys: Vec<Fingerprint>,
    /// Whether a key that is not known may ask to come in, and wait for an operator.
    pub approval: bool,
    /// Who may claim keys for their own account.
    pub add_keys: AddKeys,
    /// How long an invite is good when nobody says: a minute to a year.
    pub invite_expires: Duration,
    /// The page where people redeem invites; without a fragment.
    pub web_url: Option<String>,
    /// What people call this machine: a DNS name or an address, without a port.
    pub host_name: String,
    /// What people are shown when they arrive.
    pub motd: Motd,
    /// What one person, one address and all together may use.
    pub limits: Limits,
    /// How much of the past is shown.
    pub history: History,
    /// What is logged, and how.
    pub log: Log,
    /// Metrics and health.
    pub metrics: Metrics,
    /// How the server ends.
    pub shutdown: Shutdown,
    /// The SSH protocol.
    pub ssh: Ssh,
    /// The page where invites are redeemed.
    pub web: Web,
    /// What is kept in AWS.
    pub aws: Aws,
    file: Option<PathBuf>,
    sources: BTreeMap<&'static str, Source>,
}

/// The message of the day. As written: not yet sanitised for a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Motd {
    /// The text, from the setting or from the file. At most 4096 characters.
    pub text: Option<String>,
    /// The file that the text was read from, if that is where it is kept.
    pub file: Option<PathBuf>,
}

/// What one person, one address and all together may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Networks whose addresses are shared by many people: limits per address and penalties don't
    /// apply to them.
    pub trusted_networks: Vec<IpNet>,
    /// How many accounts' worth of messages, commands and new rooms one address may use.
    pub people_per_address: u32,
    /// Connections that have not logged in yet.
    pub unauthenticated: usize,
    /// How long a connection may take to log in.
    pub login_grace: Duration,
    /// Attempts to log in on one connection.
    pub auth_attempts: usize,
    /// Channels open at once on one connection.
    pub channels_per_connection: usize,
    /// How long a client may take nothing of what it is sent before it is let go.
    pub stall: Duration,
    /// Rooms in all.
    pub rooms: usize,
    /// Rooms that exist and that one account has made.
    pub rooms_per_account: usize,
    /// Accounts that may be made from one address without an invite, in the long run.
    pub new_accounts_per_address: Rate,
    /// Messages that one account may send at once after a pause; at least 1.
    pub message_burst: u32,
    /// Messages that one account may send in the long run.
    pub message_rate: Rate,
    /// Commands that one account may give at once after a pause; at least 1.
    pub command_burst: u32,
    /// Commands that one account may give in the long run.
    pub command_rate: Rate,
    /// How long those whose keys are known come in while the database does not answer; zero is
    /// not at all.
    pub outage_logins: Duration,
    /// Bytes that stay free on the file system with the database; if nobody says, 64 MiB or a
    /// twentieth of it, whichever is less.
    pub disk_reserve: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            connections_per_address: 64,
            trusted_networks: Vec::new(),
            people_per_address: 10,
            unauthenticated: 1024,
            login_grace: Duration::from_secs(20),
            auth_attempts: 12,
            channels_per_connection: 4,
            stall: Duration::from_secs(30),
            rooms: 1000,
            rooms_per_account: 20,
            new_accounts_per_address: Rate::per_hour(20),
            message_burst: 5,
            message_rate: Rate::per_second(2),
            command_burst: 10,
            command_rate: Rate::per_second(5),
            outage_logins: Duration::from_secs(60 * 60),
            disk_reserve: None,
        }
    }
}

/// How much of the past is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Lines shown on joining a room: 0 to 200.
    pub on_join: usize,
    /// Bytes that the database may use; above it, the oldest messages are removed.
    pub max_size: Option<u64>,
}

impl Default for History {
    fn default() -> History {
        History {
            on_join: 20,
            max_size: None,
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines there are.
    pub level: LogFilter,
}

/// Metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Where they can be asked for: nowhere if nobody says.
    pub listen: Option<SocketAddr>,
}

/// How the server ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// How long what is in flight has to finish before it is cut off.
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            deadline: Duration::from_secs(10),
        }
    }
}

/// The SSH protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssh {
    /// Offer only what is strong by today's measure, even if older clients can't connect.
    pub strict_crypto: bool,
}

/// What is kept in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// The region; if nobody says, the environment and the instance's metadata do.
    pub region: Option<String>,
    /// The name or ARN of the secret with the host key, which is then not in the data folder.
    pub host_key_secret: Option<String>,
    /// The name of the SSM parameter that tells the host key's public half.
    pub host_key_parameter: Option<String>,
    /// The `DynamoDB` table with everything else, which is then not in the data folder.
    pub table: Option<String>,
    /// How long what was said is kept there; for ever if nobody says.
    pub history: Option<Duration>,
    /// How soon what another process changed there about who may be here takes effect.
    pub refresh: Duration,
    /// How long to go on trying at the start.
    pub patience: Duration,
    /// The chat's name in `CloudWatch`; nothing is sent there without one.
    pub metrics: Option<String>,
}

impl Default for Aws {
    fn default() -> Aws {
        Aws {
            region: None,
            host_key_secret: None,
            host_key_parameter: None,
            table: None,
            history: None,
            refresh: Duration::from_secs(30),
            patience: Duration::from_secs(5 * 60),
            metrics: None,
        }
    }
}

/// The command that connects to a server: `ssh -p PORT HOST`, or `ssh HOST` if the port is 22.
pub fn ssh_command(host: &str, port: u16) -> String {
    match port {
        22 => format!("ssh {host}"),
        port => format!("ssh -p {port} {host}"),
    }
}

impl Config {
    /// Gathers the settings from all places and checks them.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn load(
        flags: &Flags,
        env: &Environment,
        read: &Reader<'_>,
    ) -> Result<Config, ConfigErrors> {
        let mut problems = Vec::new();
        let file = places::find_file(flags, env, read, &mut problems);
        let given = sources::gather(file.as_ref(), env, flags, &mut problems);

        let mut config = Config::initial();
        config.file = file.map(|file| file.path);
        let mut refused = Vec::new();
        for setting in SETTINGS {
            if let Some(given) = given.get(setting.key) {
                if let Err(hint) = (setting.set)(&mut config, &given.text) {
                    problems.push(Problem::value(setting.key, given, hint));
                    refused.push(setting.key);
                }
                config.sources.insert(setting.key, given.source.clone());
            }
        }
        problems.extend(listeners::collisions(&config, &refused));
        config.find_the_rest(&given, env, read, &mut problems);

        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors::new(problems))
        }
    }

    /// Every default that is the same everywhere; the others are left empty.
    fn initial() -> Config {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2222))],
            data_dir: PathBuf::new(),
            access: Access::default(),
            operator_keys: Vec::new(),
            approval: false,
            add_keys: AddKeys::default(),
            invite_expires: Duration::from_secs(7 * 24 * 3600),
            web_url: None,
            host_name: String::new(),
            motd: Motd::default(),
            limits: Limits::default(),
            history: History::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            shutdown: Shutdown::default(),
            ssh: Ssh::default(),
            web: Web::default(),
            aws: Aws::default(),
            file: None,
            sources: BTreeMap::new(),
        }
    }

    /// Fills in what depends on the machine, on other settings or on another file.
    fn find_the_rest(
        &mut self,
        given: &BTreeMap<&'static str, Given>,
        env: &Environment,
        read: &Reader<'_>,
        problems: &mut Vec<Problem>,
    ) {
        if !given.contains_key("data_dir") {
            match places::data_dir(env) {
                Some(folder) => self.data_dir = folder,
                None => problems.push(Problem::new(
                    "data_dir is not set, and neither is HOME, where it would be by default",
                    Source::Default,
                    "name a folder, for instance with --data-dir /var/lib/ssh-chat",
                )),
            }
        }
        if !given.contains_key("host_name") {
            self.host_name = places::host_name(&self.listen, read);
        }
        if let Some(from) = given.get("history.max_size")
            && self.history.max_size.is_some()
            && self.aws.table.is_some()
        {
            problems.push(Problem::new(
                "history.max_size and aws.table are both set",
                from.source.clone(),
                "history.max_size is for the database in the data folder; for a table, use \
                 aws.history",
            ));
        }
        let Some((path, from)) = self.motd.file.as_deref().zip(given.get("motd_file")) else {
            return;
        };
        if self.motd.text.is_some() {
            problems.push(Problem::new(
                "motd and motd_file are both set",
                from.source.clone(),
                "keep one of them",
            ));
            return;
        }
        match places::read_motd(path, read) {
            Ok(text) => self.motd.text = text,
            Err(hint) => problems.push(Problem::value("motd_file", from, hint)),
        }
    }

    /// Takes from `newer` what can change while the server runs, and leaves the rest. Answers
    /// with the keys that differ but need a restart.
    pub fn reload(&mut self, newer: Config) -> Vec<&'static str> {
        let waiting = SETTINGS
            .iter()
            .filter(|setting| !setting.reloadable && (setting.show)(self) != (setting.show)(&newer))
            .map(|setting| setting.key)
            .collect();
        for setting in SETTINGS.iter().filter(|setting| setting.reloadable) {
            match newer.sources.get(setting.key) {
                Some(source) => self.sources.insert(setting.key, source.clone()),
                None => self.sources.remove(setting.key),
            };
        }
        self.access = newer.access;
        self.operator_keys = newer.operator_keys;
        self.approval = newer.approval;
        self.add_keys = newer.add_keys;
        self.invite_expires = newer.invite_expires;
        self.web_url = newer.web_url;
        self.motd = newer.motd;
        self.limits.message_burst = newer.limits.message_burst;
        self.limits.message_rate = newer.limits.message_rate;
        self.limits.command_burst = newer.limits.command_burst;
        self.limits.command_rate = newer.limits.command_rate;
        self.limits.new_accounts_per_address = newer.limits.new_accounts_per_address;
        self.limits.rooms_per_account = newer.limits.rooms_per_account;
        self.limits.people_per_address = newer.limits.people_per_address;
        self.limits.outage_logins = newer.limits.outage_logins;
        self.log.level = newer.log.level;
        waiting
    }

    /// The port that clients connect to: the first of `listen`, or 22 if that is 0 (any free port).
    pub fn ssh_port(&self) -> u16 {
        let port = self.listen.first().map(SocketAddr::port);
        port.filter(|port| *port != 0).unwrap_or(22)
    }

    /// The command that joins the chat.
    pub fn ssh_command(&self) -> String {
        ssh_command(&self.host_name, self.ssh_port())
    }

    /// The configuration file that was read, if there was one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether this is about the service that the package installs, rather than a server of
    /// somebody's own beside it.
    pub fn is_the_service_s(&self) -> bool {
        self.data_dir == Path::new(places::SYSTEM_HOME)
    }

    /// Whether somebody said where the data are.
    pub fn has_data_dir_set(&self) -> bool {
        self.sources.contains_key("data_dir")
    }

    /// The settings in force, each with where it came from, as a configuration file.
    pub fn explain(&self) -> String {
        let mut out = match &self.file {
            Some(path) => format!("# read from {}\n", path.display()),
            None => String::from("# no configuration file was read\n"),
        };
        for (section, settings) in settings::sections() {
            if let Some(section) = section {
                let _ = write!(out, "\n[{section}]\n");
            }
            for setting in settings {
                out.push_str(&self.explain_one(setting));
            }
        }
        out
    }

    fn explain_one(&self, setting: &Setting) -> String {
        let source = self.sources.get(setting.key).unwrap_or(&Source::Default);
        let Some(line) = setting.assignment(self) else {
            return format!("# {} is not set\n", setting.name());
        };
        format!("{line:<40}  # {source}\n")
    }
}
