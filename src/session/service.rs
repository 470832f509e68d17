//! The lifecycle of a session: sign in, then one command or a session in the chat, then teardown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument as _;

use super::claims::{ClaimOutcome, confirm_claims};
use super::driver::{Driver, SessionEnd};
use super::exec::{self, ExecContext};
use super::machine::{EXIT_FAILED, EXIT_TEMPFAIL, Machine, ServerInfo};
use super::peer::{DisconnectReason, Inbound, Outbound, Peer, Sessions};
use super::setup::ClientSetup;
use super::sign_in::{SignInError, sign_in, still_admitted};
use super::usage::{CommandShare, Usage, UsageLimits};
use crate::access::{AdminService, NotAdmitted};
use crate::chat::ids::SessionId;
use crate::chat::intent::Refusal;
use crate::clock;
use crate::hub::Handle;
use crate::hub::feed::Inbox;
use crate::store::Store;

/// How often a guest whose name was taken at the last moment gets another one.
const GUEST_RETRIES: usize = 3;

/// How long sign-in and commands continue after the connection was lost, which they don't notice
/// while they wait for the store. Orders are completed all the same.
const CLOSED_GRACE: Duration = Duration::from_secs(2);

/// Runs the sessions of the program.
pub struct SessionService {
    hub: Handle,
    store: Arc<dyn Store>,
    orders: Arc<dyn AdminService>,
    server: RwLock<Arc<ServerInfo>>,
    usage: Arc<Usage>,
    stall: Duration,
    sessions: AtomicU64,
}

impl SessionService {
    /// Sessions on this hub and store. A client that reads nothing for `stall` is disconnected.
    pub fn new(
        hub: Handle,
        store: Arc<dyn Store>,
        orders: Arc<dyn AdminService>,
        server: ServerInfo,
        limits: UsageLimits,
        stall: Duration,
    ) -> SessionService {
        SessionService {
            hub,
            store,
            orders,
            server: RwLock::new(Arc::new(server)),
            usage: Arc::new(Usage::new(limits)),
            stall,
            sessions: AtomicU64::new(1),
        }
    }

    /// Changes what later sessions show of the server.
    pub fn set_server(&self, server: ServerInfo) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(server);
    }

    /// Changes the limits of all sessions.
    pub fn set_limits(&self, limits: &UsageLimits) {
        self.usage.set_limits(limits);
    }

    /// The server, as sessions show it.
    pub fn server(&self) -> Arc<ServerInfo> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&server)
    }
}

impl Sessions for SessionService {
    async fn run<I, O>(self: Arc<Self>, peer: Arc<Peer>, mut input: I, output: O)
    where
        I: Inbound + 'static,
        O: Outbound + 'static,
    {
        // Sign-in and teardown are boxed: they are large, and would be part of every session's
        // memory.
        let span = peer.span.clone();
        let begin = async {
            tokio::select! {
                outcome = self.begin(&peer, &mut input, &output) => outcome,
                () = closed_for_good(&output) => StartOutcome::Disconnected,
            }
        };
        let status = match Box::pin(begin.instrument(span.clone())).await {
            StartOutcome::Disconnected => return,
            StartOutcome::Ended(status) => status,
            StartOutcome::Joined(mut session) => {
                let end = session.driver.run(&mut input, &output).await;
                match end {
                    SessionEnd::Stalled => output.disconnect(DisconnectReason::Stalled),
                    SessionEnd::Dismissed => output.disconnect(DisconnectReason::Dismissed),
                    SessionEnd::Left | SessionEnd::Lost => {}
                }
                let status = session.driver.status();
                Box::pin(self.end(session, end).instrument(span)).await;
                status
            }
        };
        // Input that was held back no longer blocks the other channels.
        drop(input);
        let finished = Box::pin(output.finish(status));
        if tokio::time::timeout(self.stall, finished).await.is_err() {
            output.disconnect(DisconnectReason::Stalled);
        }
    }
}

/// Waits until the connection has been closed for [`CLOSED_GRACE`].
async fn closed_for_good(output: &impl Outbound) {
    output.closed().await;
    tokio::time::sleep(CLOSED_GRACE).await;
}

/// How the start of a session ended.
enum StartOutcome {
    /// The client disconnected.
    Disconnected,
    /// The user was refused, or it was one command: the exit status.
    Ended(u32),
    /// The session is in the chat.
    Joined(Box<JoinedSession>),
}

/// A session in the chat.
struct JoinedSession {
    driver: Driver,
    id: SessionId,
    /// Whether preferences and read markers are saved.
    is_saved: bool,
}

/// Why a session could not begin: the error for the client, and its exit status.
struct BeginError {
    status: u32,
    message: String,
}

impl From<SignInError> for BeginError {
    fn from(error: SignInError) -> BeginError {
        BeginError {
            status: match error {
                SignInError::NotAdmitted(NotAdmitted::Refused(_)) => EXIT_FAILED,
                SignInError::NotAdmitted(NotAdmitted::Unavailable)
                | SignInError::Store(_)
                | SignInError::TooMany { .. } => EXIT_TEMPFAIL,
            },
            message: error.to_string(),
        }
    }
}

