//! Coming in: keys, invites, keys that ask.

use super::*;
use crate::harness::Changes;
use ssh_chat::chat::access::WAITS;
use ssh_chat::store::{ChangeAction, ChangeOutcome};

contract! {
    keys_come_and_go,
    a_key_is_added_to_one_account,
    accounts_with_keys_are_what_lookups_say,
    of_those_who_want_a_name_one_gets_it,
    an_invite_lets_in_as_many_as_it_says,
    redeeming_is_all_or_nothing,
    redeeming_again_takes_no_second_use,
    invites_end,
    keys_wait_once_and_in_order,
    so_many_keys_wait_and_no_more,
    settling_is_all_or_nothing,
    a_key_that_is_in_waits_no_longer,
    few_keys_wait_from_one_source,
    keys_wait_for_so_long,
    many_keys_are_denied_at_once,
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
    assert_eq!(add(2, 20).await, Err(ChangeError::KeyTaken));
    assert_eq!(add(1, 20).await, Ok(()), "is hers already");
    assert_eq!(add(9, 40).await, Err(ChangeError::NoAccount));
    assert_eq!(
        keys_of(&*store, 1).await,
        [key(1), key(20), key(30)],
        "the oldest first"
    );
    let by_new = store.account_by_key(&fingerprint(30)).await;
    assert_eq!(by_new, Ok(Some(account(1))));

    assert_eq!(remove(2, 30, true).await, Err(ChangeError::NoKey), "hers");
    assert_eq!(remove(9, 30, true).await, Err(ChangeError::NoKey), "nobody");
    assert_eq!(remove(1, 1, false).await, Ok(()));
    assert_eq!(remove(1, 1, false).await, Err(ChangeError::NoKey), "gone");
    assert_eq!(remove(1, 20, false).await, Ok(()));
    assert_eq!(remove(1, 30, false).await, Err(ChangeError::LastKey));
    assert_eq!(keys_of(&*store, 1).await, [key(30)], "nothing was done");
    assert_eq!(remove(1, 30, true).await, Ok(()));
    assert_eq!(keys_of(&*store, 1).await, []);
    assert_eq!(store.account_by_key(&fingerprint(30)).await, Ok(None));
    assert_eq!(add(2, 30).await, Ok(()), "free for anybody");

    for number in 100..100 + u32::try_from(MAX_KEYS).unwrap() {
        assert_eq!(add(1, number).await, Ok(()), "{number}");
    }
    assert_eq!(add(1, 99).await, Err(ChangeError::TooManyKeys));
    assert_eq!(keys_of(&*store, 1).await.len(), MAX_KEYS);
}

/// MUST 11: after each change, also of another opening.
async fn accounts_with_keys_are_what_lookups_say(place: &impl Place) {
    let (store, other) = (place.open(), place.open());
    let owners_are = async |numbers: &[u32], after: &str| {
        let all = other.accounts_with_keys().await.unwrap();
        let mut owners = Vec::new();
        for found in &all {
            let (account, keys) = found.as_ref().unwrap();
            assert_eq!(*keys, store.keys_of(account.id).await.unwrap());
            owners.extend(
                keys.iter()
                    .map(|key| (key.fingerprint.clone(), account.clone())),
            );
        }
        let names: Vec<_> = all
            .iter()
            .map(|found| &found.as_ref().unwrap().0.name)
            .collect();
        assert!(names.is_sorted(), "{names:?}");
        owners.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut expected = Vec::new();
        for number in numbers {
            let key = fingerprint(*number);
            let owner = store.account_by_key(&key).await.unwrap();
            expected.push((key, owner.unwrap()));
        }
        assert_eq!(owners, expected, "after {after}");
    };
    owners_are(&[], "nothing").await;
    people(&*store, 1..=3).await;
    owners_are(&[1, 2, 3], "three came").await;
    store.add_key(id(1), &key(20), &done()).await.unwrap();
    owners_are(&[1, 2, 3, 20], "another key").await;
    store.rename(id(2), &name("dora")).await.unwrap();
    let promoted = store.set_role(id(1), Role::Operator, &done()).await;
    promoted.unwrap();
    let settings = Preferences {
        quiet: true,
        ..Preferences::default()
    };
    store.save_preferences(id(3), &settings).await.unwrap();
    owners_are(&[1, 2, 3, 20], "a name, a role, settings").await;
    let (second, fifth) = (fingerprint(2), fingerprint(5));
    let removed = store.remove_key(id(2), &second, true, &done()).await;
    removed.unwrap();
    owners_are(&[1, 3, 20], "a key was removed").await;
    let made = invite(1, 1);
    store.create_invite(&made, &done()).await.unwrap();
    let (new, audit) = (account(4), audit(50, "redeem"));
    let redeemed = store.redeem(&made.hash, &new, &key(4), &audit).await;
    redeemed.unwrap();
    store.add_pending(&pending(5)).await.unwrap();
    owners_are(&[1, 3, 4, 20], "an invite, and one who waits").await;
    let settled = store
        .settle_pending(&fifth, Some(&account(5)), &audit)
        .await;
    settled.unwrap();
    store.add_key(id(5), &key(2), &audit).await.unwrap();
    owners_are(&[1, 2, 3, 4, 5, 20], "a key went to another").await;
}

