//! `ssh-chat completions` and `ssh-chat man`: what packages install, made from the command line
//! itself so that it can't be out of date.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::console::Console;
use super::{Cli, Exit};

/// Which shell.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Completions {
    /// The shell that is to complete what is typed
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Where the pages go.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Pages {
    /// Write the page of each command into this folder, instead of the main one to standard output
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Writes the completions for a shell.
pub fn completions(args: &Completions, console: Console<'_>) -> Exit {
    // Made in memory: the generator panics where it can't write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ssh-chat", &mut script);
    let written = console.out.write_all(&script);
    console.finish(written.map_err(Into::into))
}

/// Writes the manual.
pub fn man(args: &Pages, mut console: Console<'_>) -> Exit {
    let written = match &args.folder {
        None => Man::new(Cli::command()).render(&mut console.out),
        Some(folder) => pages(folder, &mut console),
    };
    console.finish(written.map_err(Into::into))
}

fn pages(folder: &Path, console: &mut Console<'_>) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)?;
    writeln!(console.err, "the pages are in {}", folder.display())
}
