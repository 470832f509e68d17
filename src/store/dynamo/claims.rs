//! Keys that accounts claim: each waits until its owner logs in with it and confirms. A claim is two
//! items, written and deleted together: one is found by its key, and one by its account.
//!
//! Whoever makes a key an account's reads the claims on it and deletes them in the same transaction.

use super::Dynamo;
use super::change::ChangePlan;
use super::item::Row;
use super::key::{self, Key, SORT};
use super::keys;
use super::table::Range;
use super::write::{Condition, Write};
use crate::chat::access::{KeyRecord, WAITS};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::store::change::{MAX_CLAIMS, MAX_KEYS};
use crate::store::{Account, ChangeError, StoreError};

/// The end of a claim, if it is still there.
fn end(key: &Fingerprint, account: AccountId) -> [Write; 2] {
    [
        Write::delete(Key::claim(key, account)).when(Condition::Present),
        Write::delete(Key::claimed(account, key)),
    ]
}

/// What is still good of the claims that were read.
fn good(rows: Vec<Row>, now: Time) -> Result<Vec<Row>, StoreError> {
    let mut good = Vec::with_capacity(rows.len());
    for row in rows {
        if !row.is_over(now)? {
            good.push(row);
        }
    }
    Ok(good)
}

impl Dynamo {
    /// The claims on a key that were not ended, over or not.
    async fn claims_on(&self, key: &Fingerprint) -> Result<Vec<Row>, StoreError> {
        self.table.all(&Range::all(key::claims_on(key))).await
    }

    /// The keys that an account claims, the oldest claim first.
    pub(super) async fn claimed_by(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let rows = self.table.all(&Range::all(key::claims_of(account))).await?;
        let claimed = good(rows, now)?;
        let claimed = claimed.iter().map(keys::read);
        let mut claimed = claimed.collect::<Result<Vec<KeyRecord>, StoreError>>()?;
        keys::oldest_first(&mut claimed);
        Ok(claimed)
    }

    /// The accounts that claim a key, the oldest claim first.
    pub(super) async fn claiming(
        &self,
        key: &Fingerprint,
        now: Time,
    ) -> Result<Vec<Account>, StoreError> {
        let claims = good(self.claims_on(key).await?, now)?;
        let mut accounts = Vec::with_capacity(claims.len());
        for claim in claims {
            let record = self.record(claim.account(SORT)?).await?;
            let since = claim.time("added")?;
            accounts.extend(record.map(|record| (since, record.account)));
        }
        accounts.sort_by_key(|(since, account)| (*since, account.id));
        Ok(accounts.into_iter().map(|(_, account)| account).collect())
    }

    /// Has an account claim a key, unless it does already or the key is an account's.
    pub(super) async fn claim_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let fingerprint = &key.fingerprint;
        let guard = Key::fingerprint(fingerprint);
        let (record, owner, claimed, claims) = tokio::join!(
            self.record(account),
            self.owner(&guard),
            self.claimed_by(account, now),
            self.claims_on(fingerprint)
        );
        let record = record?.ok_or(ChangeError::NoAccount)?;
        match owner? {
            Some(owner) if owner == account => return Ok(ChangePlan::unchanged()),
            Some(_) => return Err(ChangeError::KeyTaken),
            None => {}
        }
        let claimed = claimed?;
        if claimed.iter().any(|key| key.fingerprint == *fingerprint) {
            return Ok(ChangePlan::unchanged());
        }
        if record.keys.len() + claimed.len() >= MAX_KEYS {
            return Err(ChangeError::TooManyKeys);
        }
        if good(claims?, now)?.len() >= MAX_CLAIMS {
            return Err(ChangeError::TooManyClaims);
        }
        let until = Some(key.added.plus(WAITS));
        let put = |at| Write::put(at, |item| keys::with(item, key).until(until));
        Ok(ChangePlan::done(vec![
            put(Key::claim(fingerprint, account)),
            put(Key::claimed(account, fingerprint)),
            Write::check(guard).when(Condition::Absent),
            record.unchanged(),
        ]))
    }

    /// Gives an account a key that it claims.
    pub(super) async fn confirm_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let (at, guard) = (Key::claim(key, account), Key::fingerprint(key));
        let (claim, owner) = tokio::join!(self.table.get(&at), self.owner(&guard));
        if owner? == Some(account) {
            return Ok(ChangePlan::unchanged());
        }
        let claim = claim?.ok_or(ChangeError::NotFound)?;
        if claim.is_over(now)? {
            return Err(ChangeError::NotFound);
        }
        let key = KeyRecord {
            added: now,
            ..keys::read(&claim)?
        };
        self.give_key(account, &key).await
    }

    /// Ends all claims on a key.
    pub(super) async fn refuse_key(&self, key: &Fingerprint) -> Result<ChangePlan, ChangeError> {
        let ends = self.end_claims(key).await?;
        Ok(if ends.is_empty() {
            ChangePlan::unchanged()
        } else {
            ChangePlan::done(ends)
        })
    }

    /// The end of all claims on a key, as they were read.
    pub(super) async fn end_claims(&self, key: &Fingerprint) -> Result<Vec<Write>, StoreError> {
        let mut ends = Vec::new();
        for claim in self.claims_on(key).await? {
            ends.extend(end(key, claim.account(SORT)?));
        }
        Ok(ends)
    }

    /// Ends the claim of an account on a key.
    pub(super) async fn withdraw_claim(
        &self,
        account: AccountId,
        key: &Fingerprint,
    ) -> Result<ChangePlan, ChangeError> {
        let claim = self.table.get(&Key::claim(key, account)).await?;
        claim.ok_or(ChangeError::NoKey)?;
        Ok(ChangePlan::done(end(key, account).into()))
    }
}
