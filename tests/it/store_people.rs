//! The contract of the store port where it is about people: one test for each thing that an
//! adapter MUST keep, as said in `ssh_chat::store::people`, run against every adapter.
//!
//! A new adapter implements [`Place`] and adds one `contract!` line.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use ssh_chat::chat::access::{
    Audit, Ban, BanTarget, KeyRecord, Lockdown, Mute, PendingKey, Role, network,
};
use ssh_chat::chat::event::{Author, Body, Draft};
use ssh_chat::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use ssh_chat::chat::invite::{Code, Invite};
use ssh_chat::chat::preferences::Preferences;
use ssh_chat::store::people::{KeyError, MAX_KEYS, MAX_PENDING, RedeemError, RoleChangeError};
use ssh_chat::store::{Account, Amendment, ClaimError, Mark, Store};
use ssh_chat::text::Text;

use crate::store::Place;

/// Runs the whole contract against one adapter.
macro_rules! contract {
    ($adapter:ident, $place:expr) => {
        mod $adapter {
            contract! { @each $place;
                keys_come_and_go,
                a_key_is_added_to_one_account,
                of_those_who_want_a_name_one_gets_it,
                an_invite_lets_in_as_many_as_it_says,
                redeeming_is_all_or_nothing,
                redeeming_again_takes_no_second_use,
                invites_end,
                keys_wait_once_and_in_order,
                so_many_keys_wait_and_no_more,
                settling_is_all_or_nothing,
                a_key_that_is_in_waits_no_longer,
                there_is_always_an_operator,
                of_two_operators_who_demote_each_other_one_stays,
                bans_have_numbers_and_ends,
                a_mute_takes_the_place_of_another,
                there_is_one_lockdown,
                changes_are_audited_and_noticed,
                audits_are_newest_first,
                the_log_is_paged_from_the_beginning,
                conversations_are_those_with_entries,
                people_are_there_after_reopening,
            }
        }
    };
    (@each $place:expr; $($must:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $must() {
            super::$must(&$place).await;
        }
    )+};
}

contract!(sqlite, tempfile::tempdir().unwrap());

fn name(raw: &str) -> Name {
    Name::new(raw).unwrap()
}

/// A moment that many seconds after some other.
fn at(seconds: i64) -> Time {
    Time(1_700_000_000_000 + seconds * 1000)
}

fn id(number: u32) -> AccountId {
    AccountId(u128::from(number) << 90 | 1)
}

/// A member called `user-NUMBER`.
fn account(number: u32) -> Account {
    Account {
        id: id(number),
        name: name(&format!("user-{number}")),
        role: Role::Member,
        created: at(0),
        preferences: Preferences::default(),
    }
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::new(&format!("SHA256:{number:043}"))
}

/// A key that was added that many seconds late.
fn key(number: u32) -> KeyRecord {
    KeyRecord {
        fingerprint: fingerprint(number),
        algorithm: "ssh-ed25519".to_owned(),
        comment: Text::stored(&format!("laptop {number}")),
        added: at(number.into()),
    }
}

fn audit(seconds: i64, action: &str) -> Audit {
    Audit {
        at: at(seconds),
        actor: "zoe".to_owned(),
        action: action.to_owned(),
        target: "somebody".to_owned(),
        detail: "because".to_owned(),
    }
}

/// What is done where it does not matter what the audit says: at the very beginning.
fn done() -> Audit {
    audit(0, "done")
}

/// An invite that ends after 100 seconds.
fn invite(seed: u8, uses: u32) -> Invite {
    Invite {
        hash: Code::new([seed; 16]).hash(),
        role: Role::Member,
        left: uses,
        uses,
        expires: at(100),
        by: "zoe".to_owned(),
        at: at(seed.into()),
    }
}

fn pending(number: u32) -> PendingKey {
    PendingKey {
        key: key(number),
        name: name(&format!("user-{number}")),
        from: "203.0.113.7".to_owned(),
        at: at(number.into()),
    }
}

