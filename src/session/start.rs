//! How a session starts: who it is, whether they may come in, and which of the two kinds it is.
//! And what is kept when it has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument as _;

use super::claims::{self, Asked};
use super::driver::{Driver, End};
use super::exec::{self, ExecContext};
use super::machine::{FAILED, Machine, ServerInfo, TRY_LATER};
use super::peer::{DisconnectReason, Inbound, Outbound, Peer, Sessions};
use super::setup::Setup;
use super::sign_in::{NotSignedIn, sign_in, still_admitted};
use super::usage::{CommandShare, Usage, UsageLimits};
use crate::access::{AdminService, NotAdmitted};
use crate::chat::ids::SessionId;
use crate::chat::intent::Refusal;
use crate::clock;
use crate::hub::Handle;
use crate::hub::feed::Inbox;
use crate::store::Store;

/// How often another name is tried for a guest whose name was taken in that moment.
const GUEST_TRIES: usize = 3;

/// How long a session that has not begun yet goes on after its connection has ended: while it waits
/// for the store it does not hear of that. An order that was given is completed all the same.
const GONE: Duration = Duration::from_secs(2);

/// Everything that sessions need; one for the whole program.
pub struct Chat {
    hub: Handle,
    store: Arc<dyn Store>,
    orders: Arc<dyn AdminService>,
    server: RwLock<Arc<ServerInfo>>,
    usage: Arc<Usage>,
    stall: Duration,
    sessions: AtomicU64,
}

impl Chat {
    /// Sessions that talk to this hub and read from this store. A client that takes nothing for
    /// `stall` is cut off.
    pub fn new(
        hub: Handle,
        store: Arc<dyn Store>,
        orders: Arc<dyn AdminService>,
        server: ServerInfo,
        limits: UsageLimits,
        stall: Duration,
    ) -> Chat {
        Chat {
            hub,
            store,
            orders,
            server: RwLock::new(Arc::new(server)),
            usage: Arc::new(Usage::new(limits)),
            stall,
            sessions: AtomicU64::new(1),
        }
    }

    /// Sessions that begin from now on show this.
    pub fn set_server(&self, server: ServerInfo) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(server);
    }

    /// Sessions may use this much from now on.
    pub fn set_limits(&self, limits: &UsageLimits) {
        self.usage.set_limits(limits);
    }

    /// What sessions show of the server.
    pub fn server(&self) -> Arc<ServerInfo> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&server)
    }
}

impl Sessions for Chat {
    async fn run<I, O>(self: Arc<Self>, peer: Arc<Peer>, mut input: I, output: O)
    where
        I: Inbound + 'static,
        O: Outbound + 'static,
    {
        // What it takes to begin and to end is boxed: it is large, and would be part of every
        // session's memory.
        let span = peer.span.clone();
        let begun = async {
            tokio::select! {
                begun = self.begin(&peer, &mut input, &output) => begun,
                () = gone_for_good(&output) => Begun::Gone,
            }
        };
        let status = match Box::pin(begun.instrument(span.clone())).await {
            Begun::Gone => return,
            Begun::Over(status) => status,
            Begun::In(mut visit) => {
                let end = visit.driver.run(&mut input, &output).await;
                match end {
                    End::Stalled => output.cut(DisconnectReason::Stalled),
                    End::Dismissed => output.cut(DisconnectReason::Dismissed),
                    End::Left | End::Lost => {}
                }
                let status = visit.driver.status();
                Box::pin(self.part(visit, end).instrument(span)).await;
                status
            }
        };
        // Nothing more is read, and what is held back holds up nobody.
        drop(input);
        let finished = Box::pin(output.finish(status));
        if tokio::time::timeout(self.stall, finished).await.is_err() {
            output.cut(DisconnectReason::Stalled);
        }
    }
}

/// Waits until the connection has been over for as long as a session may take to notice it.
async fn gone_for_good(output: &impl Outbound) {
    output.gone().await;
    tokio::time::sleep(GONE).await;
}

/// What came of the beginning.
enum Begun {
    /// The channel was closed before, or the connection ended meanwhile.
    Gone,
    /// There is no session, or it was one command: the exit status.
    Over(u32),
    /// They are in.
    In(Box<Visit>),
}

