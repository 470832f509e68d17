//! The table of all settings: each is declared here or by its section, once.
//!
//! A setting's default is the value of its field in the types of [`super::Config`], so that
//! other code has it too; a test holds that each default reads back as itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::private::private_address;
use super::resources::{chat, region, resource, table};
use super::settings::{Kind, Otherwise, Setting};
use super::values::{
    Access, AddKeys, FOREVER, LogFormat, MIB, MOST_BYTES, addresses, duration, format_size,
    history, host_name, motd, name_of, networks, number, one_of, operator_keys, path, size, switch,
    web_url,
};
use super::web;
use crate::chat::duration::format as format_duration;

const MILLION: usize = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = HOUR.saturating_mul(24);
const YEAR: Duration = DAY.saturating_mul(365);

/// From a second to ten minutes: what a person waits for.
const PATIENCE: RangeInclusive<Duration> = SECOND..=MINUTE.saturating_mul(10);

/// Gives a field the value that was read for it.
pub(super) fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// Every setting, by section.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        kind: Kind::List,
        otherwise: Otherwise::Fixed,
        help: "Where people connect, as `ADDRESS:PORT`; several in a list; port 0 is any free port",
        reloadable: false,
        set: |c, v| put(&mut c.listen, addresses(v)),
        show: |c| {
            let all: Vec<_> = c.listen.iter().map(ToString::to_string).collect();
            Some(all.join(","))
        },
    },
    Setting {
        key: "data_dir",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "`$STATE_DIRECTORY` under systemd, `/var/lib/ssh-chat` for the service's user, else \
                  `$XDG_STATE_HOME/ssh-chat`, else `~/.local/state/ssh-chat`",
            example: "/var/lib/ssh-chat",
        },
        help: "The folder for the host key and the database; made if it is not there",
        reloadable: false,
        set: |c, v| put(&mut c.data_dir, path(v)),
        show: |c| Some(c.data_dir.display().to_string()),
    },
    Setting {
        key: "access",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "Who may come in: `open` is anyone who reaches the port, `allowlist` is those whose \
               keys are known",
        reloadable: true,
        set: |c, v| put(&mut c.access, one_of(v, Access::NAMES)),
        show: |c| name_of(&c.access, Access::NAMES),
    },
    Setting {
        key: "operator_keys",
        kind: Kind::List,
        otherwise: Otherwise::Found {
            how: "none",
            example: "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA",
        },
        help: "Keys whose owners are operators from the start: public key lines or `SHA256:…` \
               fingerprints",
        reloadable: true,
        set: |c, v| put(&mut c.operator_keys, operator_keys(v)),
        show: |c| {
            let all: Vec<_> = c.operator_keys.iter().map(ToString::to_string).collect();
            (!all.is_empty()).then(|| all.join(","))
        },
    },
    Setting {
        key: "approval",
        kind: Kind::Switch,
        otherwise: Otherwise::Fixed,
        help: "With `allowlist`: whether a key that is not known may ask to come in, and wait for \
               an operator to approve it",
        reloadable: true,
        set: |c, v| put(&mut c.approval, switch(v)),
        show: |c| Some(c.approval.to_string()),
    },
    Setting {
        key: "add_keys",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "Who may add keys to their own account with `/keys add`: `members` is everyone with \
               an account, `operators` is operators only",
        reloadable: true,
        set: |c, v| put(&mut c.add_keys, one_of(v, AddKeys::NAMES)),
        show: |c| name_of(&c.add_keys, AddKeys::NAMES),
    },
    Setting {
        key: "invite_expires",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long an invite is good when nobody says, from `1m` to `365d`",
        reloadable: true,
        set: |c, v| put(&mut c.invite_expires, duration(v, MINUTE..=YEAR)),
        show: |c| Some(format_duration(c.invite_expires)),
    },
    Setting {
        key: "web_url",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none",
            example: "https://chat.example.com/join",
        },
        help: "The page where people redeem invites; shown to those who are not let in",
        reloadable: true,
        set: |c, v| put(&mut c.web_url, web_url(v)),
        show: |c| c.web_url.clone(),
    },
    Setting {
        key: "host_name",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "`localhost` if nobody else can connect, else the name in `/etc/hostname`",
            example: "chat.example.com",
        },
        help: "What people call this machine: shown to them, and part of `known_hosts` lines",
        reloadable: false,
        set: |c, v| put(&mut c.host_name, host_name(v)),
        show: |c| Some(c.host_name.clone()),
    },
    Setting {
        key: "motd",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none",
            example: "Welcome. Be kind.",
        },
        help: "The message of the day, shown to everybody who comes in",
        reloadable: true,
        set: |c, v| put(&mut c.motd.text, motd(v)),
        show: |c| c.motd.text.clone().filter(|_| c.motd.file.is_none()),
    },
    Setting {
        key: "motd_file",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none",
            example: "/etc/ssh-chat/motd",
        },
        help: "A file with the message of the day, instead of `motd`",
        reloadable: true,
        set: |c, v| put(&mut c.motd.file, path(v).map(Some)),
        show: |c| Some(c.motd.file.as_ref()?.display().to_string()),
    },
    Setting {
        key: "limits.connections",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Connections in all",
        reloadable: false,
        set: |c, v| put(&mut c.limits.connections, number(v, 1..=MILLION)),
        show: |c| Some(c.limits.connections.to_string()),
    },
    Setting {
        key: "limits.connections_per_address",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Connections from one address; it may open twice as many at once, then as many in 30 seconds",
        reloadable: false,
        set: |c, v| {
            put(
                &mut c.limits.connections_per_address,
                number(v, 1..=MILLION),
            )
        },
        show: |c| Some(c.limits.connections_per_address.to_string()),
    },
    Setting {
        key: "limits.trusted_networks",
        kind: Kind::List,
        otherwise: Otherwise::Found {
            how: "none",
            example: "192.0.2.0/24",
        },
        help: "Networks whose addresses are shared by many people, such as an office behind NAT: limits per \
               address and penalties don't apply to them",
        reloadable: false,
        set: |c, v| put(&mut c.limits.trusted_networks, networks(v)),
        show: |c| {
            let all: Vec<_> = c
                .limits
                .trusted_networks
                .iter()
                .map(ToString::to_string)
                .collect();
            (!all.is_empty()).then(|| all.join(","))
        },
    },
    Setting {
        key: "limits.people_per_address",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "How many accounts' worth of messages, commands and new rooms one address may use, \
               however many accounts or guests connect from it",
        reloadable: true,
        set: |c, v| put(&mut c.limits.people_per_address, number(v, 1..=10_000)),
        show: |c| Some(c.limits.people_per_address.to_string()),
    },
    Setting {
        key: "limits.unauthenticated",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Connections that have not logged in yet; when there are as many, a newcomer takes the place of \
               one that waits",
        reloadable: false,
        set: |c, v| put(&mut c.limits.unauthenticated, number(v, 1..=MILLION)),
        show: |c| Some(c.limits.unauthenticated.to_string()),
    },
    Setting {
        key: "limits.login_grace",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long a connection may take to log in",
        reloadable: false,
        set: |c, v| put(&mut c.limits.login_grace, duration(v, PATIENCE)),
        show: |c| Some(format_duration(c.limits.login_grace)),
    },
    Setting {
        key: "limits.auth_attempts",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Attempts to log in on one connection; each key that a client offers is one",
        reloadable: false,
        set: |c, v| put(&mut c.limits.auth_attempts, number(v, 1..=100)),
        show: |c| Some(c.limits.auth_attempts.to_string()),
    },
    Setting {
        key: "limits.channels_per_connection",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Sessions at once over one connection",
        reloadable: false,
        set: |c, v| put(&mut c.limits.channels_per_connection, number(v, 1..=64)),
        show: |c| Some(c.limits.channels_per_connection.to_string()),
    },
    Setting {
        key: "limits.stall",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long a client may take in nothing of what it is sent before it is let go",
        reloadable: false,
        set: |c, v| put(&mut c.limits.stall, duration(v, SECOND..=HOUR)),
        show: |c| Some(format_duration(c.limits.stall)),
    },
    Setting {
        key: "limits.rooms",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Rooms in all",
        reloadable: false,
        set: |c, v| put(&mut c.limits.rooms, number(v, 1..=MILLION)),
        show: |c| Some(c.limits.rooms.to_string()),
    },
    Setting {
        key: "limits.rooms_per_account",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Rooms that exist and that one account has made",
        reloadable: true,
        set: |c, v| put(&mut c.limits.rooms_per_account, number(v, 1..=MILLION)),
        show: |c| Some(c.limits.rooms_per_account.to_string()),
    },
    Setting {
        key: "limits.new_accounts_per_address",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "Accounts that new keys from one address may get in the long run, without an invite: `20/h`; \
               `limits.connections_per_address` more at once after a pause, and ten times the rate for \
               guests; `0` is no limit",
        reloadable: true,
        set: |c, v| put(&mut c.limits.new_accounts_per_address, v.parse()),
        show: |c| Some(c.limits.new_accounts_per_address.to_string()),
    },
    Setting {
        key: "limits.message_burst",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Messages that one account may send at once, after a pause",
        reloadable: true,
        set: |c, v| put(&mut c.limits.message_burst, number(v, 1..=1000)),
        show: |c| Some(c.limits.message_burst.to_string()),
    },
    Setting {
        key: "limits.message_rate",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "Messages that one account may send in the long run: `2/s`, `30/min`; each 2 KiB of a \
               message count as one; `0` is no limit",
        reloadable: true,
        set: |c, v| put(&mut c.limits.message_rate, v.parse()),
        show: |c| Some(c.limits.message_rate.to_string()),
    },
    Setting {
        key: "limits.command_burst",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Commands that one account may give at once, after a pause, in all of its sessions and \
               as `ssh host COMMAND`; a search counts as 3",
        reloadable: true,
        set: |c, v| put(&mut c.limits.command_burst, number(v, 1..=1000)),
        show: |c| Some(c.limits.command_burst.to_string()),
    },
    Setting {
        key: "limits.command_rate",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "Commands that one account may give in the long run: `2/s`, `30/min`; `0` is no limit",
        reloadable: true,
        set: |c, v| put(&mut c.limits.command_rate, v.parse()),
        show: |c| Some(c.limits.command_rate.to_string()),
    },
    Setting {
        key: "limits.outage_logins",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long those whose keys are known still come in while the database does not \
               answer; `0s` is not at all",
        reloadable: true,
        set: |c, v| {
            put(
                &mut c.limits.outage_logins,
                duration(v, Duration::ZERO..=DAY),
            )
        },
        show: |c| Some(format_duration(c.limits.outage_logins)),
    },
    Setting {
        key: "limits.disk_reserve",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "64 MiB or a twentieth of the file system, whichever is less",
            example: "512MiB",
        },
        help: "How much stays free on the disk with the database: with less, new messages, accounts \
               and rooms are refused, and what operators do still works; `0` is nothing",
        reloadable: false,
        set: |c, v| {
            put(
                &mut c.limits.disk_reserve,
                size(v, 0..=MOST_BYTES).map(Some),
            )
        },
        show: |c| c.limits.disk_reserve.map(format_size),
    },
    Setting {
        key: "history.max_size",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "no limit",
            example: "2GiB",
        },
        help: "The most that the database in the data folder may use: above it, the oldest messages \
               are removed. For a table there is `aws.history`",
        reloadable: false,
        set: |c, v| put(&mut c.history.max_size, size(v, MIB..=MOST_BYTES).map(Some)),
        show: |c| c.history.max_size.map(format_size),
    },
    Setting {
        key: "history.on_join",
        kind: Kind::Number,
        otherwise: Otherwise::Fixed,
        help: "Lines of the past that are shown on joining a room, up to 200",
        reloadable: false,
        set: |c, v| put(&mut c.history.on_join, number(v, 0..=200)),
        show: |c| Some(c.history.on_join.to_string()),
    },
    Setting {
        key: "log.format",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How a line looks: `text`, `json`, `journald`; `auto` is `journald` under systemd, \
               else `text`",
        reloadable: false,
        set: |c, v| put(&mut c.log.format, one_of(v, LogFormat::NAMES)),
        show: |c| name_of(&c.log.format, LogFormat::NAMES),
    },
    Setting {
        key: "log.level",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "The least that is logged: `error`, `warn`, `info`, `debug`, `trace`; others for \
               single parts after it: `info,ssh_chat::ssh=debug`",
        reloadable: true,
        set: |c, v| put(&mut c.log.level, v.parse()),
        show: |c| Some(c.log.level.to_string()),
    },
    Setting {
        key: "metrics.listen",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none",
            example: "127.0.0.1:9622",
        },
        help: "Where metrics and health can be asked for over plain HTTP: an address of this machine or of a \
               private network; see docs/metrics.md",
        reloadable: false,
        set: |c, v| put(&mut c.metrics.listen, private_address(v).map(Some)),
        show: |c| Some(c.metrics.listen?.to_string()),
    },
    Setting {
        key: "shutdown.deadline",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long what is in flight has to finish when the server stops",
        reloadable: false,
        set: |c, v| put(&mut c.shutdown.deadline, duration(v, PATIENCE)),
        show: |c| Some(format_duration(c.shutdown.deadline)),
    },
    Setting {
        key: "ssh.strict_crypto",
        kind: Kind::Switch,
        otherwise: Otherwise::Fixed,
        help: "Offer only what is strong by today's measure, even if older clients can't connect",
        reloadable: false,
        set: |c, v| put(&mut c.ssh.strict_crypto, switch(v)),
        show: |c| Some(c.ssh.strict_crypto.to_string()),
    },
    web::LISTEN,
    web::HOST_KEY,
    web::TRUSTED_HOPS,
    web::BURST,
    web::RATE,
    Setting {
        key: "aws.region",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "`$AWS_REGION`, else the profile's in `~/.aws/config`, else the instance's own",
            example: "eu-central-1",
        },
        help: "The region of AWS in which the secret and the parameter are",
        reloadable: false,
        set: |c, v| put(&mut c.aws.region, region(v).map(Some)),
        show: |c| c.aws.region.clone(),
    },
    Setting {
        key: "aws.host_key_secret",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none: the host key is in the data folder",
            example: "ssh-chat/host-key",
        },
        help: "The secret in AWS Secrets Manager, by name or ARN, that holds the host key instead \
               of the data folder",
        reloadable: false,
        set: |c, v| put(&mut c.aws.host_key_secret, resource(v).map(Some)),
        show: |c| c.aws.host_key_secret.clone(),
    },
    Setting {
        key: "aws.host_key_parameter",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none",
            example: "/ssh-chat/host-key",
        },
        help: "The SSM parameter in which the host key's fingerprint and public half are published",
        reloadable: false,
        set: |c, v| put(&mut c.aws.host_key_parameter, resource(v).map(Some)),
        show: |c| c.aws.host_key_parameter.clone(),
    },
    Setting {
        key: "aws.table",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none: all is in the data folder",
            example: "ssh-chat",
        },
        help: "The DynamoDB table that holds accounts, keys, bans, rooms and all that is said instead of \
               the data folder",
        reloadable: false,
        set: |c, v| put(&mut c.aws.table, table(v).map(Some)),
        show: |c| c.aws.table.clone(),
    },
    Setting {
        key: "aws.history",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long what was said is kept in the table: a time, or `forever`",
        reloadable: false,
        set: |c, v| put(&mut c.aws.history, history(v, DAY..=1000 * DAY)),
        show: |c| {
            Some(
                c.aws
                    .history
                    .map_or_else(|| FOREVER.to_owned(), format_duration),
            )
        },
    },
    Setting {
        key: "aws.refresh",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How soon a ban or a removed key ends sessions here when another process has written it \
               to the table",
        reloadable: false,
        set: |c, v| put(&mut c.aws.refresh, duration(v, SECOND..=HOUR)),
        show: |c| Some(format_duration(c.aws.refresh)),
    },
    Setting {
        key: "aws.patience",
        kind: Kind::Text,
        otherwise: Otherwise::Fixed,
        help: "How long to go on trying at the start, when AWS can't be reached or does not let the \
               server in yet",
        reloadable: false,
        set: |c, v| put(&mut c.aws.patience, duration(v, SECOND..=HOUR)),
        show: |c| Some(format_duration(c.aws.patience)),
    },
    Setting {
        key: "aws.metrics",
        kind: Kind::Text,
        otherwise: Otherwise::Found {
            how: "none: nothing is sent there",
            example: "chat",
        },
        help: "The chat's name in CloudWatch, where a few figures go each minute: see metrics.md",
        reloadable: false,
        set: |c, v| put(&mut c.aws.metrics, chat(v).map(Some)),
        show: |c| c.aws.metrics.clone(),
    },
];
