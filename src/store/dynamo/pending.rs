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
use crate::chat::access::PendingKey;
use crate::chat::ids::Fingerprint;
use crate::store::change::MAX_PENDING;
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
    let key = &pending.key.fingerprint;
    vec![
        Write::update(Key::waiting())
            .add("number", number(1))
            .when(Condition::NoneOrAtMost("number", number(MAX_PENDING - 1))),
        Write::create(Key::pending(key), |item| {
            keys::with(item, &pending.key)
                .text("name", pending.name.as_str())
                .text("from", &pending.from)
                .number("at", pending.at.0)
        }),
        Write::check(Key::fingerprint(key)).when(Condition::Absent),
    ]
}

impl Dynamo {
    pub(super) async fn waits(&self, key: &Fingerprint) -> Result<bool, StoreError> {
        Ok(self.table.get(&Key::pending(key)).await?.is_some())
    }

    /// Has a key wait, unless it does already. One that has become an account's meanwhile has
    /// nothing to wait for.
    pub(super) async fn have_wait(&self, pending: &PendingKey) -> Result<ChangePlan, ChangeError> {
        let key = &pending.key.fingerprint;
        let guard = Key::fingerprint(key);
        let (waits, owner) = tokio::join!(self.waits(key), self.owner(&guard));
        if waits? {
            return Ok(ChangePlan::unchanged());
        }
        if owner?.is_some() {
            return Err(ChangeError::KeyTaken);
        }
        Ok(ChangePlan {
            // Nothing else is in its way, and it does not wait already.
            refusal: Some((NUMBER, ChangeError::TooManyPending)),
            ..ChangePlan::done(begin_wait(pending))
        })
    }

    /// All that wait, the oldest first.
    pub(super) async fn all_waiting(&self) -> Result<Vec<PendingKey>, StoreError> {
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
    ) -> Result<ChangePlan, ChangeError> {
        let row = self.table.get(&Key::pending(key)).await?;
        let pending = read(&row.ok_or(ChangeError::NotFound)?)?;
        let mut writes = no_longer([(key, true)]);
        if let Some(account) = account
            && self.claim(account, &pending.key).await? != Claim::Made
        {
            writes = make(account, &pending.key, true)?;
        }
        Ok(ChangePlan::to(ChangeOutcome::Settled(pending), writes))
    }
}

pub(super) fn read(row: &Row) -> Result<PendingKey, StoreError> {
    Ok(PendingKey {
        key: keys::read(row)?,
        name: row.name("name")?,
        from: row.line("from")?.to_string(),
        at: row.time("at")?,
    })
}