/// Somebody's time in the chat.
struct Visit {
    driver: Driver,
    session: SessionId,
    /// Whether their settings and marks are kept.
    is_kept: bool,
}

/// A session that could not begin, and what its client is told.
struct Failed {
    status: u32,
    words: String,
}

impl From<NotSignedIn> for Failed {
    fn from(error: NotSignedIn) -> Failed {
        Failed {
            status: match error {
                NotSignedIn::NotAdmitted(NotAdmitted::Refused(_)) => FAILED,
                NotSignedIn::NotAdmitted(NotAdmitted::Unavailable)
                | NotSignedIn::Store(_)
                | NotSignedIn::TooMany { .. } => TRY_LATER,
            },
            words: error.to_string(),
        }
    }
}

impl Chat {
    async fn begin(
        &self,
        peer: &Arc<Peer>,
        input: &mut impl Inbound,
        output: &impl Outbound,
    ) -> Begun {
        let Some(setup) = Setup::read(input).await else {
            return Begun::Gone;
        };
        match self.enter(peer, setup, input, output).await {
            Ok(begun) => begun,
            Err(Failed { status, words }) => {
                let words = Bytes::from(format!("{words}\r\n"));
                let told = output.write_stderr(words);
                let _gone_or_deaf = tokio::time::timeout(self.stall, told).await;
                Begun::Over(status)
            }
        }
    }

    async fn enter(
        &self,
        peer: &Arc<Peer>,
        mut setup: Setup,
        input: &mut impl Inbound,
        output: &impl Outbound,
    ) -> Result<Begun, Failed> {
        let asked = claims::ask(&*self.orders, peer, &mut setup, self.stall, input, output);
        let unanswered = match Box::pin(asked).await {
            Asked::Settled => None,
            Asked::Unanswered(remark) => Some(remark),
            Asked::Leave(None) => return Ok(Begun::Over(FAILED)),
            Asked::Leave(Some(words)) => {
                return Err(Failed {
                    status: TRY_LATER,
                    words,
                });
            }
        };
        let display = setup.display();
        let interactive = display.interactive();
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
            // A guest has another in each session.
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
                let ran = Box::pin(exec::run(context, command, input, output)).await;
                return Ok(Begun::Over(ran));
            }
            let arrival = me.arrival(session, peer, !interactive, &preferences);
            match self.hub.attach(arrival, Arc::clone(&inbox)).await {
                Ok((attachment, joined)) => {
                    break (me, preferences, commands, attachment, joined);
                }
                Err(Refusal::NameTaken(_)) if me.guest && tries < GUEST_TRIES => tries += 1,
                Err(refusal) => {
                    return Err(Failed {
                        status: TRY_LATER,
                        words: format!("You can't come in at this moment: {refusal}"),
                    });
                }
            }
        };
        let account = me.author.account;
        // Whatever changes from now on will find them.
        if self.orders.changes() != changes {
            let role = still_admitted(&*self.orders, peer, &me).await;
            let role = role.map_err(NotSignedIn::from)?;
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
            "a session began"
        );
        let is_kept = !me.guest;
        let mut machine = Machine::new(me, preferences, self.server(), display);
        machine.limit_commands(commands);
        let (store, orders) = (Arc::clone(&self.store), Arc::clone(&self.orders));
        let peer = Arc::clone(peer);
        let mut driver = Driver::new(machine, attachment, inbox, store, orders, peer, self.stall);
        driver.enter(None, joined);
        Ok(Begun::In(Box::new(Visit {
            driver,
            session,
            is_kept,
        })))
    }

    /// Takes the session out of the chat, and saves what is kept of it.
    async fn part(&self, visit: Box<Visit>, end: End) {
        let parting = visit.driver.part();
        let account = parting.account;
        if visit.is_kept || !parting.orders.is_empty() {
            parting.save(Arc::clone(&self.store)).await;
        }
        tracing::info!(
            event = "session_end",
            session = visit.session.0,
            %account,
            how = ?end,
            "a session ended"
        );
    }
}
