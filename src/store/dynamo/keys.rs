//! The keys of accounts.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Dynamo;
use super::change::ChangePlan;
use super::item::{Item, Row};
use super::key::Key;
use super::pending::no_longer;
use super::write::Write;
use crate::chat::access::KeyRecord;
use crate::chat::ids::{AccountId, Fingerprint};
use crate::store::change::MAX_KEYS;
use crate::store::{ChangeError, StoreError};
use crate::text::Text;

pub(super) fn oldest_first(keys: &mut [KeyRecord]) {
    keys.sort_by(|a, b| (a.added, &a.fingerprint).cmp(&(b.added, &b.fingerprint)));
}

impl Dynamo {
    /// The keys of an account, the oldest first.
    pub(super) async fn keys_with(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        let record = self.record(account).await?;
        let mut keys = record.map(|record| record.keys).unwrap_or_default();
        oldest_first(&mut keys);
        Ok(keys)
    }

    pub(super) async fn give_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
    ) -> Result<ChangePlan, ChangeError> {
        let guard = Key::fingerprint(&key.fingerprint);
        let (record, owner, waits) = tokio::join!(
            self.record(account),
            self.owner(&guard),
            self.waits(&key.fingerprint)
        );
        let record = record?.ok_or(ChangeError::NoAccount)?;
        match owner? {
            Some(owner) if owner == account => return Ok(ChangePlan::unchanged()),
            Some(_) => return Err(ChangeError::KeyTaken),
            None => {}
        }
        let mut keys = record.keys.clone();
        if keys.len() >= MAX_KEYS {
            return Err(ChangeError::TooManyKeys);
        }
        keys.push(key.clone());
        let mut writes = no_longer([(&key.fingerprint, waits?)]);
        writes.push(record.change().set("keys", list(&keys)));
        writes.push(Write::create(guard, |item| {
            item.text("account", &account.to_string())
        }));
        Ok(ChangePlan::done(writes))
    }

    pub(super) async fn take_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
    ) -> Result<ChangePlan, ChangeError> {
        let record = self.record(account).await?.ok_or(ChangeError::NoKey)?;
        if !record.keys.iter().any(|known| known.fingerprint == *key) {
            return self.withdraw_claim(account, key).await;
        }
        let mut keys = record.keys.clone();
        keys.retain(|known| known.fingerprint != *key);
        if keys.is_empty() && !last {
            return Err(ChangeError::LastKey);
        }
        Ok(ChangePlan::done(vec![
            record.change().set("keys", list(&keys)),
            Write::delete(Key::fingerprint(key)),
        ]))
    }
}

/// Keys as they are in an account.
pub(super) fn list<'a>(keys: impl IntoIterator<Item = &'a KeyRecord>) -> AttributeValue {
    let part = |key| AttributeValue::M(with(Item::part(), key).into_attributes());
    AttributeValue::L(keys.into_iter().map(part).collect())
}

/// An item, or a part of one, with what is known of a key.
pub(super) fn with(item: Item, key: &KeyRecord) -> Item {
    item.text("fingerprint", key.fingerprint.as_str())
        .text("algorithm", key.algorithm.as_str())
        .text("comment", key.comment.as_str())
        .number("added", key.added.0)
}

/// What [`with`] wrote.
pub(super) fn read(row: &Row) -> Result<KeyRecord, StoreError> {
    Ok(KeyRecord {
        fingerprint: Fingerprint::stored(row.text("fingerprint")?),
        algorithm: row.line("algorithm")?,
        comment: Text::stored(row.text("comment")?),
        added: row.time("added")?,
    })
}
