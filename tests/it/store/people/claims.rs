//! Keys that accounts claim, until their owners say whose they are.

use ssh_chat::chat::access::WAITS;
use ssh_chat::store::change::MAX_CLAIMS;
use ssh_chat::store::{ChangeAction, ChangeError, ChangeOutcome};

use super::*;
use crate::harness::Changes;

contract! {
    a_claim_gives_nothing,
    a_confirmed_claim_ends_the_others,
    claims_are_refused_and_withdrawn,
    claims_are_bounded,
    claims_end_by_themselves,
    claims_end_when_the_key_is_an_account_s,
}

async fn apply(
    store: &dyn Store,
    seconds: i64,
    action: ChangeAction,
) -> Result<ChangeOutcome, ChangeError> {
    let applied = store.act(action, &audit(seconds, "claims")).await?;
    Ok(applied.outcome)
}

/// An account claims a key, that many seconds late.
async fn claim(
    store: &dyn Store,
    who: u32,
    number: u32,
    seconds: i64,
) -> Result<ChangeOutcome, ChangeError> {
    let claim = ChangeAction::ClaimKey {
        account: id(who),
        name: account(who).name,
        key: KeyRecord {
            added: at(seconds),
            ..key(number)
        },
    };
    apply(store, seconds, claim).await
}

async fn confirm(
    store: &dyn Store,
    who: u32,
    number: u32,
    seconds: i64,
) -> Result<ChangeOutcome, ChangeError> {
    let confirm = ChangeAction::ConfirmKey {
        account: id(who),
        name: account(who).name,
        key: fingerprint(number),
    };
    apply(store, seconds, confirm).await
}

/// Whose claims on a key wait at this time.
async fn claimants(store: &dyn Store, number: u32, seconds: i64) -> Vec<u128> {
    let claimants = store.claimants(&fingerprint(number), at(seconds)).await;
    let claimants = claimants.unwrap().into_iter();
    claimants.map(|account| account.id.0 >> 90).collect()
}

/// Which keys an account claims at this time.
async fn claimed(store: &dyn Store, who: u32, seconds: i64) -> Vec<Fingerprint> {
    let claimed = store.claims_of(id(who), at(seconds)).await.unwrap();
    claimed.into_iter().map(|key| key.fingerprint).collect()
}

async fn a_claim_gives_nothing(place: &impl Place) {
    use ChangeOutcome::{Done, Unchanged};
    let store = &*place.open();
    people(store, 1..=2).await;
    let revision = store.revision().await;
    assert_eq!(claim(store, 1, 20, 5).await, Ok(Done));
    assert_eq!(claim(store, 2, 20, 6).await, Ok(Done));
    assert_eq!(claim(store, 1, 20, 7).await, Ok(Unchanged), "does already");
    assert_eq!(claim(store, 1, 1, 7).await, Ok(Unchanged), "has it");
    assert_eq!(claim(store, 1, 2, 7).await, Err(ChangeError::KeyTaken));
    assert_eq!(claim(store, 9, 30, 7).await, Err(ChangeError::NoAccount));

    assert_eq!(store.account_by_key(&fingerprint(20)).await, Ok(None));
    assert_eq!(keys_of(store, 1).await, [key(1)]);
    assert_eq!(claimants(store, 20, 8).await, [1, 2], "the oldest first");
    let expected = KeyRecord {
        added: at(5),
        ..key(20)
    };
    assert_eq!(store.claims_of(id(1), at(8)).await, Ok(vec![expected]));
    assert_eq!(store.revision().await, revision, "nobody is measured by it");
    let all = store.accounts_with_keys().await.unwrap();
    let keys: usize = all.iter().map(|one| one.as_ref().unwrap().1.len()).sum();
    assert_eq!(keys, 2);
    assert_eq!(store.audits(9).await.unwrap().len(), 2);
}

async fn a_confirmed_claim_ends_the_others(place: &impl Place) {
    let store = &*place.open();
    people(store, 1..=3).await;
    for who in [1, 2] {
        claim(store, who, 20, 5).await.unwrap();
    }
    let none = confirm(store, 3, 20, 6).await;
    assert_eq!(none, Err(ChangeError::NotFound), "who claims nothing");
    assert_eq!(confirm(store, 2, 20, 6).await, Ok(ChangeOutcome::Done));
    let owner = store.account_by_key(&fingerprint(20)).await;
    assert_eq!(owner, Ok(Some(account(2))));
    let added = KeyRecord {
        added: at(6),
        ..key(20)
    };
    assert_eq!(keys_of(store, 2).await, [key(2), added]);
    let again = confirm(store, 2, 20, 7).await;
    assert_eq!(again, Ok(ChangeOutcome::Unchanged), "an answer was lost");
    assert_eq!(
        confirm(store, 1, 20, 7).await,
        Err(ChangeError::NotFound),
        "too late"
    );
    assert_eq!(claimants(store, 20, 7).await, []);
    for who in [1, 2] {
        assert_eq!(claimed(store, who, 7).await, [], "{who}");
    }
    let actions: Vec<String> = store
        .audits(9)
        .await
        .unwrap()
        .into_iter()
        .map(|audit| audit.action)
        .collect();
    assert_eq!(actions, ["key_confirm", "key_claim", "key_claim"]);
}

