//! What russh asks us about one connection: who may log in, and which requests are granted.
//!
//! Nothing in here waits: russh keeps no time and reads no byte while a callback runs. What a
//! session does runs in a task of its own.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Error, MethodKind, MethodSet, Pty};
use tokio::time::Instant;

use crate::session::peer::{Peer, Sessions};

use super::config::MAX_PACKET;
use super::connection::Link;
use super::door::{Entry, Guest};
use super::keys::Refusal;
use super::printable::printable;
use super::requests::Requests;
use super::{Edge, channel};

/// The longest login name that is kept, in characters.
const MAX_USER: usize = 64;
/// The longest client version that is kept, in characters.
const MAX_CLIENT: usize = 128;
/// Channels in the life of one connection. Of each that this side closed first russh 0.65 keeps a
/// few KiB until the connection ends.
const MAX_CHANNELS_EVER: usize = 256;
/// The smallest packets that are worth sending, in bytes. Somebody who takes one byte at a time
/// would make us encrypt a packet for each.
const MIN_CLIENT_PACKET: usize = 256;

/// One connection's answers.
pub(super) struct Handler<S> {
    edge: Arc<Edge<S>>,
    link: Arc<Link>,
    /// Why the last key that was offered can't be used.
    refused: Option<Refusal>,
    /// How they got in, once they did.
    entry: Option<Entry>,
    /// Who they are, once they are in.
    peer: Option<Arc<Peer>>,
    requests: HashMap<ChannelId, Requests>,
    channels_ever: usize,
}

impl<S: Sessions> Handler<S> {
    pub(super) fn new(edge: Arc<Edge<S>>, link: Arc<Link>) -> Handler<S> {
        Handler {
            edge,
            link,
            refused: None,
            entry: None,
            peer: None,
            requests: HashMap::new(),
            channels_ever: 0,
        }
    }

    /// A refusal that leaves the methods that make sense: a key, or being a guest.
    fn refuse(&self, user: &str, method: &str) -> Auth {
        let mut attempts = self.link.attempts();
        attempts.user = printable(user.as_bytes(), MAX_USER);
        attempts.tried |= method != "none";
        attempts.refused += 1;
        tracing::debug!(
            event = "auth_refused",
            conn = self.link.number,
            user = attempts.user,
            method,
            why = self.refused.as_ref().map(tracing::field::display),
            "an attempt to log in was refused"
        );
        Auth::Reject {
            proceed_with_methods: Some(methods()),
            partial_success: false,
        }
    }

    fn judge(&mut self, key: &PublicKey, algorithm: &Algorithm) -> Option<Entry> {
        match self.edge.door.key(key, algorithm) {
            Ok(entry) => Some(entry),
            Err(refusal) => {
                self.refused = Some(refusal);
                None
            }
        }
    }

    /// The signature for the key that was offered last is good.
    fn proven(&self) {
        let mut attempts = self.link.attempts();
        attempts.unproven = attempts.unproven.saturating_sub(1);
    }

    fn enter(&mut self, user: &str, entry: Entry) -> Auth {
        self.link.attempts().user = printable(user.as_bytes(), MAX_USER);
        self.entry = Some(entry);
        Auth::Accept
    }

    fn requests(&mut self, id: ChannelId) -> &mut Requests {
        self.requests.entry(id).or_default()
    }
}

/// The methods that are offered.
pub(super) fn methods() -> MethodSet {
    MethodSet::from([MethodKind::PublicKey, MethodKind::KeyboardInteractive].as_slice())
}

/// Words for the person at the terminal, with nothing to answer (RFC 4256 §3.2).
fn notice(words: String) -> Auth {
    Auth::Partial {
        name: "".into(),
        instructions: words.into(),
        prompts: Vec::new().into(),
    }
}

/// Answers a channel request, if the client wants to know.
fn answer(session: &mut Session, id: ChannelId, granted: bool) -> Result<(), Error> {
    if granted {
        session.channel_success(id)
    } else {
        session.channel_failure(id)
    }
}

/// Refuses data in packets larger than the client was told to send (RFC 4254 §5.2), with as much
/// again for clients that count differently: russh would buffer up to 256 KiB of each.
fn check_size(data: &[u8]) -> Result<(), Error> {
    if data.len() > 2 * MAX_PACKET {
        return Err(Error::PacketSize(data.len()));
    }
    Ok(())
}