fn ban(target: BanTarget, until: Option<i64>) -> Ban {
    Ban {
        id: 0,
        target,
        by: "zoe".to_owned(),
        at: at(0),
        until: until.map(at),
        reason: Text::line("too loud", 100).ok(),
    }
}

fn mute(number: u32, until: Option<i64>) -> Mute {
    Mute {
        account: id(number),
        by: "zoe".to_owned(),
        until: until.map(at),
        reason: None,
    }
}

/// Makes the accounts of these numbers, each with the key of its number.
async fn people(store: &dyn Store, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let made = store.create_account(&account(number), &key(number)).await;
        made.unwrap();
    }
}

async fn keys_of(store: &dyn Store, number: u32) -> Vec<KeyRecord> {
    store.keys_of(id(number)).await.unwrap()
}

/// How many may still come in with the only invite there is.
async fn left(store: &dyn Store) -> Option<u32> {
    let invites = store.invites(at(0)).await.unwrap();
    invites.first().map(|invite| invite.left)
}

/// What becomes of many who try at once, through two openings in turn.
async fn all_at_once<T, F>(
    place: &impl Place,
    count: u32,
    attempt: impl Fn(Arc<dyn Store>, u32) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let stores = [place.open(), place.open()];
    let mut attempts = tokio::task::JoinSet::new();
    for n in 0..count {
        attempts.spawn(attempt(Arc::clone(&stores[n as usize % stores.len()]), n));
    }
    attempts.join_all().await
}

async fn keys_come_and_go(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=2).await;
    assert_eq!(keys_of(&*store, 1).await, [key(1)]);
    assert_eq!(keys_of(&*store, 9).await, []);

    let add = async |who, number| store.add_key(id(who), &key(number), &done()).await;
    let remove = async |who, number, last| {
        let key = fingerprint(number);
        store.remove_key(id(who), &key, last, &done()).await
    };
    assert_eq!(add(1, 30).await, Ok(()));
    assert_eq!(add(1, 20).await, Ok(()));
    assert_eq!(add(2, 20).await, Err(KeyError::Taken));
    assert_eq!(add(1, 20).await, Err(KeyError::Taken), "by herself");
    assert_eq!(add(9, 40).await, Err(KeyError::Unknown), "nobody");
    assert_eq!(
        keys_of(&*store, 1).await,
        [key(1), key(20), key(30)],
        "the oldest first"
    );
    let by_new = store.account_by_key(&fingerprint(30)).await;
    assert_eq!(by_new, Ok(Some(account(1))));

    assert_eq!(remove(2, 30, true).await, Err(KeyError::Unknown), "hers");
    assert_eq!(remove(9, 30, true).await, Err(KeyError::Unknown), "nobody");
    assert_eq!(remove(1, 1, false).await, Ok(()));
    assert_eq!(remove(1, 1, false).await, Err(KeyError::Unknown), "gone");
    assert_eq!(remove(1, 20, false).await, Ok(()));
    assert_eq!(remove(1, 30, false).await, Err(KeyError::Last));
    assert_eq!(keys_of(&*store, 1).await, [key(30)], "nothing was done");
    assert_eq!(remove(1, 30, true).await, Ok(()));
    assert_eq!(keys_of(&*store, 1).await, []);
    assert_eq!(store.account_by_key(&fingerprint(30)).await, Ok(None));
    assert_eq!(add(2, 30).await, Ok(()), "free for anybody");

    for number in 100..100 + u32::try_from(MAX_KEYS).unwrap() {
        assert_eq!(add(1, number).await, Ok(()), "{number}");
    }
    assert_eq!(add(1, 99).await, Err(KeyError::TooMany));
    assert_eq!(keys_of(&*store, 1).await.len(), MAX_KEYS);
}

