//! The key page: the real program over plain HTTP, then `ssh` with the registered key.

mod lambda;
mod refused;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use ssh_chat::store::archive::format::ArchiveLine;
use ssh_chat::store::archive::{ArchiveRecord, ArchivedAccount};

use crate::harness::http::{self, Answer, Form};
use crate::harness::{Home, Login, Server, contains, run};

/// No rate limit for any source.
const MANY: &str = "web.burst=1000";

/// The page next to a server, or without one, on the same data.
fn page(home: &Arc<Home>, settings: &[&str]) -> Server {
    let set = settings.iter().chain(&["web.listen=127.0.0.1:0"]);
    let mut args: Vec<&str> = set.flat_map(|setting| ["--set", setting]).collect();
    args.push("web");
    let args = args.into_iter().map(str::to_owned).collect();
    Server::at(Arc::clone(home), args)
}

/// The page without a server, and its folder.
fn lonely(settings: &[&str]) -> (Arc<Home>, Server) {
    alone(Home::new(), settings)
}

/// Creates what a server's first start would.
fn prepare(home: &Home) {
    for what in ["host-key", "store"] {
        assert!(run(home, &[what, "init"]).status.success());
    }
}

fn alone(home: Arc<Home>, settings: &[&str]) -> (Arc<Home>, Server) {
    prepare(&home);
    let page = page(&home, settings);
    (home, page)
}

fn invite(home: &Home, args: &[&str]) -> String {
    let made = run(home, &[&["invite", "create", "--json"], args].concat());
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    made["code"].as_str().unwrap().to_owned()
}

/// How many uses the invites have left.
fn uses_left(home: &Home) -> u64 {
    let list = run(home, &["invite", "list", "--json"]).stdout;
    let left = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["left"].as_u64();
    list.lines().filter_map(left).sum()
}

/// A public key without a private key.
fn key(number: u32) -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(&[number.to_be_bytes(); 8].concat());
    format!("ssh-ed25519 {} somebody@{number}", BASE64.encode(&blob))
}

fn form(code: &str, name: &str, key: &str) -> Form {
    Form::default()
        .field("code", code)
        .field("name", name)
        .field("key", key)
}

fn public(home: &Home, who: &str) -> String {
    fs::read_to_string(home.key(who).with_extension("pub")).unwrap()
}

fn account(home: &Home, name: &str) -> Option<ArchivedAccount> {
    let archive = run(home, &["export"]).stdout;
    archive
        .lines()
        .find_map(|line| match ArchiveLine::read(line.as_bytes()) {
            Ok(ArchiveLine::Record(ArchiveRecord::Account(person)))
                if person.name.as_str() == name =>
            {
                Some(*person)
            }
            _ => None,
        })
}

/// A server for registered keys, and the page next to it.
fn both(home: Arc<Home>) -> (Server, Server) {
    let args = ["--set", "access=allowlist"].map(str::to_owned).to_vec();
    let server = Server::at(home, args);
    let page = page(server.home(), &[MANY]);
    (server, page)
}

#[test]
fn a_key_from_the_page_opens_the_chat() {
    let (server, page) = both(Home::new());
    let home = server.home();
    let code = invite(home, &[]);
    // Requests of mail scanners and link previews.
    for request in ["GET", "HEAD", "OPTIONS", "PUT"] {
        for path in ["/", &format!("/?code={code}&name=bob&key=x")] {
            http::bare(page.port(), request, path);
        }
    }
    assert_eq!(uses_left(home), 1, "viewing doesn't redeem");

    let shown = form(&code, "Bob", &public(home, "bob")).post(page.port());
    assert_eq!(shown.status, 200, "{}", shown.body);
    for words in ["Welcome, bob", "ssh-ed25519, bob", &server.fingerprint()] {
        assert!(shown.body.contains(words), "{words} in {}", shown.body);
    }
    let by = account(home, "bob").unwrap();
    let week = u64::try_from(by.proof_by.unwrap().0 - by.created.0).unwrap();
    assert_eq!(Duration::from_millis(week), Duration::from_hours(7 * 24));

    // The key identifies them, whatever their login name is.
    let bob = Login::new(&server, "somebody")
        .key_of(&server, "bob")
        .terminal();
    bob.wait_text("you are bob");
    bob.wait_text("requested on the web");
    assert_eq!(account(home, "bob").unwrap().proof_by, None);
    let again = Login::new(&server, "bob").terminal();
    again.wait_text("you are bob");
    assert!(!again.screen().said().contains("on the web"));
    let audit = run(home, &["audit"]).stdout;
    assert!(
        audit.contains("invite_redeem") && audit.contains("key_proven"),
        "{audit}"
    );
}

