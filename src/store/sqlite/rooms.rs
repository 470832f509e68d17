//! Rooms.

use std::time::Duration;

use rusqlite::{Connection, Row};

use super::columns::{blob, to_account_id, unsigned};
use super::messages;
use crate::chat::ids::{AccountId, Conversation, RoomName, Seq, Time};
use crate::store::archive::ArchivedRoom;
use crate::store::{ChangeError, ChangeOutcome, RoomRecord, StoreError};
use crate::text::Text;

const SELECT: &str = "
    SELECT name, topic, created, slow,
           (SELECT iif(author = zeroblob(16), 0, seq) FROM messages WHERE conversation =
               (SELECT id FROM conversations WHERE key = 'room/' || name)
            ORDER BY seq DESC LIMIT 1),
           made_by
    FROM rooms";

pub(super) fn all(db: &Connection) -> Result<Vec<RoomRecord>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{SELECT} ORDER BY name"))?;
    let mut rows = statement.query([])?;
    let mut rooms = Vec::new();
    while let Some(row) = rows.next()? {
        rooms.push(to_room(row)?);
    }
    Ok(rooms)
}

pub(super) fn open(
    db: &Connection,
    name: &RoomName,
    made_by: Option<AccountId>,
    now: Time,
) -> Result<RoomRecord, StoreError> {
    db.prepare_cached(
        "INSERT INTO rooms (name, created, made_by) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO NOTHING",
    )?
    .execute((name.as_str(), now.0, made_by.map(blob)))?;
    named(db, name)?.ok_or_else(|| {
        StoreError::Corrupt(format!("room {name} is missing right after its insertion"))
    })
}

/// The room of this name.
pub(super) fn named(db: &Connection, name: &RoomName) -> Result<Option<RoomRecord>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?;
    let mut rows = statement.query([name.as_str()])?;
    rows.next()?.map(to_room).transpose()
}

/// Removes a room without messages; returns one that has some.
pub(super) fn remove_empty(
    db: &Connection,
    name: &RoomName,
) -> Result<Option<RoomRecord>, StoreError> {
    match named(db, name)? {
        Some(room) if room.last == Seq(0) => {
            db.prepare_cached("DELETE FROM rooms WHERE name = ?1")?
                .execute([name.as_str()])?;
            Ok(None)
        }
        found => Ok(found),
    }
}

/// Removes a room and ends its log.
pub(super) fn remove(
    db: &Connection,
    name: &RoomName,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let room = named(db, name)?.ok_or(ChangeError::NotFound)?;
    if room.last > Seq(0) {
        messages::end_log(db, Conversation::Room(name.clone()), now)?;
    }
    db.prepare_cached("DELETE FROM rooms WHERE name = ?1")?
        .execute([name.as_str()])?;
    Ok(ChangeOutcome::Done)
}

/// Inserts or replaces an archived room.
pub(super) fn restore(db: &Connection, room: &ArchivedRoom) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO rooms (name, topic, created, made_by, slow)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        room.name.as_str(),
        room.topic.as_ref().map(Text::as_str),
        room.created.0,
        room.made_by.map(blob),
        room.slow.map(to_millis),
    ))?;
    Ok(())
}

/// A room as archived.
pub(super) fn archived(room: RoomRecord) -> ArchivedRoom {
    ArchivedRoom {
        name: room.name,
        topic: room.topic,
        created: room.created,
        made_by: room.made_by,
        slow: room.slow,
    }
}

/// Sets or ends a room's slow mode.
pub(super) fn set_slow(
    db: &Connection,
    name: &RoomName,
    slow: Option<Duration>,
) -> Result<ChangeOutcome, ChangeError> {
    let room = named(db, name)?.ok_or(ChangeError::NotFound)?;
    if room.slow == slow {
        return Ok(ChangeOutcome::Unchanged);
    }
    db.prepare_cached("UPDATE rooms SET slow = ?2 WHERE name = ?1")?
        .execute((name.as_str(), slow.map(to_millis)))?;
    Ok(ChangeOutcome::Done)
}

fn to_millis(slow: Duration) -> i64 {
    i64::try_from(slow.as_millis()).unwrap_or(i64::MAX)
}

fn to_room(row: &Row<'_>) -> Result<RoomRecord, StoreError> {
    let name: String = row.get(0)?;
    let topic: Option<String> = row.get(1)?;
    let slow: Option<i64> = row.get(3)?;
    let made_by: Option<[u8; 16]> = row.get(5)?;
    Ok(RoomRecord {
        name: RoomName::new(&name).map_err(|error| {
            StoreError::Corrupt(format!("room {name:?} has an invalid name: {error}"))
        })?,
        topic: topic.as_deref().map(Text::stored),
        last: Seq(unsigned(row.get::<_, Option<i64>>(4)?.unwrap_or(0))?),
        created: Time(row.get(2)?),
        made_by: made_by.map(to_account_id),
        slow: slow
            .and_then(|millis| u64::try_from(millis).ok())
            .map(Duration::from_millis),
    })
}
