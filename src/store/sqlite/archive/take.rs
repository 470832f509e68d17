//! Writing what an archive says, unless it is there.

use rusqlite::Connection;

use super::read::person;
use crate::chat::ids::Seq;
use crate::store::archive::{Conflict, ImportError, Order, Person, Reading, Record};
use crate::store::sqlite::{
    accounts, audit, bans, invites, keys, messages, mutes, pending, rooms, search,
};
use crate::store::{RoomRecord, StoreError};

/// Why a record is not written.
enum Refusal {
    Conflict(Conflict),
    Store(StoreError),
}

/// Takes records, all or none, and returns how many are new.
pub(super) fn take(db: &Connection, records: &[Record]) -> Result<usize, ImportError> {
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

fn take_one(db: &Connection, record: &Record) -> Result<bool, Refusal> {
    if let Record::Numbers(numbers) = record {
        let raised = numbers.ban > bans::last(db)?;
        if raised {
            bans::skip_to(db, numbers.ban)?;
        }
        return Ok(raised);
    }
    match found(db, record)? {
        Some(found) if found == *record => return Ok(false),
        Some(found) if !is_replaceable(db, record)? => return Err(record.differs(&found).into()),
        _ => {}
    }
    match record {
        Record::Account(person) => add_person(db, person)?,
        Record::Mark(reading) => add_mark(db, reading)?,
        Record::Room(room) => rooms::restore(db, room)?,
        Record::Invite(invite) => {
            invites::insert(db, invite)?;
        }
        Record::Pending(key) => {
            if keys::owner(db, &key.key.fingerprint)?.is_some() {
                return Err(Conflict::KeyTaken(key.key.fingerprint.clone()).into());
            }
            if pending::is_full(db)? {
                return Err(Conflict::Crowded.into());
            }
            pending::insert(db, key)?;
        }
        Record::Ban(ban) => {
            bans::insert(db, Some(ban.id), ban)?;
        }
        Record::Numbers(_) => {}
        Record::Mute(mute) => mutes::insert(db, mute.account, mute)?,
        Record::Lockdown(lockdown) => mutes::insert_lockdown(db, lockdown)?,
        Record::Audit(order) => {
            let last = audit::last(db)?;
            if order.number != last.saturating_add(1) {
                return Err(Conflict::Gap(last).into());
            }
            audit::keep(db, &order.audit())?;
        }
        Record::Message(entry) => {
            messages::restore(db, entry)??;
        }
    }
    Ok(true)
}

/// What the file has in the place of a record.
fn found(db: &Connection, record: &Record) -> Result<Option<Record>, StoreError> {
    Ok(match record {
        Record::Account(wanted) => match accounts::by_id(db, wanted.id)? {
            Some(account) => Some(Record::Account(Box::new(person(db, account)?))),
            None => None,
        },
        Record::Mark(wanted) => {
            let mark = accounts::mark(db, wanted.account, &wanted.conversation)?;
            mark.map(|mark| {
                Record::Mark(Reading {
                    seq: mark.seq,
                    at: mark.at,
                    ..wanted.clone()
                })
            })
        }
        Record::Room(wanted) => rooms::named(db, &wanted.name)?
            .map(rooms::archived)
            .map(Record::Room),
        Record::Invite(wanted) => invites::by_hash(db, &wanted.hash)?.map(Record::Invite),
        Record::Pending(wanted) => {
            pending::by_key(db, &wanted.key.fingerprint)?.map(Record::Pending)
        }
        Record::Ban(wanted) => bans::numbered(db, wanted.id)?.map(Record::Ban),
        Record::Numbers(_) => None,
        Record::Mute(wanted) => mutes::of(db, wanted.account)?.map(Record::Mute),
        Record::Lockdown(_) => mutes::lockdown(db, super::read::ALWAYS)?.map(Record::Lockdown),
        Record::Audit(wanted) => audit::numbered(db, wanted.number)?
            .map(|audit| Record::Audit(Order::new(wanted.number, audit))),
        Record::Message(wanted) => {
            messages::entry(db, &wanted.conversation, wanted.seq)?.map(Record::Message)
        }
    })
}

/// Whether what the file has in its place means nothing yet: a room that the server made when it
/// started.
fn is_replaceable(db: &Connection, record: &Record) -> Result<bool, StoreError> {
    let Record::Room(room) = record else {
        return Ok(false);
    };
    let there = rooms::named(db, &room.name)?;
    let is_empty = |there: RoomRecord| there.topic.is_none() && there.last == Seq(0);
    Ok(there.is_some_and(is_empty))
}

fn add_person(db: &Connection, person: &Person) -> Result<(), Refusal> {
    for name in &person.names {
        if accounts::owner(db, name)?.is_some() {
            return Err(Conflict::NameTaken(name.clone()).into());
        }
    }
    for key in &person.keys {
        if keys::owner(db, &key.fingerprint)?.is_some() {
            return Err(Conflict::KeyTaken(key.fingerprint.clone()).into());
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

fn add_mark(db: &Connection, reading: &Reading) -> Result<(), Refusal> {
    if !accounts::exists(db, reading.account)? {
        return Err(Conflict::NoAccount(reading.account).into());
    }
    let mark = (
        reading.account,
        reading.conversation.clone(),
        reading.mark(),
    );
    accounts::save_marks(db, &[mark])?;
    Ok(())
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Refusal {
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
