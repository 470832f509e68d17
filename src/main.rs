//! Parses the command line and starts what was chosen.

use std::process::ExitCode;

use ssh_chat::app;
use ssh_chat::cli::Cli;

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(cli) => app::main(&cli).into(),
        Err(words) => words.exit(),
    }
}
