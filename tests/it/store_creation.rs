//! Which store a command opens: a missing one is created only if requested.

use std::fs;
use std::sync::Arc;

use serde_json::json;

use crate::harness::faults::FaultProxy;
use crate::harness::moto::{Moto, variables};
use crate::harness::{Finished, Home, Login, Server, run};

/// A fingerprint that no account has.
const NOBODY: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Every command that opens the store, except those that may create one.
fn commands(key: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["keys", "list"],
        vec!["keys", "list", "--json"],
        vec!["keys", "list", "--account", "alice"],
        vec!["keys", "add", "--account", "alice", key],
        vec!["keys", "revoke", NOBODY],
        vec!["invite", "list"],
        vec!["invite", "create"],
        vec!["invite", "revoke", "1a2b3c4d"],
        vec!["export"],
        vec!["export", "chat.jsonl"],
        vec!["audit"],
        vec!["web", "--set", "web.listen=127.0.0.1:0"],
        vec!["store", "check"],
    ]
}

fn public(home: &Home, who: &str) -> String {
    let path = home.key(who).with_extension("pub");
    path.to_str().unwrap().to_owned()
}

fn assert_refused(ended: &Finished, words: &str, what: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{what:?}: {ended:?}");
    assert_eq!(ended.stdout, "", "{what:?}");
    assert!(ended.stderr.contains(words), "{what:?}: {ended:?}");
}

/// No command works without a store, and none creates one, except with `--create`.
fn nothing_is_created_by_mistake(home: &Arc<Home>, missing: &str, place: &str) {
    assert!(run(home, &["host-key", "init"]).status.success());
    let before = home.data_files();
    let key = public(home, "alice");
    for command in commands(&key) {
        assert_refused(&run(home, &command), missing, &command);
        assert_eq!(home.data_files(), before, "{command:?}");
        assert!(!home.path().join("chat.jsonl").exists());
    }

    let add = ["keys", "add", "--create", "--account", "alice", &key];
    let made = run(home, &add);
    assert!(made.status.success(), "{made:?}");
    let first = format!("created a new store: {place}\nalice is a new member");
    assert!(made.stderr.starts_with(&first), "{made:?}");
    let again = run(home, &add);
    assert!(again.status.success(), "{again:?}");
    let last = format!("\nstore: {place}\n");
    assert!(
        again.stderr.starts_with("alice already has the key "),
        "{again:?}"
    );
    assert!(again.stderr.ends_with(&last), "{again:?}");
    let invited = run(home, &["invite", "create", "--json"]);
    assert!(invited.stderr == format!("store: {place}\n"), "{invited:?}");
    let listed = run(home, &["keys", "list"]);
    assert!(listed.stdout.contains("alice"), "{listed:?}");
    assert_eq!(
        listed.stderr, "",
        "commands that only read don't print the store"
    );
}

#[test]
fn a_database_is_created_only_on_request() {
    let home = Home::local();
    let file = home.data().join("chat.db");
    let missing = format!("there is no database {}", file.display());
    nothing_is_created_by_mistake(&home, &missing, file.to_str().unwrap());
}

#[test]
fn a_table_is_created_only_on_request() {
    let name = format!("chat-{:016x}", rand::random::<u64>());
    let home = Home::on(Moto::shared().variables(), &name);
    let missing = format!("can't use the table {name}: the table doesn't exist");
    let exists = || {
        // Other tests create tables, too; a page has a hundred.
        let mut from = json!({});
        loop {
            let page = Moto::shared().call("DynamoDB_20120810.ListTables", &from);
            if page["TableNames"]
                .as_array()
                .unwrap()
                .contains(&json!(name))
            {
                return true;
            }
            match &page["LastEvaluatedTableName"] {
                serde_json::Value::Null => return false,
                last => from = json!({ "ExclusiveStartTableName": last }),
            }
        }
    };
    assert!(!exists());
    // An import creates a database, but not a table.
    let archive = home.path().join("none.jsonl");
    fs::write(&archive, "").unwrap();
    let import = ["import", archive.to_str().unwrap()];
    assert_refused(&run(&home, &import), &missing, &import);
    nothing_is_created_by_mistake(&home, &missing, &format!("the table {name}"));
    assert!(exists());
}

