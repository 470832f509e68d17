//! Where things are when nobody says: the configuration file, the data folder, the host name.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::Problem;
use super::sources::{Flags, Source};
use super::{Environment, Reader, values};

/// Where the package puts the file. Read only as the service, or by its user: on a laptop the
/// file in the home folder counts, even if a service is installed beside it.
pub const SYSTEM_FILE: &str = "/etc/ssh-chat/config.toml";

/// The folder for the service's data, and the home of its user. An operator who runs a command
/// as that user means the service, though systemd did not start the command.
pub const SYSTEM_HOME: &str = "/var/lib/ssh-chat";

/// The largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// A configuration file that was read.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl File {
    /// The place in this file at a distance of so many bytes from its start.
    pub(super) fn at(&self, offset: Option<usize>) -> Source {
        let line = offset.map(|offset| {
            let before = self.text.bytes().take(offset);
            before.filter(|byte| *byte == b'\n').count() + 1
        });
        Source::File {
            path: self.path.clone(),
            line,
        }
    }
}

/// The real files, for [`super::Config::load`]: UTF-8 of at most 1 MiB, `None` if not there.
pub fn read_file(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 1 MiB",
        ));
    }
    Ok(Some(text))
}

/// The configuration file that counts, if there is one.
pub(super) fn find_file(
    flags: &Flags,
    env: &Environment,
    read: &Reader<'_>,
    problems: &mut Vec<Problem>,
) -> Option<File> {
    let mut refuse = |what: String, path: PathBuf, hint: String| {
        problems.push(Problem::new(what, Source::File { path, line: None }, hint));
    };
    let candidates = match &flags.config {
        Some(path) => vec![path.clone()],
        None => usual_files(env),
    };
    for path in candidates {
        match read(&path) {
            Ok(Some(text)) => return Some(File { path, text }),
            Ok(None) => {}
            // A file that is there but can't be read is never passed over: the next one, or
            // none, would be another configuration than the one that was meant.
            Err(error) => {
                refuse(
                    "the configuration file can't be read".to_owned(),
                    path,
                    error.to_string(),
                );
                return None;
            }
        }
    }
    if let Some(path) = &flags.config {
        refuse(
            "there is no such configuration file".to_owned(),
            path.clone(),
            "--config needs a file that exists; without it, the usual places are searched".into(),
        );
    }
    None
}

/// Where a file may be, the first that exists counts.
fn usual_files(env: &Environment) -> Vec<PathBuf> {
    // systemd sets INVOCATION_ID for everything that it starts.
    let service = env.get("INVOCATION_ID").is_some() || is_service_user(env);
    let system = service.then(|| PathBuf::from(SYSTEM_FILE));
    let own = base(env, "XDG_CONFIG_HOME", ".config");
    system
        .into_iter()
        .chain(own.map(|folder| folder.join("ssh-chat/config.toml")))
        .collect()
}

fn is_service_user(env: &Environment) -> bool {
    env.get("HOME") == Some(SYSTEM_HOME)
}

/// The folder for data: what systemd prepared, else the service's for its user, else where the XDG base directory
/// specification wants state.
pub(super) fn data_dir(env: &Environment) -> Option<PathBuf> {
    // A unit may ask for several, separated by colons: the first is ours.
    let prepared = env
        .get("STATE_DIRECTORY")
        .and_then(|all| absolute(all.split(':').next()?));
    let service = is_service_user(env).then(|| PathBuf::from(SYSTEM_HOME));
    let own = || Some(base(env, "XDG_STATE_HOME", ".local/state")?.join("ssh-chat"));
    prepared.or(service).or_else(own)
}

/// A base folder of the XDG specification, which says to ignore paths that are not absolute.
fn base(env: &Environment, variable: &str, in_home: &str) -> Option<PathBuf> {
    env.get(variable)
        .and_then(absolute)
        .or_else(|| Some(absolute(env.get("HOME")?)?.join(in_home)))
}

