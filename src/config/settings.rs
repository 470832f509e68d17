//! Every setting, declared once.
//!
//! One row of `section!` declares the field of [`Config`] and all that is known about the setting:
//! its help (the doc comment), type, default, parser, and whether a reload applies it. The
//! configuration file, environment variables, `--set`, reloads, `check-config`, the documentation and
//! the packaged file follow from the rows.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::error::Origins;
use super::parser::{Parser, boolean, duration, number, some};
use super::values::{
    AccessMode, AddKeysPolicy, ByteSize, LogFilter, LogFormat, MotdFile, Rate, Retention, Value,
    ValueKind, address, addresses, aws_name, choice, host_name, motd, networks, operator_keys,
    path, private_address, public_host_key, region, resource, retention, size, table, web_url,
};
use crate::chat::ids::Fingerprint;

/// The prefix of every setting's environment variable.
pub(super) const PREFIX: &str = "SSH_CHAT_";

/// A setting: its name, its help, and how it's read into and written from a [`Config`].
#[derive(Debug)]
pub struct Setting {
    /// The name in the file: `section.name`, or only a name for settings outside of sections.
    pub key: &'static str,
    /// What it's for: one line of Markdown.
    pub help: &'static str,
    /// How a value is written in the file.
    pub kind: ValueKind,
    /// Its value if it isn't set.
    pub default: DefaultValue,
    /// Whether a running server applies a new value on SIGHUP.
    pub reloadable: bool,
    /// Parses a text into the configuration. The error describes a valid value.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// The smallest and the largest value, if it has them: of a duration in seconds, of a size in bytes.
    pub bounds: fn() -> Option<[u64; 2]>,
    /// The current value as a text that `set` reads back; `None` if there is no value.
    pub show: fn(&Config) -> Option<String>,
    /// Copies the value from another configuration.
    pub copy: fn(&mut Config, &Config),
}

/// The value of a setting that isn't set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// The same everywhere: the value in [`Config::default`].
    Fixed,
    /// Determined at startup, or no value at all.
    Computed {
        /// How it's determined, in Markdown.
        description: &'static str,
        /// An example of a value.
        example: &'static str,
    },
}

impl DefaultValue {
    const fn from_row(computed: &[(&'static str, &'static str)]) -> DefaultValue {
        match computed {
            [(description, example), ..] => DefaultValue::Computed {
                description,
                example,
            },
            [] => DefaultValue::Fixed,
        }
    }
}

/// A part of [`Config`] that holds settings.
trait Section: Default {
    fn of(config: &Config) -> &Self;
    fn of_mut(config: &mut Config) -> &mut Self;
}

