//! Keys that accounts claim. Anybody's public key can be claimed, so a claim gives nothing until
//! the owner of the key has logged in with it and typed the name of the account.

use super::AccessControl;
use super::authenticate::NOT_NOW;
use super::authenticator::{AuthRequest, ClaimAnswer, ProvenKey, claim_question_again};
use crate::chat::access::{Actor, BanSubject};
use crate::chat::ids::{Name, Time};
use crate::clock;
use crate::store::{Account, Change, ChangeAction, ChangeError, StoreError};

/// How often in the life of a connection its owner is asked for a name.
pub const MAX_ANSWERS: usize = 3;

impl AccessControl {
    /// The names of the accounts that claim a key, without those that are banned. None if the
    /// store does not answer: a claim never keeps anybody out.
    pub(super) async fn claims_on(&self, who: AuthRequest<'_>) -> Vec<Name> {
        let now = clock::now();
        let Some(key) = who.key else {
            return Vec::new();
        };
        let claimants = self.claimants(who, key, now).await.unwrap_or_default();
        claimants.into_iter().map(|account| account.name).collect()
    }

    async fn claimants(
        &self,
        who: AuthRequest<'_>,
        key: &ProvenKey,
        now: Time,
    ) -> Result<Vec<Account>, StoreError> {
        let asked = self.store.claimants(&key.fingerprint, now);
        let mut claimants = self.ask(asked).await?;
        let snapshot = self.snapshot();
        claimants.retain(|account| {
            let subject = BanSubject {
                account: Some(account.id),
                key: None,
                addr: who.addr.ip(),
                client: who.client,
                configured: false,
            };
            snapshot.ban(subject, now).is_none()
        });
        Ok(claimants)
    }

    /// Takes the answer of the owner of a claimed key: the name of an account gives it the key,
    /// nothing refuses all claims.
    pub(super) async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        let now = clock::now();
        let failed = || ClaimAnswer::Failed(NOT_NOW.to_owned());
        let Some(key) = who.key else {
            return ClaimAnswer::Refused;
        };
        let Ok(claimants) = self.claimants(who, key, now).await else {
            return failed();
        };
        let names = || claimants.iter().map(|account| account.name.clone());
        if answer.trim().is_empty() {
            let refuse = Change {
                at: now,
                actor: Actor::System,
                action: ChangeAction::RefuseKey {
                    key: key.fingerprint.clone(),
                    names: names().collect(),
                },
            };
            return match self.apply(&refuse).await {
                Ok(_) => ClaimAnswer::Refused,
                Err(_) => failed(),
            };
        }
        let typed = Name::existing(answer).ok();
        let account = claimants
            .iter()
            .find(|account| typed.as_ref() == Some(&account.name));
        let Some(account) = account else {
            let names: Vec<Name> = names().collect();
            return if names.is_empty() {
                ClaimAnswer::Refused
            } else {
                ClaimAnswer::Again(claim_question_again(&names))
            };
        };
        let confirm = ChangeAction::ConfirmKey {
            account: account.id,
            name: account.name.clone(),
            key: key.fingerprint.clone(),
        };
        let asked = self.known.asks();
        let change = Change::by(account.id, account.name.clone(), now, confirm);
        match self.apply(&change).await {
            Ok(_) => {
                self.known.learn(&key.fingerprint, Some(account), asked);
                ClaimAnswer::Accepted
            }
            Err(ChangeError::Store(_)) => failed(),
            Err(error) => ClaimAnswer::Failed(format!("Not done: {error}. Connect again.")),
        }
    }
}
