//! Changes to accounts and access, each in one transaction with its audit entry and the revision.
//!
//! # Call protocol
//!
//! A change is planned from what is read: its [`ChangePlan`] has the writes, each on the condition
//! that what the plan depends on still holds, and the outcome if they are done. An empty plan means
//! that nothing has to change. If a condition fails, the plan is discarded, and the change is read
//! and planned again: [`Attempts::next`] delays each attempt and limits their number. A failed
//! condition is never an answer by itself, since the next read may show another reason; the one
//! exception is the write that a plan names in `rejection`.

use super::audit::{bump_revision, create_entry};
use super::key::ItemKey;
use super::plan::{Attempts, ChangePlan};
use super::table::{WriteError, WriteProof};
use super::write::ItemWrite;
use super::{Dynamo, access};
use crate::store::{AppliedChange, Change, ChangeAction, ChangeError};

impl Dynamo {
    /// Plans and writes a change until there is an answer.
    pub(super) async fn apply_change(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
        // New accounts and names rarely conflict, and there may be many at once.
        let mut attempts = match change.action {
            ChangeAction::CreateAccount { .. } | ChangeAction::Rename { .. } => Attempts::default(),
            _ => self.serialized_attempts().await,
        };
        loop {
            attempts.next().await?;
            let Some(plan) = self.plan_change(change).await? else {
                continue;
            };
            let applied = change.applied(plan.outcome);
            if plan.writes.is_empty() && applied.audit.is_none() {
                return Ok(applied);
            }
            match self.commit(plan.writes, change, &applied).await {
                Ok(()) => {
                    self.table.write_batches(plan.cleanup).await?;
                    return Ok(applied);
                }
                Err(WriteError::ConditionFailed(failed)) => {
                    if let Some((at, error)) = plan.rejection
                        && failed == [at]
                    {
                        return Err(error);
                    }
                }
                Err(WriteError::Failed { error, .. }) => return Err(error.into()),
            }
        }
    }

    /// Plans a change. `None` if the reads contradict each other and have to be repeated.
    async fn plan_change(&self, change: &Change) -> Result<Option<ChangePlan>, ChangeError> {
        let Some(key) = change.action.new_key() else {
            return self.plan_action(change).await;
        };
        let (plan, claims) = tokio::join!(self.plan_action(change), self.delete_claims(key));
        let mut plan = plan?;
        if let Some(plan) = &mut plan
            && !plan.writes.is_empty()
        {
            plan.writes.extend(claims?);
        }
        Ok(plan)
    }

    /// Plans the action, without the claims on its key.
    async fn plan_action(&self, change: &Change) -> Result<Option<ChangePlan>, ChangeError> {
        let now = change.at;
        let plan = match &change.action {
            ChangeAction::CreateAccount { account, key } => self.create(account, key).await,
            ChangeAction::Rename { account, to, .. } => self.change_name(*account, to).await,
            ChangeAction::AddKey { account, key, .. } => self.add_key(*account, key).await,
            ChangeAction::ClaimKey { account, key, .. } => self.claim_key(*account, key, now).await,
            ChangeAction::ConfirmKey { account, key, .. } => {
                self.confirm_key(*account, key, now).await
            }
            ChangeAction::RefuseKey { key, .. } => self.refuse_key(key).await,
            ChangeAction::RemoveKey {
                account, key, last, ..
            } => self.remove_key(*account, key, *last).await,
            ChangeAction::SetRole { account, role, .. } => self.change_role(*account, *role).await,
            ChangeAction::CreateInvite(invite) => self.add_invite(invite).await,
            ChangeAction::RevokeInvite(id) => self.revoke_invite(id, now).await,
            ChangeAction::RedeemInvite { hash, account, key } => {
                return self.redeem_invite(hash, account, key, now).await;
            }
            ChangeAction::ProveKey { account, .. } => self.prove_account(*account, now).await,
            ChangeAction::ForgetAccount { account, .. } => self.forget_account(*account, now).await,
            ChangeAction::AddPending {
                pending,
                per_source,
            } => self.add_pending(pending, *per_source, now).await,
            ChangeAction::Approve { key, account } => {
                self.settle_pending(key, Some(account), now).await
            }
            ChangeAction::Deny { key, .. } => self.settle_pending(key, None, now).await,
            ChangeAction::DenyAll { keys, .. } => self.deny_pending(keys).await,
            ChangeAction::Ban(ban) => self.add_ban(ban).await,
            ChangeAction::Unban(id) => self.delete_current(ItemKey::ban(*id), now).await,
            ChangeAction::Mute { mute, .. } => Ok(ChangePlan::done(vec![access::put_mute(mute)])),
            ChangeAction::Unmute { account, .. } => {
                self.delete_if_current(ItemKey::mute(*account), now).await
            }
            ChangeAction::SetLockdown(Some(lockdown)) => {
                Ok(ChangePlan::done(vec![access::put_lockdown(lockdown)]))
            }
            ChangeAction::SetLockdown(None) => {
                self.delete_if_current(ItemKey::lockdown(), now).await
            }
            ChangeAction::SetSlow { room, slow } => self.change_slow(room, *slow).await,
            ChangeAction::RemoveRoom { room } => self.close_room(room, now).await,
            ChangeAction::Kick { .. } | ChangeAction::Announce | ChangeAction::Purge { .. } => {
                Ok(ChangePlan::done(Vec::new()))
            }
        };
        plan.map(Some)
    }

    /// Writes a plan with the revision and the audit entry, which comes last. The entry's random id
    /// proves that the write was done, so a retry never applies a change twice.
    async fn commit(
        &self,
        mut writes: Vec<ItemWrite>,
        change: &Change,
        applied: &AppliedChange,
    ) -> Result<(), WriteError> {
        let Some(audit) = &applied.audit else {
            return self.table.write(writes, None).await;
        };
        if change.concerns_online() {
            writes.push(bump_revision());
        }
        let write_id = self.audit_ids.next();
        let key = ItemKey::audit(&write_id);
        writes.push(create_entry(key.clone(), audit));
        self.table
            .write(writes, Some(&WriteProof { key, write_id }))
            .await
    }
}