/// MUST 4.
async fn a_key_is_added_to_one_account(place: &impl Place) {
    people(&*place.open(), 1..=2).await;
    for round in 100..110 {
        let added = all_at_once(place, 2, |store, n| async move {
            store.add_key(id(n + 1), &key(round), &done()).await
        })
        .await;
        let taken = Err(KeyError::Taken);
        assert!(
            added.contains(&Ok(())) && added.contains(&taken),
            "{added:?}"
        );
    }
}

/// MUST 4: whichever way they come in.
async fn of_those_who_want_a_name_one_gets_it(place: &impl Place) {
    let store = place.open();
    store.create_invite(&invite(1, 50), &done()).await.unwrap();
    for number in 0..20 {
        store.add_pending(&pending(number)).await.unwrap();
    }
    let hash = invite(1, 50).hash;
    let redeemed = all_at_once(place, 60, |store, n| {
        let hash = hash.clone();
        let wanted = Account {
            name: name("popular"),
            ..account(n)
        };
        async move {
            let refused = match n {
                0..20 => {
                    let settled = store
                        .settle_pending(&fingerprint(n), Some(&wanted), &done())
                        .await;
                    settled.map(|waited| assert!(waited.is_some())).err()
                }
                20..40 => store.create_account(&wanted, &key(n)).await.err(),
                _ => match store.redeem(&hash, &wanted, &key(n), &done()).await {
                    Ok(_) => return Ok(true),
                    Err(RedeemError::Claim(error)) => Some(error),
                    Err(error) => panic!("{error:?}"),
                },
            };
            refused.map_or(Ok(false), Err)
        }
    })
    .await;
    let won: Vec<bool> = redeemed.iter().flatten().copied().collect();
    assert_eq!(won.len(), 1, "{redeemed:?}");
    let mut others = redeemed.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.all(|error| *error == ClaimError::NameTaken));
    assert_eq!(left(&*store).await, Some(50 - u32::from(won[0])));
    assert_eq!(store.accounts().await.unwrap().len(), 1);
}

/// MUST 8.
async fn an_invite_lets_in_as_many_as_it_says(place: &impl Place) {
    let store = place.open();
    for (round, uses) in [1, 2, 17].into_iter().enumerate() {
        let round = u8::try_from(round).unwrap();
        let invite = invite(round, uses);
        store.create_invite(&invite, &done()).await.unwrap();
        let redeemed = all_at_once(place, 100, |store, n| {
            let hash = invite.hash.clone();
            let number = u32::from(round) * 1000 + n;
            async move {
                let (account, key) = (account(number), key(number));
                store.redeem(&hash, &account, &key, &done()).await
            }
        })
        .await;
        let bad = redeemed.iter().filter(|r| **r == Err(RedeemError::BadCode));
        assert_eq!(bad.count(), 100 - uses as usize, "{uses} uses");
        let made: BTreeSet<AccountId> = redeemed.iter().flatten().map(|a| a.id).collect();
        assert_eq!(made.len(), uses as usize, "{uses} uses");
        assert_eq!(left(&*store).await, None, "used up");
    }
    assert_eq!(store.accounts().await.unwrap().len(), 1 + 2 + 17);
}

