//! MUST 5 and 7, under faults: each single write of each change is made to fail once. Then nothing
//! of the change is there, or all of it with its audit entry, and the answer says which.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use ssh_chat::chat::access::{
    Actor, Ban, BanTarget, ClientPrefix, KeyRecord, Lockdown, LockdownScope, Mute, PendingKey, Role,
};
use ssh_chat::chat::ids::{AccountId, RoomName, Time};
use ssh_chat::chat::invite::{Code, Invite};
use ssh_chat::store::archive::ArchiveRecord;
use ssh_chat::store::{Account, Archive, Change, ChangeAction, ChangeError, StoreError};
use ssh_chat::text::Text;

use super::archive::Archived as _;
use super::{account, fingerprint, key, name};
use crate::harness::moto::Moto;
use crate::store::dynamo::OwnTable;

const NOW: Time = Time(1_600_000_000_000);

fn operator() -> Account {
    Account {
        role: Role::Operator,
        ..account("zoe")
    }
}

fn waiting(who: &str, seconds: i64) -> Account {
    Account {
        proof_by: Some(Time(NOW.0 + seconds * 1000)),
        ..account(who)
    }
}

fn invite(seed: u8) -> Invite {
    Invite {
        hash: Code::new([seed; 16]).hash(),
        role: Role::Operator,
        left: 2,
        uses: 2,
        expires: Time(NOW.0 + 60_000),
        by: "zoe".into(),
        at: NOW,
    }
}

fn pending(who: &str, number: u32) -> PendingKey {
    PendingKey {
        key: key(number),
        name: name(who),
        from: "203.0.113.7".parse().unwrap(),
        at: NOW,
    }
}

fn ban(client: &str) -> Ban {
    Ban {
        id: 0,
        target: BanTarget::Client(ClientPrefix::stored(client)),
        by: "zoe".into(),
        at: NOW,
        until: None,
        reason: Some(Text::stored("spam")),
    }
}

fn mute(account: AccountId) -> Mute {
    Mute {
        account,
        by: "zoe".into(),
        until: Some(Time(NOW.0 + 60_000)),
        reason: None,
    }
}

fn lockdown() -> Lockdown {
    Lockdown {
        scope: LockdownScope::Guests,
        by: "zoe".into(),
        until: None,
    }
}

fn wait(who: &str, number: u32) -> ChangeAction {
    ChangeAction::AddPending {
        pending: pending(who, number),
        per_source: Some(5),
    }
}

/// Bob claims a key.
fn claim(number: u32) -> ChangeAction {
    ChangeAction::ClaimKey {
        account: account("bob").id,
        name: name("bob"),
        key: KeyRecord {
            added: NOW,
            ..key(number)
        },
    }
}

/// What is there before each change.
fn before() -> Vec<ChangeAction> {
    let redeem = |account: Account, number| ChangeAction::CreateAccount {
        account,
        key: key(number),
    };
    vec![
        redeem(operator(), 1),
        redeem(account("bob"), 2),
        redeem(waiting("carl", 10), 3),
        redeem(waiting("dora", -10), 4),
        ChangeAction::AddKey {
            account: account("bob").id,
            name: name("bob"),
            key: key(5),
        },
        ChangeAction::CreateInvite(invite(1)),
        wait("erik", 6),
        wait("fay", 7),
        wait("gil", 15),
        wait("hank", 16),
        claim(12),
        claim(13),
        ChangeAction::Ban(ban("SSH-2.0-Go")),
        ChangeAction::Mute {
            name: name("bob"),
            mute: mute(account("bob").id),
        },
        ChangeAction::SetLockdown(Some(lockdown())),
    ]
}

