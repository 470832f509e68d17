//! `ssh-chat doctor`: on a database file, and on AWS as far as moto supports it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use serde_json::{Value, json};

use crate::harness::moto::{Moto, variables};
use crate::harness::{Finished, Home, Server, pipe, run};

/// Its checks, by outcome and text.
fn checks(ended: &Finished) -> Vec<(String, String, String)> {
    let parse = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    let text = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
    let checks = ended.stdout.lines().map(parse);
    checks
        .map(|check| {
            let parts = ["check", "outcome", "found"];
            let [name, outcome, found] = parts.map(|part| text(&check, part));
            (name, outcome, found)
        })
        .collect()
}

fn doctor(home: &Home, table: &str, secret: &str) -> Finished {
    let settings = [
        &*format!("aws.table={table}"),
        &format!("aws.host_key_secret={secret}"),
        "aws.host_key_parameter=/doctor/key",
        "aws.metrics=doctor",
    ];
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let args: Vec<&str> = ["doctor", "--json"].into_iter().chain(set).collect();
    run(home, &args)
}

fn has(ended: &Finished, name: &str, outcome: &str, words: &str) {
    let checks = checks(ended);
    let found = checks
        .iter()
        .any(|(n, o, found)| n == name && o == outcome && found.contains(words));
    assert!(found, "no {name} {outcome} {words:?} in {checks:#?}");
}

/// A file so large that the startup check skips messages: next to a running server, and as a copy
/// with corrupt pages.
#[test]
fn corruption_in_a_large_database_is_found() {
    let server = Server::at(Home::local(), Vec::new());
    assert!(pipe(&server, "alice", "hello\n").status.success());
    let file = server.home().data().join("chat.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch(
        "BEGIN;
         WITH RECURSIVE place(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM place WHERE n < 20000)
         INSERT INTO messages
             (conversation, seq, at, author, author_name, kind, body, edited, shown)
         SELECT conversation, n, at, author, author_name, kind, printf('%.3900c', 'x'), 0, 1
         FROM messages, place;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    let look = |home: &Home| run(home, &["doctor", "--json"]);
    let whole = look(server.home());
    has(&whole, "database", "ok", "a full check found no damage");
    has(&whole, "writing", "ok", "");

    let copy = Home::local();
    DirBuilder::new().mode(0o700).create(copy.data()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    assert!(
        bytes.len() > 64 << 20,
        "checked as a whole when it is opened"
    );
    let path = copy.data().join("chat.db");
    fs::write(&path, &bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    has(&look(&copy), "database", "ok", "found no damage");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64 * 1024].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let damaged = look(&copy);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    has(&damaged, "database", "fail", "it's damaged: ");
}

#[test]
fn each_permission_is_tried_and_nothing_is_changed() {
    let moto = Moto::shared();
    let table = moto.table();
    moto.call(
        "secretsmanager.CreateSecret",
        &json!({ "Name": "doctor/key" }),
    );
    let home = Home::with(moto.variables());
    let ended = doctor(&home, &table, "doctor/key");
    has(&ended, "DNS", "ok", "127.0.0.1");
    has(&ended, "credentials", "ok", "ends in test");
    has(&ended, "AWS's clock", "ok", "0 s");
    for action in [
        "dynamodb:DescribeTable, dynamodb:DescribeTimeToLive, dynamodb:GetItem, dynamodb:Query, \
         dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem, dynamodb:ConditionCheckItem",
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
        "cloudwatch:PutMetricData",
    ] {
        has(&ended, "permissions", "ok", action);
    }
    has(&ended, "permissions", "skip", "PutSecretValue");
    let item = json!({ "pk": { "S": "DOCTOR" }, "sk": { "S": "DOCTOR" } });
    let asked = json!({ "TableName": table, "Key": item });
    let left = moto.call("DynamoDB_20120810.GetItem", &asked);
    assert_eq!(left.get("Item"), None, "{left}");
}

#[test]
fn missing_permissions_and_resources_are_named() {
    let moto = Moto::shared();
    let table = moto.table();
    moto.fault(&json!({
        "operation": "UpdateItem", "about": table, "code": "AccessDeniedException",
        "message": "User is not authorized", "status": 400,
    }));
    let home = Home::with(moto.variables());
    let ended = doctor(&home, &table, "doctor/nobody-made-it");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    has(
        &ended,
        "permissions",
        "fail",
        &format!("dynamodb:UpdateItem on {table} is denied"),
    );
    has(
        &ended,
        "permissions",
        "fail",
        "GetSecretValue on doctor/nobody-made-it",
    );
}

#[test]
fn an_unreachable_aws_is_reported() {
    let home = Home::with(variables("http://nobody.invalid:1"));
    let ended = doctor(&home, "table", "key");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    has(&ended, "DNS", "fail", "nobody.invalid");
    has(&ended, "AWS's clock", "skip", "time is unknown");
    // Where nothing comes back, each call takes ten seconds.
    let (table, secret) = ("on table: ", "on key: ");
    let first = format!("dynamodb:DescribeTable {table}AWS is unreachable");
    has(&ended, "permissions", "fail", &first);
    let others = format!("dynamodb:Query {table}not tried: the service doesn't respond");
    has(&ended, "permissions", "skip", &others);
    let another = format!("secretsmanager:GetSecretValue {secret}AWS is unreachable");
    has(&ended, "permissions", "fail", &another);
    let home = Home::local();
    let ended = run(&home, &["doctor", "--json"]);
    assert!(!ended.stdout.contains("credentials"), "{ended:?}");
    has(&ended, "disk space", "ok", "free");
}
