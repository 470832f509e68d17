//! The wall clock steps while users chat: by NTP, or because a virtual machine resumes. Nothing
//! that measures a duration may be affected; expiry dates follow the wall clock.

use std::sync::Arc;

use serde_json::Value;
use ssh_chat::text::MAX_CHARS;

use crate::harness::faketime::WallClock;
use crate::harness::http::Form;
use crate::harness::moto::Moto;
use crate::harness::{Finished, Home, Login, Server, Terminal, run};

/// Message rate: lower than the test sends, so that it has to wait. Commands, which aren't retried,
/// only check whether users can log in.
const LIMITS: [&str; 5] = [
    "limits.message_burst=2",
    "limits.message_rate=20/s",
    "limits.command_rate=0",
    "web.burst=1",
    "web.rate=20/s",
];

/// The wall clock's offsets from the machine's time, in order.
const STEPS: [&str; 4] = ["-1h", "+1h", "+1d", "-1d"];

const HOUR: i64 = 3_600_000;

#[test]
fn no_step_blocks_or_releases_anything() {
    let clock = WallClock::new();
    chat(&clock, Home::with(clock.variables()));
}

#[test]
fn no_step_blocks_or_releases_anything_on_dynamodb() {
    let clock = WallClock::new();
    let moto = Moto::shared();
    let variables = [moto.variables(), clock.variables()].concat();
    chat(&clock, Home::on(variables, &moto.table()));
}

fn chat(clock: &WallClock, home: Arc<Home>) {
    let key = std::fs::read_to_string(home.key("alice").with_extension("pub")).unwrap();
    let operator = format!("operator_keys={}", key.trim());
    let set = LIMITS.iter().copied().chain([operator.as_str()]);
    let set: Vec<String> = set.flat_map(|s| ["--set", s]).map(str::to_owned).collect();
    let mut server = Server::at(home, set.clone());
    let home = Arc::clone(server.home());
    let web = ["--set", "web.listen=127.0.0.1:0", "web"].map(str::to_owned);
    let mut page = Server::at(Arc::clone(&home), [set, web.to_vec()].concat());
    let code = code(&home);

    let alice = Login::new(&server, "alice").size(120, 40).terminal();
    let bob = Login::new(&server, "bob").terminal();
    alice.wait_text("bob joined");
    let mut said = Vec::new();
    let mut dave = None;
    let mut talk = |step: &str| {
        // Two users at terminals, and a script that exceeds the message rate.
        for (speaker, listener, name) in [(&alice, &bob, "alice"), (&bob, &alice, "bob")] {
            let words = format!("{name} at {step}");
            speaker.line(&words);
            listener.wait_text(&words);
            said.push(words);
        }
        let lines: Vec<String> = (0..6)
            .map(|n| long(&format!("script {n} at {step} ")))
            .collect();
        let script = exec(&server, "carol", "send lobby", &lines.join("\n"));
        assert!(script.status.success(), "{script:?}");
        said.extend(lines);
    };
    let mut comes_or_goes = |step: usize| match dave.take() {
        None => {
            let terminal: Terminal = Login::new(&server, "dave").terminal();
            wait_presence(&alice, "joined", step / 2);
            dave = Some(terminal);
        }
        Some(mut terminal) => {
            terminal.line("/quit");
            terminal.wait_end();
            wait_presence(&alice, "left", step / 2);
        }
    };

    talk("first");
    for (number, step) in STEPS.into_iter().enumerate() {
        clock.step(step);
        talk(step);
        comes_or_goes(number);
        let name = format!("web{number}");
        let key = std::fs::read(home.key(&name).with_extension("pub")).unwrap();
        let form = Form::default().field("code", &code).field("name", &name);
        let answer = form.field("key", key).post(page.port());
        assert_eq!(answer.status, 200, "{step}: {}", answer.body);
    }
    alice.line("/uptime");
    alice.wait_for("seconds of uptime", |screen| {
        let said = screen.said();
        let running = said.rsplit("Up for ").next().unwrap_or_default();
        running
            .split(',')
            .next()
            .is_some_and(|up| up.ends_with(" s"))
    });

    // Expiry follows the wall clock as it is now.
    clock.step("+0");
    alice.line("/ban eve 30m");
    alice.wait_text("No account named eve");
    comes_in(&server, "eve");
    alice.line("/ban eve 30m");
    alice.wait_text("eve is banned");
    // A ban that had expired is in force again once the access watch checks.
    let steps = [
        ("-1h", true, 1),
        ("+1h", false, 1),
        ("+0", true, 50),
        ("+1d", false, 1),
    ];
    for (step, banned, tries) in steps {
        clock.step(step);
        let as_expected = (0..tries).any(|_| comes_in(&server, "eve") != banned);
        assert!(as_expected, "eve is banned at {step}: {banned}");
    }

    // History is in the order of sending, whatever the clock showed.
    let history = exec(&server, "carol", "history lobby 500 --json", "").stdout;
    let history: Vec<Value> = history
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts: Vec<&str> = history.iter().filter_map(|m| m["text"].as_str()).collect();
    assert_eq!(texts, said);
    let places: Vec<u64> = history.iter().filter_map(|m| m["seq"].as_u64()).collect();
    assert!(places.is_sorted(), "{places:?}");
    let times: Vec<i64> = history.iter().map(|m| millis(&m["at"])).collect();
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let steps: Vec<i64> = steps
        .map(|step| (step + HOUR / 2).div_euclid(HOUR))
        .collect();
    let steps: Vec<i64> = steps.into_iter().filter(|step| *step != 0).collect();
    assert_eq!(steps, [-1, 2, 23, -48], "the clock was stepped");

    page.stop();
    let end = server.stop();
    assert!(end.status.success(), "{}", end.stderr);
}

/// A line so long that it isn't joined with the next one.
fn long(words: &str) -> String {
    words.to_owned() + &"-".repeat(MAX_CHARS / 2)
}

/// Waits for `times` + 1 notices that dave joined or left.
fn wait_presence(terminal: &Terminal, verb: &str, times: usize) {
    terminal.wait_for(&format!("that dave {verb}"), |screen| {
        let said = screen.said();
        let lines = said
            .lines()
            .filter(|line| line.contains("dave") && line.contains(verb));
        lines.count() > times
    });
}

/// Whether a user can log in.
fn comes_in(server: &Server, name: &str) -> bool {
    exec(server, name, "whoami", "").status.success()
}

fn exec(server: &Server, user: &str, command: &str, input: &str) -> Finished {
    let login = Login::new(server, user).option(&format!("RemoteCommand={command}"));
    let mut pipe = login.try_pipe();
    pipe.write(input.as_bytes());
    pipe.finish()
}

fn code(home: &Home) -> String {
    let made = run(home, &["invite", "create", "--uses", "9", "--json"]);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    made["code"].as_str().unwrap().to_owned()
}

fn millis(at: &Value) -> i64 {
    let at = chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap());
    at.unwrap().timestamp_millis()
}