async fn claims_are_refused_and_withdrawn(place: &impl Place) {
    let store = &*place.open();
    people(store, 1..=2).await;
    for (who, number) in [(1, 20), (2, 20), (1, 30), (2, 30)] {
        claim(store, who, number, 5).await.unwrap();
    }
    let remove = async |who, number| {
        let key = fingerprint(number);
        store.remove_key(id(who), &key, false, &done()).await
    };
    assert_eq!(remove(1, 20).await, Ok(()));
    assert_eq!(remove(1, 20).await, Err(ChangeError::NoKey), "gone");
    assert_eq!(claimants(store, 20, 6).await, [2]);
    assert_eq!(claimed(store, 1, 6).await, [fingerprint(30)]);
    let refuse = async || {
        let refuse = ChangeAction::RefuseKey {
            key: fingerprint(30),
            names: vec![account(1).name, account(2).name],
        };
        apply(store, 6, refuse).await
    };
    assert_eq!(refuse().await, Ok(ChangeOutcome::Done));
    assert_eq!(refuse().await, Ok(ChangeOutcome::Unchanged), "gone");
    assert_eq!(claimants(store, 30, 6).await, []);
    assert_eq!(claimed(store, 1, 6).await, []);
    assert_eq!(claimed(store, 2, 6).await, [fingerprint(20)]);
    let last = &store.audits(1).await.unwrap()[0];
    assert_eq!(last.action, "key_refuse");
    assert_eq!(
        last.detail.as_str(),
        "user-1, user-2, by the owner of the key"
    );
}

async fn claims_are_bounded(place: &impl Place) {
    let store = &*place.open();
    let many = u32::try_from(MAX_CLAIMS).unwrap();
    people(store, 1..=many + 1).await;
    for who in 1..=many {
        let claimed = claim(store, who, 90, 5).await;
        assert_eq!(claimed, Ok(ChangeOutcome::Done), "{who}");
    }
    let one_more = claim(store, many + 1, 90, 5).await;
    assert_eq!(one_more, Err(ChangeError::TooManyClaims));
    // The key that it has, the one above, and these.
    let room = u32::try_from(MAX_KEYS).unwrap() - 2;
    for number in 100..100 + room {
        claim(store, 1, number, 5).await.unwrap();
    }
    let one_more = claim(store, 1, 200, 5).await;
    assert_eq!(one_more, Err(ChangeError::TooManyKeys));
    assert_eq!(confirm(store, 1, 100, 6).await, Ok(ChangeOutcome::Done));
    let one_more = claim(store, 1, 200, 6).await;
    assert_eq!(one_more, Err(ChangeError::TooManyKeys), "as many as before");
    let later = i64::try_from(WAITS / 1000).unwrap() + 6;
    let room = claim(store, 1, 200, later).await;
    assert_eq!(room, Ok(ChangeOutcome::Done), "the others are over");
    let room = claim(store, many + 1, 90, later).await;
    assert_eq!(room, Ok(ChangeOutcome::Done), "the others are over");
}

async fn claims_end_by_themselves(place: &impl Place) {
    let store = &*place.open();
    people(store, 1..=1).await;
    claim(store, 1, 20, 0).await.unwrap();
    let end = i64::try_from(WAITS / 1000).unwrap();
    assert_eq!(claimants(store, 20, end - 1).await, [1]);
    assert_eq!(claimed(store, 1, end - 1).await, [fingerprint(20)]);
    assert_eq!(claimants(store, 20, end).await, []);
    assert_eq!(claimed(store, 1, end).await, []);
    let late = confirm(store, 1, 20, end).await;
    assert_eq!(late, Err(ChangeError::NotFound));
    assert_eq!(claim(store, 1, 20, end).await, Ok(ChangeOutcome::Done));
    assert_eq!(claimants(store, 20, end).await, [1], "anew");
    assert_eq!(confirm(store, 1, 20, end).await, Ok(ChangeOutcome::Done));
}

/// A claim is in nobody's way.
async fn claims_end_when_the_key_is_an_account_s(place: &impl Place) {
    let store = &*place.open();
    people(store, 1..=2).await;
    let made = invite(1, 1);
    store.create_invite(&made, &done()).await.unwrap();
    for number in 3..=6 {
        claim(store, 1, number, 1).await.unwrap();
        claim(store, 2, number, 1).await.unwrap();
    }
    store.add_pending(&pending(5)).await.unwrap();
    store.create_account(&account(3), &key(3)).await.unwrap();
    let (fourth, fifth) = (account(4), account(5));
    let redeemed = store.redeem(&made.hash, &fourth, &key(4), &done()).await;
    redeemed.unwrap();
    let waited = fingerprint(5);
    let approved = store.settle_pending(&waited, Some(&fifth), &done()).await;
    assert!(approved.unwrap().is_some());
    store.add_key(id(2), &key(6), &done()).await.unwrap();
    for number in 3..=6 {
        assert_eq!(claimants(store, number, 2).await, [], "{number}");
    }
    assert_eq!(claimed(store, 1, 2).await, []);
    assert_eq!(claimed(store, 2, 2).await, []);
    // Also once it is nobody's again.
    let sixth = fingerprint(6);
    let removed = store.remove_key(id(2), &sixth, false, &done()).await;
    removed.unwrap();
    assert_eq!(claimants(store, 6, 2).await, []);
}
