//! Who a session belongs to, and which server it runs on.

use super::peer::Peer;
use crate::access::orders::Requester;
use crate::chat::access::Role;
use crate::chat::event::Author;
use crate::chat::ids::{Fingerprint, Now, SessionId};
use crate::chat::intent::NewSession;
use crate::chat::preferences::Preferences;
use crate::text::Text;

/// The server, as sessions show it.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Its name.
    pub host: String,
    /// The program's version.
    pub version: &'static str,
    /// When it started.
    pub started: Now,
    /// The message of the day.
    pub motd: Option<Text>,
    /// The number of earlier messages shown on entering a room.
    pub on_join: usize,
}

/// The signed-in user of a session.
#[derive(Debug, Clone)]
pub struct SessionUser {
    /// Account and name.
    pub author: Author,
    /// Whether they connected without a key.
    pub guest: bool,
    /// Their role.
    pub role: Role,
    /// The key they authenticated with.
    pub key: Option<Fingerprint>,
    /// A sentence for the greeting, such as why the name differs from the requested one.
    pub remark: Option<String>,
}

impl SessionUser {
    /// The request to join the hub with this session.
    pub(super) fn arrival(
        &self,
        session: SessionId,
        peer: &Peer,
        bot: bool,
        preferences: &Preferences,
    ) -> NewSession {
        NewSession {
            session,
            author: self.author.clone(),
            guest: self.guest,
            bot,
            role: self.role,
            key: self.key.clone(),
            addr: peer.addr.ip(),
            client: peer.client.clone(),
            ignored: preferences.ignored.clone().into(),
        }
    }

    /// The requester of this user's orders.
    pub(super) fn requester(&self, peer: &Peer) -> Requester {
        Requester {
            account: self.author.account,
            name: self.author.name.clone(),
            key: self.key.clone(),
            addr: peer.addr.ip(),
            client: peer.client.clone(),
        }
    }
}
