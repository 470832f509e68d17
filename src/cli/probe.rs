//! `ssh-chat probe`: tests a server with a real SSH login.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Serialize, Serializer};

use super::Exit;
use super::console::{CommandError, Console};
use crate::chat::ids::Fingerprint;

/// Arguments of `probe`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ProbeArgs {
    /// Server to connect to; the default port is 22
    #[arg(value_name = "HOST[:PORT]")]
    pub host: String,
    /// File with the key to log in with; created if missing
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Name to log in with
    #[arg(long, value_name = "NAME", default_value = "probe")]
    pub user: String,
    /// Expected host key, as printed by `ssh-chat host-key show`
    #[arg(long, value_name = "SHA256:…")]
    pub fingerprint: Option<Fingerprint>,
    /// Time limit for the whole test, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// The result of a successful probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbeTimings {
    /// The server's host key.
    pub fingerprint: String,
    /// Time to connect.
    #[serde(rename = "connect_ms", serialize_with = "as_millis")]
    pub connect: Duration,
    /// From then on, time to log in.
    #[serde(rename = "login_ms", serialize_with = "as_millis")]
    pub login: Duration,
    /// From then on, time until the hub and the store responded.
    #[serde(rename = "echo_ms", serialize_with = "as_millis")]
    pub echo: Duration,
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(millis(*duration))
}

/// Milliseconds, rounded to a hundredth.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

#[derive(Serialize)]
struct ProbeReport<'a> {
    host: &'a str,
    ok: bool,
    #[serde(flatten)]
    timings: Option<&'a ProbeTimings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Prints the result of a probe. The error is a sentence.
pub fn report(
    args: &ProbeArgs,
    result: Result<ProbeTimings, String>,
    mut console: Console<'_>,
) -> Exit {
    let written = match &result {
        result if args.json => console.json(&ProbeReport {
            host: &args.host,
            ok: result.is_ok(),
            timings: result.as_ref().ok(),
            error: result.as_ref().err().map(String::as_str),
        }),
        Ok(timings) => writeln!(
            console.out,
            "{}  connect {} ms, login {} ms, echo {} ms, host key {}",
            args.host,
            millis(timings.connect),
            millis(timings.login),
            millis(timings.echo),
            timings.fingerprint
        ),
        Err(_) => Ok(()),
    };
    let result = result.map(|_| ()).map_err(CommandError::Refused);
    console.finish(written.map_err(CommandError::from).and(result))
}

/// Notes that a new key was created, and how to register it.
pub fn note_new_key(args: &ProbeArgs, console: &mut Console<'_>) {
    let (user, key) = (&args.user, args.key.display());
    let _nobody_listens = console.note(&format!(
        "created a new key: {key}; if the server admits registered keys only, register it with\n  \
         ssh-chat keys add --account {user} {key}.pub"
    ));
}