/// One of each kind, all of which change what [`before`] has made.
fn changes() -> Vec<ChangeAction> {
    let (bob, zoe) = (account("bob"), operator());
    let all = vec![
        ChangeAction::CreateAccount {
            account: account("gus"),
            key: key(8),
        },
        ChangeAction::Rename {
            account: bob.id,
            from: name("bob"),
            to: name("robert"),
        },
        ChangeAction::AddKey {
            account: bob.id,
            name: name("bob"),
            key: key(9),
        },
        ChangeAction::RemoveKey {
            account: bob.id,
            name: name("bob"),
            key: fingerprint(5),
            last: false,
        },
        ChangeAction::SetRole {
            account: bob.id,
            name: name("bob"),
            role: Role::Operator,
        },
        ChangeAction::CreateInvite(invite(2)),
        ChangeAction::RevokeInvite(invite(1).hash.parse().unwrap()),
        ChangeAction::RedeemInvite {
            hash: invite(1).hash,
            account: waiting("hal", 100),
            key: key(10),
        },
        ChangeAction::ProveKey {
            account: account("carl").id,
            key: fingerprint(3),
        },
        ChangeAction::ForgetAccount {
            account: account("dora").id,
            name: name("dora"),
        },
        claim(14),
        ChangeAction::ConfirmKey {
            account: bob.id,
            name: name("bob"),
            key: fingerprint(12),
        },
        ChangeAction::RefuseKey {
            key: fingerprint(13),
            names: vec![name("bob")],
        },
        wait("ida", 11),
        ChangeAction::Approve {
            key: fingerprint(6),
            account: account("erik"),
        },
        ChangeAction::Deny {
            key: fingerprint(7),
            name: name("fay"),
        },
        ChangeAction::DenyAll {
            keys: vec![fingerprint(15), fingerprint(16), fingerprint(99)],
            which: "all".to_owned(),
        },
        ChangeAction::Ban(ban("SSH-2.0-PuTTY")),
        ChangeAction::Unban(1),
        ChangeAction::Mute {
            name: name("zoe"),
            mute: mute(zoe.id),
        },
        ChangeAction::Unmute {
            account: bob.id,
            name: name("bob"),
        },
        ChangeAction::SetLockdown(None),
        ChangeAction::SetSlow {
            room: RoomName::lobby(),
            slow: Some(Duration::from_secs(30)),
        },
        ChangeAction::RemoveRoom {
            room: RoomName::new("ops").unwrap(),
        },
        ChangeAction::Kick {
            name: name("bob"),
            reason: None,
        },
        ChangeAction::Announce,
        ChangeAction::Purge {
            target: "guests".to_owned(),
            millis: 3_600_000,
            removed: 212,
            whole: true,
        },
    ];
    // Whoever adds a kind of change adds it here.
    let mut kinds: Vec<&str> = all.iter().map(ChangeAction::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), all.len());
    all
}

fn change(action: ChangeAction) -> Change {
    Change {
        at: NOW,
        actor: Actor::Account(operator().id, name("zoe")),
        action,
    }
}

async fn fill(store: &dyn Archive) {
    store
        .open_room(&RoomName::lobby(), None, NOW)
        .await
        .unwrap();
    let ops = RoomName::new("ops").unwrap();
    store.open_room(&ops, None, NOW).await.unwrap();
    let said = super::said(&super::room("ops"), "bob", "hi");
    store.append(vec![said]).await.unwrap();
    for action in before() {
        store.apply(&change(action)).await.unwrap();
    }
}

/// All that is exported, the revision, and what bob claims.
type Content = (Vec<ArchiveRecord>, u64, Vec<KeyRecord>);

/// All that a store has. The id of a ban is none of it: a failed call may use one up.
async fn content(store: &dyn Archive) -> Content {
    let mut records = Vec::new();
    let mut pages = store.export().await.unwrap();
    loop {
        let page = pages.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        for record in page {
            match record {
                ArchiveRecord::Numbers(_) => {}
                ArchiveRecord::Ban(ban) => records.push(ArchiveRecord::Ban(Ban { id: 0, ..ban })),
                record => records.push(record),
            }
        }
    }
    let claims = store.claims_of(account("bob").id, NOW).await.unwrap();
    (records, store.revision().await.unwrap(), claims)
}

