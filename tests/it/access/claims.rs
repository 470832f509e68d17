//! Key claims: who may make them, and how owners confirm or reject them.

use std::sync::atomic::{AtomicU64, Ordering};

use ssh_chat::access::authenticator::{Authenticator, ClaimAnswer};

use super::*;

fn auth_request(key: &ProvenKey) -> AuthRequest<'_> {
    AuthRequest {
        addr: "192.0.2.1:4022".parse().unwrap(),
        user: &SOMEBODY,
        client: &CLIENT,
        key: Some(key),
    }
}

async fn claim(house: &House, who: &str, which: &str) -> Result<(), String> {
    // Claims are listed by age, and two may come within a millisecond.
    static CLAIMS: AtomicU64 = AtomicU64::new(0);
    let record = KeyRecord {
        added: ssh_chat::clock::now().plus(CLAIMS.fetch_add(1, Ordering::Relaxed)),
        ..key(which)
    };
    house.order(who, Order::AddKey(Box::new(record))).await
}

#[tokio::test]
async fn a_key_is_added_once_its_owner_confirms() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let second = proven("second");
    let who = auth_request(&second);
    assert!(Authenticator::claims(&*house.guard, who).await.is_empty());
    claim(&house, "operator", "second").await.unwrap();
    claim(&house, "member", "second").await.unwrap();
    claim(&house, "banned", "second").await.unwrap();
    assert_eq!(house.judge("second", "192.0.2.1", OPENSSH).await, "invite");
    let names = Authenticator::claims(&*house.guard, who).await;
    assert_eq!(
        names,
        [name("operator"), name("member")],
        "who is not banned"
    );

    for wrong in ["banned", "someone", "mem ber", "\u{1b}[2J"] {
        let answer = Authenticator::answer_claim(&*house.guard, who, wrong).await;
        let again = "That's none of operator, member. Type one of the names to accept, or press \
                     Enter to refuse all: ";
        assert_eq!(answer, ClaimAnswer::Again(again.to_owned()), "{wrong:?}");
    }
    let answer = Authenticator::answer_claim(&*house.guard, who, " Member ").await;
    assert_eq!(answer, ClaimAnswer::Accepted);
    assert_eq!(house.judge("second", "192.0.2.1", OPENSSH).await, "in");
    let owner = house.store.account_by_key(&second.fingerprint).await;
    assert_eq!(owner.unwrap().unwrap().name, name("member"));
    assert!(Authenticator::claims(&*house.guard, who).await.is_empty());
    // The key cache knows the result during a store outage.
    house.port.set(StoreMode::Down);
    assert_eq!(house.judge("second", "192.0.2.1", OPENSSH).await, "in");
}

#[tokio::test]
async fn a_refused_claim_is_deleted() {
    let house = House::new(Mode::Allowlist).await;
    let second = proven("second");
    let who = auth_request(&second);
    claim(&house, "member", "second").await.unwrap();
    house.port.set(StoreMode::Down);
    let failed = Authenticator::answer_claim(&*house.guard, who, "").await;
    assert!(matches!(failed, ClaimAnswer::Failed(_)), "{failed:?}");
    assert!(
        Authenticator::claims(&*house.guard, who).await.is_empty(),
        "a claim doesn't block the login"
    );
    house.port.set(StoreMode::Working);
    assert_eq!(
        Authenticator::claims(&*house.guard, who).await,
        [name("member")]
    );
    let refused = Authenticator::answer_claim(&*house.guard, who, " ").await;
    assert_eq!(refused, ClaimAnswer::Refused);
    assert!(Authenticator::claims(&*house.guard, who).await.is_empty());
    let owner = house.store.account_by_key(&second.fingerprint).await;
    assert_eq!(owner, Ok(None));
    let audit = house.store.audits(1).await.unwrap().remove(0);
    assert_eq!(audit.action, "key_refuse");
    assert_eq!(audit.detail.as_str(), "member, by the owner of the key");
    // The owner, logged in without the key, can't confirm.
    let nobody = AuthRequest { key: None, ..who };
    claim(&house, "member", "second").await.unwrap();
    assert!(
        Authenticator::claims(&*house.guard, nobody)
            .await
            .is_empty()
    );
    Authenticator::answer_claim(&*house.guard, nobody, "member").await;
    assert_eq!(
        Authenticator::claims(&*house.guard, who).await,
        [name("member")]
    );
}

#[tokio::test]
async fn add_keys_can_be_restricted_to_operators() {
    let house = House::new(Mode::Allowlist).await;
    house.guard.set_rules(Rules {
        add_keys: Role::Operator,
        ..rules(Mode::Allowlist, "config")
    });
    assert_eq!(
        claim(&house, "member", "second").await,
        Err("Only operators can add keys here. Ask one.".to_owned())
    );
    assert_eq!(claim(&house, "operator", "second").await, Ok(()));
}

/// The list of a user's own keys, and withdrawing a claim like a key.
#[tokio::test]
async fn own_claims_are_listed_and_withdrawn() {
    let house = House::new(Mode::Open).await;
    claim(&house, "member", "second").await.unwrap();
    let requester = house.requester("member").await;
    let order = Arc::clone(&house.guard).execute(requester, Order::Keys);
    let Ok(OrderReply::Keys { keys, claimed }) = order.await else {
        panic!("no keys");
    };
    let fingerprints = |keys: Vec<KeyRecord>| -> Vec<Fingerprint> {
        keys.into_iter().map(|key| key.fingerprint).collect()
    };
    assert_eq!(fingerprints(keys), [key("member").fingerprint]);
    assert_eq!(fingerprints(claimed), [key("second").fingerprint]);
    let which = key("second").fingerprint.to_string();
    let revoke = || Order::RevokeKey(which.clone());
    assert_eq!(house.order("member", revoke()).await, Ok(()));
    assert!(house.order("member", revoke()).await.is_err());
    let second = proven("second");
    let claims = Authenticator::claims(&*house.guard, auth_request(&second)).await;
    assert!(claims.is_empty(), "{claims:?}");
}
