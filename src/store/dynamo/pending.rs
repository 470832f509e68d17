//! Keys that wait for an operator, and how many: an item has the number, which every transaction
//! changes that has a key wait or ends its waiting.

use super::Dynamo;
use super::accounts::{Claim, make};
use super::change::ChangePlan;
use super::item::{Row, number};
use super::key::{self, Key};
use super::keys;
use super::table::Range;
use super::write::{Condition, Write};
use crate::chat::access::{PendingKey, stored_address};
use crate::chat::ids::{Fingerprint, Time};
use crate::store::change::{MAX_DENIED, MAX_PENDING, can_wait};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError};

/// Where the write about their number is in [`begin_wait`].
const NUMBER: usize = 0;

/// Keys wait no longer, given of each whether it did when that was read.
pub(super) fn no_longer<'a>(keys: impl IntoIterator<Item = (&'a Fingerprint, bool)>) -> Vec<Write> {
    let mut waited = 0;
    let mut writes = Vec::new();
    for (key, waits) in keys {
        let pending = Key::pending(key);
        writes.push(if waits {
            waited += 1;
            Write::delete(pending).when(Condition::Present)
        } else {
            Write::check(pending).when(Condition::Absent)
        });
    }
    if waited > 0 {
        writes.push(Write::update(Key::waiting()).add("number", number(-waited)));
    }
    writes
}

/// A key waits, unless it does already, or is an account's, or too many do.
pub(super) fn begin_wait(pending: &PendingKey) -> Vec<Write> {
    begin_wait_after(pending, &[])
}

/// The same in place of keys that have waited too long, of which it may be one.
fn begin_wait_after(pending: &PendingKey, over: &[&PendingKey]) -> Vec<Write> {
    let key = &pending.key.fingerprint;
    let (before, others): (Vec<&PendingKey>, Vec<&PendingKey>) =
        over.iter().partition(|over| over.key.fingerprint == *key);
    let as_before = |over: &PendingKey| Condition::Is("at", number(over.at.0));
    let unless_changed = before
        .first()
        .map_or(Condition::Absent, |over| as_before(over));
    let most = MAX_PENDING.saturating_add(over.len()).saturating_sub(1);
    let more = 1 - i64::try_from(over.len()).unwrap_or(0);
    let put = Write::put(Key::pending(key), |item| {
        keys::with(item, &pending.key)
            .text("name", pending.name.as_str())
            .text("from", &pending.from.to_string())
            .number("at", pending.at.0)
    });
    let mut writes = vec![
        Write::update(Key::waiting())
            .add("number", number(more))
            .when(Condition::NoneOrAtMost("number", number(most))),
        put.when(unless_changed),
        Write::check(Key::fingerprint(key)).when(Condition::Absent),
    ];
    writes.extend(
        others
            .into_iter()
            .map(|over| Write::delete(Key::pending(&over.key.fingerprint)).when(as_before(over))),
    );
    writes
}

impl Dynamo {
    pub(super) async fn waits(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        Ok(self.table.get(&Key::pending(key)).await?.is_some())
    }

    /// Has a key wait, unless it does already. One that has become an account's meanwhile has
    /// nothing to wait for.
    pub(super) async fn have_wait(
        &self,
        pending: &PendingKey,
        per_source: Option<usize>,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let key = &pending.key.fingerprint;
        let guard = Key::fingerprint(key);
        let (all, owner) = tokio::join!(self.all_pending(), self.owner(&guard));
        let (mut over, waiting): (Vec<PendingKey>, Vec<PendingKey>) =
            all?.into_iter().partition(|waiting| waiting.is_over(now));
        if waiting
            .iter()
            .any(|waiting| waiting.key.fingerprint == *key)
        {
            return Ok(ChangePlan::unchanged());
        }
        if owner?.is_some() {
            return Err(ChangeError::KeyTaken);
        }
        can_wait(pending, per_source, &waiting)?;
        // Its own first, since it takes that one's place.
        over.sort_by_key(|over| over.key.fingerprint != *key);
        let over: Vec<&PendingKey> = over.iter().take(MAX_DENIED).collect();
        Ok(ChangePlan {
            // Nothing else is in its way, and it does not wait already.
            refusal: Some((NUMBER, ChangeError::TooManyPending)),
            ..ChangePlan::done(begin_wait_after(pending, &over))
        })
    }

    /// All that still wait, the oldest first.
    pub(super) async fn all_waiting(&self, now: Time) -> Result<Vec<PendingKey>, StoreError> {
        let mut waiting = self.all_pending().await?;
        waiting.retain(|pending| !pending.is_over(now));
        Ok(waiting)
    }

    /// All that wait or have waited too long, the oldest first.
    pub(super) async fn all_pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        let rows = self.table.all(&Range::all(key::PENDING)).await?;
        let waiting = rows.iter().map(read);
        let mut waiting = waiting.collect::<Result<Vec<PendingKey>, StoreError>>()?;
        waiting.sort_by(|a, b| (a.at, &a.key.fingerprint).cmp(&(b.at, &b.key.fingerprint)));
        Ok(waiting)
    }

    /// Ends the waiting of a key, with an account or without.
    pub(super) async fn end_wait(
        &self,
        key: &Fingerprint,
        account: Option<&Account>,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let row = self.table.get(&Key::pending(key)).await?;
        let pending = read(&row.ok_or(ChangeError::NotFound)?)?;
        if pending.is_over(now) {
            return Err(ChangeError::NotFound);
        }
        let mut writes = no_longer([(key, true)]);
        if let Some(account) = account
            && self.claim(account, &pending.key).await? != Claim::Made
        {
            writes = make(account, &pending.key, true)?;
        }
        Ok(ChangePlan::to(ChangeOutcome::Settled(pending), writes))
    }

    /// Ends the waiting of those of these keys that wait.
    pub(super) async fn end_waits(&self, keys: &[Fingerprint]) -> Result<ChangePlan, ChangeError> {
        let keys: Vec<&Fingerprint> = keys.iter().take(MAX_DENIED).collect();
        let at: Vec<Key> = keys.iter().map(|key| Key::pending(key)).collect();
        let found = self.table.each(&at).await?;
        let waiting = keys.into_iter().zip(&at);
        let waiting = waiting.filter(|(_, at)| found.contains_key(at));
        let waiting: Vec<(&Fingerprint, bool)> = waiting.map(|(key, _)| (key, true)).collect();
        if waiting.is_empty() {
            return Err(ChangeError::NotFound);
        }
        let denied = ChangeOutcome::Denied(waiting.len());
        Ok(ChangePlan::to(denied, no_longer(waiting)))
    }
}

pub(super) fn read(row: &Row) -> Result<PendingKey, StoreError> {
    Ok(PendingKey {
        key: keys::read(row)?,
        name: row.name("name")?,
        from: stored_address(row.text("from")?),
        at: row.time("at")?,
    })
}
