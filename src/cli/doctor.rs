//! `ssh-chat doctor`: looks at everything that the server needs, and says what to mend.
//!
//! First all is looked at ([`look`]), with what the caller found where adapters are needed; then
//! it is judged ([`judge`]), which is pure; then it is told.

use std::net::SocketAddr;

use clap::Args;
use serde::Serialize;

use self::cloud::Cloud;
use super::Exit;
use super::console::{Console, Failure};
use crate::chat::ids::{Fingerprint, Time};
use crate::config::{Config, ConfigErrors};
use crate::store::{Store, StoreError};

pub mod cloud;
mod judge;
mod look;
#[cfg(test)]
mod tests;

/// How to tell.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Doctor {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// What the caller found where adapters are needed. Nothing of it is made by looking.
pub struct Found<'a> {
    /// The settings in force.
    pub config: &'a Config,
    /// The host key, `None` if there is none yet; or why it can't be used, and what to do.
    pub host_key: Result<Option<Fingerprint>, String>,
    /// The database.
    pub database: Database<'a>,
    /// Whether a server holds the lock of the data folder.
    pub running: bool,
    /// Where systemd listens for the server, if this is its service and it does.
    pub systemd: Vec<SocketAddr>,
    /// The space for the data folder, if that can be told.
    pub space: Option<DiskSpace>,
    /// AWS, if anything is kept there.
    pub cloud: Option<Cloud>,
}

/// Space for the data folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What is free.
    pub free: u64,
    /// What must stay free: with less, the server refuses new messages.
    pub reserve: u64,
}

/// The database as the caller found it.
pub enum Database<'a> {
    /// There is none: it is made on the first start.
    NotYet,
    /// It can't be opened: why.
    Closed(String),
    /// It was opened.
    Open {
        /// The store.
        store: &'a dyn Store,
        /// What is damaged in it, if that can be found out ([`Archive::damage`]).
        ///
        /// [`Archive::damage`]: crate::store::Archive::damage
        damage: Result<Option<Vec<String>>, StoreError>,
    },
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It works, but somebody should know.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be checked.
    Skip,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
        }
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, in words that stay the same.
    #[serde(rename = "check")]
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it, if there is something to do.
    pub mend: Option<String>,
}

/// Checks everything, and tells. Without a valid configuration nothing else can be looked at.
pub async fn run(
    args: &Doctor,
    found: Result<Found<'_>, &ConfigErrors>,
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let checks = match found {
        Ok(mut found) => {
            let cloud = found.cloud.take();
            let mut checks = judge::judge(&look::look(found, now).await);
            checks.extend(cloud.iter().flat_map(cloud::judge));
            checks
        }
        Err(errors) => vec![judge::configuration(errors)],
    };
    let result = tell(&checks, args.json, &mut console);
    console.finish(result)
}

fn tell(checks: &[Check], json: bool, console: &mut Console<'_>) -> Result<(), Failure> {
    for check in checks {
        if json {
            console.json(check)?;
            continue;
        }
        let indented = check.found.replace('\n', "\n                    ");
        let outcome = check.outcome.as_str();
        writeln!(console.out, "{outcome:<4}  {:<12}  {indented}", check.name)?;
        if let Some(mend) = &check.mend {
            writeln!(console.out, "                    -> {mend}")?;
        }
    }
    let count = |outcome| checks.iter().filter(|c| c.outcome == outcome).count();
    match (count(Outcome::Fail), count(Outcome::Warn)) {
        (0, 0) => Ok(console.say("all is well")?),
        (0, warned) => Ok(console.say(&format!("it works; {warned} to look at"))?),
        (failed, _) => Err(Failure::Refused(format!("{failed} of the checks failed"))),
    }
}
