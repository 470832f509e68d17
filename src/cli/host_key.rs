//! `ssh-chat host-key`: what the server proves itself with.

use std::io::{BufRead as _, BufReader, Read};
use std::net::IpAddr;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Exit;
use super::console::{Console, Failure};
use crate::config::Config;
use crate::secrets::{HostKey, HostKeyError, HostKeyStore, LoadedKey};

#[cfg(test)]
mod tests;

/// What to do with the host key.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum HostKeyCommand {
    /// Show the fingerprint, the `known_hosts` line and the SSHFP record
    Show(Show),
    /// Make the host key if there is none yet, as the first start would
    Init,
    /// Replace the host key; the earlier one is kept
    Rotate(Rotate),
}

/// How to show it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Show {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Whether to ask.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Rotate {
    /// Do not ask for a confirmation
    #[arg(long)]
    yes: bool,
}

impl From<HostKeyError> for Failure {
    fn from(error: HostKeyError) -> Failure {
        Failure::Refused(error.to_string())
    }
}

/// Carries out a command about the host key. `input` is where a confirmation is typed.
pub async fn run(
    command: &HostKeyCommand,
    keys: &dyn HostKeyStore,
    config: &Config,
    input: &mut (dyn Read + Send),
    mut console: Console<'_>,
) -> Exit {
    let to = Address::of(config);
    let result = match command {
        HostKeyCommand::Show(args) => show(args, keys, &to, &mut console).await,
        HostKeyCommand::Init => init(keys, &mut console).await,
        HostKeyCommand::Rotate(args) => rotate(args, keys, &to, input, &mut console).await,
    };
    console.finish(result)
}

/// Where people connect.
struct Address<'a> {
    host: &'a str,
    port: u16,
}

impl Address<'_> {
    fn of(config: &Config) -> Address<'_> {
        Address {
            host: &config.host_name,
            port: config.ssh_port(),
        }
    }

    /// As `known_hosts` and `ssh-keygen -R` have it.
    fn known(&self) -> String {
        match self.port {
            22 => self.host.to_owned(),
            port => format!("[{}]:{port}", self.host),
        }
    }

    /// The owner of a record in a zone of the DNS; what has no name there stands for the zone.
    fn owner(&self) -> String {
        if self.host.parse::<IpAddr>().is_ok() || !self.host.contains('.') {
            return "@".to_owned();
        }
        format!("{}.", self.host)
    }
}

/// The key as `host-key show --json` shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    place: String,
    fingerprint: &'a str,
    public_key: String,
    known_hosts: String,
    sshfp: String,
}

async fn show(
    args: &Show,
    keys: &dyn HostKeyStore,
    to: &Address<'_>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let key = existing(keys).await?;
    let fingerprint = key.fingerprint();
    let shown = Shown {
        place: keys.place(),
        fingerprint: fingerprint.as_str(),
        public_key: key.public().line().to_owned(),
        known_hosts: key.public().known_hosts(to.host, to.port),
        sshfp: format!("{} {}", to.owner(), key.sshfp()),
    };
    if args.json {
        return Ok(console.json(&shown)?);
    }
    for (what, is) in [
        ("kept in", shown.place.as_str()),
        ("fingerprint", shown.fingerprint),
        ("known_hosts", &shown.known_hosts),
        ("SSHFP", &shown.sshfp),
    ] {
        writeln!(console.out, "{what:<12} {is}")?;
    }
    Ok(())
}

async fn existing(keys: &dyn HostKeyStore) -> Result<HostKey, Failure> {
    let missing = || {
        Failure::Missing(format!(
            "there is no host key yet in {}; `ssh-chat host-key init` makes it, and so does the \
             first start",
            keys.place()
        ))
    };
    keys.find().await?.ok_or_else(missing)
}

async fn init(keys: &dyn HostKeyStore, console: &mut Console<'_>) -> Result<(), Failure> {
    let LoadedKey { key, created } = keys.load_or_create().await?;
    writeln!(console.out, "{}", key.fingerprint())?;
    let place = keys.place();
    Ok(console.say(&if created {
        format!("a host key was made, and is kept in {place}")
    } else {
        format!("there is a host key in {place} already; it was left as it is")
    })?)
}

async fn rotate(
    args: &Rotate,
    keys: &dyn HostKeyStore,
    to: &Address<'_>,
    input: &mut (dyn Read + Send),
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let old = existing(keys).await?.fingerprint();
    let known = to.known();
    console.say(&format!(
        "This replaces the host key {old} in {}.\n\
         Everybody who has connected before will see this, and can't connect:\n\n    \
         @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\n\
         until they forget the earlier key and compare the new one. It is not needed unless\n\
         somebody else may have a copy of the key.",
        keys.place()
    ))?;
    if !args.yes {
        console.say("Type `rotate` to go on:")?;
        if typed(input)? != "rotate" {
            let words = "nothing was changed; --yes goes on without a question";
            return Err(Failure::Refused(words.to_owned()));
        }
    }
    let new = HostKey::generate()?;
    let kept = keys.replace(&new).await?;
    let new = new.fingerprint();
    writeln!(console.out, "{new}")?;
    Ok(console.say(&format!(
        "The new host key is {new}; the earlier one is kept as\n{kept}.\n\
         Servers that run have the earlier one until they are restarted. Then tell everybody:\n\n    \
         ssh-keygen -R '{known}'\n    \
         connect again, and answer yes only if ssh shows {new}"
    ))?)
}

/// The first line that is typed, without white space around it; of a longer one the beginning.
fn typed(input: &mut (dyn Read + Send)) -> std::io::Result<String> {
    const MOST: u64 = 64;
    let mut line = Vec::new();
    BufReader::new(input.take(MOST)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}
