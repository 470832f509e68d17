//! The shape is a promise: archives are kept for years.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::store::archive::samples::{AT, entry, records};
use crate::store::archive::{ArchivedBody, ImportConflict};
use crate::text::Text;

/// Where the document begins and ends to be written here.
const EXAMPLES: [&str; 2] = [
    "<!-- examples: written by the test in src/store/archive/format/tests.rs -->\n",
    "<!-- end of examples -->",
];

fn lines() -> Vec<ArchiveLine> {
    let records = records();
    let begin = ArchiveFrame::Header {
        v: VERSION,
        at: AT,
        program: "ssh-chat 0.1.0".to_owned(),
    };
    let end = ArchiveFrame::Trailer {
        records: records.len() as u64,
    };
    let mut lines = vec![ArchiveLine::Frame(begin)];
    lines.extend(records.into_iter().map(ArchiveLine::Record));
    lines.push(ArchiveLine::Frame(end));
    lines
}

fn read(raw: &str) -> Result<ArchiveLine, String> {
    ArchiveLine::read(raw.as_bytes()).map_err(|error| error.to_string())
}

/// Set `UPDATE_DOCS=1` to write the examples anew. If they differ and `VERSION` does not, archives
/// that somebody has can't be read any more.
#[test]
fn the_documentation_has_the_shapes() {
    let written: String = lines().iter().map(|line| line.write().unwrap()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/archive.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(EXAMPLES[0]).unwrap();
    let (_, after) = rest.split_once(EXAMPLES[1]).unwrap();
    let [begin, end] = EXAMPLES;
    let right = format!("{before}{begin}```json\n{written}```\n{end}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert_eq!(text, right, "UPDATE_DOCS=1 cargo test brings it up to date");
    }
    for line in lines() {
        let Value::Object(fields) = serde_json::from_str(&line.write().unwrap()).unwrap() else {
            panic!();
        };
        let row = format!("| `{}` |", fields["type"].as_str().unwrap());
        let row = text.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("no row for {line:?}"));
        for field in fields.keys().filter(|field| *field != "type") {
            assert!(row.contains(&format!("`{field}`")), "{row}: {field}");
        }
    }
}

#[test]
fn every_line_reads_back() {
    for line in lines() {
        let written = line.write().unwrap();
        assert_eq!(read(&written), Ok(line), "{written}");
    }
}

