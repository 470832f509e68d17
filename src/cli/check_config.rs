//! `ssh-chat check-config`: shows the settings in force, or all that is wrong with them.

use std::io::Write;

use super::Exit;
use crate::config::{Config, Environment, FileReader, SettingFlags};

/// Checks the configuration. The settings in force go to `out`, as a configuration file; the
/// verdict goes to `err`.
pub fn run(
    flags: &SettingFlags,
    env: &Environment,
    read: &FileReader<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let (written, exit) = match Config::load(flags, env, read) {
        Ok(config) => (
            out.write_all(config.explain().as_bytes())
                .and_then(|()| out.flush())
                .and_then(|()| writeln!(err, "the configuration is good")),
            Exit::Good,
        ),
        Err(errors) => (writeln!(err, "{errors}"), Exit::Usage),
    };
    match written {
        Ok(()) => exit,
        Err(_) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn check(set: &[&str]) -> (Exit, String, String) {
        let flags = SettingFlags {
            set: set.iter().map(|&s| s.to_owned()).collect(),
            ..SettingFlags::default()
        };
        let env = [("HOME", "/home/alice")].into_iter().collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&flags, &env, &|_| Ok(None), &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    #[test]
    fn a_good_configuration_is_data_and_a_verdict() {
        let (exit, out, err) = check(&["limits.rooms=7"]);
        assert_eq!(exit, Exit::Good);
        assert!(out.contains("rooms = 7"), "{out}");
        assert_eq!(err, "the configuration is good\n");
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
        let exit = run(&flags, &env, &|_| Ok(None), &mut Closed, &mut Closed);
        assert_ne!(exit, Exit::Good);
    }
}
