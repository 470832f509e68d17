//! russh's callbacks of one connection: who may log in, and which requests are granted.
//!
//! russh handles neither timers nor input while a callback runs, so callbacks don't wait, except
//! for the authenticator, with a timeout. Sessions run in tasks of their own.

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

use super::channel::ChannelRequests;
use super::config::{FINAL_METHODS, MAX_PACKET, METHODS, WINDOW, prompt_timeout};
use super::control::CloseReason;
use super::login::{self, DialogStep, KeyRejection, LoginDialog};
use super::observe::ChannelWindow;
use super::state::ConnectionState;
use super::{Shared, channel};

/// The maximum length of a user name, in characters.
const MAX_USER: usize = 64;
/// Channels in the lifetime of a connection. russh 0.65 keeps a few KiB for each that this side
/// closed first, until the connection ends.
const MAX_CHANNELS_EVER: usize = 256;
/// The smallest packet size that a client may ask for, in bytes. With a size of one, the server
/// would have to encrypt a packet for each byte.
const MIN_CLIENT_PACKET: usize = 256;

/// How long a client has to close the connection after a protocol error.
const HANGUP_GRACE: Duration = Duration::from_secs(1);

/// The callbacks of one connection.
pub(super) struct Handler<S, D> {
    shared: Arc<Shared<S, D>>,
    conn: Arc<ConnectionState>,
    /// Boxed: russh reserves four times the size of this handler while the connection lasts.
    login: Box<LoginDialog<D>>,
    /// How the user logged in, until the session begins.
    accepted: Option<AcceptedLogin>,
    /// The user, after the login.
    peer: Option<Arc<Peer>>,
    channels: HashMap<ChannelId, ChannelState>,
    channels_ever: usize,
}

#[derive(Debug)]
struct ChannelState {
    requests: ChannelRequests,
    window: ChannelWindow,
}

impl Default for ChannelState {
    fn default() -> ChannelState {
        ChannelState {
            requests: ChannelRequests::default(),
            window: ChannelWindow::new(WINDOW),
        }
    }
}

#[derive(Debug)]
struct AcceptedLogin {
    method: &'static str,
    key: Option<ProvenKey>,
}

impl<S: Sessions, D: Authenticator> Handler<S, D> {
    pub(super) fn new(shared: Arc<Shared<S, D>>, conn: Arc<ConnectionState>) -> Handler<S, D> {
        let login = LoginDialog::new(
            Arc::clone(&shared.authenticator),
            Arc::clone(&conn),
            prompt_timeout(&shared.settings),
        );
        Handler {
            shared,
            conn,
            login: Box::new(login),
            accepted: None,
            peer: None,
            channels: HashMap::new(),
            channels_ever: 0,
        }
    }

    /// Records the requested user name, sanitized.
    fn record_user(&self, raw: &str) -> Text {
        let user = Text::ascii(raw.as_bytes(), MAX_USER);
        self.conn.attempts().user.clone_from(&user);
        user
    }

    /// Rejects an attempt and counts it. The client may try another key or method.
    fn reject_attempt(&self, method: &'static str, reason: &'static str) -> Auth {
        let mut attempts = self.conn.attempts();
        attempts.tried |= method != "none";
        attempts.rejected += 1;
        drop(attempts);
        self.reject(METHODS, method, reason)
    }

    fn reject(&self, methods: &[MethodKind], method: &'static str, reason: &'static str) -> Auth {
        metrics::auth_rejected(method, reason);
        tracing::debug!(
            parent: &self.conn.span,
            event = "auth_attempt_refused",
            method,
            reason,
            "authentication attempt rejected"
        );
        Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(methods)),
            partial_success: false,
        }
    }

    fn reject_key(&mut self, why: KeyRejection) -> Auth {
        let span = &self.conn.span;
        tracing::debug!(parent: span, event = "key_unusable", reason = %why, "key rejected");
        self.login.reject_key(why);
        self.reject_attempt("publickey", "unusable_key")
    }

    /// Records a valid signature for the key that was offered last.
    fn signature_verified(&self) {
        let mut attempts = self.conn.attempts();
        attempts.unproven = attempts.unproven.saturating_sub(1);
    }

    fn accept(&mut self, method: &'static str, key: Option<ProvenKey>) -> Auth {
        self.accepted = Some(AcceptedLogin { method, key });
        Auth::Accept
    }

    fn perform(&mut self, step: DialogStep) -> Auth {
        match step {
            DialogStep::Accept(None) => self.accept("guest", None),
            DialogStep::Accept(key) => self.accept("invite", key),
            DialogStep::AcceptClaim(key) => self.accept("claim", Some(key)),
            DialogStep::Show(text) => info_request(&text, None),
            DialogStep::Prompt { text, prompt } => info_request(&text, Some(prompt)),
            DialogStep::Reject => {
                self.conn.attempts().rejected += 1;
                self.reject(
                    FINAL_METHODS,
                    "keyboard-interactive",
                    self.login.rejection_reason(),
                )
            }
        }
    }

    fn requests(&mut self, id: ChannelId) -> &mut ChannelRequests {
        &mut self.channels.entry(id).or_default().requests
    }

    /// Checks the size of a data packet and the use of the channel's window (RFC 4254 §5.2). Up to
    /// twice the limit is tolerated.
    fn check_data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        // russh would buffer up to 256 KiB of each packet.
        if data.len() > 2 * MAX_PACKET {
            return self.protocol_error(session, "a packet larger than the channel allows");
        }
        let channel = self.channels.entry(id).or_default();
        if !channel.window.accept(data.len()) {
            return self.protocol_error(session, "more data than the channel's window allows");
        }
        Ok(())
    }

    /// Disconnects a client that violated the protocol, with the reason.
    fn protocol_error(&self, session: &mut Session, error: &'static str) -> Result<(), Error> {
        if self.conn.control.set_protocol_error(error) {
            session.disconnect(Disconnect::ProtocolError, error, "en")?;
            // russh reads on until the client closes its side.
            let control = Arc::clone(&self.conn.control);
            tokio::spawn(async move {
                sleep(HANGUP_GRACE).await;
                control.close(CloseReason::Session);
            });
        }
        Ok(())
    }
}

