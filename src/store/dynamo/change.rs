//! Changes to people and access: each with its audit entry and revision in one transaction, and
//! once more from the beginning if another process was first.
//!
//! Each is planned from what is read, and written under the condition that what the plan depends
//! on still holds. A refused write is no answer: what is read next is.

use tokio::sync::MutexGuard;
use tokio::time::sleep;

use super::Dynamo;
use super::audit::entry;
use super::item::number;
use super::key::Key;
use super::log::turn_taking;
use super::table::{Proof, WriteError};
use super::write::Write;
use crate::store::{AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome, StoreError};

/// How often to look again because somebody else was first.
const CONFLICTS: u32 = 30;

/// What a change comes to if its writes are done.
#[derive(Debug)]
pub(super) struct ChangePlan {
    /// What to write, without the audit entry and the revision.
    pub writes: Vec<Write>,
    pub outcome: ChangeOutcome,
    /// What it means if the condition of the write at this place, and no other, does not hold.
    pub refusal: Option<(usize, ChangeError)>,
    /// What is written afterwards, some at a time: what is left behind does no harm.
    pub remains: Vec<Write>,
}

impl ChangePlan {
    /// Writes that are done.
    pub fn done(writes: Vec<Write>) -> ChangePlan {
        ChangePlan::to(ChangeOutcome::Done, writes)
    }

    /// Writes with a special outcome.
    pub fn to(outcome: ChangeOutcome, writes: Vec<Write>) -> ChangePlan {
        ChangePlan {
            writes,
            outcome,
            refusal: None,
            remains: Vec::new(),
        }
    }

    /// It is so already.
    pub fn unchanged() -> ChangePlan {
        ChangePlan::to(ChangeOutcome::Unchanged, Vec::new())
    }
}

/// The turns of one who reads, decides and writes.
#[derive(Debug, Default)]
pub(super) struct Turns<'a> {
    had: u32,
    /// What those of this process wait for who would get into each other's way.
    alone: Option<MutexGuard<'a, ()>>,
}

impl Turns<'_> {
    /// Waits for the next turn; the first comes at once. There is an end to them.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        if self.had > CONFLICTS {
            let words = "others write to it all the time".to_owned();
            return Err(StoreError::Unavailable(words));
        }
        if let Some(before) = self.had.checked_sub(1) {
            // Of those that come one after the other there is one of each process.
            let few = self.alone.is_some();
            sleep(turn_taking(if few { before.min(1) } else { before })).await;
        }
        self.had += 1;
        Ok(())
    }
}

/// Whether it was written, and not refused because something has changed since it was read.
pub(super) fn done(written: Result<(), WriteError>) -> Result<bool, StoreError> {
    match written {
        Ok(()) => Ok(true),
        Err(WriteError::Refused(_)) => Ok(false),
        Err(WriteError::Failed { error, .. }) => Err(error),
    }
}

/// The revision becomes another number.
pub(super) fn revise() -> Write {
    Write::update(Key::revision()).add("number", number(1))
}

impl Dynamo {
    /// Makes a change.
    pub(super) async fn make(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
        // Who comes in or chooses a name mostly changes what nobody else does, and may be many.
        let mut turns = match change.action {
            ChangeAction::CreateAccount { .. } | ChangeAction::Rename { .. } => Turns::default(),
            _ => self.turns().await,
        };
        loop {
            turns.begin().await?;
            let Some(plan) = self.plan_change(change).await? else {
                continue;
            };
            let applied = change.applied(plan.outcome);
            if plan.writes.is_empty() && applied.audit.is_none() {
                return Ok(applied);
            }
            match (
                self.commit(plan.writes, change, &applied).await,
                plan.refusal,
            ) {
                (Err(WriteError::Refused(places)), Some((place, error))) if places == [place] => {
                    return Err(error);
                }
                (written, _) => {
                    if done(written)? {
                        self.clear(plan.remains).await?;
                        return Ok(applied);
                    }
                }
            }
        }
    }

