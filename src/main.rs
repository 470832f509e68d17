//! Parses the command line and runs the command.

use std::process::ExitCode;

use ssh_chat::app;
use ssh_chat::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse_args(std::env::args_os()) {
        Ok(cli) => app::main(&cli).into(),
        Err(error) => error.exit(),
    }
}