/// Returns a text with an optional prompt (RFC 4256 §3.2). The answer is echoed: a long code is
/// hard to type blindly, and useless to onlookers once it's used.
fn info_request(text: &str, prompt: Option<String>) -> Auth {
    let text = text.trim_end();
    let prompt = prompt.map(|prompt| (Cow::Owned(prompt), true));
    Auth::Partial {
        name: "".into(),
        // Some clients print the prompt on the same line.
        instructions: match text {
            "" => "".into(),
            text => format!("{text}\n").into(),
        },
        prompts: prompt.into_iter().collect::<Vec<_>>().into(),
    }
}

/// Replies to a channel request, if the client wants a reply.
fn reply(session: &mut Session, id: ChannelId, granted: bool) -> Result<(), Error> {
    if granted {
        session.channel_success(id)
    } else {
        session.channel_failure(id)
    }
}

impl<S: Sessions, D: Authenticator> russh::server::Handler for Handler<S, D> {
    type Error = Error;

    /// Always rejected: a client that logs in with it wouldn't offer its keys.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        self.record_user(user);
        Ok(self.reject_attempt("none", "asks_methods"))
    }

    async fn auth_password(&mut self, user: &str, _password: &str) -> Result<Auth, Error> {
        self.record_user(user);
        Ok(self.reject_attempt("password", "not_offered"))
    }

    /// Accepts the offer of any usable key, so that only its owner learns whether it is known.
    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        self.record_user(user);
        if let Err(why) = login::check_key(offer.public_key, offer.algorithm) {
            return Ok(self.reject_key(why));
        }
        let mut attempts = self.conn.attempts();
        attempts.tried = true;
        attempts.unproven += 1;
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        self.signature_verified();
        let user = self.record_user(user);
        if let Err(why) = login::check_key(key.public_key, key.algorithm) {
            return Ok(self.reject_key(why));
        }
        let key = ProvenKey {
            fingerprint: crate::keys::fingerprint(key.public_key),
            algorithm: Text::stored_line(key.public_key.algorithm().as_str()),
        };
        Ok(if self.login.try_key(&user, &key).await {
            self.accept("publickey", Some(key))
        } else {
            self.reject(METHODS, "publickey", self.login.rejection_reason())
        })
    }

    /// Rejects certificates. russh shows only the plain key inside when one is offered.
    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        _certificate: &Certificate,
    ) -> Result<Auth, Error> {
        self.signature_verified();
        self.record_user(user);
        Ok(self.reject_key(crate::keys::KeyRejected::Certificate.into()))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        let user = self.record_user(user);
        self.conn.attempts().tried = true;
        let step = match response {
            None => self.login.start(&user).await,
            Some(answers) => self.login.answer(&user, login::first_answer(answers)).await,
        };
        Ok(self.perform(step))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Error> {
        let Some(AcceptedLogin { method, key }) = self.accepted.take() else {
            return Err(Error::NotAuthenticated);
        };
        let peer = Peer {
            span: self.conn.span.clone(),
            addr: self.conn.addr,
            user: self.conn.attempts().user.clone(),
            key,
            client: self.conn.control.client_version().clone(),
            ticket: Mutex::new(self.login.take_ticket()),
        };
        tracing::info!(
            parent: &peer.span,
            event = "connection_open",
            user = peer.user.as_str(),
            method,
            key = peer.key.as_ref().map(|key| tracing::field::display(&key.fingerprint)),
            client = peer.client.as_str(),
            "logged in"
        );
        metrics::auth_accepted(method);
        self.peer = Some(Arc::new(peer));
        self.conn.set_authenticated();
        Ok(())
    }

    /// Opens a session channel. Other types are rejected by russh's defaults.
    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let acceptable = self.channels_ever < MAX_CHANNELS_EVER
            && channel.writable_packet_size().await >= MIN_CLIENT_PACKET;
        let permit = acceptable
            .then(|| self.conn.open_channel(settings.max_channels))
            .flatten();
        let (Some(permit), Some(peer)) = (permit, &self.peer) else {
            tracing::debug!(parent: &self.conn.span, event = "channel_refused");
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        self.channels_ever += 1;
        self.channels.insert(channel.id(), ChannelState::default());
        reply.accept().await;
        tokio::spawn(channel::run(
            Arc::clone(&self.shared.sessions),
            Arc::clone(peer),
            channel,
            permit,
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
        self.check_data(id, data, session)
    }

    async fn extended_data(
        &mut self,
        id: ChannelId,
        _code: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.check_data(id, data, session)
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
        reply(session, id, self.requests(id).pty())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        reply(session, id, self.requests(id).env(name, value))
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        reply(session, id, self.requests(id).shell())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        reply(session, id, self.requests(id).exec(command))
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
        reply(session, id, self.requests(id).resize())
    }

    // russh's defaults don't reply to these two, so the client would wait.

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        reply(session, id, false)
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
        reply(session, id, false)
    }
}