async fn redeeming_is_all_or_nothing(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=1).await;
    let made = Invite {
        role: Role::Operator,
        ..invite(1, 2)
    };
    store.create_invite(&made, &done()).await.unwrap();
    let redeem = async |hash: &str, who: u32, with: u32| {
        let (account, key) = (account(who), key(with));
        store
            .redeem(hash, &account, &key, &audit(1, "redeem"))
            .await
    };
    let bad = Err(RedeemError::BadCode);
    assert_eq!(redeem(&invite(9, 1).hash, 2, 2).await, bad, "no such");
    assert_eq!(redeem(made.id(), 2, 2).await, bad, "only named");
    assert_eq!(redeem("", 2, 2).await, bad);

    let key_taken = Err(RedeemError::Claim(ClaimError::KeyTaken));
    assert_eq!(redeem(&made.hash, 2, 1).await, key_taken);
    let looks_like = Account {
        name: name("user-l"),
        ..account(2)
    };
    let name_taken = Err(RedeemError::Claim(ClaimError::NameTaken));
    let refused = store
        .redeem(&made.hash, &looks_like, &key(2), &done())
        .await;
    assert_eq!(refused, name_taken);
    assert_eq!(left(&*store).await, Some(2), "nothing was done");
    assert_eq!(store.account_by_name(&name("user-2")).await, Ok(None));
    assert_eq!(store.account_by_key(&fingerprint(2)).await, Ok(None));

    let expected = Account {
        role: Role::Operator,
        ..account(2)
    };
    assert_eq!(redeem(&made.hash, 2, 2).await, Ok(expected.clone()));
    assert_eq!(left(&*store).await, Some(1));
    let read = store.account_by_key(&fingerprint(2)).await;
    assert_eq!(read, Ok(Some(expected)), "the invite's role");
    assert_eq!(keys_of(&*store, 2).await, [key(2)]);
}

/// MUST 5: the same call again.
async fn redeeming_again_takes_no_second_use(place: &impl Place) {
    let store = place.open();
    let made = invite(1, 2);
    store.create_invite(&made, &done()).await.unwrap();
    for _ in 0..3 {
        let redeemed = store
            .redeem(&made.hash, &account(1), &key(1), &done())
            .await;
        assert_eq!(redeemed, Ok(account(1)));
    }
    assert_eq!(left(&*store).await, Some(1));
    store.create_invite(&made, &done()).await.unwrap();
    assert_eq!(left(&*store).await, Some(1), "made again: the one there is");
    assert_eq!(store.audits(9).await.unwrap().len(), 2);
}

async fn invites_end(place: &impl Place) {
    let store = place.open();
    let (first, second, third) = (invite(1, 5), invite(2, 1), invite(3, 1));
    for made in [&second, &first, &third] {
        store.create_invite(made, &done()).await.unwrap();
    }
    let all = store.invites(at(99)).await.unwrap();
    assert_eq!(
        all,
        [first.clone(), second.clone(), third.clone()],
        "the oldest first"
    );
    assert_eq!(store.invites(at(100)).await, Ok(Vec::new()), "over");

    let revoke = async |id: &str, seconds| {
        let audit = audit(seconds, "invite_revoke");
        store.revoke_invite(id, &audit).await.unwrap()
    };
    for too_little in ["", &first.hash[..7], "%%%%%%%%", "________", "00000000"] {
        assert!(!revoke(too_little, 1).await, "{too_little:?}");
    }
    assert!(!revoke(&format!("{}0", first.hash), 1).await, "too much");
    assert!(revoke(first.id(), 1).await);
    assert!(!revoke(first.id(), 1).await, "gone");
    assert!(revoke(&second.hash, 1).await, "all of it");
    assert_eq!(store.invites(at(0)).await, Ok(vec![third.clone()]));

    for (gone, seconds) in [(first, 1), (second, 1), (third.clone(), 100)] {
        let audit = audit(seconds, "redeem");
        let refused = store.redeem(&gone.hash, &account(1), &key(1), &audit).await;
        assert_eq!(refused, Err(RedeemError::BadCode), "{gone:?}");
    }
    assert!(!revoke(third.id(), 100).await, "over by itself");
}

async fn keys_wait_once_and_in_order(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.pending().await, Ok(Vec::new()));
    for number in [2, 3, 1] {
        assert_eq!(store.add_pending(&pending(number)).await, Ok(true));
    }
    let again = PendingKey {
        name: name("other"),
        at: at(99),
        ..pending(2)
    };
    assert_eq!(store.add_pending(&again).await, Ok(true), "waits already");
    let expected = vec![pending(1), pending(2), pending(3)];
    assert_eq!(store.pending().await, Ok(expected));
}

