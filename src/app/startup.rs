//! The process's resources at the start (listening sockets, file descriptors), and the lines that
//! announce a running server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::config::{AccessMode, Config, ssh_command};
use crate::telemetry::logs::LogHandle;

use super::host_key::ServerKey;

/// File descriptors for everything but chat connections: listeners, the store, the log, the key
/// page and `/metrics`.
const OTHER_DESCRIPTORS: u64 = 200;

/// Listening sockets, each with its address.
pub(super) type Listeners<Listener = TcpListener> = Vec<(Listener, SocketAddr)>;

/// Takes over sockets that were opened before the process started.
pub(super) fn adopt(sockets: Listeners<std::net::TcpListener>) -> Result<Listeners> {
    let adopted = sockets.into_iter().map(|(listener, address)| {
        listener.set_nonblocking(true)?;
        Ok((TcpListener::from_std(listener)?, address))
    });
    adopted
        .collect::<std::io::Result<_>>()
        .context("can't use a socket from systemd")
}

/// Opens the listening sockets.
pub(super) async fn bind(addresses: &[SocketAddr]) -> Result<Listeners> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(bind_one(*address, "--listen ADDR:PORT").await?);
    }
    Ok(listeners)
}

/// Opens a listening socket. `setting`: how to choose another address.
pub(super) async fn bind_one(
    address: SocketAddr,
    setting: &str,
) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        anyhow!("can't listen on {address}: {error}. Choose another address with {setting}")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Raises the soft limit on open files (`ulimit -n`) to the hard limit, and warns if that is too
/// low for `limits.connections`: each connection takes a descriptor.
pub(super) fn raise_descriptor_limit(connections: usize) {
    let found = getrlimit(Resource::Nofile);
    if found.current != found.maximum {
        let raised = Rlimit {
            current: found.maximum,
            ..found
        };
        // It may be forbidden. What counts is the limit then in force.
        let _unless_forbidden = setrlimit(Resource::Nofile, raised);
    }
    let limit = getrlimit(Resource::Nofile).current;
    if let (Some(limit), Some((needed, enough_for))) =
        (limit, descriptor_shortage(connections, limit))
    {
        tracing::warn!(
            event = "descriptor_limit_low",
            limit,
            connections,
            needed,
            "too few file descriptors: the limit is {limit}, and limits.connections={connections} \
             needs {needed}. Raise the limit (LimitNOFILE={needed} in the unit, ulimit -n in a \
             shell), or set limits.connections={enough_for}"
        );
    }
}

/// If the limit (`None` is unlimited) is too low: how many descriptors are needed, and how many
/// connections the limit is enough for.
fn descriptor_shortage(connections: usize, limit: Option<u64>) -> Option<(u64, u64)> {
    let limit = limit?;
    let needed = u64::try_from(connections)
        .ok()?
        .saturating_add(OTHER_DESCRIPTORS);
    (limit < needed).then(|| (needed, limit.saturating_sub(OTHER_DESCRIPTORS).max(1)))
}

/// Announces that clients can connect: in the log, and on standard output unless the log goes to
/// the journal.
pub(super) fn announce(
    config: &Config,
    addresses: &[SocketAddr],
    host_key: &ServerKey,
    log: &LogHandle,
) {
    for address in addresses {
        tracing::info!(
            event = "listening",
            %address,
            fingerprint = %host_key.key.fingerprint(),
            host_key_created = host_key.created,
            version = env!("CARGO_PKG_VERSION"),
            "accepting connections"
        );
    }
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let port = addresses.first().map_or(0, SocketAddr::port);
    let ServerKey {
        key,
        created,
        place,
    } = host_key;
    let age = if *created { "new, kept in" } else { "kept in" };
    let access = match config.access {
        AccessMode::Allowlist => "registered keys only; operators can /invite others",
        AccessMode::Open if addresses.iter().all(|a| a.ip().is_loopback()) => {
            "open: anyone on this machine"
        }
        AccessMode::Open => {
            "open: anyone who can reach this port; listen on 127.0.0.1 to restrict it to this machine"
        }
    };
    banner(
        &format!("is listening on {}", list.join(", ")),
        &[
            ("join", &ssh_command(&config.host_name, port)),
            (
                "host key",
                &format!("{} ({age} {place})", key.fingerprint()),
            ),
            (
                "known_hosts",
                &key.public().known_hosts(&config.host_name, port),
            ),
            ("access", access),
            ("stop", "Ctrl-C"),
        ],
        log,
    );
}

/// Writes what the program is doing and a table of facts to standard output, unless the log goes to
/// the journal.
pub(super) fn banner(doing: &str, facts: &[(&str, &str)], log: &LogHandle) {
    if log.in_journal() {
        return;
    }
    let mut text = format!("ssh-chat {} {doing}\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in facts {
        let _to_a_string = writeln!(text, "  {name:<12} {value}");
    }
    let mut out = std::io::stdout().lock();
    let _unless_closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_takes_a_descriptor() {
        let cases = [
            (4096, None, None),
            (4096, Some(65_536), None),
            (4096, Some(4296), None),
            (4096, Some(4295), Some((4296, 4095))),
            (4096, Some(1024), Some((4296, 824))),
            (4096, Some(100), Some((4296, 1))),
        ];
        for (connections, limit, expected) in cases {
            assert_eq!(
                descriptor_shortage(connections, limit),
                expected,
                "{limit:?}"
            );
        }
    }
}
