use std::ffi::OsString;
use std::io::Read;

use clap::CommandFactory as _;

use super::*;
use crate::chat::access::{Actor, AuditEntry};
use crate::chat::ids::{AccountId, Name, Time};
use crate::config::{Config, settings};

pub(super) mod memory;

use memory::Memory;

/// 2026-11-22 14:02 UTC.
pub(super) const NOW: Time = Time(1_795_356_120_000);

/// What a command line says.
pub(super) fn parse(line: &str) -> Command {
    let words = std::iter::once("ssh-chat").chain(line.split_whitespace());
    Cli::try_parse_from(words).unwrap().subcommand().clone()
}

/// A future that waits for nothing, done.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(super) struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

pub(super) fn ran(command: impl FnOnce(Console<'_>) -> Exit) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = command(Console {
        out: &mut out,
        err: &mut err,
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        exit,
        out: text(out),
        err: text(err),
    }
}

/// The configuration of these settings, `KEY=VALUE`.
pub(super) fn configured(set: &[&str]) -> Config {
    let env = [("HOME", "/home/alice")].into_iter().collect();
    let flags = SettingFlags {
        set: set.iter().map(|&pair| pair.to_owned()).collect(),
        ..SettingFlags::default()
    };
    Config::load(&flags, &env, &|_| Ok(None)).unwrap()
}

