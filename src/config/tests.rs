use std::collections::HashSet;

use std::io;
use std::time::Duration;

use super::settings::{DefaultValue, find, sections};
use super::*;

mod wrong;

/// What a start would see: variables as `NAME=VALUE`, files as path and content.
#[derive(Default)]
struct Start<'a> {
    flags: SettingFlags,
    env: &'a [&'a str],
    files: &'a [(&'a str, &'a str)],
}

impl Start<'_> {
    fn load(&self) -> Result<Config, ConfigErrors> {
        let set = self.env.iter().filter_map(|pair| pair.split_once('='));
        let env = std::iter::once(("HOME", "/home/alice"))
            .chain(set)
            .collect();
        let read = |path: &Path| {
            let mut files = self.files.iter();
            match files.find(|(other, _)| Path::new(other) == path) {
                Some((_, "(forbidden)")) => Err(io::ErrorKind::PermissionDenied.into()),
                Some((_, text)) => Ok(Some((*text).to_owned())),
                None => Ok(None),
            }
        };
        Config::load(&self.flags, &env, &read)
    }
}

fn set(pairs: &[&str]) -> SettingFlags {
    SettingFlags {
        set: pairs.iter().map(|&pair| pair.to_owned()).collect(),
        ..SettingFlags::default()
    }
}

fn loaded(pairs: &[&str]) -> Result<Config, ConfigErrors> {
    let flags = set(pairs);
    Start {
        flags,
        ..Start::default()
    }
    .load()
}

fn file(text: &str) -> Result<Config, ConfigErrors> {
    Start {
        files: &[("/home/alice/.config/ssh-chat/config.toml", text)],
        ..Start::default()
    }
    .load()
}

fn shown(config: &Config, key: &str) -> String {
    (find(key).unwrap().show)(config).unwrap_or_else(|| "(none)".to_owned())
}

#[test]
fn the_table_is_sound() {
    let variables: HashSet<String> = settings::all().map(Setting::variable).collect();
    assert_eq!(
        variables.len(),
        settings::all().count(),
        "a name is there twice"
    );
    let names: Vec<_> = sections().map(|(section, _)| section).collect();
    let once: HashSet<_> = names.iter().collect();
    assert_eq!(
        once.len(),
        names.len(),
        "a section is torn apart: {names:?}"
    );
    assert_eq!(names.first(), Some(&None), "TOML wants these first");
    for setting in settings::all() {
        let help = setting.help;
        assert!(!help.contains(['|', '\n']) && help.ends_with('.'), "{help}");
        assert!(find(setting.key).is_some() && setting.key.matches('.').count() <= 1);
    }
}

#[test]
fn each_default_reads_back_as_itself() {
    let initial = Config::default();
    for setting in settings::all() {
        let mut config = Config::default();
        match setting.default {
            DefaultValue::Fixed => {
                let text = (setting.show)(&initial).unwrap();
                assert_eq!((setting.set)(&mut config, &text), Ok(()), "{}", setting.key);
                assert_eq!(config, initial, "{}", setting.key);
            }
            DefaultValue::Computed { example, .. } => {
                assert_eq!(
                    (setting.set)(&mut config, example),
                    Ok(()),
                    "{}",
                    setting.key
                );
                assert_eq!((setting.show)(&config).as_deref(), Some(example));
            }
        }
    }
}

