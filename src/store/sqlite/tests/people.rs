//! Keys, roles, invites and bans, as far as they concern the file: one of an earlier version, rows
//! that somebody else wrote, and changes that fail halfway.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::chat::access::{Ban, BanTarget, Issuer, Mute, PendingKey};
use crate::chat::invite::Invite;
use crate::store::people::PeopleStore;

/// Gives alice another key.
fn another_key(raw: &str) -> ChangeAction {
    let (alice, _) = alice();
    ChangeAction::AddKey {
        account: alice.id,
        name: alice.name,
        key: key(raw),
    }
}

fn role(account: u128, role: Role) -> ChangeAction {
    ChangeAction::SetRole {
        account: AccountId(account),
        name: Name::new("renata").unwrap(),
        role,
    }
}

fn muted(mute: &Mute) -> ChangeAction {
    ChangeAction::Mute {
        name: Name::new("renata").unwrap(),
        mute: mute.clone(),
    }
}

fn ban(target: BanTarget) -> Ban {
    Ban {
        id: 0,
        target,
        by: "host".into(),
        at: Time(1),
        until: None,
        reason: Some(Text::stored("spam")),
    }
}

fn key(raw: &str) -> KeyRecord {
    KeyRecord {
        fingerprint: Fingerprint::new(raw),
        ..alice().1
    }
}

fn pending(raw: &str) -> PendingKey {
    PendingKey {
        key: key(raw),
        name: Name::new("carol").unwrap(),
        from: "203.0.113.7".parse().unwrap(),
        at: Time(1),
    }
}

fn invite() -> Invite {
    Invite {
        hash: "0123456789abcdef".to_owned(),
        role: Role::Member,
        left: 3,
        uses: 3,
        expires: Time(100),
        by: "host".into(),
        at: Time(1),
    }
}

/// One of version 1 is brought to this version, and all that was in it is there.
async fn is_brought_up(folder: &Folder) {
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let store = Sqlite::open(&folder.file()).unwrap();
    let accounts = store.accounts().await.unwrap();
    let found: Vec<(&str, Role, Time)> = accounts
        .iter()
        .map(|account| (account.name.as_str(), account.role, account.created))
        .collect();
    let expected = [
        ("alice", Role::Member, Time(10)),
        ("bob", Role::Member, Time(20)),
    ];
    assert_eq!(found, expected);
    let by_key = store
        .account_by_key(&Fingerprint::new("SHA256:alice"))
        .await;
    assert_eq!(by_key, Ok(Some(accounts[0].clone())));
    let by_name = store.account_by_name(&Name::new("ally").unwrap()).await;
    assert_eq!(by_name, Ok(Some(accounts[0].clone())));
    let keys = store.keys_of(AccountId(7)).await.unwrap();
    let expected = KeyRecord {
        fingerprint: Fingerprint::new("SHA256:alice"),
        algorithm: Text::default(),
        comment: Text::stored(""),
        added: Time(11),
    };
    assert_eq!(keys, [expected]);
    assert_eq!(history(&store).await[0], "1 hello");
    let mark = store.mark(AccountId(8), &ops()).await.unwrap();
    assert_eq!(mark.map(|mark| mark.seq), Some(Seq(1)));
    let topic = store.rooms().await.unwrap()[0].topic.clone();
    assert_eq!(topic, Some(Text::stored("news")));

    let revision = store.revision().await.unwrap();
    let risen = change(&store, 1, role(8, Role::Operator)).await;
    assert_eq!(risen, Ok(ChangeOutcome::Done));
    let added = change(&store, 2, another_key("SHA256:new")).await;
    assert_eq!(added, Ok(ChangeOutcome::Done));
    assert_ne!(store.revision().await, Ok(revision));
    drop(store);

    let store = Sqlite::open(&folder.file()).unwrap();
    assert_eq!(store.accounts().await.unwrap()[1].role, Role::Operator);
    let audits = store.audits(9).await.unwrap();
    let done: Vec<&str> = audits.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(done, ["key_add", "role"]);
}

#[tokio::test]
async fn a_file_of_version_1_becomes_one_of_this() {
    let folder = Folder::new();
    let old = Connection::open(folder.file()).unwrap();
    old.execute_batch(include_str!("version-1.sql")).unwrap();
    drop(old);
    is_brought_up(&folder).await;
}

