//! Changes whose response is lost are applied once.

use crate::harness::Changes;
use std::collections::BTreeSet;

use ssh_chat::chat::access::{Ban, BanTarget, Lockdown, LockdownScope, Mute, PendingKey};
use ssh_chat::chat::invite::{Code, Invite};

use super::*;

const ALL: &str = "TransactWriteItems";
const UPDATE: &str = "UpdateItem";
const PUT: &str = "PutItem";

impl OwnTable {
    /// A string that occurs in all requests about this table, and in no others.
    pub(in crate::store) fn mark(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// The responses to the next calls of an operation are lost: they're executed.
    pub(super) fn lose(&self, operation: &str, times: u32) {
        self.answer(operation, times, 500, "InternalServerError");
    }

    /// The next call of an operation is executed, but the response is an error that stops all
    /// retries.
    pub(super) fn deny(&self, operation: &str) {
        self.answer(operation, 1, 400, "SomethingElseException");
    }

    fn answer(&self, operation: &str, times: u32, status: u16, code: &str) {
        Moto::shared().fault(&json!({
            "operation": operation,
            "about": self.mark(),
            "times": times,
            "applied": true,
            "status": status,
            "code": code,
        }));
    }
}

pub(super) fn invite(seed: u8, uses: u32) -> Invite {
    Invite {
        hash: Code::new([seed; 16]).hash(),
        role: Role::Member,
        left: uses,
        uses,
        expires: Time(1_600_000_900_000),
        by: "zoe".into(),
        at: Time(1_600_000_000_000),
    }
}

pub(super) fn pending(who: &str, number: u32) -> PendingKey {
    PendingKey {
        key: key(number),
        name: name(who),
        from: "203.0.113.7".parse().unwrap(),
        at: Time(1_600_000_000_000),
    }
}

/// A table with lost responses, and the expected number of audit entries.
struct Lossy {
    table: OwnTable,
    store: Dynamo,
    audits: usize,
}

impl Lossy {
    fn new() -> Lossy {
        let table = OwnTable::new();
        let store = table.dynamo();
        Lossy {
            table,
            store,
            audits: 0,
        }
    }

