//! The records of rooms.

use rusqlite::{Connection, Row};

use super::messages::unsigned;
use crate::chat::ids::{RoomName, Seq, Time};
use crate::store::archive::Room;
use crate::store::{RoomRecord, StoreError};
use crate::text::Text;

const SELECT: &str = "
    SELECT name, topic, created,
           (SELECT coalesce(max(seq), 0) FROM messages WHERE conversation =
               (SELECT id FROM conversations WHERE key = 'room/' || name))
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

pub(super) fn open(db: &Connection, name: &RoomName, now: Time) -> Result<RoomRecord, StoreError> {
    db.prepare_cached(
        "INSERT INTO rooms (name, created) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
    )?
    .execute((name.as_str(), now.0))?;
    named(db, name)?.ok_or_else(|| StoreError::Corrupt(format!("room {name} was not kept")))
}

/// The room of this name.
pub(super) fn named(db: &Connection, name: &RoomName) -> Result<Option<RoomRecord>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?;
    let mut rows = statement.query([name.as_str()])?;
    rows.next()?.map(to_room).transpose()
}

/// Writes what a room is, over what it was.
pub(super) fn restore(db: &Connection, room: &Room) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO rooms (name, topic, created) VALUES (?1, ?2, ?3)")?
        .execute((
            room.name.as_str(),
            room.topic.as_ref().map(Text::as_str),
            room.created.0,
        ))?;
    Ok(())
}

fn to_room(row: &Row<'_>) -> Result<RoomRecord, StoreError> {
    let name: String = row.get(0)?;
    let topic: Option<String> = row.get(1)?;
    Ok(RoomRecord {
        name: RoomName::new(&name).map_err(|error| {
            StoreError::Corrupt(format!("room {name:?} has a bad name: {error}"))
        })?,
        topic: topic.as_deref().map(Text::stored),
        last: Seq(unsigned(row.get(3)?)?),
        created: Time(row.get(2)?),
    })
}
