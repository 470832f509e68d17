//! `ssh-chat host-key`: the server's host key.

use std::io::{BufRead as _, BufReader, Read};
use std::net::IpAddr;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Exit;
use super::console::{CommandError, Console};
use crate::config::Config;
use crate::secrets::{HostKey, HostKeyError, HostKeyStore, LoadedKey};

#[cfg(test)]
mod tests;

/// What to do with the host key.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum HostKeyCommand {
    /// Show the fingerprint, the `known_hosts` line and the SSHFP record
    Show(ShowArgs),
    /// Create the host key if it doesn't exist, as the first start would
    Init,
    /// Replace the host key and keep a copy of the old one
    Rotate(RotateArgs),
}

/// Arguments of `host-key show`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ShowArgs {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `host-key rotate`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RotateArgs {
    /// Don't ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl From<HostKeyError> for CommandError {
    fn from(error: HostKeyError) -> CommandError {
        CommandError::Refused(error.to_string())
    }
}

/// Runs `ssh-chat host-key`. A confirmation is read from `input`.
pub async fn run(
    command: &HostKeyCommand,
    keys: &dyn HostKeyStore,
    config: &Config,
    input: &mut (dyn Read + Send),
    mut console: Console<'_>,
) -> Exit {
    let address = SshAddress::of(config);
    let result = match command {
        HostKeyCommand::Show(args) => show(args, keys, &address, &mut console).await,
        HostKeyCommand::Init => init(keys, &mut console).await,
        HostKeyCommand::Rotate(args) => rotate(args, keys, &address, input, &mut console).await,
    };
    console.finish(result)
}

/// The address that users connect to.
struct SshAddress<'a> {
    host: &'a str,
    port: u16,
}

impl SshAddress<'_> {
    fn of(config: &Config) -> SshAddress<'_> {
        SshAddress {
            host: &config.host_name,
            port: config.port(),
        }
    }

    /// The host as written in `known_hosts` and for `ssh-keygen -R`.
    fn known_hosts_name(&self) -> String {
        match self.port {
            22 => self.host.to_owned(),
            port => format!("[{}]:{port}", self.host),
        }
    }

    /// The owner name of a DNS record; `@` (the zone itself) for hosts that have no DNS name.
    fn record_owner(&self) -> String {
        if self.host.parse::<IpAddr>().is_ok() || !self.host.contains('.') {
            return "@".to_owned();
        }
        format!("{}.", self.host)
    }
}

#[derive(Serialize)]
struct HostKeyReport<'a> {
    place: String,
    fingerprint: &'a str,
    public_key: String,
    known_hosts: String,
    sshfp: String,
}

async fn show(
    args: &ShowArgs,
    keys: &dyn HostKeyStore,
    address: &SshAddress<'_>,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let key = existing(keys).await?;
    let fingerprint = key.fingerprint();
    let report = HostKeyReport {
        place: keys.place(),
        fingerprint: fingerprint.as_str(),
        public_key: key.public().line().to_owned(),
        known_hosts: key.public().known_hosts(address.host, address.port),
        sshfp: format!("{} {}", address.record_owner(), key.sshfp()),
    };
    if args.json {
        return Ok(console.json(&report)?);
    }
    for (label, value) in [
        ("location", report.place.as_str()),
        ("fingerprint", report.fingerprint),
        ("known_hosts", &report.known_hosts),
        ("SSHFP", &report.sshfp),
    ] {
        writeln!(console.out, "{label:<12} {value}")?;
    }
    Ok(())
}

async fn existing(keys: &dyn HostKeyStore) -> Result<HostKey, CommandError> {
    let not_found = || {
        CommandError::NotFound(format!(
            "there is no host key in {}; `ssh-chat host-key init` or the first start creates it",
            keys.place()
        ))
    };
    keys.find().await?.ok_or_else(not_found)
}

async fn init(keys: &dyn HostKeyStore, console: &mut Console<'_>) -> Result<(), CommandError> {
    let LoadedKey { key, created } = keys.load_or_create().await?;
    writeln!(console.out, "{}", key.fingerprint())?;
    let place = keys.place();
    Ok(console.note(&if created {
        format!("created a host key in {place}")
    } else {
        format!("there is already a host key in {place}; it was not changed")
    })?)
}

async fn rotate(
    args: &RotateArgs,
    keys: &dyn HostKeyStore,
    address: &SshAddress<'_>,
    input: &mut (dyn Read + Send),
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let old = existing(keys).await?.fingerprint();
    let known = address.known_hosts_name();
    console.note(&format!(
        "This replaces the host key {old} in {}.\n\
         Everyone who has connected before will see this warning and can't connect:\n\n    \
         @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\n\
         until they remove the old key and verify the new one. Rotate the key only if\n\
         someone else may have a copy of it.",
        keys.place()
    ))?;
    if !args.yes {
        console.note("Type `rotate` to continue:")?;
        if read_line(input)? != "rotate" {
            let message = "nothing was changed; use --yes to skip the confirmation";
            return Err(CommandError::Refused(message.to_owned()));
        }
    }
    let new = HostKey::generate()?;
    let kept = keys.replace(&new).await?;
    let new = new.fingerprint();
    writeln!(console.out, "{new}")?;
    Ok(console.note(&format!(
        "The new host key is {new}. The old one is kept as\n{kept}.\n\
         Running servers use the old one until they're restarted. Then tell everyone to run\n\n    \
         ssh-keygen -R '{known}'\n\n\
         and to connect again, answering yes only if ssh shows {new}"
    ))?)
}

/// Reads a line, up to 64 bytes of it, without surrounding white space.
fn read_line(input: &mut (dyn Read + Send)) -> std::io::Result<String> {
    const MAX: u64 = 64;
    let mut line = Vec::new();
    BufReader::new(input.take(MAX)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}
