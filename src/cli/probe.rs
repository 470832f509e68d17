//! `ssh-chat probe`: logs in as people do, and says how long it took or what is wrong.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::Exit;
use super::console::{Console, Failure};
use crate::chat::ids::Fingerprint;

/// Whom to probe, and how.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Probe {
    /// Where people connect to; the port is 22 unless it says another
    #[arg(value_name = "HOST[:PORT]")]
    pub host: String,
    /// Log in with the key in this file; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Log in with this name
    #[arg(long, value_name = "NAME", default_value = "probe")]
    pub user: String,
    /// The host key that the server must have, as `ssh-chat host-key show` tells it
    #[arg(long, value_name = "SHA256:…")]
    pub fingerprint: Option<Fingerprint>,
    /// How long all of it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// What was seen of a server that is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its host key.
    pub fingerprint: String,
    /// Until the connection was there.
    pub connect: Duration,
    /// From then on until the login was accepted.
    pub login: Duration,
    /// From then on until the hub and the store had answered.
    pub echo: Duration,
}

#[derive(Serialize)]
struct Record<'a> {
    host: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Milliseconds to a hundredth.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// Tells what came of it. The error is a sentence.
pub fn tell(args: &Probe, result: Result<Measured, String>, mut console: Console<'_>) -> Exit {
    let done = match &result {
        Ok(seen) if args.json => console.json(&Record {
            host: &args.host,
            ok: true,
            fingerprint: Some(&seen.fingerprint),
            connect_ms: Some(millis(seen.connect)),
            login_ms: Some(millis(seen.login)),
            echo_ms: Some(millis(seen.echo)),
            error: None,
        }),
        Ok(seen) => writeln!(
            console.out,
            "{}  connect {} ms, login {} ms, echo {} ms, host key {}",
            args.host,
            millis(seen.connect),
            millis(seen.login),
            millis(seen.echo),
            seen.fingerprint
        ),
        Err(error) if args.json => console.json(&Record {
            host: &args.host,
            ok: false,
            fingerprint: None,
            connect_ms: None,
            login_ms: None,
            echo_ms: None,
            error: Some(error),
        }),
        Err(_) => Ok(()),
    };
    let done = done.map_err(Failure::from);
    console.finish(done.and(match result {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Refused(error)),
    }))
}

/// Says that the key was made, for whoever has to let it in.
pub fn key_was_made(args: &Probe, console: &mut Console<'_>) {
    let (user, key) = (&args.user, args.key.display());
    let words = format!(
        "the key {key} is new; where only registered keys come in, let it in with\n  \
         ssh-chat keys add --account {user} {key}.pub"
    );
    let _nobody_listens = console.say(&words);
}
