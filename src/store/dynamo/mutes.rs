//! Who may not speak, and whether anybody new may come in.

use super::Dynamo;
use super::change::revise;
use super::item::Row;
use super::key::{self, Key, SORT};
use super::table::{Range, WriteError};
use super::write::Write;
use crate::chat::access::{Audit, Lockdown, Mute};
use crate::chat::ids::{AccountId, Time};
use crate::store::StoreError;
use crate::text::Text;

impl Dynamo {
    /// Keeps a mute in place of any other of the account, or removes it.
    pub(super) async fn change_mute(
        &self,
        account: AccountId,
        mute: Option<&Mute>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let key = Key::mute(account);
        let Some(mute) = mute else {
            return self.end(&key, audit).await.map(|_was_there| ());
        };
        let mute = Mute {
            account,
            ..mute.clone()
        };
        self.replace(put(&mute), audit).await
    }

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

    /// Begins the lockdown, in place of any other, or ends it.
    pub(super) async fn change_lockdown(
        &self,
        lockdown: Option<&Lockdown>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let key = Key::lockdown();
        let Some(lockdown) = lockdown else {
            return self.end(&key, audit).await.map(|_was_there| ());
        };
        self.replace(put_lockdown(lockdown), audit).await
    }

    /// The lockdown, if it is not over.
    pub(super) async fn current_lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        match self.table.get(&Key::lockdown()).await? {
            Some(row) if !row.is_over(now)? => read_lockdown(&row).map(Some),
            _ => Ok(None),
        }
    }

    /// Puts something there, whatever was there before.
    async fn replace(&self, put: Write, audit: &Audit) -> Result<(), StoreError> {
        let put = self.change(vec![put, revise()], audit).await;
        put.map_err(WriteError::into_store)
    }
}

/// A mute, whatever was there before.
pub(super) fn put(mute: &Mute) -> Write {
    Write::put(Key::mute(mute.account), |item| {
        item.text("by", &mute.by)
            .until(mute.until)
            .maybe_text("reason", mute.reason.as_ref().map(Text::as_str))
    })
}

/// The lockdown, whatever was there before.
pub(super) fn put_lockdown(lockdown: &Lockdown) -> Write {
    Write::put(Key::lockdown(), |item| {
        item.text("by", &lockdown.by).until(lockdown.until)
    })
}

pub(super) fn read(row: &Row) -> Result<Mute, StoreError> {
    Ok(Mute {
        account: row.account(SORT)?,
        by: row.line("by")?,
        until: row.until()?,
        reason: row.reason()?,
    })
}

pub(super) fn read_lockdown(row: &Row) -> Result<Lockdown, StoreError> {
    Ok(Lockdown {
        by: row.line("by")?,
        until: row.until()?,
    })
}
