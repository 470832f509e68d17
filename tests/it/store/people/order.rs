//! Keeping order: roles, bans, mutes, the lockdown, and what is kept of it.

use std::time::Duration;

use super::*;
use crate::harness::Changes;
use ssh_chat::chat::access::ClientPrefix;
use ssh_chat::chat::preferences::Preferences;
use ssh_chat::store::{Change, ChangeAction, ChangeOutcome};

contract! {
    there_is_always_an_operator,
    of_two_operators_who_demote_each_other_one_stays,
    bans_have_numbers_and_ends,
    a_mute_takes_the_place_of_another,
    there_is_one_lockdown,
    slow_mode_is_of_the_room,
    changes_are_audited_and_noticed,
    audits_are_newest_first,
}

async fn there_is_always_an_operator(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=2).await;
    let born_so = Account {
        role: Role::Operator,
        ..account(3)
    };
    let set = async |who, role| store.set_role(id(who), role, &audit(1, "role")).await;
    assert_eq!(set(1, Role::Member).await, Ok(()), "there never was one");
    store.create_account(&born_so, &key(3)).await.unwrap();
    let last = Err(ChangeError::LastOperator);
    assert_eq!(set(3, Role::Member).await, last);
    let same = store.account_by_key(&fingerprint(3)).await;
    assert_eq!(same, Ok(Some(born_so)), "nothing was done");

    assert_eq!(set(1, Role::Operator).await, Ok(()));
    assert_eq!(set(3, Role::Member).await, Ok(()));
    assert_eq!(set(1, Role::Member).await, last);
    assert_eq!(set(2, Role::Member).await, Ok(()), "is one already");
    assert_eq!(set(9, Role::Operator).await, Err(ChangeError::NoAccount));

    store.rename(id(2), &name("adam")).await.unwrap();
    let accounts = store.accounts().await.unwrap();
    let roles: Vec<String> = accounts
        .iter()
        .map(|account| format!("{} {}", account.name, account.role))
        .collect();
    assert_eq!(roles, ["adam member", "user-1 operator", "user-3 member"]);
}

/// MUST 9.
async fn of_two_operators_who_demote_each_other_one_stays(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=2).await;
    for _ in 0..10 {
        for number in 1..=2 {
            let risen = store.set_role(id(number), Role::Operator, &done()).await;
            assert_eq!(risen, Ok(()));
        }
        let demoted = all_at_once(place, 2, |store, n| async move {
            store.set_role(id(n + 1), Role::Member, &done()).await
        })
        .await;
        let last = Err(ChangeError::LastOperator);
        assert!(
            demoted.contains(&Ok(())) && demoted.contains(&last),
            "{demoted:?}"
        );
        let accounts = store.accounts().await.unwrap();
        let operators = accounts.iter().filter(|a| a.role == Role::Operator);
        assert_eq!(operators.count(), 1);
    }
}

async fn bans_have_numbers_and_ends(place: &impl Place) {
    let store = place.open();
    let made = [
        ban(BanTarget::Account(id(1), name("user-1")), None),
        ban(BanTarget::Key(fingerprint(1)), Some(10)),
        ban(
            BanTarget::Network(network("203.0.113.7").unwrap()),
            Some(20),
        ),
        ban(BanTarget::Network(network("2001:db8::/32").unwrap()), None),
        Ban {
            reason: None,
            ..ban(BanTarget::Client(ClientPrefix::stored("SSH-2.0-Go ")), None)
        },
    ];
    let mut kept = Vec::new();
    for ban in made {
        let id = store.add_ban(&ban, &audit(1, "ban")).await.unwrap();
        kept.push(Ban { id, ..ban });
    }
    let ids: BTreeSet<u64> = kept.iter().map(|ban| ban.id).collect();
    assert_eq!(ids.len(), 5, "each its own");
    assert_eq!(store.bans(at(9)).await.unwrap(), kept, "the oldest first");
    kept.remove(1);
    assert_eq!(store.bans(at(10)).await.unwrap(), kept, "one is over");

    let remove = async |id, seconds| {
        let audit = audit(seconds, "unban");
        store.remove_ban(id, &audit).await.unwrap()
    };
    let last = kept.pop().unwrap();
    assert!(remove(last.id, 11).await);
    assert!(!remove(last.id, 11).await, "gone");
    assert!(!remove(0, 11).await);
    assert!(!remove(u64::MAX, 11).await);
    assert!(!remove(kept[1].id, 20).await, "over by itself");
    kept.remove(1);
    assert_eq!(store.bans(at(20)).await.unwrap(), kept);
    let id = store.add_ban(&last, &audit(21, "ban")).await.unwrap();
    assert!(!ids.contains(&id), "a number never means another ban");
}

