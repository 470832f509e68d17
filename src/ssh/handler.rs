//! What russh asks us about one connection: who may log in, and which requests are granted.
//!
//! russh keeps no time and reads no byte while a callback runs, so nothing in here waits, except
//! for the door, and that not for long. What a session does runs in a task of its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Disconnect, Error, MethodKind, MethodSet, Pty,
};
use tokio::time::{Instant, sleep};

use crate::access::authenticator::{Authenticator, ProvenKey};
use crate::session::peer::{Peer, Sessions};
use crate::telemetry::metrics;
use crate::text::Text;

use super::channel::Requests;
use super::config::{MAX_PACKET, METHODS, METHODS_AFTER_ALL, WINDOW, time_to_answer};
use super::control::Cut;
use super::login::{self, KeyRefusal, Login, Step};
use super::observe::Window;
use super::state::Link;
use super::{Edge, channel};

/// The longest login name that is kept, in characters.
const MAX_USER: usize = 64;
/// Channels in the life of one connection. Of each that this side closed first russh 0.65 keeps a
/// few KiB until the connection ends.
const MAX_CHANNELS_EVER: usize = 256;
/// The smallest packets that are worth sending, in bytes. Somebody who takes one byte at a time
/// would make us encrypt a packet for each.
const MIN_CLIENT_PACKET: usize = 256;

/// How long a client that is sent away has to close the connection itself.
const HANG_UP: Duration = Duration::from_secs(1);

/// One connection's answers.
pub(super) struct Handler<S, D> {
    edge: Arc<Edge<S, D>>,
    link: Arc<Link>,
    /// Boxed: russh keeps four times as much memory as this handler is large, for as long as the
    /// connection lasts.
    login: Box<Login<D>>,
    /// How they got in, once they did.
    entry: Option<Entry>,
    /// Who they are, once they are in.
    peer: Option<Arc<Peer>>,
    channels: HashMap<ChannelId, ChannelState>,
    channels_ever: usize,
}

/// What is known of one channel.
#[derive(Debug)]
struct ChannelState {
    requests: Requests,
    window: Window,
}

impl Default for ChannelState {
    fn default() -> ChannelState {
        ChannelState {
            requests: Requests::default(),
            window: Window::new(WINDOW),
        }
    }
}

/// How somebody got in.
#[derive(Debug)]
struct Entry {
    method: &'static str,
    key: Option<ProvenKey>,
}

impl<S: Sessions, D: Authenticator> Handler<S, D> {
    pub(super) fn new(edge: Arc<Edge<S, D>>, link: Arc<Link>) -> Handler<S, D> {
        let time_to_answer = time_to_answer(&edge.settings);
        let login = Login::new(Arc::clone(&edge.door), Arc::clone(&link), time_to_answer);
        Handler {
            edge,
            link,
            login: Box::new(login),
            entry: None,
            peer: None,
            channels: HashMap::new(),
            channels_ever: 0,
        }
    }

    /// The name that they ask for, fit to be shown.
    fn user(&self, raw: &str) -> Text {
        let user = Text::ascii(raw.as_bytes(), MAX_USER);
        self.link.attempts().user.clone_from(&user);
        user
    }

    /// A refusal that leaves the methods that make sense: a key, or a talk.
    fn refuse(&self, method: &'static str, reason: &'static str) -> Auth {
        let mut attempts = self.link.attempts();
        attempts.tried |= method != "none";
        attempts.refused += 1;
        drop(attempts);
        self.reject(METHODS, method, reason)
    }

    fn reject(&self, methods: &[MethodKind], method: &'static str, reason: &'static str) -> Auth {
        metrics::not_accepted(method, reason);
        tracing::debug!(
            parent: &self.link.span,
            event = "auth_attempt_refused",
            method,
            reason,
            "an attempt to log in was refused"
        );
        Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(methods)),
            partial_success: false,
        }
    }

    fn refuse_key(&mut self, why: KeyRefusal) -> Auth {
        let span = &self.link.span;
        tracing::debug!(parent: span, event = "key_unusable", %why, "a key can't be used");
        self.login.unusable(why);
        self.refuse("publickey", "unusable_key")
    }

    /// The signature for the key that was offered last is good.
    fn proven(&self) {
        let mut attempts = self.link.attempts();
        attempts.unproven = attempts.unproven.saturating_sub(1);
    }

    fn enter(&mut self, method: &'static str, key: Option<ProvenKey>) -> Auth {
        self.entry = Some(Entry { method, key });
        Auth::Accept
    }

    fn talk(&mut self, step: Step) -> Auth {
        match step {
            Step::Enter(None) => self.enter("guest", None),
            Step::Enter(key) => self.enter("invite", key),
            Step::Confirmed(key) => self.enter("claim", Some(key)),
            Step::Tell(words) => told(&words, None),
            Step::Ask { words, prompt } => told(&words, Some(prompt)),
            Step::Refuse => {
                self.link.attempts().refused += 1;
                self.reject(
                    METHODS_AFTER_ALL,
                    "keyboard-interactive",
                    self.login.why_not(),
                )
            }
        }
    }

    fn requests(&mut self, id: ChannelId) -> &mut Requests {
        &mut self.channels.entry(id).or_default().requests
    }

    /// Judges data that came on a channel, by the size of its packet and by the window that the
    /// client was given (RFC 4254 §5.2). Twice as much as it was told is harmless.
    fn judge_data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        // russh would buffer up to 256 KiB of each packet.
        if data.len() > 2 * MAX_PACKET {
            return self.send_away(session, "a packet larger than the channel allows");
        }
        if !self
            .channels
            .entry(id)
            .or_default()
            .window
            .takes(data.len())
        {
            return self.send_away(session, "more data than the channel's window allows");
        }
        Ok(())
    }

    /// Ends the connection of a client that broke the protocol, and tells it how.
    fn send_away(&self, session: &mut Session, fault: &'static str) -> Result<(), Error> {
        if self.link.control.set_fault(fault) {
            session.disconnect(Disconnect::ProtocolError, fault, "en")?;
            // russh reads on until the client closes its side.
            let control = Arc::clone(&self.link.control);
            tokio::spawn(async move {
                sleep(HANG_UP).await;
                control.cut(Cut::Session);
            });
        }
        Ok(())
    }
}

