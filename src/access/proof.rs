//! Accounts made for a key that nobody has proven to have: whoever first comes in with it proves
//! it, and if nobody does in time the account is forgotten.

use super::AccessControl;
use super::authenticator::ProvenKey;
use crate::chat::access::Actor;
use crate::chat::ids::{Fingerprint, Time};
use crate::store::{Account, Change, ChangeAction, ChangeError, ChangeOutcome, StoreError};

impl AccessControl {
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
        let prove = ChangeAction::ProveKey {
            account: account.id,
            key: key.fingerprint.clone(),
        };
        let change = Change::by(account.id, account.name.clone(), now, prove);
        let asked = self.known.asks();
        let answer = self.ask(async {
            match self.apply(&change).await {
                Ok(_) => Ok(true),
                Err(ChangeError::Store(error)) => Err(error),
                Err(_forfeit) => Ok(false),
            }
        });
        let proven = answer.await?;
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
        let forget = Change {
            at: now,
            actor: Actor::System,
            action: ChangeAction::ForgetAccount {
                account: account.id,
                name: account.name.clone(),
            },
        };
        match self.apply(&forget).await {
            Ok(ChangeOutcome::Unchanged) => Ok(()),
            Ok(_) => {
                tracing::info!(event = "account_forgotten", account = %account.id, "nobody came in with the key of an account in time");
                Ok(())
            }
            Err(ChangeError::Store(error)) => Err(error),
            Err(error) => Err(StoreError::Corrupt(error.to_string())),
        }
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
