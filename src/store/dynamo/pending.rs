//! Keys that don't belong to an account yet: pending keys wait for an operator's approval, claimed
//! keys for their owner's confirmation.
//!
//! One item counts the pending keys. Every transaction that adds or removes one changes the count.
//!
//! A claim is two items, written and deleted together: one is found by its key, and one by its
//! account. A transaction that gives a key to an account deletes all claims on the key, too.

use super::Dynamo;
use super::accounts::{Creation, create_account, end_pending, sort_oldest_first};
use super::item::{StoredItem, number};
use super::key::{self, ItemKey, SORT_KEY};
use super::plan::ChangePlan;
use super::table::KeyRange;
use super::write::{Condition, ItemWrite};
use crate::chat::access::{KeyRecord, PendingKey, WAITS, stored_address};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::store::change::{MAX_CLAIMS, MAX_DENIED, MAX_KEYS, MAX_PENDING, can_wait};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError};

/// The position of the write to the count, in [`begin_pending`].
const COUNT: usize = 0;

/// Adds a pending key, unless it is pending already, belongs to an account, or too many are.
pub(super) fn begin_pending(pending: &PendingKey) -> Vec<ItemWrite> {
    begin_pending_replacing(pending, &[])
}

/// Does the same in place of expired pending keys, of which it may be one.
fn begin_pending_replacing(pending: &PendingKey, expired: &[&PendingKey]) -> Vec<ItemWrite> {
    let key = &pending.key.fingerprint;
    let (before, others): (Vec<&PendingKey>, Vec<&PendingKey>) = expired
        .iter()
        .partition(|expired| expired.key.fingerprint == *key);
    let unchanged = |expired: &PendingKey| Condition::Equals("at", number(expired.at.0));
    let condition = before
        .first()
        .map_or(Condition::Absent, |expired| unchanged(expired));
    let most = MAX_PENDING.saturating_add(expired.len()).saturating_sub(1);
    let added = 1 - i64::try_from(expired.len()).unwrap_or(0);
    let put = ItemWrite::put(ItemKey::pending(key), |item| {
        item.key_record(&pending.key)
            .text("name", pending.name.as_str())
            .text("from", &pending.from.to_string())
            .number("at", pending.at.0)
    });
    let mut writes = vec![
        ItemWrite::update(ItemKey::pending_count())
            .add("number", number(added))
            .when(Condition::MissingOrAtMost("number", number(most))),
        put.when(condition),
        ItemWrite::check(ItemKey::key_owner(key)).when(Condition::Absent),
    ];
    writes.extend(others.into_iter().map(|expired| {
        ItemWrite::delete(ItemKey::pending(&expired.key.fingerprint)).when(unchanged(expired))
    }));
    writes
}

impl Dynamo {
    pub(super) async fn is_pending(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        Ok(self.table.get(&ItemKey::pending(key)).await?.is_some())
    }

    /// Makes a key pending, unless it is already.
    pub(super) async fn add_pending(
        &self,
        pending: &PendingKey,
        per_source: Option<usize>,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let key = &pending.key.fingerprint;
        let at = ItemKey::key_owner(key);
        let (all, owner) = tokio::join!(self.all_pending(), self.owner(&at));
        let (mut expired, current): (Vec<PendingKey>, Vec<PendingKey>) =
            all?.into_iter().partition(|pending| pending.is_over(now));
        if current
            .iter()
            .any(|pending| pending.key.fingerprint == *key)
        {
            return Ok(ChangePlan::unchanged());
        }
        if owner?.is_some() {
            return Err(ChangeError::KeyTaken);
        }
        can_wait(pending, per_source, &current)?;
        // The key's own expired item first, since it must be replaced.
        expired.sort_by_key(|expired| expired.key.fingerprint != *key);
        let expired: Vec<&PendingKey> = expired.iter().take(MAX_DENIED).collect();
        Ok(ChangePlan {
            // If only this condition fails, nothing else is in the way.
            rejection: Some((COUNT, ChangeError::TooManyPending)),
            ..ChangePlan::done(begin_pending_replacing(pending, &expired))
        })
    }