/// Words for the person at the terminal, and what they have to answer (RFC 4256 §3.2). The answer is
/// shown while they type: a long code is hard to type blindly, and of little use to who looks over a
/// shoulder once it is used up.
fn told(words: &str, question: Option<String>) -> Auth {
    let words = words.trim_end();
    let prompt = question.map(|question| (Cow::Owned(question), true));
    Auth::Partial {
        name: "".into(),
        // Some clients end the line themselves, some print the question on the same.
        instructions: match words {
            "" => "".into(),
            words => format!("{words}\n").into(),
        },
        prompts: prompt.into_iter().collect::<Vec<_>>().into(),
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

impl<S: Sessions, D: Authenticator> russh::server::Handler for Handler<S, D> {
    type Error = Error;

    /// Never enough: a client that gets in like this would not offer its key.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        self.user(user);
        Ok(self.refuse("none", "asks_methods"))
    }

    async fn auth_password(&mut self, user: &str, _password: &str) -> Result<Auth, Error> {
        self.user(user);
        Ok(self.refuse("password", "not_offered"))
    }

    /// The door is not asked: whether a key is known here is told only to those who prove that it
    /// is theirs.
    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        self.user(user);
        if let Err(why) = login::judge(offer.public_key, offer.algorithm) {
            return Ok(self.refuse_key(why));
        }
        let mut attempts = self.link.attempts();
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
        let user = self.user(user);
        if let Err(why) = login::judge(key.public_key, key.algorithm) {
            return Ok(self.refuse_key(why));
        }
        let key = ProvenKey {
            fingerprint: crate::keys::fingerprint(key.public_key),
            algorithm: Text::stored_line(key.public_key.algorithm().as_str()),
        };
        Ok(if self.login.proven(&user, &key).await {
            self.enter("publickey", Some(key))
        } else {
            self.reject(METHODS, "publickey", self.login.why_not())
        })
    }

    /// The plain key inside was found good before, because russh shows no more of a certificate
    /// when it is offered.
    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        _certificate: &Certificate,
    ) -> Result<Auth, Error> {
        self.proven();
        self.user(user);
        Ok(self.refuse_key(crate::keys::Refusal::Certificate.into()))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        let user = self.user(user);
        self.link.attempts().tried = true;
        let step = match response {
            None => self.login.begin(&user).await,
            Some(answers) => self.login.answered(&user, login::first(answers)).await,
        };
        Ok(self.talk(step))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Error> {
        let Some(Entry { method, key }) = self.entry.take() else {
            return Err(Error::NotAuthenticated);
        };
        let peer = Peer {
            span: self.link.span.clone(),
            addr: self.link.addr,
            user: self.link.attempts().user.clone(),
            key,
            client: self.link.control.client().clone(),
            ticket: Mutex::new(self.login.take_ticket()),
        };
        tracing::info!(
            parent: &peer.span,
            event = "connection_open",
            user = peer.user.as_str(),
            method,
            key = peer.key.as_ref().map(|key| tracing::field::display(&key.fingerprint)),
            client = peer.client.as_str(),
            "somebody logged in"
        );
        metrics::accepted(method);
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
            tracing::debug!(parent: &self.link.span, event = "channel_refused");
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        self.channels_ever += 1;
        self.channels.insert(channel.id(), ChannelState::default());
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
        self.channels.remove(&id);
        Ok(())
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.judge_data(id, data, session)
    }

    async fn extended_data(
        &mut self,
        id: ChannelId,
        _code: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.judge_data(id, data, session)
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
