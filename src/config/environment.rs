//! What the configuration takes from the machine: environment variables, files, and the defaults that
//! depend on them.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ValueSource};
use super::values;

/// The configuration file of the package. Only the service and its user read it: on a workstation, the
/// file in the home directory is used even if the service is installed too.
pub const SYSTEM_FILE: &str = "/etc/ssh-chat/config.toml";

/// The service's data folder, and its user's home directory. A command run as that user is about the
/// service, although systemd didn't start it.
pub const SYSTEM_HOME: &str = "/var/lib/ssh-chat";

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads a file; `Ok(None)` if it doesn't exist.
pub type FileReader<'a> = dyn Fn(&Path) -> io::Result<Option<String>> + 'a;

/// A snapshot of a process's environment variables.
#[derive(Clone, Default)]
pub struct Environment(pub(super) BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. Values that aren't UTF-8 are kept with replacement characters, so
    /// that they're rejected as values rather than ignored.
    pub fn of_process() -> Environment {
        let text = |raw: std::ffi::OsString| raw.to_string_lossy().into_owned();
        std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Environment {
        let pairs = pairs.into_iter();
        Environment(pairs.map(|(n, v)| (n.into(), v.into())).collect())
    }
}

/// A configuration file that was read.
pub(super) struct ConfigFile {
    pub path: PathBuf,
    pub text: String,
}

impl ConfigFile {
    /// The line at this byte offset, or the file as a whole.
    pub(super) fn source_at(&self, offset: Option<usize>) -> ValueSource {
        let line = offset.map(|offset| {
            let before = self.text.bytes().take(offset);
            before.filter(|byte| *byte == b'\n').count() + 1
        });
        ValueSource::File {
            path: self.path.clone(),
            line,
        }
    }
}

/// Reads real files, for [`super::Config::load`]: UTF-8 of at most 1 MiB.
///
/// # Errors
/// If the file exists but can't be read.
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
            "it's larger than 1 MiB",
        ));
    }
    Ok(Some(text))
}

/// Reads the configuration file: the one that `--config` names, otherwise the first that exists.
pub(super) fn find_file(
    flag: Option<&Path>,
    env: &Environment,
    read: &FileReader<'_>,
) -> Result<Option<ConfigFile>, ConfigError> {
    let error = |message: &str, path: PathBuf, hint: String| {
        ConfigError::new(message, ValueSource::File { path, line: None }, hint)
    };
    let candidates = match flag {
        Some(path) => vec![path.to_owned()],
        None => default_files(env),
    };
    for path in candidates {
        match read(&path) {
            Ok(Some(text)) => return Ok(Some(ConfigFile { path, text })),
            Ok(None) => {}
            // Never passed over: the next file, or none, wouldn't be the configuration that was meant.
            Err(cause) => {
                let message = "the configuration file can't be read";
                return Err(error(message, path, cause.to_string()));
            }
        }
    }
    flag.map_or(Ok(None), |path| {
        let hint = "--config needs an existing file; without it, the default locations are used";
        Err(error(
            "there is no such configuration file",
            path.to_owned(),
            hint.to_owned(),
        ))
    })
}

/// The files to look for, in order.
fn default_files(env: &Environment) -> Vec<PathBuf> {
    // systemd sets INVOCATION_ID for everything that it starts.
    let is_service = env.get("INVOCATION_ID").is_some() || is_service_user(env);
    let system = is_service.then(|| PathBuf::from(SYSTEM_FILE));
    let own = xdg_directory(env, "XDG_CONFIG_HOME", ".config");
    system
        .into_iter()
        .chain(own.map(|folder| folder.join("ssh-chat/config.toml")))
        .collect()
}

fn is_service_user(env: &Environment) -> bool {
    env.get("HOME") == Some(SYSTEM_HOME)
}

/// The default data folder: what systemd prepared, otherwise the service's for its user, otherwise where
/// the XDG base directory specification keeps state. `None` if HOME isn't set.
pub(super) fn data_dir(env: &Environment) -> Option<PathBuf> {
    // A unit may have several, separated by colons. The first is ours.
    let prepared = env
        .get("STATE_DIRECTORY")
        .and_then(|all| absolute(all.split(':').next()?));
    let service = is_service_user(env).then(|| PathBuf::from(SYSTEM_HOME));
    let own = || Some(xdg_directory(env, "XDG_STATE_HOME", ".local/state")?.join("ssh-chat"));
    prepared.or(service).or_else(own)
}

/// A base directory of the XDG specification, which requires that relative paths are ignored.
fn xdg_directory(env: &Environment, variable: &str, in_home: &str) -> Option<PathBuf> {
    env.get(variable)
        .and_then(absolute)
        .or_else(|| Some(absolute(env.get("HOME")?)?.join(in_home)))
}

fn absolute(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

/// The default host name: `localhost` if the server listens on loopback addresses only, otherwise the
/// name in `/etc/hostname`.
pub(super) fn host_name(listen: &[SocketAddr], read: &FileReader<'_>) -> String {
    let from_file = || {
        let text = read(Path::new("/etc/hostname")).ok().flatten()?;
        // hostname(5): empty lines and comments may come first.
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))?;
        values::host_name(line).ok()
    };
    let is_local = listen.iter().all(|address| address.ip().is_loopback());
    (!is_local)
        .then(from_file)
        .flatten()
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Reads the message of the day from its file. The error describes a valid file.
pub(super) fn read_motd(path: &Path, read: &FileReader<'_>) -> Result<Option<String>, String> {
    match read(path) {
        Ok(Some(text)) => {
            values::motd(&text).map_err(|valid| format!("the file must contain {valid}"))
        }
        Ok(None) => Err("a file that exists".to_owned()),
        Err(error) => Err(format!("a readable file; this one: {error}")),
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
            let read = |path: &Path| {
                if path.starts_with("/locked") {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                let there = files.iter().any(|file| Path::new(file) == path);
                Ok(there.then(String::new))
            };
            let found = find_file(flag.map(Path::new), &variables(env), &read);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let found = found.map(|file| file.path);
                    assert_eq!(found.as_deref(), expected.map(Path::new), "{env}");
                }
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{error}");
                }
                (found, _) => panic!("{env}: {:?}", found.map(|_| ())),
            }
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
