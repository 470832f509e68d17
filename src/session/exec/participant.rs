//! Taking part in the chat while a command runs.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::ExecContext;
use super::stdio::ExecError;
use crate::chat::event::Event;
use crate::chat::ids::{AccountId, RoomName};
use crate::chat::intent::{Answer, Intent, Query, Refusal};
use crate::chat::preferences::Ignored;
use crate::hub::Attachment;
use crate::hub::feed::{Delivery, Inbox, Joined};
use crate::session::sign_in::still_admitted;

/// A command's session in the chat, marked as a bot. Dropping it leaves the chat.
///
/// [`attach`](Participant::attach) first, then [`carry_out`](Participant::carry_out) one intent
/// after the other. A command that waits for something else must wait for
/// [`closed`](Participant::closed) too, so that it ends when the hub ends the session. A command
/// that follows a room instead repeats three steps: take the [`notices`](Participant::notices),
/// read the room's ring unless the session [was ended](Participant::is_ended), and wait until
/// [`woken`](Participant::woken).
pub(super) struct Participant {
    attachment: Attachment,
    inbox: Arc<Inbox>,
    deliveries: VecDeque<Delivery>,
    last_request: u32,
    ended: bool,
    ignored: Arc<[Ignored]>,
}

impl Participant {
    /// Attaches a session to the hub. It starts in the lobby.
    pub async fn attach(context: &ExecContext<'_>) -> Result<(Participant, Joined), ExecError> {
        let inbox = Arc::new(Inbox::default());
        let arrival = context
            .me
            .arrival(context.session, context.peer, true, &context.preferences);
        let ignored = Arc::clone(&arrival.ignored);
        let attached = context.hub.attach(arrival, Arc::clone(&inbox)).await;
        // A guest's name may just have been taken; the next attempt gets another one.
        let (attachment, lobby) = attached.map_err(ExecError::temporary)?;
        // Checked again now that the hub can find the session when something changes.
        let me = &context.me;
        let role = still_admitted(&**context.orders, context.peer, me).await?;
        if role != me.role {
            context.hub.set_role(me.author.account, role).await;
        }
        let participant = Participant {
            attachment,
            inbox,
            deliveries: VecDeque::new(),
            last_request: 0,
            ended: false,
            ignored,
        };
        Ok((participant, lobby))
    }

    /// Joins a room, which is created if it doesn't exist.
    pub async fn join(&mut self, room: &RoomName, lobby: Joined) -> Result<Joined, ExecError> {
        if *room == lobby.view.name {
            return Ok(lobby);
        }
        let joined = self.carry_out(Intent::Join(room.clone())).await?;
        joined.ok_or_else(|| Refusal::NoRoom(room.clone()).into())
    }

    /// Carries out an intent, retrying for as long as it exceeds the rate limit. Returns the room
    /// that it joined, if any.
    pub async fn carry_out(&mut self, intent: Intent) -> Result<Option<Joined>, ExecError> {
        loop {
            let refusal = match self.attempt(intent.clone()).await? {
                Ok(joined) => return Ok(joined),
                Err(refusal) => refusal,
            };
            let Some(wait) = refusal.retry_after() else {
                return Err(refusal.into());
            };
            let until = Instant::now() + wait;
            tokio::select! {
                () = sleep_until(until) => {}
                error = self.closed() => return Err(error),
            }
        }
    }

    async fn attempt(
        &mut self,
        intent: Intent,
    ) -> Result<Result<Option<Joined>, Refusal>, ExecError> {
        self.last_request = self.last_request.wrapping_add(1);
        let request = self.last_request;
        if let Err(refusal) = self.attachment.submit(request, intent) {
            return Ok(Err(refusal));
        }
        loop {
            match self.next().await? {
                Delivery::Accepted(id) if id == request => return Ok(Ok(None)),
                Delivery::Joined(id, joined) if id == request => return Ok(Ok(Some(joined))),
                Delivery::Refused(id, refusal) if id == request => return Ok(Err(refusal)),
                _ => {}
            }
        }
    }

    /// The next delivery; an error if it ends the session.
    async fn next(&mut self) -> Result<Delivery, ExecError> {
        loop {
            if let Some(delivery) = self.deliveries.pop_front() {
                return self.check(delivery);
            }
            let (deliveries, _) = self.inbox.take();
            self.deliveries = deliveries;
            if self.deliveries.is_empty() {
                self.inbox.notified().await;
            }
        }
    }

    /// Waits until the session is ended, and returns why. Cancel-safe.
    pub async fn closed(&mut self) -> ExecError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    /// Drains the inbox and returns the server's notices.
    pub fn notices(&mut self) -> Result<Vec<Arc<Event>>, ExecError> {
        let mut notices = Vec::new();
        self.deliveries.extend(self.inbox.take().0);
        let ends = |delivery: &Delivery| matches!(delivery, Delivery::Dismissed(_));
        self.ended |= self.deliveries.iter().any(ends);
        while let Some(delivery) = self.deliveries.pop_front() {
            if let Delivery::Event(event) = self.check(delivery)?
                && matches!(*event, Event::Notice { .. })
            {
                notices.push(event);
            }
        }
        Ok(notices)
    }

    /// Applies a delivery that concerns the session whatever it waits for.
    fn check(&mut self, delivery: Delivery) -> Result<Delivery, ExecError> {
        match &delivery {
            Delivery::Close(reason) | Delivery::Dismissed(reason) => {
                return Err(ExecError::temporary(reason));
            }
            Delivery::Removed(_, reason) => return Err(ExecError::failed(reason)),
            Delivery::Ignored(ignored) => self.ignored = Arc::clone(ignored),
            _ => {}
        }
        Ok(delivery)
    }

    /// Whether the user ignores this account, as of the last [`Participant::notices`].
    pub fn ignores(&self, account: AccountId) -> bool {
        self.ignored.iter().any(|i| i.account == account)
    }

    /// Whether an operator ended the session: nothing that happened since may be shown.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Waits for a delivery, or for an event in one of the session's rooms.
    pub async fn woken(&self) {
        self.inbox.notified().await;
    }
}

/// Whether the room exists.
pub(super) async fn room_exists(
    context: &ExecContext<'_>,
    room: &RoomName,
) -> Result<bool, ExecError> {
    match context.hub.query(Query::Who(room.clone())).await? {
        Answer::Refused(Refusal::NoRoom(_)) => Ok(false),
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Ok(true),
    }
}

/// Fails if the room doesn't exist.
pub(super) async fn require_room(
    context: &ExecContext<'_>,
    room: &RoomName,
) -> Result<(), ExecError> {
    if room_exists(context, room).await? {
        Ok(())
    } else {
        Err(Refusal::NoRoom(room.clone()).into())
    }
}
