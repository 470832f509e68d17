//! Reading everything, in an order in which it can be written again.

use std::collections::VecDeque;

use async_trait::async_trait;

use super::merge::Merge;
use crate::chat::ids::{AccountId, Time};
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedCounters, ArchivedMarker, BATCH,
    ExportReader,
};
use crate::store::dynamo::item::{Attributes, Row};
use crate::store::dynamo::key::{self, Key};
use crate::store::dynamo::table::{Range, patiently};
use crate::store::dynamo::{Dynamo, accounts, audit, marks, rooms};

/// Before anything ends: at this time all that is kept is in force.
const ALWAYS: Time = Time(i64::MIN);

/// Everything, part after part.
pub(super) struct Export<'a> {
    dynamo: &'a Dynamo,
    part: Part<'a>,
}

/// What is read next.
enum Part<'a> {
    /// Accounts, from there on; whose marks are to be read then.
    Accounts(Option<Attributes>, VecDeque<AccountId>),
    /// The marks of these.
    Marks(VecDeque<AccountId>),
    /// What a server has in memory anyway: rooms, invites, bans and the like.
    Lists,
    /// Audit entries, from there on, of which so many have been read.
    Audit(Option<Attributes>, u64),
    /// The logs, once it is looked up where they end.
    Logs(Option<Merge<'a>>),
}

#[async_trait]
impl ExportReader for Export<'_> {
    async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        patiently(self.page()).await
    }
}

impl<'a> Export<'a> {
    pub(super) fn new(dynamo: &'a Dynamo) -> Export<'a> {
        Export {
            dynamo,
            part: Part::Accounts(None, VecDeque::new()),
        }
    }

    async fn page(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        loop {
            let page = match &mut self.part {
                Part::Accounts(..) => self.accounts().await?,
                Part::Marks(..) => self.marks().await?,
                Part::Lists => self.lists().await?,
                Part::Audit(..) => self.audit().await?,
                Part::Logs(Some(merge)) => return merge.next().await,
                Part::Logs(merge) => {
                    *merge = Some(Merge::new(self.dynamo).await?);
                    continue;
                }
            };
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    async fn accounts(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let Part::Accounts(from, read) = &mut self.part else {
            return Ok(Vec::new());
        };
        let all = Range::all(key::ACCOUNTS);
        let page = self.dynamo.table.page(&all, from.take()).await?;
        let mut records = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            let record = accounts::Record::read(row)?;
            read.push_back(record.account.id);
            records.push(ArchiveRecord::Account(Box::new(person(record))));
        }
        self.part = match page.next {
            None => Part::Marks(std::mem::take(read)),
            next => Part::Accounts(next, std::mem::take(read)),
        };
        Ok(records)
    }

    async fn marks(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let Part::Marks(accounts) = &mut self.part else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        while records.len() < BATCH {
            let Some(account) = accounts.pop_front() else {
                self.part = Part::Lists;
                break;
            };
            let range = Range::all(key::marks(account));
            for row in self.dynamo.table.all(&range).await? {
                let mark = marks::read(&row)?;
                records.push(ArchiveRecord::Mark(ArchivedMarker {
                    account,
                    conversation: row.conversation()?,
                    seq: mark.seq,
                    at: mark.at,
                }));
            }
        }
        Ok(records)
    }

    async fn lists(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let dynamo = self.dynamo;
        let mut records = Vec::new();
        for row in dynamo.table.all(&Range::all(key::ROOMS)).await? {
            records.push(ArchiveRecord::Room(rooms::read(&row)?));
        }
        let invites = dynamo.good_invites(ALWAYS).await?;
        records.extend(invites.into_iter().map(ArchiveRecord::Invite));
        let waiting = dynamo.all_pending().await?;
        records.extend(waiting.into_iter().map(ArchiveRecord::Pending));
        // The bans first: one that comes meanwhile has a number that is not given again.
        let bans = dynamo.current_bans(ALWAYS).await?;
        let last = dynamo.table.get(&Key::ban_number()).await?;
        let ban = last
            .as_ref()
            .map_or(Ok(0), |row: &Row| row.number("number"))?;
        if ban > 0 {
            records.push(ArchiveRecord::Numbers(ArchivedCounters { ban }));
        }
        records.extend(bans.into_iter().map(ArchiveRecord::Ban));
        let mutes = dynamo.current_mutes(ALWAYS).await?;
        records.extend(mutes.into_iter().map(ArchiveRecord::Mute));
        let lockdown = dynamo.current_lockdown(ALWAYS).await?;
        records.extend(lockdown.map(ArchiveRecord::Lockdown));
        self.part = Part::Audit(None, 0);
        Ok(records)
    }

    async fn audit(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let Part::Audit(from, number) = &mut self.part else {
            return Ok(Vec::new());
        };
        let all = Range::all(key::AUDIT);
        let page = self.dynamo.table.page(&all, from.take()).await?;
        let mut records = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            *number += 1;
            records.push(ArchiveRecord::Audit(ArchivedAudit::new(
                *number,
                audit::read(row)?,
            )));
        }
        self.part = match page.next {
            None => Part::Logs(None),
            next => Part::Audit(next, *number),
        };
        Ok(records)
    }
}

/// An account with all that is its own.
pub(super) fn person(record: accounts::Record) -> ArchivedAccount {
    ArchivedAccount::new(record.account, record.names, record.keys)
}
