//! The JSON format is an interface: `docs/scripting.md` and the output must agree.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::chat::access::{Actor, Lockdown, LockdownScope, Role};
use crate::chat::event::Presence;
use crate::chat::ids::{AccountId, Now, Seq};
use crate::session::exec::table;
use crate::telemetry::metrics::KeyMetrics;

/// The marks around the generated parts of the document.
const COMMANDS: [&str; 2] = [
    "<!-- commands: written by the test in src/session/exec/output/tests.rs -->\n",
    "<!-- end of commands -->",
];
const EXAMPLES: [&str; 2] = [
    "<!-- examples: written by the test in src/session/exec/output/tests.rs -->\n",
    "<!-- end of examples -->",
];

/// 2026-11-22T14:02:09.123Z
const AT: Time = Time(1_795_356_129_123);
const LATER: Time = Time(1_795_960_929_123);

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn room() -> RoomName {
    RoomName::new("ops").unwrap()
}

fn key() -> Fingerprint {
    Fingerprint::new("SHA256:0jvS3JZ4PfHpKoEvRBgAsdBmzJO2Tdcs0O1XWyV9X5c")
}

fn message(body: Body) -> Message {
    Message {
        conversation: Conversation::Room(room()),
        seq: Seq(12),
        at: AT,
        author: Author {
            account: AccountId(0x5f0c),
            name: name("bob"),
        },
        to: None,
        body,
        edited: false,
    }
}

/// A line for each kind of record.
#[allow(clippy::too_many_lines, reason = "a list")]
fn samples() -> Vec<String> {
    let said = message(Body::Said(Text::stored("the pump is \"hot\"\nagain")));
    let edited = message(Body::Edited {
        target: Seq(11),
        text: Text::stored("the pump is cold"),
    });
    let deleted = message(Body::Deleted { target: Seq(11) });
    let direct = Message {
        conversation: Conversation::between(AccountId(0x5f0c), AccountId(0xa11ce)),
        to: Some(name("alice")),
        edited: true,
        ..message(Body::Did(Text::stored("waves")))
    };
    let presence = Event::Presence(Presence {
        at: AT,
        room: room(),
        joined: vec![name("carol"), name("dan"), name("erin")],
        joined_more: 4,
        left: vec![name("bob")],
        left_more: 0,
    });
    let renamed = Event::Renamed {
        at: AT,
        account: AccountId(0x5f0c),
        from: name("bob"),
        to: name("robert"),
    };
    let notice = Event::Notice {
        at: AT,
        text: Text::stored("The server restarts."),
    };
    let person = PersonInfo {
        account: AccountId(0x5f0c),
        name: name("bob"),
        guest: false,
        bot: true,
        away: Some(Text::stored("lunch")),
        sessions: 2,
        since: AT,
        online_for: Duration::ZERO,
        spoke: Some(AT),
        silent_for: Some(Duration::ZERO),
        rooms: vec![RoomName::lobby(), room()],
        role: Role::Member,
        muted: false,
        from: None,
        key: Some(key()),
    };
    let info = RoomInfo {
        name: room(),
        people: 3,
        topic: Some(Text::stored("release on Friday")),
        slow: Some(Duration::from_secs(30)),
    };
    let me = SessionUser {
        author: Author {
            account: AccountId(0xa11ce),
            name: name("alice"),
        },
        guest: false,
        role: Role::Operator,
        key: Some(key()),
        remark: None,
    };
    let now = Now {
        wall: AT,
        mono: Instant::now(),
    };
    let server = ServerInfo {
        host: "chat.example.com".to_owned(),
        version: "0.1.0",
        started: now,
        motd: Some(Text::stored("Welcome.")),
        on_join: 20,
    };
    let record = KeyRecord {
        fingerprint: key(),
        algorithm: Text::stored_line("ssh-ed25519"),
        comment: Text::stored("bob@laptop"),
        added: AT,
    };
    let invite = Invite {
        hash: "3f9a1c77e1f0".to_owned(),
        role: Role::Member,
        left: 3,
        uses: 3,
        expires: LATER,
        by: "alice".into(),
        at: AT,
    };
    let ban = Ban {
        id: 7,
        target: BanTarget::Network("203.0.113.0/24".parse().unwrap()),
        by: "alice".into(),
        at: AT,
        until: Some(LATER),
        reason: Some(Text::stored("noise")),
    };
    let pending = PendingKey {
        key: record.clone(),
        name: name("bob"),
        from: "203.0.113.7".parse().unwrap(),
        at: AT,
    };
    let figures = |saved| KeyMetrics {
        sessions: 3,
        rooms: 2,
        memory: 31_457_280,
        saved,
        deliveries: 3 * saved,
        logins: 5,
        ..KeyMetrics::default()
    };
    let status = Status {
        at: Now {
            wall: AT.plus(86_400_000),
            mono: now.mono + Duration::from_secs(86_400),
        },
        now: figures(1_300),
        before: figures(400),
        over: Duration::from_secs(90),
        waiting: 0,
        store_answers: true,
        lockdown: Some(Lockdown {
            scope: LockdownScope::Guests,
            by: "alice".into(),
            until: Some(AT.plus(86_400_000 + 3_600_000)),
        }),
    };
    let audit = AuditEntry {
        at: AT,
        actor: Actor::Account(AccountId(7), Name::new("alice").unwrap()),
        action: "ban".to_owned(),
        target: Text::stored_line("203.0.113.0/24"),
        detail: Text::stored_line("for 7 days: noise"),
    };
    let link = "https://join.example.com/#UWS2L-JNFUW-S2LJN-FUWS2-LJNFUU";
    let code = "UWS2L-JNFUW-S2LJN-FUWS2-LJNFUU";
    [
        OutputRecord::Message(&said),
        OutputRecord::Message(&edited),
        OutputRecord::Message(&deleted),
        OutputRecord::Message(&direct),
        OutputRecord::Event(&room(), &presence),
        OutputRecord::Event(&room(), &renamed),
        OutputRecord::Event(&room(), &notice),
        OutputRecord::Person(&person),
        OutputRecord::Room(&info),
        OutputRecord::Whoami(&me),
        OutputRecord::Server(&server),
        OutputRecord::Status(&status, &server),
        OutputRecord::Key(&record),
        OutputRecord::ClaimedKey(&record),
        OutputRecord::NewInvite(&invite, code, Some(link)),
        OutputRecord::Invite(&invite),
        OutputRecord::Ban(&ban),
        OutputRecord::Pending(&pending),
        OutputRecord::Audit(&audit),
        OutputRecord::Done("bob is muted for 1 hour."),
        OutputRecord::Sent(&Target::Room(room()), 3),
        OutputRecord::Sent(&Target::Person(name("bob")), 1),
    ]
    .iter()
    .map(OutputRecord::json)
    .collect()
}

