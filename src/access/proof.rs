//! Accounts made for a key that nobody has proven to have: whoever first comes in with it proves
//! it, and if nobody does in time the account is forgotten.

use super::Guard;
use super::door::ProvenKey;
use super::judge::audit;
use crate::chat::access::Audit;
use crate::chat::ids::{Fingerprint, Time};
use crate::store::{Account, StoreError};

impl Guard {
    /// Somebody comes in with a key of the account. Whether it is there and proven from now on.
    pub(super) async fn prove(
        &self,
        account: &Account,
        key: &ProvenKey,
        now: Time,
    ) -> Result<bool, StoreError> {
        if account.proof_by.is_none() {
            return Ok(true);
        }
        let entry = audit(now, &account.name, "key_proven", key.fingerprint.as_str());
        let asked = self.known.asks();
        let proven = self.ask(self.store.prove(account.id, &entry)).await?;
        if proven {
            let proven = Account {
                proof_by: None,
                ..account.clone()
            };
            self.known.learn(&key.fingerprint, Some(&proven), asked);
            tracing::info!(event = "account_proven", account = %account.id, "somebody came in with the key of an account that waited for it");
        }
        Ok(proven)
    }

    /// The account that a key belongs to. One that nobody proved to be theirs in time is forgotten
    /// first.
    pub(super) async fn unforfeited(
        &self,
        key: &Fingerprint,
        now: Time,
    ) -> Result<Option<Account>, StoreError> {
        let account = self.store.account_by_key(key).await?;
        match account {
            Some(account) if account.is_forfeit(now) => {
                self.forget(&account, now).await?;
                Ok(None)
            }
            account => Ok(account),
        }
    }

    /// Forgets an account whose time for a proof is over.
    async fn forget(&self, account: &Account, now: Time) -> Result<(), StoreError> {
        let entry = Audit {
            at: now,
            actor: "server".to_owned(),
            action: "account_forgotten".to_owned(),
            target: account.name.to_string(),
            detail: "nobody came in with its key in time".to_owned(),
        };
        if self.store.forget(account.id, &entry).await? {
            tracing::info!(event = "account_forgotten", account = %account.id, "nobody came in with the key of an account in time");
        }
        Ok(())
    }

    /// Forgets all accounts whose time for a proof is over, so that their names are free.
    pub(super) async fn forget_unproven(&self, now: Time) -> Result<(), StoreError> {
        let waiting = self.store.unproven().await?;
        for account in waiting.iter().filter(|account| account.is_forfeit(now)) {
            self.forget(account, now).await?;
        }
        Ok(())
    }
}
