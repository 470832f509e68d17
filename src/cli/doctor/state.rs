//! Collecting the facts, without changing anything.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DatabaseInput, DiskSpace, DoctorInput};
use crate::chat::access::Role;
use crate::chat::ids::{Fingerprint, Time};
use crate::config::AccessMode;
use crate::store::{Store, StoreError};

#[cfg(test)]
mod tests;

/// Everything that the checks need.
#[derive(Debug, Clone)]
pub(super) struct SystemState {
    pub file: Option<PathBuf>,
    pub access: AccessMode,
    pub operator_keys: usize,
    pub data_dir: PathBuf,
    pub folder: DataFolder,
    /// The user running this command, if known.
    pub user: Option<u32>,
    pub host_key: Result<Option<Fingerprint>, String>,
    /// The secret that holds the host key, if it isn't in the data folder.
    pub secret: Option<String>,
    pub database: DatabaseState,
    pub running: bool,
    pub systemd: Vec<SocketAddr>,
    pub space: Option<DiskSpace>,
    pub ports: Vec<(SocketAddr, PortState)>,
    pub now: Time,
}

/// The data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DataFolder {
    /// Everything is in AWS.
    Unused,
    Missing,
    NotAFolder,
    Inaccessible(String),
    Present {
        owner: u32,
        mode: u32,
    },
}

/// The database.
#[derive(Debug, Clone)]
pub(super) enum DatabaseState {
    Missing,
    Unavailable(String),
    Open {
        damage: Result<Option<Vec<String>>, StoreError>,
        writable: Result<(), StoreError>,
        accounts: Result<AccountCounts, StoreError>,
        /// The time of the newest audit entry.
        last_audit: Option<Time>,
    },
}

/// Counts of accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AccountCounts {
    /// Accounts with a key.
    pub with_keys: usize,
    /// Operators among them.
    pub operators: usize,
    /// Names that couldn't be chosen today, each with the reason.
    pub invalid_names: Vec<String>,
}

/// The beginning of ssh-chat's version line.
const VERSION_PREFIX: &[u8] = b"SSH-2.0-sshchat_";
/// How long to wait for the version line of the program that holds a port.
const VERSION_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortState {
    Free,
    /// ssh-chat listens there.
    SshChat,
    InUse,
    Denied,
    /// Not an address of this machine.
    NotLocal,
    Unusable(String),
}

/// Collects the facts. Stops at nothing: what can't be found out is part of the state.
pub(super) async fn collect(input: DoctorInput<'_>, now: Time) -> SystemState {
    let config = input.config;
    SystemState {
        file: config.file().map(Path::to_owned),
        access: config.access,
        operator_keys: config.operator_keys.len(),
        data_dir: config.data_dir.clone(),
        folder: match (&config.aws.table, &config.aws.host_key_secret) {
            (Some(_), Some(_)) => DataFolder::Unused,
            _ => data_folder(&config.data_dir),
        },
        // The standard library has no geteuid. On Linux, a process's own /proc files belong to that user.
        user: fs::metadata("/proc/self").map(|own| own.uid()).ok(),
        host_key: input.host_key,
        secret: config.aws.host_key_secret.clone(),
        database: match input.database {
            DatabaseInput::Missing => DatabaseState::Missing,
            DatabaseInput::Unavailable(why) => DatabaseState::Unavailable(why),
            DatabaseInput::Open { store, damage } => DatabaseState::Open {
                damage,
                writable: store.ping().await,
                accounts: count_accounts(store).await,
                last_audit: last_audit(store).await,
            },
        },
        running: input.running,
        systemd: input.systemd,
        space: input.space,
        ports: ports(&config.listen, VERSION_TIMEOUT),
        now,
    }
}

async fn count_accounts(store: &dyn Store) -> Result<AccountCounts, StoreError> {
    let mut counts = AccountCounts::default();
    for account in store.accounts_with_keys().await? {
        let (account, keys) = account?;
        if let Err(why) = account.name.can_be_chosen()
            && !account.name.is_guest()
        {
            counts
                .invalid_names
                .push(format!("{}: {why}", account.name));
        }
        if !keys.is_empty() {
            counts.with_keys += 1;
            let is_operator = account.role == Role::Operator && account.proof_by.is_none();
            counts.operators += usize::from(is_operator);
        }
    }
    Ok(counts)
}

async fn last_audit(store: &dyn Store) -> Option<Time> {
    Some(store.audits(1).await.ok()?.first()?.at)
}

fn data_folder(path: &Path) -> DataFolder {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => DataFolder::Present {
            owner: metadata.uid(),
            mode: metadata.mode() & 0o7777,
        },
        Ok(_) => DataFolder::NotAFolder,
        Err(error) if error.kind() == ErrorKind::NotFound => DataFolder::Missing,
        Err(error) => DataFolder::Inaccessible(error.to_string()),
    }
}

/// Tries to listen on each address, as the server would: on all at once, since they can conflict.
/// If an address is taken, connects to it to find out by what.
fn ports(addresses: &[SocketAddr], timeout: Duration) -> Vec<(SocketAddr, PortState)> {
    let tried: Vec<_> = addresses
        .iter()
        .map(|address| (*address, TcpListener::bind(address)))
        .collect();
    tried
        .iter()
        .map(|(address, listener)| {
            let state = listener
                .as_ref()
                .map_or_else(port_state, |_| PortState::Free);
            let is_taken = matches!(state, PortState::InUse | PortState::Denied);
            if is_taken && is_ssh_chat(*address, timeout) {
                (*address, PortState::SshChat)
            } else {
                (*address, state)
            }
        })
        .collect()
}

fn port_state(error: &std::io::Error) -> PortState {
    match error.kind() {
        ErrorKind::AddrInUse => PortState::InUse,
        ErrorKind::PermissionDenied => PortState::Denied,
        ErrorKind::AddrNotAvailable => PortState::NotLocal,
        _ => PortState::Unusable(error.to_string()),
    }
}

/// Whether ssh-chat answers on this address.
fn is_ssh_chat(listening: SocketAddr, timeout: Duration) -> bool {
    let mut address = listening;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let mut received = [0; VERSION_PREFIX.len()];
    TcpStream::connect_timeout(&address, timeout)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(timeout))?;
            stream.read_exact(&mut received)
        })
        .is_ok_and(|()| received == VERSION_PREFIX)
}