#[test]
fn the_defaults_are_those_of_a_laptop() {
    let config = loaded(&[]).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:2222".parse().unwrap()]);
    assert_eq!(
        config.data_dir,
        Path::new("/home/alice/.local/state/ssh-chat")
    );
    assert_eq!(config.host_name, "localhost");
    assert_eq!(config.message_of_the_day(), None);
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn durations_and_rates_have_the_length_they_say() {
    let config = loaded(&[
        "limits.login_grace=1m30s",
        "limits.stall=2m",
        "limits.message_rate=30/min",
    ])
    .unwrap();
    assert_eq!(config.limits.login_grace, Duration::from_secs(90));
    assert_eq!(config.limits.stall, Duration::from_secs(120));
    assert!((config.limits.message_rate.average_per_second() - 0.5).abs() < 1e-9);
}

#[test]
fn the_later_place_wins() {
    let text = "[limits]\nrooms = 1";
    let files: &[_] = &[("/home/alice/.config/ssh-chat/config.toml", text)];
    let env: &[_] = &["SSH_CHAT_LIMITS_ROOMS=2"];
    let empty: &[_] = &["SSH_CHAT_LIMITS_ROOMS="];
    let flag = ["limits.rooms=3"];
    let file_line = "rooms = 1 # /home/alice/.config/ssh-chat/config.toml:2";
    for (files, env, flag, rooms, expected) in [
        (&[][..], &[][..], &[][..], 1000, "rooms = 1000 # default"),
        (files, &[], &[], 1, file_line),
        (files, empty, &[], 1, file_line),
        (files, env, &[], 2, "rooms = 2 # SSH_CHAT_LIMITS_ROOMS"),
        (files, env, &flag, 3, "rooms = 3 # --set"),
        (&[], env, &[], 2, "rooms = 2 # SSH_CHAT_LIMITS_ROOMS"),
    ] {
        let flags = set(flag);
        let config = Start { flags, env, files }.load().unwrap();
        assert_eq!(config.limits.rooms, rooms);
        let explained = config.explain();
        let mut lines = explained
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(lines.any(|line| line == expected), "{explained}");
    }
}

#[test]
fn each_flag_sets_its_setting() {
    let flags = SettingFlags {
        listen: vec!["[::1]:1".to_owned(), "127.0.0.1:2".to_owned()],
        data_dir: Some("/d".to_owned()),
        log_level: Some("trace".to_owned()),
        log_format: Some("text".to_owned()),
        ..SettingFlags::default()
    };
    let start = Start {
        flags,
        ..Start::default()
    };
    let config = start.load().unwrap();
    for (key, expected) in [
        ("listen", "[::1]:1,127.0.0.1:2"),
        ("data_dir", "/d"),
        ("log.level", "trace"),
        ("log.format", "text"),
    ] {
        assert_eq!(shown(&config, key), expected);
    }
}

#[test]
fn the_service_is_known_by_its_data() {
    for (env, expected) in [
        (&["STATE_DIRECTORY=/var/lib/ssh-chat"][..], true),
        (&["HOME=/var/lib/ssh-chat"], true),
        (&[], false),
    ] {
        let start = Start {
            env,
            ..Start::default()
        };
        assert_eq!(
            start.load().unwrap().is_system_service(),
            expected,
            "{env:?}"
        );
    }
}

#[test]
fn sockets_that_are_open_already_are_what_people_connect_to() {
    let flags = SettingFlags {
        listen: vec!["127.0.0.1:1".to_owned()],
        sockets: vec!["0.0.0.0:22".parse().unwrap()],
        ..SettingFlags::default()
    };
    let start = Start {
        flags,
        ..Start::default()
    };
    let config = start.load().unwrap();
    assert_eq!(shown(&config, "listen"), "0.0.0.0:22");
    assert!(config.explain().contains("# sockets from systemd\n"));
}

#[test]
fn the_forms_of_toml_are_understood() {
    let config = file(
        "listen = [\"[::1]:1\", \"127.0.0.1:2\"]\nlimits.rooms = 0x1_0\nssh.strict_crypto = true\nmotd = \"\"\"\na\nb\n\"\"\"",
    );
    let config = config.unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.limits.rooms, 16);
    assert!(config.ssh.strict_crypto);
    assert_eq!(config.message_of_the_day(), Some("a\nb"));
}

#[test]
fn the_message_of_the_day_may_be_in_a_file() {
    let files = &[("/motd", "be kind\n"), ("/secret", "(forbidden)")];
    for (path, expected) in [
        ("/motd", Ok("be kind")),
        (
            "/none",
            Err("motd_file can't be `/none` (--set)\n hint: a file that exists"),
        ),
        (
            "/secret",
            Err("motd_file can't be `/secret` (--set)\n hint: a readable file"),
        ),
    ] {
        let flags = set(&[&format!("motd_file={path}")]);
        let result = Start {
            flags,
            files,
            ..Start::default()
        }
        .load();
        match expected {
            Ok(text) => {
                let config = result.unwrap();
                assert_eq!(config.message_of_the_day(), Some(text));
                assert_eq!(config.motd_file.unwrap().path, Path::new(path));
            }
            Err(words) => {
                let errors = result.unwrap_err().to_string();
                assert!(errors.contains(words), "{errors}");
            }
        }
    }
}

