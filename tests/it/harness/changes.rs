//! Changes as calls, for tests: who makes them and when is taken from an audit entry.

use async_trait::async_trait;

use ssh_chat::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use ssh_chat::chat::ids::{AccountId, Fingerprint, Name, Time};
use ssh_chat::chat::invite::{Invite, InviteIdError};
use ssh_chat::store::{
    Account, AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome, PeopleStore,
};

/// Each method applies one [`Change`].
#[async_trait]
pub trait Changes: PeopleStore {
    /// Applies a change of this actor at this time.
    async fn act(
        &self,
        action: ChangeAction,
        by: &AuditEntry,
    ) -> Result<AppliedChange, ChangeError> {
        let (at, actor) = (by.at, by.actor.clone());
        self.apply(&Change { at, actor, action }).await
    }

    /// Applies it, or says that there was nothing to change.
    async fn try_act(&self, action: ChangeAction, by: &AuditEntry) -> Result<bool, ChangeError> {
        match self.act(action, by).await {
            Ok(applied) => Ok(applied.outcome != ChangeOutcome::Unchanged),
            Err(ChangeError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_account(&self, account: &Account, key: &KeyRecord) -> Result<(), ChangeError> {
        let create = ChangeAction::CreateAccount {
            account: account.clone(),
            key: key.clone(),
        };
        let (id, name) = (account.id, account.name.clone());
        let change = Change::by(id, name, account.created, create);
        self.apply(&change).await.map(|_| ())
    }

    async fn rename(&self, account: AccountId, to: &Name) -> Result<(), ChangeError> {
        let from = Name::new("before").unwrap();
        let rename = ChangeAction::Rename {
            account,
            from: from.clone(),
            to: to.clone(),
        };
        let change = Change::by(account, from, Time(0), rename);
        self.apply(&change).await.map(|_| ())
    }

    async fn add_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        by: &AuditEntry,
    ) -> Result<(), ChangeError> {
        let (name, key) = (somebody(), key.clone());
        let add = ChangeAction::AddKey { account, name, key };
        self.act(add, by).await.map(|_| ())
    }

    async fn remove_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
        by: &AuditEntry,
    ) -> Result<(), ChangeError> {
        let remove = ChangeAction::RemoveKey {
            account,
            name: somebody(),
            key: key.clone(),
            last,
        };
        self.act(remove, by).await.map(|_| ())
    }

    async fn set_role(
        &self,
        account: AccountId,
        role: Role,
        by: &AuditEntry,
    ) -> Result<(), ChangeError> {
        let name = somebody();
        let set = ChangeAction::SetRole {
            account,
            name,
            role,
        };
        self.act(set, by).await.map(|_| ())
    }

    async fn create_invite(&self, invite: &Invite, by: &AuditEntry) -> Result<(), ChangeError> {
        let create = ChangeAction::CreateInvite(invite.clone());
        self.act(create, by).await.map(|_| ())
    }

    async fn revoke_invite(&self, id: &str, by: &AuditEntry) -> Result<bool, ChangeError> {
        match id.parse() {
            Ok(id) => self.try_act(ChangeAction::RevokeInvite(id), by).await,
            Err(InviteIdError) => Ok(false),
        }
    }

    async fn redeem(
        &self,
        hash: &str,
        account: &Account,
        key: &KeyRecord,
        by: &AuditEntry,
    ) -> Result<Account, ChangeError> {
        let redeem = ChangeAction::RedeemInvite {
            hash: hash.to_owned(),
            account: account.clone(),
            key: key.clone(),
        };
        match self.act(redeem, by).await?.outcome {
            ChangeOutcome::Redeemed(account) | ChangeOutcome::RedeemedBefore(account) => {
                Ok(account)
            }
            other => panic!("redeemed as {other:?}"),
        }
    }

    /// Whether it is proven now.
    async fn prove(&self, account: AccountId, by: &AuditEntry) -> Result<bool, ChangeError> {
        let key = Fingerprint::new("SHA256:proven");
        match self.act(ChangeAction::ProveKey { account, key }, by).await {
            Ok(_) => Ok(true),
            Err(ChangeError::Forfeit) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn forget(&self, account: AccountId, by: &AuditEntry) -> Result<bool, ChangeError> {
        let name = somebody();
        self.try_act(ChangeAction::ForgetAccount { account, name }, by)
            .await
    }

    /// Whether it waits now.
    async fn add_pending(&self, pending: &PendingKey) -> Result<bool, ChangeError> {
        let add = ChangeAction::AddPending {
            pending: pending.clone(),
            per_source: None,
        };
        let change = Change::by(AccountId(0), pending.name.clone(), pending.at, add);
        match self.apply(&change).await {
            Ok(_) => Ok(true),
            Err(ChangeError::TooManyPending | ChangeError::KeyTaken) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn settle_pending(
        &self,
        key: &Fingerprint,
        account: Option<&Account>,
        by: &AuditEntry,
    ) -> Result<Option<PendingKey>, ChangeError> {
        let key = key.clone();
        let settle = match account.cloned() {
            Some(account) => ChangeAction::Approve { key, account },
            None => ChangeAction::Deny {
                key,
                name: somebody(),
            },
        };
        match self.act(settle, by).await {
            Ok(applied) => match applied.outcome {
                ChangeOutcome::Settled(pending) => Ok(Some(pending)),
                other => panic!("settled as {other:?}"),
            },
            Err(ChangeError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn add_ban(&self, ban: &Ban, by: &AuditEntry) -> Result<u64, ChangeError> {
        match self.act(ChangeAction::Ban(ban.clone()), by).await?.outcome {
            ChangeOutcome::Banned(id) => Ok(id),
            other => panic!("banned as {other:?}"),
        }
    }

    async fn remove_ban(&self, id: u64, by: &AuditEntry) -> Result<bool, ChangeError> {
        self.try_act(ChangeAction::Unban(id), by).await
    }

    async fn set_mute(
        &self,
        account: AccountId,
        mute: Option<&Mute>,
        by: &AuditEntry,
    ) -> Result<(), ChangeError> {
        let name = somebody();
        let set = match mute.cloned() {
            Some(mute) => ChangeAction::Mute { name, mute },
            None => ChangeAction::Unmute { account, name },
        };
        self.act(set, by).await.map(|_| ())
    }

    async fn set_lockdown(
        &self,
        lockdown: Option<&Lockdown>,
        by: &AuditEntry,
    ) -> Result<(), ChangeError> {
        let set = ChangeAction::SetLockdown(lockdown.cloned());
        self.act(set, by).await.map(|_| ())
    }

    /// Only this entry, which has to be of a kick.
    async fn audit(&self, by: &AuditEntry) -> Result<(), ChangeError> {
        let kick = ChangeAction::Kick {
            name: Name::new(by.target.as_str()).unwrap(),
            reason: Some(by.detail.clone()),
        };
        let applied = self.act(kick, by).await?;
        assert_eq!(applied.audit.as_ref(), Some(by));
        Ok(())
    }
}

impl<S: PeopleStore + ?Sized> Changes for S {}

fn somebody() -> Name {
    Name::new("renata").unwrap()
}
