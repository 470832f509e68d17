//! Rooms. Where a room's log ends is only stored in the log itself.

use std::time::Duration;

use super::Dynamo;
use super::item::{StoredItem, number, text};
use super::key::{self, ItemKey};
use super::plan::ChangePlan;
use super::segment::{Segment, SegmentEntry};
use super::table::{KeyRange, new_write_id};
use super::write::{Condition, ItemWrite};
use crate::chat::ids::{AccountId, Conversation, RoomName, Seq, Time};
use crate::store::archive::ArchivedRoom;
use crate::store::{ChangeError, RoomRecord, StoreError, removed};
use crate::text::Text;

/// How many segments of a removed room one step deletes.
const CLEAR_PAGE: usize = 100;

impl Dynamo {
    pub(super) async fn all_rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        let items = self.table.query_all(&KeyRange::all(key::ROOMS)).await?;
        let mut rooms = Vec::with_capacity(items.len());
        for item in items {
            rooms.push(self.room(&item).await?);
        }
        Ok(rooms)
    }

    pub(super) async fn open(
        &self,
        name: &RoomName,
        made_by: Option<AccountId>,
        now: Time,
    ) -> Result<RoomRecord, StoreError> {
        // A removal that was interrupted.
        while self.clear_log(name).await? {}
        let key = ItemKey::room(name);
        let made_by = made_by.map(|account| account.to_string());
        let create = ItemWrite::create(key.clone(), |item| {
            item.number("created", now.0)
                .text_opt("made_by", made_by.as_deref())
        });
        self.table.write_if(vec![create]).await?;
        match self.table.get(&key).await? {
            Some(item) => self.room(&item).await,
            None => Err(StoreError::Corrupt(format!(
                "room {name} was created, but doesn't exist"
            ))),
        }
    }

    /// Removes a room whose log is empty, or returns it.
    pub(super) async fn remove_empty(
        &self,
        name: &RoomName,
    ) -> Result<Option<RoomRecord>, StoreError> {
        let key = ItemKey::room(name);
        let Some(item) = self.table.get(&key).await? else {
            return Ok(None);
        };
        let room = self.room(&item).await?;
        if room.last != Seq(0) {
            return Ok(Some(room));
        }
        self.table.write_if(vec![ItemWrite::delete(key)]).await?;
        Ok(None)
    }

    /// Removes a room and ends its log. If the response to an earlier removal was lost, the room may
    /// be gone and its log may have grown since: then only the log is ended again.
    pub(super) async fn close_room(
        &self,
        name: &RoomName,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let key = ItemKey::room(name);
        let exists = self.table.get(&key).await?.is_some();
        let conversation = Conversation::Room(name.clone());
        let mut tails = self.tails.lock().await;
        let tail = self.fresh_tail(&mut tails, &conversation).await?;
        // The end moves outside the appender.
        tails.remove(&conversation);
        let mut writes = Vec::new();
        if exists {
            writes.push(ItemWrite::delete(key).when(Condition::Present));
        }
        if tail.last > Seq(0) && !tail.is_removed {
            let seq = Seq(tail.last.0.saturating_add(1));
            let entry = removed(conversation.clone(), seq, now)?;
            let mut end = Segment::after(tail.last, conversation, &new_write_id());
            end.entries.push(SegmentEntry::imported(&entry));
            writes.push(end.create()?);
        }
        if writes.is_empty() {
            return Err(ChangeError::NotFound);
        }
        Ok(ChangePlan::done(writes))
    }

    /// Deletes one page of a removed room's log. Returns whether there are more.
    pub(super) async fn clear_log(&self, name: &RoomName) -> Result<bool, StoreError> {
        if self.table.get(&ItemKey::room(name)).await?.is_some() {
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
        let range = KeyRange::all(key::log(&conversation)).between(key::number(0), before);
        let page = self
            .table
            .query_page(&range.page_size(CLEAR_PAGE), None)
            .await?;
        let mut deletes = Vec::with_capacity(page.items.len());
        for item in &page.items {
            deletes.push(ItemWrite::delete(Segment::read(&conversation, item)?.key()));
        }
        self.table.write_batches(deletes).await?;
        Ok(page.next.is_some())
    }

    /// Sets or ends a room's slow mode.
    pub(super) async fn change_slow(
        &self,
        name: &RoomName,
        slow: Option<Duration>,
    ) -> Result<ChangePlan, ChangeError> {
        let key = ItemKey::room(name);
        let item = self.table.get(&key).await?.ok_or(ChangeError::NotFound)?;
        if stored_room(&item)?.slow == slow {
            return Ok(ChangePlan::unchanged());
        }
        let update = ItemWrite::update(key).when(Condition::Present);
        Ok(ChangePlan::done(vec![match slow {
            Some(slow) => update.set("slow", number(slow.as_millis())),
            None => update.remove("slow"),
        }]))
    }

    async fn room(&self, item: &StoredItem) -> Result<RoomRecord, StoreError> {
        let ArchivedRoom {
            name,
            topic,
            created,
            made_by,
            slow,
        } = stored_room(item)?;
        let mut tails = self.tails.lock().await;
        let conversation = Conversation::Room(name.clone());
        let tail = self.fresh_tail(&mut tails, &conversation).await?;
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

/// A room without its log.
pub(super) fn stored_room(item: &StoredItem) -> Result<ArchivedRoom, StoreError> {
    let raw = item.sort()?;
    let topic = item.text_opt("topic")?.filter(|topic| !topic.is_empty());
    Ok(ArchivedRoom {
        name: RoomName::new(raw)
            .map_err(|error| item.corrupt(format_args!("an invalid name {raw:?}: {error}")))?,
        topic: topic.map(Text::stored),
        created: item.time("created")?,
        made_by: match item.text_opt("made_by")? {
            Some(_) => Some(item.account("made_by")?),
            None => None,
        },
        slow: item.number_opt("slow")?.map(Duration::from_millis),
    })
}

/// Creates a room, or replaces one without a topic that was created at this time.
pub(super) fn put_room(room: &ArchivedRoom, replaced: Option<Time>) -> ItemWrite {
    let topic = room.topic.as_ref().map(Text::as_str);
    let made_by = room.made_by.map(|account| account.to_string());
    let put = ItemWrite::put(ItemKey::room(&room.name), |item| {
        item.number("created", room.created.0)
            .text_opt("topic", topic)
            .text_opt("made_by", made_by.as_deref())
            .number_opt("slow", room.slow.map(|slow| slow.as_millis()))
    });
    match replaced {
        Some(created) => put
            .when(Condition::Equals("created", number(created.0)))
            .when(Condition::MissingOrAtMost("topic", text(""))),
        None => put.when(Condition::Absent),
    }
}

/// The smallest possible write, for health checks.
pub(super) fn write_test(now: Time) -> ItemWrite {
    ItemWrite::update(ItemKey::write_test()).set("at", number(now.0))
}