async fn so_many_keys_wait_and_no_more(place: &impl Place) {
    let store = place.open();
    let many = u32::try_from(MAX_PENDING).unwrap();
    let added = all_at_once(place, many + 10, |store, n| async move {
        store.add_pending(&pending(n)).await.unwrap()
    })
    .await;
    assert_eq!(added.iter().filter(|added| **added).count(), MAX_PENDING);
    let waiting = store.pending().await.unwrap();
    assert_eq!(waiting.len(), MAX_PENDING);
    assert_eq!(store.add_pending(&pending(1000)).await, Ok(false));
    assert_eq!(
        store.add_pending(&waiting[0]).await,
        Ok(true),
        "does already"
    );
    let first = &waiting[0].key.fingerprint;
    let settled = store.settle_pending(first, None, &done()).await;
    assert_eq!(settled, Ok(Some(waiting[0].clone())));
    assert_eq!(store.add_pending(&pending(1000)).await, Ok(true), "room");
}

async fn settling_is_all_or_nothing(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=1).await;
    for number in [2, 3] {
        store.add_pending(&pending(number)).await.unwrap();
    }
    let settle = async |number, account: Option<Account>| {
        let key = fingerprint(number);
        let audit = audit(1, "settle");
        store.settle_pending(&key, account.as_ref(), &audit).await
    };
    let looks_like = Account {
        name: name("user-l"),
        ..account(2)
    };
    let refused = settle(2, Some(looks_like)).await;
    assert_eq!(refused, Err(ClaimError::NameTaken));
    assert_eq!(store.pending().await.unwrap(), [pending(2), pending(3)]);
    assert_eq!(store.account_by_key(&fingerprint(2)).await, Ok(None));
    assert_eq!(store.audits(9).await, Ok(Vec::new()));

    assert_eq!(settle(2, Some(account(2))).await, Ok(Some(pending(2))));
    let made = store.account_by_key(&fingerprint(2)).await;
    assert_eq!(made, Ok(Some(account(2))));
    assert_eq!(keys_of(&*store, 2).await, [key(2)], "all of it");
    assert_eq!(settle(3, None).await, Ok(Some(pending(3))));
    assert_eq!(store.account_by_key(&fingerprint(3)).await, Ok(None));
    assert_eq!(store.pending().await, Ok(Vec::new()));

    assert_eq!(settle(3, None).await, Ok(None), "it did not wait");
    assert_eq!(settle(3, Some(account(3))).await, Ok(None));
    assert_eq!(store.account_by_name(&name("user-3")).await, Ok(None));
    assert_eq!(store.audits(9).await.unwrap().len(), 2);
}

async fn a_key_that_is_in_waits_no_longer(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=1).await;
    let made = invite(1, 1);
    store.create_invite(&made, &done()).await.unwrap();
    for number in 2..=5 {
        store.add_pending(&pending(number)).await.unwrap();
    }
    store.add_key(id(1), &key(2), &done()).await.unwrap();
    store.create_account(&account(3), &key(3)).await.unwrap();
    let (fourth, hash) = (account(4), &made.hash);
    let redeemed = store.redeem(hash, &fourth, &key(4), &done()).await;
    assert_eq!(redeemed, Ok(fourth));
    assert_eq!(store.pending().await, Ok(vec![pending(5)]));
    assert_eq!(store.add_pending(&pending(2)).await, Ok(false));
    assert_eq!(store.pending().await, Ok(vec![pending(5)]));
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
    let last = Err(RoleChangeError::LastOperator);
    assert_eq!(set(3, Role::Member).await, last);
    let same = store.account_by_key(&fingerprint(3)).await;
    assert_eq!(same, Ok(Some(born_so)), "nothing was done");

    assert_eq!(set(1, Role::Operator).await, Ok(()));
    assert_eq!(set(3, Role::Member).await, Ok(()));
    assert_eq!(set(1, Role::Member).await, last);
    assert_eq!(set(2, Role::Member).await, Ok(()), "is one already");
    assert_eq!(
        set(9, Role::Operator).await,
        Err(RoleChangeError::NoAccount)
    );

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
        let last = Err(RoleChangeError::LastOperator);
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
            ..ban(BanTarget::Client("SSH-2.0-Go ".to_owned()), None)
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
        by: "zoe".to_owned(),
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

