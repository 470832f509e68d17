//! `ssh-chat admin` next to a running server, and moderation commands with hostile arguments.

use std::time::Instant;

use serde_json::Value;

use crate::harness::{DEADLINE, Finished, Home, Login, Server, Terminal, run};

/// A server with two operators: olga by the configuration, rob by his role.
fn with_operators() -> Server {
    let home = Home::new();
    let public = |name: &str| home.key(name).with_extension("pub");
    let key = std::fs::read_to_string(public("olga")).unwrap();
    let rob = public("rob");
    let server = Server::at(
        home,
        [
            "--set",
            &format!("operator_keys={}", key.trim()),
            "--set",
            "limits.command_rate=0",
            "--log-format",
            "json",
        ]
        .map(str::to_owned)
        .to_vec(),
    );
    let add = ["keys", "add", "--account", "rob", "--role", "operator"];
    let added = run(
        server.home(),
        &[&add[..], &[rob.to_str().unwrap()]].concat(),
    );
    assert!(added.status.success(), "{}", added.stderr);
    server
}

fn enter(server: &Server, name: &str) -> Terminal {
    Login::new(server, name).size(160, 50).terminal()
}

/// `ssh host COMMAND`
fn order(server: &Server, who: &str, command: &str) -> Finished {
    let command = command.replace('%', "%%");
    let login = Login::new(server, who).option(&format!("RemoteCommand={command}"));
    login.try_pipe().finish()
}

fn admin(server: &Server, words: &[&str]) -> Finished {
    run(server.home(), &[&["admin"], words].concat())
}

/// The JSON objects that a command prints at the console.
fn objects(server: &Server, words: &[&str]) -> Vec<Value> {
    let ended = admin(server, &[words, &["--json"]].concat());
    assert!(ended.status.success(), "{}", ended.stderr);
    let lines = ended.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Commands at the console, and their output.
const AT_CONSOLE: &[(&[&str], &str)] = &[
    (&["deop", "rob"], "rob is the last operator"),
    (&["op", "zoe"], "zoe is now an operator."),
    (&["deop", "rob"], "rob is now a member."),
    (&["unban", "1"], "Ban 1 lifted."),
    (&["lockdown", "off"], "The lockdown is over"),
    (&["mute", "rob", "1h"], "rob is muted for 60 minutes."),
    (&["unmute", "rob"], "rob is no longer muted."),
    (&["rename", "rob", "rogue"], "rob is now known as rogue."),
    (
        &["kick", "zoe"],
        "Only the running server can do that. To end zoe's sessions: ssh-chat admin ban zoe 1m",
    ),
    (&["announce", "x"], "Only the running server"),
    (&["status"], "Only the running server"),
    (
        &["unban", "1"],
        "There is no ban 1. ssh-chat admin bans lists them.",
    ),
    (
        &["ban", "nobody"],
        "No account named nobody. ssh-chat keys list shows all accounts.",
    ),
    (&["who"], "who isn't an operator command."),
    (
        &["baan", "zoe"],
        "Unknown command \"baan\". Did you mean ban?",
    ),
    (&["help"], "Try ssh-chat admin --help."),
];

/// A rogue operator can't act on users above; the console removes the role and undoes its effects,
/// while the server runs.
#[test]
fn the_console_regains_control() {
    let server = with_operators();
    let olga = enter(&server, "olga");
    let rob = enter(&server, "rob");
    let zoe = enter(&server, "zoe");
    for (command, words) in [
        ("/ban olga", "Not allowed: olga is a configured operator"),
        ("/kick olga", "Not allowed: olga is a configured operator"),
        ("/mute olga", "Not allowed: olga is a configured operator"),
        (
            "/rename olga x1",
            "Not allowed: olga is a configured operator",
        ),
        ("/ban client OpenSSH", "That would ban you too"),
    ] {
        rob.line(command);
        rob.wait_text(words);
    }
    rob.line("/ban zoe");
    zoe.wait_text("You are banned here");
    rob.line("/lockdown");
    rob.wait_text("Lockdown: new users can't join.");

    let banned = admin(&server, &["ban", "rob", "rogue"]);
    assert_eq!(banned.status.code(), Some(0), "{}", banned.stderr);
    let said = "rob is banned: rogue. ssh-chat admin unban 2 lifts it.";
    assert!(banned.stderr.starts_with(said), "{}", banned.stderr);
    rob.wait_text("You are banned here: rogue");

    let refused = order(&server, "olga", "unban 2");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("was set on the server's console"),
        "{}",
        refused.stderr
    );
    for (words, said) in AT_CONSOLE {
        let ended = admin(&server, words);
        assert!(ended.stderr.contains(said), "{words:?}: {}", ended.stderr);
    }
    assert_eq!(admin(&server, &["who"]).status.code(), Some(2));
    assert_eq!(admin(&server, &["kick", "zoe"]).status.code(), Some(1));

    // The same lines as with `ssh host COMMAND`, and in the running server.
    let bans = admin(&server, &["bans"]).stdout;
    assert_eq!(bans, order(&server, "olga", "bans").stdout);
    assert!(bans.starts_with("2  rob, by (console) at "), "{bans}");
    let code = objects(&server, &["invite", "2", "1d"]);
    assert_eq!(
        (&code[0]["type"], &code[0]["uses"]),
        (&"invite".into(), &2.into())
    );
    let audits = objects(&server, &["audit", "50"]);
    let own = audits
        .iter()
        .filter(|audit| audit["actor_kind"] == "console");
    let own: Vec<_> = own.map(|audit| audit["action"].as_str().unwrap()).collect();
    let expected = [
        "key_add",
        "ban",
        "role",
        "role",
        "unban",
        "lockdown",
        "mute",
        "unmute",
        "rename",
        "invite_create",
    ];
    assert_eq!(own[1..], expected[1..], "{own:?}");
    // The server checks the store once a second.
    let deadline = Instant::now() + DEADLINE;
    while !order(&server, "zoe", "whoami").status.success() {
        assert!(Instant::now() < deadline, "zoe is still banned");
    }
    let again = enter(&server, "zoe");
    again.line("/bans");
    again.wait_text("2 rob");
    olga.line("still here");
    olga.wait_text("olga still here");
}

