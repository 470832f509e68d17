//! Accounts with an unproven key: proven in time, or deleted.

use super::*;
use crate::harness::Changes;

contract! {
    an_account_proven_in_time_stays,
    an_unproven_account_is_deleted,
    proof_and_expiry_exclude_each_other,
    a_repeated_redemption_restores_no_key,
    an_unproven_operator_has_no_authority,
}

/// An account that can be proven until this many seconds.
fn waiting(number: u32, until: i64) -> Account {
    Account {
        proof_by: Some(at(until)),
        ..account(number)
    }
}

/// Creates these accounts with one invite, each with the key of its number.
async fn redeemed(store: &dyn Store, role: Role, accounts: &[Account]) {
    let made = Invite {
        role,
        ..invite(1, 500)
    };
    store.create_invite(&made, &done()).await.unwrap();
    for (account, number) in accounts.iter().zip(1..) {
        let key = key(number);
        let redeemed = store.redeem(&made.hash, account, &key, &done()).await;
        let expected = Account {
            role,
            ..account.clone()
        };
        assert_eq!(redeemed, Ok(expected));
    }
}

async fn an_account_proven_in_time_stays(place: &impl Place) {
    let store = place.open();
    redeemed(&*store, Role::Member, &[waiting(1, 10), waiting(2, 20)]).await;
    people(&*store, 3..=3).await;
    let mut unproven = store.unproven().await.unwrap();
    unproven.sort_by_key(|account| account.proof_by);
    assert_eq!(unproven, [waiting(1, 10), waiting(2, 20)]);
    for read in [
        store.account_by_key(&fingerprint(1)).await,
        store.account_by_name(&name("user-1")).await,
    ] {
        assert_eq!(read, Ok(Some(waiting(1, 10))), "saved, and not proven");
    }
    let taken = store.create_account(&account(9), &key(1)).await;
    assert_eq!(taken, Err(ChangeError::KeyTaken), "MUST 4");

    let prove = async |who, seconds| {
        let audit = audit(seconds, "prove");
        store.prove(id(who), &audit).await
    };
    let entries = async || store.audits(99).await.unwrap().len();
    let before = entries().await;
    assert_eq!(prove(1, 9).await, Ok(true));
    assert_eq!(entries().await, before + 1, "MUST 7");
    assert_eq!(prove(1, 11).await, Ok(true), "already proven");
    assert_eq!(prove(3, 11).await, Ok(true), "was never unproven");
    assert_eq!(prove(9, 0).await, Ok(false), "nobody");
    assert_eq!(entries().await, before + 1, "no change, no entry");
    assert_eq!(store.unproven().await, Ok(vec![waiting(2, 20)]));
    let read = place.open().account_by_key(&fingerprint(1)).await;
    assert_eq!(read, Ok(Some(account(1))));
    for who in [1, 3, 9] {
        let forgotten = store.forget(id(who), &audit(999, "forget")).await;
        assert_eq!(forgotten, Ok(false), "{who}");
    }
    assert_eq!(store.accounts().await.unwrap().len(), 3);
}

async fn an_unproven_account_is_deleted(place: &impl Place) {
    let store = place.open();
    redeemed(&*store, Role::Member, &[waiting(1, 10), waiting(2, 20)]).await;
    store.rename(id(1), &name("another")).await.unwrap();
    store.add_key(id(1), &key(30), &done()).await.unwrap();
    let mute = mute(1, None);
    store.set_mute(id(1), Some(&mute), &done()).await.unwrap();

    let forget = async |who, seconds| {
        let audit = audit(seconds, "forget");
        store.forget(id(who), &audit).await
    };
    let entries = async || store.audits(99).await.unwrap().len();
    let (before, revision) = (entries().await, store.revision().await.unwrap());
    assert_eq!(forget(1, 9).await, Ok(false), "not yet");
    assert_eq!(entries().await, before, "no change, no entry");
    let late = store.prove(id(1), &audit(10, "prove")).await;
    assert_eq!(late, Ok(false), "too late");
    assert_eq!(forget(1, 10).await, Ok(true));
    assert_eq!(entries().await, before + 1, "MUST 7");
    assert_ne!(store.revision().await, Ok(revision), "MUST 10");
    assert_eq!(forget(1, 10).await, Ok(false), "gone");
    let late = store.prove(id(1), &audit(9, "prove")).await;
    assert_eq!(late, Ok(false), "MUST 11");

    assert_eq!(store.accounts().await, Ok(vec![waiting(2, 20)]));
    assert_eq!(store.unproven().await, Ok(vec![waiting(2, 20)]));
    assert_eq!(keys_of(&*store, 1).await, []);
    assert_eq!(store.mutes(at(0)).await, Ok(Vec::new()));
    let heir = |number, called| Account {
        name: name(called),
        ..account(number)
    };
    for (heir, with) in [(heir(5, "user-1"), 1), (heir(1, "another"), 30)] {
        let made = store.create_account(&heir, &key(with)).await;
        assert_eq!(made, Ok(()), "{heir:?}");
    }
}

