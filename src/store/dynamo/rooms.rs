//! The records of rooms. Where the log of a room ends stands nowhere but in the log.

use std::time::Duration;

use super::Dynamo;
use super::change::ChangePlan;
use super::item::{Row, number, text};
use super::key::{self, Key};
use super::table::{Range, WriteError};
use super::write::{Condition, Write};
use crate::chat::ids::{AccountId, Conversation, RoomName, Seq, Time};
use crate::store::archive::Room;
use crate::store::{ChangeError, RoomRecord, StoreError};
use crate::text::Text;

impl Dynamo {
    pub(super) async fn all_rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        let rows = self.table.all(&Range::all(key::ROOMS)).await?;
        let mut rooms = Vec::with_capacity(rows.len());
        for row in rows {
            rooms.push(self.room(&row).await?);
        }
        Ok(rooms)
    }

    pub(super) async fn open(
        &self,
        name: &RoomName,
        made_by: Option<AccountId>,
        now: Time,
    ) -> Result<RoomRecord, StoreError> {
        let key = Key::room(name);
        let made_by = made_by.map(|account| account.to_string());
        let create = Write::create(key.clone(), |item| {
            item.number("created", now.0)
                .maybe_text("made_by", made_by.as_deref())
        });
        match self.table.write(vec![create], None).await {
            Ok(()) | Err(WriteError::Refused(_)) => {}
            Err(WriteError::Failed { error, .. }) => return Err(error),
        }
        match self.table.get(&key).await? {
            Some(row) => self.room(&row).await,
            None => Err(StoreError::Corrupt(format!("room {name} was not kept"))),
        }
    }

    /// Removes a room in which nothing was ever said, or returns it.
    pub(super) async fn remove_empty(
        &self,
        name: &RoomName,
    ) -> Result<Option<RoomRecord>, StoreError> {
        let key = Key::room(name);
        let Some(row) = self.table.get(&key).await? else {
            return Ok(None);
        };
        let room = self.room(&row).await?;
        if room.last != Seq(0) {
            return Ok(Some(room));
        }
        let written = self.table.write(vec![Write::delete(key)], None).await;
        written.map_err(WriteError::into_store)?;
        Ok(None)
    }

    /// Puts a room into slow mode, or ends it.
    pub(super) async fn change_slow(
        &self,
        name: &RoomName,
        slow: Option<Duration>,
    ) -> Result<ChangePlan, ChangeError> {
        let key = Key::room(name);
        let row = self.table.get(&key).await?.ok_or(ChangeError::NotFound)?;
        if read(&row)?.slow == slow {
            return Ok(ChangePlan::unchanged());
        }
        let update = Write::update(key).when(Condition::Present);
        Ok(ChangePlan::done(vec![match slow {
            Some(slow) => update.set("slow", number(slow.as_millis())),
            None => update.remove("slow"),
        }]))
    }

    async fn room(&self, row: &Row) -> Result<RoomRecord, StoreError> {
        let Room {
            name,
            topic,
            created,
            made_by,
            slow,
        } = read(row)?;
        // Asked for once, when a server starts or a room is made: what is remembered may be old.
        let mut tails = self.tails.lock().await;
        let conversation = Conversation::Room(name.clone());
        tails.remove(&conversation);
        let last = self.tail(&mut tails, &conversation).await?.last;
        Ok(RoomRecord {
            name,
            topic,
            last,
            created,
            made_by,
            slow,
        })
    }
}

/// A room as it is, without its log.
pub(super) fn read(row: &Row) -> Result<Room, StoreError> {
    let raw = row.sort()?;
    let topic = row.maybe_text("topic")?.filter(|topic| !topic.is_empty());
    Ok(Room {
        name: RoomName::new(raw)
            .map_err(|error| row.bad(format_args!("the bad name {raw:?}: {error}")))?,
        topic: topic.map(Text::stored),
        created: row.time("created")?,
        made_by: match row.maybe_text("made_by")? {
            Some(_) => Some(row.account("made_by")?),
            None => None,
        },
        slow: row.maybe_number("slow")?.map(Duration::from_millis),
    })
}

/// A room in place of one without topic that was made at this time; or of none.
pub(super) fn restore(room: &Room, instead: Option<Time>) -> Write {
    let topic = room.topic.as_ref().map(Text::as_str);
    let made_by = room.made_by.map(|account| account.to_string());
    let put = Write::put(Key::room(&room.name), |item| {
        item.number("created", room.created.0)
            .maybe_text("topic", topic)
            .maybe_text("made_by", made_by.as_deref())
            .maybe_number("slow", room.slow.map(|slow| slow.as_millis()))
    });
    match instead {
        Some(created) => put
            .when(Condition::Is("created", number(created.0)))
            .when(Condition::NoneOrAtMost("topic", text(""))),
        None => put.when(Condition::Absent),
    }
}

/// The write that renews what is there already: the smallest there is.
pub(super) fn touch(now: Time) -> Write {
    Write::update(Key::pulse()).set("at", number(now.0))
}