#[test]
fn a_missing_data_folder_is_not_created() {
    let home = Home::local();
    for command in commands("none.pub") {
        // The page checks for a host key first.
        if command[0] != "web" {
            assert_refused(&run(&home, &command), "there is no database", &command);
        }
        assert!(!home.data().exists(), "{command:?}");
    }
    // An unreadable path isn't reported as missing.
    fs::write(home.data(), "a file").unwrap();
    for command in [
        &["export"][..],
        &["invite", "create", "--create"],
        &["store", "check"],
        &["store", "init"],
    ] {
        assert_refused(&run(&home, command), "can't access the database", command);
    }
    assert_eq!(fs::read(home.data()).unwrap(), b"a file");
}

/// Reading, next to a server or after a crash, changes nothing and returns the latest data.
#[test]
fn reading_beside_a_server_sees_all_and_changes_nothing() {
    let mut server = Server::at(Home::local(), Vec::new());
    let home = Arc::clone(server.home());
    let mut alice = Login::new(&server, "alice").pipe();
    alice.line("first");
    alice.wait_text("first");
    let database = home.data().join("chat.db");
    let reads = |words: &str| {
        let before = fs::read(&database).unwrap();
        for command in [
            &["export"][..],
            &["keys", "list"],
            &["invite", "list"],
            &["audit"],
        ] {
            let ended = run(&home, command);
            assert!(ended.status.success(), "{command:?}: {ended:?}");
            let expected = match command[0] {
                "export" => words,
                "keys" => "alice",
                _ => "",
            };
            assert!(ended.stdout.contains(expected), "{command:?}: {ended:?}");
        }
        assert!(
            fs::read(&database).unwrap() == before,
            "something was written"
        );
    };
    reads("first");
    alice.line("second");
    alice.wait_text("second");
    // Both are only in the write-ahead log.
    reads("second");
    server.kill9();
    reads("second");
    server.restart();
    let mut alice = Login::new(&server, "alice").pipe();
    alice.line("third");
    alice.wait_text("third");
    reads("third");
    server.stop();
    reads("third");
}

#[test]
fn an_older_schema_is_refused_as_a_whole() {
    let home = Home::local();
    assert!(run(&home, &["store", "init"]).status.success());
    let database = home.data().join("chat.db");
    let version = |to: Option<i64>| -> i64 {
        let db = rusqlite::Connection::open(&database).unwrap();
        let version = db.query_row("PRAGMA user_version", [], |row| row.get(0));
        if let Some(to) = to {
            db.pragma_update(None, "user_version", to).unwrap();
        }
        version.unwrap()
    };
    let now = version(None);
    version(Some(now - 1));
    let ended = run(&home, &["export"]);
    assert_refused(&ended, "was written by an earlier version", &["export"]);
    assert_eq!(version(Some(now)), now - 1, "the database wasn't modified");
    assert!(run(&home, &["export"]).status.success());
}

/// A command that lists accounts queries the table as often for many of them as for one.
#[test]
fn each_further_account_costs_no_further_request() {
    let moto = Moto::shared();
    let proxy = FaultProxy::start(moto.port());
    let home = Home::on(variables(&proxy.url()), &moto.table());
    let requests = |command: &[&str], people: usize| {
        proxy.requests();
        let ended = run(&home, command);
        let count = proxy.requests();
        let out = &ended.stdout;
        if command[0] == "keys" {
            assert_eq!(out.lines().count(), people, "{ended:?}");
        } else {
            assert!(out.contains(&format!("{people} with a key")), "{ended:?}");
        }
        count
    };
    let commands = [&["keys", "list", "--json"][..], &["doctor"]];
    let add = |who: &str| {
        let key = public(&home, who);
        let args = ["keys", "add", "--role", "operator", "--account", who, &key];
        let added = run(&home, &args);
        assert!(added.status.success(), "{added:?}");
    };
    add("ann");
    let of_one = commands.map(|command| requests(command, 1));
    assert_eq!(
        of_one[0], 2,
        "one query for the table, one for the accounts"
    );
    for who in ["bob", "cid", "dan", "eve", "fay"] {
        add(who);
    }
    let of_many = commands.map(|command| requests(command, 6));
    assert_eq!(of_many, of_one);
}
