//! What operators did, and the number that tells other processes that something changed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Dynamo;
use super::item::Row;
use super::key::{self, Key, number};
use super::table::Range;
use super::write::Write;
use crate::chat::access::{Actor, AuditEntry};
use crate::chat::ids::Time;
use crate::clock;
use crate::store::StoreError;

/// The most entries that are asked for at a time.
const PAGE: usize = 1_000;

/// Names entries so that the order of the names is the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Arrivals(AtomicU64);

impl Arrivals {
    /// A name that nothing has: when it came, in microseconds, later than the one before even if
    /// the clock steps back; and something random, since others write as well.
    pub fn id(&self) -> String {
        let moment = self.moment(clock::now());
        format!("{}-{:016x}", number(moment), rand::random::<u64>())
    }

    fn moment(&self, now: Time) -> u64 {
        let now = u64::try_from(now.0).unwrap_or(0).saturating_mul(1000);
        let next = |last: u64| now.max(last.saturating_add(1));
        let took = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        match took {
            Ok(last) | Err(last) => next(last),
        }
    }
}

/// A new entry there.
pub(super) fn entry(key: Key, audit: &AuditEntry) -> Write {
    let account = audit.actor.account().map(|account| account.to_string());
    Write::create(key, |item| {
        item.number("at", audit.at.0)
            .text("actor", &audit.actor.to_string())
            .text("actor_kind", audit.actor.kind())
            .maybe_text("actor_account", account.as_deref())
            .text("action", audit.action.as_str())
            .text("target", audit.target.as_str())
            .text("detail", audit.detail.as_str())
    })
}

impl Dynamo {
    /// The newest entries, newest first: in the order of arrival, since clocks step back.
    pub(super) async fn newest_audits(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let mut audits = Vec::new();
        let range = Range::all(key::AUDIT).backwards().page(limit.min(PAGE));
        let mut from = None;
        while audits.len() < limit {
            let page = self.table.page(&range, from).await?;
            for row in page.rows.iter().take(limit - audits.len()) {
                audits.push(read(row)?);
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok(audits)
    }

    /// Another number whenever something changed that people online are measured by.
    pub(super) async fn revised(&self) -> Result<u64, StoreError> {
        match self.table.get(&Key::revision()).await? {
            Some(row) => row.number("number"),
            None => Ok(0),
        }
    }
}

fn actor(row: &Row) -> Result<Actor, StoreError> {
    let account = row.maybe_text("actor_account")?.map(str::parse);
    let account = account.transpose();
    let account = account.map_err(|_| row.bad("a bad actor_account"))?;
    let kind = row.maybe_text("actor_kind")?;
    Ok(Actor::from_parts(
        kind,
        account,
        row.line("actor")?.as_str(),
    ))
}

pub(super) fn read(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        at: row.time("at")?,
        actor: actor(row)?,
        action: row.line("action")?.to_string(),
        target: row.line("target")?,
        detail: row.line("detail")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_later_even_if_the_clock_steps_back() {
        let arrivals = Arrivals::default();
        let moments = [5, 5, 3, 6, -1].map(|now| arrivals.moment(Time(now)));
        assert_eq!(moments, [5_000, 5_001, 5_002, 6_000, 6_001]);
        let (first, second) = (arrivals.id(), arrivals.id());
        assert!(first < second, "{first} {second}");
    }
}