/// MUST 4.
async fn a_key_is_added_to_one_account(place: &impl Place) {
    people(&*place.open(), 1..=2).await;
    for round in 100..110 {
        let added = all_at_once(place, 2, |store, n| async move {
            store.add_key(id(n + 1), &key(round), &done()).await
        })
        .await;
        let taken = Err(ChangeError::KeyTaken);
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
                    Err(error) => Some(error),
                },
            };
            refused.map_or(Ok(false), Err)
        }
    })
    .await;
    let won: Vec<bool> = redeemed.iter().flatten().copied().collect();
    assert_eq!(won.len(), 1, "{redeemed:?}");
    let mut others = redeemed.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(others.all(|error| *error == ChangeError::NameTaken));
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
        let bad = redeemed.iter().filter(|r| **r == Err(ChangeError::BadCode));
        assert_eq!(bad.count(), 100 - uses as usize, "{uses} uses");
        let made: BTreeSet<AccountId> = redeemed.iter().flatten().map(|a| a.id).collect();
        assert_eq!(made.len(), uses as usize, "{uses} uses");
        assert_eq!(left(&*store).await, None, "used up");
        let read = store.invite_by_hash(&invite.hash, at(0)).await;
        assert_eq!(read, Ok(None), "used up");
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
    let bad = Err(ChangeError::BadCode);
    assert_eq!(redeem(&invite(9, 1).hash, 2, 2).await, bad, "no such");
    assert_eq!(redeem(made.id(), 2, 2).await, bad, "only named");
    assert_eq!(redeem("", 2, 2).await, bad);

    let key_taken = Err(ChangeError::KeyTaken);
    assert_eq!(redeem(&made.hash, 2, 1).await, key_taken);
    let looks_like = Account {
        name: name("user-l"),
        ..account(2)
    };
    let name_taken = Err(ChangeError::NameTaken);
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
    let read = store.invite_by_hash(&made.hash, at(0)).await.unwrap();
    assert_eq!(read.map(|invite| invite.left), Some(1));
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
    let read = async |hash: &str, seconds| store.invite_by_hash(hash, at(seconds)).await.unwrap();
    assert_eq!(read(&first.hash, 99).await, Some(first.clone()));
    assert_eq!(read(&first.hash, 100).await, None, "over");
    for nobodys in ["", first.id(), &"0".repeat(64), &"0".repeat(200)] {
        assert_eq!(read(nobodys, 99).await, None, "{nobodys:?}");
    }

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
        assert_eq!(read(&gone.hash, seconds).await, None, "{gone:?}");
        let audit = audit(seconds, "redeem");
        let refused = store.redeem(&gone.hash, &account(1), &key(1), &audit).await;
        assert_eq!(refused, Err(ChangeError::BadCode), "{gone:?}");
    }
    assert!(!revoke(third.id(), 100).await, "over by itself");
}

async fn keys_wait_once_and_in_order(place: &impl Place) {
    let store = place.open();
    assert_eq!(store.pending(at(0)).await, Ok(Vec::new()));
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
    assert_eq!(store.pending(at(0)).await, Ok(expected));
}

async fn so_many_keys_wait_and_no_more(place: &impl Place) {
    let store = place.open();
    let many = u32::try_from(MAX_PENDING).unwrap();
    let added = all_at_once(place, many + 10, |store, n| async move {
        store.add_pending(&pending(n)).await.unwrap()
    })
    .await;
    assert_eq!(added.iter().filter(|added| **added).count(), MAX_PENDING);
    let waiting = store.pending(at(0)).await.unwrap();
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
    assert_eq!(refused, Err(ChangeError::NameTaken));
    assert_eq!(
        store.pending(at(0)).await.unwrap(),
        [pending(2), pending(3)]
    );
    assert_eq!(store.account_by_key(&fingerprint(2)).await, Ok(None));
    assert_eq!(store.audits(9).await, Ok(Vec::new()));

    assert_eq!(settle(2, Some(account(2))).await, Ok(Some(pending(2))));
    let made = store.account_by_key(&fingerprint(2)).await;
    assert_eq!(made, Ok(Some(account(2))));
    assert_eq!(keys_of(&*store, 2).await, [key(2)], "all of it");
    assert_eq!(settle(3, None).await, Ok(Some(pending(3))));
    assert_eq!(store.account_by_key(&fingerprint(3)).await, Ok(None));
    assert_eq!(store.pending(at(0)).await, Ok(Vec::new()));

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
    assert_eq!(store.pending(at(0)).await, Ok(vec![pending(5)]));
    assert_eq!(store.add_pending(&pending(2)).await, Ok(false));
    assert_eq!(store.pending(at(0)).await, Ok(vec![pending(5)]));
}

