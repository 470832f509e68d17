//! Changes to accounts and access, each in one transaction with its audit entry and the revision.
//!
//! # Call protocol
//!
//! A change is planned from what is read: a [`ChangePlan`] has the writes, each on the condition
//! that what the plan depends on still holds, and the outcome if they are done. An empty plan means
//! that nothing has to change. If a condition fails, the plan is discarded, and the change is read
//! and planned again: [`Attempts::next`] delays each attempt and limits their number. A failed
//! condition is never an answer by itself, since the next read may show another reason; the one
//! exception is the write that a plan names in `rejection`.

use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::sleep;

use super::audit::create_entry;
use super::item::number;
use super::key::ItemKey;
use super::table::{MAX_WRITES, WriteError, WriteProof};
use super::write::ItemWrite;
use super::{Dynamo, access};
use crate::store::{Action, Applied, Change, ChangeError, ChangeOutcome, StoreError};

/// The most retries after a conflict with another process.
const MAX_CONFLICTS: u32 = 30;

/// The writes of a change, and their outcome.
#[derive(Debug)]
pub(super) struct ChangePlan {
    /// The writes, without the audit entry and the revision. Empty if nothing has to change.
    pub writes: Vec<ItemWrite>,
    pub outcome: ChangeOutcome,
    /// The error if only the condition of the write at this position fails.
    pub rejection: Option<(usize, ChangeError)>,
    /// Writes that follow in batches. If some are never done, that does no harm.
    pub cleanup: Vec<ItemWrite>,
}

impl ChangePlan {
    /// A plan with the outcome [`ChangeOutcome::Done`].
    pub fn done(writes: Vec<ItemWrite>) -> ChangePlan {
        ChangePlan::with(ChangeOutcome::Done, writes)
    }

    /// A plan with another outcome.
    pub fn with(outcome: ChangeOutcome, writes: Vec<ItemWrite>) -> ChangePlan {
        ChangePlan {
            writes,
            outcome,
            rejection: None,
            cleanup: Vec::new(),
        }
    }

    /// A plan that changes nothing.
    pub fn unchanged() -> ChangePlan {
        ChangePlan::with(ChangeOutcome::Unchanged, Vec::new())
    }
}

/// The attempts of a read-decide-write cycle.
#[derive(Debug, Default)]
pub(super) struct Attempts<'a> {
    count: u32,
    /// Serializes changes of this process that would conflict with each other.
    guard: Option<MutexGuard<'a, ()>>,
}

impl Attempts<'_> {
    /// Waits for the next attempt; the first starts at once. Fails after too many conflicts.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        if self.count > MAX_CONFLICTS {
            let reason = "too many conflicts with other processes".to_owned();
            return Err(StoreError::Unavailable(reason));
        }
        if let Some(conflicts) = self.count.checked_sub(1) {
            // Serialized changes compete with one change per other process at most.
            let most = if self.guard.is_some() { 1 } else { 6 };
            let delay = 5_u64.saturating_mul(1 << conflicts.min(most));
            sleep(Duration::from_millis(rand::random_range(0..=delay))).await;
        }
        self.count += 1;
        Ok(())
    }
}

/// Whether a write was done; `false` if a condition failed.
pub(super) fn is_written(written: Result<(), WriteError>) -> Result<bool, StoreError> {
    match written {
        Ok(()) => Ok(true),
        Err(WriteError::ConditionFailed(_)) => Ok(false),
        Err(WriteError::Failed { error, .. }) => Err(error),
    }
}

/// Changes the revision.
pub(super) fn bump_revision() -> ItemWrite {
    ItemWrite::update(ItemKey::revision()).add("number", number(1))
}

impl Dynamo {
    /// Plans and writes a change until there is an answer.
    pub(super) async fn apply_change(&self, change: &Change) -> Result<Applied, ChangeError> {
        // New accounts and names rarely conflict, and there may be many at once.
        let mut attempts = match change.action {
            Action::CreateAccount { .. } | Action::Rename { .. } => Attempts::default(),
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
            match (
                self.commit(plan.writes, change, &applied).await,
                plan.rejection,
            ) {
                (Err(WriteError::ConditionFailed(failed)), Some((at, error))) if failed == [at] => {
                    return Err(error);
                }
                (written, _) => {
                    if is_written(written)? {
                        self.write_batches(plan.cleanup).await?;
                        return Ok(applied);
                    }
                }
            }
        }
    }

    /// Attempts at items that many may write at once, such as the last use of an invite. Those of
    /// this process run one after the other.
    pub(super) async fn serialized_attempts(&self) -> Attempts<'_> {
        Attempts {
            count: 0,
            guard: Some(self.changing.lock().await),
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
            Action::CreateAccount { account, key } => self.create(account, key).await,
            Action::Rename { account, to, .. } => self.change_name(*account, to).await,
            Action::AddKey { account, key, .. } => self.add_key(*account, key).await,
            Action::ClaimKey { account, key, .. } => self.claim_key(*account, key, now).await,
            Action::ConfirmKey { account, key, .. } => self.confirm_key(*account, key, now).await,
            Action::RefuseKey { key, .. } => self.refuse_key(key).await,
            Action::RemoveKey {
                account, key, last, ..
            } => self.remove_key(*account, key, *last).await,
            Action::SetRole { account, role, .. } => self.change_role(*account, *role).await,
            Action::CreateInvite(invite) => self.add_invite(invite).await,
            Action::RevokeInvite(id) => self.revoke_invite(id, now).await,
            Action::RedeemInvite { hash, account, key } => {
                return self.redeem_invite(hash, account, key, now).await;
            }
            Action::ProveKey { account, .. } => self.prove_account(*account, now).await,
            Action::ForgetAccount { account, .. } => self.forget_account(*account, now).await,
            Action::AddPending {
                pending,
                per_source,
            } => self.add_pending(pending, *per_source, now).await,
            Action::Approve { key, account } => self.settle_pending(key, Some(account), now).await,
            Action::Deny { key, .. } => self.settle_pending(key, None, now).await,
            Action::DenyAll { keys, .. } => self.deny_pending(keys).await,
            Action::Ban(ban) => self.add_ban(ban).await,
            Action::Unban(id) => self.delete_current(ItemKey::ban(*id), now).await,
            Action::Mute { mute, .. } => Ok(ChangePlan::done(vec![access::put_mute(mute)])),
            Action::Unmute { account, .. } => {
                self.delete_if_current(ItemKey::mute(*account), now).await
            }
            Action::SetLockdown(Some(lockdown)) => {
                Ok(ChangePlan::done(vec![access::put_lockdown(lockdown)]))
            }
            Action::SetLockdown(None) => self.delete_if_current(ItemKey::lockdown(), now).await,
            Action::SetSlow { room, slow } => self.change_slow(room, *slow).await,
            Action::RemoveRoom { room } => self.close_room(room, now).await,
            Action::Kick { .. } | Action::Announce | Action::Purge { .. } => {
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
        applied: &Applied,
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

    /// Writes in batches. Writes whose conditions fail are skipped.
    pub(super) async fn write_batches(&self, writes: Vec<ItemWrite>) -> Result<(), StoreError> {
        for batch in writes.chunks(MAX_WRITES) {
            is_written(self.table.write(batch.to_vec(), None).await)?;
        }
        Ok(())
    }
}