async fn a_mute_takes_the_place_of_another(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=2).await;
    let set =
        async |who, mute: Option<&Mute>| store.set_mute(id(who), mute, &audit(1, "mute")).await;
    let forever = Mute {
        reason: Text::line("spam", 100).ok(),
        ..mute(1, None)
    };
    assert_eq!(store.mutes(at(0)).await, Ok(Vec::new()));
    set(1, Some(&mute(1, Some(10)))).await.unwrap();
    set(1, Some(&forever)).await.unwrap();
    set(2, Some(&mute(2, Some(20)))).await.unwrap();
    let both = [forever.clone(), mute(2, Some(20))];
    assert_eq!(store.mutes(at(19)).await.unwrap(), both);
    assert_eq!(store.mutes(at(20)).await.unwrap(), [forever], "one is over");
    set(1, None).await.unwrap();
    assert_eq!(store.mutes(at(19)).await.unwrap(), [mute(2, Some(20))]);
    // A guest has no account.
    set(9, Some(&mute(9, None))).await.unwrap();
    assert_eq!(store.mutes(at(20)).await.unwrap(), [mute(9, None)]);
}

async fn there_is_one_lockdown(place: &impl Place) {
    let store = place.open();
    let lockdown = |until: Option<i64>| Lockdown {
        scope: LockdownScope::Everyone,
        by: "zoe".into(),
        until: until.map(at),
    };
    let set = async |lockdown: Option<&Lockdown>| {
        let set = store.set_lockdown(lockdown, &audit(1, "lockdown")).await;
        set.unwrap();
    };
    assert_eq!(store.lockdown(at(0)).await, Ok(None));
    set(Some(&lockdown(Some(10)))).await;
    assert_eq!(store.lockdown(at(9)).await, Ok(Some(lockdown(Some(10)))));
    assert_eq!(store.lockdown(at(10)).await, Ok(None), "over");
    set(Some(&lockdown(None))).await;
    assert_eq!(store.lockdown(at(10)).await, Ok(Some(lockdown(None))));
    set(None).await;
    assert_eq!(store.lockdown(at(0)).await, Ok(None));
}

async fn slow_mode_is_of_the_room(place: &impl Place) {
    let store = place.open();
    let (ops, tea) = (RoomName::new("ops").unwrap(), RoomName::new("tea").unwrap());
    let set = async |room: &RoomName, seconds: Option<u64>| {
        let slow = seconds.map(Duration::from_secs);
        let room = room.clone();
        let change = Change {
            at: at(1),
            actor: Actor::System,
            action: ChangeAction::SetSlow { room, slow },
        };
        let applied = store.apply(&change).await;
        applied.map(|applied| {
            (
                applied.outcome,
                applied.audit.map(|audit| audit.detail.to_string()),
            )
        })
    };
    let done = |detail: &str| Ok((ChangeOutcome::Done, Some(detail.to_owned())));
    let unchanged = Ok((ChangeOutcome::Unchanged, None));
    assert_eq!(set(&ops, Some(30)).await, Err(ChangeError::NotFound));
    for room in [&ops, &tea] {
        let made = store.open_room(room, None, at(0)).await.unwrap();
        assert_eq!(made.slow, None);
    }
    assert_eq!(set(&ops, None).await, unchanged);
    assert_eq!(set(&ops, Some(30)).await, done("one message every 30s"));
    assert_eq!(set(&ops, Some(30)).await, unchanged);
    assert_eq!(set(&ops, Some(60)).await, done("one message every 1m"));
    let slow = async || {
        let rooms = place.open().rooms().await.unwrap();
        let slow = rooms.into_iter().map(|room| room.slow.map(|s| s.as_secs()));
        slow.collect::<Vec<_>>()
    };
    assert_eq!(slow().await, [Some(60), None]);
    assert_eq!(set(&ops, None).await, done("off"));
    assert_eq!(slow().await, [None, None]);
}

