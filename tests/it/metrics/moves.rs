//! Each metric changes when what it counts happens.

use super::{args, get, value, wait_for};
use crate::harness::{Home, Login, Server};

/// An action on a server with these settings, and the minimum increase of samples.
struct Case {
    what: &'static str,
    settings: &'static [&'static str],
    happens: fn(&Server),
    grows: &'static [(&'static str, f64)],
}

fn talk(server: &Server) {
    let alice = Login::new(server, "alice").pipe();
    let mut bob = Login::new(server, "bob").pipe();
    bob.line("good morning");
    alice.wait_text("bob: good morning");
    bob.line("/msg alice psst");
    alice.wait_text("psst");
}

fn follow(server: &Server) {
    let tail = Login::new(server, "tim").option("RemoteCommand=tail lobby");
    let tail = tail.try_pipe();
    let who = || {
        let ci = Login::new(server, "ci").option("RemoteCommand=who");
        ci.try_pipe().wait_end().stdout
    };
    assert!((0..100).any(|_| who().contains("tim")), "tim never joined");
    let mut bob = Login::new(server, "bob").pipe();
    bob.line("one for the tail");
    tail.wait_text("one for the tail");
    bob.wait_text("bob: one for the tail");
}

/// A client stops reading while more is sent than the network buffers hold.
fn stop_reading(server: &Server) -> crate::harness::Terminal {
    let alice = Login::new(server, "alice").pipe();
    let mut bob = Login::new(server, "bob").pipe();
    let reader = Login::new(server, "reader").terminal();
    reader.signal("STOP");
    let filling = "x".repeat(1900);
    for batch in 0..20 {
        for n in 0..100 {
            bob.line(&format!("{batch}-{n} {filling}"));
        }
        alice.wait_text(&format!("bob: {batch}-99 x"));
    }
    reader
}

fn stall(server: &Server) {
    let mut reader = stop_reading(server);
    server.wait_log("how=Stalled");
    reader.signal("CONT");
    reader.wait_end();
}

fn fall_behind(server: &Server) {
    let reader = stop_reading(server);
    reader.signal("CONT");
    reader.wait_raw(b"messages skipped");
}

fn knock(server: &Server) {
    let stranger = Login::new(server, "mallory").try_pipe().finish();
    assert!(!stranger.status.success(), "{stranger:?}");
    let guest = Login::guest(server, "nobody").try_pipe().finish();
    assert!(!guest.status.success(), "{guest:?}");
}

fn offer_a_short_key(server: &Server) {
    let path = server.home().path().join("short");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    let identity = format!("IdentityFile={}", path.display());
    let login = Login::guest(server, "short").option("PubkeyAuthentication=yes");
    login.option(&identity).try_pipe().finish();
}

fn come_again(server: &Server) {
    let alice = Login::new(server, "alice").terminal();
    let bob = Login::new(server, "bob").terminal();
    bob.wait_text("alice");
    alice.line("/ban bob 1h rude");
    alice.wait_text("bob is banned");
    let again = Login::new(server, "bob").try_pipe().finish();
    assert!(!again.status.success(), "{again:?}");
    alice.line("/lockdown 1h");
    server.wait_log("action=lockdown");
    let again = Login::new(server, "carol").try_pipe().finish();
    assert!(!again.status.success(), "{again:?}");
}

const CASES: &[Case] = &[
    Case {
        what: "talking",
        settings: &[],
        happens: talk,
        grows: &[
            ("ssh_chat_deliveries_total", 3.0),
            ("ssh_chat_commit_to_write_seconds_count", 1.0),
            ("ssh_chat_accept_to_commit_seconds_count", 2.0),
            ("ssh_chat_accept_to_commit_seconds_sum", 1e-9),
            ("ssh_chat_commit_seconds_count", 2.0),
            ("ssh_chat_commit_messages_sum", 2.0),
            ("ssh_chat_hub_round_seconds_count", 4.0),
            ("ssh_chat_received_bytes_total", 2000.0),
            ("ssh_chat_sent_bytes_total", 2000.0),
            ("ssh_chat_messages_total{outcome=\"saved\"}", 2.0),
            (
                "ssh_chat_store_calls_total{operation=\"append\",outcome=\"done\"}",
                2.0,
            ),
            (
                "ssh_chat_store_call_seconds_count{operation=\"append\"}",
                2.0,
            ),
            (
                "ssh_chat_store_call_seconds_sum{operation=\"account_create\"}",
                1e-9,
            ),
        ],
    },
    Case {
        what: "following a room without a terminal",
        settings: &[],
        happens: follow,
        grows: &[("ssh_chat_deliveries_total", 2.0)],
    },
    Case {
        what: "a reader that takes nothing for too long",
        settings: &["limits.message_rate=0", "limits.stall=1s"],
        happens: stall,
        grows: &[(
            "ssh_chat_connections_ended_total{stage=\"in\",reason=\"write_stall\"}",
            1.0,
        )],
    },
    Case {
        what: "a reader that takes nothing for a while",
        settings: &["limits.message_rate=0", "limits.stall=10m"],
        happens: fall_behind,
        grows: &[("ssh_chat_skipped_total", 1.0)],
    },
    Case {
        what: "people whom nobody knows",
        settings: &["access=allowlist"],
        happens: knock,
        grows: &[
            ("ssh_chat_logins_failed_total", 2.0),
            (
                "ssh_chat_authentications_total{method=\"keyboard-interactive\",outcome=\"refused\",reason=\"no_key\"}",
                1.0,
            ),
            (
                "ssh_chat_authentications_total{method=\"publickey\",outcome=\"refused\",reason=\"unknown_key\"}",
                1.0,
            ),
        ],
    },
    Case {
        what: "a key that is too short",
        settings: &["access=allowlist"],
        happens: offer_a_short_key,
        grows: &[(
            "ssh_chat_authentications_total{method=\"publickey\",outcome=\"refused\",reason=\"unusable_key\"}",
            1.0,
        )],
    },
    Case {
        what: "a ban and a lockdown",
        settings: &["OPERATOR"],
        happens: come_again,
        grows: &[
            (
                "ssh_chat_authentications_total{method=\"publickey\",outcome=\"refused\",reason=\"banned\"}",
                1.0,
            ),
            (
                "ssh_chat_authentications_total{method=\"publickey\",outcome=\"refused\",reason=\"lockdown\"}",
                1.0,
            ),
        ],
    },
];

fn run(case: &Case) {
    let home = Home::local();
    let key = std::fs::read_to_string(home.key("alice").with_extension("pub")).unwrap();
    let operator = format!("operator_keys={}", key.trim());
    let mut more = Vec::new();
    for &setting in case.settings {
        let setting = if setting == "OPERATOR" {
            &operator
        } else {
            setting
        };
        more.extend(["--set", setting]);
    }
    let server = Server::at(home, args(&more));
    let address = server.metrics();
    let before = get(address, "/metrics").1;
    (case.happens)(&server);
    for (sample, least) in case.grows {
        let what = format!("{sample} after {}", case.what);
        wait_for(address, "/metrics", &what, |_, text| {
            value(text, sample) - value(&before, sample) >= *least
        });
    }
}

#[test]
fn each_metric_changes_when_its_event_happens() {
    std::thread::scope(|scope| {
        for case in CASES {
            scope.spawn(|| run(case));
        }
    });
}
