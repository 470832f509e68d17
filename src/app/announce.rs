//! The lines that a person sees who starts the server in a terminal, and the event that an
//! operator finds in the log.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::config::{AccessMode, Config, ssh_command};
use crate::telemetry::logs::LogHandle;

use super::host_key::Found;

/// Says that people can connect now. To a terminal or pipe on standard output; the journal has
/// the event.
pub(super) fn ready(config: &Config, addresses: &[SocketAddr], host_key: &Found, log: &LogHandle) {
    for address in addresses {
        tracing::info!(
            event = "listening",
            %address,
            fingerprint = %host_key.key.fingerprint(),
            host_key_created = host_key.created,
            version = env!("CARGO_PKG_VERSION"),
            "people can connect"
        );
    }
    if !log.in_journal() {
        let text = text(config, addresses, host_key);
        let mut out = std::io::stdout().lock();
        let _nobody_listens = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn text(config: &Config, addresses: &[SocketAddr], host_key: &Found) -> String {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let port = addresses.first().map_or(0, SocketAddr::port);
    let host = &config.host_name;
    let Found {
        key,
        created,
        place,
    } = host_key;
    let (from, reach) = if addresses.iter().all(|a| a.ip().is_loopback()) {
        ("anyone on this machine", "")
    } else {
        (
            "anyone who can reach this port",
            "; listen on 127.0.0.1 to keep it to this machine",
        )
    };
    let age = if *created { "new, kept in" } else { "kept in" };
    let mut text = String::new();
    let mut line = |what: &str, is: &str| {
        let _to_a_string = writeln!(text, "  {what:<12} {is}");
    };
    line("join", &ssh_command(host, port));
    line(
        "host key",
        &format!("{} ({age} {place})", key.fingerprint()),
    );
    line("known_hosts", &key.known_hosts(host, port));
    let access = match config.access {
        AccessMode::Open => format!("open: {from}{reach}"),
        AccessMode::Allowlist => {
            "registered keys only; operators let people in with /invite".into()
        }
    };
    line("access", &access);
    line("stop", "Ctrl-C");
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "ssh-chat {version} is listening on {}\n{text}",
        list.join(", ")
    )
}