/// Declares a section of the file: a struct with a field for each setting, and its `SETTINGS`.
///
/// A row is `/// Help.`, optionally `#[unset("default in words", example = "value")]`, and
/// `field: Type = default, parser, RELOAD or RESTART;`.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $prefix:literal => $Section:ident {
            $(
                $(#[doc = $help:literal])+
                $(#[unset($unset:literal, example = $example:literal)])?
                $field:ident: $Type:ty = $default:expr, $parse:expr, $reloadable:expr;
            )+
        }
        $(sections { $($(#[doc = $section_doc:literal])+ $section:ident: $Nested:ident;)+ })?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Section {
            $($(#[doc = $help])+ pub $field: $Type,)+
            $($($(#[doc = $section_doc])+ pub $section: $Nested,)+
            pub(super) origins: Origins,)?
        }

        impl Default for $Section {
            fn default() -> $Section {
                $Section {
                    $($field: $default,)+
                    $($($section: $Nested::default(),)+
                    origins: Origins::default(),)?
                }
            }
        }

        impl $Section {
            const SETTINGS: &[Setting] = &[$(
                Setting {
                    key: concat!($prefix, stringify!($field)),
                    help: concat!($($help),+).trim_ascii_start(),
                    kind: <$Type as Value>::KIND,
                    default: DefaultValue::from_row(&[$(($unset, $example))?]),
                    reloadable: $reloadable,
                    set: |config, text| {
                        $Section::of_mut(config).$field = Parser::<$Type>::parse(&$parse, text)?;
                        Ok(())
                    },
                    bounds: || Parser::<$Type>::bounds(&$parse),
                    show: |config| $Section::of(config).$field.show(),
                    copy: |to, from| {
                        $Section::of_mut(to).$field.clone_from(&$Section::of(from).$field);
                    },
                },
            )+];
        }

        $(
            $(
                impl Section for $Nested {
                    fn of(config: &Config) -> &$Nested {
                        &config.$section
                    }
                    fn of_mut(config: &mut Config) -> &mut $Nested {
                        &mut config.$section
                    }
                }
            )+

            const SECTIONS: &[&[Setting]] = &[$Section::SETTINGS, $($Nested::SETTINGS),+];
        )?
    };
}

impl Section for Config {
    fn of(config: &Config) -> &Config {
        config
    }
    fn of_mut(config: &mut Config) -> &mut Config {
        config
    }
}

/// A reload applies the setting.
const RELOAD: bool = true;
/// The setting takes effect at the next start.
const RESTART: bool = false;

const MILLION: usize = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = HOUR.saturating_mul(24);

section! {
    /// Every setting, validated and in the type that the program uses.
    "" => Config {
        /// Addresses to listen on for SSH, as `ADDRESS:PORT`. Port 0 picks a free port.
        listen: Vec<SocketAddr> = vec![([127, 0, 0, 1], 2222).into()], addresses, RESTART;

        /// Folder for the host key and the database. Created if missing.
        #[unset(
            "`$STATE_DIRECTORY` under systemd, `/var/lib/ssh-chat` for the service's user, otherwise `$XDG_STATE_HOME/ssh-chat` or `~/.local/state/ssh-chat`",
            example = "/var/lib/ssh-chat"
        )]
        data_dir: PathBuf = PathBuf::new(), path, RESTART;

        /// Who can join: `open` lets in anyone who reaches the port, `allowlist` only registered keys.
        access: AccessMode = AccessMode::Open, choice, RELOAD;

        /// Keys whose owners are always operators: public key lines or `SHA256:…` fingerprints.
        #[unset("none", example = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA")]
        operator_keys: Vec<Fingerprint> = Vec::new(), operator_keys, RELOAD;

        /// With `allowlist`: let unknown keys request access and wait for an operator's approval.
        approval: bool = false, boolean, RELOAD;

        /// Who can add keys to their own account with `/keys add`: `members` (everyone with an account)
        /// or `operators`.
        add_keys: AddKeysPolicy = AddKeysPolicy::Members, choice, RELOAD;

        /// Default lifetime of an invite, from `1m` to `365d`.
        invite_expires: Duration = 7 * DAY, duration(MINUTE..=DAY.saturating_mul(365)), RELOAD;

        /// URL of the page where invites are redeemed. Shown to users who aren't let in.
        #[unset("none", example = "https://chat.example.com/join")]
        web_url: Option<String> = None, web_url, RELOAD;

        /// Name or address that clients use for this server. Shown to users and used in `known_hosts`
        /// lines.
        #[unset(
            "`localhost` if only this machine can connect, otherwise the name in `/etc/hostname`",
            example = "chat.example.com"
        )]
        host_name: String = String::new(), host_name, RESTART;

        /// Message of the day, shown when a user joins.
        #[unset("none", example = "Welcome. Be kind.")]
        motd: Option<String> = None, motd, RELOAD;

        /// File with the message of the day, instead of `motd`.
        #[unset("none", example = "/etc/ssh-chat/motd")]
        motd_file: Option<MotdFile> = None, MotdFile::parse, RELOAD;
    }
    sections {
        /// Limits for the whole server, an address and an account.
        limits: Limits;
        /// How much history is shown and kept.
        history: History;
        /// Logging.
        log: Log;
        /// Metrics and health checks.
        metrics: Metrics;
        /// Shutdown.
        shutdown: Shutdown;
        /// The SSH protocol.
        ssh: Ssh;
        /// The page where invites are redeemed.
        web: Web;
        /// Data in AWS.
        aws: Aws;
    }
}

section! {
    /// Limits for the whole server, an address and an account.
    "limits." => Limits {
        /// Maximum number of connections.
        connections: usize = 4096, number(1..=MILLION), RESTART;

        /// Maximum number of connections from one address. It can open twice as many at once, then as
        /// many every 30 seconds.
        connections_per_address: usize = 64, number(1..=MILLION), RESTART;

        /// Networks whose addresses are shared by many users, such as an office behind NAT. Per-address
        /// limits and penalties don't apply to them.
        #[unset("none", example = "192.0.2.0/24")]
        trusted_networks: Vec<IpNet> = Vec::new(), networks, RESTART;

        /// How many accounts' worth of messages, commands and new rooms one address can use, however many
        /// accounts or guests connect from it.
        people_per_address: u32 = 10, number(1..=10_000), RELOAD;

        /// Maximum number of connections that haven't logged in yet. When it's reached, a new connection
        /// replaces one that's waiting.
        unauthenticated: usize = 1024, number(1..=MILLION), RESTART;

        /// Time limit for logging in.
        login_grace: Duration = 20 * SECOND, duration(SECOND..=MINUTE.saturating_mul(10)), RESTART;

        /// Maximum number of login attempts per connection. Each key that a client offers counts as one.
        auth_attempts: usize = 12, number(1..=100), RESTART;

        /// Maximum number of simultaneous sessions over one connection.
        channels_per_connection: usize = 4, number(1..=64), RESTART;

        /// Disconnect clients that stop reading for this long.
        stall: Duration = 30 * SECOND, duration(SECOND..=HOUR), RESTART;

        /// Maximum number of rooms.
        rooms: usize = 1000, number(1..=MILLION), RESTART;

        /// Maximum number of existing rooms created by one account.
        rooms_per_account: usize = 20, number(1..=MILLION), RELOAD;

        /// Sustained rate of new accounts from one address without an invite, such as `20/h`. After a pause,
        /// `limits.connections_per_address` more are allowed at once. Guests get ten times this rate. `0`
        /// means no limit.
        new_accounts_per_address: Rate = Rate::per_hour(20), str::parse, RELOAD;

        /// Messages that one account can send at once after a pause.
        message_burst: u32 = 5, number(1..=1000), RELOAD;

        /// Sustained message rate per account, such as `2/s` or `30/min`. Each 2 KiB of a message count as
        /// one. `0` means no limit.
        message_rate: Rate = Rate::per_second(2), str::parse, RELOAD;

        /// Commands that one account can run at once after a pause, in all of its sessions and as `ssh host
        /// COMMAND`. A search counts as 3.
        command_burst: u32 = 10, number(1..=1000), RELOAD;

        /// Sustained command rate per account, such as `2/s` or `30/min`. `0` means no limit.
        command_rate: Rate = Rate::per_second(5), str::parse, RELOAD;

        /// How long known keys can still log in while the database is unavailable. `0s` turns this off.
        outage_logins: Duration = HOUR, duration(Duration::ZERO..=DAY), RELOAD;

        /// Free disk space below which new messages, accounts and rooms are refused. Operators' commands
        /// still work. `0` turns this off.
        #[unset("64 MiB or 5% of the file system, whichever is less", example = "512MiB")]
        disk_reserve: Option<ByteSize> = None, some(size(ByteSize(0)..=ByteSize::MAX)), RESTART;
    }
}

section! {
    /// How much history is shown and kept.
    "history." => History {
        /// Maximum size of the database in the data folder. Above it, the oldest messages are deleted. For
        /// a DynamoDB table, use `aws.history`.
        #[unset("no limit", example = "2GiB")]
        max_size: Option<ByteSize> = None, some(size(ByteSize::MIB..=ByteSize::MAX)), RESTART;

        /// Number of past messages shown when joining a room, up to 200.
        on_join: usize = 20, number(0..=200), RESTART;
    }
}

section! {
    /// Logging.
    "log." => Log {
        /// Log format: `text`, `json` or `journald`. `auto` is `journald` under systemd, otherwise `text`.
        format: LogFormat = LogFormat::Auto, choice, RESTART;

        /// Minimum log level: `error`, `warn`, `info`, `debug` or `trace`, optionally followed by levels for
        /// modules: `info,ssh_chat::ssh=debug`.
        level: LogFilter = LogFilter::default(), str::parse, RELOAD;
    }
}

section! {
    /// Metrics and health checks.
    "metrics." => Metrics {
        /// Address for metrics and health checks over plain HTTP, on this machine or in a private network.
        /// See docs/metrics.md.
        #[unset("none", example = "127.0.0.1:9622")]
        listen: Option<SocketAddr> = None, some(private_address), RESTART;
    }
}

section! {
    /// Shutdown.
    "shutdown." => Shutdown {
        /// Time limit for finishing work in flight when the server stops.
        deadline: Duration = 10 * SECOND, duration(SECOND..=MINUTE.saturating_mul(10)), RESTART;
    }
}

section! {
    /// The SSH protocol.
    "ssh." => Ssh {
        /// Offer only the strongest algorithms, even if older clients can't connect.
        strict_crypto: bool = false, boolean, RESTART;
    }
}

section! {
    /// The page where invites are redeemed.
    "web." => Web {
        /// Address that `ssh-chat web` listens on, as `ADDRESS:PORT`. Port 0 picks a free port.
        listen: SocketAddr = ([127, 0, 0, 1], 8080).into(), address, RESTART;

        /// Public half of the host key that the page shows, for places that can't read the key.
        #[unset(
            "the value in `aws.host_key_parameter`, otherwise the host key itself",
            example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
        )]
        host_key: Option<String> = None, public_host_key, RESTART;

        /// Number of proxies in front of the page that append to `X-Forwarded-For`. `0` uses only the
        /// connection's address.
        trusted_hops: usize = 0, number(0..=8), RESTART;

        /// Forms that one address can submit at once after a pause.
        burst: u32 = 20, number(1..=1000), RESTART;

        /// Sustained rate of forms per address, such as `10/min` or `100/h`. `0` means no limit.
        rate: Rate = Rate::per_minute(10), str::parse, RESTART;
    }
}

