//! Audit entries, and the revision, by which other processes notice a change.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Dynamo;
use super::item::{StoredItem, number as attribute};
use super::key::{self, ItemKey, number};
use super::table::KeyRange;
use super::write::ItemWrite;
use crate::chat::access::{Actor, AuditEntry};
use crate::chat::ids::Time;
use crate::clock;
use crate::store::StoreError;

/// The most entries per page.
const PAGE: usize = 1_000;

/// Generates ids for entries that sort in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct AuditIds(AtomicU64);

impl AuditIds {
    /// A unique id: the time in microseconds, increasing even if the clock steps back, and a random
    /// number, since other processes write entries, too.
    pub fn next(&self) -> String {
        let micros = self.next_micros(clock::now());
        format!("{}-{:016x}", number(micros), rand::random::<u64>())
    }

    fn next_micros(&self, now: Time) -> u64 {
        let now = u64::try_from(now.0).unwrap_or(0).saturating_mul(1000);
        let next = |last: u64| now.max(last.saturating_add(1));
        let previous = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        match previous {
            Ok(last) | Err(last) => next(last),
        }
    }
}

/// Creates an entry.
pub(super) fn create_entry(key: ItemKey, audit: &AuditEntry) -> ItemWrite {
    let account = audit.actor.account().map(|account| account.to_string());
    ItemWrite::create(key, |item| {
        item.number("at", audit.at.0)
            .text("actor", &audit.actor.to_string())
            .text("actor_kind", audit.actor.kind())
            .text_opt("actor_account", account.as_deref())
            .text("action", audit.action.as_str())
            .text("target", audit.target.as_str())
            .text("detail", audit.detail.as_str())
    })
}

/// Changes the revision.
pub(super) fn bump_revision() -> ItemWrite {
    ItemWrite::update(ItemKey::revision()).add("number", attribute(1))
}

impl Dynamo {
    /// The newest entries, newest first, in the order of arrival.
    pub(super) async fn newest_audit_entries(
        &self,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut audits = Vec::new();
        let range = KeyRange::all(key::AUDIT)
            .reversed()
            .page_size(limit.min(PAGE));
        let mut from = None;
        while audits.len() < limit {
            let page = self.table.query_page(&range, from).await?;
            for item in page.items.iter().take(limit - audits.len()) {
                audits.push(stored_entry(item)?);
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok(audits)
    }

    /// The revision: a different number after every change that concerns people who are online.
    pub(super) async fn current_revision(&self) -> Result<u64, StoreError> {
        match self.table.get(&ItemKey::revision()).await? {
            Some(item) => item.number("number"),
            None => Ok(0),
        }
    }
}

fn actor(item: &StoredItem) -> Result<Actor, StoreError> {
    let account = item.text_opt("actor_account")?.map(str::parse);
    let account = account.transpose();
    let account = account.map_err(|_| item.corrupt("an invalid actor_account"))?;
    let kind = item.text_opt("actor_kind")?;
    Ok(Actor::from_parts(
        kind,
        account,
        item.line("actor")?.as_str(),
    ))
}

pub(super) fn stored_entry(item: &StoredItem) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        at: item.time("at")?,
        actor: actor(item)?,
        action: item.line("action")?.to_string(),
        target: item.line("target")?,
        detail: item.line("detail")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_even_if_the_clock_steps_back() {
        let ids = AuditIds::default();
        let micros = [5, 5, 3, 6, -1].map(|now| ids.next_micros(Time(now)));
        assert_eq!(micros, [5_000, 5_001, 5_002, 6_000, 6_001]);
        let (first, second) = (ids.next(), ids.next());
        assert!(first < second, "{first} {second}");
    }
}