/// Replaces the text between two marks.
fn replaced(text: &str, [begin, end]: [&str; 2], words: &str) -> String {
    let (before, rest) = text.split_once(begin).expect("the mark of the beginning");
    let (_, after) = rest.split_once(end).expect("the mark of the end");
    format!("{before}{begin}{words}{end}{after}")
}

/// `UPDATE_DOCS=1` updates the document. If an existing example changes, users' scripts may break.
#[test]
fn the_documentation_has_the_commands_and_the_examples() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scripting.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let examples = format!("```json\n{}\n```\n", samples().join("\n"));
    let right = replaced(&text, COMMANDS, &table::markdown());
    let right = replaced(&right, EXAMPLES, &examples);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert_eq!(text, right, "UPDATE_DOCS=1 cargo test brings it up to date");
    }
}

#[test]
fn every_field_is_documented() {
    let text = include_str!("../../../../docs/scripting.md");
    let (_, text) = text.split_once("\n## JSON\n").unwrap();
    for sample in samples() {
        let object: Value = serde_json::from_str(&sample).unwrap();
        assert_eq!(object["v"], 1);
        let kind = object["type"].as_str().unwrap();
        let row = format!("| `{kind}` | ");
        let row = text.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{kind} has no row"));
        for field in object.as_object().unwrap().keys() {
            if !matches!(field.as_str(), "v" | "type") {
                assert!(row.contains(&format!("`{field}`")), "{kind}.{field}");
            }
        }
    }
}

#[test]
fn no_control_character_leaves() {
    let audit = AuditEntry {
        at: AT,
        actor: Actor::Unverified(Text::stored("a\u{9b}31m")),
        action: String::new(),
        target: Text::stored_line("\u{1b}]0;x\u{7}"),
        detail: Text::stored_line("\u{202e}abc"),
    };
    let line = OutputRecord::Audit(&audit).json();
    assert!(
        line.contains(r#""actor":"\"a31m\"","actor_kind":"unverified","action":"","target":"]0;x","detail":"abc""#),
        "{line}"
    );
    let now = Now {
        wall: AT,
        mono: Instant::now(),
    };
    let server = ServerInfo {
        host: "\u{9b}2J\u{7f}".to_owned(),
        version: "0",
        started: now,
        motd: None,
        on_join: 0,
    };
    let line = OutputRecord::Server(&server).json();
    assert!(line.contains(r#""host":"\u009b2J\u007f""#), "{line}");
    let _: Value = serde_json::from_str(&line).unwrap();
}
