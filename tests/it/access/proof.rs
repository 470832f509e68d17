//! Authentication for accounts whose key isn't proven yet.

use super::*;

/// Logging in with a claimed key proves it; after the deadline, the name is free.
#[tokio::test]
async fn logging_in_proves_a_key() {
    for mode in [Mode::Open, Mode::Allowlist] {
        let house = House::new(mode).await.with_unproven().await;
        let admit = async |who: &str| {
            let key = proven(who);
            let candidate = AuthRequest {
                addr: "192.0.2.1:4022".parse().unwrap(),
                user: &SOMEBODY,
                client: &CLIENT,
                key: Some(&key),
            };
            house.guard.admit(candidate, None).await
        };
        assert_eq!(house.judge("newcomer", "192.0.2.1", OPENSSH).await, "in");
        assert!(
            house.find("newcomer").await.proof_by.is_some(),
            "not proven yet"
        );
        let first = admit("newcomer").await.unwrap().account.unwrap();
        assert!(first.proof_by.is_some(), "only now");
        assert_eq!(house.find("newcomer").await.proof_by, None);
        let again = admit("newcomer").await.unwrap().account.unwrap();
        assert_eq!(again.proof_by, None);
        let proofs = house.store.audits(9).await.unwrap();
        let proofs = proofs.iter().filter(|entry| entry.action == "key_proven");
        assert_eq!(proofs.count(), 1);

        let late = admit("late").await;
        let stranger = late.map(|admission| (admission.account, admission.may_be_new));
        match mode {
            Mode::Open => assert_eq!(stranger, Ok((None, true))),
            Mode::Allowlist => assert!(stranger.is_err()),
        }
        assert_eq!(house.store.account_by_name(&name("late")).await, Ok(None));
    }
}