/// One so large that its tables are checked one by one, although not all are there yet.
#[tokio::test]
async fn a_large_file_of_version_1_becomes_one_of_this() {
    let folder = Folder::new();
    let old = Connection::open(folder.file()).unwrap();
    old.execute_batch("PRAGMA page_size = 512").unwrap();
    old.execute_batch(include_str!("version-1.sql")).unwrap();
    let large = "INSERT INTO messages
        SELECT 2, 1, 2, 41, author, author_name, NULL, 0, printf('%.*c', 9000000, 'x'), NULL, 0, 1
        FROM messages";
    old.execute_batch(large).unwrap();
    let pages: i64 = old
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    assert!(pages > 16_384, "{pages}");
    drop(old);
    is_brought_up(&folder).await;
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let folder = Folder::new();
    let old = Connection::open(folder.file()).unwrap();
    old.execute_batch(include_str!("version-1.sql")).unwrap();
    // In the way of the last table that is made.
    old.execute_batch("CREATE TABLE revision (other)").unwrap();
    assert!(Sqlite::open(&folder.file()).is_err());
    let count = |sql| old.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("PRAGMA user_version"), 1);
    assert_eq!(
        count("SELECT count(*) FROM sqlite_schema WHERE name IN ('bans', 'audit')"),
        0
    );
}