/// What is seen of a step from another opening: whether the revision is another number, and how
/// many audit entries came with it.
struct Watcher {
    store: Arc<dyn Store>,
    revision: u64,
    audits: usize,
}

/// A change with its entry.
const NOTICED: (bool, usize) = (true, 1);
/// A change that no other process needs to know at once.
const AUDITED: (bool, usize) = (false, 1);
const NOTHING: (bool, usize) = (false, 0);

impl Watcher {
    async fn new(store: Arc<dyn Store>) -> Watcher {
        let mut watcher = Watcher {
            store,
            revision: 0,
            audits: 0,
        };
        watcher.saw().await;
        watcher
    }

    async fn saw(&mut self) -> (bool, usize) {
        let revision = self.store.revision().await.unwrap();
        let audits = self.store.audits(usize::MAX).await.unwrap().len();
        let seen = (revision != self.revision, audits - self.audits);
        (self.revision, self.audits) = (revision, audits);
        seen
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
            assert_eq!(watcher.saw().await, $seen, "{}", stringify!($step));
        };
    }
    let operator = &Account {
        role: Role::Operator,
        ..account(1)
    };

    step!((true, 0), "Ok", store.create_account(operator, &key(1)));
    step!(NOTHING, "Ok", store.create_account(operator, &key(1)));
    step!((true, 0), "Ok", store.create_account(&account(2), &key(2)));
    step!(NOTHING, "Ok", store.rename(id(2), &name("dora")));
    let settings = Preferences::default();
    step!(NOTHING, "Ok", store.save_preferences(id(2), &settings));
    step!(NOTHING, "Ok", store.append(vec![said("ops", "hi")]));
    step!(NOTHING, "Ok", store.ping());

    step!(NOTICED, "Ok", store.add_key(id(1), &key(3), audit));
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
    step!(NOTICED, "Ok", store.redeem(code, new, &key(4), audit));
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
        NOTICED,
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
        by: "zoe".to_owned(),
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
    let kept: Vec<Audit> = [5, 6, 4, 7, 7]
        .into_iter()
        .enumerate()
        .map(|(n, seconds)| audit(seconds, &format!("action-{n}")))
        .collect();
    for audit in &kept {
        store.audit(audit).await.unwrap();
    }
    let newest: Vec<Audit> = kept.into_iter().rev().collect();
    for limit in [0, 1, 3, 5, 9, usize::MAX] {
        let found = store.audits(limit).await.unwrap();
        assert_eq!(found, newest[..limit.min(5)], "{limit}");
    }
}

fn room(raw: &str) -> Conversation {
    Conversation::Room(RoomName::new(raw).unwrap())
}

fn said(place: &str, words: &str) -> Draft {
    Draft {
        conversation: room(place),
        at: at(0),
        author: Author {
            account: id(1),
            name: name("user-1"),
        },
        to: None,
        body: Body::Said(Text::message(words).unwrap()),
    }
}

fn amendment(target: u64, words: Option<&str>) -> Amendment {
    let draft = said("ops", "-");
    Amendment {
        conversation: draft.conversation,
        target: Some(Seq(target)),
        author: draft.author,
        to: None,
        text: words.map(|words| Text::message(words).unwrap()),
        at: draft.at,
    }
}