/// Every table of the file that a change can write to fails at the write after the next so many.
fn plant(db: &Connection) {
    let tables: Vec<String> = db
        .prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(tables.len() > 10, "{tables:?}");
    db.execute_batch("CREATE TABLE fault (left INTEGER); INSERT INTO fault VALUES (1000000)")
        .unwrap();
    for table in tables {
        for verb in ["INSERT", "UPDATE", "DELETE"] {
            db.execute_batch(&format!(
                "CREATE TRIGGER fault_{table}_{verb} BEFORE {verb} ON {table} BEGIN
                     UPDATE fault SET left = left - 1;
                     SELECT RAISE (ABORT, 'made to fail') FROM fault WHERE left < 0;
                 END"
            ))
            .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_undoes_the_change_in_sqlite() {
    for action in changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.archive();
        fill(&*store).await;
        let other = Connection::open(folder.path().join("chat.db")).unwrap();
        plant(&other);
        let before = content(&*store).await;
        let change = change(action);
        let audits = usize::from(change.audit().is_some());
        for writes in 0.. {
            other
                .execute("UPDATE fault SET left = ?1", [writes])
                .unwrap();
            match store.apply(&change).await {
                Err(ChangeError::Store(error)) => {
                    assert!(error.to_string().contains("made to fail"), "{error}");
                    let after = content(&*store).await;
                    assert_eq!(after, before, "{change:?}, write {writes}");
                }
                Err(error) => panic!("{error:?}"),
                Ok(_) => {
                    let after = content(&*store).await;
                    assert!(writes > 0 && after != before, "{change:?}");
                    let kept = store.audits(99).await.unwrap().len();
                    assert_eq!(kept, audits_in(&before.0) + audits, "{change:?}");
                    assert_eq!(after.1 != before.1, change.concerns_online());
                    break;
                }
            }
        }
    }
}

fn audits_in(records: &[ArchiveRecord]) -> usize {
    let audits = records
        .iter()
        .filter(|r| matches!(r, ArchiveRecord::Audit(_)));
    audits.count()
}

/// How a call to `DynamoDB` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is not done, and the answer says so.
    Refused,
    /// It is done, and the answer says otherwise.
    Denied,
    /// It is done, and there is no answer: it is tried again.
    Lost,
}

const WRITES: [&str; 3] = ["PutItem", "UpdateItem", "TransactWriteItems"];

impl OwnTable {
    /// The write after the next `skip` fails.
    fn fail(&self, fault: Fault, skip: u32) {
        let (status, code) = match fault {
            Fault::Refused | Fault::Denied => (400, "SomethingElseException"),
            Fault::Lost => (500, "InternalServerError"),
        };
        Moto::shared().fault(&json!({
            "operation": WRITES,
            "about": self.mark(),
            "skip": skip,
            "times": 1,
            "applied": fault != Fault::Refused,
            "status": status,
            "code": code,
        }));
    }

    /// Whether the fault has come. It does not come any more.
    fn has_failed(&self) -> bool {
        let to_come = Moto::shared().has_faults(&self.mark());
        Moto::shared().fault(&json!({ "forget": self.mark() }));
        !to_come
    }
}

/// A change on a table of its own.
struct Attempt {
    table: OwnTable,
    store: Arc<dyn Archive>,
    change: Change,
    before: Content,
}

impl Attempt {
    async fn new(action: &ChangeAction) -> Attempt {
        let table = OwnTable::new();
        let store = table.archive();
        fill(&*store).await;
        let before = content(&*store).await;
        let change = change(action.clone());
        Attempt {
            table,
            store,
            change,
            before,
        }
    }

    /// Tries it, with a write that fails. Whether that write was reached.
    async fn fails(&self, fault: Fault, skip: u32) -> bool {
        self.table.fail(fault, skip);
        let answer = self.store.apply(&self.change).await;
        let reached = self.table.has_failed();
        let after = content(&*self.store).await;
        let done = after != self.before;
        let what = format!("{:?}, {fault:?} write {skip}: {answer:?}", self.change);
        match (&answer, fault) {
            (Ok(_), Fault::Lost) => assert!(done, "{what}"),
            (Ok(_), _) => assert!(done && !reached, "{what}"),
            (Err(ChangeError::Store(StoreError::Unavailable(_))), Fault::Refused) => {
                assert!(!done && reached, "{what}");
            }
            // The answer was that it may have been done.
            (Err(ChangeError::Store(StoreError::Unavailable(_))), Fault::Denied) => {}
            _ => panic!("{what}"),
        }
        if done {
            let audits = usize::from(self.change.audit().is_some());
            let kept = audits_in(&after.0) - audits_in(&self.before.0);
            assert_eq!(kept, audits, "{what}");
            let noticed = after.1 != self.before.1;
            assert_eq!(noticed, self.change.concerns_online(), "{what}");
        }
        reached
    }
}

async fn fails_in_turn(action: ChangeAction) {
    let attempt = Attempt::new(&action).await;
    let mut writes = 0;
    while attempt.fails(Fault::Refused, writes).await {
        writes += 1;
    }
    assert!(writes > 0, "{action:?}");
    for fault in [Fault::Denied, Fault::Lost] {
        for skip in 0..writes {
            assert!(Attempt::new(&action).await.fails(fault, skip).await);
        }
    }
}

/// One after the other: the stand-in does one thing at a time, and others ask it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_leaves_all_or_nothing_in_dynamo() {
    for action in changes() {
        fails_in_turn(action).await;
    }
}