#[test]
fn an_account_without_a_login_is_deleted() {
    // Instead of waiting a week, the test changes the time in the database.
    let (server, page) = both(Home::local());
    let home = server.home();
    let code = invite(home, &["--uses", "2"]);
    let sent = form(&code, "bob", &public(home, "bob")).post(page.port());
    assert_eq!(sent.status, 200);
    let db = rusqlite::Connection::open(home.data().join("chat.db")).unwrap();
    db.execute("UPDATE accounts SET proof_by = 1", []).unwrap();
    drop(db);
    let late = Login::new(&server, "bob")
        .option("LogLevel=INFO")
        .bare_terminal();
    late.wait_text("only admits registered keys");
    assert_eq!(account(home, "bob"), None);
    let other = form(&code, "bob", &key(1)).post(page.port());
    assert_eq!(other.status, 200, "the name is free: {}", other.body);
}

/// The errors next to the fields and above them, and that all input is preserved.
#[test]
fn every_error_says_what_to_change_and_keeps_what_was_typed() {
    let (home, page) = lonely(&[MANY]);
    let code = invite(&home, &["--uses", "5"]);
    let taken = form(&code, "taken", &key(1)).post(page.port());
    assert_eq!(taken.status, 200);
    let (fine, wrong) = (key(2), "AAAAA-AAAAA");
    // Code, name and key; the error.
    for (code, name, key, words) in [
        ("", "bob", &*fine, "Invite code missing."),
        (wrong, "bob", &fine, "Invalid invite code:"),
        (&code, "", &fine, "A name can&#39;t be empty."),
        (&code, "b b", &fine, "A name has the characters"),
        (
            &code,
            "guest-abcd",
            &fine,
            "Names like guest-abcd are given to guests.",
        ),
        (&code, "taken", &fine, "The name taken is taken"),
        (&code, "tak3n", "", "No key given;"),
        (&code, "bob", "ssh-dss AAAA", "DSA keys are too weak;"),
        (&code, "bob", &key(1), "This key is already registered"),
    ] {
        let shown = form(code, name, key).post(page.port());
        assert_eq!(shown.status, 422, "{words}: {}", shown.body);
        let words = words.replace("&#39;", "'");
        assert!(shown.body.contains(&words), "{words} in {}", shown.body);
        for typed in [code, name, key] {
            assert!(shown.body.contains(typed), "{typed} in {}", shown.body);
        }
    }
    assert_eq!(uses_left(&home), 4, "no use was taken");
}