/// Page after page, whatever their size: what history shows, each once.
async fn the_log_is_paged_from_the_beginning(place: &impl Place) {
    let store = place.open();
    let page = async |after, limit| store.log_after(&room("ops"), Seq(after), limit).await;
    assert_eq!(page(0, 9).await, Ok(Vec::new()), "nothing was said");
    let batch = (1..=30).map(|n| said("ops", &format!("words {n}")));
    store.append(batch.collect()).await.unwrap();
    store.append(vec![said("dev", "elsewhere")]).await.unwrap();
    let changes: [(u64, Option<&str>); 5] = [
        (1, None),
        (2, Some("other words")),
        (15, None),
        (16, None),
        (30, None),
    ];
    for (target, words) in changes {
        store.amend(amendment(target, words)).await.unwrap();
    }
    store.append(vec![said("ops", "the end")]).await.unwrap();

    let history = store.history(&room("ops"), None, 1000).await.unwrap();
    assert_eq!(history.len(), 30 - 4 + 1);
    for limit in [1, 2, 7, 26, 27, 28, usize::MAX] {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = page(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.seq.0;
            found.extend(page);
        }
        assert_eq!(found, history, "{limit} a page");
    }
    for (after, limit) in [(0, 0), (36, 9), (u64::MAX, 9)] {
        assert_eq!(page(after, limit).await, Ok(Vec::new()), "{after} {limit}");
    }
}

async fn conversations_are_those_with_entries(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=2).await;
    assert_eq!(store.conversations().await, Ok(Vec::new()));
    let direct = Conversation::between(id(2), id(1));
    let whisper = Draft {
        conversation: direct.clone(),
        to: Some(name("user-2")),
        ..said("ops", "psst")
    };
    let batch = vec![said("ops", "hi"), whisper, said("dev", "hi")];
    store.append(batch).await.unwrap();
    store.amend(amendment(1, None)).await.unwrap();
    let mark = Mark {
        seq: Seq(0),
        at: at(0),
    };
    let read = vec![(id(1), room("silent"), mark)];
    store.save_marks(read).await.unwrap();
    let name = RoomName::new("empty").unwrap();
    store.open_room(&name, at(0)).await.unwrap();

    let found = store.conversations().await.unwrap();
    assert_eq!(store.conversations().await, Ok(found.clone()), "fixed");
    assert_eq!(found.len(), 3);
    let found: BTreeSet<Conversation> = found.into_iter().collect();
    let expected = BTreeSet::from([room("ops"), room("dev"), direct]);
    assert_eq!(found, expected);
}

async fn people_are_there_after_reopening(place: &impl Place) {
    let store = place.open();
    let operator = Account {
        role: Role::Operator,
        ..account(1)
    };
    let lockdown = Lockdown {
        by: "zoe".to_owned(),
        until: Some(at(90)),
    };
    let mut ban = ban(BanTarget::Account(id(2), name("user-2")), Some(90));
    store.create_account(&operator, &key(1)).await.unwrap();
    store.add_key(id(1), &key(2), &done()).await.unwrap();
    store.create_invite(&invite(1, 3), &done()).await.unwrap();
    store.add_pending(&pending(3)).await.unwrap();
    ban.id = store.add_ban(&ban, &done()).await.unwrap();
    let mute = mute(2, Some(90));
    store.set_mute(id(2), Some(&mute), &done()).await.unwrap();
    store.set_lockdown(Some(&lockdown), &done()).await.unwrap();
    let revision = store.revision().await.unwrap();
    drop(store);

    let store = place.open();
    let now = at(50);
    assert_eq!(store.revision().await, Ok(revision));
    assert_eq!(store.accounts().await, Ok(vec![operator]));
    assert_eq!(keys_of(&*store, 1).await, [key(1), key(2)]);
    assert_eq!(store.invites(now).await, Ok(vec![invite(1, 3)]));
    assert_eq!(store.pending().await, Ok(vec![pending(3)]));
    assert_eq!(store.bans(now).await, Ok(vec![ban]));
    assert_eq!(store.mutes(now).await, Ok(vec![mute]));
    assert_eq!(store.lockdown(now).await, Ok(Some(lockdown)));
    assert_eq!(store.audits(9).await, Ok(vec![done(); 5]));
}