/// A part of an example, what stands there instead, and what is said about it.
const WRONG: &[(&str, &str, &str)] = &[
    (
        r#""type":"mark""#,
        r#""type":"marc""#,
        "unknown variant `marc`",
    ),
    (
        r#","program":"ssh-chat 0.1.0""#,
        "",
        "missing field `program`",
    ),
    (r#","seq":6"#, "", "missing field `seq`"),
    (
        r#""seq":6"#,
        r#""seq":6,"colour":"red""#,
        "unknown field `colour`",
    ),
    (r#""seq":6"#, r#""seq":6,"seq":6"#, "duplicate field `seq`"),
    (r#""seq":6"#, r#""seq":-6"#, "invalid value"),
    (r#""seq":6"#, r#""seq":9007199254740992"#, "more than"),
    (
        r#""conversation":"room/ops","seq":6"#,
        r#""conversation":"ops","seq":6"#,
        "room/NAME or",
    ),
    (r#""id":"000"#, r#""id":"00"#, "not a valid identifier"),
    (
        r#""name":"alicia","names""#,
        r#""name":"al ice","names""#,
        "not ' '",
    ),
    (
        r#""name":"alicia","names""#,
        r#""name":"bob","names""#,
        "not among",
    ),
    (
        r#"["alice","alicia"]"#,
        r#"["alice","alicia","a1ice"]"#,
        "look alike",
    ),
    (
        r#"["alice","alicia"]"#,
        r#"["alicia","b","c","d","e","f"]"#,
        "at most 5 names",
    ),
    (
        r#""role":"operator""#,
        r#""role":"guest""#,
        "\"guest\" is not a role",
    ),
    (
        r#""tz":"Europe/Berlin""#,
        r#""tz":"\u001b]0;x""#,
        "`tz` or `theme`",
    ),
    (r#""name":"bob"}]"#, r#""name":"b b"}]"#, "not ' '"),
    ("SHA256:0jvS", "SHA256:0jv", "SHA256: and 43"),
    (r#""hash":"3f"#, r#""hash":"XX"#, "64 hexadecimal"),
    (r#""left":2"#, r#""left":4"#, "4 of 3 uses"),
    (r#""uses":3"#, r#""uses":4294967296"#, "invalid value"),
    (
        r#""created":"2026-11-22T14:02:09.123Z","pref"#,
        r#""created":"soon","pref"#,
        "a time such as",
    ),
    (
        r#"{"network":"203.0.113.0/24"}"#,
        r#"{"network":"here"}"#,
        "invalid",
    ),
    (
        r#"{"client":"SSH-2.0-Go"}"#,
        r#"{"client":""}"#,
        "prefix is empty",
    ),
    (
        r#"{"client":"SSH-2.0-Go"}"#,
        r#"{"shoe":"42"}"#,
        "unknown variant `shoe`",
    ),
    (r#""ban","id":1,"#, r#""ban","id":0,"#, "starts at 1"),
    (r#""number":1"#, r#""number":0"#, "starts at 1"),
    (r#""seq":5"#, r#""seq":0"#, "starts at 1"),
    (
        r#""kind":"gone""#,
        r#""kind":"gone","text":"x""#,
        "don't match this",
    ),
    (r#""kind":"gone""#, r#""kind":"said""#, "don't match this"),
    (r#""target":5"#, r#""target":6"#, "not an earlier"),
    (r#""target":5"#, r#""target":0"#, "not an earlier"),
    (
        r#""edited":true"#,
        r#""edited":"yes""#,
        "expected a boolean",
    ),
];

#[test]
fn what_is_wrong_is_said() {
    let written: Vec<String> = lines().iter().map(|line| line.write().unwrap()).collect();
    for (part, instead, expected) in WRONG {
        let line = written.iter().find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("no example has {part}"));
        let error = read(&line.replacen(part, instead, 1)).expect_err(instead);
        assert!(error.contains(expected), "{instead}: {error}");
    }
    for other in ["", "{", "[]", "null", "\u{1b}[2J", "{}", r#"{"type":7}"#] {
        assert!(read(other).is_err(), "{other:?}");
    }
    assert!(ArchiveLine::read(b"\xff").is_err());
    let deep = format!(r#"{{"more":{}"#, "[".repeat(MAX_LINE));
    let error = read(&deep).unwrap_err();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn errors_are_short_and_clean() {
    let long = format!(r#"{{"type":"\u001b[2J{}"}}"#, "語".repeat(2000));
    let error = read(&long).unwrap_err();
    assert!(error.chars().all(|c| !c.is_control()), "{error}");
    assert!(error.len() < 3 * MAX_ERROR, "{}", error.len());
}

#[test]
fn the_first_line_tells_whether_the_rest_can_be_read() {
    let first = |raw: &str| ArchiveLine::first(raw.as_bytes()).map_err(|error| error.to_string());
    let good = lines()[0].write().unwrap();
    assert_eq!(first(&good), Ok(lines().remove(0)));
    for (raw, expected) in [
        (
            r#"{"type":"archive","v":2,"more":{}}"#,
            "has format 2, but this ssh-chat reads format 1",
        ),
        (r#"{"v":1,"type":"export"}"#, "not an archive"),
        ("", "not an archive"),
        ("PK\u{3}\u{4}", "not an archive"),
    ] {
        let error = first(raw).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

/// What is written can be read, however long.
#[test]
fn the_longest_account_fits_into_a_line() {
    let Some(ArchiveRecord::Account(mut alice)) = records().into_iter().next() else {
        panic!();
    };
    let [key] = &alice.keys[..] else { panic!() };
    let mut key = key.clone();
    key.comment = Text::message(&"\"".repeat(crate::text::MAX_CHARS)).unwrap();
    key.algorithm = Text::message(&"\\".repeat(crate::text::MAX_CHARS)).unwrap();
    let keys = (0..MAX_KEYS).map(|n| {
        let mut key = key.clone();
        key.fingerprint = crate::chat::ids::Fingerprint::new(&format!("SHA256:{n:043}"));
        key
    });
    alice.keys = keys.collect();
    let ignored = alice.preferences.ignored[0].clone();
    alice.preferences.ignored = vec![ignored; Preferences::MAX_IGNORED];
    let line = ArchiveLine::Record(ArchiveRecord::Account(alice));
    let written = line.write().unwrap();
    assert!(written.len() < MAX_LINE / 2, "{}", written.len());
    assert_eq!(read(&written), Ok(line));
}

#[test]
fn differences_are_named() {
    let one = records();
    let Some(ArchiveRecord::Account(alice)) = one.first() else {
        panic!();
    };
    let mut other = alice.clone();
    other.keys.clear();
    other.preferences.tz = None;
    let other = ArchiveRecord::Account(other);
    assert_eq!(
        one[0].conflict_with(&other).to_string(),
        "the store already has it, with different contents (keys, preferences)"
    );
    assert_eq!(
        one[0].conflict_with(&one[0]),
        ImportConflict::Differs(Vec::new())
    );
    let (said, gone) = (records().remove(14), entry(1, ArchivedBody::Gone));
    let ImportConflict::Differs(fields) = said.conflict_with(&ArchiveRecord::Message(gone)) else {
        panic!();
    };
    assert!(fields.contains(&"text".to_owned()), "{fields:?}");
}

proptest! {
    /// Whatever is in a file: it is read or refused.
    #[test]
    fn nothing_panics(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ArchiveLine::read(&raw);
        let _ = ArchiveLine::first(&raw);
    }

    /// Whatever bytes of a good line are others.
    #[test]
    fn nothing_panics_that_is_nearly_good(
        which in 0..20_usize,
        at in any::<proptest::sample::Index>(),
        with in any::<u8>(),
    ) {
        let lines = lines();
        let mut raw = lines[which % lines.len()].write().unwrap().into_bytes();
        let at = at.index(raw.len());
        raw[at] = with;
        if let Ok(line) = ArchiveLine::read(&raw) {
            // What is taken can be written and taken again.
            prop_assert_eq!(read(&line.write().unwrap()), Ok(line));
        }
    }

    #[test]
    fn words_read_back(words in any::<String>(), edited in any::<bool>()) {
        let text = Text::stored(&words);
        let line = ArchiveLine::Record(ArchiveRecord::Message(entry(1, ArchivedBody::Said { text, edited })));
        prop_assert_eq!(read(&line.write().unwrap()), Ok(line));
    }
}