/// Runs a command that needs the store only, with `input` as standard input.
pub(super) fn run(line: &str, store: &Memory, input: &str) -> Ran {
    let mut input: &mut dyn Read = &mut input.as_bytes();
    let config = configured(&["host_name=chat.example.com", "listen=0.0.0.0:2222"]);
    ran(|console| match parse(line) {
        Command::Keys(command) => {
            // Another account each time.
            let random = 1 + store.content().accounts.len() as u128;
            wait(keys::run(&command, store, &mut input, random, NOW, console))
        }
        Command::Invite(command) => wait(invite::run(
            &command, store, &config, [0xA5; 16], NOW, console,
        )),
        Command::Export(args) => wait(archive::export(&args, store, NOW, console)),
        Command::Import(args) if args.dry_run => archive::check(&args, input, console),
        Command::Import(args) => wait(archive::import(&args, store, input, console)),
        Command::Audit(args) => wait(admin::audit(&args, store, console)),
        other => panic!("{other:?} needs more"),
    })
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn flags_mean_the_same_before_and_after_the_command() {
    let texts = |all: &[&str]| all.iter().map(|&s| s.to_owned()).collect();
    let all = SettingFlags {
        config: Some("c.toml".into()),
        listen: texts(&["[::1]:1", "127.0.0.1:0"]),
        data_dir: Some("d".into()),
        log_level: Some("debug".into()),
        log_format: Some("json".into()),
        set: texts(&["motd=a=b"]),
        ..SettingFlags::default()
    };
    let flags = "--config c.toml --listen [::1]:1 --listen 127.0.0.1:0 --data-dir d \
                 --log-level debug --log-format json --set motd=a=b";
    for (line, command, expected) in [
        (String::new(), Command::Serve, SettingFlags::default()),
        ("serve".into(), Command::Serve, SettingFlags::default()),
        (
            "check-config".into(),
            Command::CheckConfig,
            SettingFlags::default(),
        ),
        (flags.into(), Command::Serve, all.clone()),
        (format!("{flags} serve"), Command::Serve, all.clone()),
        (format!("serve {flags}"), Command::Serve, all.clone()),
        (format!("check-config {flags}"), Command::CheckConfig, all),
    ] {
        let words = std::iter::once("ssh-chat").chain(line.split_whitespace());
        let cli = Cli::parse_args(words.map(OsString::from)).unwrap();
        assert_eq!(
            (cli.subcommand(), cli.flags()),
            (&command, expected),
            "{line}"
        );
    }
}

#[test]
fn what_is_repeated_counts_before_and_after_the_command() {
    for line in [
        "ssh-chat --set a=1 --listen x:1 keys list --set=b=2 --listen=y:2 --json",
        "ssh-chat --set a=1 keys --listen=x:1 list --json --set b=2 --listen y:2",
        "ssh-chat keys list --json --set a=1 --set b=2 --listen x:1 --listen y:2",
    ] {
        let cli = Cli::parse_args(line.split_whitespace().map(OsString::from)).unwrap();
        let flags = cli.flags();
        assert_eq!(
            (flags.set.join(" "), flags.listen.join(" ")),
            ("a=1 b=2".into(), "x:1 y:2".into()),
            "{line}"
        );
    }
    for line in [
        "ssh-chat --set",
        "ssh-chat keys list --set",
        "ssh-chat serve -- --set a=1",
    ] {
        assert!(
            Cli::parse_args(line.split_whitespace().map(OsString::from)).is_err(),
            "{line}"
        );
    }
}

#[test]
fn wrong_usage_ends_with_the_documented_code() {
    for line in [
        "ssh-chat srve",
        "ssh-chat --lisen x",
        "ssh-chat serve extra",
        "ssh-chat keys",
        "ssh-chat keys add key.pub",
        "ssh-chat keys add --account bob! key.pub",
        "ssh-chat keys add --account bob --role guest key.pub",
        "ssh-chat keys revoke SHA256:abc",
        "ssh-chat invite create --uses 0",
        "ssh-chat invite create --uses 1001",
        "ssh-chat invite create --expires 366d",
        "ssh-chat invite create --expires 7",
        "ssh-chat invite create --role guest",
        "ssh-chat invite revoke 1a2b3c4",
        "ssh-chat invite revoke 1a2b3c4g",
        "ssh-chat audit --limit 0",
        "ssh-chat import",
        "ssh-chat host-key",
        "ssh-chat host-key show extra",
        "ssh-chat completions tcsh",
    ] {
        let error = Cli::try_parse_from(line.split_whitespace()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_help_tells_the_true_defaults() {
    let env = [("HOME", "/home/alice")].into_iter().collect();
    let config = Config::load(&SettingFlags::default(), &env, &|_| Ok(None)).unwrap();
    let help = Cli::command().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for key in ["listen", "log.level", "log.format"] {
        let default = (settings::find(key).unwrap().show)(&config).unwrap();
        assert!(help.contains(&format!("[default: {default}]")), "{help}");
    }
}

#[test]
fn the_help_documents_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains(AFTER_HELP), "{help}");
}

#[test]
fn what_was_done_is_shown_with_the_newest_last() {
    let store = Memory::default();
    let nothing = run("audit", &store, "");
    assert_eq!((nothing.exit, nothing.out.as_str()), (Exit::Success, ""));
    for n in 1..=3 {
        let entry = AuditEntry {
            at: NOW.plus(n * 60_000),
            actor: Actor::Account(AccountId(n.into()), Name::new(&format!("op{n}")).unwrap()),
            action: "ban".to_owned(),
            target: crate::text::Text::stored_line("eve\u{1b}[2J\u{202e}"),
            detail: crate::text::Text::stored_line("spam"),
        };
        store.content().audits.insert(0, entry);
    }
    let shown = run("audit --limit 2", &store, "").out;
    assert_eq!(
        shown,
        "\
AT                    ACTOR  ACTION  TARGET  DETAIL
2026-11-22 14:04 UTC  op2    ban     eve[2J  spam
2026-11-22 14:05 UTC  op3    ban     eve[2J  spam
"
    );
    let shown = run("audit --json --limit 1", &store, "").out;
    assert_eq!(
        shown,
        "{\"at\":\"2026-11-22T14:05:00.000Z\",\"actor\":\"op3\",\
         \"actor_kind\":\"account\",\"actor_account\":\"00000000000000000000000000000003\",\
         \"action\":\"ban\",\"target\":\"eve[2J\",\"detail\":\"spam\"}\n"
    );
    store.content().broken = Some(crate::store::StoreError::Full);
    let broken = run("audit", &store, "");
    assert_eq!(broken.exit, Exit::Failed);
    assert_eq!(broken.err, "ssh-chat: the disk is full\n");
}

#[test]
fn completions_and_the_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let Command::Completions(args) = parse(&format!("completions {shell}")) else {
            panic!();
        };
        let script = ran(|console| print::completions(&args, console));
        assert_eq!(script.exit, Exit::Success);
        assert!(script.out.contains("check-config"), "{shell}");
    }
    let Command::Man(args) = parse("man") else {
        panic!();
    };
    let page = ran(|console| print::man(&args, console));
    assert!(page.out.contains(".TH ssh\\-chat 1") || page.out.contains(".TH ssh-chat 1"));
    assert!(page.out.contains("not found"), "{}", page.out);

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("man/man1");
    let Command::Man(args) = parse(&format!("man {}", folder.display())) else {
        panic!();
    };
    let pages = ran(|console| print::man(&args, console));
    assert_eq!(pages.exit, Exit::Success, "{}", pages.err);
    for command in Cli::command().get_subcommands() {
        let page = folder.join(format!("ssh-chat-{}.1", command.get_name()));
        assert!(page.exists(), "{}", page.display());
    }
    assert!(folder.join("ssh-chat-keys-add.1").exists());
}
