//! Who may not speak, and whether anybody new may come in.

use super::Dynamo;
use super::item::Row;
use super::key::{self, Key, SORT};
use super::table::Range;
use super::write::Write;
use crate::chat::access::{Lockdown, LockdownScope, Mute};
use crate::chat::ids::Time;
use crate::store::StoreError;
use crate::text::Text;

impl Dynamo {
    /// All that are not over.
    pub(super) async fn current_mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        let mut mutes = Vec::new();
        for row in self.table.all(&Range::all(key::MUTES)).await? {
            if !row.is_over(now)? {
                mutes.push(read(&row)?);
            }
        }
        Ok(mutes)
    }

    /// The lockdown, if it is not over.
    pub(super) async fn current_lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        match self.table.get(&Key::lockdown()).await? {
            Some(row) if !row.is_over(now)? => read_lockdown(&row).map(Some),
            _ => Ok(None),
        }
    }
}

/// A mute, whatever was there before.
pub(super) fn put(mute: &Mute) -> Write {
    Write::put(Key::mute(mute.account), |item| {
        item.text("by", &mute.by.to_string())
            .until(mute.until)
            .maybe_text("reason", mute.reason.as_ref().map(Text::as_str))
    })
}

/// The lockdown, whatever was there before.
pub(super) fn put_lockdown(lockdown: &Lockdown) -> Write {
    let scope = (!lockdown.scope.is_everyone()).then(|| lockdown.scope.as_str());
    Write::put(Key::lockdown(), |item| {
        item.text("by", &lockdown.by.to_string())
            .until(lockdown.until)
            .maybe_text("scope", scope)
    })
}

pub(super) fn read(row: &Row) -> Result<Mute, StoreError> {
    Ok(Mute {
        account: row.account(SORT)?,
        by: row.issuer("by")?,
        until: row.until()?,
        reason: row.reason()?,
    })
}

pub(super) fn read_lockdown(row: &Row) -> Result<Lockdown, StoreError> {
    Ok(Lockdown {
        scope: LockdownScope::from_stored(row.maybe_text("scope")?),
        by: row.issuer("by")?,
        until: row.until()?,
    })
}