#[test]
fn bad_used_and_expired_codes_look_the_same() {
    let (home, page) = alone(Home::local(), &[MANY]);
    let (used, expired) = (invite(&home, &[]), invite(&home, &[]));
    assert_eq!(form(&used, "first", &key(1)).post(page.port()).status, 200);
    let db = rusqlite::Connection::open(home.data().join("chat.db")).unwrap();
    db.execute("UPDATE invites SET expires = 1", []).unwrap();
    drop(db);
    let mut answers = BTreeSet::new();
    for code in [
        &used,
        &expired,
        "AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA",
        "hello",
        "%00' OR 1=1",
    ] {
        let since = Instant::now();
        let shown = form(code, "bob", &key(2)).post(page.port());
        assert!(since.elapsed() >= Duration::from_millis(500), "{code}");
        let escaped = code.replace('\'', "&#39;");
        let body = shown.body.replace(&escaped, "CODE").replace(code, "CODE");
        answers.insert((shown.status, body));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(account(&home, "bob"), None);
}

#[test]
fn an_invite_for_one_admits_one_of_a_hundred() {
    let (home, page) = lonely(&[MANY]);
    let code = invite(&home, &[]);
    let port = page.port();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = |n: u32| form(&code, &format!("user-{n}"), &key(n)).post(port);
        let asking: Vec<_> = (0..100).map(|n| scope.spawn(move || ask(n))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let many = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((many(200), many(422)), (1, 99));
    let accounts = run(&home, &["keys", "list", "--json"]).stdout;
    assert_eq!(accounts.lines().count(), 1, "{accounts}");
}

#[test]
fn the_same_form_again_is_the_same_person() {
    let (home, page) = lonely(&[MANY]);
    let code = invite(&home, &["--uses", "2"]);
    let sent = form(&code, "bob", &key(1));
    let first = sent.post(page.port());
    assert_eq!(first.status, 200);
    for _ in 0..3 {
        assert_eq!(sent.post(page.port()).body, first.body, "a second click");
    }
    assert_eq!(uses_left(&home), 1);
}

#[test]
fn malformed_requests_change_nothing() {
    let (home, page) = lonely(&[MANY]);
    let code = invite(&home, &[]);
    let good = || form(&code, "bob", &key(1));
    let post = |head: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: chat\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
        );
        http::exchange(page.port(), &[head.as_bytes(), body].concat()).status
    };
    let multipart = "Content-Type: multipart/form-data; boundary=XXXX\r\n";
    let urlencoded = "Content-Type: application/x-www-form-urlencoded\r\n";
    let plain = format!("code={code}&name=bob&key={}", key(1));
    for (what, status, expected) in [
        (
            "twice",
            good().field("name", "eve").post(page.port()).status,
            400,
        ),
        (
            "more",
            good().field("role", "operator").post(page.port()).status,
            400,
        ),
        (
            "other site",
            good()
                .header("Origin: https://evil.example")
                .post(page.port())
                .status,
            403,
        ),
        (
            "cross site",
            good()
                .header("Sec-Fetch-Site: cross-site")
                .post(page.port())
                .status,
            403,
        ),
        (
            "too large",
            good()
                .field("file", vec![b'x'; 17_000])
                .post(page.port())
                .status,
            413,
        ),
        ("not this form", post(urlencoded, plain.as_bytes()), 415),
        (
            "no boundary",
            post("Content-Type: multipart/form-data\r\n", b"x"),
            415,
        ),
        ("nothing", post("", b""), 415),
        ("no parts", post(multipart, b""), 400),
        (
            "cut",
            post(
                multipart,
                b"--XXXX\r\nContent-Disposition: form-data; name=\"co",
            ),
            400,
        ),
        (
            "only ends",
            post(multipart, &b"--XXXX\r\n".repeat(1000)),
            400,
        ),
        ("bytes", post(multipart, &[0xff; 1000]), 400),
    ] {
        assert_eq!(status, expected, "{what}");
    }
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n{multipart}Transfer-Encoding: chunked\r\n\r\n{}",
        format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(8)
    );
    assert_eq!(http::exchange(page.port(), chunked.as_bytes()).status, 413);
    assert_eq!(uses_left(&home), 1);
    assert_eq!(good().post(page.port()).status, 200, "still there");
}

