//! Taking part in the chat for as long as a command works.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::ExecContext;
use super::out::{End, FAILED, TRY_LATER};
use crate::chat::event::Event;
use crate::chat::ids::{AccountId, RoomName};
use crate::chat::intent::{Answer, Intent, Query, Refusal};
use crate::chat::preferences::Ignored;
use crate::hub::Attachment;
use crate::hub::feed::{Delivery, Inbox, Joined};
use crate::session::sign_in::still_admitted;

/// A session that takes part.
pub(super) struct Part {
    attachment: Attachment,
    inbox: Arc<Inbox>,
    deliveries: VecDeque<Delivery>,
    asked: u32,
    thrown_out: bool,
    /// Whose messages are not shown.
    ignored: Arc<[Ignored]>,
}

/// What came of an intent.
pub(super) enum Outcome {
    /// It is done.
    Done,
    /// The session is in this room now.
    Joined(Joined),
}

impl Part {
    /// Arrives, as a bot, in the lobby.
    pub async fn begin(context: &ExecContext<'_>) -> Result<(Part, Joined), End> {
        let inbox = Arc::new(Inbox::default());
        let arrival = context
            .me
            .arrival(context.session, context.peer, true, &context.preferences);
        let ignored = Arc::clone(&arrival.ignored);
        let attached = context.hub.attach(arrival, Arc::clone(&inbox)).await;
        let (attachment, lobby) = attached.map_err(|refusal| {
            // A guest's name can be taken at this very moment; the next one will be another.
            End::Told(TRY_LATER, refusal.to_string())
        })?;
        // Again, now that whatever changes will find them.
        let me = &context.me;
        let role = still_admitted(&**context.orders, context.peer, me).await?;
        if role != me.role {
            context.hub.set_role(me.author.account, role).await;
        }
        let part = Part {
            attachment,
            inbox,
            deliveries: VecDeque::new(),
            asked: 0,
            thrown_out: false,
            ignored,
        };
        Ok((part, lobby))
    }

    /// Goes into a room. One that is not there yet is made.
    pub async fn enter(&mut self, room: &RoomName, lobby: Joined) -> Result<Joined, End> {
        if *room == lobby.view.name {
            return Ok(lobby);
        }
        match self.carry_out(Intent::Join(room.clone())).await? {
            Outcome::Joined(joined) => Ok(joined),
            Outcome::Done => Err(Refusal::NoRoom(room.clone()).into()),
        }
    }

    /// Does something, waiting for as long as it would be too fast.
    pub async fn carry_out(&mut self, intent: Intent) -> Result<Outcome, End> {
        loop {
            let refusal = match self.attempt(intent.clone()).await? {
                Ok(outcome) => return Ok(outcome),
                Err(refusal) => refusal,
            };
            let Some(wait) = refusal.retry_after() else {
                return Err(refusal.into());
            };
            let until = Instant::now() + wait;
            tokio::select! {
                () = sleep_until(until) => {}
                end = self.dismissed() => return Err(end),
            }
        }
    }

    async fn attempt(&mut self, intent: Intent) -> Result<Result<Outcome, Refusal>, End> {
        self.asked = self.asked.wrapping_add(1);
        let asked = self.asked;
        if let Err(refusal) = self.attachment.submit(asked, intent) {
            return Ok(Err(refusal));
        }
        loop {
            match self.next().await? {
                Delivery::Accepted(id) if id == asked => return Ok(Ok(Outcome::Done)),
                Delivery::Joined(id, joined) if id == asked => {
                    return Ok(Ok(Outcome::Joined(joined)));
                }
                Delivery::Refused(id, refusal) if id == asked => return Ok(Err(refusal)),
                _ => {}
            }
        }
    }

    /// What comes next for the session; the end if it is to end.
    async fn next(&mut self) -> Result<Delivery, End> {
        loop {
            if let Some(delivery) = self.deliveries.pop_front() {
                return self.heed(delivery);
            }
            let (deliveries, _) = self.inbox.take();
            self.deliveries = deliveries;
            if self.deliveries.is_empty() {
                self.inbox.notified().await;
            }
        }
    }

    /// Waits until the session is to end. Safe to cancel.
    pub async fn dismissed(&mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    /// The notices that came since the last time.
    pub fn notices(&mut self) -> Result<Vec<Arc<Event>>, End> {
        let mut notices = Vec::new();
        self.deliveries.extend(self.inbox.take().0);
        let out = |delivery: &Delivery| matches!(delivery, Delivery::Dismissed(_));
        self.thrown_out |= self.deliveries.iter().any(out);
        while let Some(delivery) = self.deliveries.pop_front() {
            if let Delivery::Event(event) = self.heed(delivery)?
                && matches!(*event, Event::Notice { .. })
            {
                notices.push(event);
            }
        }
        Ok(notices)
    }

    /// What holds for the session whatever it waits for.
    fn heed(&mut self, delivery: Delivery) -> Result<Delivery, End> {
        match &delivery {
            Delivery::Close(reason) | Delivery::Dismissed(reason) => {
                return Err(End::Told(TRY_LATER, reason.to_string()));
            }
            Delivery::Removed(_, words) => {
                return Err(End::Told(FAILED, words.to_string()));
            }
            Delivery::Ignored(ignored) => self.ignored = Arc::clone(ignored),
            _ => {}
        }
        Ok(delivery)
    }

    /// Whether messages by this account are hidden, as of the last [`Part::notices`].
    pub fn ignores(&self, account: AccountId) -> bool {
        self.ignored.iter().any(|i| i.account == account)
    }

    /// Whether the session is out of the chat, so that nothing more of it is to be shown.
    pub fn thrown_out(&self) -> bool {
        self.thrown_out
    }

    /// Waits until something came for the session or happened in one of its rooms.
    pub async fn rung(&self) {
        self.inbox.notified().await;
    }
}

/// Whether there is such a room.
pub(super) async fn exists(context: &ExecContext<'_>, room: &RoomName) -> Result<bool, End> {
    match context.hub.query(Query::Who(room.clone())).await? {
        Answer::Refused(Refusal::NoRoom(_)) => Ok(false),
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Ok(true),
    }
}

/// Nothing is to be done in a room that is not there.
pub(super) async fn must_exist(context: &ExecContext<'_>, room: &RoomName) -> Result<(), End> {
    if exists(context, room).await? {
        Ok(())
    } else {
        Err(Refusal::NoRoom(room.clone()).into())
    }
}
