//! When nobody gets anywhere, whatever they type.

use super::*;

#[test]
fn one_source_is_slowed_down_and_others_are_not() {
    let (_home, page) = lonely(&["web.burst=2", "web.rate=1/h", "web.trusted_hops=1"]);
    let from = |chain: &str| {
        let sent = form("", "bob", "").header(&format!("X-Forwarded-For: {chain}"));
        sent.post(page.port()).status
    };
    let statuses = [
        "203.0.113.1",
        "9.9.9.9, 203.0.113.1",
        "8.8.8.8, 203.0.113.1",
        "203.0.113.2",
    ];
    assert_eq!(statuses.map(from), [422, 422, 429, 422]);
}

#[test]
fn nobody_new_comes_in_during_a_lockdown() {
    let (home, page) = alone(Home::local(), &[MANY]);
    let code = invite(&home, &[]);
    let db = rusqlite::Connection::open(home.data().join("chat.db")).unwrap();
    db.execute(
        "INSERT INTO lockdown (only, made_by) VALUES (1, 'test')",
        [],
    )
    .unwrap();
    let shown = form(&code, "bob", &key(1)).post(page.port());
    assert_eq!(shown.status, 403);
    assert!(
        shown.body.contains("New sign-ups are closed"),
        "{}",
        shown.body
    );
    assert_eq!(uses_left(&home), 1);
}

#[test]
fn a_page_without_a_host_key_does_not_start() {
    let home = Home::new();
    let ended = run(&home, &["web", "--set", "web.listen=127.0.0.1:0"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("start the server once"),
        "{}",
        ended.stderr
    );
    assert!(!home.data().join("host_key").exists(), "none is made");
}
