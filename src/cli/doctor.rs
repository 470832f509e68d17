//! `ssh-chat doctor`: checks everything the server needs and tells how to fix what's wrong.
//!
//! [`state`] collects the facts, together with what `app` found where adapters are needed. [`checks`] and
//! [`aws`] judge them; they're pure.

use std::net::SocketAddr;

use clap::Args;
use serde::Serialize;

use self::aws::AwsState;
use super::Exit;
use super::console::{CommandError, Console};
use crate::chat::ids::{Fingerprint, Time};
use crate::config::{Config, ConfigErrors};
use crate::store::{Store, StoreError};

pub mod aws;
mod checks;
mod state;
#[cfg(test)]
mod tests;

/// Arguments of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// Print one JSON object per check
    #[arg(long)]
    json: bool,
}

/// What the caller found where adapters are needed, without changing anything.
pub struct DoctorInput<'a> {
    /// The effective settings.
    pub config: &'a Config,
    /// The host key, `None` if there is none yet; or why it can't be used and how to fix that.
    pub host_key: Result<Option<Fingerprint>, String>,
    /// The database.
    pub database: DatabaseInput<'a>,
    /// Whether a server holds the data folder's lock.
    pub running: bool,
    /// The addresses that systemd listens on for the server, if this is its service.
    pub systemd: Vec<SocketAddr>,
    /// The disk space for the data folder, if known.
    pub space: Option<DiskSpace>,
    /// AWS, if the configuration uses it.
    pub aws: Option<AwsState>,
}

/// Disk space for the data folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Free space.
    pub free: u64,
    /// Space that must stay free: with less, the server rejects new messages.
    pub reserve: u64,
}

/// The database as the caller found it.
pub enum DatabaseInput<'a> {
    /// It doesn't exist; the first start creates it.
    Missing,
    /// It can't be opened: why.
    Unavailable(String),
    /// It was opened.
    Open {
        /// The store.
        store: &'a dyn Store,
        /// The damage found in it; `None` if it can't be checked ([`Archive::damage`]).
        ///
        /// [`Archive::damage`]: crate::store::Archive::damage
        damage: Result<Option<Vec<String>>, StoreError>,
    },
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// Everything is fine.
    Ok,
    /// It works, but the operator should know.
    Warn,
    /// It doesn't work.
    Fail,
    /// It couldn't be checked.
    Skip,
}

impl CheckOutcome {
    fn as_str(self) -> &'static str {
        match self {
            CheckOutcome::Ok => "ok",
            CheckOutcome::Warn => "warn",
            CheckOutcome::Fail => "fail",
            CheckOutcome::Skip => "skip",
        }
    }
}

/// A check and its outcome. The names of the JSON fields are an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What was checked; a name that doesn't change.
    #[serde(rename = "check")]
    pub name: &'static str,
    /// The outcome.
    pub outcome: CheckOutcome,
    /// What was found.
    #[serde(rename = "found")]
    pub finding: String,
    /// How to fix it, if necessary.
    #[serde(rename = "mend")]
    pub fix: Option<String>,
}

/// Checks everything and prints the results. With an invalid configuration, nothing else is checked.
pub async fn run(
    args: &DoctorArgs,
    input: Result<DoctorInput<'_>, &ConfigErrors>,
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let results = match input {
        Ok(mut input) => {
            let aws = input.aws.take();
            let mut results = checks::check_all(&state::collect(input, now).await);
            results.extend(aws.iter().flat_map(aws::check_all));
            results
        }
        Err(errors) => vec![checks::invalid_configuration(errors)],
    };
    let result = report(&results, args.json, &mut console);
    console.finish(result)
}

fn report(
    results: &[CheckResult],
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    for result in results {
        if json {
            console.json(result)?;
            continue;
        }
        let indented = result.finding.replace('\n', "\n                    ");
        let outcome = result.outcome.as_str();
        writeln!(console.out, "{outcome:<4}  {:<12}  {indented}", result.name)?;
        if let Some(fix) = &result.fix {
            writeln!(console.out, "                    -> {fix}")?;
        }
    }
    let count = |outcome| results.iter().filter(|r| r.outcome == outcome).count();
    match (count(CheckOutcome::Fail), count(CheckOutcome::Warn)) {
        (0, 0) => Ok(console.note("all checks passed")?),
        (0, 1) => Ok(console.note("it works, with 1 warning")?),
        (0, warnings) => Ok(console.note(&format!("it works, with {warnings} warnings"))?),
        (1, _) => Err(CommandError::Refused("1 check failed".to_owned())),
        (failed, _) => Err(CommandError::Refused(format!("{failed} checks failed"))),
    }
}