/// A key that waits from somewhere, at most so many from there.
async fn ask(
    store: &dyn Store,
    number: u32,
    from: &str,
    per_source: Option<usize>,
    seconds: i64,
) -> Result<ChangeOutcome, ChangeError> {
    let pending = PendingKey {
        from: from.parse().unwrap(),
        at: at(seconds),
        ..pending(number)
    };
    let (by, add) = (
        audit(seconds, "asks"),
        ChangeAction::AddPending {
            pending,
            per_source,
        },
    );
    Ok(store.act(add, &by).await?.outcome)
}

async fn few_keys_wait_from_one_source(place: &impl Place) {
    use ChangeOutcome::{Done, Unchanged};
    let store = &*place.open();
    let too_many = || Err(ChangeError::TooManyFromSource(2));
    let table = [
        (1, "192.0.2.1", Some(2), Ok(Done)),
        (2, "192.0.2.1", Some(2), Ok(Done)),
        (3, "192.0.2.1", Some(2), too_many()),
        (3, "192.0.2.2", Some(2), Ok(Done)),
        (2, "192.0.2.1", Some(2), Ok(Unchanged)),
        (4, "2001:db8::1", Some(2), Ok(Done)),
        (5, "2001:db8::ffff", Some(2), Ok(Done)),
        (6, "2001:db8::2", Some(2), too_many()),
        (6, "2001:db8:0:1::2", Some(2), Ok(Done)),
        // Where many share an address.
        (7, "192.0.2.1", None, Ok(Done)),
    ];
    for (number, from, per_source, expected) in table {
        let asked = ask(store, number, from, per_source, 0).await;
        assert_eq!(asked, expected, "{number} from {from}");
    }
    let waiting = store.pending(at(0)).await.unwrap();
    let from = |number: u32| {
        let of = |waiting: &&PendingKey| waiting.key.fingerprint == fingerprint(number);
        waiting.iter().find(of).unwrap().from.to_string()
    };
    assert_eq!(
        (from(1), from(5)),
        ("192.0.2.1".into(), "2001:db8::ffff".into())
    );
    // At the same time, through two openings.
    let asked = all_at_once(place, 10, |store, n| async move {
        ask(&*store, 100 + n, "198.51.100.1", Some(3), 0)
            .await
            .is_ok()
    })
    .await;
    let let_in = asked.into_iter().filter(|asked| *asked).count();
    assert!((3..=4).contains(&let_in), "{let_in}");
}

async fn keys_wait_for_so_long(place: &impl Place) {
    let store = &*place.open();
    let end = i64::try_from(WAITS / 1000).unwrap();
    let address = "192.0.2.1";
    for number in 1..=4 {
        ask(store, number, address, Some(4), 0).await.unwrap();
    }
    let full = ask(store, 5, address, Some(4), end - 1).await;
    assert_eq!(full, Err(ChangeError::TooManyFromSource(4)));
    assert_eq!(store.pending(at(end - 1)).await.unwrap().len(), 4);
    assert_eq!(store.pending(at(end)).await, Ok(Vec::new()));
    let (first, by) = (fingerprint(1), audit(end, "late"));
    let newcomer = account(1);
    for account in [None, Some(&newcomer)] {
        assert_eq!(store.settle_pending(&first, account, &by).await, Ok(None));
    }
    // There is room for as many again, and each can ask anew.
    for number in [2, 5, 1, 3] {
        let asked = ask(store, number, address, Some(4), end).await;
        assert_eq!(asked, Ok(ChangeOutcome::Done), "{number}");
    }
    let full = ask(store, 4, address, Some(4), end).await;
    assert_eq!(full, Err(ChangeError::TooManyFromSource(4)));
    assert_eq!(store.pending(at(end)).await.unwrap().len(), 4);
}

async fn many_keys_are_denied_at_once(place: &impl Place) {
    let store = &*place.open();
    for number in 1..=5 {
        store.add_pending(&pending(number)).await.unwrap();
    }
    let deny = async |numbers: &[u32]| {
        let deny = ChangeAction::DenyAll {
            keys: numbers.iter().map(|number| fingerprint(*number)).collect(),
            which: "203.0.113.0/24".to_owned(),
        };
        let applied = store.act(deny, &audit(1, "denies")).await?;
        Ok::<ChangeOutcome, ChangeError>(applied.outcome)
    };
    let denied = deny(&[1, 3, 5, 9]).await;
    assert_eq!(denied, Ok(ChangeOutcome::Denied(3)));
    assert_eq!(
        store.pending(at(1)).await.unwrap(),
        [pending(2), pending(4)]
    );
    assert_eq!(deny(&[1, 9]).await, Err(ChangeError::NotFound));
    let audits = store.audits(9).await.unwrap();
    assert_eq!(audits.len(), 1);
    assert_eq!(audits[0].action, "deny_all");
    assert_eq!(audits[0].target.as_str(), "203.0.113.0/24");
    assert_eq!(audits[0].detail.as_str(), "3 keys", "those that waited");
}