    /// The pending keys that haven't expired, oldest first.
    pub(super) async fn current_pending(&self, now: Time) -> Result<Vec<PendingKey>, StoreError> {
        let mut pending = self.all_pending().await?;
        pending.retain(|pending| !pending.is_over(now));
        Ok(pending)
    }

    /// All pending keys, expired or not, oldest first.
    pub(super) async fn all_pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        let items = self.table.query_all(&KeyRange::all(key::PENDING)).await?;
        let pending = items.iter().map(stored_pending);
        let mut pending = pending.collect::<Result<Vec<PendingKey>, StoreError>>()?;
        pending.sort_by(|a, b| (a.at, &a.key.fingerprint).cmp(&(b.at, &b.key.fingerprint)));
        Ok(pending)
    }

    /// Approves a pending key by creating its account, or denies it.
    pub(super) async fn settle_pending(
        &self,
        key: &Fingerprint,
        account: Option<&Account>,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let item = self.table.get(&ItemKey::pending(key)).await?;
        let pending = stored_pending(&item.ok_or(ChangeError::NotFound)?)?;
        if pending.is_over(now) {
            return Err(ChangeError::NotFound);
        }
        let mut writes = end_pending([(key, true)]);
        if let Some(account) = account
            && self.check_creation(account, &pending.key).await? != Creation::Done
        {
            writes = create_account(account, &pending.key, true)?;
        }
        Ok(ChangePlan::with(ChangeOutcome::Settled(pending), writes))
    }

    /// Denies those of these keys that are pending, at most [`MAX_DENIED`].
    pub(super) async fn deny_pending(
        &self,
        keys: &[Fingerprint],
    ) -> Result<ChangePlan, ChangeError> {
        let keys: Vec<&Fingerprint> = keys.iter().take(MAX_DENIED).collect();
        let at: Vec<ItemKey> = keys.iter().map(|key| ItemKey::pending(key)).collect();
        let stored = self.table.get_many(&at).await?;
        let keys = keys.into_iter().zip(&at);
        let pending: Vec<(&Fingerprint, bool)> = keys
            .filter(|(_, at)| stored.contains_key(at))
            .map(|(key, _)| (key, true))
            .collect();
        if pending.is_empty() {
            return Err(ChangeError::NotFound);
        }
        let denied = ChangeOutcome::Denied(pending.len());
        Ok(ChangePlan::with(denied, end_pending(pending)))
    }
}

pub(super) fn stored_pending(item: &StoredItem) -> Result<PendingKey, StoreError> {
    Ok(PendingKey {
        key: item.key_record()?,
        name: item.name("name")?,
        from: stored_address(item.text("from")?),
        at: item.time("at")?,
    })
}

/// Deletes a claim, if it still exists.
fn delete_claim(key: &Fingerprint, account: AccountId) -> [ItemWrite; 2] {
    [
        ItemWrite::delete(ItemKey::claim(key, account)).when(Condition::Present),
        ItemWrite::delete(ItemKey::claimed(account, key)),
    ]
}

/// Claims.
impl Dynamo {
    /// The keys that an account claims, oldest claim first.
    pub(super) async fn keys_claimed_by(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let range = KeyRange::all(key::claims_of(account));
        let items = self.table.query_unexpired(&range, now).await?;
        let keys = items.iter().map(StoredItem::key_record);
        let mut keys = keys.collect::<Result<Vec<KeyRecord>, StoreError>>()?;
        sort_oldest_first(&mut keys);
        Ok(keys)
    }