/// What is seen of a step from another opening: whether the revision is another number, and how
/// many audit entries came with it.
struct Watcher {
    store: Arc<dyn Store>,
    revision: u64,
    audits: usize,
}

/// A change with its entry.
const NOTICED: Seen = Seen(Some(true), 1);

/// A change that no other process needs to know at once.
const AUDITED: Seen = Seen(Some(false), 1);

/// One that takes nothing from anybody: others may notice it.
const GIVEN: Seen = Seen(None, 1);

const MADE: Seen = Seen(None, 0);

const NOTHING: Seen = Seen(Some(false), 0);

/// Whether the revision is another number, where that matters, and how many audit entries came.
#[derive(Debug, Clone, Copy)]
struct Seen(Option<bool>, usize);

impl Watcher {
    async fn new(store: Arc<dyn Store>) -> Watcher {
        let mut watcher = Watcher {
            store,
            revision: 0,
            audits: 0,
        };
        watcher.sees(MADE, "the beginning").await;
        watcher
    }

    async fn sees(&mut self, expected: Seen, step: &str) {
        let revision = self.store.revision().await.unwrap();
        let audits = self.store.audits(usize::MAX).await.unwrap().len();
        let Seen(noticed, entries) = expected;
        let noticed = noticed.is_none_or(|noticed| noticed == (revision != self.revision));
        assert!(noticed, "{step}: {expected:?}");
        assert_eq!(audits - self.audits, entries, "{step}");
        (self.revision, self.audits) = (revision, audits);
    }
}

