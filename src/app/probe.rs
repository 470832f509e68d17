//! The command that looks at a server from outside.

use std::time::Duration;

use crate::chat::ids::Fingerprint;
use crate::cli::probe::{self, Measured, Probe};
use crate::cli::{Console, Exit};
use crate::ssh::probe::{ProbeReport, ProbeTarget, host_and_port, load_or_create_key, probe};

/// Probes a server, and tells.
pub(super) async fn run(args: &Probe, mut console: Console<'_>) -> Exit {
    let measured = look(args, &mut console).await;
    probe::tell(args, measured, console)
}

async fn look(args: &Probe, console: &mut Console<'_>) -> Result<Measured, String> {
    let Some((host, port)) = host_and_port(&args.host) else {
        let host = &args.host;
        return Err(format!("{host:?} is no HOST or HOST:PORT"));
    };
    let (key, is_new) = load_or_create_key(&args.key)?;
    if is_new {
        probe::key_was_made(args, console);
    }
    let target = ProbeTarget {
        host,
        port,
        user: args.user.clone(),
        key,
        fingerprint: args.fingerprint.as_deref().map(Fingerprint::new),
        timeout: Duration::from_secs(args.timeout),
    };
    let report = probe(&target).await.map_err(|error| error.to_string())?;
    let ProbeReport {
        fingerprint,
        connect,
        login,
        command,
    } = report;
    Ok(Measured {
        fingerprint: fingerprint.as_str().to_owned(),
        connect,
        login,
        echo: command,
    })
}