impl<S: Sessions> russh::server::Handler for Handler<S> {
    type Error = Error;

    /// Never enough: a client that gets in like this would not offer its key.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        Ok(self.refuse(user, "none"))
    }

    async fn auth_password(&mut self, user: &str, _password: &str) -> Result<Auth, Error> {
        Ok(self.refuse(user, "password"))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        if self.judge(offer.public_key, offer.algorithm).is_none() {
            return Ok(self.refuse(user, "publickey"));
        }
        let mut attempts = self.link.attempts();
        attempts.user = printable(user.as_bytes(), MAX_USER);
        attempts.tried = true;
        attempts.unproven += 1;
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        self.proven();
        match self.judge(key.public_key, key.algorithm) {
            Some(entry) => Ok(self.enter(user, entry)),
            None => Ok(self.refuse(user, "publickey")),
        }
    }

    /// The plain key inside was found good before, because russh shows no more of a certificate
    /// when it is offered.
    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        _certificate: &Certificate,
    ) -> Result<Auth, Error> {
        self.proven();
        self.refused = Some(Refusal::Certificate);
        Ok(self.refuse(user, "certificate"))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        self.link.attempts().tried = true;
        let told = response.is_some();
        Ok(match self.edge.door.guest(self.refused.as_ref()) {
            Guest::Welcome => self.enter(user, Entry::Guest),
            Guest::WelcomeAfter(_) if told => self.enter(user, Entry::Guest),
            Guest::Unwelcome(_) if told => self.refuse(user, "keyboard-interactive"),
            Guest::WelcomeAfter(words) | Guest::Unwelcome(words) => notice(words),
        })
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some(entry) = self.entry.take() else {
            return Err(Error::NotAuthenticated);
        };
        let (method, key) = match entry {
            Entry::Key(fingerprint) => ("publickey", Some(fingerprint)),
            Entry::Guest => ("guest", None),
        };
        let peer = Peer {
            connection: self.link.number,
            addr: self.link.addr,
            user: self.link.attempts().user.clone(),
            key,
            client: printable(session.remote_sshid(), MAX_CLIENT),
        };
        tracing::info!(
            event = "connection_open",
            conn = peer.connection,
            addr = %peer.addr,
            user = peer.user,
            method,
            key = peer.key.as_ref().map(tracing::field::display),
            client = peer.client,
            "somebody logged in"
        );
        self.peer = Some(Arc::new(peer));
        self.link.authenticated();
        Ok(())
    }

    /// The only kind of channel there is. All others are refused by russh's defaults, which drop
    /// them unanswered.
    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        let settings = &self.edge.settings;
        let room = self.channels_ever < MAX_CHANNELS_EVER
            && channel.writable_packet_size().await >= MIN_CLIENT_PACKET;
        let place = room
            .then(|| self.link.open_channel(settings.max_channels))
            .flatten();
        let (Some(place), Some(peer)) = (place, &self.peer) else {
            tracing::debug!(event = "channel_refused", conn = self.link.number);
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        self.channels_ever += 1;
        self.requests.insert(channel.id(), Requests::default());
        reply.accept().await;
        tokio::spawn(channel::run(
            Arc::clone(&self.edge.sessions),
            Arc::clone(peer),
            channel,
            place,
            Instant::now() + settings.idle,
        ));
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        self.requests.remove(&id);
        Ok(())
    }

    async fn data(
        &mut self,
        _id: ChannelId,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Error> {
        check_size(data)
    }

    async fn extended_data(
        &mut self,
        _id: ChannelId,
        _code: u32,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Error> {
        check_size(data)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _cols: u32,
        _rows: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        answer(session, id, self.requests(id).pty())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        answer(session, id, self.requests(id).env(name, value))
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        answer(session, id, self.requests(id).shell())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        answer(session, id, self.requests(id).exec(command))
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        _cols: u32,
        _rows: u32,
        _pix_width: u32,
        _pix_height: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        answer(session, id, self.requests(id).resize())
    }

    // russh leaves these two unanswered by default, and the client waiting.

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        answer(session, id, false)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        answer(session, id, false)
    }
}