/// MUST 7 and 10, from two openings of the same store.
async fn changes_are_audited_and_noticed(place: &impl Place) {
    let store = place.open();
    let mut watcher = Watcher::new(place.open()).await;
    let audit = &audit(50, "it");
    /// Does a step, looks at how its answer begins, and at what the other opening sees of it.
    macro_rules! step {
        ($seen:expr, $answer:literal, $step:expr) => {
            let answer = format!("{:?}", $step.await);
            assert!(
                answer.starts_with($answer),
                "{}: {answer}",
                stringify!($step)
            );
            watcher.sees($seen, stringify!($step)).await;
        };
    }
    let operator = &Account {
        role: Role::Operator,
        ..account(1)
    };

    step!(MADE, "Ok", store.create_account(operator, &key(1)));
    step!(NOTHING, "Ok", store.create_account(operator, &key(1)));
    step!(MADE, "Ok", store.create_account(&account(2), &key(2)));
    step!(NOTHING, "Ok", store.rename(id(2), &name("dora")));
    let settings = Preferences::default();
    step!(NOTHING, "Ok", store.save_preferences(id(2), &settings));
    step!(NOTHING, "Ok", store.append(vec![said("ops", "hi")]));
    step!(NOTHING, "Ok", store.ping());

    step!(GIVEN, "Ok", store.add_key(id(1), &key(3), audit));
    step!(NOTHING, "Err", store.add_key(id(2), &key(3), audit));
    let (first, third) = (&fingerprint(1), &fingerprint(3));
    step!(NOTICED, "Ok", store.remove_key(id(1), third, false, audit));
    step!(NOTHING, "Err", store.remove_key(id(1), third, false, audit));
    step!(NOTHING, "Err", store.remove_key(id(1), first, false, audit));

    let (low, high) = (Role::Member, Role::Operator);
    step!(NOTHING, "Err", store.set_role(id(1), low, audit));
    step!(NOTHING, "Ok", store.set_role(id(1), high, audit));
    step!(NOTICED, "Ok", store.set_role(id(2), high, audit));
    step!(NOTICED, "Ok", store.set_role(id(2), low, audit));
    step!(NOTHING, "Err", store.set_role(id(9), high, audit));

    let (made, other) = (&invite(1, 2), &invite(2, 2));
    step!(AUDITED, "Ok", store.create_invite(made, audit));
    step!(AUDITED, "Ok", store.create_invite(other, audit));
    step!(AUDITED, "Ok(true)", store.revoke_invite(other.id(), audit));
    step!(NOTHING, "Ok(false)", store.revoke_invite(other.id(), audit));
    let (new, code) = (&account(4), &made.hash);
    step!(GIVEN, "Ok", store.redeem(code, new, &key(4), audit));
    step!(NOTHING, "Ok", store.redeem(code, new, &key(4), audit));
    step!(
        NOTHING,
        "Err",
        store.redeem(code, &account(5), &key(4), audit)
    );
    step!(
        NOTHING,
        "Err",
        store.redeem("?", &account(5), &key(5), audit)
    );

    step!(NOTHING, "Ok(true)", store.add_pending(&pending(6)));
    step!(NOTHING, "Ok(true)", store.add_pending(&pending(7)));
    let (sixth, seventh) = (&fingerprint(6), &fingerprint(7));
    step!(
        NOTHING,
        "Err",
        store.settle_pending(sixth, Some(&account(4)), audit)
    );
    step!(
        GIVEN,
        "Ok(Some",
        store.settle_pending(sixth, Some(&account(6)), audit)
    );
    step!(
        AUDITED,
        "Ok(Some",
        store.settle_pending(seventh, None, audit)
    );
    step!(
        NOTHING,
        "Ok(None)",
        store.settle_pending(seventh, None, audit)
    );

    let ban = &ban(BanTarget::Key(fingerprint(8)), None);
    step!(NOTICED, "Ok", store.add_ban(ban, audit));
    let number = store.bans(at(50)).await.unwrap()[0].id;
    step!(NOTICED, "Ok(true)", store.remove_ban(number, audit));
    step!(NOTHING, "Ok(false)", store.remove_ban(number, audit));

    let mute = &mute(2, None);
    step!(NOTHING, "Ok", store.set_mute(id(2), None, audit));
    step!(NOTICED, "Ok", store.set_mute(id(2), Some(mute), audit));
    step!(NOTICED, "Ok", store.set_mute(id(2), None, audit));

    let lockdown = &Lockdown {
        scope: LockdownScope::Everyone,
        by: "zoe".into(),
        until: None,
    };
    step!(NOTHING, "Ok", store.set_lockdown(None, audit));
    step!(NOTICED, "Ok", store.set_lockdown(Some(lockdown), audit));
    step!(NOTICED, "Ok", store.set_lockdown(None, audit));

    step!(AUDITED, "Ok", store.audit(audit));
    step!(NOTHING, "Ok", store.bans(at(50)));
}

async fn audits_are_newest_first(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.audits(9).await, Ok(Vec::new()));
    // The order is that of arrival: clocks step back.
    let kept: Vec<AuditEntry> = [5, 6, 4, 7, 7]
        .into_iter()
        .enumerate()
        .map(|(n, seconds)| audit(seconds, &format!("action-{n}")))
        .collect();
    for audit in &kept {
        store.audit(audit).await.unwrap();
    }
    let newest: Vec<AuditEntry> = kept.into_iter().rev().collect();
    for limit in [0, 1, 3, 5, 9, usize::MAX] {
        let found = store.audits(limit).await.unwrap();
        assert_eq!(found, newest[..limit.min(5)], "{limit}");
    }
}
