//! What there is to tell, before it is decided in which form.

use crate::access::status::Status;
use crate::chat::access::{AuditEntry, Ban, KeyRecord, PendingKey};
use crate::chat::event::{Event, Message};
use crate::chat::ids::RoomName;
use crate::chat::intent::{PersonInfo, RoomInfo, Target};
use crate::chat::invite::Invite;
use crate::session::machine::{ServerInfo, SessionUser};

/// One piece of data: one object in JSON, usually one line in the plain form.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    /// A saved message, in its conversation.
    Message(&'a Message),
    /// A saved message, found somewhere.
    Found(&'a Message),
    /// Something that happened in a room.
    Event(&'a RoomName, &'a Event),
    Person(&'a PersonInfo),
    Room(&'a RoomInfo),
    Me(&'a SessionUser),
    Server(&'a ServerInfo),
    /// How it is.
    Status(&'a Status, &'a ServerInfo),
    Key(&'a KeyRecord),
    /// A key that waits for its owner to confirm.
    ClaimedKey(&'a KeyRecord),
    /// An invite that was made before.
    Invite(&'a Invite),
    /// An invite that was just made: its code and link.
    Invited(&'a Invite, &'a str, Option<&'a str>),
    Ban(&'a Ban),
    Pending(&'a PendingKey),
    Audit(&'a AuditEntry),
    /// Something was done: a sentence. In the plain form a diagnostic.
    Done(&'a str),
    /// So many messages were sent. In the plain form a diagnostic.
    Sent(&'a Target, u64),
}

impl Item<'_> {
    /// Whether it is a report rather than data.
    pub fn is_report(&self) -> bool {
        matches!(self, Item::Done(_) | Item::Sent(..))
    }
}
