//! Parses the command line and starts what was chosen.

use std::process::ExitCode;

use clap::Parser as _;
use ssh_chat::app;
use ssh_chat::cli::Cli;

fn main() -> ExitCode {
    app::main(&Cli::parse()).into()
}
