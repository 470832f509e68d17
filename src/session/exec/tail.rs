//! `tail ROOM`: what is said in a room, for as long as somebody reads it.

use std::sync::Arc;

use super::Exec;
use super::item::Item;
use super::out::End;
use super::part::{Part, must_exist};
use super::request::Run;
use super::say::room;
use crate::chat::event::Event;
use crate::chat::ids::{Conversation, RoomName, Seq};
use crate::hub::feed::RoomEvent;
use crate::session::peer::Outbound;
use crate::telemetry::metrics;

const WITHOUT_HISTORY: &str = "What was said before can't be shown.";

/// How many events are read from the ring at a time.
const EVENTS: usize = 64;

impl<O: Outbound> Exec<'_, O> {
    /// `tail ROOM [--last COUNT]`. Ends only early.
    pub(super) async fn tail(&mut self, run: &Run) -> Result<(), End> {
        let room = room(run)?;
        must_exist(self.context, &room).await?;
        let (mut part, lobby) = Part::begin(self.context).await?;
        let joined = part.enter(&room, lobby).await?;
        if run.last > 0 {
            match self.last(&part, &room, joined.view.last, run.last).await {
                // What is said from now on can be shown all the same.
                Err(End::Told(_, why)) => {
                    self.out.tell(&format!("{why} {WITHOUT_HISTORY}")).await?;
                }
                end => end?,
            }
        }
        let mut cursor = joined.cursor;
        let mut posts: Vec<Arc<RoomEvent>> = Vec::new();
        loop {
            let (mut shown, mut since) = (0, None);
            // Taken out first and heard last: who is told to go has seen what was said before.
            let notices = part.notices();
            while !part.thrown_out() {
                let skipped = joined.ring.read(&mut cursor, EVENTS, &mut posts);
                if skipped > 0 {
                    self.skipped(skipped).await?;
                }
                if posts.is_empty() {
                    break;
                }
                for post in posts.drain(..) {
                    if self.event(&part, &room, &post.event).await? {
                        shown += 1;
                        since = since.or(Some(post.pushed));
                    }
                }
            }
            for notice in notices? {
                shown += u64::from(self.event(&part, &room, &notice).await?);
            }
            self.out.flush().await?;
            if shown > 0 {
                metrics::delivered(shown, since.map(|since| since.elapsed()));
            }
            part.rung().await;
        }
    }

    /// The last messages up to the place in the log from which on the ring tells.
    async fn last(
        &mut self,
        part: &Part,
        room: &RoomName,
        last: Seq,
        limit: usize,
    ) -> Result<(), End> {
        let conversation = Conversation::Room(room.clone());
        let before = Some(Seq(last.0 + 1));
        let store = self.context.store;
        for message in store.history(&conversation, before, limit).await? {
            if !part.ignores(message.author.account) {
                self.out.show(Item::Message(&message)).await?;
            }
        }
        Ok(())
    }

    /// Shows an event. Returns whether it is one to be shown.
    async fn event(&mut self, part: &Part, room: &RoomName, event: &Event) -> Result<bool, End> {
        let hidden = match event {
            Event::Message(message) => part.ignores(message.author.account),
            Event::Presence(_) => self.context.preferences.quiet,
            Event::Renamed { .. } | Event::Notice { .. } => false,
        };
        if hidden {
            return Ok(false);
        }
        self.out.show(Item::Event(room, event)).await?;
        Ok(true)
    }

    async fn skipped(&mut self, count: u64) -> Result<(), End> {
        metrics::skipped(count);
        self.out.flush().await?;
        let words = format!("{count} messages skipped: they came faster than they were read.");
        self.out.tell(&words).await
    }
}