fn absolute(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

/// What to call this machine: nobody elsewhere can use a name if it listens to itself only.
pub(super) fn host_name(listen: &[SocketAddr], read: &Reader<'_>) -> String {
    let own = || {
        let text = read(Path::new("/etc/hostname")).ok().flatten()?;
        // hostname(5): empty lines and comments may come before the name.
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))?;
        values::host_name(line).ok()
    };
    let to_itself = listen.iter().all(|address| address.ip().is_loopback());
    (!to_itself)
        .then(own)
        .flatten()
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Reads the message of the day from its file; the error says what would be right.
pub(super) fn read_motd(path: &Path, read: &Reader<'_>) -> Result<Option<String>, String> {
    match read(path) {
        Ok(Some(text)) => {
            values::motd(&text).map_err(|right| format!("the file should hold {right}"))
        }
        Ok(None) => Err("a file that exists".to_owned()),
        Err(error) => Err(format!("a file that can be read; this one: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The environment with these variables, `NAME=VALUE` apart by spaces.
    fn variables(text: &str) -> Environment {
        text.split(' ')
            .filter_map(|pair| pair.split_once('='))
            .collect()
    }

    #[test]
    fn the_configuration_file_is_where_it_is_usual() {
        const ETC: &str = "/etc/ssh-chat/config.toml";
        const HOME: &str = "/home/a/.config/ssh-chat/config.toml";
        for (env, flag, files, expected) in [
            ("HOME=/home/a", None, &[][..], Ok(None)),
            ("HOME=/home/a", None, &[HOME, ETC], Ok(Some(HOME))),
            (
                "HOME=/home/a INVOCATION_ID=1",
                None,
                &[HOME, ETC],
                Ok(Some(ETC)),
            ),
            (
                "HOME=/home/a INVOCATION_ID=1",
                None,
                &[HOME],
                Ok(Some(HOME)),
            ),
            ("HOME=/var/lib/ssh-chat", None, &[HOME, ETC], Ok(Some(ETC))),
            (
                "HOME=/home/a XDG_CONFIG_HOME=/x",
                None,
                &[HOME, "/x/ssh-chat/config.toml"],
                Ok(Some("/x/ssh-chat/config.toml")),
            ),
            (
                "HOME=/home/a XDG_CONFIG_HOME=x",
                None,
                &[HOME],
                Ok(Some(HOME)),
            ),
            ("", None, &[HOME, ETC], Ok(None)),
            ("HOME=/home/a", Some("f"), &[HOME, "f"], Ok(Some("f"))),
            ("HOME=/home/a", Some("f"), &[HOME], Err("there is no such")),
            (
                "HOME=/locked",
                None,
                &[],
                Err("can't be read (/locked/.config"),
            ),
            (
                "HOME=/home/a XDG_CONFIG_HOME=/locked",
                None,
                &[HOME],
                Err("can't be read (/locked/ssh-chat/config.toml)"),
            ),
        ] {
            let flags = Flags {
                config: flag.map(PathBuf::from),
                ..Flags::default()
            };
            let read = |path: &Path| {
                if path.starts_with("/locked") {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                let there = files.iter().any(|file| Path::new(file) == path);
                Ok(there.then(String::new))
            };
            let mut problems = Vec::new();
            let found = find_file(&flags, &variables(env), &read, &mut problems);
            let found = found.map(|file| file.path);
            match expected {
                Ok(expected) => assert_eq!(found.as_deref(), expected.map(Path::new), "{env}"),
                Err(words) => assert!(problems[0].to_string().contains(words), "{problems:?}"),
            }
            assert_eq!(problems.is_empty(), expected.is_ok(), "{env}: {problems:?}");
        }
    }

    #[test]
    fn the_data_folder_is_where_it_is_usual() {
        for (env, expected) in [
            ("HOME=/home/a", Some("/home/a/.local/state/ssh-chat")),
            ("HOME=/home/a XDG_STATE_HOME=/x", Some("/x/ssh-chat")),
            ("XDG_STATE_HOME=/x", Some("/x/ssh-chat")),
            (
                "HOME=/home/a XDG_STATE_HOME=x",
                Some("/home/a/.local/state/ssh-chat"),
            ),
            (
                "HOME=/h STATE_DIRECTORY=/var/lib/ssh-chat",
                Some("/var/lib/ssh-chat"),
            ),
            ("STATE_DIRECTORY=/var/lib/a:/var/lib/b", Some("/var/lib/a")),
            ("HOME=/var/lib/ssh-chat", Some("/var/lib/ssh-chat")),
            ("HOME=/var/lib/ssh-chat STATE_DIRECTORY=/x", Some("/x")),
            ("HOME=", None),
            ("", None),
        ] {
            let found = data_dir(&variables(env));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{env}");
        }
    }

    #[test]
    fn the_host_name_is_one_that_others_can_use() {
        for (listen, file, expected) in [
            ("127.0.0.1:22", Some("chat.example.com"), "localhost"),
            ("[::1]:22", Some("chat.example.com"), "localhost"),
            ("0.0.0.0:22", Some("chat.example.com\n"), "chat.example.com"),
            ("0.0.0.0:22", Some("# ours\n\n chat \n"), "chat"),
            ("0.0.0.0:22", Some("not a name"), "localhost"),
            ("0.0.0.0:22", Some(""), "localhost"),
            ("0.0.0.0:22", None, "localhost"),
        ] {
            let read = |_: &Path| Ok(file.map(str::to_owned));
            let listen = [listen.parse().unwrap()];
            assert_eq!(host_name(&listen, &read), expected, "{listen:?} {file:?}");
        }
    }

    #[test]
    fn real_files_are_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert_eq!(read_file(&path).unwrap(), None);
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_file(&path).unwrap().as_deref(), Some("text"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(read_file(&path).is_err());
        std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert!(read_file(&path).is_err());
    }
}
