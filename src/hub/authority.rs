//! What those who keep order want of the hub.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use tokio::sync::oneshot;

use super::feed::Delivery;
use super::rooms::Removal;
use super::{Handle, Hub, Request};
use crate::chat::access::{Mute, Online, Role};
use crate::chat::addresses::NetworkAccounts;
use crate::chat::event::{Author, Event};
use crate::chat::ids::{AccountId, Name, RoomName, SessionId};
use crate::chat::preferences::IgnoreChange;
use crate::chat::preferences::Ignored;
use crate::clock;
use crate::store::{Applied, Change, ChangeError};
use crate::text::Text;

/// Something that only the rules or an operator may want.
pub(super) enum Authority {
    /// These can only listen, and nobody else.
    Mutes(Vec<Mute>),
    /// An account may do this from now on.
    Role(AccountId, Role),
    /// An account has another name.
    Renamed(AccountId, Name),
    /// A session ends, for this reason.
    Dismiss(SessionId, Text),
    /// All sessions of an account end; answered with how many those are.
    DismissAccount(AccountId, Text, oneshot::Sender<usize>),
    /// Operators are told something.
    TellOperators(Text),
    /// Everybody is told something.
    Announce(Text),
    /// A room is in slow mode, or no longer, and is told so in these words if there are any.
    Slow(RoomName, Option<Duration>, Option<Text>),
    /// A room is removed, and those in it are told so.
    RemoveRoom(Box<Removal>),
    /// Those in a room are told something.
    TellRoom(RoomName, Text),
    /// Who connected from a network, and since when that is known.
    CameFrom(IpNet, oneshot::Sender<(BTreeSet<AccountId>, Instant)>),
    /// Who is online.
    Online(oneshot::Sender<Vec<Online>>),
}

impl Hub {
    pub(super) fn obey(&mut self, authority: Authority) {
        match authority {
            Authority::Mutes(mutes) => self.state.set_mutes(mutes),
            Authority::Role(account, role) => {
                self.state.set_role(account, role);
                for session in self.state.sessions_of(account) {
                    self.reply(*session, Delivery::Role(role));
                }
            }
            Authority::Renamed(account, to) => self.renamed(account, to),
            Authority::Dismiss(session, reason) => self.dismiss(session, reason),
            Authority::DismissAccount(account, reason, reply) => {
                let sessions = self.state.sessions_of(account).to_vec();
                let _gone_already = reply.send(sessions.len());
                for session in sessions {
                    self.dismiss(session, reason.clone());
                }
            }
            Authority::TellOperators(text) => {
                let event = notice(text);
                for session in self.state.operators() {
                    self.reply(session, Delivery::Event(Arc::clone(&event)));
                }
            }
            Authority::Announce(text) => {
                let event = notice(text);
                for inbox in self.inboxes.values() {
                    inbox.put(Delivery::Event(Arc::clone(&event)));
                    inbox.ring();
                }
            }
            Authority::Slow(room, every, words) => {
                self.state.set_slow(&room, every);
                if let Some(words) = words {
                    self.tell_rooms([room], &notice(words));
                }
            }
            Authority::RemoveRoom(removal) => self.removals.push_back(removal),
            Authority::TellRoom(room, words) => self.tell_rooms([room], &notice(words)),
            Authority::CameFrom(network, reply) => {
                let NetworkAccounts {
                    accounts,
                    forgotten,
                } = self.state.came_from(&network);
                let since = forgotten.unwrap_or(self.started);
                let _gone_already = reply.send((accounts, since));
            }
            Authority::Online(reply) => {
                let _gone_already = reply.send(self.state.online());
            }
        }
    }

    /// A session is out of the chat at once, whenever its client takes note of it.
    fn dismiss(&mut self, session: SessionId, reason: Text) {
        if let Some(inbox) = self.inboxes.get(&session) {
            inbox.dismiss(reason);
        }
        self.depart(session);
    }

    /// Somebody ignores another, or no longer: in all of their sessions from now on.
    pub(super) fn ignore(&mut self, session: SessionId, id: u32, change: &IgnoreChange) {
        if let Some(Author { account, .. }) = self.state.author(session) {
            self.state.ignore(account, change);
            let ignored = self.state.ignored(account);
            for session in self.state.sessions_of(account) {
                self.reply(*session, Delivery::Ignored(Arc::clone(&ignored)));
            }
        }
        self.reply(session, Delivery::Accepted(id));
    }