    /// Runs a step and loses the first response to an operation, the last one in the step. Then
    /// expects this many new audit entries.
    async fn lose<T>(&mut self, operation: &str, more: usize, step: impl Future<Output = T>) -> T {
        self.table.lose(operation, 1);
        let answer = step.await;
        let to_come = Moto::shared().has_faults(&self.table.mark());
        assert!(!to_come, "the step makes no {operation} call");
        self.audits += more;
        let kept = self.store.audits(99).await.unwrap().len();
        assert_eq!(kept, self.audits, "audit entries");
        answer
    }
}

/// Accounts, keys and roles change once, although the response is lost.
#[tokio::test]
async fn accounts_change_once() {
    let lossy = &mut Lossy::new();
    let store = &lossy.table.dynamo();
    let operator = &Account {
        role: Role::Operator,
        ..account("zoe")
    };
    let (alice, audit) = (&account("alice"), &audit("it"));

    let made = lossy
        .lose(ALL, 0, store.create_account(operator, &key(1)))
        .await;
    assert_eq!(made, Ok(()));
    let made = lossy
        .lose(ALL, 0, store.create_account(alice, &key(2)))
        .await;
    assert_eq!(made, Ok(()));
    let renamed = lossy
        .lose(ALL, 0, store.rename(alice.id, &name("alina")))
        .await;
    assert_eq!(renamed, Ok(()));
    let settings = &Preferences {
        quiet: true,
        ..Preferences::default()
    };
    let kept = lossy.lose(UPDATE, 0, store.save_preferences(alice.id, settings));
    assert_eq!(kept.await, Ok(()));
    let (ops, mark) = (
        &room("ops"),
        ReadMarker {
            seq: Seq(4),
            at: Time(5),
        },
    );
    let marks = vec![(alice.id, ops.clone(), mark)];
    let kept = lossy.lose(UPDATE, 0, store.save_marks(marks)).await;
    assert_eq!(kept, Ok(()));
    assert_eq!(store.mark(alice.id, ops).await, Ok(Some(mark)));

    let added = lossy
        .lose(ALL, 1, store.add_key(alice.id, &key(3), audit))
        .await;
    assert_eq!(added, Ok(()));
    let (second, last) = (&fingerprint(2), false);
    let removed = lossy.lose(ALL, 1, store.remove_key(alice.id, second, last, audit));
    assert_eq!(removed.await, Ok(()));
    assert_eq!(store.keys_of(alice.id).await, Ok(vec![key(3)]));

    let (high, low) = (Role::Operator, Role::Member);
    let risen = lossy.lose(ALL, 1, store.set_role(alice.id, high, audit));
    assert_eq!(risen.await, Ok(()));
    let fallen = lossy.lose(ALL, 1, store.set_role(operator.id, low, audit));
    assert_eq!(fallen.await, Ok(()));
    let last = store.set_role(alice.id, low, audit).await;
    assert_eq!(last, Err(ChangeError::LastOperator));

    let accounts = store.accounts().await.unwrap();
    let short = accounts.iter().map(|a| format!("{} {}", a.name, a.role));
    let short: Vec<String> = short.collect();
    assert_eq!(short, ["alina operator", "zoe member"]);
    assert_eq!(accounts[0].preferences, *settings);
}

/// A user joins once, although the response is lost.
#[tokio::test]
async fn users_are_admitted_once() {
    let lossy = &mut Lossy::new();
    let store = &lossy.table.dynamo();
    let (made, other, audit) = (&invite(1, 2), &invite(2, 2), &audit("it"));
    for invite in [made, other] {
        let kept = lossy.lose(ALL, 1, store.create_invite(invite, audit));
        assert_eq!(kept.await, Ok(()));
    }
    let (bob, carol) = (&account("bob"), &account("carol"));
    let fourth = &key(4);
    let redeemed = lossy.lose(ALL, 1, store.redeem(&made.hash, bob, fourth, audit));
    assert_eq!(redeemed.await.as_ref(), Ok(bob));
    let revoked = lossy.lose(ALL, 1, store.revoke_invite(other.id(), audit));
    assert_eq!(revoked.await, Ok(true));
    let left = store.invites(audit.at).await.unwrap();
    let left: Vec<u32> = left.iter().map(|invite| invite.left).collect();
    assert_eq!(left, [1]);

    for (pending, account) in [
        (pending("carol", 5), Some(carol)),
        (pending("dave", 6), None),
    ] {
        let waits = lossy.lose(ALL, 0, store.add_pending(&pending)).await;
        assert_eq!(waits, Ok(true));
        let key = &pending.key.fingerprint;
        let settled = lossy.lose(ALL, 1, store.settle_pending(key, account, audit));
        assert_eq!(settled.await, Ok(Some(pending.clone())));
    }
    assert_eq!(
        store.accounts().await.unwrap(),
        [bob.clone(), carol.clone()]
    );
}

/// Bans and the like change once, although the response is lost.
#[tokio::test]
async fn moderation_changes_once() {
    let lossy = &mut Lossy::new();
    let store = &lossy.table.dynamo();
    let audit = &audit("it");
    let ban = &Ban {
        id: 0,
        target: BanTarget::Key(fingerprint(1)),
        by: "zoe".into(),
        at: audit.at,
        until: None,
        reason: None,
    };
    let number = lossy.lose(ALL, 1, store.add_ban(ban, audit)).await;
    assert_eq!(number, Ok(1));
    let number = lossy.lose(UPDATE, 1, store.add_ban(ban, audit)).await;
    assert_eq!(number, Ok(3), "2 isn't in use");
    let removed = lossy.lose(ALL, 1, store.remove_ban(1, audit)).await;
    assert_eq!(removed, Ok(true));
    let bans = store.bans(audit.at).await.unwrap();
    assert_eq!(bans.iter().map(|ban| ban.id).collect::<Vec<_>>(), [3]);

    let alice = account("alice").id;
    let mute = &Mute {
        account: alice,
        by: "zoe".into(),
        until: None,
        reason: None,
    };
    let lockdown = &Lockdown {
        scope: LockdownScope::Everyone,
        by: "zoe".into(),
        until: None,
    };
    for on in [true, false] {
        let mute = lossy.lose(ALL, 1, store.set_mute(alice, on.then_some(mute), audit));
        assert_eq!(mute.await, Ok(()));
        let lockdown = store.set_lockdown(on.then_some(lockdown), audit);
        assert_eq!(lossy.lose(ALL, 1, lockdown).await, Ok(()));
        assert_eq!(store.mutes(audit.at).await.unwrap().len(), usize::from(on));
        assert_eq!(store.lockdown(audit.at).await.unwrap().is_some(), on);
    }
    assert_eq!(lossy.lose(PUT, 1, store.audit(audit)).await, Ok(()));
}

/// A message is saved once, although the response is lost.
#[tokio::test]
async fn messages_are_kept_once() {
    let lossy = &mut Lossy::new();
    let store = &lossy.table.dynamo();
    let hi = |words| vec![said(&room("ops"), "alice", words)];
    let first = lossy.lose(ALL, 0, store.append(hi("hi"))).await;
    assert_eq!(first, Ok(vec![Seq(1)]));
    let second = lossy.lose(PUT, 0, store.append(hi("there"))).await;
    assert_eq!(second, Ok(vec![Seq(2)]));
    let change = amendment(Some(1), "alice", Some("hello"));
    let changed = lossy.lose(ALL, 0, store.edit_message(change)).await;
    assert_eq!(changed.map(|message| message.seq), Ok(Seq(3)));
    assert_eq!(history(store, None, 9).await, ["1 hello*", "2 there"]);
}

/// MUST 5: a call that failed but was executed can be repeated.
#[tokio::test]
async fn a_failed_call_may_be_repeated() {
    let table = OwnTable::new();
    let store = table.dynamo();
    let (alice, bob, audit) = (account("alice"), account("bob"), &audit("it"));
    let made = invite(1, 2);
    store.create_invite(&made, audit).await.unwrap();
    /// Runs a step twice: first it's executed but fails, then the result is as if it hadn't failed.
    macro_rules! twice {
        ($step:expr) => {
            table.deny(ALL);
            let failed = format!("{:?}", $step.await);
            assert!(failed.contains("Unavailable"), "{failed}");
            let answer = format!("{:?}", $step.await);
            assert!(answer.starts_with("Ok"), "{answer}");
        };
    }
    twice!(store.create_account(&alice, &key(1)));
    twice!(store.rename(alice.id, &name("alina")));
    twice!(store.redeem(&made.hash, &bob, &key(2), audit));
    twice!(store.add_pending(&pending("carol", 3)));
    assert_eq!(store.accounts().await.unwrap().len(), 2);
    assert_eq!(store.invites(audit.at).await.unwrap()[0].left, 1);
    assert_eq!(store.pending(audit.at).await.unwrap().len(), 1);
    assert_eq!(store.audits(9).await.unwrap().len(), 2);
    let again = store.add_key(alice.id, &key(2), audit).await;
    assert_eq!(again, Err(ChangeError::KeyTaken));
}

/// MUST 8, with concurrent callers and lost responses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_admits_no_more_than_its_uses() {
    let table = OwnTable::new();
    let stores = [table.open(), table.open()];
    let made = invite(1, 5);
    stores[0]
        .create_invite(&made, &audit("invite"))
        .await
        .unwrap();
    table.lose(ALL, 4);
    let mut attempts = tokio::task::JoinSet::new();
    for n in 0..30_u32 {
        let (store, hash) = (Arc::clone(&stores[n as usize % 2]), made.hash.clone());
        attempts.spawn(async move {
            let wanted = Account {
                id: AccountId(n.into()),
                name: name(&format!("user-{n}")),
                ..account("anybody")
            };
            store
                .redeem(&hash, &wanted, &key(n), &audit("redeem"))
                .await
        });
    }
    let attempts = attempts.join_all().await;
    assert!(
        !Moto::shared().has_faults(&table.mark()),
        "all responses were lost"
    );
    let bad = attempts.iter().filter(|a| **a == Err(ChangeError::BadCode));
    assert_eq!(bad.count(), 25);
    let made: BTreeSet<AccountId> = attempts
        .iter()
        .flatten()
        .map(|account| account.id)
        .collect();
    let there = stores[0].accounts().await.unwrap();
    let there: BTreeSet<AccountId> = there.iter().map(|account| account.id).collect();
    assert_eq!((made.len(), &made), (5, &there));
    let audits = stores[0].audits(99).await.unwrap();
    assert_eq!(audits.len(), 1 + 5);
}