/// Values that differ from the default, for settings of which the table has no example and none
/// can be made up, and for some of which another is more telling.
const OTHERS: &[(&str, &str)] = &[
    ("listen", "[::1]:1,127.0.0.1:2"),
    ("data_dir", "/a \"b\" \\c"),
    ("access", "allowlist"),
    ("add_keys", "operators"),
    (
        "operator_keys",
        "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA,SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ),
    ("invite_expires", "36h"),
    ("motd", "two\nlines, \u{1b}[2J \u{7f}"),
    ("motd_file", "/motd"),
    ("limits.login_grace", "4s"),
    ("limits.stall", "7s"),
    ("limits.new_accounts_per_address", "9/h"),
    ("limits.message_rate", "10/min"),
    ("limits.command_rate", "12/s"),
    ("limits.outage_logins", "13m"),
    ("log.format", "json"),
    ("log.level", "warn,russh=off"),
    ("shutdown.deadline", "12s"),
    ("web.listen", "127.0.0.1:3"),
    ("web.rate", "14/h"),
    ("aws.history", "90d"),
    ("aws.refresh", "15s"),
    ("aws.patience", "16m"),
];

/// A setting at another value than its default, as `KEY=VALUE`.
fn other(setting: &Setting) -> String {
    let default = (setting.show)(&loaded(&[]).unwrap());
    let default = default.as_deref();
    let listed = OTHERS.iter().find(|(key, _)| *key == setting.key);
    let value = match (setting.kind, setting.default) {
        _ if listed.is_some() => listed.unwrap().1.to_owned(),
        (_, DefaultValue::Computed { example, .. }) => example.to_owned(),
        (ValueKind::Boolean, _) => (default == Some("false")).to_string(),
        (ValueKind::Number, _) => (default.unwrap().parse::<u64>().unwrap() + 1).to_string(),
        (ValueKind::Text | ValueKind::List, _) => {
            panic!("{} needs an entry in OTHERS", setting.key)
        }
    };
    assert_ne!(default, Some(&*value), "{}", setting.key);
    format!("{}={value}", setting.key)
}

/// The start with one setting at another value.
fn with_other(pairs: &[&str]) -> Config {
    let start = Start {
        flags: set(pairs),
        files: &[("/motd", "be kind")],
        ..Start::default()
    };
    start.load().unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn each_setting_takes_another_value() {
    for (key, _) in OTHERS {
        assert!(find(key).is_some(), "{key} is no setting");
    }
    let default = loaded(&[]).unwrap();
    for setting in settings::all() {
        let config = with_other(&[&other(setting)]);
        let (before, after) = ((setting.show)(&default), (setting.show)(&config));
        assert_ne!(before, after, "{}", setting.key);
    }
}

#[test]
fn what_is_explained_is_a_file_that_means_the_same() {
    // The message of the day is in one place only, and a file of it is tried below. With a table
    // there is no database.
    let apart = ["motd_file", "history.max_size"];
    let others = settings::all().filter(|setting| !apart.contains(&setting.key));
    let others: Vec<_> = others.map(other).collect();
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    for config in [loaded(&[]).unwrap(), loaded(&others).unwrap()] {
        let explained = config.explain();
        let again = file(&explained).unwrap_or_else(|errors| panic!("{errors}\n{explained}"));
        for setting in settings::all() {
            assert_eq!(
                (setting.show)(&config),
                (setting.show)(&again),
                "{explained}"
            );
        }
    }
}

#[test]
fn a_reload_takes_what_can_change_and_names_the_rest() {
    for setting in settings::all() {
        let pair = other(setting);
        let (mut config, newer) = (loaded(&[]).unwrap(), with_other(&[&pair]));
        let before = (setting.show)(&config);
        let waiting = config.reload(&newer);
        let after = (setting.show)(&config);
        if setting.reloadable {
            assert!(waiting.is_empty(), "{pair}: {waiting:?}");
            assert_eq!(after, (setting.show)(&newer), "{pair}");
            assert_eq!(config, newer, "{pair}");
        } else {
            assert!(waiting.contains(&setting.key), "{pair}: {waiting:?}");
            assert_eq!(before, after, "{pair}");
        }
    }
}