section! {
    /// Data in AWS.
    "aws." => Aws {
        /// AWS region of the secret, the parameter and the table.
        #[unset(
            "`$AWS_REGION`, otherwise the profile's in `~/.aws/config`, otherwise the instance's own",
            example = "eu-central-1"
        )]
        region: Option<String> = None, some(region), RESTART;

        /// Secret in AWS Secrets Manager, by name or ARN, that holds the host key instead of the data
        /// folder.
        #[unset("none: the host key is in the data folder", example = "ssh-chat/host-key")]
        host_key_secret: Option<String> = None, some(resource), RESTART;

        /// SSM parameter in which the host key's fingerprint and public half are published.
        #[unset("none", example = "/ssh-chat/host-key")]
        host_key_parameter: Option<String> = None, some(resource), RESTART;

        /// DynamoDB table that holds accounts, keys, bans, rooms and messages instead of the data folder.
        #[unset("none: everything is in the data folder", example = "ssh-chat")]
        table: Option<String> = None, some(table), RESTART;

        /// How long messages are kept in the table: a duration or `forever`.
        history: Retention = Retention::Forever, retention(DAY..=DAY.saturating_mul(1000)), RESTART;

        /// How soon a ban or a removed key ends sessions on this server when another process wrote it to
        /// the table.
        refresh: Duration = 30 * SECOND, duration(SECOND..=HOUR), RESTART;

        /// How long to keep retrying at startup while AWS is unreachable or denies access.
        patience: Duration = 5 * MINUTE, duration(SECOND..=HOUR), RESTART;

        /// Name of this chat in CloudWatch, where a few metrics are sent every minute. See metrics.md.
        #[unset("none: nothing is sent", example = "chat")]
        metrics: Option<String> = None, some(aws_name), RESTART;
    }
}