    /// The accounts that claim a key, oldest claim first.
    pub(super) async fn accounts_claiming(
        &self,
        key: &Fingerprint,
        now: Time,
    ) -> Result<Vec<Account>, StoreError> {
        let mut accounts = Vec::new();
        let range = KeyRange::all(key::claims_on(key));
        for claim in self.table.query_unexpired(&range, now).await? {
            let item = self.account_item(claim.account(SORT_KEY)?).await?;
            let since = claim.time("added")?;
            accounts.extend(item.map(|item| (since, item.account)));
        }
        accounts.sort_by_key(|(since, account)| (*since, account.id));
        Ok(accounts.into_iter().map(|(_, account)| account).collect())
    }

    /// Makes an account claim a key, unless it does already or owns the key.
    pub(super) async fn claim_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let fingerprint = &key.fingerprint;
        let at = ItemKey::key_owner(fingerprint);
        let claims_on_key = KeyRange::all(key::claims_on(fingerprint));
        let (item, owner, claimed, claims) = tokio::join!(
            self.account_item(account),
            self.owner(&at),
            self.keys_claimed_by(account, now),
            self.table.query_unexpired(&claims_on_key, now)
        );
        let item = item?.ok_or(ChangeError::NoAccount)?;
        match owner? {
            Some(owner) if owner == account => return Ok(ChangePlan::unchanged()),
            Some(_) => return Err(ChangeError::KeyTaken),
            None => {}
        }
        let claimed = claimed?;
        if claimed.iter().any(|key| key.fingerprint == *fingerprint) {
            return Ok(ChangePlan::unchanged());
        }
        if item.keys.len() + claimed.len() >= MAX_KEYS {
            return Err(ChangeError::TooManyKeys);
        }
        if claims?.len() >= MAX_CLAIMS {
            return Err(ChangeError::TooManyClaims);
        }
        let until = Some(key.added.plus(WAITS));
        let put = |at| ItemWrite::put(at, |item| item.key_record(key).until(until));
        Ok(ChangePlan::done(vec![
            put(ItemKey::claim(fingerprint, account)),
            put(ItemKey::claimed(account, fingerprint)),
            ItemWrite::check(at).when(Condition::Absent),
            item.check(),
        ]))
    }

    /// Gives an account a key that it claims.
    pub(super) async fn confirm_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let (at, owner) = (ItemKey::claim(key, account), ItemKey::key_owner(key));
        let (claim, owner) = tokio::join!(self.table.get(&at), self.owner(&owner));
        if owner? == Some(account) {
            return Ok(ChangePlan::unchanged());
        }
        let claim = claim?.ok_or(ChangeError::NotFound)?;
        if claim.is_expired(now)? {
            return Err(ChangeError::NotFound);
        }
        let key = KeyRecord {
            added: now,
            ..claim.key_record()?
        };
        self.add_key(account, &key).await
    }

    /// Deletes all claims on a key.
    pub(super) async fn refuse_key(&self, key: &Fingerprint) -> Result<ChangePlan, ChangeError> {
        let deletes = self.delete_claims(key).await?;
        Ok(if deletes.is_empty() {
            ChangePlan::unchanged()
        } else {
            ChangePlan::done(deletes)
        })
    }

    /// The writes that delete all claims on a key.
    pub(super) async fn delete_claims(
        &self,
        key: &Fingerprint,
    ) -> Result<Vec<ItemWrite>, StoreError> {
        let mut deletes = Vec::new();
        let range = KeyRange::all(key::claims_on(key));
        for claim in self.table.query_all(&range).await? {
            deletes.extend(delete_claim(key, claim.account(SORT_KEY)?));
        }
        Ok(deletes)
    }

    /// Deletes the claim of an account on a key.
    pub(super) async fn withdraw_claim(
        &self,
        account: AccountId,
        key: &Fingerprint,
    ) -> Result<ChangePlan, ChangeError> {
        let claim = self.table.get(&ItemKey::claim(key, account)).await?;
        claim.ok_or(ChangeError::NoKey)?;
        Ok(ChangePlan::done(delete_claim(key, account).into()))
    }
}
