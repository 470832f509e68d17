//! How far accounts have read.

use std::collections::HashMap;

use super::Dynamo;
use super::change::done;
use super::item::{Row, number};
use super::key::Key;
use super::write::{Condition, Write};
use crate::chat::ids::{AccountId, Conversation, Seq};
use crate::store::{ReadMarker, StoreError};

impl Dynamo {
    pub(super) async fn read_mark(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<ReadMarker>, StoreError> {
        let Some(row) = self.table.get(&Key::mark(account, conversation)).await? else {
            return Ok(None);
        };
        read(&row).map(Some)
    }

    /// Moves marks forward. Those of guests, who have no account, are not kept.
    pub(super) async fn keep_marks(
        &self,
        marks: &[(AccountId, Conversation, ReadMarker)],
    ) -> Result<(), StoreError> {
        // An account that is there stays.
        let mut there = HashMap::new();
        for (account, conversation, mark) in marks {
            if !there.contains_key(account) {
                let row = self.table.get(&Key::account(*account)).await?;
                there.insert(*account, row.is_some());
            }
            if there.get(account) == Some(&true) {
                self.move_mark(Key::mark(*account, conversation), *mark)
                    .await?;
            }
        }
        Ok(())
    }

    async fn move_mark(&self, key: Key, mark: ReadMarker) -> Result<(), StoreError> {
        let (seq, at) = (number(mark.seq.0), number(mark.at.0));
        let on = Write::update(key)
            .set("seq", seq.clone())
            .when(Condition::NoneOrAtMost("seq", seq));
        let later = on.clone().set("at", at.clone());
        let later = later.when(Condition::NoneOrAtMost("at", at.clone()));
        if !done(self.table.write(vec![later], None).await)? {
            // Further on at an earlier time: another clock, or another device.
            let on = on.default("at", at);
            let _further_already = done(self.table.write(vec![on], None).await)?;
        }
        Ok(())
    }
}

/// A mark where there is none.
pub(super) fn create(account: AccountId, conversation: &Conversation, mark: ReadMarker) -> Write {
    Write::create(Key::mark(account, conversation), |item| {
        item.number("seq", mark.seq.0).number("at", mark.at.0)
    })
}

pub(super) fn read(row: &Row) -> Result<ReadMarker, StoreError> {
    Ok(ReadMarker {
        seq: row.number("seq").map(Seq)?,
        at: row.time("at")?,
    })
}