    /// Tells a session that arrives whom its account ignores, if another session has changed it
    /// since this one `read` it.
    pub(super) fn tell_ignored(&self, session: SessionId, read: &[Ignored]) {
        if let Some(Author { account, .. }) = self.state.author(session) {
            let ignored = self.state.ignored(account);
            if *ignored != *read {
                self.reply(session, Delivery::Ignored(ignored));
            }
        }
    }

    /// Everybody who shares a room with somebody is told their new name.
    pub(super) fn renamed(&mut self, account: AccountId, to: Name) {
        let Some(from) = self.state.name_of(account) else {
            return;
        };
        if from == to {
            return;
        }
        let rooms = self.state.rename(account, &to);
        let at = clock::now();
        let event = Event::Renamed {
            at,
            account,
            from,
            to,
        };
        self.tell_rooms(rooms, &Arc::new(event));
    }
}

fn notice(text: Text) -> Arc<Event> {
    Arc::new(Event::Notice {
        at: clock::now(),
        text,
    })
}

/// For those who keep order. When the hub has ended, nothing happens.
impl Handle {
    async fn authority(&self, authority: Authority) {
        self.request(Request::Authority(authority)).await;
    }

    /// These can only listen from now on, and nobody else.
    pub async fn set_mutes(&self, mutes: Vec<Mute>) {
        self.authority(Authority::Mutes(mutes)).await;
    }

    /// An account may do this from now on.
    pub async fn set_role(&self, account: AccountId, role: Role) {
        self.authority(Authority::Role(account, role)).await;
    }

    /// The store has given an account another name.
    pub async fn renamed(&self, account: AccountId, to: Name) {
        self.authority(Authority::Renamed(account, to)).await;
    }

    /// Ends a session, for a reason that it is told.
    pub async fn dismiss(&self, session: SessionId, reason: Text) {
        self.authority(Authority::Dismiss(session, reason)).await;
    }

    /// Ends all sessions of an account; returns how many there were.
    pub async fn dismiss_account(&self, account: AccountId, reason: Text) -> usize {
        let (reply, answer) = oneshot::channel();
        self.authority(Authority::DismissAccount(account, reason, reply))
            .await;
        answer.await.unwrap_or(0)
    }

    /// Tells the operators who are online.
    pub async fn tell_operators(&self, text: Text) {
        self.authority(Authority::TellOperators(text)).await;
    }

    /// Tells everybody.
    pub async fn announce(&self, text: Text) {
        self.authority(Authority::Announce(text)).await;
    }

    /// A room is in slow mode from now on, with so much time between two messages of one person,
    /// or no longer. It is told so in these words, if there are any.
    pub async fn set_slow(&self, room: RoomName, every: Option<Duration>, words: Option<Text>) {
        self.authority(Authority::Slow(room, every, words)).await;
    }

    /// Has the store make a change that removes a room, while nothing is said there; tells those
    /// who are in it, and moves them out. `None` if the hub has ended.
    pub async fn remove_room(
        &self,
        room: RoomName,
        change: Change,
        words: Text,
    ) -> Option<Result<Applied, ChangeError>> {
        let (reply, answer) = oneshot::channel();
        let removal = Removal {
            room,
            change,
            words,
            reply,
        };
        self.authority(Authority::RemoveRoom(Box::new(removal)))
            .await;
        answer.await.ok()
    }

    /// Tells those who are in a room.
    pub async fn tell_room(&self, room: RoomName, text: Text) {
        self.authority(Authority::TellRoom(room, text)).await;
    }

    /// The accounts that connected from a network, and since when that is known; nothing if the
    /// hub has ended.
    pub async fn came_from(&self, network: IpNet) -> Option<(BTreeSet<AccountId>, Instant)> {
        let (reply, answer) = oneshot::channel();
        self.authority(Authority::CameFrom(network, reply)).await;
        answer.await.ok()
    }

    /// Everybody who is online, a session each.
    pub async fn online(&self) -> Vec<Online> {
        let (reply, answer) = oneshot::channel();
        self.authority(Authority::Online(reply)).await;
        answer.await.unwrap_or_default()
    }
}
