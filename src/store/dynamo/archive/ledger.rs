//! The audit as an import sees it.
//!
//! In an archive its entries are numbered; in the table they have names in the order of arrival.
//! An entry that is taken into an audit of nothing but such entries is named by its number, so it
//! is found by it. Behind entries that were made here, which are named by their time, the ones
//! that are taken come later than the last of them, and to know the number of one they must be
//! counted.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::chat::access::AuditEntry;
use crate::store::StoreError;
use crate::store::archive::{ArchiveRecord, ArchivedAudit, ImportConflict};
use crate::store::dynamo::Dynamo;
use crate::store::dynamo::audit::{entry, read};
use crate::store::dynamo::key::{self, Key};
use crate::store::dynamo::table::Range;
use crate::store::dynamo::write::Write;

/// The entries of a batch that are there, and the end behind which the others go.
pub(super) struct Ledger {
    found: HashMap<u64, AuditEntry>,
    /// The number of the last.
    last: u64,
    /// When the last was made that is not named by its number, in microseconds.
    made: Option<u64>,
}

impl Ledger {
    /// Looks up the entries with these numbers.
    pub(super) async fn look(
        dynamo: &Dynamo,
        wanted: RangeInclusive<u64>,
    ) -> Result<Ledger, StoreError> {
        let (first, last) = (key::number(*wanted.start()), key::number(*wanted.end()));
        let range = Range::all(key::AUDIT).between(first, last);
        let mut found = HashMap::new();
        for row in dynamo.table.all(&range).await? {
            if let Some(number) = numbered(row.sort()?) {
                found.insert(number, read(&row)?);
            }
        }
        let end = Range::all(key::AUDIT).backwards().page(1);
        let end = dynamo.table.page(&end, None).await?;
        let mut ledger = Ledger {
            found,
            last: 0,
            made: None,
        };
        let Some(end) = end.rows.first() else {
            return Ok(ledger);
        };
        let name = end.sort()?;
        if let Some(last) = numbered(name) {
            ledger.last = last;
            return Ok(ledger);
        }
        let bad = || end.bad(format_args!("the bad name {name:?}"));
        ledger.made = Some(moment(name).ok_or_else(bad)?);
        // If all of them are there, it does not matter how many others are.
        if wanted
            .clone()
            .any(|number| !ledger.found.contains_key(&number))
        {
            ledger.count(dynamo, wanted).await?;
        }
        Ok(ledger)
    }

    /// Counts from the first entry on.
    async fn count(
        &mut self,
        dynamo: &Dynamo,
        wanted: RangeInclusive<u64>,
    ) -> Result<(), StoreError> {
        let mut from = None;
        loop {
            let page = dynamo.table.page(&Range::all(key::AUDIT), from).await?;
            for row in &page.rows {
                self.last += 1;
                if wanted.contains(&self.last) {
                    self.found.insert(self.last, read(row)?);
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// The write that takes an entry; `None` if it is there.
    pub(super) fn take(&mut self, order: &ArchivedAudit) -> Result<Option<Write>, ImportConflict> {
        let audit = order.audit();
        match self.found.get(&order.number) {
            Some(found) if *found == audit => return Ok(None),
            Some(found) => {
                let found = ArchiveRecord::Audit(ArchivedAudit::new(order.number, found.clone()));
                return Err(ArchiveRecord::Audit(order.clone()).conflict_with(&found));
            }
            None if order.number != self.last.saturating_add(1) => {
                return Err(ImportConflict::Gap(self.last));
            }
            None => {}
        }
        let name = match self.made {
            None => key::number(order.number),
            Some(made) => format!(
                "{}-{:016x}",
                key::number(made.saturating_add(1)),
                order.number
            ),
        };
        let write = entry(Key::audit(&name), &audit);
        self.last = order.number;
        self.found.insert(order.number, audit);
        Ok(Some(write))
    }
}

/// The number by which an entry is named, if it is.
fn numbered(name: &str) -> Option<u64> {
    name.parse().ok()
}

/// The time by which an entry is named.
fn moment(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}