const HOSTILE: [&str; 3] = ["\u{202e}", "\u{e0041}", "\u{9b}31m"];

/// Hostile characters in the target or reason of a ban never reach lists, logs or exports.
#[test]
fn hostile_arguments_leave_no_trace() {
    let server = with_operators();
    let rob = enter(&server, "rob");
    let _zoe = enter(&server, "zoe");
    let mut number = 0;
    for hostile in HOSTILE {
        for words in [
            format!("ban client Go{hostile}x"),
            format!("ban SHA256:abcdefgh{hostile}"),
            format!("ban SHA256:{hostile}"),
            format!("ban zo{hostile}e"),
            format!("ban 192.0.2.{hostile}1"),
            format!("invite revoke 0123456{hostile}"),
            format!("unban 1{hostile}"),
            format!("approve ab{hostile}cdef"),
            format!("deny ab{hostile}cdef"),
        ] {
            let on_the_line = order(&server, "rob", &words);
            let at_console = admin(&server, &words.split(' ').collect::<Vec<_>>());
            for ended in [on_the_line, at_console] {
                assert_ne!(ended.status.code(), Some(0), "{words:?}: {}", ended.stderr);
                clean(&ended.stderr);
            }
        }
        // The prompt drops control characters, and reads the rest.
        rob.line(&format!(
            "/ban client NoSuchClient{hostile} 1h be{hostile}cause"
        ));
        rob.wait_text(&format!("/unban {} lifts it.", number + 1));
        number += 3;
        // Reasons are user text: sanitized, and kept.
        let reason = format!("mute zoe 1h be{hostile}cause");
        assert_eq!(order(&server, "rob", &reason).status.code(), Some(0));
        let reason = format!("ban client NoSuchClient 1h be{hostile}cause");
        assert_eq!(order(&server, "rob", &reason).status.code(), Some(0));
        let words: Vec<&str> = reason.split(' ').collect();
        assert!(admin(&server, &words).status.success());
    }
    rob.line("/bans");
    rob.wait_text("9 bans.");
    clean(&String::from_utf8_lossy(&rob.raw()).replace('\u{1b}', ""));
    let bans = order(&server, "olga", "bans --json").stdout;
    assert_eq!(bans.lines().count(), 9, "{bans}");
    assert!(bans.contains("SSH-2.0-NoSuchClient"), "{bans}");
    for shown in [
        bans,
        order(&server, "olga", "bans").stdout,
        order(&server, "olga", "audit 100 --json").stdout,
        admin(&server, &["bans"]).stdout,
        run(server.home(), &["audit"]).stdout,
        run(server.home(), &["export"]).stdout,
    ] {
        assert!(shown.contains("NoSuchClient"), "{shown}");
        clean(&shown);
    }
    let log = server.log().text();
    assert!(log.contains("NoSuchClient"), "{log}");
    clean(&log);
}

/// Neither raw, nor as an escape that a JSON parser would decode.
fn clean(text: &str) {
    let escaped = ["\\u202e", "\\u009b", "\\udb40", "\\u{202e}", "\\u{9b}"];
    for hostile in HOSTILE.map(|hostile| hostile.chars().next().unwrap()) {
        assert!(!text.contains(hostile), "{hostile:?} in {text:?}");
    }
    for line in text.lines().filter(|line| line.starts_with('{')) {
        for hostile in escaped {
            assert!(
                !line.to_ascii_lowercase().contains(hostile),
                "{hostile} in {line}"
            );
        }
    }
}