#[test]
fn typed_text_stays_text() {
    let (home, page) = lonely(&[MANY]);
    let code = invite(&home, &[]);
    for (name, key) in [
        ("b\0ob\x1b[2J", key(1)),
        ("<script>alert(1)</script>", "\"><img src=x>".to_owned()),
        ("bob\u{202e}", "\0".repeat(9000)),
        (&"x".repeat(9000), "\x1b]0;x\x07".repeat(900)),
    ] {
        let shown = form(&code, name, &key).post(page.port());
        assert_eq!(shown.status, 422);
        let body = shown.body;
        assert_eq!(body.matches("<script").count(), 1, "{body}");
        assert!(
            !body.contains("<img") && !body.contains('\u{202e}'),
            "{body}"
        );
        assert!(
            body.chars().all(|c| c == '\n' || !c.is_control()),
            "{body:?}"
        );
    }
    assert_eq!(uses_left(&home), 1);
}

/// Error responses included.
#[test]
fn every_answer_has_its_headers() {
    let (_home, page) = lonely(&[]);
    let too_large = form(&"x".repeat(17_000), "bob", "");
    let elsewhere = form("", "", "").header("Sec-Fetch-Site: cross-site");
    let shown = http::get(page.port(), "/");
    let (_, rest) = shown.body.split_once("stylesheet\" href=\"").unwrap();
    let (style, _) = rest.split_once('"').unwrap();
    let style = http::get(page.port(), style);
    assert!(style.header("cache-control").contains("immutable"));
    assert!(shown.body.len() + style.body.len() < 20_000, "small");
    for (answer, status) in [
        (shown, 200),
        (style, 200),
        (http::get(page.port(), "/none"), 404),
        (http::bare(page.port(), "DELETE", "/"), 405),
        (too_large.post(page.port()), 413),
        (elsewhere.post(page.port()), 403),
        (form("", "", "").post(page.port()), 422),
    ] {
        assert_eq!(answer.status, status);
        for (header, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; script-src 'sha256-",
            ),
            (
                "content-security-policy",
                "; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
            ("strict-transport-security", "max-age="),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            let found = answer.header(header);
            assert!(found.contains(value), "{status} {header}: {found}");
        }
        assert!(status == 200 || answer.header("cache-control") == "no-store");
        assert_eq!(answer.header("set-cookie") + &answer.header("server"), "");
    }
}

#[test]
fn a_private_key_goes_nowhere() {
    let (home, mut page) = lonely(&[MANY, "log.level=trace"]);
    let code = invite(&home, &[]);
    let secret = fs::read_to_string(home.key("bob")).unwrap();
    let telling = secret.lines().nth(2).unwrap();
    for field in ["code", "name", "key", "file\"; filename=\"id_ed25519"] {
        let shown = Form::default().field("code", &code).field("name", "bob");
        let shown = match field {
            "code" => Form::default().field("code", &secret).field("name", "bob"),
            "name" => Form::default().field("code", &code).field("name", &secret),
            field => shown.field(field, &secret),
        };
        let shown = shown.post(page.port());
        assert_eq!(shown.status, 422);
        assert!(
            shown.body.contains("You sent a PRIVATE key"),
            "{}",
            shown.body
        );
        assert!(!shown.body.contains(telling), "{}", shown.body);
    }
    let log = page.stop().stderr;
    assert!(!log.contains(telling), "{log}");
    for (path, bytes) in home.data_files() {
        assert!(!contains(&bytes, telling.as_bytes()), "{}", path.display());
    }
}

#[test]
fn nothing_personal_is_logged() {
    let (home, mut page) = lonely(&[MANY]);
    let code = invite(&home, &[]);
    let line = key(1);
    assert_eq!(form("AAAAA", "carol", &line).post(page.port()).status, 422);
    assert_eq!(form(&code, "carol", &line).post(page.port()).status, 200);
    let ended = page.stop();
    assert!(ended.status.success());
    let log = ended
        .stderr
        .replace(&format!("127.0.0.1:{}", page.port()), "here");
    assert!(
        log.contains("web_redeemed") && log.contains("web_invite_wrong"),
        "{log}"
    );
    for secret in [
        "carol",
        "SHA256:",
        &code,
        "AAAAA",
        "127.0.0.1",
        "ssh-ed25519",
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
