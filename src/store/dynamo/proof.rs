//! Accounts that wait for a proof of their key: each has an item in a partition of its own, so that
//! those few are found without looking at all accounts.
//!
//! An account stops waiting in the same transaction that takes this item away. Proof and oblivion
//! both write under the condition that the account is as it was read, so one of them wins.

use super::Dynamo;
use super::accounts::{Record, joining};
use super::change::ChangePlan;
use super::item::text;
use super::key::{self, Key};
use super::table::Range;
use super::write::{Condition, Write};
use crate::chat::ids::{AccountId, Time};
use crate::store::{Account, ChangeError, StoreError};

/// The attribute of an account that says until when it waits.
pub(super) const PROOF_BY: &str = "proof_by";

/// How many marks go in the transaction that forgets an account: what is left of it, with as many
/// names and keys as it can have, and the audit entry. Who was never here has none; more than this
/// can only have come out of an archive.
const MOST_MARKS: usize = 60;

/// What a new account brings with it if it waits.
pub(super) fn waiting(account: &Account) -> Option<Write> {
    let at = Key::unproven(account.id);
    account
        .proof_by
        .map(|by| Write::create(at, |item| item.number(PROOF_BY, by.0)))
}

impl Dynamo {
    /// The accounts that wait.
    pub(super) async fn all_unproven(&self) -> Result<Vec<Account>, StoreError> {
        let rows = self.table.all(&Range::all(key::UNPROVEN)).await?;
        let ids = rows.iter().map(|row| row.account(key::SORT));
        let keys: Vec<Key> = ids
            .map(|id| id.map(Key::account))
            .collect::<Result<_, _>>()?;
        let accounts = self.table.each(&keys).await?;
        let mut waiting = Vec::with_capacity(accounts.len());
        for row in accounts.values() {
            let account = Record::read(row)?.account;
            // It can have been proven between the two.
            waiting.extend(account.proof_by.is_some().then_some(account));
        }
        Ok(waiting)
    }

    /// Ends the waiting of an account, if its time is not over. One that has not proven to be an
    /// operator's is one from now on.
    pub(super) async fn end_unproven(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let record = self.record(account).await?.ok_or(ChangeError::Forfeit)?;
        match record.account.proof_by {
            None => return Ok(ChangePlan::unchanged()),
            Some(by) if by <= now => return Err(ChangeError::Forfeit),
            Some(_) => {}
        }
        let mut writes = vec![
            record.change().remove(PROOF_BY),
            Write::delete(Key::unproven(account)),
        ];
        let proven = Account {
            proof_by: None,
            ..record.account
        };
        writes.extend(joining(&proven));
        Ok(ChangePlan::done(writes))
    }

    /// Forgets an account whose time is over, with all that it has.
    pub(super) async fn forget_account(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let (record, marks) = tokio::join!(self.record(account), self.marks_of(account));
        let Some(record) = record?.filter(|record| record.account.is_forfeit(now)) else {
            return Ok(ChangePlan::unchanged());
        };
        let mut marks = marks?.into_iter().map(Write::delete);
        let mut writes = gone(&record);
        writes.extend(marks.by_ref().take(MOST_MARKS));
        Ok(ChangePlan {
            remains: marks.collect(),
            ..ChangePlan::done(writes)
        })
    }

    async fn marks_of(&self, account: AccountId) -> Result<Vec<Key>, StoreError> {
        let rows = self.table.all(&Range::all(key::marks(account))).await?;
        let key = |conversation| Key::mark(account, &conversation);
        rows.iter().map(|row| row.conversation().map(key)).collect()
    }
}

/// All that is an account's but for its marks is gone, if it is still as it was read.
fn gone(record: &Record) -> Vec<Write> {
    let id = record.account.id;
    let owner = || Condition::Is("account", text(id.to_string()));
    let names = record.names.iter().map(Key::name);
    let keys = record
        .keys
        .iter()
        .map(|key| Key::fingerprint(&key.fingerprint));
    let mut writes = vec![
        record.delete(),
        Write::delete(Key::unproven(id)),
        Write::delete(Key::mute(id)),
    ];
    writes.extend(
        names
            .chain(keys)
            .map(|guard| Write::delete(guard).when(owner())),
    );
    writes
}