    /// Turns at what many may write to at once, such as the last use of an invite: those of this
    /// process come one after the other, and find what the one before has left.
    pub(super) async fn turns(&self) -> Turns<'_> {
        Turns {
            had: 0,
            alone: Some(self.changing.lock().await),
        }
    }

    /// What to write for a change, by what is there now. `None` if what was read contradicts
    /// itself, and has to be read again.
    async fn plan_change(&self, change: &Change) -> Result<Option<ChangePlan>, ChangeError> {
        let Some(key) = change.action.new_key() else {
            return self.plan_action(change).await;
        };
        let (plan, ends) = tokio::join!(self.plan_action(change), self.end_claims(key));
        let mut plan = plan?;
        if let Some(plan) = &mut plan
            && !plan.writes.is_empty()
        {
            plan.writes.extend(ends?);
        }
        Ok(plan)
    }

    /// The same, without the claims that end with it.
    async fn plan_action(&self, change: &Change) -> Result<Option<ChangePlan>, ChangeError> {
        let now = change.at;
        let plan = match &change.action {
            ChangeAction::CreateAccount { account, key } => self.create(account, key).await,
            ChangeAction::Rename { account, to, .. } => self.change_name(*account, to).await,
            ChangeAction::AddKey { account, key, .. } => self.give_key(*account, key).await,
            ChangeAction::ClaimKey { account, key, .. } => self.claim_key(*account, key, now).await,
            ChangeAction::ConfirmKey { account, key, .. } => {
                self.confirm_key(*account, key, now).await
            }
            ChangeAction::RefuseKey { key, .. } => self.refuse_key(key).await,
            ChangeAction::RemoveKey {
                account, key, last, ..
            } => self.take_key(*account, key, *last).await,
            ChangeAction::SetRole { account, role, .. } => self.change_role(*account, *role).await,
            ChangeAction::CreateInvite(invite) => self.keep_invite(invite).await,
            ChangeAction::RevokeInvite(id) => self.end_invite(id, now).await,
            ChangeAction::RedeemInvite { hash, account, key } => {
                return self.use_invite(hash, account, key, now).await;
            }
            ChangeAction::ProveKey { account, .. } => self.end_unproven(*account, now).await,
            ChangeAction::ForgetAccount { account, .. } => self.forget_account(*account, now).await,
            ChangeAction::AddPending {
                pending,
                per_source,
            } => self.have_wait(pending, *per_source, now).await,
            ChangeAction::Approve { key, account } => self.end_wait(key, Some(account), now).await,
            ChangeAction::Deny { key, .. } => self.end_wait(key, None, now).await,
            ChangeAction::DenyAll { keys, .. } => self.end_waits(keys).await,
            ChangeAction::Ban(ban) => self.keep_ban(ban).await,
            ChangeAction::Unban(id) => self.end(Key::ban(*id), now).await,
            ChangeAction::Mute { mute, .. } => Ok(ChangePlan::done(vec![super::mutes::put(mute)])),
            ChangeAction::Unmute { account, .. } => {
                self.end_if_there(Key::mute(*account), now).await
            }
            ChangeAction::SetLockdown(Some(lockdown)) => {
                Ok(ChangePlan::done(vec![super::mutes::put_lockdown(lockdown)]))
            }
            ChangeAction::SetLockdown(None) => self.end_if_there(Key::lockdown(), now).await,
            ChangeAction::SetSlow { room, slow } => self.change_slow(room, *slow).await,
            ChangeAction::RemoveRoom { room } => self.close_room(room, now).await,
            ChangeAction::Kick { .. } | ChangeAction::Announce | ChangeAction::Purge { .. } => {
                Ok(ChangePlan::done(Vec::new()))
            }
        };
        plan.map(Some)
    }

    /// Writes with the revision and the audit entry, which comes last. The entry is there once or
    /// not at all: so the change is done once, however often it is tried.
    async fn commit(
        &self,
        mut writes: Vec<Write>,
        change: &Change,
        applied: &AppliedChange,
    ) -> Result<(), WriteError> {
        let Some(audit) = &applied.audit else {
            return self.table.write(writes, None).await;
        };
        if change.concerns_online() {
            writes.push(revise());
        }
        let write = self.arrivals.id();
        let key = Key::audit(&write);
        writes.push(entry(key.clone(), audit));
        self.table.write(writes, Some(&Proof { key, write })).await
    }

    /// Writes these, some at a time.
    pub(super) async fn clear(&self, remains: Vec<Write>) -> Result<(), StoreError> {
        for writes in remains.chunks(super::table::MOST_WRITES) {
            done(self.table.write(writes.to_vec(), None).await)?;
        }
        Ok(())
    }
}
