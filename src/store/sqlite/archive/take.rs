//! Writing what an archive says, unless it is there.

use rusqlite::Connection;

use super::read::person;
use crate::chat::ids::Seq;
use crate::store::archive::{
    ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedMarker, ImportConflict, ImportError,
};
use crate::store::sqlite::{
    accounts, audit, bans, invites, keys, messages, mutes, pending, rooms, search,
};
use crate::store::{RoomRecord, StoreError};

/// Why a record is not written.
enum Refusal {
    Conflict(ImportConflict),
    Store(StoreError),
}

/// Takes records, all or none, and returns how many are new.
pub(super) fn take(db: &Connection, records: &[ArchiveRecord]) -> Result<usize, ImportError> {
    let mut new = 0;
    for (index, record) in records.iter().enumerate() {
        match take_one(db, record) {
            Ok(true) => new += 1,
            Ok(false) => {}
            Err(Refusal::Conflict(why)) => return Err(why.at(index)),
            Err(Refusal::Store(error)) => return Err(error.into()),
        }
    }
    if new > 0 {
        search::catch_up(db)?;
        audit::revise(db)?;
    }
    Ok(new)
}

fn take_one(db: &Connection, record: &ArchiveRecord) -> Result<bool, Refusal> {
    if let ArchiveRecord::Numbers(numbers) = record {
        let raised = numbers.ban > bans::last(db)?;
        if raised {
            bans::skip_to(db, numbers.ban)?;
        }
        return Ok(raised);
    }
    match found(db, record)? {
        Some(found) if found == *record => return Ok(false),
        Some(found) if !is_replaceable(db, record)? => {
            return Err(record.conflict_with(&found).into());
        }
        _ => {}
    }
    match record {
        ArchiveRecord::Account(person) => add_person(db, person)?,
        ArchiveRecord::Mark(reading) => add_mark(db, reading)?,
        ArchiveRecord::Room(room) => rooms::restore(db, room)?,
        ArchiveRecord::Invite(invite) => {
            invites::insert(db, invite)?;
        }
        ArchiveRecord::Pending(key) => {
            if keys::owner(db, &key.key.fingerprint)?.is_some() {
                return Err(ImportConflict::KeyTaken(key.key.fingerprint.clone()).into());
            }
            if pending::is_full(db)? {
                return Err(ImportConflict::TooManyPending.into());
            }
            pending::insert(db, key)?;
        }
        ArchiveRecord::Ban(ban) => {
            bans::insert(db, Some(ban.id), ban)?;
        }
        ArchiveRecord::Numbers(_) => {}
        ArchiveRecord::Mute(mute) => mutes::insert(db, mute.account, mute)?,
        ArchiveRecord::Lockdown(lockdown) => mutes::insert_lockdown(db, lockdown)?,
        ArchiveRecord::Audit(order) => {
            let last = audit::last(db)?;
            if order.number != last.saturating_add(1) {
                return Err(ImportConflict::Gap(last).into());
            }
            audit::keep(db, &order.audit())?;
        }
        ArchiveRecord::Message(entry) => {
            messages::restore(db, entry)??;
        }
    }
    Ok(true)
}

/// What the file has in the place of a record.
fn found(db: &Connection, record: &ArchiveRecord) -> Result<Option<ArchiveRecord>, StoreError> {
    Ok(match record {
        ArchiveRecord::Account(wanted) => match accounts::by_id(db, wanted.id)? {
            Some(account) => Some(ArchiveRecord::Account(Box::new(person(db, account)?))),
            None => None,
        },
        ArchiveRecord::Mark(wanted) => {
            let mark = accounts::mark(db, wanted.account, &wanted.conversation)?;
            mark.map(|mark| {
                ArchiveRecord::Mark(ArchivedMarker {
                    seq: mark.seq,
                    at: mark.at,
                    ..wanted.clone()
                })
            })
        }
        ArchiveRecord::Room(wanted) => rooms::named(db, &wanted.name)?
            .map(rooms::archived)
            .map(ArchiveRecord::Room),
        ArchiveRecord::Invite(wanted) => {
            invites::by_hash(db, &wanted.hash)?.map(ArchiveRecord::Invite)
        }
        ArchiveRecord::Pending(wanted) => {
            pending::by_key(db, &wanted.key.fingerprint)?.map(ArchiveRecord::Pending)
        }
        ArchiveRecord::Ban(wanted) => bans::numbered(db, wanted.id)?.map(ArchiveRecord::Ban),
        ArchiveRecord::Numbers(_) => None,
        ArchiveRecord::Mute(wanted) => mutes::of(db, wanted.account)?.map(ArchiveRecord::Mute),
        ArchiveRecord::Lockdown(_) => {
            mutes::lockdown(db, super::read::ALWAYS)?.map(ArchiveRecord::Lockdown)
        }
        ArchiveRecord::Audit(wanted) => audit::numbered(db, wanted.number)?
            .map(|audit| ArchiveRecord::Audit(ArchivedAudit::new(wanted.number, audit))),
        ArchiveRecord::Message(wanted) => {
            messages::entry(db, &wanted.conversation, wanted.seq)?.map(ArchiveRecord::Message)
        }
    })
}

/// Whether what the file has in its place means nothing yet: a room that the server made when it
/// started.
fn is_replaceable(db: &Connection, record: &ArchiveRecord) -> Result<bool, StoreError> {
    let ArchiveRecord::Room(room) = record else {
        return Ok(false);
    };
    let there = rooms::named(db, &room.name)?;
    let is_empty = |there: RoomRecord| there.topic.is_none() && there.last == Seq(0);
    Ok(there.is_some_and(is_empty))
}

fn add_person(db: &Connection, person: &ArchivedAccount) -> Result<(), Refusal> {
    for name in &person.names {
        if accounts::owner(db, name)?.is_some() {
            return Err(ImportConflict::NameTaken(name.clone()).into());
        }
    }
    for key in &person.keys {
        if keys::owner(db, &key.fingerprint)?.is_some() {
            return Err(ImportConflict::KeyTaken(key.fingerprint.clone()).into());
        }
    }
    accounts::insert(db, &person.account())?;
    for name in &person.names {
        accounts::own(db, person.id, name)?;
    }
    for key in &person.keys {
        keys::insert(db, person.id, key)?;
    }
    Ok(())
}

fn add_mark(db: &Connection, reading: &ArchivedMarker) -> Result<(), Refusal> {
    if !accounts::exists(db, reading.account)? {
        return Err(ImportConflict::NoAccount(reading.account).into());
    }
    let mark = (
        reading.account,
        reading.conversation.clone(),
        reading.mark(),
    );
    accounts::save_marks(db, &[mark])?;
    Ok(())
}

impl From<ImportConflict> for Refusal {
    fn from(conflict: ImportConflict) -> Refusal {
        Refusal::Conflict(conflict)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        Refusal::Store(error.into())
    }
}