impl SessionService {
    async fn begin(
        &self,
        peer: &Arc<Peer>,
        input: &mut impl Inbound,
        output: &impl Outbound,
    ) -> StartOutcome {
        let Some(setup) = ClientSetup::read(input).await else {
            return StartOutcome::Disconnected;
        };
        match self.enter(peer, setup, input, output).await {
            Ok(outcome) => outcome,
            Err(BeginError { status, message }) => {
                let message = Bytes::from(format!("{message}\r\n"));
                let written = output.write_stderr(message);
                let _best_effort = tokio::time::timeout(self.stall, written).await;
                StartOutcome::Ended(status)
            }
        }
    }

    async fn enter(
        &self,
        peer: &Arc<Peer>,
        mut setup: ClientSetup,
        input: &mut impl Inbound,
        output: &impl Outbound,
    ) -> Result<StartOutcome, BeginError> {
        let claims = confirm_claims(&*self.orders, peer, &mut setup, self.stall, input, output);
        let unanswered = match Box::pin(claims).await {
            ClaimOutcome::Settled => None,
            ClaimOutcome::Unanswered(remark) => Some(remark),
            ClaimOutcome::Leave(None) => return Ok(StartOutcome::Ended(EXIT_FAILED)),
            ClaimOutcome::Leave(Some(message)) => {
                return Err(BeginError {
                    status: EXIT_TEMPFAIL,
                    message,
                });
            }
        };
        let display = setup.display();
        let interactive = display.is_interactive();
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox::default());
        let changes = self.orders.changes();
        let mut tries = 0;
        let (mut me, preferences, commands, attachment, joined) = loop {
            let signed_in = sign_in(
                &*self.store,
                &*self.orders,
                &self.usage,
                peer,
                clock::both(),
            );
            let (mut me, preferences) = signed_in.await?;
            if let Some(unanswered) = &unanswered {
                let before = me.remark.take().map(|remark| format!("{remark} "));
                me.remark = Some(before.unwrap_or_default() + unanswered);
            }
            // A guest has another account in each session.
            if !me.guest {
                peer.span
                    .record("account", tracing::field::display(me.author.account));
            }
            let usage = Arc::clone(&self.usage);
            let commands = CommandShare::new(usage, me.author.account, peer.addr.ip());
            if let Some(command) = &setup.command {
                let context = ExecContext {
                    hub: &self.hub,
                    store: &*self.store,
                    orders: &self.orders,
                    me,
                    peer,
                    session,
                    server: self.server(),
                    commands,
                    terminal: interactive,
                    stall: self.stall,
                    preferences,
                };
                let status = Box::pin(exec::run(context, command, input, output)).await;
                return Ok(StartOutcome::Ended(status));
            }
            let arrival = me.arrival(session, peer, !interactive, &preferences);
            match self.hub.attach(arrival, Arc::clone(&inbox)).await {
                Ok((attachment, joined)) => {
                    break (me, preferences, commands, attachment, joined);
                }
                Err(Refusal::NameTaken(_)) if me.guest && tries < GUEST_RETRIES => tries += 1,
                Err(refusal) => {
                    return Err(BeginError {
                        status: EXIT_TEMPFAIL,
                        message: format!("Can't join right now: {refusal}"),
                    });
                }
            }
        };
        let account = me.author.account;
        // Access may have changed before the session was in the hub, where changes find it.
        if self.orders.changes() != changes {
            let role = still_admitted(&*self.orders, peer, &me).await;
            let role = role.map_err(SignInError::from)?;
            if std::mem::replace(&mut me.role, role) != role {
                self.hub.set_role(account, role).await;
            }
        }
        tracing::info!(
            event = "session_start",
            session = session.0,
            %account,
            name = %me.author.name,
            terminal = interactive,
            "session started"
        );
        let is_saved = !me.guest;
        let mut machine = Machine::new(me, preferences, self.server(), display);
        machine.limit_commands(commands);
        let (store, orders) = (Arc::clone(&self.store), Arc::clone(&self.orders));
        let peer = Arc::clone(peer);
        let mut driver = Driver::new(machine, attachment, inbox, store, orders, peer, self.stall);
        driver.enter(None, joined);
        Ok(StartOutcome::Joined(Box::new(JoinedSession {
            driver,
            id: session,
            is_saved,
        })))
    }

    /// Detaches the session from the hub and saves its state.
    async fn end(&self, session: Box<JoinedSession>, end: SessionEnd) {
        let teardown = session.driver.into_teardown();
        let account = teardown.account;
        if session.is_saved || !teardown.orders.is_empty() {
            teardown.save(Arc::clone(&self.store)).await;
        }
        tracing::info!(
            event = "session_end",
            session = session.id.0,
            %account,
            how = ?end,
            "session ended"
        );
    }
}