/// MUST 6.
#[tokio::test]
async fn rows_about_people_are_judged_when_they_are_read() {
    const ESCAPE: &str = "\u{1b}[2Jx\n";
    const CLEAN: &str = "[2Jx";

    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let (alice, first) = alice();
    create(&store, &alice, &first).await.unwrap();
    for action in [
        ChangeAction::AddPending {
            pending: pending("SHA256:waits"),
            per_source: None,
        },
        ChangeAction::CreateInvite(invite()),
    ] {
        change(&store, 1, action).await.unwrap();
    }
    let target = BanTarget::Account(alice.id, alice.name.clone());
    change(&store, 1, ChangeAction::Ban(ban(target)))
        .await
        .unwrap();
    let other = Connection::open(folder.file()).unwrap();

    for table_and_columns in [
        "keys SET algorithm = ?1, comment = ?1",
        "pending SET origin = ?1, comment = ?1",
        "invites SET made_by = ?1",
        "bans SET made_by = ?1, reason = ?1",
        "audit SET actor = ?1, action = ?1, target = ?1, detail = ?1",
    ] {
        let update = format!("UPDATE {table_and_columns}");
        assert!(other.execute(&update, [ESCAPE]).unwrap() > 0, "{update}");
    }
    let key = store.keys_of(alice.id).await.unwrap().remove(0);
    assert_eq!(
        (key.algorithm.as_str(), key.comment.as_str()),
        (CLEAN, CLEAN)
    );
    let waits = store.pending(Time(2)).await.unwrap().remove(0);
    assert_eq!(
        (waits.from.to_string().as_str(), waits.key.comment.as_str()),
        ("::", CLEAN)
    );
    let by = Issuer::Unverified(Text::stored(CLEAN));
    assert_eq!(store.invites(Time(2)).await.unwrap()[0].by, by);
    let ban = store.bans(Time(2)).await.unwrap().remove(0);
    assert_eq!((ban.by, ban.reason), (by, Some(Text::stored(CLEAN))));
    let entry = store.audits(1).await.unwrap().remove(0);
    assert_eq!(entry.actor, Actor::Console, "it is known by its kind");
    let said = [
        entry.action.as_str(),
        entry.target.as_str(),
        entry.detail.as_str(),
    ];
    assert_eq!(said, [CLEAN; 3]);
    for (kind, subject, shown) in [
        ("key", "SHA256:a\u{202e}b", "SHA256:a\u{fffd}b\u{fffd}"),
        ("client", "SSH-2.0-\u{9b}31m", "client SSH-2.0-\u{fffd}31m"),
        ("client", "Go\u{e0041}", "client Go\u{fffd}"),
    ] {
        let update = "UPDATE bans SET kind = ?1, subject = ?2";
        other.execute(update, [kind, subject]).unwrap();
        let ban = store.bans(Time(2)).await.unwrap().remove(0);
        assert_eq!(ban.target.to_string(), shown);
    }
    let back = "UPDATE bans SET kind = 'account', subject = ?1";
    other.execute(back, [alice.id.to_string()]).unwrap();
    other
        .execute("UPDATE audit SET actor_kind = NULL", [])
        .unwrap();
    let entry = store.audits(1).await.unwrap().remove(0);
    assert_eq!(entry.actor, Actor::Unverified(Text::stored(CLEAN)));

    for (damage, expected) in [
        ("kind = 'moon'", "ban 1 has the invalid target moon"),
        ("kind = 'network'", "ban 1 has the invalid target network"),
        (
            "kind = 'account', subject = '7'",
            "invalid target account \"7\"",
        ),
        (
            "subject = printf('%032d', 7), name = NULL",
            "ban 1 has the invalid",
        ),
        ("name = 'No Body'", "ban 1 has the invalid name"),
    ] {
        let damage = format!("UPDATE bans SET {damage}");
        other.execute(&damage, []).unwrap();
        let error = store.bans(Time(2)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for damage in [
        "role = 'king'",
        "remaining = -1 + 5000000000",
        "role = 'guest'",
    ] {
        let damage = format!("UPDATE invites SET {damage}");
        other.execute(&damage, []).unwrap();
        let read = store.invites(Time(2)).await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    }
    other.execute("UPDATE accounts SET role = ''", []).unwrap();
    let error = store.accounts().await.unwrap_err().to_string();
    assert!(error.contains("invalid role"), "{error}");
}

/// What is over is not kept for ever.
#[tokio::test]
async fn what_is_over_is_deleted_in_passing() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let other = Connection::open(folder.file()).unwrap();
    let (alice, key) = alice();
    let ban = |until| Ban {
        until,
        ..ban(BanTarget::Key(key.fingerprint.clone()))
    };
    let mute = |account, until| Mute {
        account: AccountId(account),
        by: "host".into(),
        until,
        reason: None,
    };
    let once = Invite {
        hash: "used".to_owned(),
        left: 1,
        ..invite()
    };
    let redeem = ChangeAction::RedeemInvite {
        hash: "used".to_owned(),
        account: alice,
        key: key.clone(),
    };
    for action in [
        ChangeAction::CreateInvite(once),
        ChangeAction::CreateInvite(invite()),
        redeem,
        ChangeAction::Ban(ban(Some(Time(9)))),
        muted(&mute(1, Some(Time(9)))),
    ] {
        change(&store, 1, action).await.unwrap();
    }
    let rows = |table| {
        let count = format!("SELECT count(*) FROM {table}");
        other
            .query_row(&count, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(["invites", "bans", "mutes"].map(rows), [1, 1, 1]);
    let newer = Invite {
        hash: "newer".to_owned(),
        expires: Time(200),
        ..invite()
    };
    for (at, action) in [
        (9, ChangeAction::Ban(ban(None))),
        (9, muted(&mute(2, None))),
        (100, ChangeAction::CreateInvite(newer)),
    ] {
        change(&store, at, action).await.unwrap();
    }
    assert_eq!(["invites", "bans", "mutes"].map(rows), [1, 1, 1]);
}

/// A row that says "guest" could not be read again.
#[tokio::test]
async fn no_account_can_be_a_guests() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let (alice, key) = alice();
    create(&store, &alice, &key).await.unwrap();
    let set = change(&store, 1, role(7, Role::Guest)).await;
    assert!(set.is_err(), "{set:?}");
    let guests = Invite {
        role: Role::Guest,
        ..invite()
    };
    let created = change(&store, 1, ChangeAction::CreateInvite(guests)).await;
    assert!(created.is_err(), "{created:?}");
    let account = Account {
        role: Role::Guest,
        ..alice.clone()
    };
    let there = create(&store, &account, &key).await;
    assert_eq!(there, Ok(ChangeOutcome::Unchanged));
    assert_eq!(store.accounts().await, Ok(vec![alice]));
    assert_eq!(store.audits(9).await.unwrap().len(), 1);
}

/// Nobody who is online is measured by that, and a crowd that arrives makes no work for the rest.
#[tokio::test]
async fn the_revision_is_the_same_when_people_come() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let revision = store.revision().await;
    let (account, first) = alice();
    create(&store, &account, &first).await.unwrap();
    let add = another_key("SHA256:new");
    change(&store, 1, add).await.unwrap();
    assert_eq!(store.revision().await, revision);
    let remove = ChangeAction::RemoveKey {
        account: account.id,
        name: account.name,
        key: Fingerprint::new("SHA256:new"),
        last: false,
    };
    change(&store, 1, remove).await.unwrap();
    assert_ne!(store.revision().await, revision);
}

#[tokio::test]
async fn an_account_that_makes_no_sense_hides_no_other() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let (account, first) = alice();
    create(&store, &account, &first).await.unwrap();
    let odd = Account {
        id: AccountId(99),
        name: Name::new("odd").unwrap(),
        ..account.clone()
    };
    create(&store, &odd, &key("SHA256:odd")).await.unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other
        .execute(
            "UPDATE accounts SET preferences = '?' WHERE name = 'odd'",
            [],
        )
        .unwrap();
    let all = store.accounts_with_keys().await.unwrap();
    let [good, Err(StoreError::Corrupt(what))] = &all[..] else {
        panic!("{all:?}");
    };
    assert!(what.contains("invalid preferences"), "{what}");
    assert_eq!(*good, Ok((account.clone(), vec![first.clone()])));

    // With a damaged key it's the account that can't be read, and again no other.
    let damage = "UPDATE keys SET algorithm = CAST(x'ff' AS TEXT) WHERE fingerprint = ?1";
    other.execute(damage, [first.fingerprint.as_str()]).unwrap();
    let all = store.accounts_with_keys().await.unwrap();
    assert!(
        matches!(&all[..], [Err(StoreError::Corrupt(_)), Err(_)]),
        "{all:?}"
    );
}
