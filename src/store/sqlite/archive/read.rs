//! Reading everything, in an order in which it can be written again.

use rusqlite::{Connection, Row};

use super::{Outlet, Stop};
use crate::chat::ids::{AccountId, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedCounters, ArchivedMarker,
};
use crate::store::sqlite::messages::{to_conversation, unsigned};
use crate::store::sqlite::{accounts, audit, bans, entries, invites, keys, mutes, pending, rooms};

/// Before anything ends: at this time all that is kept is in force.
pub(super) const ALWAYS: Time = Time(i64::MIN);

/// Gives out all that there is at this moment.
pub(super) fn all(db: &Connection, out: &mut Outlet) -> Result<(), Stop> {
    // Ends with the connection.
    db.execute_batch("BEGIN")?;
    every_record(db, out)
}

/// The same within a transaction of the caller.
pub(in crate::store::sqlite) fn every_record(
    db: &Connection,
    out: &mut Outlet,
) -> Result<(), Stop> {
    people(db, out)?;
    marks(db, out)?;
    for room in rooms::all(db)? {
        out.put(ArchiveRecord::Room(rooms::archived(room)))?;
    }
    for invite in invites::good(db, ALWAYS)? {
        out.put(ArchiveRecord::Invite(invite))?;
    }
    for pending in pending::all(db)? {
        out.put(ArchiveRecord::Pending(pending))?;
    }
    let ban = bans::last(db)?;
    if ban > 0 {
        out.put(ArchiveRecord::Numbers(ArchivedCounters { ban }))?;
    }
    for ban in bans::current(db, ALWAYS)? {
        out.put(ArchiveRecord::Ban(ban))?;
    }
    for mute in mutes::current(db, ALWAYS)? {
        out.put(ArchiveRecord::Mute(mute))?;
    }
    if let Some(lockdown) = mutes::lockdown(db, ALWAYS)? {
        out.put(ArchiveRecord::Lockdown(lockdown))?;
    }
    orders(db, out)?;
    messages(db, out)?;
    out.flush()
}

fn people(db: &Connection, out: &mut Outlet) -> Result<(), Stop> {
    let columns = accounts::COLUMNS;
    let mut statement = db.prepare(&format!("SELECT {columns} FROM accounts a ORDER BY a.id"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let account = accounts::to_account(row)?;
        let person = person(db, account)?;
        out.put(ArchiveRecord::Account(Box::new(person)))?;
    }
    Ok(())
}

/// An account with its names and keys.
pub(super) fn person(
    db: &Connection,
    account: crate::store::Account,
) -> Result<ArchivedAccount, StoreError> {
    let names = accounts::names(db, account.id)?;
    let keys = keys::of(db, account.id)?;
    Ok(ArchivedAccount::new(account, names, keys))
}

fn marks(db: &Connection, out: &mut Outlet) -> Result<(), Stop> {
    let mut statement = db.prepare(
        "SELECT m.account, c.key, m.seq, m.at
         FROM marks m JOIN conversations c ON c.id = m.conversation ORDER BY m.account, c.key",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        out.put(ArchiveRecord::Mark(to_reading(row)?))?;
    }
    Ok(())
}

fn to_reading(row: &Row<'_>) -> Result<ArchivedMarker, StoreError> {
    let key: String = row.get(1)?;
    Ok(ArchivedMarker {
        account: AccountId(u128::from_be_bytes(row.get(0)?)),
        conversation: to_conversation(&key)?,
        seq: Seq(unsigned(row.get(2)?)?),
        at: Time(row.get(3)?),
    })
}

fn orders(db: &Connection, out: &mut Outlet) -> Result<(), Stop> {
    let columns = audit::COLUMNS;
    let mut statement = db.prepare(&format!("SELECT {columns} FROM audit ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut number = 0;
    while let Some(row) = rows.next()? {
        number += 1;
        let order = ArchivedAudit::new(number, audit::to_audit(row)?);
        out.put(ArchiveRecord::Audit(order))?;
    }
    Ok(())
}

/// In the order of arrival, whatever the conversation.
fn messages(db: &Connection, out: &mut Outlet) -> Result<(), Stop> {
    let columns = entries::COLUMNS;
    let mut statement = db.prepare(&format!(
        "SELECT {columns}, c.key
         FROM messages m CROSS JOIN conversations c ON c.id = m.conversation ORDER BY m.id"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get("key")?;
        let entry = entries::to_entry(row, &to_conversation(&key)?)?;
        out.put(ArchiveRecord::Message(entry))?;
    }
    Ok(())
}
