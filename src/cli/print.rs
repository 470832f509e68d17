//! The commands that only print: `check-config`, and `completions` and `man`, which packages install.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::console::Console;
use super::{Cli, Exit};
use crate::config::{Config, Environment, FileReader, SettingFlags};

/// Arguments of `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompletionsArgs {
    /// Shell to generate completions for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder, instead of the main page to standard output
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Checks the configuration. Prints the effective settings as a configuration file, or every mistake on
/// standard error.
pub fn check_config(
    flags: &SettingFlags,
    env: &Environment,
    read: &FileReader<'_>,
    mut console: Console<'_>,
) -> Exit {
    let config = match Config::load(flags, env, read) {
        Ok(config) => config,
        Err(errors) => {
            let _nobody_listens = console.note(&errors.to_string());
            return Exit::Usage;
        }
    };
    let written = console.out.write_all(config.explain().as_bytes());
    let result = written.and_then(|()| console.note("the configuration is valid"));
    console.finish(result.map_err(Into::into))
}

/// Prints the completions for a shell.
pub fn completions(args: &CompletionsArgs, console: Console<'_>) -> Exit {
    // Generated in memory: the generator panics on write errors.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ssh-chat", &mut script);
    let written = console.out.write_all(&script);
    console.finish(written.map_err(Into::into))
}

/// Prints the manual page, or writes all pages into a folder.
pub fn man(args: &ManArgs, mut console: Console<'_>) -> Exit {
    let written = match &args.folder {
        None => Man::new(Cli::command()).render(&mut console.out),
        Some(folder) => write_pages(folder, &mut console),
    };
    console.finish(written.map_err(Into::into))
}

fn write_pages(folder: &Path, console: &mut Console<'_>) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)?;
    console.note(&format!("the pages are in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::cli::tests::ran;

    fn check(set: &[&str]) -> (Exit, String, String) {
        let flags = SettingFlags {
            set: set.iter().map(|&s| s.to_owned()).collect(),
            ..SettingFlags::default()
        };
        let env = [("HOME", "/home/alice")].into_iter().collect();
        let ran = ran(|console| check_config(&flags, &env, &|_| Ok(None), console));
        (ran.exit, ran.out, ran.err)
    }

    #[test]
    fn a_good_configuration_is_data_and_a_verdict() {
        let (exit, out, err) = check(&["limits.rooms=7"]);
        assert_eq!(exit, Exit::Success);
        assert!(out.contains("rooms = 7"), "{out}");
        assert_eq!(err, "the configuration is valid\n");
    }

    #[test]
    fn a_wrong_one_is_no_data() {
        let (exit, out, err) = check(&["limits.rooms=many", "limits.stall=1"]);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(err.contains("limits.rooms can't be `many`"), "{err}");
        assert!(err.contains("limits.stall can't be `1`"), "{err}");
    }

    #[test]
    fn a_closed_output_is_a_failure_not_a_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let env = [("HOME", "/home/alice")].into_iter().collect();
        let flags = SettingFlags::default();
        let console = Console {
            out: &mut Closed,
            err: &mut Closed,
        };
        let exit = check_config(&flags, &env, &|_| Ok(None), console);
        assert_ne!(exit, Exit::Success);
    }
}