/// MUST 11: whatever the callers' clocks show.
async fn proof_and_expiry_exclude_each_other(place: &impl Place) {
    let store = place.open();
    let accounts: Vec<Account> = (1..=20).map(|number| waiting(number, 10)).collect();
    redeemed(&*store, Role::Member, &accounts).await;
    let outcomes = all_at_once(place, 40, |store, n| async move {
        let who = id(n / 2 + 1);
        match n % 2 {
            0 => store.prove(who, &audit(9, "prove")).await.unwrap(),
            _ => store.forget(who, &audit(10, "forget")).await.unwrap(),
        }
    })
    .await;
    let won = outcomes.iter().filter(|won| **won).count();
    assert_eq!(won, 20, "{outcomes:?}");
    let left = store.accounts().await.unwrap();
    assert!(left.iter().all(|account| account.proof_by.is_none()));
    for account in &left {
        let forgotten = store.forget(account.id, &audit(999, "forget")).await;
        assert_eq!(forgotten, Ok(false));
    }
}

/// MUST 9.
async fn an_unproven_operator_has_no_authority(place: &impl Place) {
    let store = place.open();
    redeemed(&*store, Role::Operator, &[waiting(1, 10), waiting(2, 10)]).await;
    people(&*store, 3..=3).await;
    let set = async |who, role| store.set_role(id(who), role, &done()).await;
    assert_eq!(set(2, Role::Member).await, Ok(()), "no operator is lost");
    assert_eq!(set(2, Role::Operator).await, Ok(()));
    assert_eq!(set(3, Role::Operator).await, Ok(()));
    let last = Err(ChangeError::LastOperator);
    assert_eq!(set(3, Role::Member).await, last, "not the last one");
    let proven = store.prove(id(1), &done()).await;
    assert_eq!(proven, Ok(true));
    assert_eq!(set(3, Role::Member).await, Ok(()), "one is left");
    assert_eq!(set(1, Role::Member).await, last);
    let forgotten = store.forget(id(2), &audit(10, "forget")).await;
    assert_eq!(forgotten, Ok(true));
    assert_eq!(set(1, Role::Member).await, last);
}

/// An account whose key was revoked doesn't get it back when the invite is redeemed again.
async fn a_repeated_redemption_restores_no_key(place: &impl Place) {
    let store = place.open();
    redeemed(&*store, Role::Member, &[waiting(1, 10)]).await;
    let (first, audit) = (fingerprint(1), done());
    let removed = store.remove_key(id(1), &first, true, &audit).await;
    assert_eq!(removed, Ok(()));
    let (hash, again) = (invite(1, 1).hash, waiting(1, 10));
    for with in [1, 2] {
        let key = key(with);
        let redeemed = store.redeem(&hash, &again, &key, &audit).await;
        let taken = Err(ChangeError::NameTaken);
        assert_eq!(redeemed, taken, "{with}");
        let made = store.create_account(&again, &key).await;
        assert_eq!(made, Err(ChangeError::NameTaken), "{with}");
    }
    assert_eq!(left(&*store).await, Some(499));
    assert_eq!(keys_of(&*store, 1).await, []);
}
