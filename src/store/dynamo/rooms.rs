//! The records of rooms. Where the log of a room ends stands nowhere but in the log.

use std::time::Duration;

use super::Dynamo;
use super::change::ChangePlan;
use super::item::{Row, number, text};
use super::key::{self, Key};
use super::segment::{Entry, Segment};
use super::table::{Range, WriteError};
use super::write::{Condition, Write};
use crate::chat::ids::{AccountId, Conversation, RoomName, Seq, Time};
use crate::store::archive::ArchivedRoom;
use crate::store::{ChangeError, RoomRecord, StoreError, removed};
use crate::text::Text;

/// How many segments of a removed room are deleted in one step.
const CLEARED: usize = 100;

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
        // What a removal has left that was cut.
        while self.clear_log(name).await? {}
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

    /// Removes a room, and ends the log of what was said there. One whose answer was lost may have
    /// been done, and something may have been said since: then only the log is ended again.
    pub(super) async fn close_room(
        &self,
        name: &RoomName,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let key = Key::room(name);
        let there = self.table.get(&key).await?.is_some();
        let conversation = Conversation::Room(name.clone());
        let mut tails = self.tails.lock().await;
        tails.remove(&conversation);
        let tail = self.tail(&mut tails, &conversation).await?;
        // It is another one next.
        tails.remove(&conversation);
        let mut writes = Vec::new();
        if there {
            writes.push(Write::delete(key).when(Condition::Present));
        }
        if tail.last > Seq(0) && !tail.is_removed {
            let seq = Seq(tail.last.0.saturating_add(1));
            let entry = removed(conversation.clone(), seq, now)?;
            let end = Segment {
                conversation,
                first: seq,
                entries: vec![Entry::restored(&entry)],
                version: 1,
                write: format!("{:032x}", rand::random::<u128>()),
            };
            writes.push(end.create()?);
        }
        if writes.is_empty() {
            return Err(ChangeError::NotFound);
        }
        Ok(ChangePlan::done(writes))
    }

    /// Deletes some of what was said in a room before it was removed.
    pub(super) async fn clear_log(&self, name: &RoomName) -> Result<bool, StoreError> {
        if self.table.get(&Key::room(name)).await?.is_some() {
            return Ok(false);
        }
        let conversation = Conversation::Room(name.clone());
        let Some(end) = self.last_segment(&conversation).await? else {
            return Ok(false);
        };
        if !end.is_removed() || end.first <= Seq(1) {
            return Ok(false);
        }
        let before = key::number(end.first.0.saturating_sub(1));
        let range = Range::all(key::log(&conversation)).between(key::number(0), before);
        let page = self.table.page(&range.page(CLEARED), None).await?;
        let mut deletes = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            deletes.push(Write::delete(Segment::read(&conversation, row)?.key()));
        }
        self.clear(deletes).await?;
        Ok(page.next.is_some())
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
        let ArchivedRoom {
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
        let tail = self.tail(&mut tails, &conversation).await?;
        let last = if tail.is_removed { Seq(0) } else { tail.last };
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
pub(super) fn read(row: &Row) -> Result<ArchivedRoom, StoreError> {
    let raw = row.sort()?;
    let topic = row.maybe_text("topic")?.filter(|topic| !topic.is_empty());
    Ok(ArchivedRoom {
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
pub(super) fn restore(room: &ArchivedRoom, instead: Option<Time>) -> Write {
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
