//! Looking, without changing anything.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Database, DiskSpace, Found};
use crate::chat::access::Role;
use crate::chat::ids::{Fingerprint, Time};
use crate::config::AccessMode;
use crate::store::{Store, StoreError};

#[cfg(test)]
mod tests;

/// All that was seen.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub file: Option<PathBuf>,
    pub access: AccessMode,
    pub operator_keys: usize,
    pub data_dir: PathBuf,
    pub folder: Folder,
    /// The user who looks, if the system tells.
    pub user: Option<u32>,
    pub host_key: Result<Option<Fingerprint>, String>,
    /// The secret that holds it, if it is in none of our files.
    pub secret: Option<String>,
    pub store: Seen,
    pub running: bool,
    pub systemd: Vec<SocketAddr>,
    pub space: Option<DiskSpace>,
    pub ports: Vec<(SocketAddr, Port)>,
    pub now: Time,
}

/// The data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    /// All is kept in AWS.
    Unused,
    Missing,
    OtherThing,
    Hidden(String),
    There {
        owner: u32,
        mode: u32,
    },
}

/// The database.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    NotYet,
    Closed(String),
    Open {
        damage: Result<Option<Vec<String>>, StoreError>,
        writable: Result<(), StoreError>,
        people: Result<Census, StoreError>,
        /// When something was last done that is in the audit log.
        newest: Option<Time>,
    },
}

/// Who is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Accounts with a key.
    pub members: usize,
    /// Those of them that are operators.
    pub operators: usize,
    /// Names that nobody could choose today, with why.
    pub odd_names: Vec<String>,
}

/// What ssh-chat says first to whoever connects.
const GREETING: &[u8] = b"SSH-2.0-sshchat_";
/// How long whoever holds a port has for saying who it is.
const GREETING_WITHIN: Duration = Duration::from_secs(2);

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Port {
    Free,
    /// Whoever connects there is greeted as by ssh-chat.
    Chat,
    InUse,
    Denied,
    NotOurs,
    Wrong(String),
}

pub(super) async fn look(found: Found<'_>, now: Time) -> Facts {
    let config = found.config;
    Facts {
        file: config.file().map(Path::to_owned),
        access: config.access,
        operator_keys: config.operator_keys.len(),
        data_dir: config.data_dir.clone(),
        folder: match (&config.aws.table, &config.aws.host_key_secret) {
            (Some(_), Some(_)) => Folder::Unused,
            _ => folder(&config.data_dir),
        },
        // The standard library has no geteuid; on Linux a process's files belong to that user.
        user: fs::metadata("/proc/self").map(|own| own.uid()).ok(),
        host_key: found.host_key,
        secret: config.aws.host_key_secret.clone(),
        store: match found.database {
            Database::NotYet => Seen::NotYet,
            Database::Closed(why) => Seen::Closed(why),
            Database::Open { store, damage } => Seen::Open {
                damage,
                writable: store.ping().await,
                people: census(store).await,
                newest: newest(store).await,
            },
        },
        running: found.running,
        systemd: found.systemd,
        space: found.space,
        ports: ports(&config.listen, GREETING_WITHIN),
        now,
    }
}

async fn census(store: &dyn Store) -> Result<Census, StoreError> {
    let mut census = Census::default();
    for found in store.accounts_with_keys().await? {
        let (account, keys) = found?;
        if let Err(why) = account.name.can_be_chosen()
            && !account.name.is_guest()
        {
            census.odd_names.push(format!("{}: {why}", account.name));
        }
        if !keys.is_empty() {
            census.members += 1;
            let operator = account.role == Role::Operator && account.proof_by.is_none();
            census.operators += usize::from(operator);
        }
    }
    Ok(census)
}

async fn newest(store: &dyn Store) -> Option<Time> {
    Some(store.audits(1).await.ok()?.first()?.at)
}

pub(super) fn folder(path: &Path) -> Folder {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Folder::There {
            owner: found.uid(),
            mode: found.mode() & 0o7777,
        },
        Ok(_) => Folder::OtherThing,
        Err(error) if error.kind() == ErrorKind::NotFound => Folder::Missing,
        Err(error) => Folder::Hidden(error.to_string()),
    }
}

/// Tries to listen on each address, as the server would: on all at once, since one can be in
/// the way of another. Who holds one is asked who it is.
pub(super) fn ports(addresses: &[SocketAddr], patience: Duration) -> Vec<(SocketAddr, Port)> {
    let tried: Vec<_> = addresses
        .iter()
        .map(|address| (*address, TcpListener::bind(address)))
        .collect();
    tried
        .iter()
        .map(|(address, listener)| {
            let found = listener.as_ref().map_or_else(port, |_| Port::Free);
            match found {
                Port::InUse | Port::Denied if greets(*address, patience) => (*address, Port::Chat),
                found => (*address, found),
            }
        })
        .collect()
}

fn port(error: &std::io::Error) -> Port {
    match error.kind() {
        ErrorKind::AddrInUse => Port::InUse,
        ErrorKind::PermissionDenied => Port::Denied,
        ErrorKind::AddrNotAvailable => Port::NotOurs,
        _ => Port::Wrong(error.to_string()),
    }
}

/// Whether ssh-chat answers there.
fn greets(listening: SocketAddr, patience: Duration) -> bool {
    let mut address = listening;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let mut heard = [0; GREETING.len()];
    TcpStream::connect_timeout(&address, patience)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(patience))?;
            stream.read_exact(&mut heard)
        })
        .is_ok_and(|()| heard == GREETING)
}