impl Setting {
    /// The section of the file that it's in, if any.
    pub fn section(&self) -> Option<&'static str> {
        self.key.split_once('.').map(|(section, _)| section)
    }

    /// The name without the section.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        let key = self.key.replace('.', "_").to_ascii_uppercase();
        format!("{PREFIX}{key}")
    }

    /// The line of a file that sets it to its value in `config`, if it has one.
    pub fn assignment(&self, config: &Config) -> Option<String> {
        (self.show)(config).map(|text| self.assign(&text))
    }

    /// A line of a file that sets it to its default, or to an example if the default isn't fixed.
    pub fn example_line(&self) -> String {
        match self.default {
            DefaultValue::Fixed => self.assignment(&Config::default()).unwrap_or_default(),
            DefaultValue::Computed { example, .. } => self.assign(example),
        }
    }

    /// The line of a file that sets it to `text`.
    pub fn assign(&self, text: &str) -> String {
        let value = match self.kind {
            ValueKind::Number | ValueKind::Boolean => text.to_owned(),
            ValueKind::List if text.contains(',') => {
                let items: Vec<_> = text.split(',').map(toml_string).collect();
                format!("[{}]", items.join(", "))
            }
            ValueKind::Text | ValueKind::List => toml_string(text),
        };
        format!("{} = {value}", self.name())
    }
}

/// A basic string of TOML: always on one line.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Every setting, by section: first those outside of sections.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().copied().flatten()
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// The sections, each with its settings. The first has no name.
pub fn sections() -> impl Iterator<Item = (Option<&'static str>, &'static [Setting])> {
    let section = |settings: &&'static [Setting]| Some((settings.first()?.section(), *settings));
    SECTIONS.iter().filter_map(section)
}

/// The names of the sections.
pub fn section_names() -> impl Iterator<Item = &'static str> {
    sections().filter_map(|(name, _)| name)
}

/// Whether the file has a section of this name.
pub fn is_section(name: &str) -> bool {
    section_names().any(|section| section == name)
}
