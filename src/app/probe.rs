//! The command that looks at a server from outside.

use std::time::Duration;

use crate::cli::probe::{self, Measured, Probe};
use crate::cli::{Console, Exit};
use crate::ssh::probe::{Aim, Seen, host_and_port, key_in, probe};

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
    let (key, is_new) = key_in(&args.key)?;
    if is_new {
        probe::key_was_made(args, console);
    }
    let aim = Aim {
        host,
        port,
        user: args.user.clone(),
        key,
        fingerprint: args.fingerprint.clone(),
        patience: Duration::from_secs(args.timeout),
    };
    let seen = probe(&aim).await.map_err(|miss| miss.to_string())?;
    let Seen {
        fingerprint,
        connect,
        login,
        echo,
    } = seen;
    Ok(Measured {
        fingerprint: fingerprint.as_str().to_owned(),
        connect,
        login,
        echo,
    })
}
